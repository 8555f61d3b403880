"""The sampler's own process: `python -m tcabench.power.sampler`, started by `apart`.

The load generator keeps the interpreter of its process busy, and a thread beside it is read out late: here nothing
else runs. It takes orders on stdin and answers on stdout (see `wire`), and it ends when stdin does, however the
process at the other end ended:

    {"meters": [names], "pythonpath": text}     -> {"opened": [...], "now_ns": n} or {"error": {...}}
    {"do": "read", "meter": name}               -> {"read": [[channel, value, stamp], ...]} or {"error": {...}}
    {"do": "start", "meters": [...], "numbers": {channel: number}}
                                                -> {"columns": {...}, "events": [...]} every 0.4 s
    {"do": "stop"}                              -> the rest, with "ended"
"""

import faulthandler
import gc
import os
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from tcabench.clock import SystemClock
from tcabench.errors import MeterError, TcaError
from tcabench.power.columns import Columns
from tcabench.power.lanes import Sampling
from tcabench.power.meter import Meter, open_meters
from tcabench.power.reader import in_words
from tcabench.power.tape import Inbox
from tcabench.power.wire import Inlet, Message, channel_to_row, error_to_row, send
from tcabench.units import NS_PER_S, seconds

SEND_NS = 2 * NS_PER_S // 5  # samples reach the sink within 0.5 s, and each message wakes two processes
AFTER_NS = 2_000_000  # sent just after a tick, when the processor is awake anyhow
SWITCH_S = 0.001  # a meter whose client computes must not keep the others from their tick for long
ORPHAN_S = 8.0  # how long after its end of stdin this process may live: the last samples, then CLOSE_S
CLOSE_S = 3.0  # how long meters may take to close before the process ends all the same


class Sampler:
    """The meters of this process, and the orders it takes."""

    def __init__(self, inlet: Inlet, answer: Callable[[Message], None]) -> None:
        self._inlet, self._answer = inlet, answer
        self._meters: dict[str, Meter] = {}

    def serve(self) -> None:
        """Obey until stdin ends. raises: OSError when nobody reads the answers any more."""
        order = self._inlet.receive()
        if order is None:
            return
        _own_import_path(order["pythonpath"])
        if not self._open(order):
            return
        while (order := self._inlet.receive()) is not None:
            if order["do"] == "start":
                self._record(order)
            elif order["do"] == "read":
                self._answer(_tried(partial(self._read, order["meter"])))

    def close(self) -> None:
        """Close all meters at once, so that one that hangs leaves no session of another open."""
        closing = [threading.Thread(target=meter.close, daemon=True) for meter in self._meters.values()]
        for thread in closing:
            thread.start()
        until_s = time.monotonic() + CLOSE_S
        for thread in closing:
            thread.join(max(0.0, until_s - time.monotonic()))

    def _open(self, order: Message) -> bool:
        answer = _tried(lambda: {"opened": self._opened(order["meters"]), "now_ns": time.monotonic_ns()})
        gc.collect()
        gc.freeze()  # what is there now stays: no collection need look at it again
        self._answer(answer)
        return "error" not in answer

    def _opened(self, names: Sequence[str]) -> list[Any]:
        self._meters = {meter.name: meter for meter in open_meters(names)}
        return [
            {"name": name, "channels": [channel_to_row(one) for one in meter.channels()], "facts": meter.facts()}
            for name, meter in self._meters.items()
        ]

    def _read(self, name: str) -> Message:
        return {"read": [list(one) for one in self._meters[name].read()]}

    def _record(self, order: Message) -> None:
        """Sample and send until told to stop, or until stdin ends: then nobody is left to send to."""
        inbox, meters = Inbox(), [self._meters[name] for name in order["meters"]]
        sampling = Sampling(meters, order["numbers"], SystemClock(), inbox, time.process_time_ns)
        sampling.start()
        began_ns = time.monotonic_ns() + AFTER_NS
        while self._goes_on(SEND_NS - (time.monotonic_ns() - began_ns) % SEND_NS):
            sampling.watch()
            if news := _news(inbox):
                self._answer(news)
        sampling.stop()
        self._answer(_news(inbox) | {"ended": True})

    def _goes_on(self, wait_ns: int) -> bool:
        try:
            self._inlet.receive(seconds(wait_ns))  # the order to stop, or the end of stdin
        except TimeoutError:
            return True
        return False


def _news(inbox: Inbox) -> Message:
    """What came into the inbox since the last time; empty if nothing did."""
    rows, events = inbox.drain()
    news: Message = {"columns": Columns(rows).to_wire()} if rows else {}
    return news | {"events": events} if events else news


def _own_import_path(given: str | None) -> None:
    """PYTHONPATH was set for this process alone: a program that a meter starts must see what the user set."""
    if given is None:
        os.environ.pop("PYTHONPATH", None)
    else:
        os.environ["PYTHONPATH"] = given


def _tried(make: Callable[[], Message]) -> Message:
    """What `make` gives, or the error it raises; the traceback of a bug goes to stderr."""
    try:
        return make()
    except TcaError as err:
        return {"error": error_to_row(err)}
    except Exception as err:  # noqa: BLE001 - a plug-in's own bug is told like any error
        traceback.print_exc()
        return {"error": error_to_row(MeterError(f"a fault in the meter's own code: {in_words(err)}", "meter-bug"))}


def _end_with_parent() -> None:
    """End once nobody holds the other end of stdin, even while a meter hangs in its opening; what is in good order by
    then has ended by itself."""
    ended = select.poll()
    ended.register(0, 0)  # nothing but its end
    ended.poll()
    time.sleep(ORPHAN_S)
    os._exit(0)


def main() -> None:
    """Serve the process that started this one."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    for signal_number in (signal.SIGINT, signal.SIGTERM):  # a group that is told to end waits for its last samples
        signal.signal(signal_number, signal.SIG_IGN)
    answers = os.dup(1)
    os.dup2(2, 1)  # what a meter's library prints must not get in between the messages
    sys.stdout = sys.stderr
    faulthandler.enable()
    sys.setswitchinterval(SWITCH_S)
    sampler = Sampler(Inlet(0), lambda message: send(answers, message))
    with suppress(OSError):  # the process that asked is gone, and so is the reason to be here
        sampler.serve()
    sampler.close()
    sys.stderr.flush()
    os._exit(0)  # a library's thread that still runs must not keep the process


if __name__ == "__main__":
    main()
