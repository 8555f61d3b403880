"""A-28: does the table of work agree with the requests?"""

from collections.abc import Iterator, Sequence

from tcabench.metrics.work_in_window import DONE
from tcabench.records import Trace, Work


def misworked(work: Sequence[Work], traces: Sequence[Trace]) -> Iterator[str]:
    """Every contradiction. Whether the counts are true is not judged here: they are the server's own word."""
    known, rows = {trace.index for trace in traces}, [(row.request, row.reason) for row in work]
    if any(request not in known for request, _ in rows):
        yield "work is told of a request that is not there"
    if len(set(rows)) != len(rows):
        yield "a request's work is told twice for one reason"
    if {request for request, _ in rows} != {request for request, reason in rows if reason == DONE}:
        yield "work is told as spared where none is told as done"
    if any(row.reason == DONE and min(row.macs, row.bytes) < 0 for row in work):
        yield "less than nothing is told as done"
