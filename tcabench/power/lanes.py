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
        self._is_real, self._now_ns = isinstance(clock, SystemClock), now_of(clock)

    def start(self) -> None:
        """Begin to read, in threads."""
        self._began_ns = self._told_ns = self._told_each_ns = self._now_ns()
        self._cpu_before_ns = self._cpu_ns()
        together: dict[int, list[Reader]] = {}
        for reader in self._readers:
            if reader.is_local:
                together.setdefault(reader.period_ns, []).append(reader)
        for readers in [*together.values(), *([reader] for reader in self._readers if not reader.is_local)]:
            self.open_lane(readers, self._began_ns)

    def open_lane(self, readers: Sequence[Reader], due_ns: int) -> None:
        """Read these meters, all of one period, in a thread of their own from `due_ns` on."""
        lane = Lane(readers, due_ns, self)
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
        while not self._over.is_set() and (left_ns := due_ns - self._now_ns()) > 0:
            if self._is_real and left_ns > NAP_NS:
                self._over.wait(seconds(left_ns))
            else:  # twice as cheap, and short enough to end with the run
                self.clock.sleep(seconds(min(left_ns, NAP_NS)))
        return not self._over.is_set()

    def threads_ns(self) -> int:
        """Processor time of the reading threads in ns, up to the last round of each."""
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

    def __init__(self, readers: Sequence[Reader], due_ns: int, sampling: Sampling) -> None:
        self._readers, self._due_ns, self._sampling = tuple(readers), due_ns, sampling
        self._now_ns, self._period_ns = now_of(sampling.clock), readers[0].period_ns
        self._lock = threading.Lock()
        self._reading: tuple[Reader, int] | None = None
        self._full_rounds = 0
        self.cpu_ns = 0
        name = f"meter {readers[0].name}" + (f" and {len(readers) - 1} more" if len(readers) > 1 else "")
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    def look_after(self, now_ns: int) -> None:
        """Where a read hangs, another thread takes over the lane's other meters."""
        with self._lock:
            if self._reading is None or now_ns - self._reading[1] < STALL_NS:
                return
            stuck, since_ns = self._reading
            others = [reader for reader in self._readers if reader is not stuck]
            self._readers = (stuck,)
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
            round_ns = self._round(Reader.read)
            self._step()
            self._part(round_ns)
        self._round(Reader.finish)

    def _round(self, read: Callable[[Reader, int], None]) -> int:
        """Each meter in turn, unless another thread took it over while one before it hung; how long that took in ns."""
        began_ns, cpu_ns = self._now_ns(), self.cpu_ns
        for reader in self._readers:
            with self._lock:
                if reader not in self._readers:
                    continue
                before_ns = self._now_ns()
                self._reading = reader, before_ns
            read(reader, before_ns)
            self.cpu_ns = time.thread_time_ns()
            reader.cpu_ns += self.cpu_ns - cpu_ns
            cpu_ns = self.cpu_ns
        with self._lock:
            self._reading = None
        return self._now_ns() - began_ns

    def _step(self) -> None:
        """Ticks stand at start + k * period whatever each read takes, so the schedule does not drift."""
        self._due_ns += RETRY_NS if all(reader.is_dead for reader in self._readers) else self._period_ns
        if (late_ns := self._now_ns() - self._due_ns) >= self._period_ns:
            count = late_ns // self._period_ns
            self._due_ns += count * self._period_ns
            for reader in self._readers:
                reader.missed(count, late_ns)

    def _part(self, round_ns: int) -> None:
        """Who fails or takes long goes on alone; whose own code broke is not read again."""
        self._full_rounds = self._full_rounds + 1 if round_ns > FULL_SHARE * self._period_ns else 0
        with self._lock:
            self._readers = tuple(reader for reader in self._readers if not reader.is_gone)
            if len(self._readers) < 2:
                return
            leaving = [reader for reader in self._readers if not reader.fits_company]
            if not leaving and self._full_rounds >= FULL_ROUNDS:
                self._full_rounds = 0
                leaving = [max(self._readers, key=lambda reader: reader.last_ns)]
            self._readers = tuple(reader for reader in self._readers if reader not in leaving)
        for reader in leaving:
            self._sampling.open_lane([reader], self._due_ns)


def cost(t_ns: int, meter: str, cpu_ns: int, wall_ns: int, reads: int) -> Event:
    """The event that says what sampling cost, `wall_ns` > 0 after it began; see `Tape.costs`."""
    return {
        "t": t_ns, "event": "sampler_cost", "meter": meter, "cpu_s": seconds(cpu_ns), "wall_s": seconds(wall_ns),
        "reads": reads, "share": cpu_ns / wall_ns,
    }  # fmt: skip
