"""The sampler: its schedule, what it does when meters fail, and that every sample is handed on once."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from tcabench.clock import SystemClock
from tcabench.errors import EvidenceError, MeterError
from tcabench.power import Tape, recording
from tcabench.power.meter import Fact
from tcabench.power.recording import DEAD_AFTER
from tcabench.records import Channel, Kind, PowerSample

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

    def __init__(self, script: Sequence[Callable[[], list[tuple[str, float]]]], name: str = "scripted") -> None:
        self.name, self._script, self._at = name, script, 0
        self.done = threading.Event()

    def channels(self) -> tuple[Channel, ...]:
        id_ = f"{self.name}.power"
        plain = Channel(
            id_, self.name, self.name, Kind.POWER, "W", "chip", 0.9, 1.1, 1.0, 0, PERIOD_NS, False, "the test"
        )
        return (plain, replace(plain, id=f"{self.name}.slow", kind=Kind.TEMPERATURE, period_ns=20 * PERIOD_NS))

    def read(self) -> list[tuple[str, float]]:
        at, self._at = self._at, self._at + 1
        if at < len(self._script):
            return self._script[at]()
        self.done.set()
        return self.watts()

    def watts(self, value: float = 100.0) -> list[tuple[str, float]]:
        return [(f"{self.name}.power", value)]

    def facts(self) -> dict[str, Fact]:
        return {}

    def close(self) -> None:
        """Nothing is held open."""


def dropped(samples: Sequence[PowerSample]) -> None:
    """A sink for tests that look at the tape alone."""


def fails() -> list[tuple[str, float]]:
    raise MeterError("the line is cut: plug it in again", "cut")


def played(script: Sequence[Callable[[], list[tuple[str, float]]]], clock: SteppedClock | None = None) -> Tape:
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


def test_a_bug_in_a_plug_in_ends_in_the_evidence_and_spares_the_other_meters() -> None:
    def bug() -> list[tuple[str, float]]:
        raise KeyError("oops")

    broken, sound = ScriptedMeter([bug], "broken"), ScriptedMeter([], "sound")
    with recording([broken, sound], SystemClock(), dropped) as tape:
        assert sound.done.wait(PLENTY_S)
        while not tape.faults():
            time.sleep(0.01)
    assert [(fault["event"], fault["meter"]) for fault in tape.faults()] == [("meter_dead", "broken")]
    assert "KeyError" in str(tape.faults()[0]["why"])
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
