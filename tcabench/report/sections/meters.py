"""How sound the readings were: what came, what was lost, whose clock was off by how much, what the sampling cost."""

from typing import Any

from tcabench.report.numbers import human
from tcabench.report.sections import Section
from tcabench.report.view import Facts, at, number


def build(facts: Facts) -> dict[str, Any]:
    return {
        "health": [health(facts, i) for i in range(len(at(facts.result, "energy/health") or []))],
        "alignments": [alignment(facts, i) for i in range(len(at(facts.result, "energy/alignments") or []))],
        "events": events(facts),
        "costs": costs(facts),
    }


def health(facts: Facts, i: int) -> dict[str, Any]:
    path = f"energy/health/{i}"
    found = at(facts.result, path)
    counts = {name: number(facts, f"{path}/{name}", "", 9) for name in ("expected", "got", "late", "duplicates")}
    spans = {name: number(facts, f"{path}/{name}", "s", 3) for name in ("frozen_s", "missing_s")}
    lost = number(facts, f"{path}/lost_rel", "1", 3)
    return {"channel": str(found["channel"]), **counts, **spans, "lost": lost, "faults": found["faults"]}


def alignment(facts: Facts, i: int) -> dict[str, Any]:
    """One meter's clock; instants in ns are told in ms, their exact ns beside them."""
    path = f"energy/alignments/{i}"
    found = at(facts.result, path)
    return {
        "meter": str(found["meter"]),
        "method": str(found["method"]),
        "why": str(found["why"]),
        "shift": milliseconds(facts, f"{path}/shift_ns"),
        "error": milliseconds(facts, f"{path}/error_ns"),
        "residual": number(facts, f"{path}/residual_rel", "1", 2),
    }


def milliseconds(facts: Facts, path: str) -> dict[str, Any] | None:
    found = number(facts, path, "")
    return found and {**found, "text": human(repr(int(found["exact"]) / 1e9), "s", 4)}


def events(facts: Facts) -> list[dict[str, str]]:
    """What went wrong with meters while the run was under way, first things first."""
    kinds = ("meter_", "sampler_", "sink_", "bad_value", "clock_error", "missed_ticks", "late")
    found = [e for e in facts.record.events if str(e["event"]).startswith(kinds) and e["event"] != "sampler_cost"]
    return [
        {"event": str(e["event"]).replace("_", " "), "meter": str(e.get("meter", "")), "why": str(e.get("why", ""))}
        for e in found[:20]
    ]


def costs(facts: Facts) -> list[dict[str, str]]:
    """What the sampling itself took of a processor core, by meter; the last word of each counts."""
    last = {str(e.get("meter", "")): e for e in facts.record.events if e["event"] == "sampler_cost"}
    return [
        {
            "meter": name or "all of the sampler",
            "share": human(repr(float(e["share"])), "1", 3),
            "reads": str(e.get("reads", "")),
        }
        for name, e in sorted(last.items())
    ]


SECTION = Section("meters", "Meters and their clocks", build)
