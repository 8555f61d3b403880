"""When which meter is read: meters of this machine share a thread, every meter that keeps others waiting gets its own.

A thread that wakes up costs more than a short read: eight GPUs in one lane wake the processor 20 times a second, in
eight lanes 160 times.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence

from tcabench.clock import Clock, SystemClock
from tcabench.power.meter import Meter
from tcabench.power.reader import Reader, now_of
from tcabench.power.tape import Event, Inbox
from tcabench.units import NS_PER_S, seconds

NAP_NS = NS_PER_S // 20  # the longest sleep that the end of the run does not interrupt
RETRY_NS = NS_PER_S  # how often a dead meter is tried again
JOIN_S = 5.0  # how long a read that hangs is waited for at the end
STUCK_NS = 5 * NS_PER_S  # a read that takes longer is told while it lasts
STALL_NS = NS_PER_S // 5  # a read that takes longer is left alone with its thread
FULL_SHARE, FULL_ROUNDS = 0.5, 3  # so many rounds in a row that take more of the period: the lane is too full
ACCOUNT_NS = NS_PER_S  # how often a lane's processor time is divided among its meters
AFTER_NS, APART_NS = 5_000_000, 50_000_000  # how long after the fastest lane, and after each other, others wake
COST_NS, EACH_COST_NS = 10 * NS_PER_S, 60 * NS_PER_S  # how often the cost is told: of all, and of each meter


class Sampling:
    """Reads every meter at once, then on its schedule, then once more at the end. `cpu_ns` tells the processor time
    of the whole sampler so far; without it the reading threads alone are counted."""

    def __init__(
        self, meters: Sequence[Meter], numbers: Mapping[str, int], clock: Clock, inbox: Inbox,
        cpu_ns: Callable[[], int] | None = None,
    ) -> None:  # fmt: skip
        self.clock, self._inbox, self._cpu_ns = clock, inbox, cpu_ns or self.threads_ns
        self._readers = [Reader(meter, numbers, clock, inbox) for meter in meters]
        self._over, self._lock = threading.Event(), threading.Lock()
        self._lanes: list[Lane] = []
        self._is_real, self._now_ns, self._is_over = isinstance(clock, SystemClock), now_of(clock), False
        self._sleep = time.sleep if self._is_real else clock.sleep

    def start(self) -> None:
        """Begin to read, in threads."""
        self._began_ns = self._told_ns = self._told_each_ns = self._now_ns()
        self._cpu_before_ns = self._cpu_ns()
        together: dict[int, list[Reader]] = {}
        for reader in self._readers:
            if reader.is_local:
                together.setdefault(reader.period_ns, []).append(reader)
        lanes = sorted([*together.values(), *([one] for one in self._readers if not one.is_local)], key=_period_ns)
        for number, readers in enumerate(lanes):
            self.open_lane(readers, self._began_ns, shift_ns(number, _period_ns(readers), _period_ns(lanes[0])))

    def open_lane(self, readers: Sequence[Reader], due_ns: int, shift: int = 0) -> None:
        """Read these meters, all of one period, in a thread of their own from `due_ns` on; after the first read the
        schedule stands `shift` ns later, so that no two reads are nearer than a period."""
        lane = Lane(readers, due_ns, self, shift)
        with self._lock:
            self._lanes.append(lane)
        lane.thread.start()

    def waits_for(self) -> tuple[int, ...]:
        """Nothing comes in from elsewhere."""
        return ()

    def watch(self) -> None:
        """To be called a few times a second: looks after lanes that hang and tells the cost now and then."""
        now_ns = self._now_ns()
        for lane in self._all_lanes():
            lane.look_after(now_ns)
        if now_ns - self._told_ns >= COST_NS:
            self._told_ns = now_ns
            each = now_ns - self._told_each_ns >= EACH_COST_NS
            self._told_each_ns = now_ns if each else self._told_each_ns
            self._tell_costs(now_ns, each)

    def stop(self) -> None:
        """Read once more and end. A read that hangs is waited for JOIN_S and then left behind, which is a fault."""
        self._is_over = True
        self._over.set()
        until_s = time.monotonic() + JOIN_S
        while (running := [lane for lane in self._all_lanes() if lane.thread.is_alive()]) and (
            time.monotonic() < until_s
        ):
            running[0].thread.join(seconds(NAP_NS))
            self.watch()
        for lane in running:
            lane.tell_stuck()
        self._tell_costs(self._now_ns(), each=True)

    def wait_until(self, due_ns: int) -> bool:
        """True when it is time, False when the run is over first."""
        while not self._is_over and (left_ns := due_ns - self._now_ns()) > 0:
            if left_ns <= NAP_NS:  # twice as cheap, and short enough to end with the run
                self._sleep(left_ns / NS_PER_S)
            elif self._is_real:
                self._over.wait(seconds(left_ns))
            else:
                self._sleep(seconds(NAP_NS))
        return not self._is_over

    def threads_ns(self) -> int:
        """Processor time of the reading threads in ns, up to the last account of each, a second or a period ago."""
        return sum(lane.cpu_ns for lane in self._all_lanes())

    def _all_lanes(self) -> tuple["Lane", ...]:
        with self._lock:
            return tuple(self._lanes)

    def _tell_costs(self, now_ns: int, each: bool) -> None:
        if (wall_ns := now_ns - self._began_ns) <= 0:
            return
        rows = [("", self._cpu_ns() - self._cpu_before_ns, sum(reader.reads for reader in self._readers))]
        rows += [(reader.name, reader.cpu_ns, reader.reads) for reader in self._readers if each]
        for name, cpu_ns, reads in rows:
            self._inbox.take_event(cost(now_ns, name, cpu_ns, wall_ns, reads))


class Lane:
    """Meters of one period, read one after the other by one thread."""

    def __init__(self, readers: Sequence[Reader], due_ns: int, sampling: Sampling, shift: int = 0) -> None:
        self._readers, self._due_ns, self._sampling, self._shift_ns = tuple(readers), due_ns, sampling, shift
        self._now_ns, self._period_ns = now_of(sampling.clock), readers[0].period_ns
        self._full_ns, self._lock = FULL_SHARE * self._period_ns, threading.Lock()
        self._reading: tuple[Reader, int] | None = None
        self._full_rounds = self._account_due_ns = self.cpu_ns = 0
        name = f"meter {readers[0].name}" + (f" and {len(readers) - 1} more" if len(readers) > 1 else "")
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    def look_after(self, now_ns: int) -> None:
        """Where a read hangs, another thread takes over the lane's other meters."""
        with self._lock:
            if (reading := self._reading) is None or now_ns - reading[1] < STALL_NS:
                return
            stuck, since_ns = reading
            readers, self._readers = self._readers, (stuck,)
            if self._reading is not reading:  # it came back this very moment
                self._readers = readers
                return
        others = [reader for reader in readers if reader is not stuck]
        if now_ns - since_ns >= STUCK_NS:
            stuck.tell_stuck(since_ns)
        if others:
            self._sampling.open_lane(others, self._due_ns + self._period_ns)

    def tell_stuck(self) -> None:
        """The run is over and the read is not."""
        if (reading := self._reading) is not None:
            reading[0].tell_stuck(reading[1])

    def _run(self) -> None:
        while self._readers and self._sampling.wait_until(self._due_ns):
            is_well = self._round()
            self._step()
            if not is_well:
                self._part()
        self._finish()
        self._account()

    def _round(self) -> bool:
        """Each meter in turn, unless another thread took it over while one before it hung; whether all went well.

        No lock: `_reading` is written before `_readers` is looked at, and `look_after` does the reverse, so that one of
        the two sees the other."""
        readers, now_ns, is_well = self._readers, self._now_ns, True
        began_ns = before_ns = now_ns()
        for reader in readers:
            self._reading = reader, before_ns
            if self._readers is readers or reader in self._readers:
                before_ns = reader.read(before_ns)
                is_well &= reader.is_well
        self._reading = None
        if began_ns >= self._account_due_ns:
            self._account_due_ns = began_ns + ACCOUNT_NS
            self._account()
        is_full = before_ns - began_ns > self._full_ns
        self._full_rounds = self._full_rounds + 1 if is_full else 0
        return is_well and not is_full

    def _finish(self) -> None:
        """The last reading of each meter that is still read here."""
        for reader in self._readers:
            self._reading = reader, self._now_ns()
            if reader in self._readers:
                reader.finish(self._reading[1])
        self._reading = None

    def _account(self) -> None:
        """Divide the thread's processor time since the last account by how long each meter's reads took: to ask the
        kernel at each read would cost as much as some reads do."""
        cpu_ns, readers = time.thread_time_ns(), self._readers
        spent_ns, self.cpu_ns = cpu_ns - self.cpu_ns, cpu_ns
        took_ns = sum(reader.took_ns for reader in readers)
        for reader in readers:
            reader.cpu_ns += spent_ns * reader.took_ns // took_ns if took_ns else spent_ns // len(readers)
            reader.took_ns = 0

    def _step(self) -> None:
        """Ticks stand at start + k * period whatever each read takes, so the schedule does not drift."""
        self._due_ns, self._shift_ns = self._due_ns + self._shift_ns, 0
        self._due_ns += RETRY_NS if all(reader.is_dead for reader in self._readers) else self._period_ns
        if (late_ns := self._now_ns() - self._due_ns) >= self._period_ns:
            count = late_ns // self._period_ns
            self._due_ns += count * self._period_ns
            for reader in self._readers:
                reader.missed(count, late_ns)

    def _part(self) -> None:
        """Who fails or takes long goes on alone; whose own code broke is not read again."""
        with self._lock:
            self._readers = tuple(reader for reader in self._readers if not reader.is_gone)
            if len(self._readers) < 2:
                return
            leaving = [reader for reader in self._readers if not reader.fits_company]
            if not leaving and self._full_rounds >= FULL_ROUNDS:
                self._full_rounds = 0
                leaving = [max(self._readers, key=lambda reader: reader.last_ns)]
            self._readers = tuple(reader for reader in self._readers if reader not in leaving)
        self._account()
        for reader in leaving:
            self._sampling.open_lane([reader], self._due_ns)


def shift_ns(lane: int, period_ns: int, shortest_ns: int) -> int:
    """By how much the schedule of one of several lanes, the fastest first, is moved. Those that wake at one instant
    wait for each other; those that wake just after the fastest find the processor awake."""
    if not lane:
        return 0
    apart_ns = min(shortest_ns, APART_NS)
    return (lane - 1) * apart_ns % period_ns + min(AFTER_NS, period_ns // 10)


def _period_ns(readers: Sequence[Reader]) -> int:
    return readers[0].period_ns


def cost(t_ns: int, meter: str, cpu_ns: int, wall_ns: int, reads: int) -> Event:
    """The event that says what sampling cost, `wall_ns` > 0 after it began; see `Tape.costs`."""
    return {
        "t": t_ns, "event": "sampler_cost", "meter": meter, "cpu_s": seconds(cpu_ns), "wall_s": seconds(wall_ns),
        "reads": reads, "share": cpu_ns / wall_ns,
    }  # fmt: skip
