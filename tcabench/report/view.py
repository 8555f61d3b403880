"""From record and result to plain dicts: what the sections print. Values only; no file, clock or network.

Every number of `result.json` goes through `cell`, so that it carries its path and its exact decimal.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tcabench.records import Kind, RunRecord, Status, Trace
from tcabench.report.numbers import human, interval, parsed

J_PER_TOKEN_AT_15K = 240
DEEPER = " \u203a "  # between a name and the name inside it
ENERGY_UNITS = ("J", "W", "kWh", "ktoken", "g")
NO_METER = ("intensity_location", "intensity_market")  # of the grid, whoever metered what
RATIOS = ("ppue", "ppue_interim", "ere", "cer")  # told as 1.15, not as 115 %

GRADES = {
    "E0": "an estimate from CPU time and a stated power model, not a measurement",
    "E1": "device power, polled; the device's own uncalibrated reading",
    "E2": "device energy counter, read at its edges and agreeing with integrated power within 2 %",
    "E3": "device energy counters, CPU counters and a measured model of the rest of the node",
    "E4": "board management controller, Redfish or an uncalibrated power strip",
    "E5": "class 1 metered power strip with a dated certificate",
    "E6": "class 0.5 meter or power analyzer",
    "E7": "calibrated wall meters plus facility cooling and UPS meters, synchronous",
}
NO_GRADE = "no energy was metered, so no energy figure stands on anything"

OUTCOMES = {
    "PASS": ("pass", "every clause that decides was met, by the rule that its line below states"),
    "FAIL": ("fail", "at least one clause that decides was missed, by the rule that its line below states"),
    "INCONCLUSIVE": ("open", "the evidence does not decide at least one clause"),
    "NOT APPLICABLE": ("none", "this run lies outside what the policy is about; that is not a pass"),
}

BOUNDARIES = {
    "chip": "the accelerators or processor packages alone; memory, disks, fans, power supplies, cooling are not in it",
    "node": "the whole machine; shared switches, power distribution and cooling are not in it",
    "rack": "the whole rack; the room's cooling and power conversion are not in it",
    "facility": "everything up to the site's meter, cooling and power conversion included",
}


@dataclass(frozen=True, slots=True)
class Facts:
    """All a section may look at."""

    record: RunRecord
    result: Mapping[str, Any]
    signer: Mapping[str, Any]
    standing: Sequence[Mapping[str, Any]]
    evidence_name: str
    embedded: bool

    @property
    def is_estimate(self) -> bool:
        """Whether any energy figure rests on a model instead of an instrument."""
        if self.result.get("grade") == "E0":
            return True
        used = {d.channel for d in self.record.energy.domains} if self.record.energy else set()
        return any(c.is_estimate for c in self.record.channels if c.id in used)


def at(document: Any, path: str) -> Any:
    """The part of `document` that `path` ("values/ttft.p50/value") names, or None when it is not there."""
    for step in path.split("/"):
        if isinstance(document, Mapping):
            document = document.get(step)
        elif isinstance(document, Sequence) and not isinstance(document, str) and step.isdigit():
            document = document[int(step)] if int(step) < len(document) else None
        else:
            return None
    return document


def cell(facts: Facts, path: str) -> dict[str, Any]:
    """The quantity at `path` of the result, ready to print: `kind` is "quantity" or "absent" (with `why`)."""
    found = at(facts.result, path)
    if not isinstance(found, Mapping) or "value" not in found:
        why = found.get("not_metered", "no reason given") if isinstance(found, Mapping) else "not in the result"
        return {"kind": "absent", "path": path, "why": str(why)}
    is_ratio = path.rpartition("/")[2] in RATIOS
    unit = "" if is_ratio else str(found.get("unit", ""))
    exact = {name: str(found.get(name, found["value"])) for name in ("value", "low", "high")}
    on_meters = is_ratio or any(part in ENERGY_UNITS for part in unit.split("/"))
    estimate = facts.is_estimate and on_meters and path.rpartition("/")[2] not in NO_METER
    is_open = found.get("open_above") is True
    shown = interval(exact["value"], exact["low"], exact["high"], unit, is_open)
    return {
        "kind": "quantity",
        "path": path,
        "exact": exact,
        "shown": shown._asdict(),
        "is_open": is_open,
        "estimate": estimate,
    }


def number(facts: Facts, path: str, unit: str, digits: int = 4) -> dict[str, Any] | None:
    """A bare decimal at `path` in `unit`, or None when the result has none there."""
    found = at(facts.result, path)
    if found is None or isinstance(found, (Mapping, list)):
        return None
    return {"path": path, "exact": str(found), "text": human(str(found), unit, digits)}


def float_at(facts: Facts, path: str) -> float | None:
    """The decimal at `path` as a float for drawing, or None."""
    found = at(facts.result, path)
    value = parsed(str(found)) if found is not None else None
    return None if value is None else float(value)


def flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """(name, value) as text for every leaf of a nested dict or list, in its own order."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from flat(inner, inside(name, key))
    elif isinstance(value, Sequence) and not isinstance(value, (str, bytes)) and len(value) > 0:
        if all(not isinstance(v, (Mapping, list, tuple)) for v in value):
            yield name, ", ".join(word(v) for v in value)
        else:
            for i, inner in enumerate(value):
                yield from flat(inner, inside(name, i + 1))
    else:
        yield name, word(value)


