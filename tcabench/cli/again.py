"""The page once more, from the evidence it carries: are its words and pictures what this evidence gives?"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tcabench.evidence.pack import open_pack
from tcabench.evidence.slot import split_page
from tcabench.plan import parse_plan
from tcabench.records import RunRecord
from tcabench.verify import Verification
from tcabench.verify.recompute import derive_from, read_raw

SAME = "page: word for word, picture for picture, what tcabench {version} makes of this evidence"
OTHER = (
    "page: not what tcabench {version} with this machine's libraries makes of the evidence. Another version may have "
    "made it; its numbers are checked, its words and pictures are the signer's"
)


def page_again(report: Path, found: Verification) -> str:
    """One sentence on the page in `report`, whose evidence `found` to be sound.

    Rendering is deterministic, so the same version gives the same bytes; a page that differs is not wrong for that.
    """
    from tcabench import __version__
    from tcabench.pipeline import public_rows, signer_facts
    from tcabench.report import render

    page = split_page(report.read_bytes())
    run_id = found.statement["predicate"]["run_id"] if found.statement else ""
    record, result = _record(page.evidence or (report.parent / f"{run_id}.tcab").read_bytes())
    name, rows = f"{record.run_id}.tcab", public_rows(record)
    for signature in found.signatures:
        again = render(record, result, page.evidence, name, signer_facts(signature.keyid), rows)
        if split_page(again).sha256() == page.sha256():
            return SAME.format(version=__version__)
    return OTHER.format(version=__version__)


def _record(tcab: bytes) -> tuple[RunRecord, Mapping[str, Any]]:
    """The run as it was sealed, and its result."""
    members = open_pack(tcab).members
    raw = read_raw(members)
    derived, result = derive_from(raw)
    record = RunRecord(
        run_id=raw.plan["run_id"],
        complete=result["complete"],
        plan=parse_plan(members["plan.json"]).model_dump(mode="json"),
        sut=json.loads(members["sut.json"]),
        channels=raw.channels,
        samples=raw.samples,
        traces=raw.traces,
        window=derived.window,
        energy=derived.energy,
        values=derived.values,
        judgement=derived.judgement,
        quality=json.loads(members["quality.json"]),
        events=raw.events,
        aligned=derived.aligned,
        parity=raw.parity,
        spoken=raw.spoken,
        work=raw.work,
        work_sums=derived.work or {},
    )
    return record, result
