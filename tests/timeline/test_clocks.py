"""Clocks of meters that our own reads refute: off by more than is said of them, with nothing else to show it."""

from dataclasses import replace
from typing import Any

import pytest

from tcabench.energy import integrate
from tcabench.evidence.soundness import clock_faults
from tcabench.records import Axis, Channel, Context, PowerSample, Quantity, Role
from tcabench.testing import power_channel
from tcabench.timeline import align
from tcabench.timeline.place import UNCHECKED
from tests.timeline.played_load import WALL_NS, Load, S, fast, ns, slow
from tests.timeline.test_align import CLOCKED, aligned, asked, of, times

Watched = tuple[Channel, list[PowerSample]]


def every_second(late_s: float, every_s: int = 1, reads: str = "live", **channel: Any) -> Watched:
    """A meter whose every reading's stamp lies `late_s` before the read; "at once": all are read 200 s after the first,
    as an export is."""
    settings = {"meter": "pdu", "has_own_clock": True, "period_ns": S, "update_ns": every_s * S} | channel
    came = [t + 0.123 for t in range(-10, 110, every_s)]
    read = [190.0] * len(came) if reads == "at once" else came
    samples = [
        PowerSample(ns(r), 1_000_000, "pdu.power", 100 + t, WALL_NS + ns(t - late_s))
        for r, t in zip(read, came, strict=True)
    ]
    return power_channel("pdu.power", **settings), samples


def unmarked(watched: Watched, *events: dict[str, Any]) -> Axis:
    load, (channel, samples) = Load(), watched
    kept = [e for e in load.events() if e["event"] != "marker_chip"]
    return align([channel], samples, [*kept, *events], load.window())


@pytest.mark.parametrize(
    ("late_s", "why"),
    [
        (60.0, "its newest stamps lie 60.0 s or more before the call that read them"),
        (5.0, "its newest stamps lie 5.0 s or more before the call that read them"),
        (-60.0, "its stamps lie up to 60.0 s after the call that read them"),
        (-2.0, "its stamps lie up to 2.0 s after the call that read them"),
    ],
)
def test_a_stated_clock_that_our_reads_refute_is_not_trusted_and_is_told(late_s: float, why: str) -> None:
    channel, samples = every_second(late_s)
    axis = unmarked((channel, samples))
    found = of(axis, "pdu")
    assert (found.method, found.shift_ns, found.why) == ("host clock", 0, why)
    assert times(axis, "pdu.power") == [s.t_ns for s in samples]
    assert axis.health[0].faults == (f"{why}: its stamps are not used",)
    assert found.error_ns > max(1.0, late_s) * S  # a slow clock and late readings look the same


@pytest.mark.parametrize(
    ("late_s", "channel"),
    [
        (0.0, {}),
        (2.5, {}),
        (-0.9, {}),
        (11.0, {"every_s": 10}),
        (11.0, {"average_ns": 10 * S}),
        (60.0, {"reads": "at once"}),
    ],
)
def test_stamps_as_old_as_the_documents_allow_are_used(late_s: float, channel: dict[str, Any]) -> None:
    axis = unmarked(every_second(late_s, **channel))
    assert of(axis, "pdu").method == "stated clock"
    assert not [fault for fault in axis.health[0].faults if "stamps" in fault]
    assert (UNCHECKED in of(axis, "pdu").why) == ("reads" in channel)


def test_one_fresh_reading_clears_the_clock() -> None:
    channel, samples = every_second(60.0)
    fresh = [replace(s, device_ns=WALL_NS + s.t_ns) if s.t_ns == ns(109.123) else s for s in samples]
    assert of(unmarked((channel, fresh)), "pdu").method == "stated clock"


@pytest.mark.parametrize(("late_s", "word"), [(60.0, "before"), (-60.0, "after")])
def test_stamps_that_contradict_the_comparisons_of_their_clock_are_not_trusted(late_s: float, word: str) -> None:
    lead_s = 37.0
    channel, samples = every_second(late_s)
    told = [replace(s, device_ns=(s.device_ns or 0) + round(lead_s * S)) for s in samples]
    found = of(unmarked((channel, told), *(asked(t, lead_s) for t in range(-9, 100, 10))), "pdu")
    assert found.method == "host clock"
    assert f"{word} the call that read them" in found.why


@pytest.mark.parametrize("lead_s", [60.0, -60.0])
def test_a_clock_that_is_off_by_more_than_the_marker_finds_is_not_trusted(lead_s: float) -> None:
    load = Load()
    axis = aligned(load, fast(load), slow(load, channel=CLOCKED, lead_s=lead_s))
    assert of(axis, "pdu").method == "host clock"


@pytest.mark.parametrize(("boundary", "role"), [("rack", Role.LOAD), ("facility", Role.COOLING)])
@pytest.mark.parametrize("late_s", [60.0, -60.0])
def test_a_meter_whose_clock_is_off_by_60_s_keeps_its_energy_and_its_clock_is_named(
    late_s: float, boundary: str, role: Role
) -> None:
    channel, samples = every_second(late_s, boundary=boundary, role=role)
    window = Load().window()
    level = [replace(s, value=1000.0 if window.start_ns <= s.t_ns < window.end_ns else 0.0) for s in samples]
    axis = unmarked((channel, level))
    energy = integrate([channel], axis.samples, window, boundary, Context(axis.alignments, axis.health))
    (named,) = clock_faults(energy, [channel])
    assert named == f"pdu: {of(axis, 'pdu').why}"
    if role is Role.LOAD:
        assert isinstance(energy.total, Quantity)
        assert energy.total.value == pytest.approx(36_000, rel=0.03)
