"""The verdict of a policy on a run."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tcabench.policy.checks.check import Check
from tcabench.policy.checks.min_grade import MinGrade
from tcabench.policy.checks.readings import Readings
from tcabench.policy.limits import is_energy
from tcabench.policy.schema import Policy
from tcabench.records import Judgement, Outcome, Quantity, Value, Verdict


def judge(policy: Policy, values: Mapping[str, Value], facts: Mapping[str, Any]) -> Judgement:
    """Every clause of `policy` judged, and the overall outcome.

    Out of scope, nothing passes or fails: all is NOT APPLICABLE. Where a requirement on the evidence is not met, no
    clause passes; and where the grade is too low or too many readings were lost, figures of energy do not fail either.
    Overall: NOT APPLICABLE if a check says so, else FAIL if one fails, else INCONCLUSIVE if one is, else PASS; checks
    of severity warn do not count.

    facts: grade, boundary, model, model_sha256, workload, workload_version, workload_digest, window_s, concurrency,
    complete, stat_rel (relative half-width, k = 2, of the energy per token that comes from spread within the run),
    lost_rel (share of the window without sound readings), clock_faults (why a meter's clock is not to be trusted) and
    broken_counters (what happened to counters that started anew, where power was taken instead), levers (those that
    are on, each "equivalent" or "approximate") and answers (verdict, margin, prompts and reference of the comparison).
    A fact that is absent is unknown, which is never in a policy's favour.
    """
    required = [_judged(check, policy, values, facts) for check in policy.requirements]
    rows = [_judged(check, policy, values, facts) for check in policy.clauses]
    if outside := _first([*required, *rows], Outcome.NOT_APPLICABLE):
        verdicts = [_not_applicable(row) for row in (*required, *rows)]
        return Judgement(policy.id, Outcome.NOT_APPLICABLE, outside.reason, tuple(verdicts))
    weak = [row for row in required if row.outcome is not Outcome.PASS]
    on_meters = {check.id for check in policy.requirements if isinstance(check, MinGrade | Readings)}
    verdicts = [*required, *(_capped(row, weak, any(need.check in on_meters for need in weak)) for row in rows)]
    overall, reason = _overall(verdicts)
    return Judgement(policy.id, overall, reason, tuple(verdicts))


def _judged(check: Check, policy: Policy, values: Mapping[str, Value], facts: Mapping[str, Any]) -> Verdict:
    return check.judge(values, facts, policy.decision_rule)


def _not_applicable(row: Verdict) -> Verdict:
    if row.outcome is Outcome.NOT_APPLICABLE:
        return row
    reason = "Not judged: the run is outside the scope of this policy."
    return replace(row, outcome=Outcome.NOT_APPLICABLE, reason=reason, decide_s=None)


def _capped(row: Verdict, weak: Sequence[Verdict], poor_meters: bool) -> Verdict:
    """`row`, made INCONCLUSIVE if the evidence as a whole cannot carry it."""
    on_energy = isinstance(row.value, Quantity) and is_energy(row.value.unit, row.clause.partition(" ")[0])
    if weak and (row.outcome is Outcome.PASS or (row.outcome is Outcome.FAIL and poor_meters and on_energy)):
        asked = ", ".join(need.check for need in weak)
        would = "hold" if row.outcome is Outcome.PASS else "be missed"
        reason = f"{row.reason} It would {would}, but the evidence is not what the policy asks for ({asked})."
        return replace(row, outcome=Outcome.INCONCLUSIVE, reason=reason)
    return row


def _overall(verdicts: Sequence[Verdict]) -> tuple[Outcome, str]:
    for outcome in (Outcome.FAIL, Outcome.INCONCLUSIVE):
        if row := _first(verdicts, outcome):
            return outcome, f"{row.check}: {row.reason}"
    warned = [row.check for row in verdicts if row.outcome is not Outcome.PASS]
    kept = f"All {len(verdicts) - len(warned)} checks that decide hold."
    return (
        Outcome.PASS,
        f"{kept} Warnings that do not: {', '.join(warned)}." if warned else f"All {len(verdicts)} checks hold.",
    )


def _first(verdicts: Sequence[Verdict], outcome: Outcome) -> Verdict | None:
    """The first verdict of that outcome that decides."""
    return next((row for row in verdicts if row.outcome is outcome and row.severity == "fail"), None)
