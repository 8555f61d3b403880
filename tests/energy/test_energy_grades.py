"""Grades by rule: one row for each way to earn or to lose one. And what a channel could earn at best."""

from dataclasses import replace
from math import sqrt
from typing import Any

import pytest

from tcabench.energy import grade_of_channel, integrate
from tcabench.energy.grade import synchronous
from tcabench.records import Alignment, Channel, Context, Energy, Health, Instrument, Kind, PowerSample, Window
from tcabench.timeline.place import UNCHECKED

S = 1_000_000_000
DAY = "2026-11-23"
CERTIFIED = {"certificate": "DKD-17", "calibrated_on": "2026-03-01", "certificate_due": "2027-03-01"}


def one(kind: Kind = Kind.POWER, **changes: Any) -> Channel:
    settings: dict[str, Any] = {
        "id": f"m.{changes.get('domain', 'd')}.{kind.value}", "meter": "m", "domain": "d", "kind": kind,
        "unit": "J" if kind is Kind.ENERGY else "W", "boundary": "node", "gain_low": 0.95, "gain_high": 1.05,
        "resolution": 0.001, "update_ns": S // 10, "period_ns": S, "is_estimate": False, "accuracy_source": "the test",
    }  # fmt: skip
    return Channel(**(settings | changes))


def meter(kind: Kind = Kind.POWER, class_pct: float = 1.0, **changes: Any) -> Channel:
    """With the interval that its class makes."""
    half = 2 * class_pct / 100 / sqrt(3)
    gain = {"gain_low": 1 - half, "gain_high": 1 + half}
    return one(kind, instrument=Instrument.METER, class_pct=class_pct, **(gain | CERTIFIED | changes))


GPU, GPU_J = one(domain="gpu0"), one(Kind.ENERGY, domain="gpu0")
CPU_J = one(Kind.ENERGY, domain="cpu0", instrument=Instrument.CPU)


def account(levels: dict[Channel, float], window_s: int = 40, **context: Any) -> Energy:
    """Everything at its level from 0 to 60 s; the window begins at 10 s."""
    samples = [
        PowerSample(s * S, 1000, channel.id, 100.0 + level * s if channel.kind is Kind.ENERGY else level)
        for channel, level in levels.items()
        for s in range(61)
    ]
    window = Window(0, 0, 0, 10 * S, (10 + window_s) * S, 55 * S, "")
    return integrate(list(levels), samples, window, "node", Context(**({"day": DAY} | context)))


def lost(channel: str, share: float) -> Health:
    return Health(channel, 40, 30, 0, 0, 0.0, 40 * share, share, ("late",))


