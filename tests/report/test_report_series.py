"""Short forms of long series keep what matters: extremes, gaps, ranks."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_record import channel

from tcabench.records import Kind, PowerSample
from tcabench.report.series import ECDF_POINTS, POINTS, drawn_channels, ecdf, envelope

POWER, ENERGY = channel("gpu0", Kind.POWER, "W"), channel("gpu0", Kind.ENERGY, "J")
watts = st.floats(0, 1e4)


def series(values: list[float], step_ns: int = 100_000_000, of: str = POWER.id) -> list[PowerSample]:
    return [PowerSample(i * step_ns, 1000, of, v) for i, v in enumerate(values)]


@settings(deadline=None)
@given(st.lists(watts, min_size=1, max_size=3000))
def test_an_envelope_keeps_the_extremes_in_few_points(values: list[float]) -> None:
    found = envelope(POWER, series(values), 0)
    assert found is not None
    assert len(found.t_s) <= POINTS
    assert min(found.low_w) == min(values)
    assert max(found.high_w) == max(values)
    assert found.readings == len(values)
    assert all(a < b for a, b in pairwise(found.t_s))
    slack = 1e-9 * max(values)
    assert all(a - slack <= m <= b + slack for a, m, b in zip(found.low_w, found.mean_w, found.high_w, strict=True))


def test_no_bin_spans_a_gap() -> None:
    readings = [s for s in series([100.0] * 2000 + [200.0] * 2000) if not 100 <= s.t_ns / 1e9 < 200]
    found = envelope(POWER, readings, 0)
    assert found is not None
    [gap] = found.gaps
    assert (gap.start_s, gap.end_s) == pytest.approx((99.9, 200.0))
    [cut] = found.breaks
    assert found.t_s[cut - 1] < gap.start_s + 0.01
    assert found.t_s[cut] >= gap.end_s
    assert set(found.mean_w) == {100.0, 200.0}


def test_a_pause_that_the_energy_bridges_is_no_gap() -> None:
    found = envelope(POWER, series([1.0, 2.0, 3.0], step_ns=1_000_000_000), 0)
    assert found is not None
    assert found.gaps == ()


def test_a_counter_under_constant_load_is_drawn_as_that_power() -> None:
    found = envelope(ENERGY, series([35.0 * i for i in range(500)], of=ENERGY.id), 0)
    assert found is not None
    assert found.mean_w == pytest.approx([350.0] * len(found.mean_w))


def test_a_channel_without_readings_has_no_series() -> None:
    assert envelope(POWER, [], 0) is None
    assert envelope(ENERGY, series([1.0], of=ENERGY.id), 0) is None


def test_power_is_drawn_before_a_counter_of_the_same_domain() -> None:
    other = channel("gpu1", Kind.ENERGY, "J")
    heat = channel("gpu0", Kind.TEMPERATURE, "degC")
    assert drawn_channels([ENERGY, heat, POWER, other]) == [POWER, other]


@settings(deadline=None)
@given(st.lists(st.floats(0, 100), min_size=1, max_size=1500))
def test_an_ecdf_rises_from_the_least_to_the_greatest(values: list[float]) -> None:
    found = ecdf(values)
    assert found is not None
    assert len(found.x_s) <= ECDF_POINTS
    assert (found.x_s[0], found.x_s[-1]) == (min(values), max(values))
    assert found.share[-1] == 1
    assert list(found.share) == sorted(found.share)
    for x, share in zip(found.x_s, found.share, strict=True):
        assert sum(v < x for v in values) / len(values) <= share <= sum(v <= x for v in values) / len(values)


def test_no_values_have_no_ecdf() -> None:
    assert ecdf([]) is None
