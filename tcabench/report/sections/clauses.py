"""Every clause of the policy with its value, limit, verdict and what would decide it."""

from typing import Any

from tcabench.report.numbers import human
from tcabench.report.sections import Section
from tcabench.report.view import OUTCOMES, Facts, cell


def build(facts: Facts) -> dict[str, Any]:
    verdicts = facts.result.get("verdicts") or []
    return {
        "policy": facts.record.judgement.policy_id,
        "reason": str(facts.result.get("reason", "")),
        "rows": [row(facts, i, verdict) for i, verdict in enumerate(verdicts)],
    }


def row(facts: Facts, i: int, verdict: dict[str, Any]) -> dict[str, Any]:
    outcome = str(verdict.get("outcome", ""))
    return {
        "check": str(verdict.get("check", "")),
        "outcome": outcome,
        "mark": OUTCOMES.get(outcome, ("none", ""))[0],
        "clause": str(verdict.get("clause", "")),
        "reason": str(verdict.get("reason", "")),
        "value": cell(facts, f"verdicts/{i}/value") if verdict.get("value") is not None else None,
        "limit": str(verdict.get("limit") or ""),
        "severity": str(verdict.get("severity", "fail")),
        "decide": decide(i, verdict),
    }


def decide(i: int, verdict: dict[str, Any]) -> dict[str, str] | None:
    """The further measuring time that would decide the clause, or None when no time would."""
    more = verdict.get("decide_s")
    if more is None:
        return None
    return {"path": f"verdicts/{i}/decide_s", "exact": str(more), "text": human(str(more), "s", 3)}


SECTION = Section("clauses", "Clauses", build)
