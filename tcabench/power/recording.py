"""The sampler: one thread per meter reads it on its schedule, one thread hands the samples on as they come."""

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tcabench.clock import Clock
from tcabench.errors import MeterError
from tcabench.power.meter import Meter
from tcabench.records import PowerSample, Reading
from tcabench.units import NS_PER_S, seconds

Sink = Callable[[Sequence[PowerSample]], None]
Fault = dict[str, Any]

HAND_ON_S = 0.25  # samples reach the sink well within 0.5 s
NAP_S = 0.05  # the longest sleep before looking whether the run is over
DEAD_AFTER = 10  # readings failed in a row
RETRY_NS = NS_PER_S  # how often a dead meter is tried again
JOIN_S = 5.0  # how long a read that hangs is waited for at the end


class Tape:
    """What the meters said. Safe to ask from any thread while the recording runs and after it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._samples: list[PowerSample] = []
        self._handed_on = 0
        self._faults_handed_on = 0
        self._latest: dict[str, PowerSample] = {}
        self._faults: list[Fault] = []
        self._broken: Exception | None = None

    def samples(self) -> tuple[PowerSample, ...]:
        """All samples so far, in order of time, then channel."""
        with self._lock:
            taken = tuple(self._samples)
        return tuple(sorted(taken, key=lambda sample: (sample.t_ns, sample.channel)))

    def latest(self, channel_id: str) -> PowerSample | None:
        """The newest sample of a channel, None before its first."""
        with self._lock:
            return self._latest.get(channel_id)

    def faults(self) -> tuple[Fault, ...]:
        """What went wrong, as event lines {"t": ns, "event", "meter", "why", ...}: "meter_error" (a reading failed),
        "meter_dead" (10 in a row; it is tried again each second), "meter_back", "missed_ticks" (with "count"),
        "bad_value", "meter_stuck" (a read never came back), "sink_failed"."""
        with self._lock:
            return tuple(dict(fault) for fault in self._faults)

    def broken(self) -> Exception | None:
        """Why samples can no longer be handed on (the sink failed, e.g. disk full); None as long as they can.

        The recording raises it when it ends; a run that looks here can stop sooner.
        """
        with self._lock:
            return self._broken

    def _add(self, samples: Sequence[PowerSample]) -> None:
        with self._lock:
            self._samples.extend(samples)
            self._latest.update((sample.channel, sample) for sample in samples)

    def _fault(self, t_ns: int, event: str, meter: str, why: str, **more: Any) -> None:
        with self._lock:
            self._faults.append({"t": t_ns, "event": event, "meter": meter, "why": why, **more})

    def _hand_on(self, sink: Sink, fault_sink: Callable[[Fault], None], clock: Clock) -> None:
        with self._lock:
            fresh, faults = self._samples[self._handed_on :], self._faults[self._faults_handed_on :]
            if self._broken is not None or not (fresh or faults):
                return
            self._handed_on += len(fresh)
            self._faults_handed_on += len(faults)
        try:
            if fresh:
                sink(fresh)
            for fault in faults:
                fault_sink(dict(fault))
        except Exception as err:  # noqa: BLE001 - whatever the sink met is kept, shown by broken() and raised at the end
            self._fault(clock.now_ns(), "sink_failed", "", f"{type(err).__name__}: {err}")
            with self._lock:
                self._broken = err


@contextmanager
def recording(
    meters: Sequence[Meter], clock: Clock, sink: Sink, fault_sink: Callable[[Fault], None] | None = None
) -> Iterator[Tape]:
    """A `Tape` that fills while the block runs: every meter is read at once, then on its schedule, then once more
    at the end, so that the tape covers the block. `sink` gets each sample at most 0.5 s after it was taken, from a
    thread of its own, and `fault_sink` each fault in the same way. The meters stay open.

    raises: what `sink` raised, at the end of the block. Meters that fail do not end the block: see `Tape.faults`.
    """
    tape, over, drained = Tape(), threading.Event(), threading.Event()
    readers = [
        threading.Thread(target=_Reader(meter, clock, tape, over).run, name=f"meter {meter.name}", daemon=True)
        for meter in meters
    ]
    carrier = threading.Thread(
        target=_carry, args=(tape, sink, fault_sink or _let_go, clock, drained), name="meter sink", daemon=True
    )
    for thread in [*readers, carrier]:
        thread.start()
    try:
        yield tape
    finally:
        over.set()
        for thread, meter in zip(readers, meters, strict=True):
            thread.join(JOIN_S)
            if thread.is_alive():
                tape._fault(clock.now_ns(), "meter_stuck", meter.name, f"a read has not come back for {JOIN_S:g} s")
        drained.set()
        carrier.join()
    if (err := tape.broken()) is not None:
        raise err


def _let_go(fault: Fault) -> None:
    """Nobody asked for faults as they come; they are on the tape."""


def _carry(tape: Tape, sink: Sink, fault_sink: Callable[[Fault], None], clock: Clock, drained: threading.Event) -> None:
    while not drained.wait(HAND_ON_S):
        tape._hand_on(sink, fault_sink, clock)
    tape._hand_on(sink, fault_sink, clock)


class _Reader:
    """Reads one meter until the run is over."""

    def __init__(self, meter: Meter, clock: Clock, tape: Tape, over: threading.Event) -> None:
        self._meter, self._clock, self._tape, self._over = meter, clock, tape, over
        self._ids = frozenset(channel.id for channel in meter.channels())
        self._period_ns = min((channel.period_ns for channel in meter.channels()), default=NS_PER_S)
        self._failed = 0

    def run(self) -> None:
        try:
            self._keep_schedule()
            if not self._failed:
                self._read()
        except Exception as err:  # noqa: BLE001 - a plug-in's own bug ends in the evidence, not in a lost thread
            self._fault("meter_dead", f"{type(err).__name__}: {err}")

    def _keep_schedule(self) -> None:
        """Ticks stand at start + k * period whatever each read takes, so the schedule does not drift."""
        due_ns = self._clock.now_ns()
        while self._wait_until(due_ns):
            self._read()
            due_ns += self._period_ns if self._failed < DEAD_AFTER else RETRY_NS
            if (late_ns := self._clock.now_ns() - due_ns) >= self._period_ns:
                missed = late_ns // self._period_ns
                due_ns += missed * self._period_ns
                self._fault("missed_ticks", f"a reading ended {seconds(late_ns):.3f} s late", count=missed)

    def _wait_until(self, due_ns: int) -> bool:
        """True when it is time, False when the run is over first."""
        while not self._over.is_set() and (left_ns := due_ns - self._clock.now_ns()) > 0:
            self._clock.sleep(min(seconds(left_ns), NAP_S))
        return not self._over.is_set()

    def _read(self) -> None:
        before_ns = self._clock.now_ns()
        try:
            values = self._meter.read()
        except MeterError as err:
            self._count_failure(err)
            return
        after_ns = self._clock.now_ns()
        if self._failed:
            self._fault("meter_back", f"read again after {self._failed} failed readings", count=self._failed)
            self._failed = 0
        read_ns = after_ns - before_ns
        taken = [PowerSample(before_ns + read_ns // 2, read_ns, *Reading(*one)) for one in values]
        self._tape._add([sample for sample in taken if self._is_sound(sample)])

    def _count_failure(self, err: MeterError) -> None:
        self._failed += 1
        if self._failed <= DEAD_AFTER:
            self._fault("meter_error", str(err), kind=err.kind)
        if self._failed == DEAD_AFTER:
            self._fault("meter_dead", f"{DEAD_AFTER} readings in a row failed, the last with: {err}", kind=err.kind)

    def _is_sound(self, sample: PowerSample) -> bool:
        if sample.channel not in self._ids:
            self._fault("bad_value", f"reading for {sample.channel!r}, a channel this meter does not have")
        elif not math.isfinite(sample.value):
            self._fault("bad_value", f"{sample.channel} read {sample.value}, which is no number")
        else:
            return True
        return False

    def _fault(self, event: str, why: str, **more: Any) -> None:
        self._tape._fault(self._clock.now_ns(), event, self._meter.name, why, **more)
