"""Which requests the latency figures are about."""

from collections.abc import Iterator

from tcabench.metrics.spec import Measured
from tcabench.records import Status, Trace


def answered_in_window(m: Measured) -> Iterator[Trace]:
    """Answered requests that were due (open loop) or sent (closed loop) inside the window.

    Those that ended after it are kept: leaving out the slow ones would flatter every quantile.
    """
    return (t for t in begun_in_window(m) if t.status is Status.OK and t.chunk_ns)


def given_up_on(m: Measured) -> int:
    """How many requests that began in the window were never answered in time: slower than all, by how much unknown."""
    return sum(t.status in (Status.TIMEOUT, Status.CANCELLED) for t in begun_in_window(m))


def begun_in_window(m: Measured) -> Iterator[Trace]:
    """Requests that were due (open loop) or sent (closed loop) inside the window, however they ended."""
    return (t for t in m.traces if m.window.start_ns <= began_ns(t) < m.window.end_ns)


def began_ns(trace: Trace) -> int:
    """The instant from which latency counts: when the request was due, else when it was sent."""
    return trace.sent_ns if trace.due_ns is None else trace.due_ns