ROWS: list[tuple[dict[Channel, float], dict[str, Any], str, str]] = [
    ({one(is_estimate=True): 50}, {}, "E0", "m.d.power is an estimate"),
    ({one(instrument=Instrument.MODEL): 50}, {}, "E0", "an estimate"),
    ({GPU: 50}, {}, "E1", "gpu0: polled power"),
    ({GPU_J: 50}, {}, "E1", "no power readings to check it against"),
    ({GPU: 50, GPU_J: 50}, {}, "E2", "read at their steps over 40.0 s, within 0.00 %"),
    ({GPU: 50, GPU_J: 50}, {"window_s": 20}, "E1", "E2 needs at least 30 s"),
    ({GPU: 50, GPU_J: 51.5}, {}, "E1", "differ by +3.0 %"),
    ({CPU_J: 50}, {}, "E2", "a processor's counters have no power readings"),
    ({GPU: 50, GPU_J: 50, CPU_J: 40}, {}, "E2", "within 0.00 % of the integral"),
    ({GPU: 50, CPU_J: 40}, {}, "E1", "gpu0: polled power"),
    ({one(instrument=Instrument.BMC): 50}, {}, "E4", "management controller"),
    ({meter(class_pct=1.0): 50}, {}, "E5", "class 1 with certificate DKD-17 of 2026-03-01, due 2027-03-01"),
    ({meter(class_pct=0.5): 50}, {}, "E6", "class 0.5"),
    ({meter(Kind.ENERGY, class_pct=0.2): 50}, {}, "E6", "class 0.2"),
    ({meter(class_pct=0.6): 50}, {}, "E5", "class 0.6"),
    ({meter(class_pct=1.5): 50}, {}, "E4", "of class 1.5: E5 needs class 1 or better"),
    ({meter(class_pct=0.0): 50}, {}, "E4", "of no stated class"),
    ({meter(certificate=""): 50}, {}, "E4", "no calibration certificate is named"),
    ({meter(calibrated_on=""): 50}, {}, "E4", "has no dates"),
    ({meter(certificate_due=""): 50}, {}, "E4", "has no dates"),
    ({meter(calibrated_on="0", certificate_due="z"): 50}, {}, "E4", "has no dates"),
    ({meter(calibrated_on="2026-03-01", certificate_due="soon"): 50}, {}, "E4", "has no dates"),
    ({meter(calibrated_on="2027-03-01", certificate_due="2026-03-01"): 50}, {}, "E4", "has no dates"),
    ({meter(): 50}, {"day": "tomorrow"}, "E4", "the day of the run is not known"),
    ({meter(class_pct=0.5, gain_low=0.8, gain_high=1.2): 50}, {}, "E4", "+-20 % is claimed of it, and the class makes"),
    ({meter(class_pct=0.5, gain_low=1.0, gain_high=1.0): 50}, {}, "E4", "+-0 % is claimed of it"),
    ({meter(gain_low=1.0): 50}, {}, "E5", "class 1"),
    ({meter(class_pct=0.5, gain_low=1.0, gain_high=1.0028): 50}, {}, "E4", "makes it +-0.577 %"),
    ({meter(class_pct=0.5, gain_low=0.997, gain_high=1.003): 50}, {}, "E6", "class 0.5"),
    ({meter(): 50}, {"day": "2027-03-02"}, "E4", "valid from 2026-03-01 to 2027-03-01, and the run was on 2027-03-02"),
    ({meter(): 50}, {"day": "2027-03-01"}, "E5", "class 1"),
    ({meter(): 50}, {"day": "2026-03-01"}, "E5", "class 1"),
    ({meter(): 50}, {"day": "2026-02-28"}, "E4", "the run was on 2026-02-28"),
    ({meter(): 50}, {"day": ""}, "E4", "the day of the run is not known"),
    ({meter(): 50, meter(Kind.ENERGY): 53}, {}, "E4", "its counter and its power do not agree"),
    ({meter(): 50, meter(Kind.ENERGY): 50}, {}, "E5", "class 1"),
    ({meter(class_pct=0.5): 50, meter(class_pct=1.0, domain="e"): 50}, {}, "E5", "m.e.power"),
    ({meter(class_pct=0.5): 50, GPU: 50}, {}, "E1", "gpu0: polled power"),
    ({meter(): 50}, {"health": (lost("m.d.power", 0.06),)}, "E1", "no sound reading in 6.0 % of the window"),
    ({meter(): 50}, {"health": (lost("m.d.power", 0.05),)}, "E5", "class 1"),
    ({meter(): 50}, {"health": (lost("m.e.power", 0.5),)}, "E5", "class 1"),
    ({GPU: 50}, {"health": (lost("m.gpu0.power", 0.5),)}, "E1", "polled power; m.gpu0.power: no sound reading"),
    ({one(is_estimate=True): 50}, {"health": (lost("m.d.power", 0.5),)}, "E0", "an estimate"),
]  # fmt: skip


@pytest.mark.parametrize(("levels", "context", "grade", "why"), ROWS)
def test_the_grade_follows_from_the_evidence(
    levels: dict[Channel, float], context: dict[str, Any], grade: str, why: str
) -> None:
    energy = account(levels, **context)
    assert energy.grade == grade, energy.grade_why
    assert why in energy.grade_why


@pytest.mark.parametrize(
    ("method", "said", "why"),
    [
        (
            "stated clock",
            f"taken for wall time to +-1.5 s; {UNCHECKED}; the run had no load marker",
            "only states its time",
        ),
        ("stated clock", "taken for wall time to +-1.5 s", ""),
        ("load marker", UNCHECKED, ""),
        ("clock exchange", "", ""),
    ],
)
def test_a_clock_that_nothing_was_held_against_is_not_synchronous(method: str, said: str, why: str) -> None:
    context = Context((Alignment("m", 0, S, method, None, said),))
    found = synchronous([meter()], Window(0, 0, 0, 0, 200 * S, 200 * S, ""), context)
    assert bool(found) == bool(why)
    assert why in found


@pytest.mark.parametrize(
    ("channel", "grade", "why"),
    [
        (one(is_estimate=True), "E0", "estimate"),
        (GPU, "E1", "polled power of a device"),
        (GPU_J, "E2", "over 30 s or more"),
        (CPU_J, "E2", "energy counter"),
        (one(instrument=Instrument.BMC), "E4", "management controller"),
        (meter(), "E5", "class 1"),
        (meter(class_pct=0.5), "E6", "class 0.5"),
        (meter(certificate=""), "E4", "no calibration certificate"),
        (meter(calibrated_on="2026-12-01"), "E4", "the run was on 2026-11-23"),
        (one(Kind.TEMPERATURE), None, "tells of temperature, not of energy"),
    ],
)
def test_what_a_channel_can_earn_at_best(channel: Channel, grade: str | None, why: str) -> None:
    found, said = grade_of_channel(channel, DAY)
    assert found == grade
    assert why in said


def test_what_a_channel_can_earn_is_what_a_good_run_with_it_earns() -> None:
    for channel in (meter(), meter(class_pct=0.5), one(instrument=Instrument.BMC), GPU, one(is_estimate=True)):
        assert account({channel: 50.0}).grade == grade_of_channel(channel, DAY)[0]
    pair = {replace(GPU, boundary="node"): 50.0, replace(GPU_J, boundary="node"): 50.0}
    assert account(pair).grade == grade_of_channel(GPU_J, DAY)[0]
