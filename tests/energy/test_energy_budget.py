"""Each component of the budget against its formula, worked out by hand."""

from dataclasses import replace
from math import sqrt

import pytest

from tcabench.energy.budget import (
    alignment,
    clock,
    combined,
    counter_edges,
    counter_swing_w,
    disagreement,
    gain,
    last_digit_j,
    power_edges,
    quantity,
    together,
)
from tcabench.energy.counter import Edges
from tcabench.energy.sampling import sampling, student
from tcabench.energy.series import Series
from tcabench.records import Alignment, Channel, Component, Kind

S = 1_000_000_000
COUNTER = Channel("m.j", "m", "d", Kind.ENERGY, "J", "chip", 0.98, 1.03, 1.0, S, S, False, "the data sheet")
POWER = replace(COUNTER, id="m.w", kind=Kind.POWER, unit="W")


def even(watts: float = 100.0, number: int = 101, known_ns: int = 0) -> Edges:
    """A step each second, from 0 s."""
    return Edges(tuple(s * S for s in range(number)), tuple(watts * s for s in range(number)), (), (known_ns,) * number)


def uneven(known_ns: int = 0) -> Edges:
    """Every other second 80 J and 120 J."""
    joules = [100.0 * s - 20 * (s % 2) for s in range(101)]
    return Edges(tuple(s * S for s in range(101)), tuple(joules), (), (known_ns,) * 101)


def test_a_class_is_told_with_its_document_and_certificate() -> None:
    found = gain(COUNTER)
    assert (found.name, found.source) == ("meter class", "the data sheet")
    assert [found.down_rel, found.up_rel] == [pytest.approx(0.02), pytest.approx(0.03)]
    certified = replace(COUNTER, certificate="C-1", calibrated_on="2026-03-01", certificate_due="2027-03-01")
    assert gain(certified).source == "the data sheet; certificate C-1 of 2026-03-01, due 2027-03-01"


