"""Meters of every kind, put on the run's clock: by whom a reading was stamped, what is known of that clock."""

import random
from dataclasses import replace
from typing import Any

import pytest

from tcabench.records import Alignment, Axis, Kind, PowerSample, Role
from tcabench.testing import power_channel
from tcabench.timeline import align
from tcabench.timeline.offset import limit_k2
from tcabench.timeline.track import own_delay_ns
from tests.timeline.played_load import WALL_NS, Load, S, Watch, anchor, fast, ns, slow

CLOCKED = {"has_own_clock": True}


def aligned(load: Load, *watches: Watch, events: tuple[dict[str, Any], ...] = (), marker: bool = True) -> Axis:
    """The run of `load`, watched; without `marker` nothing was written down of one."""
    samples = sorted((s for watch in watches for s in watch.samples()), key=lambda s: (s.t_ns, s.channel))
    kept = [e for e in load.events() if marker or not ("marker" in str(e.get("phase")) or e["event"] == "marker_chip")]
    return align([watch.channel for watch in watches], samples, [*kept, *events], load.window())


def of(axis: Axis, meter: str) -> Alignment:
    (found,) = [one for one in axis.alignments if one.meter == meter]
    return found


def times(axis: Axis, channel: str) -> list[int]:
    return [s.t_ns for s in axis.samples if s.channel == channel]


def asked(
    t_s: float, lead_s: float, resolution_s: float = 0.001, meter: str = "pdu", way_s: float = 0.004
) -> dict[str, Any]:
    """The sampler asked the meter's clock, which is `lead_s` ahead of wall time."""
    resolution = round(resolution_s * S)
    device = (WALL_NS + ns(t_s + way_s / 2 + lead_s)) // resolution * resolution
    return {
        "t": ns(t_s), "event": "clock_exchange", "meter": meter, "before_ns": ns(t_s), "after_ns": ns(t_s + way_s),
        "device_ns": str(device), "resolution_ns": resolution,
    }  # fmt: skip


def test_a_meter_that_we_stamp_stays_where_it_is() -> None:
    load = Load()
    axis = aligned(load, fast(load), marker=False)
    found = of(axis, "gpu")
    assert (found.shift_ns, found.method, found.why) == (0, "host clock", "the run had no load marker")
    assert found.error_ns == pytest.approx(400_000 / 2 * 1.1547, rel=1e-3)
    assert list(axis.samples) == fast(load).samples()


@pytest.mark.parametrize("lead_s", [37.25, -0.4])
def test_exchanges_put_a_meters_own_stamps_on_our_clock(lead_s: float) -> None:
    load = Load()
    watch = slow(load, channel=CLOCKED, lead_s=lead_s)
    axis = aligned(load, watch, events=tuple(asked(t, lead_s) for t in range(-9, 100, 10)), marker=False)
    found = of(axis, "pdu")
    assert found.method == "clock exchange"
    assert abs(found.shift_ns - lead_s * S) <= found.error_ns < 50_000_000
    wrong = [abs(a - s.t_ns) for a, s in zip(times(axis, "pdu.power"), watch.samples(), strict=True)]
    assert max(wrong) <= found.error_ns


