"""Above the fold: the verdict in words, the headline figures, and what anyone must know before quoting them."""

from typing import Any

from tcabench.report.sections import Section
from tcabench.report.sections.parity import headline
from tcabench.report.sections.system import levers
from tcabench.report.view import GRADES, NO_GRADE, OUTCOMES, Facts, at, cell, estimates


def build(facts: Facts) -> dict[str, Any]:
    overall = str(facts.result.get("overall", ""))
    mark, meaning = OUTCOMES.get(overall, ("none", "not an outcome this page knows"))
    grade = facts.result.get("grade")
    return {
        "overall": overall,
        "mark": mark,
        "meaning": meaning,
        "reason": str(facts.result.get("reason", "")),
        "policy": str(at(facts.result, "policy/id") or facts.record.judgement.policy_id),
        "policy_digest": str(at(facts.result, "policy/digest") or ""),
        "run_id": facts.record.run_id,
        "subject": subject(facts),
        "complete": bool(facts.record.complete and facts.result.get("complete", True)),
        "weights": str(at(facts.record.sut, "model.weights/value") or ""),
        "estimate": facts.is_estimate,
        "estimates": estimates(facts.record),
        "grade": str(grade) if grade else "none",
        "grade_words": GRADES.get(str(grade), NO_GRADE),
        "grade_why": str(facts.result.get("grade_why", "")),
        "boundary": str(facts.result.get("boundary") or ""),
        "per_kwh": cell(facts, "values/output_tokens_per_kwh"),
        "per_token": cell(facts, "values/j_per_output_token"),
        "rate": cell(facts, "values/output_tokens_per_s"),
        "errors": cell(facts, "values/error_rate"),
        "approximate": [lever["name"] for lever in levers(facts) or () if lever["kind"] == "approximate"],
        "answers": headline(facts.record.parity),
    }


def subject(facts: Facts) -> dict[str, str]:
    """Model and workload as the plan names them; "not named" where it does not."""
    plan = facts.record.plan
    model, workload = plan.get("model"), plan.get("workload")
    if isinstance(model, dict):
        model = model.get("name") or model.get("id")
    if isinstance(workload, dict):
        workload = workload.get("name")
    return {"model": str(model or "not named"), "workload": str(workload or "not named")}


SECTION = Section("verdict", "Verdict", build)
