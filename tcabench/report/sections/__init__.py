"""The parts of the page, in the order they appear. A new part is one file here, one template and one line below."""

from collections.abc import Callable
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any

from tcabench.report.view import Facts


@dataclass(frozen=True, slots=True)
class Section:
    """One part: `id` is its anchor and the name of its template; `build` gives what the template prints."""

    id: str
    title: str
    build: Callable[[Facts], dict[str, Any]]


SECTIONS = (
    "tcabench.report.sections.verdict:SECTION",
    "tcabench.report.sections.clauses:SECTION",
    "tcabench.report.sections.standing:SECTION",
    "tcabench.report.sections.parity:SECTION",
    "tcabench.report.sections.graded:SECTION",
    "tcabench.report.sections.energy:SECTION",
    "tcabench.report.sections.work:SECTION",
    "tcabench.report.sections.uncertainty:SECTION",
    "tcabench.report.sections.meters:SECTION",
    "tcabench.report.sections.facility:SECTION",
    "tcabench.report.sections.carbon:SECTION",
    "tcabench.report.sections.latency:SECTION",
    "tcabench.report.sections.tokens:SECTION",
    "tcabench.report.sections.workload:SECTION",
    "tcabench.report.sections.system:SECTION",
    "tcabench.report.sections.verify:SECTION",
    "tcabench.report.sections.glossary:SECTION",
)


def load_sections() -> list[Section]:
    """Every section, imported."""
    return [resolve_name(name) for name in SECTIONS]