def test_stamps_in_whole_seconds_are_put_half_a_second_later() -> None:
    load, rng = Load(), random.Random(2)
    watch = slow(load, 1.1, channel=CLOCKED, lead_s=0.0)
    cut = [replace(s, device_ns=(s.device_ns or 0) // S * S) for s in watch.samples()]
    events = [*load.events(), *(asked(t + rng.random(), 0.0, 1.0) for t in range(-9, 110, 2))]
    kept = [e for e in events if e["event"] != "marker_chip"]
    axis = align([watch.channel], cut, kept, load.window())
    found = of(axis, "pdu")
    wrong = [a - s.t_ns for a, s in zip(times(axis, "pdu.power"), watch.samples(), strict=True)]
    assert max(map(abs, wrong)) <= found.error_ns < S
    assert abs(sum(wrong)) / len(wrong) < S // 10
    assert abs(found.shift_ns + S // 2) < S // 4


def test_a_clock_that_jumped_in_mid_run_is_not_trusted_and_no_reading_moves() -> None:
    load = Load()
    watch = slow(load, channel=CLOCKED, lead_s=0.1)
    samples = [replace(s, device_ns=(s.device_ns or 0) + (5 * S if s.t_ns > ns(80) else 0)) for s in watch.samples()]
    events = [*load.events(), *(asked(t, 0.1 + (5 if t > 80 else 0)) for t in range(-9, 100, 10))]
    axis = align([watch.channel], samples, events, load.window())
    found = of(axis, "pdu")
    assert (found.method, found.shift_ns) == ("host clock", 0)
    assert "its clock jumped forward by 5.0 s" in found.why
    assert found.error_ns > S
    assert times(axis, "pdu.power") == [s.t_ns for s in watch.samples()]
    assert "its clock jumped forward by 5.0 s" in axis.health[0].faults[0]


def test_of_several_readings_in_one_call_only_the_newest_can_be_placed_without_stamps() -> None:
    load = Load()
    channel = power_channel("pdu.power", meter="pdu", has_own_clock=True, period_ns=2 * S, update_ns=S)
    stamps = [(2 * k, 2 * k - 1 + i) for k in range(60) for i in (0, 1)]
    samples = [PowerSample(ns(read), 0, "pdu.power", 100.0 + stamp, ns(stamp)) for read, stamp in stamps]
    events = [*load.events(), asked(0, 0.0), asked(50, 3600.0)]
    axis = align([channel], samples, events, load.window())
    assert times(axis, "pdu.power") == [ns(2 * k) for k in range(60)]
    assert axis.health[0].duplicates == axis.health[0].got == 18


def test_a_stamp_that_is_read_again_is_no_news_even_where_stamps_are_not_trusted() -> None:
    load = Load()
    channel = power_channel("pdu.power", meter="pdu", has_own_clock=True, period_ns=S, update_ns=2 * S)
    samples = [PowerSample(ns(k), 0, "pdu.power", 100.0 + k // 2, ns(k // 2 * 2)) for k in range(110)]
    axis = align([channel], samples, [*load.events(), asked(0, 0.0), asked(50, 3600.0)], load.window())
    assert of(axis, "pdu").method == "host clock"
    assert times(axis, "pdu.power") == [ns(k) for k in range(0, 110, 2)]


def test_a_clock_that_nobody_compared_is_taken_for_wall_time_to_1_s() -> None:
    load = Load()
    watch = slow(load, channel=CLOCKED, lead_s=0.6)
    axis = aligned(load, watch, marker=False)
    found = of(axis, "pdu")
    assert found.method == "stated clock"
    assert "never compared with ours" in found.why
    wrong = [abs(a - s.t_ns) for a, s in zip(times(axis, "pdu.power"), watch.samples(), strict=True)]
    assert S // 2 < max(wrong) <= found.error_ns < 2 * S


def test_the_marker_finds_a_stated_clock_that_is_12_s_off() -> None:
    load = Load()
    watch = slow(load, channel=CLOCKED, lead_s=12.0, delay_s=0.7)
    axis = aligned(load, fast(load), watch)
    found = of(axis, "pdu")
    assert found.method == "load marker"
    assert abs(found.shift_ns / S - (12.0 + watch.lag_s)) <= found.error_ns / S
    assert found.error_ns < S // 4


def test_a_host_clock_that_was_set_is_a_fault_of_the_meters_that_rest_on_it() -> None:
    load = Load()
    stated, read = slow(load, channel=CLOCKED, lead_s=0.0), fast(load)
    samples = sorted([*stated.samples(), *read.samples()], key=lambda s: s.t_ns)
    events = [e for e in load.events() if e["event"] not in ("wall_anchor_end", "marker_chip")]
    events.append(anchor("wall_anchor_end", 115, 5 * S))
    axis = align([stated.channel, read.channel], samples, events, load.window())
    told = {one.channel: one.faults for one in axis.health}
    assert told["pdu.power"] == ("the host's wall clock was set by +5.0 s while the run went on",)
    assert told["gpu.power"] == ()
    assert of(axis, "pdu").error_ns > 5 * S


def test_without_any_tie_to_our_clock_stamps_are_not_used() -> None:
    load = Load()
    watch = slow(load, channel=CLOCKED, lead_s=0.0)
    axis = align([watch.channel], watch.samples(), [], load.window())
    found = of(axis, "pdu")
    assert found.method == "host clock"
    assert "nothing tells how its clock stands to ours" in found.why


@pytest.mark.parametrize("seed", range(4))
def test_the_marker_finds_the_delay_of_a_slow_meter_and_moves_it(seed: int) -> None:
    load = Load(seed)
    watch = slow(load, 1.0, delay_s=0.3 + seed / 3, phase_s=seed / 7)
    axis = aligned(load, fast(load), watch)
    found = of(axis, "pdu")
    assert found.method == "load marker"
    assert abs(found.shift_ns / S - watch.lag_s) <= found.error_ns / S < 0.2
    assert found.residual_rel is not None
    assert found.residual_rel < 0.05
    assert [s.t_ns - found.shift_ns for s in watch.samples()] == times(axis, "pdu.power")
    assert of(axis, "gpu").shift_ns == 0
    assert of(axis, "gpu").why == "the load marker is timed by this meter"


def test_a_meter_read_oftener_than_it_updates_is_moved_by_the_age_of_what_it_shows() -> None:
    load = Load(3)
    fresh = slow(load, 1.0, mean_s=1.0, delay_s=0.4)
    values = {s.t_ns: s.value for s in fresh.samples()}
    first = min(values)
    held = [PowerSample(first + k * S // 5, 100, "pdu.power", values[first + k // 5 * S]) for k in range(5 * 115)]
    channel = replace(fresh.channel, period_ns=S // 5)
    gpu = fast(load)
    samples = sorted([*gpu.samples(), *held], key=lambda s: s.t_ns)
    axis = align([gpu.channel, channel], samples, load.events(), load.window())
    found = of(axis, "pdu")
    assert found.method == "load marker"
    assert abs(found.shift_ns / S - (fresh.lag_s + 0.4)) <= found.error_ns / S


@pytest.mark.parametrize("digit_j", [0.1, 10.0, 60.0])
@pytest.mark.parametrize("late_s", [0.0, 0.5])
@pytest.mark.parametrize("update_ns", [S, 0])
def test_a_counter_is_moved_by_its_own_lag(late_s: float, digit_j: float, update_ns: int) -> None:
    """A row a second with the mean power over it lags by half a second more than the counter in the same row. Half of
    what lies between two readings is left to the energy account, which takes it out of every counter."""
    load = Load(2)
    watch = slow(load, 1.0, mean_s=1.0, delay_s=late_s, channel={"update_ns": update_ns})
    counter = replace(watch.channel, id="pdu.energy", kind=Kind.ENERGY, unit="J", resolution=digit_j)
    counted = [
        replace(s, channel="pdu.energy", value=round(load.j((s.t_ns - ns(0)) / S - late_s) / digit_j) * digit_j)
        for s in watch.samples()
    ]
    gpu = fast(load)
    samples = sorted([*gpu.samples(), *watch.samples(), *counted], key=lambda s: (s.t_ns, s.channel))
    axis = align([gpu.channel, watch.channel, counter], samples, load.events(), load.window())
    found = of(axis, "pdu")
    assert found.why.startswith("pdu.power fits as mean over ")
    assert abs(found.shift_ns / S - late_s - 0.5) <= found.error_ns / S
    moved_s = {(s.t_ns - placed) / S for s, placed in zip(counted, times(axis, "pdu.energy"), strict=True)}
    assert max(moved_s) - min(moved_s) < 1e-8
    assert abs(moved_s.pop() + 0.5 - late_s) <= found.error_ns / S < 0.2


def test_a_counter_alone_is_timed_by_itself() -> None:
    load = Load(2)
    watch = slow(load, 1.0, delay_s=0.5)
    counter = replace(watch.channel, id="pdu.energy", kind=Kind.ENERGY, unit="J", resolution=1.0)
    counted = [replace(s, channel="pdu.energy", value=round(load.j((s.t_ns - ns(0)) / S))) for s in watch.samples()]
    gpu = fast(load)
    alone = align([gpu.channel, counter], sorted([*gpu.samples(), *counted], key=lambda s: s.t_ns), load.events(),
                  load.window())  # fmt: skip
    assert of(alone, "pdu").why == "pdu.energy fits as counter"
    assert abs(of(alone, "pdu").shift_ns) <= of(alone, "pdu").error_ns


def test_power_that_only_its_counter_times_keeps_the_doubt_of_its_documents() -> None:
    load = Load(2)
    watch = slow(load, 1.0, mean_s=1.0, channel={"update_ns": S})
    still = [replace(s, value=300.0) for s in watch.samples()]
    counter = replace(watch.channel, id="pdu.energy", kind=Kind.ENERGY, unit="J", resolution=1.0, average_ns=0)
    counted = [replace(s, channel="pdu.energy", value=round(load.j((s.t_ns - ns(0)) / S))) for s in watch.samples()]
    gpu = fast(load)
    samples = sorted([*gpu.samples(), *still, *counted], key=lambda s: (s.t_ns, s.channel))
    found = of(align([gpu.channel, watch.channel, counter], samples, load.events(), load.window()), "pdu")
    assert found.why == "pdu.energy fits as counter"
    assert found.error_ns >= limit_k2(own_delay_ns(watch.channel)) > S // 4


def test_without_a_fast_meter_the_planned_edges_serve() -> None:
    load = Load(1)
    watch = slow(load, 1.0, delay_s=2.0)
    found = of(aligned(load, watch), "pdu")
    assert found.method == "load marker"
    assert abs(found.shift_ns / S - watch.lag_s) <= found.error_ns / S < 0.5


def test_an_idle_gpu_is_no_reference_and_gets_none() -> None:
    load = Load(5)
    idle = replace(fast(load).channel, id="a.power", meter="a", domain="gpu1")
    rng = random.Random(0)
    quiet = [PowerSample(s.t_ns + 1, 100, "a.power", 61 + rng.random()) for s in fast(load).samples()]
    gpu, pdu = fast(load), slow(load)
    samples = sorted([*quiet, *gpu.samples(), *pdu.samples()], key=lambda s: s.t_ns)
    axis = align([idle, gpu.channel, pdu.channel], samples, load.events(), load.window())
    assert of(axis, "pdu").method == "load marker"
    assert of(axis, "gpu").why == "the load marker is timed by this meter"
    assert of(axis, "a").method == "host clock"
    assert "do not follow the load marker" in of(axis, "a").why


def test_a_flat_load_aligns_nothing_and_says_so() -> None:
    load = Load(6, flat=True)
    found = of(aligned(load, fast(load), slow(load)), "pdu")
    assert (found.method, found.shift_ns) == ("host clock", 0)
    assert "a flat load shows no delay" in found.why


def test_a_delay_that_is_documented_better_is_left_as_documented() -> None:
    load = Load(1)
    other = Watch(load, power_channel("b.power", meter="b", update_ns=50_000_000), 0.05, 0.02, digit=0.01)
    found = of(aligned(load, fast(load), other), "b")
    assert (found.method, found.shift_ns) == ("host clock", 0)
    assert "what is documented" in found.why


def test_a_fast_meter_that_is_later_than_documented_is_moved() -> None:
    load = Load(1)
    other = Watch(load, power_channel("b.power", meter="b", update_ns=50_000_000), 0.05, 1.0, digit=0.01)
    found = of(aligned(load, fast(load), other), "b")
    assert found.method == "load marker"
    assert abs(found.shift_ns / S - 0.5) <= found.error_ns / S


def test_models_and_meters_of_the_plant_are_not_moved() -> None:
    load = Load(1)
    pump = slow(load, channel={"id": "pump", "meter": "pump", "role": Role.COOLING})
    model = slow(load, channel={"id": "model", "meter": "model", "is_estimate": True})
    axis = aligned(load, fast(load), pump, model)
    for name in ("pump", "model"):
        assert of(axis, name).method == "host clock"
        assert "reads neither power nor energy of the load" in of(axis, name).why


def test_the_same_evidence_gives_the_same_axis() -> None:
    load = Load(2)
    first, second = (aligned(load, fast(load), slow(load, 3.0, delay_s=1.1)) for _ in range(2))
    assert first == second


def test_a_run_without_meters_has_an_empty_axis() -> None:
    load = Load()
    assert align([], [], load.events(), load.window()) == Axis((), (), ())
