"""The delay that the load marker shows, against simulated meters whose delay is known."""

import random
from dataclasses import dataclass
from itertools import pairwise

import pytest

from tcabench.records import NotMetered
from tcabench.timeline.curve import Curve, power_curve, since_s, smoothed, sum_curve
from tcabench.timeline.lag import Fit, Sought, fit
from tcabench.timeline.reference import planned
from tcabench.timeline.squares import Seen
from tests.timeline.played_load import CHIP_S, Load, S, Watch, fast, ns, slow

TRIALS = 24


@dataclass
class Trial:
    found: Fit | NotMetered
    lag_s: float


def curve_of(load: Load) -> Curve:
    watch = fast(load)
    samples = watch.samples()
    times, watts = [s.t_ns - round(watch.lag_s * S) for s in samples], [s.value for s in samples]
    return power_curve(times, watts, ns(-60), ns(load.marker_s + 70))


def seen(watch: Watch, curve: Curve) -> Seen:
    samples = watch.samples()
    at = tuple(since_s(curve, s.t_ns) for s in samples)
    return Seen(at, at, tuple(s.value for s in samples), is_instant=True)


def sought(curve: Curve, load: Load, mean_s: float) -> Sought:
    start_s = since_s(curve, ns(0))
    return Sought(start_s, start_s + load.marker_s, CHIP_S, -1.0, 20.0, mean_s, 0.01)


def tried(seed: int, every_s: float) -> Trial:
    load, rng = Load(seed), random.Random(seed)
    watch = slow(load, every_s, delay_s=3 * rng.random(), phase_s=every_s * rng.random(), digit=1.0)
    curve = curve_of(load)
    return Trial(fit(seen(watch, curve), curve, sought(curve, load, every_s)), watch.lag_s)


@pytest.fixture(scope="module")
def trials() -> dict[float, list[Trial]]:
    return {every_s: [tried(seed, every_s) for seed in range(TRIALS)] for every_s in (1.0, 3.0, 5.0)}


@pytest.mark.parametrize(("every_s", "rmse_s"), [(1.0, 0.004), (3.0, 0.013), (5.0, 0.019)])
def test_a_minute_of_marker_tells_the_delay_of_a_slow_meter(
    trials: dict[float, list[Trial]], every_s: float, rmse_s: float
) -> None:
    errors = [t.found.lag_s - t.lag_s for t in trials[every_s] if isinstance(t.found, Fit)]
    assert len(errors) == TRIALS
    assert (sum(e * e for e in errors) / TRIALS) ** 0.5 < rmse_s


def test_the_stated_error_covers_the_truth_in_at_least_95_of_100_trials(trials: dict[float, list[Trial]]) -> None:
    every = [t for some in trials.values() for t in some]
    covered = [abs(t.found.lag_s - t.lag_s) <= t.found.error_s for t in every if isinstance(t.found, Fit)]
    assert sum(covered) >= 0.95 * len(every)
    widest = max(t.found.error_s for t in trials[1.0] if isinstance(t.found, Fit))
    assert widest < 0.05, "an error that is never wrong because it is wide tells nothing"


def test_averaging_that_nobody_documented_is_found() -> None:
    load = Load(4)
    watch, curve = slow(load, 1.0, mean_s=3.0, delay_s=0.4), curve_of(load)
    found = fit(seen(watch, curve), curve, sought(curve, load, 1.0))
    assert isinstance(found, Fit)
    assert abs(found.lag_s - 1.9) <= found.error_s
    assert found.how.startswith("mean over 2.9") or found.how.startswith("mean over 3.0")


def test_a_first_order_filter_is_told_from_a_plain_mean() -> None:
    load = Load(5)
    curve = curve_of(load)
    late = smoothed(curve, 2.0)
    at = tuple(since_s(curve, ns(k + 0.3)) for k in range(-5, 90))
    readings = tuple((late.at(t - 0.5) - late.at(t - 0.52)) / 0.02 for t in at)
    found = fit(Seen(at, at, readings, is_instant=True), curve, sought(curve, load, 1.0))
    assert isinstance(found, Fit)
    assert found.how in ("first-order filter of 1.99 s", "first-order filter of 2.00 s")
    assert found.lag_s == pytest.approx(2.5, abs=0.02)


def test_a_counter_is_timed_by_its_rate() -> None:
    load = Load(6)
    curve = curve_of(load)
    at = [k * 1.0 + 0.2 for k in range(-8, 90)]
    rates = tuple((load.j(b - 1.3) - load.j(a - 1.3)) / (b - a) for a, b in pairwise(at))
    times = [since_s(curve, ns(t)) for t in at]
    found = fit(Seen(tuple(times[:-1]), tuple(times[1:]), rates, is_instant=False), curve, sought(curve, load, 1.0))
    assert isinstance(found, Fit)
    assert abs(found.lag_s - 1.3) <= found.error_s < 0.03
    assert found.how == "counter"


