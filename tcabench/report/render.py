"""Sections and templates joined into one file that needs nothing but a browser."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tcabench.errors import EvidenceError
from tcabench.records import RunRecord
from tcabench.report.sections import Section, load_sections
from tcabench.report.text import visible
from tcabench.report.view import Facts

if TYPE_CHECKING:
    from jinja2 import Environment

MOST_EMBEDDED_CHARS = 8_000_000


def render(
    record: RunRecord,
    result: Mapping[str, Any],
    evidence: bytes | None,
    evidence_name: str,
    signer: Mapping[str, Any],
    standing: Sequence[Mapping[str, Any]],
) -> bytes:
    """The page as UTF-8 bytes, its one signature slot empty; the same arguments give the same bytes.

    `evidence` is embedded when its base64 has at most 8,000,000 characters; else the page names `evidence_name`,
    the file beside it. `standing` holds dated public results to place this one among.
    raises: EvidenceError when the templates are not installed.
    """
    block = base64.b64encode(evidence).decode("ascii") if evidence is not None else ""
    embedded = 0 < len(block) <= MOST_EMBEDDED_CHARS
    shown_result = {**result, "parity": record.parity.get("found"), "work": record.work_sums}
    facts = Facts(record, shown_result, signer, standing, evidence_name, embedded)
    folder = template_folder()
    style = (folder / "style.css").read_text(encoding="utf-8")
    page = (
        environment(folder)
        .get_template("page.html")
        .render(
            title=page_title(facts),
            style=trusted(style),
            style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii"),
            sections=[shown(section, facts) for section in load_sections()],
            block=block if embedded else "",
            run_id=record.run_id,
        )
    )
    return page.encode("utf-8")


def template_folder() -> Path:
    """Where the templates lie: in the installed package, or at the top of a checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "_shipped" / "reports" / "templates", package.parent / "reports" / "templates"):
        if (folder / "page.html").is_file():
            return folder
    raise EvidenceError(f"the report templates are missing from {package}; install tcabench again", "templates")


def environment(folder: Path) -> "Environment":
    """Jinja2 that escapes everything, refuses unknown names and makes invisible characters visible."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=printable,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def printable(value: Any) -> Any:
    """What an expression of a template prints: plain text made visible, markup of our own as it is."""
    return visible(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def trusted(text: str) -> Any:
    """Text of our own making that is markup already: the style sheet, the charts."""
    from markupsafe import Markup

    return Markup(text)


def shown(section: Section, facts: Facts) -> dict[str, Any]:
    """A section with what its template needs. SVG built by `charts` is passed through as markup."""
    content = section.build(facts)
    for name, value in content.items():
        if name.startswith("svg"):
            content[name] = [trusted(v) for v in value] if isinstance(value, list) else trusted(value)
    return {"id": section.id, "title": section.title, "template": f"sections/{section.id}.html", "v": content}


def page_title(facts: Facts) -> str:
    return f"{facts.result.get('overall', '')}: tcabench report {facts.record.run_id}"
