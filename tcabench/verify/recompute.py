"""Step 5: every number again, from the raw samples."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tcabench.energy import integrate
from tcabench.errors import NotMeasured, NotVerified
from tcabench.evidence.canonical import read_canonical, read_json, read_lines
from tcabench.evidence.document import judge_facts, result_document, without_window
from tcabench.evidence.tables import WORK_TABLE, read_channels, read_samples, read_traces, read_work
from tcabench.metrics import compute, stat_rel
from tcabench.metrics.work_in_window import work_in_window
from tcabench.plan import parse_plan
from tcabench.policy import Policy, judge, parse_policy
from tcabench.records import (
    Axis,
    Channel,
    Context,
    Energy,
    Judgement,
    PowerSample,
    Trace,
    Value,
    Window,
    WindowPlan,
    Work,
)
from tcabench.timeline import align, steady_window
from tcabench.units import NS_PER_S
from tcabench.verify.parity import Pair, found_in, read_parity


@dataclass(frozen=True, slots=True)
class Raw:
    """The evidence as it was measured, and the `result` that is claimed to follow from it."""

    plan: Mapping[str, Any]
    channels: tuple[Channel, ...]
    traces: tuple[Trace, ...]
    samples: tuple[PowerSample, ...]
    events: tuple[Mapping[str, Any], ...]
    policy: Policy
    result: Mapping[str, Any]
    quality: Mapping[str, Any]
    sut: Mapping[str, Any]
    parity: Mapping[str, Any]
    spoken: Pair | None
    work: tuple[Work, ...]


@dataclass(frozen=True, slots=True)
class Told:
    """What is known of a run beside what was measured in it: the facts of the system, what was found in the comparison
    with a reference (see `found_in`; None where there is none), what the server told of its work."""

    sut: Mapping[str, Any] = field(default_factory=dict)
    parity: Mapping[str, Any] | None = None
    work: Sequence[Work] = ()


NOTHING = Told()


@dataclass(frozen=True, slots=True)
class Derived:
    """What follows from a run: no window and no energy where it did not get that far; `facts` for policies."""

    window: Window | None
    energy: Energy | None
    values: Mapping[str, Value]
    facts: Mapping[str, Any]
    judgement: Judgement
    aligned: tuple[PowerSample, ...] = ()
    parity: Mapping[str, Any] | None = None  # what was found in the comparison with a reference, where there is one
    work: Mapping[str, Any] | None = None  # sums of what the server says it did and was spared in the window

    def on_page(self) -> dict[str, Any]:
        """What a page shows numbers of beside those of the result."""
        return {"parity": self.parity, "work": self.work}


def read_raw(members: Mapping[str, bytes]) -> Raw:
    """The members of a bundle as records. raises: NotVerified, or UsageError for a policy that is none."""
    parity, spoken = read_parity(members)
    return Raw(
        plan=_plan(members["plan.json"]),
        channels=read_channels(members["channels.json"]),
        traces=read_traces(members["requests.parquet"]),
        samples=read_samples(members["power.parquet"]),
        events=read_lines(members["events.jsonl"], "events.jsonl"),
        policy=parse_policy(members["policy.yaml"]),
        result=read_canonical(members["result.json"], "result.json"),
        quality=_object(members["quality.json"], "quality.json"),
        sut=_object(members["sut.json"], "sut.json"),
        parity=parity,
        spoken=spoken,
        work=read_work(members[WORK_TABLE]) if WORK_TABLE in members else (),
    )


def _plan(content: bytes) -> Mapping[str, Any]:
    """The plan as it is saved, once it has passed the door that a run's own plan passes."""
    document: Mapping[str, Any] = read_json(content, "plan.json")
    parse_plan(content)
    return document


def _object(content: bytes, name: str) -> Mapping[str, Any]:
    found = read_json(content, name)
    if not isinstance(found, dict):
        raise NotVerified(f"{name}: not an object", kind="malformed")
    return found


