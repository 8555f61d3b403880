"""Power over time, energy by domain, and every stretch in which nothing was read."""

from typing import Any

from tcabench.report.charts import MOST_SERIES, power_chart
from tcabench.report.sections import Section
from tcabench.report.series import Envelope, drawn_channels, envelope
from tcabench.report.view import BOUNDARIES, Facts, at, cell, float_at, number, phases, zero_ns

TWIN_ROWS = 24
OTHERS = (
    ("energy_total", "Energy in the window"),
    ("energy_dynamic", "Above idle"),
    ("j_per_output_token_dynamic", "Above idle, per output token"),
    ("j_per_prompt_token_prefill", "Prefill, per prompt token"),
    ("j_per_output_token_decode", "Decode, per output token"),
    ("power_idle_before", "Idle power before the load"),
    ("power_idle_after", "Idle power after the load"),
)


def build(facts: Facts) -> dict[str, Any]:
    series = power_series(facts)
    spans = phases(facts.record)
    boundary = str(facts.result.get("boundary") or "")
    return {
        "total": cell(facts, "energy/total"),
        "mean": cell(facts, "energy/mean_power"),
        "peak": cell(facts, "energy/peak_power"),
        "idle": cell(facts, "energy/idle_power"),
        "split": split(facts),
        "others": [(name, cell(facts, f"values/{key}")) for key, name in OTHERS if key in facts.result["values"]],
        "per_request": cell(facts, "values/j_per_request"),
        "boundary": boundary,
        "boundary_words": BOUNDARIES.get(boundary, "not described"),
        "grade": str(facts.result.get("grade") or "none"),
        "grade_why": str(facts.result.get("grade_why", "")),
        "domains": [domain(facts, i) for i in range(len(at(facts.result, "energy/domains") or []))],
        "phases": spans,
        "series": series,
        "undrawn": max(0, len(series) - MOST_SERIES),
        "twin": [row for s in series for row in twin(s)],
        "gaps": [{"label": s.label, "start_s": g.start_s, "end_s": g.end_s} for s in series for g in s.gaps],
        "svg": chart(facts, series, spans) if series else "",
    }


def split(facts: Facts) -> dict[str, Any] | None:
    """Prefill, decode and the rest, or None where there is no split."""
    found = at(facts.result, "energy/split")
    if found is None:
        return None
    parts = (("prefill", "prefill"), ("decode", "decode"), ("unloaded", "no request under way"))
    return {"rule": str(found["rule"]), "parts": [(name, cell(facts, f"energy/split/{key}")) for key, name in parts]}


def power_series(facts: Facts) -> list[Envelope]:
    zero = zero_ns(facts.record)
    samples = facts.record.aligned or facts.record.samples
    found = (envelope(c, samples, zero) for c in drawn_channels(facts.record.channels))
    return [s for s in found if s is not None]


def chart(facts: Facts, series: list[Envelope], spans: list[dict[str, Any]]) -> str:
    idle, mean = float_at(facts, "energy/idle_power/value"), float_at(facts, "energy/mean_power/value")
    names = ", ".join(f"{s.label} ({s.readings} readings, {len(s.gaps)} gaps)" for s in series)
    parts = "; ".join(f"{p['name']} {p['start_s']:.1f} to {p['end_s']:.1f} s" for p in spans)
    return power_chart(series, spans, idle, mean, f"Power in watts over time for {names}. Phases: {parts}.")


def domain(facts: Facts, i: int) -> dict[str, Any]:
    path = f"energy/domains/{i}"
    found = at(facts.result, path)
    return {
        "name": str(found.get("domain", "")),
        "method": str(found.get("method", "")),
        "channel": str(found.get("channel", "")),
        "energy": cell(facts, f"{path}/energy"),
        "residual": number(facts, f"{path}/residual_rel", "1", 2),
        "gaps": number(facts, f"{path}/gaps", "", 9),
        "longest": number(facts, f"{path}/longest_gap_s", "s", 3),
        "other": cell(facts, f"{path}/other"),
        "why": str(found.get("why", "")),
    }


def twin(series: Envelope) -> list[dict[str, Any]]:
    """About two dozen rows of the drawn series: the table behind the chart."""
    step = max(1, len(series.t_s) // TWIN_ROWS)
    return [
        {
            "label": series.label,
            "t_s": series.t_s[i],
            "low": min(series.low_w[i : i + step]),
            "mean": sum(series.mean_w[i : i + step]) / len(series.mean_w[i : i + step]),
            "high": max(series.high_w[i : i + step]),
        }
        for i in range(0, len(series.t_s), step)
    ]


SECTION = Section("energy", "Energy", build)
