"""Meters that are read in a process of their own, as this process sees them. The other end is `sampler`."""

import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from tcabench.clock import Clock
from tcabench.errors import MeterError
from tcabench.power.columns import Columns
from tcabench.power.lanes import JOIN_S, cost
from tcabench.power.meter import Fact, Meter
from tcabench.power.reader import in_words
from tcabench.power.tape import Tape
from tcabench.power.wire import Inlet, Message, channel_from_row, error_from_row, send
from tcabench.records import Channel, Reading
from tcabench.units import NS_PER_S, nanoseconds

LOG = logging.getLogger("tcabench.power")
COMMAND = ("-P", "-m", "tcabench.power.sampler")  # -P: nothing is imported from the folder the user stands in
OPEN_S = 600.0  # all meters must have answered by then, one after the other; each has a limit of its own
SILENT_NS = 25 * NS_PER_S  # the sampler tells its cost every 10 s, whatever its meters do
READ_S = 30.0
STOP_S = JOIN_S + 5.0  # the sampler waits JOIN_S for a read that hangs
CLOSE_S = 5.0
SAID_CHARACTERS = 2000


class SamplerProcess:
    """The process, its pipes and what it writes to stderr. It dies with us: its stdin ends."""

    def __init__(self) -> None:
        """raises: MeterError where no process can be started."""
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process; closed by close()
        self._told_bytes = 0
        try:
            self._child = subprocess.Popen(
                [sys.executable, *COMMAND], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr,
                start_new_session=True, env=os.environ | {"PYTHONPATH": _import_path()},
            )  # fmt: skip
        except OSError as err:
            self._stderr.close()
            raise MeterError(f"the sampler's process does not start: {err}", "sampler-start") from err
        self._stdin, self._inlet = _fd(self._child.stdin), Inlet(_fd(self._child.stdout))
        self.users = 0
        self.is_recording = False

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def fd(self) -> int:
        """Where its messages arrive."""
        return self._inlet.fd

    def send(self, order: Message) -> None:
        """raises: OSError when the process is gone."""
        send(self._stdin, order)

    def receive(self, within_s: float | None = None) -> Message | None:
        """The next message; None when the process is gone. raises: TimeoutError."""
        return self._inlet.receive(within_s)

    def ask(self, order: Message, within_s: float) -> Message:
        """The answer to `order`. raises: the error that the process answers with; MeterError when it does not answer
        in time or is gone."""
        try:
            self.send(order)
            answer = self.receive(within_s)
        except TimeoutError as err:
            why = f"the sampler did not answer for {within_s:g} s, because a meter hangs, and {self.end()}"
            raise MeterError(why, "sampler-hangs") from err
        except OSError:
            answer = None
        if answer is None:
            raise MeterError(f"the sampler's process {self.end()}", "sampler-lost")
        if "error" in answer:
            raise error_from_row(answer["error"])
        return answer

    def said(self) -> str:
        """What the process wrote to stderr since the last call, the end of it if it is long."""
        fd = self._stderr.fileno()
        size = os.fstat(fd).st_size
        first = max(self._told_bytes, size - SAID_CHARACTERS)
        self._told_bytes = size
        return os.pread(fd, size - first, first).decode("utf-8", "replace").strip()

    def end(self) -> str:
        """End the process at once; how it ended and what it said, in words."""
        with suppress(subprocess.TimeoutExpired):  # one that is dying may have its exit code a moment later
            self._child.wait(0.2)
        code, words = self._child.poll(), self.said()
        self.kill()
        how = "had to be ended" if code is None else f"was ended by signal {-code}" if code < 0 else f"ended ({code})"
        return f"{how}: {words}" if words else how

    def kill(self) -> None:
        """End it at once, if it has not ended."""
        self._child.kill()
        self._child.wait()

    def close(self, patience_s: float | None = None) -> None:
        """Let it close its meters and end; a second call does nothing."""
        if self._stderr.closed:
            return
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._child.wait(CLOSE_S if patience_s is None else patience_s)
        except subprocess.TimeoutExpired:
            self.kill()
        if words := self.said():
            LOG.warning("the sampler said: %s", words)
        self._stderr.close()


class ApartMeter:
    """A meter in the sampler's process. Facts are as of its opening."""

    def __init__(self, sampler: SamplerProcess, name: str, channels: tuple[Channel, ...], facts: dict[str, Fact]):
        self.sampler, self._name, self._channels, self._facts = sampler, name, channels, facts
        self._is_open = True
        sampler.users += 1

    @property
    def name(self) -> str:
        return self._name

    def channels(self) -> tuple[Channel, ...]:
        return self._channels

    def read(self) -> list[Reading]:
        """One reading, made over there; not while a recording runs. raises: MeterError."""
        if self.sampler.is_recording:
            raise MeterError(f"{self._name} is being recorded: look at the tape", "meter-recording")
        answer = self.sampler.ask({"do": "read", "meter": self._name}, READ_S)
        return [Reading(*one) for one in answer["read"]]

    def facts(self) -> dict[str, Fact]:
        return dict(self._facts)

    def close(self) -> None:
        """The process ends when its last meter is closed; a second call does nothing."""
        if self._is_open:
            self._is_open = False
            self.sampler.users -= 1
            if self.sampler.users == 0:
                self.sampler.close()


