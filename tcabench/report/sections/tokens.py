"""Which tokens were counted, and whether the answers are what they claim: usage beside recount, and the findings."""

from collections.abc import Mapping, Sequence
from typing import Any

from tcabench.records import RunRecord, Status
from tcabench.report.numbers import human
from tcabench.report.sections import Section
from tcabench.report.view import Facts, cell, flat

ELSEWHERE = ("detected", "graded")  # parts of the record that have a table of their own


def build(facts: Facts) -> dict[str, Any]:
    quality = {name: part for name, part in facts.record.quality.items() if name not in ELSEWHERE}
    return {
        "difference": cell(facts, "values/token_count_difference"),
        "counted": cell(facts, "values/output_tokens"),
        "quality": [{"name": n, "value": v} for n, v in flat(quality) if n],
        "findings": findings(facts.record.quality.get("detected")),
        **totals(facts.record),
    }


def totals(record: RunRecord) -> dict[str, Any]:
    """Sums over all fully answered requests of the run, whatever phase they fell in."""
    done = [t for t in record.traces if t.status is Status.OK]
    both = [t for t in done if t.output_tok is not None and t.recount_tok is not None]
    return {
        "answered": len(done),
        "with_usage": sum(t.output_tok is not None for t in done),
        "with_recount": sum(t.recount_tok is not None for t in done),
        "both": len(both),
        "usage_tok": sum(t.output_tok or 0 for t in both),
        "recount_tok": sum(t.recount_tok or 0 for t in both),
        "differing": sum(t.output_tok != t.recount_tok for t in both),
        "short": sum(t.output_tok is not None and t.output_tok < t.max_tok for t in done),
    }


def findings(found: Any) -> list[dict[str, Any]]:
    """Rows of the findings in `quality.json`: suspect ones first, each kind in the order of the record."""
    listed = found if isinstance(found, Sequence) and not isinstance(found, str) else ()
    rows = [row(one) for one in listed if isinstance(one, Mapping)]
    return sorted(rows, key=lambda one: ("open", "pass", "none").index(one["mark"]))


def row(one: Mapping[str, Any]) -> dict[str, Any]:
    """One finding in words. Nothing looked at is no clean bill: it has a mark of its own."""
    mark = "open" if one.get("suspect") is True else "pass" if one.get("of") else "none"
    return {
        "mark": mark,
        "word": {"open": "SUSPECT", "pass": "no suspicion", "none": "not checked"}[mark],
        "title": str(one.get("title", "")),
        "count": str(one.get("count", "")),
        "of": str(one.get("of", "")),
        "left_out": one.get("left_out"),
        "share": share(one.get("share")),
        "examples": ", ".join(str(index) for index in one.get("examples") or ()),
        "says": str(one.get("says", "")),
    }


def share(found: Any) -> str:
    """ "5 % (2.9 % to 8.6 %)", or nothing where there is no share."""
    if not isinstance(found, Mapping) or "value" not in found:
        return ""
    value, low, high = (human(str(found.get(name)), "1", 2) for name in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


SECTION = Section("tokens", "Token counting", build)
