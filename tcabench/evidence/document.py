"""`result.json`: what a run found, every number a decimal string. The run writes it, verify derives it again."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from tcabench.evidence.energy_document import energy_document, optional, value_document
from tcabench.evidence.soundness import broken_counters, clock_faults, lost_rel
from tcabench.records import Channel, Energy, Judgement, NotMetered, Value, Verdict, Window
from tcabench.units import seconds

SCHEMA = "tcabench/result/v1"


def result_document(
    run_id: str,
    complete: bool,
    window: Window | None,
    energy: Energy | None,
    values: Mapping[str, Value],
    judgement: Judgement,
    policy_id: str,
    policy_digest: str,
) -> dict[str, Any]:
    """The result as JSON-ready values: numbers through `units.decimal`, instants in ns as decimal strings.

    raises: ValueError for a value that is not finite.
    """
    return {
        "schema": SCHEMA,
        "run_id": run_id,
        "complete": complete,
        "grade": energy.grade if energy else None,
        "grade_why": energy.grade_why if energy else "nothing was metered over a window",
        "boundary": energy.boundary if energy else None,
        "window": _window(window) if window else None,
        "values": {name: value_document(value) for name, value in values.items()},
        "energy": energy_document(energy) if energy else None,
        "policy": {"id": policy_id, "digest": policy_digest},
        "overall": judgement.overall.value,
        "reason": judgement.reason,
        "verdicts": [_verdict(verdict) for verdict in judgement.verdicts],
    }


def without_window(names: Sequence[str], why: str) -> dict[str, Value]:
    """The values of a run that has no measuring window: none, each saying why."""
    return {name: NotMetered(why) for name in names}


def judge_facts(
    plan: Mapping[str, Any],
    channels: Sequence[Channel],
    energy: Energy | None,
    window: Window | None,
    complete: bool,
    stat_rel: float | None,
    sut: Mapping[str, Any],
    parity: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """What a policy may ask about a run besides its values; the run and its verifier tell it the same. `parity`: what
    was found in the comparison with a reference, None where there is none."""
    return {
        "grade": energy.grade if energy else None,
        "lost_rel": lost_rel(energy) if energy else None,
        "clock_faults": clock_faults(energy, channels) if energy else (),
        "broken_counters": broken_counters(energy) if energy else (),
        "boundary": energy.boundary if energy else plan["boundary"],
        "model": plan["model"],
        "model_sha256": plan["model_sha256"],
        "workload": plan["workload"]["name"],
        "workload_version": plan["workload"]["version"],
        "workload_digest": plan["workload"]["digest"],
        "window_s": seconds(window.end_ns - window.start_ns) if window else 0.0,
        "concurrency": plan["concurrency"],
        "complete": complete,
        "stat_rel": stat_rel,
        "levers": (sut.get("server.levers") or {}).get("value"),
        "answers": _answers(plan["reference"], parity) if parity else None,
    }


def _answers(planned: Mapping[str, Any], parity: Mapping[str, Any]) -> dict[str, Any]:
    """The verdict on the answers, how many of those given while meters ran were the same, and what was declared."""
    declared = {"reference": planned["system"], "margin": planned["perplexity_margin"], "prompts": planned["prompts"]}
    return {"verdict": parity["verdict"], "metered": parity.get("metered"), **declared}


def _window(window: Window) -> dict[str, str]:
    return {name: str(value) for name, value in asdict(window).items()}


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "check": verdict.check,
        "outcome": verdict.outcome.value,
        "clause": verdict.clause,
        "reason": verdict.reason,
        "value": None if verdict.value is None else value_document(verdict.value),
        "limit": verdict.limit,
        "decide_s": optional(verdict.decide_s),
        "severity": verdict.severity,
    }
