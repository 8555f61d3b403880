"""Runs every detector over the answers of a run."""

from collections.abc import Iterable, Sequence
from typing import Any

from tcabench.quality.detectors import DETECTORS
from tcabench.quality.detectors.finding import Detector, Finding
from tcabench.records import Quantity, Trace


def detect(traces: Sequence[Trace], pinned: bool, names: Iterable[str] = ()) -> tuple[Finding, ...]:
    """What every detector says of `traces`, clean or not; `pinned` says whether the server held their length.
    `names`: the detectors to run; all that are known, plug-ins too, where none is named.

    raises: PluginError for a detector that does not load.
    """
    detectors: list[Detector] = [DETECTORS.load(name) for name in names or DETECTORS.table()]
    return tuple(finding for one in detectors for finding in one(traces, pinned))


def detected(findings: Sequence[Finding]) -> dict[str, Any]:
    """The findings as the part `detected` of `quality.json`, ready for JSON."""
    return {"detected": [document(finding) for finding in findings]}


def document(finding: Finding) -> dict[str, Any]:
    """One finding, with its share and interval as decimals, or why it has none."""
    share = finding.share
    return {
        "name": finding.name,
        "title": finding.title,
        "count": finding.count,
        "of": finding.of,
        "left_out": finding.left_out,
        "share": {"value": repr(share.value), "low": repr(share.low), "high": repr(share.high), "unit": share.unit}
        if isinstance(share, Quantity)
        else {"not_metered": share.why},
        "examples": list(finding.examples),
        "says": finding.says,
        "suspect": finding.is_suspect,
    }