def test_the_planned_edges_do_where_there_is_no_fast_meter() -> None:
    load = Load(7)
    plan = planned(load.marker(), (ns(load.marker_s), ns(load.marker_s + load.load_s)))
    found = fit(seen(slow(load, 1.0, delay_s=1.0), plan.curve), plan.curve, plan.sought(1.0, False))
    assert isinstance(found, Fit)
    assert abs(found.lag_s - 1.5) < 0.25 + found.error_s, "the server is 0 to 0.5 s late with what it is asked"


def test_a_planned_edge_counts_half_way_to_the_latest_that_a_server_may_take_it_up() -> None:
    load = Load(7)
    curve = planned(load.marker(), (ns(load.marker_s), ns(load.marker_s + load.load_s))).curve
    began = since_s(curve, ns(0))
    assert curve.at(began + 0.25) == pytest.approx(0, abs=0.02)
    assert curve.at(began + 0.75) == pytest.approx(0.5, abs=0.02)


FLAT = "a flat load shows no delay"


@pytest.mark.parametrize(
    ("readings", "says"),
    [
        (lambda t, load: 250.0, FLAT),
        (lambda t, load: 250.0 + random.Random(t).gauss(0, 5), FLAT),
        (lambda t, load: -load.w(t), FLAT),
    ],
    ids=["constant", "noise", "upside down"],
)
def test_readings_that_do_not_follow_the_marker_give_no_delay(readings, says: str) -> None:
    load = Load(8)
    curve = curve_of(load)
    times = [k + 0.1 for k in range(-8, 90)]
    at = tuple(since_s(curve, ns(t)) for t in times)
    values = tuple(readings(t, load) for t in times)
    found = fit(Seen(at, at, values, is_instant=True), curve, sought(curve, load, 1.0))
    assert isinstance(found, NotMetered)
    assert says in found.why


def test_a_load_that_repeats_itself_fits_at_two_delays_and_gives_none() -> None:
    t_ns = [ns(k * 0.05) for k in range(-600, 2600)]
    watts = [300.0 if (t // (4 * 10**9)) % 2 else 60.0 for t in t_ns]
    curve = power_curve(t_ns, watts, ns(-60), ns(130))
    at = tuple(since_s(curve, ns(k + 0.1)) for k in range(-8, 90))
    values = tuple((curve.at(t - 0.5) - curve.at(t - 1.5)) for t in at)
    start_s = since_s(curve, ns(0))
    found = fit(Seen(at, at, values, True), curve, Sought(start_s, start_s + 64, 4.0, -1.0, 20.0, 1.0, 0.01))
    assert isinstance(found, NotMetered)
    assert "two delays fit" in found.why


def test_a_meter_that_updates_four_times_in_the_marker_is_refused() -> None:
    load = Load(9)
    curve = curve_of(load)
    found = fit(seen(slow(load, 15.0), curve), curve, sought(curve, load, 15.0))
    assert isinstance(found, NotMetered)
    assert "are too few: 8 are needed" in found.why


def test_a_curve_is_the_integral_of_its_readings() -> None:
    curve = power_curve([ns(0), ns(1), ns(3)], [10.0, 20.0, 0.0], ns(-1), ns(4))
    assert curve.at(since_s(curve, ns(3))) - curve.at(since_s(curve, ns(0))) == pytest.approx(15 + 20)
    assert curve.at(since_s(curve, ns(0))) - curve.at(since_s(curve, ns(-1))) == pytest.approx(10)
    assert curve.at(since_s(curve, ns(4))) == pytest.approx(curve.at(since_s(curve, ns(3))))
    counted = sum_curve([ns(0), ns(2)], [100.0, 140.0], ns(-1), ns(3))
    assert counted.at(since_s(counted, ns(1))) == pytest.approx(20)
    assert counted.at(since_s(counted, ns(3))) == pytest.approx(40)


def test_a_filter_delays_by_its_time_constant_and_loses_nothing() -> None:
    step = power_curve([ns(0), ns(10), ns(10.001), ns(60)], [0.0, 0.0, 50.0, 50.0], ns(0), ns(60))
    late = smoothed(step, 3.0)
    assert late.delay_s == 3.0
    assert step.at(59.0) - late.at(59.0) == pytest.approx(50 * 3.0, rel=1e-3)