def open_apart(names: Sequence[str]) -> list[Meter]:
    """`open_meters(names)` in a process of its own. raises: what that raises; MeterError when the process fails."""
    if not names:
        return []
    sampler = SamplerProcess()
    try:
        before_ns = time.monotonic_ns()
        order = {"meters": list(names), "pythonpath": os.environ.get("PYTHONPATH")}
        answer = sampler.ask(order, OPEN_S)
        if not before_ns <= answer["now_ns"] <= time.monotonic_ns():
            raise MeterError("the sampler's monotonic clock is not the one of this process", "clock")
    except BaseException:
        sampler.close(patience_s=1.0)
        raise
    if words := sampler.said():
        LOG.warning("%s", words)
    return [
        ApartMeter(sampler, one["name"], tuple(map(channel_from_row, one["channels"])), one["facts"])
        for one in answer["opened"]
    ]


def together(meters: Iterable[ApartMeter]) -> list[tuple[SamplerProcess, list[ApartMeter]]]:
    """The meters of each process."""
    groups: dict[int, tuple[SamplerProcess, list[ApartMeter]]] = {}
    for meter in meters:
        groups.setdefault(meter.sampler.pid, (meter.sampler, []))[1].append(meter)
    return list(groups.values())


class ApartSampling:
    """A recording of the meters of one process: what it sends goes onto the tape. `cpu_ns` tells the processor time
    that this process spends on that."""

    def __init__(
        self, sampler: SamplerProcess, meters: Sequence[Meter], numbers: Mapping[str, int], clock: Clock, tape: Tape,
        cpu_ns: Callable[[], int],
    ) -> None:  # fmt: skip
        self._sampler, self._names, self._clock, self._tape = sampler, [meter.name for meter in meters], clock, tape
        channels = [channel.id for meter in meters for channel in meter.channels()]
        self._order = {"do": "start", "meters": self._names, "numbers": {id_: numbers[id_] for id_ in channels}}
        self._cpu_ns, self._ended, self._hangs = cpu_ns, threading.Event(), False
        self._heard_ns, self._is_silent = clock.now_ns(), False

    def start(self) -> None:
        self._sampler.is_recording = True
        with suppress(OSError):  # the process is gone: its pipe tells, at the first look
            self._sampler.send(self._order)

    def waits_for(self) -> list[int]:
        """The pipe to wait for, while something may come."""
        return [] if self._ended.is_set() else [self._sampler.fd]

    def watch(self) -> None:
        """Take what the process has sent. One that is gone, or sends what is no message, is lost."""
        try:
            while not self._ended.is_set():
                self._take(self._sampler.receive(0.0))
        except TimeoutError:  # that was all
            self._tell_silence()
        except Exception as err:  # noqa: BLE001 - the rest of the run goes on, the loss stands in the evidence
            self._lost(f"sent what cannot be read: {in_words(err)}, and {self._sampler.end()}")

    def _tell_silence(self) -> None:
        """A process that stands still sends nothing, and would be missed only at the end."""
        silent_ns = self._clock.now_ns() - self._heard_ns
        if silent_ns > SILENT_NS and not self._is_silent:
            self._is_silent = True
            self._event(
                "sampler_silent", f"the sampler's process has sent nothing for {silent_ns / 1e9:.0f} s", self._names
            )

    def stop(self) -> None:
        """Have the last samples taken, by the thread that calls `watch`. A process that does not send them is ended."""
        with suppress(OSError):
            self._sampler.send({"do": "stop"})
        if not self._ended.wait(STOP_S):
            self._hangs = True
            self._sampler.kill()
            self._ended.wait(STOP_S)
        self._sampler.is_recording = False
        if words := self._sampler.said():
            self._event("sampler_said", words)

    def _take(self, message: Message | None) -> None:
        if message is None:
            self._lost(f"did not end within {STOP_S:g} s" if self._hangs else self._sampler.end())
            return
        self._heard_ns, self._is_silent = self._clock.now_ns(), False
        if "columns" in message:
            self._tape.take_columns(Columns.from_wire(message["columns"]))
        for event in message.get("events", ()):
            whole = event["event"] == "sampler_cost" and not event["meter"]
            self._tape.inbox.take_event(self._with_ours(event) if whole else event)
        if "ended" in message:
            self._ended.set()

    def _with_ours(self, event: dict[str, Any]) -> dict[str, Any]:
        """The cost of the sampler's process and of what this one does for it."""
        cpu_ns = nanoseconds(event["cpu_s"]) + self._cpu_ns()
        return cost(event["t"], "", cpu_ns, nanoseconds(event["wall_s"]), event["reads"])

    def _lost(self, how: str) -> None:
        self._event("sampler_lost", f"the sampler's process {how}. Nothing is recorded from here on", self._names)
        self._ended.set()

    def _event(self, event: str, why: str, meters: Sequence[str] = ()) -> None:
        more = {"meters": list(meters)} if meters else {}
        self._tape.inbox.take_event({"t": self._clock.now_ns(), "event": event, "meter": "", "why": why, **more})


def _import_path() -> str:
    """Where this process finds its modules, for the other: a plug-in is found there as it is here."""
    return os.pathsep.join(path or os.getcwd() for path in sys.path)


def _fd(pipe: Any) -> int:
    number: int = pipe.fileno()
    return number
