"""Which tokens were counted: the server's own usage beside a recount with the model's tokenizer."""

from collections.abc import Mapping
from typing import Any

from tcabench.records import RunRecord, Status
from tcabench.report.sections import Section
from tcabench.report.view import Facts, cell, flat


def build(facts: Facts) -> dict[str, Any]:
    return {
        "difference": cell(facts, "values/token_count_difference"),
        "counted": cell(facts, "values/output_tokens"),
        "quality": [{"name": n, "value": v} for n, v in flat(without_grades(facts.record.quality)) if n],
        **totals(facts.record),
    }


def without_grades(quality: Mapping[str, Any]) -> dict[str, Any]:
    """The quality record but for the grade of each single answer, which have a section of their own."""
    return {name: part for name, part in quality.items() if name != "graded"}


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


SECTION = Section("tokens", "Token counting", build)
