"""A counter's wraps, resets, stray readings and pauses; what goes on beyond its last step; and when it is taken."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from tcabench.energy import integrate
from tcabench.energy.boundary import Domain
from tcabench.energy.counter import Edges, counted_j, edges, energy_at, known_at_ns, span_at_ns
from tcabench.energy.domain import Track
from tcabench.energy.mend import mended
from tcabench.energy.series import Series
from tcabench.energy.source import ByCounter, ByIntegral
from tcabench.records import (
    Alignment,
    Channel,
    Context,
    Energy,
    Health,
    Kind,
    NotMetered,
    PowerSample,
    Quantity,
    Window,
)

S = 1_000_000_000
COUNTER = Channel("m.j", "m", "d", Kind.ENERGY, "J", "chip", 0.99, 1.01, 1.0, S // 10, S, False, "the test")
POWER = replace(COUNTER, id="m.w", kind=Kind.POWER, unit="W", resolution=0.001, update_ns=S)
WINDOW = Window(0, 0, 0, 10 * S, 110 * S, 110 * S, "test")
Level = Callable[[int], float]


def readings(channel: Channel, level: Level, until_s: int = 120) -> list[PowerSample]:
    """A reading each second: of power, `level` itself; of the counter, the sum of all before."""
    joules, found = 5000.0, []
    for s in range(until_s + 1):
        found.append(PowerSample(s * S, 1000, channel.id, level(s) if channel.kind is Kind.POWER else joules))
        joules += level(s)
    return found


def changed(samples: Sequence[PowerSample], change: Callable[[int, float], float | None]) -> list[PowerSample]:
    """The samples with `change(second, value)` instead of each value; None leaves one out."""
    new = [(sample, change(sample.t_ns // S, sample.value)) for sample in samples]
    return [replace_value(sample, value) for sample, value in new if value is not None]


def replace_value(sample: PowerSample, value: float) -> PowerSample:
    return PowerSample(sample.t_ns, sample.read_ns, sample.channel, value, sample.device_ns)


def over(channels: Sequence[Channel], samples: Sequence[PowerSample], context: Context | None = None) -> Energy:
    return integrate(channels, samples, WINDOW, "chip", context or Context())


def joules(energy: Energy) -> float:
    assert isinstance(energy.total, Quantity), energy.total
    return energy.total.value


def calm(second: int) -> float:
    return 100.0


def test_a_wrap_at_the_known_modulus_is_undone_and_said() -> None:
    wrapping = changed(readings(COUNTER, calm), lambda s, j: j % 7000)  # falls once, at 20 s
    energy = over([replace(COUNTER, modulus=7000.0)], wrapping)
    assert joules(energy) == pytest.approx(10_000, rel=1e-3)
    assert "wrapped at 7000 2 time(s)" in energy.domains[0].why


def test_without_a_known_modulus_the_same_fall_is_a_reset() -> None:
    wrapping = changed(readings(COUNTER, calm), lambda s, j: j % 7000)
    energy = over([COUNTER], wrapping)
    assert isinstance(energy.total, NotMetered)
    assert "fell from 6900 to 0 J" in energy.total.why


def test_a_reset_that_does_not_fit_the_modulus_is_no_wrap() -> None:
    """At a modulus of 262144 J a fall from 8900 J to 0 would be 2500 s of energy within a second."""
    reset = changed(readings(COUNTER, calm), lambda s, j: j if s < 40 else j - 9000)
    energy = over([replace(COUNTER, modulus=262144.0), POWER], [*reset, *readings(POWER, calm)])
    assert joules(energy) == pytest.approx(10_000, rel=1e-3)
    (domain,) = energy.domains
    assert domain.method == "integral"
    assert "fell from 8900 to 0 J" in domain.why
    assert isinstance(domain.other, NotMetered)
    assert "fell" in domain.other.why


@pytest.mark.parametrize("stray", [0.0, 4000.0])
@pytest.mark.parametrize("number", [1, 5])
def test_a_drop_that_comes_back_is_left_out_and_said(stray: float, number: int) -> None:
    broken = changed(readings(COUNTER, calm), lambda s, j: stray if 50 <= s < 50 + number else j)
    energy = over([COUNTER], broken)
    assert joules(energy) == pytest.approx(10_000, rel=1e-3)
    assert energy.domains[0].why == f"{number} stray reading(s) off the counter's level were left out"


@pytest.mark.parametrize("number", [1, 3])
def test_a_spike_of_a_counter_is_left_out_and_said(number: int) -> None:
    broken = changed(readings(COUNTER, calm), lambda s, j: j + 1e9 if 50 <= s < 50 + number else j)
    energy = over([COUNTER], broken)
    assert joules(energy) == pytest.approx(10_000, rel=1e-3)
    assert energy.domains[0].why == f"{number} stray reading(s) off the counter's level were left out"


@pytest.mark.parametrize("taken_back_j", [350.0, 2050.0])
def test_a_counter_that_falls_back_to_where_it_was_is_a_reset(taken_back_j: float) -> None:
    """A meter that saves its counter every few minutes begins again there after a power cut (Janitza UMG 96)."""
    back = changed(readings(COUNTER, calm), lambda s, j: j if s < 50 else j - taken_back_j)
    energy = over([COUNTER], back)
    assert isinstance(energy.total, NotMetered)
    assert "the counter fell from 9900" in energy.total.why


@pytest.mark.parametrize("at_s", [9, 50, 111])
def test_a_reset_just_beside_the_window_spoils_it_for_its_ends_rest_on_it(at_s: int) -> None:
    back = changed(readings(COUNTER, calm), lambda s, j: j if s < at_s else j - 4000)
    assert isinstance(over([COUNTER], back).total, NotMetered)
    far = changed(readings(COUNTER, calm), lambda s, j: j if s < 3 else j - 4000)
    assert isinstance(over([COUNTER], far).total, Quantity)


@pytest.mark.parametrize(("before_w", "after_w"), [(1.0, 1000.0), (1000.0, 1.0)])
def test_a_wrap_while_the_load_changes_is_a_wrap(before_w: float, after_w: float) -> None:
    def level(second: int) -> float:
        return before_w if second < 50 else after_w

    modulus = 5000 + 50 * before_w + 0.5 * after_w  # within the second in which the load changed
    wrapping = changed(readings(COUNTER, level), lambda s, j: j % modulus if j < 2 * modulus else j - modulus)
    energy = over([replace(COUNTER, modulus=modulus)], wrapping)
    assert joules(energy) == pytest.approx(40 * before_w + 60 * after_w, rel=0.02)
    assert "wrapped" in energy.domains[0].why


def test_a_leap_that_stays_is_no_energy() -> None:
    """A meter that takes up a total from before: 53 MWh within a second."""
    broken = changed(readings(COUNTER, calm), lambda s, j: j + 1.9e11 if s >= 50 else j)
    energy = over([COUNTER], broken)
    assert isinstance(energy.total, NotMetered)
    assert "leapt from 9900 to" in energy.total.why
    outside = changed(readings(COUNTER, calm), lambda s, j: j + 1.9e11 if s >= 3 else j)
    assert joules(over([COUNTER], outside)) == pytest.approx(10_000, rel=1e-3)


def test_a_load_that_sets_in_is_no_leap() -> None:
    """1 W at rest, 2000 W under load: the pace after the rise explains it."""
    energy = over([COUNTER], readings(COUNTER, lambda s: 1.0 if s < 30 else 2000.0))
    assert joules(energy) == pytest.approx(20 + 80 * 2000, rel=0.02)


def test_a_last_digit_that_wavers_is_left_out() -> None:
    """Two registers read apart: a digit is taken back now and then."""
    coarse = replace(COUNTER, resolution=100.0)
    broken = changed(readings(coarse, calm), lambda s, j: j - 200 if s % 7 == 3 else j)
    energy = over([coarse], broken)
    assert joules(energy) == pytest.approx(10_000, rel=0.02)
    assert "a last digit below" in energy.domains[0].why


def test_what_was_left_out_is_left_out_of_the_series_alone() -> None:
    told = mended(Series((0, S, 2 * S, 3 * S), (7, 8, 9, 10), (100.0, 200.0, 0.0, 400.0)), 0.0, 1.0)
    assert told.series == Series((0, S, 3 * S), (7, 8, 10), (100.0, 200.0, 400.0))
    assert told.leap_ns == frozenset()
    whole = Series((0, S), (7, 8), (100.0, 200.0))
    assert mended(whole, 0.0, 1.0).series is whole


def test_a_counter_that_stood_still_and_lost_energy_is_not_used() -> None:
    stuck = changed(readings(COUNTER, calm), lambda s, j: j if s < 40 else 9000.0 if s < 70 else j - 3000)
    alone = over([COUNTER], stuck)
    assert isinstance(alone.total, NotMetered)
    assert "stood still for 31.0 s and then rose by 100 of 3100 J" in alone.total.why
    both = over([COUNTER, POWER], [*stuck, *readings(POWER, calm)])
    assert joules(both) == pytest.approx(10_000, rel=1e-3)
    assert both.domains[0].method == "integral"
    assert "stood still" in both.domains[0].why


def test_only_a_pause_that_touches_the_window_counts() -> None:
    """It stood still from 40 to 70 s. A second beside that there is nothing wrong with it."""
    stuck = changed(readings(COUNTER, calm), lambda s, j: j if s < 40 else 9000.0 if s < 70 else j - 3000)
    rows = ((10, 38, True), (10, 42, False), (68, 110, False), (72, 110, True), (45, 60, False))
    for start_s, end_s, is_used in rows:
        window = replace(WINDOW, start_ns=start_s * S, end_ns=end_s * S)
        total = integrate([COUNTER], stuck, window, "chip").total
        assert isinstance(total, Quantity) is is_used, (start_s, end_s, total)


def test_a_counter_that_catches_up_is_used() -> None:
    late = changed(readings(COUNTER, calm), lambda s, j: j if s < 40 or s >= 70 else 9000.0)
    assert joules(over([COUNTER], late)) == pytest.approx(10_000, rel=1e-3)


def test_half_of_what_is_missing_is_where_catching_up_begins() -> None:
    """In 31 s at 100 W 3100 J are due."""
    for made_up_j, is_used in ((1500, False), (1600, True)):
        lost_j = 3100 - made_up_j
        stuck = changed(readings(COUNTER, calm), lambda s, j: j if s < 40 else 9000.0 if s < 70 else j - lost_j)  # noqa: B023
        assert isinstance(over([COUNTER], stuck).total, Quantity) is is_used


def test_what_a_pause_did_not_make_up_for_is_in_the_interval() -> None:
    """It stood still for 60 of 120 s and then rose by half of what they cost: nobody knows where the rest went."""
    window = replace(WINDOW, end_ns=130 * S)
    full = changed(readings(COUNTER, calm, 140), lambda s, j: j if s < 40 else 9000.0 if s < 100 else j - 3000)
    energy = integrate([COUNTER], full, window, "chip")
    assert isinstance(energy.total, Quantity)
    assert energy.total.value == pytest.approx(9000, rel=1e-3)
    assert energy.total.low > 8900
    assert 12_000 <= energy.total.high < 12_300
    (found,) = (c for c in energy.components if c.name == "pause of the counter")
    assert found.down_rel == 0
    assert found.source.startswith("it stood still and made up for all but 3")


def test_a_pause_that_was_made_up_for_adds_nothing_to_the_interval() -> None:
    late = changed(readings(COUNTER, calm), lambda s, j: j if s < 40 or s >= 70 else 9000.0)
    assert "pause of the counter" not in {c.name for c in over([COUNTER], late).components}


WRAPPING = replace(COUNTER, modulus=1000.0)


def unread(gap_s: int) -> list[PowerSample]:
    """100 W into a counter that wraps every 10 s, with `gap_s` seconds of it unread."""
    return changed(readings(WRAPPING, calm), lambda s, j: None if 40 < s < 40 + gap_s else (j + 0.5) % 1000)


@pytest.mark.parametrize(("gap_s", "is_used"), [(1, True), (5, True), (6, False), (10, False), (23, False)])
def test_a_counter_that_may_have_wrapped_unseen_is_not_used(gap_s: int, is_used: bool) -> None:
    """Half a modulus takes it 5 s."""
    total = over([WRAPPING], unread(gap_s)).total
    assert isinstance(total, Quantity) is is_used
    if isinstance(total, NotMetered):
        assert f"wraps at 1000 J and was not read for {gap_s}.000 s" in total.why


@pytest.mark.parametrize(("gap_s", "is_used"), [(8, True), (23, False)])
def test_power_readings_tell_whether_a_counter_wrapped_unseen(gap_s: int, is_used: bool) -> None:
    energy = over([WRAPPING, POWER], [*unread(gap_s), *readings(POWER, calm)])
    assert joules(energy) == pytest.approx(10_000, rel=1e-3)
    assert energy.domains[0].method == ("counter" if is_used else "integral")


def test_a_gap_outside_the_window_does_no_harm_to_a_counter_that_wraps() -> None:
    total = integrate([WRAPPING], unread(23), replace(WINDOW, start_ns=70 * S), "chip").total
    assert isinstance(total, Quantity)
    assert total.value == pytest.approx(4000, rel=1e-3)


def test_a_pause_that_the_power_explains_is_no_standing_still() -> None:
    """10 W for half a minute: a counter in steps of 360 J moves once in that time."""
    coarse = replace(COUNTER, resolution=360.0)

    def dip(second: int) -> float:
        return 10.0 if 40 <= second < 76 else 1000.0

    steps = changed(readings(coarse, dip), lambda s, j: j // 360 * 360)
    assert joules(over([coarse, POWER], [*steps, *readings(POWER, dip)])) == pytest.approx(64_000 + 360, rel=0.02)


def test_a_pause_in_which_nothing_was_read_may_have_been_quiet() -> None:
    def dip(second: int) -> float:
        return 10.0 if 40 <= second < 70 else 100.0

    unread = changed(readings(COUNTER, dip), lambda s, j: None if 40 <= s < 70 else j)
    assert joules(over([COUNTER], unread)) == pytest.approx(7000 + 300, rel=0.02)
    health = Health("m.j", 100, 70, 0, 0, 30.0, 30.0, 0.0, ("frozen",))
    frozen = over([COUNTER], unread, Context(health=(health,)))
    assert isinstance(frozen.total, NotMetered)  # readings were left out there because they stood still
    assert "stood still" in frozen.total.why


STEPS = Edges(
    (0, S, 2 * S, 3 * S, 3 * S + S // 2, 4 * S), (0.0, 10.0, 30.0, 60.0, 80.0, 120.0), (), (0,) * 6
)  # fmt: skip


@pytest.mark.parametrize(
    ("at_s", "expected_j"),
    [
        (0.5, 5.0),
        (2.25, 37.5),
        (3.75, 100.0),
        (4.0, 120.0),
        (4.5, 120.0 + 0.5 * 60.0),  # at the mean of the last second: 60 J from 3 s to 4 s
        (6.0, 120.0 + 2.0 * 60.0),
        (-0.5, -0.5 * 10.0),  # and of the first: 10 J from 0 s to 1 s
    ],
)
def test_beyond_its_steps_a_counter_goes_on_at_the_rate_of_the_nearest_second(at_s: float, expected_j: float) -> None:
    assert energy_at(STEPS, round(at_s * S)) == pytest.approx(expected_j)


def test_several_steps_within_the_first_second_tell_its_rate_together() -> None:
    quick = Edges((0, 4 * S // 10, 8 * S // 10, 14 * S // 10), (0.0, 1.0, 5.0, 14.0), (), (0,) * 4)
    assert energy_at(quick, -S) == pytest.approx(-14 / 1.4)
    assert energy_at(Edges(quick.t_ns[:3], quick.j[:3], (), (0,) * 3), -S) == pytest.approx(-5 / 0.8)


def test_the_spans_at_an_instant_are_those_of_the_steps_around_it() -> None:
    steps = Edges((10 * S, 12 * S, 17 * S), (0.0, 1.0, 2.0), (), (100, 300, 200))
    assert [span_at_ns(steps, at * S) // S for at in (4, 11, 12, 16, 20)] == [12, 2, 5, 5, 6]
    assert [known_at_ns(steps, at * S) for at in (4, 11, 16, 20)] == [100, 300, 300, 200]


def test_where_steps_are_more_than_a_second_apart_the_nearest_two_tell_the_rate() -> None:
    slow = Edges((0, 5 * S, 15 * S), (0.0, 100.0, 400.0), (), (0, 0, 0))
    assert energy_at(slow, 17 * S) == pytest.approx(400 + 2 * 30)
    assert energy_at(slow, -2 * S) == pytest.approx(0 - 2 * 20)


def test_a_counter_in_single_digits_has_not_counted_another_one_unseen() -> None:
    """The last step came 9 s before the end; at 100 W that would be 900 J, but the next 360 J were never shown."""
    coarse = replace(COUNTER, resolution=360.0)
    quiet = changed(readings(coarse, lambda s: 100.0 if s < 101 else 1.0, 110), lambda s, j: j // 360 * 360)
    track = ByCounter(coarse, series_of(quiet))
    last_s = max(s.t_ns // S for s in quiet if s.value > quiet[s.t_ns // S - 1].value)
    assert last_s <= 102
    assert track.part_j(round((last_s - 0.5) * S), 110 * S) == pytest.approx(360.0)
    fine = ByCounter(COUNTER, series_of(quiet))
    assert fine.part_j(round((last_s - 0.05) * S), 110 * S) > 700


def test_what_is_carried_on_is_in_the_budget() -> None:
    """The steps end 0.9 s before the window does: the doubt is that of 0.9 s, not that of a 0.1 s step."""

    def half_width(last_tick: int) -> float:
        fast = replace(COUNTER, update_ns=S // 10, period_ns=S // 10, resolution=0.001)
        j, samples = 0.0, []
        for tick in range(301):
            j += (12.0 if tick % 2 else 8.0) if tick <= last_tick else 0.0
            samples.append(PowerSample(tick * S // 10, 1000, fast.id, j))
        energy = integrate([fast], samples, Window(0, 0, 0, 5 * S, 30 * S, 30 * S, ""), "chip")
        return next(c.up_rel for c in energy.components if c.name == "window edges")

    assert half_width(291) > 4 * half_width(300)


def test_a_counter_is_not_read_far_beyond_its_readings() -> None:
    for keep, words in (
        (range(0, 100), "the last reading came 11.000 s before the end"),
        (range(20, 130), "10.000 s after"),
    ):
        cut = changed(readings(COUNTER, calm), lambda s, j: j if s in keep else None)  # noqa: B023
        energy = over([COUNTER], cut)
        assert isinstance(energy.total, NotMetered)
        assert words in energy.total.why


def test_a_counter_that_stopped_before_the_end_is_not_used() -> None:
    stopped = changed(readings(COUNTER, calm), lambda s, j: min(j, 5000.0 + 9500.0))
    energy = over([COUNTER], stopped)
    assert isinstance(energy.total, NotMetered)
    assert "the counter last moved" in energy.total.why


def test_the_way_with_the_narrower_interval_is_taken_and_the_other_is_told() -> None:
    coarse = replace(COUNTER, resolution=3600.0)
    steps = changed(readings(coarse, calm), lambda s, j: j // 3600 * 3600)
    both = over([coarse, POWER], [*steps, *readings(POWER, calm)])
    (domain,) = both.domains
    assert (domain.method, domain.channel) == ("integral", "m.w")
    assert isinstance(domain.other, Quantity)
    assert domain.other.value == pytest.approx(10_000, rel=0.4)
    assert domain.residual_rel == pytest.approx(domain.other.value / joules(both) - 1)
    assert "counter not taken: the integral is known better" in domain.why
    assert "the counter is known less well" in both.grade_why
    fine = over([COUNTER, POWER], [*readings(COUNTER, calm), *readings(POWER, calm)])
    assert fine.domains[0].method == "counter"
    assert isinstance(fine.domains[0].other, Quantity)


def test_a_coarse_counter_does_not_widen_a_better_integral() -> None:
    """Steps of 3600 J in 10 kJ: the two may differ by a third and still tell the same."""
    coarse = replace(COUNTER, resolution=3600.0)

    def uneven(second: int) -> float:
        return 190.0 if second % 40 < 20 else 10.0

    steps = changed(readings(coarse, uneven), lambda s, j: j // 3600 * 3600)
    both = over([coarse, POWER], [*steps, *readings(POWER, uneven)])
    assert both.domains[0].residual_rel is not None
    assert abs(both.domains[0].residual_rel) > 0.02
    assert "counter against integral" not in {c.name for c in both.components}


@pytest.mark.parametrize(("factor", "is_wider"), [(1.0, False), (1.01, True), (1.05, True)])
def test_two_ways_that_contradict_each_other_widen_the_interval(factor: float, is_wider: bool) -> None:
    """Their budgets allow 0.1 %, less the class that both share."""
    samples = [*readings(COUNTER, calm), *readings(POWER, lambda s: 100 / factor)]
    energy = over([COUNTER, POWER], samples)
    apart = [c for c in energy.components if c.name == "counter against integral"]
    assert bool(apart) is is_wider
    if is_wider:
        assert isinstance(energy.total, Quantity)
        assert energy.total.low <= joules(energy) / factor


def test_two_ways_that_both_fail_say_both_why() -> None:
    reset = changed(readings(COUNTER, calm), lambda s, j: j if s < 50 else j - 4000)
    holed = changed(readings(POWER, calm), lambda s, w: None if 60 < s < 80 else w)
    energy = over([COUNTER, POWER], [*reset, *holed])
    assert isinstance(energy.total, NotMetered)
    assert "m.j: the counter fell" in energy.total.why
    assert "m.w: 1 gap(s)" in energy.total.why
    assert energy.domains[0].channel == "m.j"


def test_a_gap_in_the_power_is_told_beside_the_counter_that_was_taken() -> None:
    holed = changed(readings(POWER, calm), lambda s, w: None if 60 < s < 80 else w)
    (domain,) = over([COUNTER, POWER], [*readings(COUNTER, calm), *holed]).domains
    assert (domain.method, domain.residual_rel) == ("counter", None)
    assert domain.why.startswith("integral not taken: m.w: 1 gap(s)")
    assert isinstance(domain.other, NotMetered)


def test_classes_of_two_meters_explain_a_difference_that_one_class_does_not() -> None:
    other = replace(POWER, gain_low=0.97, gain_high=1.03, accuracy_source="another document")
    samples = [*readings(COUNTER, calm), *readings(POWER, lambda s: 100 / 1.015)]
    names = [{c.name for c in over([COUNTER, power], samples).components} for power in (POWER, other)]
    assert ["counter against integral" in found for found in names] == [True, False]


def test_readings_of_power_are_put_back_by_half_an_update_and_half_a_mean() -> None:
    """A ramp from 0 W: readings that lag by x are short of x times its slope."""
    averaged = replace(POWER, average_ns=4 * S)
    samples = readings(averaged, lambda s: 100 + 10 * s)
    series = series_of(samples)

    def lag_s(channel: Channel, *alignment: Alignment) -> float:
        gained_j = ByIntegral(channel, series, *alignment).part_j(50 * S, 60 * S) - ByIntegral(
            replace(channel, update_ns=0, average_ns=0), series
        ).part_j(50 * S, 60 * S)
        return gained_j / (10 * 10)

    stamped = replace(averaged, has_own_clock=True)
    assert lag_s(averaged) == pytest.approx(2.5)
    assert lag_s(averaged, Alignment("m", 0, 1000, "host clock")) == pytest.approx(2.5)
    assert lag_s(averaged, Alignment("m", 0, 1000, "load marker")) == 0
    assert lag_s(stamped, Alignment("m", 0, 1000, "clock exchange")) == pytest.approx(2.0)
    assert lag_s(stamped, Alignment("m", 0, 1000, "host clock")) == pytest.approx(2.5)
    assert lag_s(averaged, Alignment("m", 0, 1000, "clock exchange")) == pytest.approx(2.5)


def test_a_counter_that_a_load_marker_placed_is_not_moved_again() -> None:
    """The timeline has taken out the meter's delay; what power averages over is no delay of a counter."""
    averaged = replace(POWER, average_ns=5 * S)
    samples = readings(COUNTER, lambda second: 100.0 if second < 60 else 300.0)
    placed = Track(domain_of(averaged), {"m.j": series_of(samples)}, {"m": Alignment("m", 0, 1000, "load marker")})
    plain = Track(domain_of(averaged), {"m.j": series_of(samples)})
    assert placed.over(10 * S, 100 * S).energy_j == pytest.approx(plain.over(10 * S, 100 * S).energy_j)


