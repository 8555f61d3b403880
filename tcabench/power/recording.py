"""A recording: samplers fill a tape while a block runs, one thread hands on what is new."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from tcabench.clock import Clock, SystemClock, wall_anchor
from tcabench.power.apart import ApartMeter, ApartSampling, together
from tcabench.power.lanes import Sampling
from tcabench.power.meter import Meter
from tcabench.power.tape import Event, Sink, Tape
from tcabench.power.wire import wait_for

HAND_ON_S = 0.25  # samples reach the sink well within 0.5 s
STILL_S = 2.0  # where all samples come from other processes: how long nothing may come before looking again


class Source(Protocol):
    """Something that fills the tape from `start` to `stop`; `watch` is called a few times a second, and when something
    comes in where it waits for it."""

    def start(self) -> None: ...

    def waits_for(self) -> Sequence[int]: ...

    def watch(self) -> None: ...

    def stop(self) -> None: ...


@contextmanager
def recording(
    meters: Sequence[Meter], clock: Clock, sink: Sink, fault_sink: Callable[[Event], None] | None = None
) -> Iterator[Tape]:
    """A `Tape` that fills while the block runs: every meter is read at once, then on its schedule, then once more
    at the end, so that the tape covers the block. `sink` gets each sample at most 0.5 s after it was taken, from a
    thread of its own, and `fault_sink` each event (`Tape.events`) in the same way. The meters stay open.

    Meters of `open_meters(..., apart=True)` are read in their own process, all others in threads of this one.

    raises: what `sink` raised, at the end of the block. Meters that fail do not end the block: see `Tape.faults`.
    """
    tape = Tape([channel.id for meter in meters for channel in meter.channels()])
    carrier = _Carrier(tape, clock, sink, fault_sink or _let_go)
    sources = _sources(meters, clock, tape, carrier)
    carrier.watched = sources
    for source in sources:
        source.start()
    carrier.start()
    try:
        yield tape
    finally:
        for source in sources:
            source.stop()
        _note_wall_clock(clock, tape)
        carrier.stop()
    if (err := tape.broken()) is not None:
        raise err


def _sources(meters: Sequence[Meter], clock: Clock, tape: Tape, carrier: "_Carrier") -> list[Source]:
    numbers = tape.numbers()
    apart = [meter for meter in meters if isinstance(meter, ApartMeter)]
    sources: list[Source] = [
        ApartSampling(sampler, group, numbers, clock, tape, carrier.cpu_ns) for sampler, group in together(apart)
    ]
    if here := [meter for meter in meters if not isinstance(meter, ApartMeter)]:
        sampling = Sampling(here, numbers, clock, tape.inbox, lambda: sampling.threads_ns() + carrier.cpu_ns())
        sources.append(sampling)
    return sources


def _note_wall_clock(clock: Clock, tape: Tape) -> None:
    """This machine's wall clock again: against the anchor of the start it tells whether the clock was set meanwhile."""
    if isinstance(clock, SystemClock):
        anchor = wall_anchor()
        tape.inbox.take_event({
            "t": anchor.mono_ns, "event": "wall_anchor_end", "meter": "", "wall_ns": str(anchor.wall_ns),
            "error_ns": anchor.error_ns,
        })  # fmt: skip


def _let_go(event: Event) -> None:
    """Nobody asked for events as they come; they are on the tape."""


class _Carrier:
    """The thread that hands on what is new: every HAND_ON_S, or when another process sends it."""

    def __init__(self, tape: Tape, clock: Clock, sink: Sink, event_sink: Callable[[Event], None]) -> None:
        self._tape, self._clock = tape, clock
        self._sink, self._event_sink = self._outside(sink), self._outside(event_sink)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="meter sink", daemon=True)
        self._thread_ns = self._outside_ns = 0
        self.watched: Sequence[Source] = ()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Hand on what is left, and end."""
        self._over.set()
        self._thread.join()

    def cpu_ns(self) -> int:
        """Processor time of this thread in ns, without the sinks: what they do with the samples is not sampling."""
        return self._thread_ns - self._outside_ns

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                self._wait()
                for source in self.watched:
                    source.watch()
            except Exception as err:  # noqa: BLE001 - a bug of ours: it must end the run, not this thread alone
                self._tape.break_off(err, self._clock.now_ns())
                self._over.wait(HAND_ON_S)
            self._tape.hand_on(self._sink, self._event_sink, self._clock.now_ns())
            self._thread_ns = time.thread_time_ns()
        self._tape.hand_on(self._sink, self._event_sink, self._clock.now_ns())

    def _wait(self) -> None:
        fds = [source.waits_for() for source in self.watched]
        if any(fds):
            wait_for([fd for of_one in fds for fd in of_one], STILL_S if all(fds) else HAND_ON_S)
        else:
            self._over.wait(HAND_ON_S)

    def _outside(self, sink: Callable[[Any], None]) -> Callable[[Any], None]:
        """The sink, its processor time counted."""

        def timed(what: Any) -> None:
            before_ns = time.thread_time_ns()
            try:
                sink(what)
            finally:
                self._outside_ns += time.thread_time_ns() - before_ns

        return timed
