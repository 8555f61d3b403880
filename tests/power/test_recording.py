"""The sampler: its schedule, what it does when meters fail, and that every sample is handed on once."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from tcabench.clock import SystemClock
from tcabench.errors import EvidenceError, MeterError
from tcabench.power import Tape, recording
from tcabench.power.meter import Fact
from tcabench.power.reader import DEAD_AFTER
from tcabench.records import Channel, ClockReading, Instrument, Kind, PowerSample, Reading

PERIOD_NS = 50_000_000
PLENTY_S = 60.0


class SteppedClock:
    """Time that passes only by sleeping or by a meter that takes its time."""

    def __init__(self) -> None:
        self._ns, self._lock = 0, threading.Lock()

    def now_ns(self) -> int:
        with self._lock:
            return self._ns

    def sleep(self, s: float) -> None:
        with self._lock:
            self._ns += max(1, round(s * 1_000_000_000))
        time.sleep(0)


class ScriptedMeter:
    """Each read runs the next line of a script; after the last one `done` is set and it stays at 100 W."""

    def __init__(
        self, script: Sequence[Callable[[], Any]], name: str = "scripted", instrument: Instrument = Instrument.DEVICE
    ) -> None:
        self.name, self._script, self._at, self._instrument = name, script, 0, instrument
        self.done = threading.Event()
        self.threads: list[int] = []

    def channels(self) -> tuple[Channel, ...]:
        plain = Channel(
            f"{self.name}.power", self.name, self.name, Kind.POWER, "W", "chip", 0.9, 1.1, 1.0, 0, PERIOD_NS, False,
            "the test", instrument=self._instrument,
        )  # fmt: skip
        return (plain, replace(plain, id=f"{self.name}.slow", kind=Kind.TEMPERATURE, period_ns=20 * PERIOD_NS))

    def read(self) -> Any:
        at, self._at = self._at, self._at + 1
        self.threads.append(threading.get_ident())
        if at < len(self._script):
            return self._script[at]()
        self.done.set()
        return self.watts()

    def at_first(self, script: Sequence[Callable[[], Any]]) -> "ScriptedMeter":
        """This meter, with another script."""
        self._script = script
        return self

    def watts(self, value: float = 100.0) -> list[tuple[str, float]]:
        return [(f"{self.name}.power", value)]

    def facts(self) -> dict[str, Fact]:
        return {}

    def close(self) -> None:
        """Nothing is held open."""


def steady(name: str, reads: int, instrument: Instrument = Instrument.DEVICE) -> ScriptedMeter:
    """A meter that is done after so many sound readings."""
    meter = ScriptedMeter([], name, instrument)
    return meter.at_first([meter.watts] * reads)


def dropped(samples: Sequence[PowerSample]) -> None:
    """A sink for tests that look at the tape alone."""


def fails() -> list[tuple[str, float]]:
    raise MeterError("the line is cut: plug it in again", "cut")


def played(script: Sequence[Callable[[], Any]], clock: SteppedClock | None = None) -> Tape:
    meter = ScriptedMeter(script)
    with recording([meter], clock or SteppedClock(), dropped) as tape:
        assert meter.done.wait(PLENTY_S)
    return tape


def reading(value: float = 100.0) -> Callable[[], list[tuple[str, float]]]:
    return lambda: [("scripted.power", value)]


def events(tape: Tape, kind: str) -> list[dict[str, Any]]:
    return [fault for fault in tape.faults() if fault["event"] == kind]


def test_readings_stand_on_a_schedule_that_does_not_drift() -> None:
    clock = SteppedClock()

    def slow() -> list[tuple[str, float]]:
        clock.sleep(0.03)
        return [("scripted.power", 100.0)]

    tape = played([slow] * 50, clock)
    assert [sample.t_ns - sample.read_ns // 2 for sample in tape.samples()[:50]] == [k * PERIOD_NS for k in range(50)]
    assert all(sample.read_ns == 30_000_000 for sample in tape.samples()[:50])
    assert tape.faults() == ()


def test_missed_ticks_are_counted_and_not_made_up_for() -> None:
    clock = SteppedClock()

    def stalls() -> list[tuple[str, float]]:
        clock.sleep(3.5 * PERIOD_NS / 1e9)
        return [("scripted.power", 100.0)]

    tape = played([reading(), reading(), stalls, *[reading()] * 5], clock)
    (missed,) = events(tape, "missed_ticks")
    assert missed["count"] == 2
    assert missed["meter"] == "scripted"
    # ticks 3 and 4 went by during the stall; tick 5 is late but read, tick 6 is on time again
    starts = [sample.t_ns - sample.read_ns // 2 for sample in tape.samples()[:6]]
    assert starts == [0, PERIOD_NS, 2 * PERIOD_NS, round(5.5 * PERIOD_NS), 6 * PERIOD_NS, 7 * PERIOD_NS]


def test_a_failed_reading_is_a_fault_and_never_a_value() -> None:
    tape = played([reading(), fails, fails, reading(), reading()])
    errors = events(tape, "meter_error")
    assert [(fault["t"], fault["kind"]) for fault in errors] == [(PERIOD_NS, "cut"), (2 * PERIOD_NS, "cut")]
    assert "plug it in again" in str(errors[0]["why"])
    (back,) = events(tape, "meter_back")
    assert back["count"] == 2
    assert [sample.t_ns for sample in tape.samples()[:3]] == [0, 3 * PERIOD_NS, 4 * PERIOD_NS]


def test_a_meter_that_dies_is_reported_once_and_tried_again_each_second() -> None:
    tape = played([reading(), *[fails] * (DEAD_AFTER + 3), reading(), reading()])
    assert len(events(tape, "meter_error")) == DEAD_AFTER
    (dead,) = events(tape, "meter_dead")
    assert dead["t"] == DEAD_AFTER * PERIOD_NS
    (back,) = events(tape, "meter_back")
    assert back["t"] == dead["t"] + 4_000_000_000
    assert back["count"] == DEAD_AFTER + 3


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_reading_that_is_no_number_is_a_fault(value: float) -> None:
    tape = played([reading(value), reading()])
    (bad,) = events(tape, "bad_value")
    assert bad["t"] == 0
    assert tape.samples()[0].t_ns == PERIOD_NS


def test_a_reading_for_a_strange_channel_is_a_fault() -> None:
    tape = played([lambda: [("other.power", 1.0)], reading()])
    assert "other.power" in str(events(tape, "bad_value")[0]["why"])
    assert {sample.channel for sample in tape.samples()} == {"scripted.power"}


def bug() -> list[tuple[str, float]]:
    raise KeyError("oops")


def breaks_off() -> Iterator[tuple[str, float]]:
    yield "broken.power", 1.0
    raise KeyError("oops")


@pytest.mark.parametrize(
    ("bug", "told"),
    [
        (bug, "KeyError: 'oops' (test_recording.py:"),
        (breaks_off, "KeyError: 'oops' (test_recording.py:"),
        (lambda: None, "TypeError: 'NoneType' object is not iterable (reader.py:"),
    ],
)
def test_a_bug_in_a_plug_in_ends_in_the_evidence_and_spares_the_other_meters(bug: Any, told: str) -> None:
    broken, sound = ScriptedMeter([bug], "broken"), ScriptedMeter([], "sound")
    with recording([broken, sound], SystemClock(), dropped) as tape:
        assert sound.done.wait(PLENTY_S)
        while not events(tape, "meter_dead"):
            time.sleep(0.01)
    (dead,) = events(tape, "meter_dead")
    assert dead["meter"] == "broken"
    assert told in dead["why"]
    assert tape.latest("sound.power") is not None
    assert tape.latest("broken.power") is None


def test_samples_reach_the_sink_while_the_block_runs_each_of_them_once() -> None:
    got: list[PowerSample] = []
    first = threading.Event()

    def sink(samples: Sequence[PowerSample]) -> None:
        got.extend(samples)
        first.set()

    meter = ScriptedMeter([])
    with recording([meter], SystemClock(), sink) as tape:
        assert first.wait(PLENTY_S)
    assert sorted(got, key=lambda sample: sample.t_ns) == list(tape.samples())
    assert len(got) == len(set(got)) > 1


def test_the_tape_covers_the_block_to_its_end() -> None:
    """The meter is read once more when the block ends, however far off its next tick is."""
    clock = SystemClock()
    with recording([ScriptedMeter([])], clock, dropped) as tape:
        time.sleep(0.12)
        ended_ns = clock.now_ns()
    assert tape.samples()[-1].t_ns >= ended_ns


def test_a_sink_that_fails_shows_at_once_and_is_raised_at_the_end() -> None:
    def full(samples: Sequence[PowerSample]) -> None:
        raise EvidenceError("no space left on the disk", "disk-full")

    def run() -> None:
        with recording([ScriptedMeter([])], SystemClock(), full) as tape:
            tapes.append(tape)
            while tape.broken() is None:
                time.sleep(0.01)

    tapes: list[Tape] = []
    with pytest.raises(EvidenceError, match="no space left"):
        run()
    assert len(events(tapes[0], "sink_failed")) == 1
    assert tapes[0].samples()


def test_an_error_in_the_block_passes_through_and_ends_the_threads() -> None:
    before = threading.active_count()

    def run() -> None:
        with recording([ScriptedMeter([])], SystemClock(), dropped):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run()
    assert threading.active_count() == before


def test_no_meters_no_samples() -> None:
    with recording([], SystemClock(), dropped) as tape:
        pass
    assert tape.samples() == ()
    assert tape.faults() == ()


def test_the_same_channel_twice_in_one_read_needs_stamps() -> None:
    twice = [("scripted.power", 1.0), ("scripted.slow", 2.0), ("scripted.power", 3.0)]
    stamped = [Reading("scripted.power", 4.0, 10**18 + 1), Reading("scripted.power", 5.0, 10**18 + 2)]
    tape = played([lambda: twice, lambda: stamped])
    (bad,) = events(tape, "bad_value")
    assert "scripted.power came 2 times" in bad["why"]
    assert [(sample.value, sample.device_ns) for sample in tape.samples()[:3]] == [
        (2.0, None), (4.0, 10**18 + 1), (5.0, 10**18 + 2),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "one",
    [("scripted.power", None), ("scripted.power", "much"), ("scripted.power",), 7, ([], 1.0),
     ("scripted.power", 1.0, 2.5), ("scripted.power", 1.0, 2**64), ("scripted.power", 1.0, -1)],
)  # fmt: skip
def test_what_is_no_reading_is_refused_and_the_rest_of_the_read_counts(one: Any) -> None:
    tape = played([lambda: [one, ("scripted.slow", 20.0)]])
    (bad,) = events(tape, "bad_value")
    assert (bad["t"], bad["meter"]) == (0, "scripted")
    assert (tape.samples()[0].channel, tape.samples()[0].value) == ("scripted.slow", 20.0)


def test_reads_longer_than_the_period_are_told_at_most_once_a_second_and_all_counted() -> None:
    clock = SteppedClock()

    def slow() -> list[tuple[str, float]]:
        clock.sleep(0.06)
        return [("scripted.power", 100.0)]

    tape = played([slow] * 50, clock)
    late = events(tape, "late_read")
    assert sum(fault["count"] for fault in late) == 50
    assert len(late) <= 5  # in three seconds: the first, one each second, the rest
    assert "took up to 0.060 s" in late[0]["why"]
    assert sum(fault["count"] for fault in events(tape, "missed_ticks")) == 10  # 3 s have 60 ticks


def test_meters_of_this_machine_share_a_thread_and_every_other_has_its_own() -> None:
    meters = [steady(name, 3) for name in ("one", "two")]
    meters += [steady(name, 3, Instrument.METER) for name in ("rack", "plant")]
    with recording(meters, SystemClock(), dropped):
        for meter in meters:
            assert meter.done.wait(PLENTY_S)
    one, two, rack, plant = (meter.threads[0] for meter in meters)
    assert one == two
    assert len({one, rack, plant}) == 3


def test_a_meter_that_fails_leaves_the_others() -> None:
    failing, sound = ScriptedMeter([], "failing"), steady("sound", 10)
    failing.at_first([failing.watts, fails, *[failing.watts] * 5])
    with recording([failing, sound], SystemClock(), dropped):
        assert failing.done.wait(PLENTY_S)
        assert sound.done.wait(PLENTY_S)
    assert failing.threads[:2] == sound.threads[:2]
    assert sound.threads[0] not in failing.threads[2:]


def test_a_meter_that_takes_long_leaves_the_others() -> None:
    clock = SteppedClock()

    def long() -> list[tuple[str, float]]:
        clock.sleep(0.2 * PERIOD_NS / 1e9)
        return []

    slow, quick = ScriptedMeter([long] * 10, "slow"), ScriptedMeter([], "quick")
    with recording([slow, quick], clock, dropped):
        assert slow.done.wait(PLENTY_S)
    assert set(slow.threads[:3]) == {quick.threads[0]}
    assert quick.threads[0] not in slow.threads[3:]


def test_a_lane_that_is_too_full_is_shared_out() -> None:
    """Eight reads of 8 % of the period each are short, and too many for one thread."""
    clock = SteppedClock()

    def short() -> list[tuple[str, float]]:
        clock.sleep(0.08 * PERIOD_NS / 1e9)
        return []

    meters = [ScriptedMeter([short] * 40, f"m{n}") for n in range(8)]
    with recording(meters, clock, dropped):
        for meter in meters:
            assert meter.done.wait(PLENTY_S)
    assert len({meter.threads[0] for meter in meters}) == 1
    assert len({meter.threads[-1] for meter in meters}) > 1


class EachSecond(ScriptedMeter):
    """One that is read once a second."""

    def channels(self) -> tuple[Channel, ...]:
        return tuple(replace(channel, period_ns=20 * PERIOD_NS) for channel in super().channels())


def test_of_a_lane_that_is_too_full_the_slowest_leaves_first() -> None:
    """Seven reads of 9 % of the period each, and one of next to nothing before them."""
    clock = SteppedClock()

    def slow() -> list[tuple[str, float]]:
        clock.sleep(1.8 * PERIOD_NS / 1e9)
        return []

    meters = [EachSecond([list] * 12, "quick"), *(EachSecond([slow] * 12, f"m{n}") for n in range(7))]
    with recording(meters, clock, dropped):
        for meter in meters:
            assert meter.done.wait(PLENTY_S)
    stays = {meter.name: [thread == meter.threads[0] for thread in meter.threads] for meter in meters}
    left = {name: here.index(False) for name, here in stays.items() if not all(here)}
    assert left
    assert min(left.values()) < left.get("quick", 1000)


def test_a_read_that_hangs_holds_up_no_other_meter() -> None:
    release, hanging = threading.Event(), ScriptedMeter([], "hanging")

    def hangs() -> list[tuple[str, float]]:
        assert release.wait(PLENTY_S)
        return hanging.watts()

    hanging.at_first([hanging.watts, hangs])
    before, behind = steady("before", 10), steady("behind", 10)
    with recording([before, hanging, behind], SystemClock(), dropped) as tape:
        assert before.done.wait(PLENTY_S)
        assert behind.done.wait(PLENTY_S)
        assert len(hanging.threads) == 2
        release.set()
        assert hanging.done.wait(PLENTY_S)
    assert [fault["meter"] for fault in events(tape, "late_read")].count("hanging") == 1
    for meter in (before, hanging, behind):
        read = [sample for sample in tape.samples() if sample.channel == f"{meter.name}.power"]
        assert len(read) == len(meter.threads)
    (was, *_) = hanging.threads
    assert {was} == set(hanging.threads) == set(before.threads[:2])
    assert was not in before.threads[2:] + behind.threads[1:]  # who was taken over stays there


def test_a_read_that_never_comes_back_is_told_while_it_lasts() -> None:
    release, clock = threading.Event(), SteppedClock()

    def hangs() -> list[tuple[str, float]]:
        assert release.wait(PLENTY_S)
        return []

    hanging, sound = ScriptedMeter([hangs], "hanging"), ScriptedMeter([], "sound")
    try:
        with recording([hanging, sound], clock, dropped) as tape:
            while not events(tape, "meter_stuck"):
                clock.sleep(0.5)
                time.sleep(0.01)
            release.set()
    finally:
        release.set()
    (stuck,) = events(tape, "meter_stuck")
    assert stuck["meter"] == "hanging"
    assert stuck["t"] >= 5_000_000_000


class MeterWithClock(ScriptedMeter):
    """Its clock tells `times` one after the other, each read taking 10 ms; after the last it tells the last again."""

    def __init__(self, clock: SteppedClock, times: Sequence[Any], reads: int) -> None:
        super().__init__([self.watts] * reads, instrument=Instrument.METER)
        self._clock, self._times = clock, list(times)

    def device_time(self) -> ClockReading:
        self._clock.sleep(0.01)
        told = self._times.pop(0) if len(self._times) > 1 else self._times[0]
        if isinstance(told, Exception):
            raise told
        return ClockReading(told, 1_000_000)


def events_of_all_sorts(tape: Tape, kind: str) -> list[dict[str, Any]]:
    return [event for event in tape.events() if event["event"] == kind]


def test_a_meters_clock_is_read_at_the_start_every_ten_seconds_and_at_the_end() -> None:
    clock, ticks = SteppedClock(), 20 * 25  # 25 s
    meter = MeterWithClock(clock, [1_782_000_000_000_000_001, 2, 3, 4], ticks)
    seen: list[dict[str, Any]] = []
    with recording([meter], clock, dropped, seen.append) as tape:
        assert meter.done.wait(PLENTY_S)
    exchanges = [event for event in seen if event["event"] == "clock_exchange"]
    assert exchanges == events_of_all_sorts(tape, "clock_exchange")
    first, second, third, *_, last = exchanges
    assert first == {
        "t": 5_000_000, "event": "clock_exchange", "meter": "scripted", "before_ns": 0, "after_ns": 10_000_000,
        "device_ns": "1782000000000000001", "resolution_ns": 1_000_000,
    }  # fmt: skip
    assert [second["before_ns"], third["before_ns"]] == [10_000_000_000, 20_000_000_000]
    assert last["before_ns"] >= tape.samples()[-1].t_ns > third["before_ns"]
    assert tape.faults() == ()


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (MeterError("no time today", "clock"), "no time today"),
        (ValueError("bug"), "ValueError: bug"),
        (1.5, "TypeError"),
    ],
)
def test_a_clock_that_cannot_be_read_is_a_fault_and_the_readings_go_on(told: Any, words: str) -> None:
    clock = SteppedClock()
    meter = MeterWithClock(clock, [told, 1_782_000_000_000_000_000], 20)
    with recording([meter], clock, dropped) as tape:
        assert meter.done.wait(PLENTY_S)
    (error,) = events(tape, "clock_error")
    assert words in error["why"]
    assert len(events_of_all_sorts(tape, "clock_exchange")) == 1  # at the end
    assert len(tape.samples()) >= 20


def test_the_wall_clock_is_noted_again_at_the_end() -> None:
    seen: list[dict[str, Any]] = []
    with recording([], SystemClock(), dropped, seen.append) as tape:
        before_ns = time.time_ns()
    (end,) = seen
    assert end["event"] == "wall_anchor_end"
    assert before_ns <= int(end["wall_ns"]) <= time.time_ns()
    assert end["error_ns"] >= 0
    assert tape.faults() == ()
