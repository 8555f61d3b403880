"""Reads one meter and judges what it says: only sound readings pass, everything else is a fault."""

import reprlib
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import inf, isfinite
from operator import index
from pathlib import PurePath
from typing import Any

from tcabench.clock import Clock, SystemClock
from tcabench.errors import MeterError
from tcabench.power.columns import Row
from tcabench.power.meter import ClockedMeter, Meter
from tcabench.power.tape import Inbox
from tcabench.records import Instrument
from tcabench.units import NS_PER_S, seconds

EARLIEST_NS, LATEST_NS = 100_000_000 * NS_PER_S, 4_102_444_800 * NS_PER_S  # 1973 to 2100: what a stamp may be
DEAD_AFTER = 10  # readings failed in a row
EXCHANGE_NS = 10 * NS_PER_S  # how often a meter's clock is read
TELL_NS = NS_PER_S  # what happens at every tick is told this often
LONG_SHARE, LONG_READS = 0.1, 3  # so many reads in a row that take more than this share of the period are long
ON_THIS_MACHINE = frozenset({Instrument.DEVICE, Instrument.CPU, Instrument.MODEL})


class Reader:
    """One meter. Its methods are called by one thread at a time, except `tell_stuck` and `judged`."""

    def __init__(self, meter: Meter, numbers: Mapping[str, int], clock: Clock, inbox: Inbox) -> None:
        channels = meter.channels()
        self.name = meter.name
        self.period_ns = min((channel.period_ns for channel in channels), default=NS_PER_S)
        self.is_local = all(one.instrument in ON_THIS_MACHINE and not one.has_own_clock for one in channels)
        self.failed = self.reads = self.cpu_ns = self.took_ns = self.last_ns = 0
        self.is_gone, self.is_well = False, True
        self._meter, self._inbox, self._now_ns = meter, inbox, now_of(clock)
        self._ask, self._take = meter.read, inbox.take_reading
        self._numbers = {channel.id: numbers[channel.id] for channel in channels}
        self._long, self._long_ns = 0, LONG_SHARE * self.period_ns
        self._exchange_due_ns = self._look_ns = 0.0 if isinstance(meter, ClockedMeter) else inf
        self._stuck_since: int | None = None
        self._repeated = {event: _Repeated() for event in ("missed_ticks", "late_read")}

    @property
    def is_dead(self) -> bool:
        """Whether so many readings failed in a row that it is tried only now and then."""
        return self.failed >= DEAD_AFTER

    @property
    def fits_company(self) -> bool:
        """Whether other meters can be read by the same thread without waiting for this one."""
        return not self.failed and self._long < LONG_READS

    def read(self, before_ns: int) -> int:
        """Read the meter, now that it is `before_ns`, and its clock where that is due; the time after it. `is_well`
        tells whether all went as it should. A bug in the meter's code ends its readings."""
        values = None
        try:
            values = tuple(self._ask())
        except Exception as err:  # noqa: BLE001 - a plug-in's own bug ends in the evidence, not in a lost thread
            self._could_not(err)
        self.reads += 1
        after_ns = self._now_ns()
        self.last_ns = read_ns = after_ns - before_ns
        self.took_ns += read_ns
        if values is not None:
            self._take((self, before_ns + read_ns // 2, read_ns, values))
            if read_ns > self._long_ns or before_ns >= self._look_ns:
                self._look_into(before_ns, read_ns)
        return after_ns

    def _could_not(self, err: Exception) -> None:
        self.is_well, self._look_ns = False, 0
        if isinstance(err, MeterError):
            self._count_failure(err)
        else:
            self.is_gone = True
            self._fault("meter_dead", f"{in_words(err)}. It is not read again")

    def _look_into(self, before_ns: int, read_ns: int) -> None:
        """What seldom happens beside a reading: the end of a failure, a read that took long, the clock's turn."""
        if self.failed:
            self._fault("meter_back", f"read again after {self.failed} failed readings", count=self.failed)
            self.failed = 0
        if read_ns > self._long_ns:
            self._was_long(read_ns)
        else:
            self._long = 0
        if before_ns >= self._exchange_due_ns and isinstance(self._meter, ClockedMeter):
            self._exchange(self._meter)
        self.is_well = not self._long
        self._look_ns = self._exchange_due_ns if self.is_well else 0

    def finish(self, before_ns: int) -> None:
        """Read once more, so that the tape covers the block; a meter that fails is not waited for again."""
        if self._exchange_due_ns < inf:
            self._exchange_due_ns = self._look_ns = 0
        if not self.failed:
            self.read(before_ns)
        for event in self._repeated:
            self._tell(event)

    def missed(self, count: int, late_ns: int) -> None:
        """So many readings were left out, because the one before ended so late."""
        self._count("missed_ticks", count, late_ns)

    def tell_stuck(self, since_ns: int) -> None:
        """The read that began at `since_ns` has not come back; told once of each."""
        if self._stuck_since != since_ns:
            self._stuck_since = since_ns
            self._fault("meter_stuck", f"a read has not come back for {seconds(self._now_ns() - since_ns):.1f} s")

    def judged(self, t_ns: int, read_ns: int, values: Sequence[Any]) -> list[Row]:
        """The sound ones of `values`, which a read gave; each of the others is the fault "bad_value"."""
        numbers = self._numbers
        try:  # nearly always there are but plain ones, which cost half as much in one go
            rows: list[Row] = [
                (t_ns, read_ns, numbers[id_], value, None) for id_, value in values if type(value) is float
            ]
            if len(rows) == len(values) == len({row[2] for row in rows}) and isfinite(sum(row[3] for row in rows)):
                return rows
        except Exception:  # noqa: BLE001 - whatever a plug-in made up: one by one it will be told
            pass
        return self._judged_apart(t_ns, read_ns, values)

    def _judged_apart(self, t_ns: int, read_ns: int, values: Sequence[Any]) -> list[Row]:
        """As `judged`, one by one."""
        rows: list[Row] = []
        for one in values:
            try:
                rows.append(self._row(t_ns, read_ns, *one))
            except MeterError as err:
                self._bad(t_ns, str(err))
            except Exception as err:  # noqa: BLE001 - whatever a plug-in made up must not end the recording
                self._bad(t_ns, f"{reprlib.repr(one)} is no reading: {err}")
        return rows if len({row[2] for row in rows}) == len(rows) else self._without_doubles(rows)

    def _row(self, t_ns: int, read_ns: int, channel: str, value: float, device_ns: int | None = None) -> Row:
        """raises: MeterError for a reading that is refused; anything for what is none."""
        if channel not in self._numbers:
            raise MeterError(f"reading for {channel!r}, a channel this meter does not have")
        if device_ns is not None and type(device_ns) is not int:
            raise MeterError(f"{channel} came with the time-stamp {device_ns!r}, which is no integer (ns)")
        if device_ns is not None and not EARLIEST_NS <= device_ns < LATEST_NS:
            raise MeterError(f"{channel} came with a time-stamp that is no time of our day: {device_ns} ns since 1970")
        if not isfinite(number := float(value)):
            raise MeterError(f"{channel} read {value}, which is no number")
        return t_ns, read_ns, self._numbers[channel], number, device_ns

    def _without_doubles(self, rows: Sequence[Row]) -> list[Row]:
        """Several readings of a channel in one read need stamps that tell them apart: those without are refused, all
        of them, because nothing says which is right."""
        times = Counter(row[2] for row in rows)
        names = {number: channel for channel, number in self._numbers.items()}
        for number in {row[2] for row in rows if row[4] is None and times[row[2]] > 1}:
            self._bad(rows[0][0], f"{names[number]} came {times[number]} times in one read, without time-stamps")
        return [row for row in rows if row[4] is not None or times[row[2]] == 1]

    def _exchange(self, meter: ClockedMeter) -> None:
        """Ask the meter's clock. Both ends of the call stand in the event: the true instant lies between them."""
        before_ns = self._now_ns()
        self._exchange_due_ns = before_ns + EXCHANGE_NS
        try:
            device_ns, resolution_ns = map(index, meter.device_time())
        except Exception as err:  # noqa: BLE001 - a clock that cannot be read costs the alignment, not the readings
            kind = {"kind": err.kind} if isinstance(err, MeterError) else {}
            self._fault("clock_error", str(err) if kind else in_words(err), **kind)
            return
        after_ns = self._now_ns()
        self._inbox.take_event({
            "t": before_ns + (after_ns - before_ns) // 2, "event": "clock_exchange", "meter": self.name,
            "before_ns": before_ns, "after_ns": after_ns, "device_ns": str(device_ns), "resolution_ns": resolution_ns,
        })  # fmt: skip

    def _count_failure(self, err: MeterError) -> None:
        self.failed += 1
        if self.failed <= DEAD_AFTER:
            self._fault("meter_error", str(err), kind=err.kind)
        if self.failed == DEAD_AFTER:
            self._fault("meter_dead", f"{DEAD_AFTER} readings in a row failed, the last with: {err}", kind=err.kind)

    def _count(self, event: str, count: int, ns: int) -> None:
        if self._repeated[event].add(self._now_ns(), count, ns):
            self._tell(event)

    def _tell(self, event: str) -> None:
        count, worst_ns = self._repeated[event].take(self._now_ns())
        if count and event == "late_read":
            why = f"took up to {seconds(worst_ns):.3f} s, longer than the period of {seconds(self.period_ns):g} s"
            self._fault(event, f"{count} read(s) {why}", count=count)
        elif count:
            self._fault(event, f"{count} reading(s) left out: one ended {seconds(worst_ns):.3f} s late", count=count)

    def _was_long(self, read_ns: int) -> None:
        self._long += 1
        if read_ns > self.period_ns:
            self._count("late_read", 1, read_ns)

    def _bad(self, t_ns: int, why: str) -> None:
        self._inbox.take_event({"t": t_ns, "event": "bad_value", "meter": self.name, "why": why})

    def _fault(self, event: str, why: str, **more: Any) -> None:
        self._inbox.take_event({"t": self._now_ns(), "event": event, "meter": self.name, "why": why, **more})


class _Repeated:
    """What may happen at every tick: counted, and told at most once a second."""

    def __init__(self) -> None:
        self._count = self._worst_ns = 0
        self._told_ns: int | None = None

    def add(self, now_ns: int, count: int, ns: int) -> bool:
        """Whether it is time to tell."""
        self._count += count
        self._worst_ns = max(self._worst_ns, ns)
        return self._told_ns is None or now_ns - self._told_ns >= TELL_NS

    def take(self, now_ns: int) -> tuple[int, int]:
        """(how often, ns of the worst) since it was last told."""
        told = self._count, self._worst_ns
        self._count, self._worst_ns, self._told_ns = 0, 0, now_ns
        return told


def now_of(clock: Clock) -> Callable[[], int]:
    """What tells the time (ns) by `clock`, in the fewest steps."""
    return time.monotonic_ns if isinstance(clock, SystemClock) else clock.now_ns


def in_words(err: BaseException) -> str:
    """An exception that nobody expected: what it says, and the line that raised it."""
    frames = traceback.extract_tb(err.__traceback__)
    where = [f" ({PurePath(frame.filename).name}:{frame.lineno}, in {frame.name})" for frame in frames[-1:]]
    return f"{type(err).__name__}: {err}{''.join(where)}"
