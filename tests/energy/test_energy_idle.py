"""Power at rest before and after the load, the energy above it, and which doubts the difference keeps."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from tcabench.energy import integrate
from tcabench.records import Alignment, Channel, Context, Energy, Kind, NotMetered, PowerSample, Quantity, Value, Window

S = 1_000_000_000
WINDOW = Window(0, 20 * S, 20 * S, 30 * S, 90 * S, 95 * S, "test", 100 * S, 118 * S)
POWER = Channel("m.w", "m", "d", Kind.POWER, "W", "chip", 0.95, 1.05, 1e-6, S // 10, S, False, "the test")
COUNTER = replace(POWER, id="m.j", kind=Kind.ENERGY, unit="J")
REST = {"base_w": 100.0, "slope": 0.25, "half_width_pct": 8.0, "measured_on": "2026-10-01", "source": "a wall meter"}


def readings(
    channel: Channel, before_w: float = 40.0, load_w: float = 300.0, after_w: float = 40.0
) -> list[PowerSample]:
    """One a second; the load from 20.5 to 95.5 s."""
    joules, found = 100.0, []
    for s in range(121):
        now_w = before_w if s <= 20 else load_w if s <= 95 else after_w
        found.append(PowerSample(s * S, 1000, channel.id, joules if channel.kind is Kind.ENERGY else now_w))
        joules += now_w
    return found


def over(channels: Sequence[Channel], samples: Sequence[PowerSample], **changes: Any) -> Energy:
    window = replace(WINDOW, **{name: value for name, value in changes.items() if name != "context"})
    return integrate(channels, samples, window, "chip", changes.get("context", Context()))


def quantity(value: Value) -> Quantity:
    assert isinstance(value, Quantity), value
    assert value.low <= value.value <= value.high
    return value


def half(value: Value) -> float:
    found = quantity(value)
    return (found.high - found.low) / 2


@pytest.mark.parametrize("channels", [[POWER], [COUNTER], [POWER, COUNTER]])
def test_rest_is_told_before_and_after_and_together(channels: list[Channel]) -> None:
    samples = [s for channel in channels for s in readings(channel, 40, 300, 58)]
    energy = over(channels, samples, idle_start_ns=2 * S)
    assert quantity(energy.idle_before).value == pytest.approx(40, rel=0.01)
    assert quantity(energy.idle_after).value == pytest.approx(58, rel=0.01)
    assert quantity(energy.idle_power).value == pytest.approx(49, rel=0.01)  # 18 s each
    assert quantity(energy.dynamic).value == pytest.approx(60 * (300 - 49), rel=0.01)


def test_together_means_by_time() -> None:
    energy = over([POWER], readings(POWER, 40, 300, 70), idle_start_ns=14 * S, idle_after_end_ns=118 * S)
    assert quantity(energy.idle_power).value == pytest.approx((6 * 40 + 18 * 70) / 24, rel=0.01)


def test_without_a_phase_the_other_one_stands_for_both() -> None:
    before = over([POWER], readings(POWER, 40, 300, 70), idle_after_start_ns=0, idle_after_end_ns=0)
    assert before.idle_after == NotMetered("the run had no idle phase")
    assert quantity(before.idle_power).value == pytest.approx(quantity(before.idle_before).value)
    after = over([POWER], readings(POWER, 40, 300, 70), idle_end_ns=0)
    assert after.idle_before == NotMetered("the run had no idle phase")
    assert quantity(after.idle_power).value == pytest.approx(70, rel=0.01)
    none = over([POWER], readings(POWER), idle_end_ns=0, idle_after_end_ns=0)
    assert none.dynamic == none.idle_power == NotMetered("the run had no idle phase")


def test_a_phase_with_a_gap_says_so_and_is_not_used() -> None:
    samples = [s for s in readings(POWER, 40, 300, 70) if not 4 * S < s.t_ns < 12 * S]
    energy = over([POWER], samples)
    assert isinstance(energy.idle_before, NotMetered)
    assert "gap" in energy.idle_before.why
    assert quantity(energy.idle_power).value == pytest.approx(70, rel=0.01)
    neither = [s for s in samples if not 104 * S < s.t_ns < 114 * S]
    energy = over([POWER], neither)
    assert isinstance(energy.dynamic, NotMetered)
    assert "gap" in energy.dynamic.why


def test_a_meters_class_applies_to_the_difference_once() -> None:
    """A meter that reads 5 % too much does so at rest, too: 5 % of the difference, not 5 % of each."""
    energy = over([POWER], readings(POWER))
    dynamic = quantity(energy.dynamic)
    assert half(energy.dynamic) / dynamic.value == pytest.approx(0.05, abs=0.002)
    total, resting = quantity(energy.total), quantity(energy.idle_power)
    twice = ((0.05 * total.value) ** 2 + (0.05 * resting.value * 60) ** 2) ** 0.5
    assert half(energy.dynamic) < 0.9 * twice


def test_two_classes_are_independent_doubts() -> None:
    """The counter was unread at rest, so another class tells of that."""
    better = replace(POWER, gain_low=0.999, gain_high=1.001, accuracy_source="another document")
    counter = [s for s in readings(COUNTER) if 25 * S < s.t_ns < 96 * S]
    energy = over([COUNTER, better], [*counter, *readings(better)])
    (domain,) = energy.domains
    assert domain.method == "integral"
    rough = replace(POWER, gain_low=0.9, gain_high=1.1, accuracy_source="another document")
    energy = over([COUNTER, rough], [*counter, *readings(rough)])
    assert energy.domains[0].method == "counter"
    assert half(energy.dynamic) == pytest.approx(0.05 * 18000 + 0.1 * 40 * 60, rel=0.05)


def test_what_is_not_of_the_class_counts_under_load_and_at_rest() -> None:
    """A last digit of 10 W, rounded or cut off: 60 s under load, and 20 s and 18 s at rest, which stand for 60 s."""
    coarse = replace(POWER, gain_low=1.0, gain_high=1.0, resolution=10.0)
    energy = over([coarse], readings(coarse))
    dynamic = quantity(energy.dynamic)
    at_rest = [20 / 38 * 60 * 10, 18 / 38 * 60 * 10]
    up = [
        60 * 10,
        *(half_j / 2 for half_j in at_rest),
    ]  # an idle power that reads too low makes the difference too high
    down = [60 * 5, *at_rest]
    expected = [2 / 3**0.5 * sum(j * j for j in side) ** 0.5 for side in (down, up)]
    assert dynamic.value - dynamic.low == pytest.approx(expected[0], rel=0.02)
    assert dynamic.high - dynamic.value == pytest.approx(expected[1], rel=0.02)


def test_rest_that_drifted_is_a_doubt_of_its_own() -> None:
    exact = replace(POWER, gain_low=1.0, gain_high=1.0)
    still, drifted = (over([exact], readings(exact, 50 - d, 300, 50 + d), idle_start_ns=2 * S) for d in (0, 6))
    assert quantity(drifted.dynamic).value == pytest.approx(quantity(still.dynamic).value, rel=0.01)
    drift_j = 2 / 3**0.5 * 6 * 60
    assert half(drifted.dynamic) == pytest.approx((half(still.dynamic) ** 2 + drift_j**2) ** 0.5, rel=0.05)


def test_a_load_below_rest_has_a_negative_dynamic_energy() -> None:
    energy = over([POWER], readings(POWER, 100, 80, 100))
    assert quantity(energy.dynamic).value == pytest.approx(-1200, rel=0.02)


def test_the_rest_of_a_node_rests_too() -> None:
    """100 W base fall out of the difference; a quarter of each further watt stays, with its doubt."""
    samples = readings(POWER)
    window = replace(WINDOW, idle_start_ns=2 * S)
    energy = integrate([POWER], samples, window, "node", Context(site={"rest": REST}))
    assert quantity(energy.idle_power).value == pytest.approx(40 + 100 + 10, rel=0.01)
    assert quantity(energy.dynamic).value == pytest.approx(60 * 260 * 1.25, rel=0.01)
    expected = 60 * 260 * ((0.05 * 1.25) ** 2 + (0.08 * 0.25) ** 2) ** 0.5
    assert half(energy.dynamic) == pytest.approx(expected, rel=0.03)


def components(energy: Energy) -> Mapping[str, float]:
    return {c.name: c.up_rel for c in energy.components}


def placed(error_s: float, method: str = "clock exchange", *meters: str) -> Context:
    return Context(alignments=tuple(Alignment(m, 0, round(error_s * S), method) for m in meters or ("m",)))


@pytest.mark.parametrize("channel", [POWER, COUNTER])
def test_alignment_matters_as_far_as_power_differs_at_the_ends(channel: Channel) -> None:
    ramp = [
        PowerSample(s * S, 1000, channel.id, s * (s + 100) / 2 if channel.kind is Kind.ENERGY else 50.5 + s)
        for s in range(121)
    ]
    found = components(over([channel], ramp, context=placed(0.5)))
    # from 30 to 90 s power rises by 60 W; the readings around each end add a few
    assert found["alignment"] * quantity(over([channel], ramp).total).value == pytest.approx(0.5 * 60, rel=0.1)
    flat = over([channel], readings(channel, 300, 300, 300), context=placed(0.5))
    assert components(flat).get("alignment", 0.0) == pytest.approx(0, abs=1e-9)
    assert "alignment" not in components(over([channel], ramp))


def test_domains_of_one_meter_are_misplaced_together_and_two_meters_are_not() -> None:
    ramp = [PowerSample(s * S, 1000, "", 50.5 + s) for s in range(121)]

    def two(meters: tuple[str, str]) -> float:
        channels = [replace(POWER, id=f"{i}.w", meter=meter, domain=str(i)) for i, meter in enumerate(meters)]
        samples = [
            s._replace(channel=c.id) if hasattr(s, "_replace") else replace(s, channel=c.id)
            for c in channels
            for s in ramp
        ]
        return components(over(channels, samples, context=placed(0.5, "clock exchange", *dict.fromkeys(meters))))[
            "alignment"
        ]

    assert two(("a", "a")) == pytest.approx(2**0.5 * two(("a", "b")))


def test_a_marker_that_measured_the_delay_leaves_the_swing_within_each_end() -> None:
    """The load differs by 60 W from end to end, and by 4 W within the readings around each of them."""
    slow = replace(POWER, update_ns=S)
    ramp = [PowerSample(s * S, 1000, slow.id, 50.5 + s) for s in range(121)]
    plain, marked = (components(over([slow], ramp, context=placed(0.01, m))) for m in ("host clock", "load marker"))
    assert plain["window edges"] > 8 * marked["window edges"] > 0


def test_a_last_digit_may_be_rounded_or_cut_off() -> None:
    coarse = replace(POWER, gain_low=1.0, gain_high=1.0, resolution=10.0)
    found = {c.name: c for c in over([coarse], readings(coarse, 40, 300, 40)).components}["resolution"]
    assert found.down_rel == pytest.approx(10 / 2 / 300 * 2 / 3**0.5)
    assert found.up_rel == pytest.approx(10 / 300 * 2 / 3**0.5)


def test_the_last_digit_of_a_counter_counts_at_both_ends() -> None:
    """Where one update counts several digits: u = r/sqrt(6). Where a digit takes several updates: one update's energy,
    for it is seen to the update in which it was reached."""
    rows = ((60.0, S, 60), (600.0, S, 300), (600.0, 0, 600))
    for resolution, update_ns, digit_j in rows:
        one = replace(COUNTER, resolution=resolution, update_ns=update_ns)
        found = components(over([one], readings(one)))["resolution"]
        assert found == pytest.approx(2 * digit_j / 6**0.5 / 18000, rel=1e-2)


def test_a_counter_kept_in_float32_has_a_coarser_digit_than_it_says() -> None:
    """Above 2^26 J float32 holds multiples of 8 J."""
    said = replace(COUNTER, resolution=0.001, update_ns=S)
    uneven = [PowerSample(s * S, 1000, said.id, (2**26 + 307.0 * s + 41 * (s % 5)) // 8 * 8) for s in range(121)]
    found = components(over([said], uneven))["resolution"]
    assert found == pytest.approx(2 * 8 / 6**0.5 / (307 * 60), rel=0.02)
    whole = [PowerSample(s * S, 1000, said.id, 2**26 + 307.0 * s + 41.37 * (s % 5)) for s in range(121)]
    assert components(over([said], whole))["resolution"] < found / 100


def test_readings_that_end_too_early_leave_a_doubt_as_large_as_the_load_varies() -> None:
    uneven = [s if s.t_ns // S % 2 else replace(s, value=s.value + 30) for s in readings(POWER)]
    cut = [s for s in uneven if s.t_ns <= 86 * S]  # 4 s before the end: within five periods
    assert components(over([POWER], cut))["sampling"] > components(over([POWER], uneven))["sampling"]
    calm = [s for s in readings(POWER) if s.t_ns <= 86 * S]
    assert components(over([POWER], calm))["sampling"] == 0


def test_a_mean_over_all_of_the_time_misses_no_peaks_between_readings() -> None:
    spiky = [replace(s, value=s.value + 100 * (s.t_ns // S % 11 == 3)) for s in readings(POWER)]
    instant, mean = replace(POWER, update_ns=S), replace(POWER, update_ns=S, average_ns=S)
    found = [components(over([channel], spiky))["sampling"] for channel in (instant, mean)]
    assert found[0] > 0.02
    assert found[1] == 0


def test_a_reading_that_came_twice_hides_one_that_was_never_read() -> None:
    """A meter whose readings are means of a second, read once a second: read in step, none is missing."""
    mean = replace(POWER, update_ns=S, average_ns=S)
    once = [replace(s, value=300.0 + s.t_ns // S % 7) for s in readings(POWER)]
    twice = [replace(s, value=300.0 + (s.t_ns // S - (s.t_ns // S == 50)) % 7) for s in readings(POWER)]
    quick = replace(mean, update_ns=3 * S, average_ns=3 * S)
    held = [replace(s, value=300.0 + 10 * (s.t_ns // S // 3 % 2)) for s in readings(POWER)]
    found = [components(over([one], s))["sampling"] for one, s in ((mean, once), (mean, twice), (quick, held))]
    assert found[0] == 0
    assert found[1] == pytest.approx(2 * ((6**2 + 2**2) / 2) ** 0.5 / 18180, rel=0.02)
    assert found[2] == pytest.approx(2.23 * (20 * 10**2 / 12) ** 0.5 / 18300, rel=0.05)


def test_one_reading_that_stands_out_makes_as_many_unseen_ones_likely_as_three() -> None:
    """60 readings, one 200 W above the rest: its like may fill 3/60 of the time."""
    lone = [replace(s, value=500.0) if s.t_ns == 15 * S else s for s in readings(POWER, 300, 300, 300)]
    found = {c.name: c for c in over([POWER], lone).components}["sampling"]  # it lies before the window
    assert found.up_rel == pytest.approx(3 * 200 / 18000, rel=0.05)
    assert found.down_rel == pytest.approx(0, abs=1e-9)
    dip = [replace(s, value=100.0) if s.t_ns == 15 * S else s for s in readings(POWER, 300, 300, 300)]
    found = {c.name: c for c in over([POWER], dip).components}["sampling"]
    assert found.down_rel == pytest.approx(3 * 200 / 18000, rel=0.05)
    assert found.up_rel == pytest.approx(0, abs=1e-9)
