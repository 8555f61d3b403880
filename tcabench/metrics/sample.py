"""Which requests the latency figures are about."""

from collections.abc import Iterator

from tcabench.metrics.spec import Measured
from tcabench.records import Status, Trace


def answered_in_window(m: Measured) -> Iterator[Trace]:
    """Answered requests that were due (open loop) or sent (closed loop) inside the window.

    Those that ended after it are kept: leaving out the slow ones would flatter every quantile.
    """
    for trace in m.traces:
        if trace.status is Status.OK and trace.chunk_ns and m.window.start_ns <= began_ns(trace) < m.window.end_ns:
            yield trace


def began_ns(trace: Trace) -> int:
    """The instant from which latency counts: when the request was due, else when it was sent."""
    return trace.sent_ns if trace.due_ns is None else trace.due_ns
