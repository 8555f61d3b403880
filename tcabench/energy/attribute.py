"""What the energy of the window went into: prefill, decode, or nothing, by a rule that is named.

The rule is a convention, not a measurement: a server that batches does both at once, and no meter sees which of them a
joule was for. It needs nothing but the client's own time-stamps, so it holds for every server alike.
"""

from collections.abc import Callable, Iterator, Sequence
from math import fsum

from tcabench.records import NotMetered, Quantity, Split, Trace, Value, Window

RULE = (
    "at each instant the energy is shared evenly between the requests under way: one is in prefill from sending to its "
    "first content, in decode from then to its end; what flows while none is under way stays unloaded"
)
# Changes of (requests in prefill, requests in decode)
SENT, FIRST, ENDED_IN_PREFILL, ENDED_IN_DECODE = (1, 0), (-1, 1), (-1, 0), (0, -1)


def split(traces: Sequence[Trace], part_j: Callable[[int, int], float], total: Value, window: Window) -> Split | None:
    """The window's energy by what was being done; the parts add up to `total`. None for a run without requests.

    `part_j(start_ns, end_ns)` gives the energy in J of a part of the window. Each part has the relative interval of
    the total: the rule itself has none.
    """
    if not traces:
        return None
    if isinstance(total, NotMetered):
        return Split(total, total, total, RULE)
    prefill_j, decode_j, unloaded_j = _sums(traces, part_j, window)
    whole_j = fsum((prefill_j, decode_j, unloaded_j))
    if whole_j <= 0:
        why = NotMetered("the parts of the window show no energy")
        return Split(why, why, why, RULE)
    prefill, decode = (_share(total, part / whole_j) for part in (prefill_j, decode_j))
    rest = max(0.0, 1 - prefill_j / whole_j - decode_j / whole_j) if unloaded_j > 0 else 0.0
    return Split(prefill, decode, _share(total, rest), RULE)


def _share(total: Quantity, share: float) -> Quantity:
    share = max(0.0, share)
    return Quantity(total.value * share, total.low * share, total.high * share, total.unit)


def _sums(traces: Sequence[Trace], part_j: Callable[[int, int], float], window: Window) -> tuple[float, float, float]:
    """(prefill, decode, unloaded) in J."""
    sums: tuple[list[float], list[float], list[float]] = ([], [], [])
    for start_ns, end_ns, filling, decoding in _spans(traces, window):
        energy_j, busy = part_j(start_ns, end_ns), filling + decoding
        if busy == 0:
            sums[2].append(energy_j)
            continue
        sums[0].append(energy_j * filling / busy)
        sums[1].append(energy_j * decoding / busy)
    return fsum(sums[0]), fsum(sums[1]), fsum(sums[2])


def _spans(traces: Sequence[Trace], window: Window) -> Iterator[tuple[int, int, int, int]]:
    """(start, end, requests in prefill, requests in decode): the window cut where one of the shares changes."""
    since_ns, filling, decoding = window.start_ns, 0, 0
    for t_ns, (more_filling, more_decoding) in sorted(_changes(traces)):
        if t_ns >= window.end_ns:
            break
        after = (filling + more_filling, decoding + more_decoding)
        if t_ns > since_ns and not _same_share((filling, decoding), after):
            yield since_ns, t_ns, filling, decoding
            since_ns = t_ns
        filling, decoding = after
    yield since_ns, window.end_ns, filling, decoding


def _same_share(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether prefill and decode have the same shares in both; a load is never the same as none."""
    return one[0] * other[1] == other[0] * one[1] and any(one) == any(other)


def _changes(traces: Sequence[Trace]) -> Iterator[tuple[int, tuple[int, int]]]:
    for trace in traces:
        yield trace.sent_ns, SENT
        end_ns = max(trace.end_ns, trace.sent_ns)
        if not trace.chunk_ns:
            yield end_ns, ENDED_IN_PREFILL
            continue
        first_ns = min(max(trace.chunk_ns[0], trace.sent_ns), end_ns)
        yield first_ns, FIRST
        yield end_ns, ENDED_IN_DECODE