def derive(
    plan: Mapping[str, Any],
    channels: Sequence[Channel],
    traces: Sequence[Trace],
    samples: Sequence[PowerSample],
    events: Sequence[Mapping[str, Any]],
    policy: Policy,
    complete: bool,
    told: Told = NOTHING,
) -> Derived:
    """Window, energy, values and judgement from what was recorded; the same call for the run and for its verifier.

    A run without a window has values that say why, and a judgement over them.
    """
    window: Window | None = None
    energy: Energy | None = None
    spread: float | None = None
    aligned: tuple[PowerSample, ...] = ()
    try:
        window = steady_window(traces, phase_marks(events), WindowPlan(**plan["window"]))
    except NotMeasured as err:
        values = without_window(plan["metrics"], str(err))
    else:
        axis = align(channels, samples, events, window)
        aligned, context = axis.samples, _context(plan, events, axis, traces, window)
        energy = integrate(channels, axis.samples, window, plan["boundary"], context)
        values = compute(plan["metrics"], traces, energy, window)
        spread = stat_rel(traces, energy, window)
    facts = judge_facts(plan, channels, energy, window, complete, spread, told.sut, told.parity)
    sums = work_in_window(told.work, traces, window)
    return Derived(window, energy, values, facts, judge(policy, values, facts), aligned, told.parity, sums)


def _context(
    plan: Mapping[str, Any],
    events: Sequence[Mapping[str, Any]],
    axis: Axis,
    traces: Sequence[Trace],
    window: Window,
) -> Context:
    """What the account of energy needs beside the readings: how they were aligned, what was asked, where and when."""
    site, at_ns = plan.get("site") or {}, wall_ns(events, window.start_ns)
    day = "" if at_ns is None else datetime.fromtimestamp(at_ns // NS_PER_S, UTC).date().isoformat()
    return Context(axis.alignments, axis.health, tuple(traces), site, day, at_ns or 0)


def wall_ns(events: Sequence[Mapping[str, Any]], t_ns: int) -> int | None:
    """The wall time (Unix ns) of an instant of the run's clock, by the anchor taken at its start; None without one."""
    anchors = [event for event in events if event["event"] == "wall_anchor"]
    return int(anchors[0]["wall_ns"]) + t_ns - int(anchors[0]["t"]) if anchors else None


def phase_marks(events: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Phase -> instant in ns, from the events named "phase"."""
    return {event["phase"]: event["t"] for event in events if event["event"] == "phase"}


def derive_from(raw: Raw) -> tuple[Derived, dict[str, Any]]:
    """What follows from the raw evidence, and the `result.json` that it should have."""
    complete = raw.result["complete"]
    found = found_in(raw.parity, raw.spoken, raw.traces, raw.plan["workload"]["temperature"])
    told = Told(raw.sut, found, raw.work)
    derived = derive(raw.plan, raw.channels, raw.traces, raw.samples, raw.events, raw.policy, complete, told)
    document = result_document(
        raw.plan["run_id"],
        complete,
        derived.window,
        derived.energy,
        derived.values,
        derived.judgement,
        raw.policy.id,
        raw.policy.digest,
    )
    return derived, document


def differences(found: Any, expected: Any, path: str = "") -> Iterator[str]:
    """Every place where `found` is not `expected`, as "path: found, recomputed expected"."""
    if isinstance(found, Mapping) and isinstance(expected, Mapping):
        for name in sorted(set(found) | set(expected)):
            yield from differences(found.get(name, "(absent)"), expected.get(name, "(absent)"), f"{path}/{name}")
    elif isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        for index, (one, other) in enumerate(zip(found, expected, strict=True)):
            yield from differences(one, other, f"{path}/{index}")
    elif found != expected or type(found) is not type(expected):
        yield f"{path.removeprefix('/')}: stated {_short(found)}, recomputed {_short(expected)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
