"""What was asked of the system, and what happened besides answering."""

from collections.abc import Mapping
from typing import Any

from tcabench.report.sections import Section
from tcabench.report.view import Facts, flat, phases, zero_ns

MOST_EVENTS = 40


def build(facts: Facts) -> dict[str, Any]:
    window = facts.result.get("window") or {}
    events = [e for e in facts.record.events if e.get("event") != "phase"]
    return {
        "plan": [{"name": n, "value": v} for n, v in flat(facts.record.plan) if n],
        "phases": phases(facts.record),
        "why_end": str(window.get("why_end", "")),
        "events": [event(e, zero_ns(facts.record)) for e in events[:MOST_EVENTS]],
        "more_events": max(0, len(events) - MOST_EVENTS),
    }


def event(found: Mapping[str, Any], zero: int) -> dict[str, str]:
    t = found.get("t")
    rest = {k: v for k, v in found.items() if k not in ("t", "event")}
    return {
        "at": f"{(int(t) - zero) / 1e9:.1f} s" if isinstance(t, (int, str)) and str(t).lstrip("-").isdigit() else "",
        "event": str(found.get("event", "")),
        "detail": "; ".join(f"{k}: {v}" for k, v in flat(rest) if k),
    }


SECTION = Section("workload", "Workload and plan", build)