@pytest.mark.parametrize("known_ns", [0, S // 10, S])
def test_steps_under_an_even_load_are_as_good_as_their_instants(known_ns: int) -> None:
    """u^2 = (P*t)^2/12 at each end."""
    found = counter_edges(even(known_ns=known_ns), 10 * S, 60 * S, 5000.0)
    assert found.up_rel == found.down_rel == pytest.approx(2 * sqrt(2 / 12) * 100 * known_ns / S / 5000)


FIVE = [80.0, 120.0, 80.0, 120.0, 80.0]


def spread_of_five() -> float:
    mean = sum(FIVE) / 5
    return sqrt(sum((w - mean) ** 2 for w in FIVE) / 4)


@pytest.mark.parametrize(("into_s", "bridge_s"), [(0.0, 0.0), (0.5, 0.5), (0.2, 0.4)])
def test_between_two_steps_the_line_is_a_bridge(into_s: float, bridge_s: float) -> None:
    """u = s*sqrt(x*(T - x)), s widened by Student's t for four degrees of freedom."""
    start_ns = round((10 + into_s) * S)
    found = counter_edges(uneven(), start_ns, 60 * S, 5000.0)  # the end lies on a step
    assert found.up_rel == pytest.approx(2 * student(4) / 2 * spread_of_five() * bridge_s / 5000)


@pytest.mark.parametrize("beyond_s", [0.2, 1.4])
def test_beyond_the_last_step_the_doubt_grows(beyond_s: float) -> None:
    """u = s*sqrt(d*(T + d)) until the next step is overdue."""
    found = counter_edges(uneven(), 10 * S, round((100 + beyond_s) * S), 9000.0)
    u = student(4) / 2 * spread_of_five() * sqrt(beyond_s * (1 + beyond_s))
    assert found.up_rel == pytest.approx(2 * u / 9000, rel=1e-6)


def test_where_the_next_step_is_overdue_all_of_it_is_in_doubt() -> None:
    found = counter_edges(uneven(), 10 * S, round(101.6 * S), 9000.0)
    assert found.up_rel == pytest.approx(2 * 120 * 3.2 / sqrt(12) / 9000, rel=1e-6)


def test_three_steps_tell_nothing_of_how_even_the_load_is() -> None:
    few = Edges((0, 10 * S, 20 * S), (0.0, 1000.0, 2000.0), (), (0, 0, 0))
    found = counter_edges(few, 2 * S, 18 * S, 1600.0)
    assert found.up_rel == pytest.approx(2 * sqrt(2 / 12) * 1000 / 1600)


def test_doubt_about_the_instants_is_not_taken_for_an_uneven_load() -> None:
    """Known to 0.4 s, steps of 1 s at 100 W spread by 16.3 W; 20 W are then hardly more than that."""
    told, exact = (counter_edges(uneven(known_ns), 10 * S + S // 2, 60 * S, 5000.0) for known_ns in (4 * S // 10, 0))
    timing = 120 * 0.4 / sqrt(6)
    shape = student(4) / 2 * sqrt(max(0.0, spread_of_five() ** 2 - timing**2)) * 0.5
    expected = sqrt(shape**2 + 2 * (120 * 0.4) ** 2 / 12)
    assert told.up_rel == pytest.approx(2 * expected / 5000, rel=1e-6)
    assert exact.up_rel == pytest.approx(2 * student(4) / 2 * spread_of_five() * 0.5 / 5000, rel=1e-6)


def test_the_swing_of_a_counter_is_that_of_its_rates() -> None:
    assert counter_swing_w(uneven(), 10 * S, 60 * S) == pytest.approx(40)
    assert counter_swing_w(even(), 10 * S, 60 * S) == pytest.approx(0)


def test_a_last_digit_is_told_to_what_one_update_counts() -> None:
    """An update counts 100 J."""
    for resolution, told in ((1.0, 1.0), (500.0, 100.0)):
        found = last_digit_j(replace(COUNTER, resolution=resolution), even(), 10 * S, 60 * S, 5000.0)
        assert found.up_rel == pytest.approx(2 * told / sqrt(6) / 5000)


def power(*watts: float) -> Series:
    return Series(tuple(s * S for s in range(len(watts))), (2000,) * len(watts), watts)


def test_how_old_readings_are_matters_as_far_as_power_differs() -> None:
    """A limit of T/2, rectangular, times the swing: here 100 W between the ends, 0 W within each."""
    series = power(*[100.0] * 20, *[200.0] * 21)
    plain = power_edges(POWER, series, 5 * S, 35 * S, 4500.0, delay_known=False)
    assert plain.up_rel == pytest.approx(2 * 0.5 / sqrt(3) * 100 / 4500)
    assert power_edges(POWER, series, 5 * S, 35 * S, 4500.0, delay_known=True).up_rel == 0
    averaged = power_edges(replace(POWER, average_ns=8 * S), series, 3 * S, 38 * S, 4500.0, delay_known=False)
    assert averaged.up_rel == pytest.approx(2 * sqrt(0.25 + 1) / sqrt(3) * 100 / 4500)


def test_with_the_delay_known_each_end_swings_for_itself() -> None:
    series = power(*[100.0] * 5, *[130.0] * 25, *[170.0] * 11)
    found = power_edges(POWER, series, 5 * S, 30 * S, 3600.0, delay_known=True)
    assert found.up_rel == pytest.approx(2 * 0.5 / sqrt(3) * 50 / 3600)  # 30 W and 40 W in quadrature


def test_an_alignment_moves_the_swing() -> None:
    found = alignment(Alignment("m", 0, S // 2, "clock exchange"), 60.0, 3000.0)
    assert found == Component("alignment", 0.01, 0.01, "m: clock exchange, +-500 ms")
    assert alignment(None, 60.0, 3000.0) is None
    assert alignment(Alignment("m", 0, 0, "host clock"), 60.0, 3000.0) is None


def test_a_read_call_blurs_its_instant_and_a_clock_its_second() -> None:
    series = Series((0, 10 * S, 20 * S), (S // 10, 3 * S // 10, S // 5), (1.0, 1.0, 1.0))
    found = clock(series, 5 * S, 15 * S, 1.0, rate=False)
    assert found.up_rel == pytest.approx(0.3 / 10 * sqrt(2 / 3))
    assert clock(series, 2 * S, 8 * S, 1.0, rate=False).up_rel == pytest.approx(0.3 / 6 * sqrt(2 / 3))
    paced = clock(series, 5 * S, 15 * S, 0.1, rate=True)
    assert paced.up_rel == pytest.approx(sqrt((0.03 * 0.1) ** 2 * 2 / 3 + (2 * 0.0005 / sqrt(3)) ** 2))


def test_a_disagreement_reaches_to_the_other_value_whichever_was_taken() -> None:
    assert quantity(110.0, [disagreement(0.1)], "J").low == pytest.approx(100)
    assert quantity(100.0, [disagreement(0.1, counted=False)], "J").high == pytest.approx(110)
    assert quantity(100.0, [disagreement(-0.1, counted=False)], "J").low == pytest.approx(90)


def test_parts_with_one_cause_add_up_and_others_in_quadrature() -> None:
    rows = [(3.0, "a"), (1.0, "a"), (3.0, "b")]
    assert together("meter class", rows) == together("clock", rows) == 7.0
    assert together("sampling", rows) == pytest.approx(sqrt(19))
    assert together("alignment", rows) == pytest.approx(5.0)  # (3 + 1) and 3


def test_an_interval_never_reaches_down_to_nothing() -> None:
    assert combined([Component("a", 3.0, 3.0, "")]) == (0.99, 3.0)


def test_too_few_readings_are_no_sample() -> None:
    found = sampling(POWER, power(1.0, 1.0, 1.0), 0, 3 * S, 3.0)
    assert (found.down_rel, found.up_rel) == (1.0, 1.0)
    assert sampling(POWER, power(1.0, 1.0, 1.0, 1.0), 0, 3 * S, 3.0).up_rel == 0


def test_readings_nearer_than_an_update_are_no_further_ones() -> None:
    slow = replace(POWER, update_ns=10 * S)
    found = sampling(slow, power(*[100.0 + s // 10 % 2 for s in range(61)]), 0, 60 * S, 6000.0)
    assert found.source.startswith("7 readings")


def test_students_factor_shrinks_to_two() -> None:
    assert [student(1), student(4), student(18), student(19), student(500)] == [12.71, 2.78, 2.10, 2.0, 2.0]
