"""Efficiency is worth what the answers are: how many were right, and the energy for one of those."""

from collections.abc import Mapping
from typing import Any

from tcabench.report.numbers import human
from tcabench.report.sections import Section
from tcabench.report.view import Facts, at, cell


def build(facts: Facts) -> dict[str, Any]:
    account = at(facts.record.quality, "graded") or {}
    kinds = [row(kind, counts) for kind, counts in (account.get("kinds") or {}).items()]
    return {
        "accuracy": cell(facts, "values/accuracy"),
        "per_correct": cell(facts, "values/j_per_correct_answer"),
        "rows": [*kinds, row("all", account["overall"])] if kinds else [],
        "why": str(
            account.get("none")
            or at(facts.record.quality, "none/why")
            or "the prompts of this workload state no right answers"
        ),
    }


def row(kind: str, counts: Mapping[str, Any]) -> dict[str, Any]:
    """One line of the table. Shares are in percent, "none" where nothing was graded."""
    share = counts.get("accuracy")
    shown = {end: human(str(share[end]), "1", 3) if share else "none" for end in ("value", "low", "high")}
    ungraded = counts["answers"] - counts["graded"]
    return {"kind": kind, **{n: counts[n] for n in ("prompts", "graded", "right")}, "ungraded": ungraded, **shown}


SECTION = Section("graded", "Right answers", build)
