"""Tokens on the power axis: each token counts where its own time-stamp puts it."""

from bisect import bisect_left
from collections.abc import Iterable
from math import fsum

from tcabench.records import Status, Trace


def output_tok(trace: Trace) -> int | None:
    """Output tokens of one finished request: the server's `usage`, else our recount, else None.

    A request that did not end well counts no tokens, though its energy was spent: the figure can only be
    worse for it.
    """
    if trace.status is not Status.OK:
        return 0
    return trace.output_tok if trace.output_tok is not None else trace.recount_tok


def tokens_between(traces: Iterable[Trace], start_ns: int, end_ns: int) -> float:
    """Output tokens that arrived in [start_ns, end_ns).

    A server may put several tokens in one chunk; a request's tokens are spread evenly over its chunks, which
    is exact where a chunk is a token. Requests that straddle an edge count by the chunks inside.
    """
    return fsum((output_tok(trace) or 0) * share_between(trace, start_ns, end_ns) for trace in traces)


def share_between(trace: Trace, start_ns: int, end_ns: int) -> float:
    """The share (0..1) of a request's chunks that arrived in [start_ns, end_ns)."""
    if not trace.chunk_ns:
        return 0.0
    inside = bisect_left(trace.chunk_ns, end_ns) - bisect_left(trace.chunk_ns, start_ns)
    return inside / len(trace.chunk_ns)