def inside(name: str, key: Any) -> str:
    """ "arrivals" and "rate" as one name, the outer first."""
    return f"{name}{DEEPER}{key}" if name else str(key)


def word(value: Any) -> str:
    """A JSON scalar as people write it."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value in ([], {}, ()) else str(value)


def sourced(value: Any, name: str = "") -> Iterator[dict[str, str]]:
    """Rows of a `sut.json`: each leaf {"value", "source"} as name, value, source and, where absent, its why."""
    if isinstance(value, Mapping) and ("value" in value or "not_metered" in value or "not_available" in value):
        yield sourced_row(value, name)
    elif isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from sourced(inner, inside(name, key))
    else:
        for path, text in flat(value, name):
            yield {"name": path, "value": text, "why": "", "source": ""}


def sourced_row(leaf: Mapping[str, Any], name: str) -> dict[str, str]:
    value = leaf.get("value")
    source = str(leaf.get("source") or "")
    if value is None:
        why = leaf.get("not_metered") or leaf.get("not_available") or leaf.get("why") or "the source does not say"
        return {"name": name, "value": "", "why": str(why), "source": source}
    unit = str(leaf.get("unit") or "")
    text = "; ".join(f"{k}: {v}" if k else v for k, v in flat(value))
    return {"name": name, "value": f"{text} {unit}".strip(), "why": "", "source": source}


def answered(record: RunRecord) -> list[Trace]:
    """The requests whose latencies count: answered with content, and begun inside the measuring window."""
    w = record.window
    if w is None:
        return []
    return [t for t in record.traces if t.status is Status.OK and t.chunk_ns and w.start_ns <= origin_ns(t) < w.end_ns]


def origin_ns(trace: Trace) -> int:
    """Where latency counts from: the scheduled instant where there is one, else the sending."""
    return trace.sent_ns if trace.due_ns is None else trace.due_ns


def latencies_s(record: RunRecord) -> dict[str, list[float]]:
    """Samples in s behind the latency charts: "ttft", "itl" and "e2e"."""
    traces = answered(record)
    return {
        "ttft": [(t.chunk_ns[0] - origin_ns(t)) / 1e9 for t in traces],
        "itl": [(b - a) / 1e9 for t in traces for a, b in pairwise(t.chunk_ns)],
        "e2e": [(t.end_ns - origin_ns(t)) / 1e9 for t in traces],
    }


def phases(record: RunRecord) -> list[dict[str, Any]]:
    """The phases of the run in s from the first request, empty ones left out."""
    w = record.window
    if w is None:
        return []
    spans = [
        ("idle", "idle", w.idle_start_ns, w.idle_end_ns),
        ("marker", "load marker", *marker_ns(record)),
        ("warmup", "warm-up", w.load_start_ns, w.start_ns),
        ("window", "measuring window", w.start_ns, w.end_ns),
        ("drain", "drain", w.end_ns, w.drain_end_ns),
        ("idle", "idle", w.idle_after_start_ns, w.idle_after_end_ns),
    ]
    zero = w.load_start_ns
    return [
        {"key": key, "name": name, "start_s": (a - zero) / 1e9, "end_s": (b - zero) / 1e9}
        for key, name, a, b in spans
        if b > a
    ]


def marker_ns(record: RunRecord) -> tuple[int, int]:
    """When the load marker began and ended, in ns; twice 0 for a run without one."""
    at_ns = {str(e["phase"]): int(e["t"]) for e in record.events if e["event"] == "phase"}
    return at_ns.get("marker_start", 0), at_ns.get("marker_end", 0)


def zero_ns(record: RunRecord) -> int:
    """Where the time axis of the charts starts: the first request, else the first reading."""
    if record.window is not None:
        return record.window.load_start_ns
    return min((s.t_ns for s in record.samples), default=0)


def estimates(record: RunRecord) -> list[str]:
    """The power and energy channels that are models, as "id (why)"."""
    kinds = (Kind.POWER, Kind.ENERGY, Kind.CPU_TIME)
    return [f"{c.id} ({c.accuracy_source})" for c in record.channels if c.is_estimate and c.kind in kinds]
