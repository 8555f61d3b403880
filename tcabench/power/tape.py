"""The tape: what the meters said and what happened beside it, for as long as the recording runs and after it."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from tcabench.power.columns import Columns, Row
from tcabench.records import PowerSample

Sink = Callable[[Sequence[PowerSample]], None]
Event = dict[str, Any]
Fault = Event

NO_FAULT = frozenset({"sampler_cost", "clock_exchange", "wall_anchor_end"})


class Judge(Protocol):
    """Who made a reading, and can judge it."""

    def judged(self, t_ns: int, read_ns: int, values: Sequence[Any]) -> Sequence[Row]:
        """Those of `values` that are sound; the others become events."""
        ...


class Inbox:
    """Where samplers put what they have, from any thread and without waiting: a deque needs no lock.

    What a meter said is judged only when the inbox is emptied, many readings in one go. Right after a nap the
    processor's caches are cold, and every line of code that runs before the next read costs five times as much.
    """

    def __init__(self) -> None:
        self._readings: deque[tuple[Judge, int, int, Sequence[Any]]] = deque()
        self._events: deque[Event] = deque()
        self.take_reading = self._readings.append  # (who read, middle of the read, how long it took, what it gave)
        self.take_event = self._events.append

    def drain(self) -> tuple[list[Row], list[Event]]:
        """All that has come since the last call, each channel's in the order in which it was read. To be called by
        one thread at a time."""
        rows: list[Row] = []
        for _ in range(len(self._readings)):
            judge, t_ns, read_ns, values = self._readings.popleft()
            rows += judge.judged(t_ns, read_ns, values)
        return rows, [self._events.popleft() for _ in range(len(self._events))]


class Tape:
    """What the meters said. Safe to ask from any thread while the recording runs and after it."""

    def __init__(self, channels: Sequence[str]) -> None:
        self.inbox = Inbox()
        self._lock = threading.Lock()
        self._channels = tuple(channels)
        self._columns = Columns()
        self._newest: dict[int, int] = {}  # number of a channel -> place of its newest reading
        self._events: list[Event] = []
        self._handed_on = self._events_handed_on = 0
        self._broken: Exception | None = None

    def numbers(self) -> dict[str, int]:
        """Channel id -> its number in a `Row`."""
        return {id_: number for number, id_ in enumerate(self._channels)}

    def samples(self) -> tuple[PowerSample, ...]:
        """All samples so far, in order of time, then channel."""
        with self._lock:
            self._empty_inbox()
            taken = self._columns.samples(self._channels, 0, len(self._columns))
        return tuple(sorted(taken, key=lambda sample: (sample.t_ns, sample.channel)))

    def latest(self, channel_id: str) -> PowerSample | None:
        """The newest sample of a channel, None before its first."""
        with self._lock:
            self._empty_inbox()
            for number, at in self._newest.items():
                if self._channels[number] == channel_id:
                    return self._columns.samples(self._channels, at, at + 1)[0]
        return None

    def events(self) -> tuple[Event, ...]:
        """Everything that happened, as event lines {"t": ns, "event": name, "meter": name, ...}: the faults, the costs,
        "clock_exchange" and "wall_anchor_end".

        "clock_exchange": a meter with a clock of its own was asked the time, `device_ns` (Unix ns as a decimal string,
        in steps of `resolution_ns`), between `before_ns` and `after_ns` of our clock. "wall_anchor_end": this
        machine's wall clock once more (`wall_ns`, a decimal string, known to +-`error_ns`), so that a step shows.
        """
        with self._lock:
            self._empty_inbox()
            return tuple(dict(event) for event in self._events)

    def faults(self) -> tuple[Fault, ...]:
        """What went wrong, as events with a "why". For one meter: "meter_error" (a reading failed, with "kind"),
        "meter_dead" (10 in a row; it is tried again each second; or a bug in its code, then it is not),
        "meter_back", "missed_ticks" (readings left out, with "count"), "late_read" (reads that took longer than the
        period, with "count"; both at most once a second), "bad_value" (a value that was refused), "clock_error" (its
        clock could not be read), "meter_stuck" (a read has not come back). For all: "sampler_lost" (the sampler's
        process died: nothing was recorded from then on), "sampler_said" (what it wrote to stderr), "sink_failed"."""
        return tuple(event for event in self.events() if event["event"] not in NO_FAULT)

    def costs(self) -> tuple[Event, ...]:
        """The "sampler_cost" events: processor time `cpu_s` since the start of the recording, which is `wall_s` ago,
        their quotient `share` (of one core), and how many `reads` were made. `meter` is "" for the sampler as a whole,
        every 10 s and at the end; a meter's own reads follow every minute and at the end. The last of each meter holds
        the total."""
        return tuple(event for event in self.events() if event["event"] == "sampler_cost")

    def broken(self) -> Exception | None:
        """Why samples can no longer be handed on (the sink failed, e.g. disk full); None as long as they can.

        The recording raises it when it ends; a run that looks here can stop sooner.
        """
        with self._lock:
            return self._broken

    def take_columns(self, columns: Columns) -> None:
        """Readings that another process made and judged."""
        with self._lock:
            self._append(columns)

    def hand_on(self, sink: Sink, event_sink: Callable[[Event], None], now_ns: int) -> None:
        """Give what is new to the sinks. What they raise is kept: see `broken`. For the recording's own thread."""
        with self._lock:
            self._empty_inbox()
            samples = self._columns.samples(self._channels, self._handed_on, len(self._columns))
            events = self._events[self._events_handed_on :]
            if self._broken is not None or not (samples or events):
                return
            self._handed_on += len(samples)
            self._events_handed_on += len(events)
        try:
            if samples:
                sink(samples)
            for event in events:
                event_sink(dict(event))
        except Exception as err:  # noqa: BLE001 - whatever the sink met is kept, shown by broken() and raised at the end
            self.break_off(err, now_ns)

    def break_off(self, err: Exception, now_ns: int) -> None:
        """Samples can no longer be handed on."""
        why = f"{type(err).__name__}: {err}"
        self.inbox.take_event({"t": now_ns, "event": "sink_failed", "meter": "", "why": why})
        with self._lock:
            self._broken = err

    def _empty_inbox(self) -> None:
        rows, events = self.inbox.drain()
        self._events += events
        if rows:
            self._append(Columns(rows))

    def _append(self, columns: Columns) -> None:
        at = len(self._columns)
        self._columns.extend(columns)
        self._newest.update(zip(columns.columns["number"], range(at, len(self._columns)), strict=True))
