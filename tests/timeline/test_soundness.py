"""Readings that are no readings: frozen, missing, late, twice, out of order; and those that only look so."""

import random
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from tcabench.records import Axis, Channel, Health, Kind, PowerSample, Role, Window
from tcabench.testing import power_channel
from tcabench.timeline import align

S = 1_000_000_000
T0 = 10**12
WINDOW = Window(T0 - 30 * S, T0 - 10 * S, T0 - 10 * S, T0, T0 + 60 * S, T0 + 61 * S, "planned",
                T0 + 61 * S, T0 + 81 * S)  # fmt: skip


def ns(t_s: float) -> int:
    """An instant of the run's clock, counted from the window's start."""
    return T0 + round(t_s * S)


def rack(**changes: Any) -> Channel:
    settings = {"meter": "pdu", "domain": "rack", "boundary": "rack", "period_ns": S, "update_ns": S, "resolution": 1.0}
    return power_channel("pdu.power", **(settings | changes))


def gpu(**changes: Any) -> Channel:
    return power_channel("gpu.power", **({"meter": "gpu", "domain": "gpu0", "period_ns": S // 10} | changes))


Watts = Callable[[float], float]


def busy(t_s: float) -> float:
    """Idle at 60 W, load from -10 to 60 s that wanders slowly between 280 and 320 W."""
    return 300 + 20 * (1 if int(t_s // 6) % 2 else -1) if -10 <= t_s < 60 else 60.0


def steady(t_s: float) -> float:
    return 300.0 if -10 <= t_s < 60 else 60.0


def read(
    channel: Channel, watts: Watts, noise: float = 0.0, start_s: float = -30, end_s: float = 80
) -> list[PowerSample]:
    """Readings on the channel's schedule, in whole digits."""
    rng, every_s, digit = random.Random(channel.id), channel.period_ns / S, channel.resolution
    at = [start_s + k * every_s for k in range(round((end_s - start_s) / every_s) + 1)]
    values = [(t, watts(t) * (1 + rng.gauss(0, noise) if noise else 1)) for t in at]
    return [PowerSample(ns(t), 1_000_000, channel.id, round(v / digit) * digit) for t, v in values]


def axis_of(*meters: tuple[Channel, list[PowerSample]], events: tuple[dict[str, Any], ...] = ()) -> Axis:
    samples = sorted((s for _, some in meters for s in some), key=lambda s: (s.t_ns, s.channel))
    return align([channel for channel, _ in meters], samples, events, WINDOW)


def health(axis: Axis, channel: str = "pdu.power") -> Health:
    (found,) = [one for one in axis.health if one.channel == channel]
    return found


def kept(axis: Axis, channel: str = "pdu.power") -> list[PowerSample]:
    return [sample for sample in axis.samples if sample.channel == channel]


def held(watts: Watts, since_s: float, until_s: float) -> Watts:
    """`watts`, but stuck between two instants at what it was at the first."""
    return lambda t: watts(since_s if since_s <= t < until_s else t)


def test_a_sound_meter_has_a_clean_bill() -> None:
    axis = axis_of((rack(), read(rack(), busy, 0.01)), (gpu(), read(gpu(), busy, 0.01)))
    assert health(axis) == Health("pdu.power", 60, 60, 0, 0, 0.0, 0.0, 0.0, ())
    assert health(axis, "gpu.power") == Health("gpu.power", 600, 600, 0, 0, 0.0, 0.0, 0.0, ())
    assert len(kept(axis)) == 111


@pytest.mark.parametrize("resolution", [1.0, 10.0])
def test_a_reading_that_stands_still_while_another_meter_moves_is_a_gap(resolution: float) -> None:
    channel = rack(resolution=resolution)
    axis = axis_of((channel, read(channel, held(lambda t: 2 * busy(t), 20, 45))), (gpu(), read(gpu(), busy, 0.01)))
    found = health(axis)
    assert found.frozen_s == pytest.approx(25, abs=6.1)
    assert found.missing_s == pytest.approx(found.frozen_s)
    assert found.lost_rel == pytest.approx(found.frozen_s / 60)
    assert "while gpu.power moved by" in found.faults[0]
    times = [s.t_ns for s in kept(axis)]
    assert max(b - a for a, b in pairwise(times)) >= 24 * S


def test_a_coarse_meter_under_a_steady_load_is_sound() -> None:
    channel = rack(resolution=10.0)
    axis = axis_of((channel, read(channel, lambda t: steady(t) + 200)), (gpu(), read(gpu(), steady, 0.01)))
    assert health(axis).faults == ()
    assert health(axis).frozen_s == 0
    assert len(kept(axis)) == 111


def test_a_coarse_meter_of_which_the_moving_part_is_less_than_three_digits_is_sound() -> None:
    channel = rack(resolution=100.0)
    axis = axis_of((channel, read(channel, lambda t: 5000.0)), (gpu(), read(gpu(), busy, 0.01)))
    assert "before and under load" in health(axis).faults[0], "only never having shown anything else tells"
    small = read(channel, lambda t: 5000.0 if t > -25 else 4900.0)
    assert health(axis_of((channel, small), (gpu(), read(gpu(), busy, 0.01)))).faults == ()


def test_a_gpu_that_idles_beside_a_busy_one_is_not_frozen() -> None:
    idle = gpu(id="gpu1.power", meter="gpu1", domain="gpu1", resolution=1.0)
    axis = axis_of((idle, read(idle, lambda t: 61 if t > -20 else 62)), (gpu(), read(gpu(), busy, 0.01)))
    assert health(axis, "gpu1.power").faults == ()


def test_a_fine_reading_that_never_repeats_itself_and_then_does_is_frozen() -> None:
    channel = rack(resolution=0.01)
    rng = random.Random(1)
    live = {t: steady(t) + rng.random() for t in range(-30, 81)}
    axis = axis_of((channel, read(channel, lambda t: live[20 if 20 <= t < 55 else round(t)])))
    found = health(axis)
    assert found.frozen_s == pytest.approx(35)
    assert "of its other updates brought a new value" in found.faults[0]


def test_the_same_from_a_meter_with_a_coarse_digit_proves_nothing() -> None:
    channel = rack(resolution=10.0)
    rng = random.Random(1)
    live = {t: steady(t) + 200 * rng.random() for t in range(-30, 81)}
    axis = axis_of((channel, read(channel, lambda t: live[20 if 20 <= t < 55 else round(t)])))
    assert health(axis).faults == ()


@pytest.mark.parametrize(("since_s", "until_s", "words"), [
    (-20, 20, "the same before and under load"), (40, 75, "the same under load and after it"),
])  # fmt: skip
def test_a_reading_that_is_the_same_on_both_sides_of_the_loads_edge_is_frozen(
    since_s: float, until_s: float, words: str
) -> None:
    channel = rack(resolution=0.1)
    live = {t: steady(t) * (1 + t % 3 / 100) for t in range(-30, 81)}
    axis = axis_of((channel, read(channel, held(lambda t: live[round(t)], since_s, until_s))))
    assert words in health(axis).faults[0]
    assert health(axis).frozen_s == 20


def test_the_same_until_the_last_answer_is_in_is_sound() -> None:
    channel = rack(resolution=0.1)
    window = replace(WINDOW, drain_end_ns=ns(70), idle_after_start_ns=ns(70))
    busy_to_70 = read(channel, lambda t: 300.0 if -10 <= t < 70 else 60.0)
    assert align([channel], busy_to_70, [], window).health[0].faults == ()


def test_a_meter_that_shows_one_value_all_through_is_frozen_whatever_its_digits() -> None:
    channel = rack(resolution=100.0)
    axis = axis_of((channel, read(channel, lambda t: 300.0)))
    assert health(axis).lost_rel == 1.0
    assert len(kept(axis)) == 1
    assert "not one sound reading in the window" in health(axis).faults


def test_a_constant_load_with_nothing_to_hold_it_against_is_sound() -> None:
    channel = rack(resolution=0.001)
    axis = axis_of((channel, read(channel, steady)))
    assert health(axis).faults == ()


@pytest.mark.parametrize("role", [Role.COOLING, Role.LOAD])
def test_what_the_plant_draws_may_stand_still_for_longer(role: Role) -> None:
    channel = rack(role=role, resolution=0.1)
    stuck = read(channel, lambda t: 1500.0 if 5 <= t < 40 else 1500 + t)
    axis = axis_of((channel, stuck), (gpu(), read(gpu(), busy, 0.01)))
    assert bool(health(axis).frozen_s) is (role is Role.LOAD)


def test_a_return_temperature_that_stands_still_for_long_is_frozen() -> None:
    channel = rack(id="loop.return", kind=Kind.TEMPERATURE, unit="degC", role=Role.RETURN, resolution=0.01)
    warm = read(channel, lambda t: 35.0 if -20 <= t < 55 else 35 + t / 50)
    axis = axis_of((channel, warm), (gpu(), read(gpu(), busy, 0.01)))
    assert health(axis, "loop.return").frozen_s == pytest.approx(55)
    calm = read(replace(channel, resolution=0.5), lambda t: 35.0)
    axis = axis_of((replace(channel, resolution=0.5), calm), (gpu(), read(gpu(), busy, 0.01)))
    assert health(axis, "loop.return").frozen_s == 0


def counter(**changes: Any) -> Channel:
    return rack(**({"id": "pdu.energy", "kind": Kind.ENERGY, "unit": "J"} | changes))


def counted(channel: Channel, joules: Watts) -> list[PowerSample]:
    return read(channel, joules)


def test_a_counter_that_stands_still_under_power_is_frozen() -> None:
    channel = counter(resolution=100.0)
    axis = axis_of(
        (channel, counted(channel, lambda t: 1e6 + 400 * (20 if 20 <= t < 45 else t))), (gpu(), read(gpu(), busy))
    )
    found = health(axis, "pdu.energy")
    assert found.frozen_s == pytest.approx(25)
    assert "while gpu.power shows" in found.faults[0]


def test_a_counter_with_a_large_digit_is_sound() -> None:
    channel = counter(resolution=360_000.0)
    axis = axis_of((channel, counted(channel, lambda t: 36e6 + 3600 * t)), (gpu(), read(gpu(), busy)))
    assert health(axis, "pdu.energy").faults == ()


def test_a_counter_that_pauses_for_ten_times_its_usual_step_is_frozen() -> None:
    channel = counter(resolution=1000.0)
    axis = axis_of((channel, counted(channel, lambda t: 1e6 + 1000 * (5 if 5 <= t < 35 else t))))
    assert "though it usually steps every 1.0 s" in health(axis, "pdu.energy").faults[0]


def test_a_counter_that_fell_is_told_and_kept() -> None:
    channel = counter(resolution=1.0)
    samples = counted(channel, lambda t: 400 * (t + 40) if t < 30 else 400 * (t - 30))
    axis = axis_of((channel, samples))
    assert health(axis, "pdu.energy").faults == ("the counter fell from 27600 to 0 J at 30.0 s (reset or wrapped)",)
    assert kept(axis, "pdu.energy") == samples


def test_readings_that_did_not_come_are_missed() -> None:
    samples = [s for s in read(rack(), busy, 0.01) if not ns(10) <= s.t_ns < ns(20)]
    found = health(axis_of((rack(), samples)))
    assert (found.expected, found.got, found.late) == (60, 50, 1)
    assert found.missing_s == 11
    assert found.lost_rel == pytest.approx(11 / 60)
    assert found.faults == ("10 of 60 readings are missing",)


def test_three_in_ten_lost_is_told_though_few_pauses_are_long() -> None:
    rng = random.Random(3)
    samples = [s for s in read(rack(), busy, 0.01) if rng.random() > 0.3]
    found = health(axis_of((rack(), samples)))
    assert any("readings are missing" in fault for fault in found.faults)
    assert 0 < found.lost_rel < 0.6


def test_a_single_reading_lost_leaves_no_hole() -> None:
    samples = [s for s in read(rack(), busy, 0.01) if s.t_ns != ns(15)]
    found = health(axis_of((rack(), samples)))
    assert (found.got, found.missing_s, found.faults) == (59, 0.0, ())


def test_a_meter_that_starts_late_or_ends_early_leaves_the_edge_uncovered() -> None:
    late = [s for s in read(rack(), busy, 0.01) if s.t_ns >= ns(12)]
    assert health(axis_of((rack(), late))).missing_s == 12
    early = [s for s in read(rack(), busy, 0.01) if s.t_ns < ns(50)]
    assert health(axis_of((rack(), early))).missing_s == 11
    assert health(axis_of((rack(), []))).lost_rel == 1.0


def test_slow_reads_are_late() -> None:
    slow = [replace(s, read_ns=1_500_000_000) if i % 3 == 0 else s for i, s in enumerate(read(rack(), busy, 0.01))]
    found = health(axis_of((rack(), slow)))
    assert found.late == 20
    assert found.faults == ("20 of 60 readings came late",)


def stamped(*, every: int = 1, watts: Watts = busy) -> tuple[Channel, list[PowerSample]]:
    """A meter that stamps, read each second, with news every so many seconds."""
    channel = rack(has_own_clock=True, update_ns=every * S)
    samples = [replace(s, device_ns=s.t_ns // (every * S) * every * S) for s in read(channel, watts, 0.01)]
    values = {s.device_ns: s.value for s in reversed(samples)}
    return channel, [replace(s, value=values[s.device_ns]) for s in samples]


ANCHOR = {"t": ns(-40), "event": "wall_anchor", "wall_ns": str(ns(-40)), "error_ns": 10}


def test_a_stamp_that_was_there_before_is_no_new_reading() -> None:
    channel, samples = stamped(every=3)
    axis = axis_of((channel, samples), events=(ANCHOR,))
    found = health(axis)
    assert (found.expected, found.got, found.duplicates) == (20, 20, 40)
    assert found.faults == ()
    assert len(kept(axis)) == len({s.device_ns for s in samples})


def test_stamps_that_stand_still_are_frozen_whatever_the_value() -> None:
    channel, samples = stamped(watts=steady)
    stuck = next(s for s in samples if s.t_ns == ns(10))
    frozen = [
        replace(s, device_ns=stuck.device_ns, value=stuck.value) if ns(10) < s.t_ns < ns(40) else s for s in samples
    ]
    axis = axis_of((channel, frozen), events=(ANCHOR,))
    found = health(axis)
    assert found.frozen_s == pytest.approx(30)
    assert found.missing_s == pytest.approx(30)
    assert found.duplicates == 29
    assert any("its stamps stood still for 30.0 s" in fault for fault in found.faults)


def test_stamps_that_never_move_again_are_frozen_to_the_end() -> None:
    channel, samples = stamped()
    stuck = next(s for s in samples if s.t_ns == ns(40))
    frozen = [replace(s, device_ns=stuck.device_ns, value=stuck.value) if s.t_ns > ns(40) else s for s in samples]
    found = health(axis_of((channel, frozen), events=(ANCHOR,)))
    assert found.frozen_s == found.missing_s == pytest.approx(20, abs=0.6)


def test_readings_stamped_out_of_order_are_left_out_and_told() -> None:
    channel, samples = stamped()
    mixed = [replace(s, device_ns=(s.device_ns or 0) - 5 * S) if s.t_ns == ns(20) else s for s in samples]
    axis = axis_of((channel, mixed), events=(ANCHOR,))
    assert len(kept(axis)) == len(samples) - 1
    assert any("1 reading(s) were stamped earlier than one before" in fault for fault in health(axis).faults)


def test_stamps_from_the_future_are_told() -> None:
    channel, samples = stamped()
    early = [replace(s, device_ns=(s.device_ns or 0) + 60 * S) for s in samples]
    axis = axis_of((channel, early), events=(ANCHOR,))
    assert any("its stamps lie up to" in fault for fault in health(axis).faults)


def test_a_single_reading_far_above_the_rest_is_told_and_kept() -> None:
    samples = [replace(s, value=9999.0) if s.t_ns == ns(30) else s for s in read(rack(), busy, 0.01)]
    axis = axis_of((rack(), samples))
    assert health(axis).faults == ("one single reading of 9999 W at 30.0 s: more than 10 times the median",)
    assert 9999.0 in [s.value for s in kept(axis)]
    twice = [replace(s, value=9999.0) if s.t_ns in (ns(30), ns(31)) else s for s in read(rack(), busy, 0.01)]
    assert health(axis_of((rack(), twice))).faults == ()


def test_what_the_sampler_met_is_told() -> None:
    events = (
        {"event": "meter_error", "meter": "pdu", "t": ns(5), "why": "no answer"},
        {"event": "meter_error", "meter": "pdu", "t": ns(-5), "why": "before the window"},
        {"event": "meter_error", "meter": "other", "t": ns(5), "why": "no answer"},
        {"event": "meter_dead", "meter": "pdu", "t": ns(6), "why": "no answer"},
    )
    axis = axis_of((rack(), read(rack(), busy, 0.01)), events=events)
    assert health(axis).faults == ("1 read(s) of it failed", "it stopped answering at 6.0 s")


def test_channels_that_no_energy_rests_on_are_passed_on_unjudged() -> None:
    channel = gpu(id="gpu.clock", kind=Kind.CLOCK, unit="MHz")
    axis = axis_of((channel, read(channel, lambda t: 1980.0)))
    assert axis.health == ()
    assert len(axis.samples) == 1101


def test_a_frozen_meter_does_not_hide_that_another_froze_with_it() -> None:
    """What is left out of one channel is still there while the others are judged."""
    one, two = rack(), rack(id="pdu2.power", meter="pdu2", domain="rack2")
    stuck = held(lambda t: 2 * busy(t), 20, 45)
    axis = axis_of((one, read(one, stuck)), (two, read(two, stuck)), (gpu(), read(gpu(), busy, 0.01)))
    assert health(axis).frozen_s == health(axis, "pdu2.power").frozen_s > 10


def test_a_model_is_never_frozen() -> None:
    model = rack(is_estimate=True)
    assert health(axis_of((model, read(model, lambda t: 300.0)))).faults == ()


@pytest.mark.parametrize(
    ("event", "told"),
    [
        ({"event": "meter_error", "meter": "nvml.gpu0"}, True),  # one name opens several meters
        ({"event": "meter_error", "meter": "nvml.gpu0.telemetry"}, False),
        ({"event": "meter_error", "meter": "nvml.gpu1"}, False),
        ({"event": "sampler_lost", "meter": "", "meters": ["nvml.gpu0", "nvml.gpu1"]}, True),
    ],
)
def test_what_the_sampler_met_is_told_of_the_channels_it_concerns(event: dict[str, Any], told: bool) -> None:
    from tcabench.testing import power_channel
    from tcabench.timeline.soundness import _concerns

    assert _concerns(event, power_channel("nvml.gpu0.power", meter="nvml")) is told