def domain_of(power: Channel) -> Domain:
    return Domain("d", COUNTER, power)


def series_of(samples: Sequence[PowerSample]) -> Series:
    columns = zip(*((s.t_ns, s.read_ns, s.value) for s in samples), strict=True)
    return Series(*columns)


def test_edges_know_how_well_each_step_is_timed() -> None:
    counter = Series((0, S, 5 * S, 6 * S), (0,) * 4, (0.0, 1.0, 2.0, 3.0))
    found = edges(counter, 2 * S, S)
    assert found.known_ns == (S, 2 * S, S)
    assert found.t_ns == (S // 2, 4 * S, 5 * S + S // 2)
    assert counted_j(found, S, 5 * S, S) == pytest.approx((2 + 1 / 1.5) - (1 + 0.5 / 3.5))


def test_a_step_of_a_coarse_counter_came_at_any_time_since_it_was_read_before() -> None:
    """Read each 10 s, refreshed each second. One digit in 20 s or in 10 s: it came anywhere between two reads. Two in
    10 s: the second came in the last 5 s. A digit that takes no longer than an update is as old as that."""
    coarse = Series(tuple(s * S for s in (0, 10, 20, 30, 40)), (0,) * 5, (0.0, 0.0, 100.0, 200.0, 400.0))
    found = edges(coarse, S, 10 * S, digit_j=100.0)
    assert found.known_ns == (10 * S, 10 * S, 5 * S)
    assert found.t_ns == (15 * S, 25 * S, 37 * S + S // 2)
    assert edges(coarse, S, 10 * S, digit_j=5.0).known_ns == (S, S, S)


def test_a_digit_that_only_the_rises_show_is_a_last_digit_too() -> None:
    """1 J is stated; the rises are whole multiples of 360 J: its steps are known as well as if that were stated."""
    drawn = readings(COUNTER, lambda s: 60.0 + 3 * s)
    coarse = [sample for sample in changed(drawn, lambda s, j: j // 360 * 360) if sample.t_ns // S % 10 == 0]
    stated = replace(COUNTER, update_ns=S, period_ns=10 * S)
    shown, told = (over([replace(stated, resolution=digit)], coarse).components for digit in (1.0, 360.0))
    assert next(c for c in shown if c.name == "window edges") == next(c for c in told if c.name == "window edges")
