"""The energy account as JSON-ready values: what it adds up to, and everything it rests on."""

from collections.abc import Sequence
from typing import Any

from tcabench.records import (
    Alignment,
    Carbon,
    Component,
    DomainEnergy,
    Energy,
    Facility,
    Health,
    Heat,
    NotMetered,
    Rung,
    Split,
    Value,
)
from tcabench.units import decimal

TOTALS = ("total", "mean_power", "peak_power", "idle_power", "idle_before", "idle_after", "dynamic")
SHARES = ("it", "it_all", "share", "cooling", "loss", "ppue", "erf", "ere", "wue", "cer")


def value_document(value: Value) -> dict[str, Any]:
    """{"value", "low", "high", "unit"}, or {"not_metered": why}. `"open_above": true` stands there only where `high`
    bounds nothing."""
    if isinstance(value, NotMetered):
        return {"not_metered": value.why}
    numbers = {"value": decimal(value.value), "low": decimal(value.low), "high": decimal(value.high)}
    return {**numbers, "unit": value.unit, **({"open_above": True} if value.open_above else {})}


def optional(number: float | None) -> str | None:
    """A decimal string, or None."""
    return None if number is None else decimal(number)


def energy_document(energy: Energy) -> dict[str, Any]:
    """Every part of an energy account. raises: ValueError for a value that is not finite."""
    return {
        **{name: value_document(getattr(energy, name)) for name in TOTALS},
        "domains": [_domain(domain) for domain in energy.domains],
        "components": _components(energy.components),
        "ladder": [_rung(rung) for rung in energy.ladder],
        "split": _split(energy.split) if energy.split else None,
        "facility": _facility(energy.facility) if energy.facility else None,
        "carbon": _carbon(energy.carbon) if energy.carbon else None,
        "alignments": [_alignment(one) for one in energy.alignments],
        "health": [_health(one) for one in energy.health],
    }


def _domain(domain: DomainEnergy) -> dict[str, Any]:
    return {
        "domain": domain.domain,
        "method": domain.method,
        "channel": domain.channel,
        "energy": value_document(domain.energy),
        "residual_rel": optional(domain.residual_rel),
        "gaps": str(domain.gaps),
        "longest_gap_s": decimal(domain.longest_gap_s),
        "other": value_document(domain.other),
        "why": domain.why,
    }


def _components(components: Sequence[Component]) -> list[dict[str, str]]:
    return [
        {"name": c.name, "down_rel": decimal(c.down_rel), "up_rel": decimal(c.up_rel), "source": c.source}
        for c in components
    ]


def _rung(rung: Rung) -> dict[str, Any]:
    values = {"total": value_document(rung.total), "mean_power": value_document(rung.mean_power)}
    return {"boundary": rung.boundary, **values, "grade": rung.grade, "grade_why": rung.grade_why}


def _split(split: Split) -> dict[str, Any]:
    parts = {name: value_document(getattr(split, name)) for name in ("prefill", "decode", "unloaded")}
    return {**parts, "rule": split.rule}


def _facility(facility: Facility) -> dict[str, Any]:
    return {
        **{name: value_document(getattr(facility, name)) for name in SHARES},
        "heat": [_heat(heat) for heat in facility.heat],
        "rule": facility.rule,
        "tier": facility.tier,
        "notes": list(facility.notes),
        "channels": list(facility.channels),
    }


def _heat(heat: Heat) -> dict[str, Any]:
    values = {name: value_document(getattr(heat, name)) for name in ("heat", "flow", "rise")}
    return {
        "loop": heat.loop, **values, "fluid": heat.fluid, "balance_rel": optional(heat.balance_rel), "why": heat.why,
    }  # fmt: skip


def _carbon(carbon: Carbon) -> dict[str, Any]:
    names = ("location", "market", "embodied", "intensity_location", "intensity_market")
    sources = {name: getattr(carbon, name) for name in ("source_location", "source_market", "source_embodied")}
    return {"boundary": carbon.boundary, **{name: value_document(getattr(carbon, name)) for name in names}, **sources}


def _alignment(one: Alignment) -> dict[str, Any]:
    return {
        "meter": one.meter,
        "method": one.method,
        "shift_ns": str(one.shift_ns),
        "error_ns": str(one.error_ns),
        "residual_rel": optional(one.residual_rel),
        "why": one.why,
    }


def _health(one: Health) -> dict[str, Any]:
    counts = {name: str(getattr(one, name)) for name in ("expected", "got", "late", "duplicates")}
    spans = {name: decimal(getattr(one, name)) for name in ("frozen_s", "missing_s", "lost_rel")}
    return {"channel": one.channel, **counts, **spans, "faults": list(one.faults)}
