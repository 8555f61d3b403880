"""Energy from a counter: only the instants at which it stepped count, straight lines between them."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from math import fsum, inf

from tcabench.energy.series import Series
from tcabench.records import NotMetered
from tcabench.records.energy import BROKEN_COUNTER
from tcabench.units import NS_PER_S, seconds

Expected = Callable[[int, int, float], float]
NEAR = 2  # steps on either side of an instant that tell how evenly the counter ran there
LONG_PAUSE = 5  # usual spacings (or updates): a pause to look at
CAUGHT_UP = 0.5  # of what the pause must have cost; a counter that steps by less afterwards has lost energy


@dataclass(frozen=True, slots=True)
class Edges:
    """Where a counter stepped: instants in ns, its value in J from then on, how wide the span in ns is within which
    each step happened, and the instants at which it started anew (it fell, or leapt)."""

    t_ns: tuple[int, ...]
    j: tuple[float, ...]
    reset_ns: tuple[int, ...]
    known_ns: tuple[int, ...]


def edges(
    counter: Series, update_ns: int, period_ns: int, leap_ns: Set[int] = frozenset(), digit_j: float = 0.0
) -> Edges:
    """The steps of a counter that was sampled.

    A step seen at one sample happened since the sample before it, and no longer ago than one update interval (one
    period where that is unknown) or, where that is longer, than one last digit `digit_j` took on average between the
    two samples: the middle of that span is taken. The first sample is no step: nobody knows how old its value was.
    """
    reach_ns = update_ns or period_ns
    t_ns: list[int] = []
    j: list[float] = []
    reset_ns: list[int] = []
    known_ns: list[int] = []
    for i in range(1, len(counter.t_ns)):
        if counter.value[i] == counter.value[i - 1]:
            continue
        unread_ns = counter.t_ns[i] - counter.t_ns[i - 1]
        digits = abs(counter.value[i] - counter.value[i - 1]) / digit_j if digit_j else inf
        span_ns = min(unread_ns, max(reach_ns, int(unread_ns / max(digits, 1.0))))
        at_ns = counter.t_ns[i] - span_ns // 2
        if not t_ns or at_ns > t_ns[-1]:
            t_ns.append(at_ns)
            j.append(counter.value[i])
            known_ns.append(span_ns)
        else:  # two readings of one instant: the later one holds
            j[-1] = counter.value[i]
        if counter.value[i] < counter.value[i - 1] or counter.t_ns[i] in leap_ns:
            reset_ns.append(at_ns)
    return Edges(tuple(t_ns), tuple(j), tuple(reset_ns), tuple(known_ns))


def counted_j(steps: Edges, start_ns: int, end_ns: int, reach_ns: int, most_j: float = inf) -> float | NotMetered:
    """Energy in J between two instants. NotMetered where the counter fell or leapt within `reach_ns` of the span (what
    it counted in between is lost), or did not step within `reach_ns` of both ends. `most_j` as in `energy_at`."""
    if len(steps.t_ns) < 2:
        return NotMetered("the counter did not move")
    first = bisect_left(steps.reset_ns, start_ns - reach_ns)
    if first != bisect_right(steps.reset_ns, end_ns + reach_ns):
        return NotMetered(f"the counter {_how_it_broke(steps, steps.reset_ns[first])}: {BROKEN_COUNTER}")
    if (late_ns := steps.t_ns[0] - start_ns) > reach_ns:
        return NotMetered(f"the counter first moved {seconds(late_ns):.3f} s after the start")
    if (early_ns := end_ns - steps.t_ns[-1]) > reach_ns:
        return NotMetered(f"the counter last moved {seconds(early_ns):.3f} s before the end")
    return energy_at(steps, end_ns, most_j) - energy_at(steps, start_ns, most_j)


def _how_it_broke(steps: Edges, at_ns: int) -> str:
    step = bisect_left(steps.t_ns, at_ns)
    now_j = steps.j[step]
    if step == 0:
        return f"fell or leapt to {now_j:.10g} J"
    before_j = steps.j[step - 1]
    if now_j < before_j:
        return f"fell from {before_j:.10g} to {now_j:.10g} J (reset, or wrapped where nobody stated)"
    return f"leapt from {before_j:.10g} to {now_j:.10g} J, which nothing around it explains"


def energy_at(steps: Edges, t_ns: int, most_j: float = inf) -> float:
    """The counter in J at an instant, on the straight line between its steps. Needs two steps.

    Beyond the first or last step it is carried on at the mean rate over the nearest second of steps, by `most_j` at
    most: a counter whose steps are single digits has counted less than one more while it shows none.
    """
    after = bisect_right(steps.t_ns, t_ns)
    if after == 0:
        right = min(bisect_left(steps.t_ns, steps.t_ns[0] + NS_PER_S), len(steps.t_ns) - 1)
        return steps.j[0] - min(_rate(steps, 0, right) * (steps.t_ns[0] - t_ns), most_j)
    if after == len(steps.t_ns):
        left = max(0, bisect_right(steps.t_ns, steps.t_ns[-1] - NS_PER_S) - 1)
        return steps.j[-1] + min(_rate(steps, left, after - 1) * (t_ns - steps.t_ns[-1]), most_j)
    return steps.j[after - 1] + _rate(steps, after - 1, after) * (t_ns - steps.t_ns[after - 1])


def _rate(steps: Edges, left: int, right: int) -> float:
    """J per ns between two steps."""
    return (steps.j[right] - steps.j[left]) / (steps.t_ns[right] - steps.t_ns[left])


def rates_near(steps: Edges, t_ns: int) -> tuple[float, ...]:
    """Mean rates in J per ns over the five spans between steps nearest to an instant, fewer where there are fewer."""
    after, last = bisect_right(steps.t_ns, t_ns), len(steps.t_ns) - 1
    first = max(1, min(after - NEAR, last - 2 * NEAR))
    return tuple(_rate(steps, right - 1, right) for right in range(first, min(last, first + 2 * NEAR) + 1))


def span_at_ns(steps: Edges, t_ns: int) -> int:
    """How far apart the two steps around an instant are, in ns; beyond the first or last step, twice the distance."""
    after = bisect_right(steps.t_ns, t_ns)
    if after == 0:
        return 2 * (steps.t_ns[0] - t_ns)
    if after == len(steps.t_ns):
        return 2 * (t_ns - steps.t_ns[-1])
    return steps.t_ns[after] - steps.t_ns[after - 1]


def known_at_ns(steps: Edges, t_ns: int) -> int:
    """How wide the span is within which the steps around an instant are known to have happened, the wider one."""
    after = bisect_right(steps.t_ns, t_ns)
    return max(steps.known_ns[max(0, after - 1) : after + 1])


def usual_ns(steps: Edges) -> int:
    """The median spacing of the steps in ns; 0 with fewer than two."""
    spans = sorted(steps.t_ns[i + 1] - steps.t_ns[i] for i in range(len(steps.t_ns) - 1))
    return spans[len(spans) // 2] if spans else 0


def usual_j(steps: Edges) -> float:
    """The median rise from step to step in J; 0 with fewer than two."""
    rises = sorted(steps.j[i + 1] - steps.j[i] for i in range(len(steps.j) - 1))
    return rises[len(rises) // 2] if rises else 0.0


def stood_still(steps: Edges, start_ns: int, end_ns: int, limit_ns: int, expected_j: Expected) -> str:
    """Why the counter lost energy in a pause that touches [start_ns, end_ns], "" where it did not.

    A pause longer than `limit_ns` (and five usual spacings) passes as long as the step that ends it makes up for it,
    by at least half of `expected_j(from_ns, to_ns, rate)`, given the rate in J per ns outside the pause.
    """
    for paused_ns, rose_j, missing_j in _pauses(steps, start_ns, end_ns, limit_ns, expected_j):
        if rose_j < CAUGHT_UP * missing_j:
            paused_s = seconds(paused_ns)
            return f"the counter stood still for {paused_s:.1f} s and then rose by {rose_j:.6g} of {missing_j:.6g} J"
    return ""


def not_made_up_j(steps: Edges, start_ns: int, end_ns: int, limit_ns: int, expected_j: Expected) -> float:
    """What the pauses that passed left open, in J: nobody knows whether the load drew less in them or the counter
    lost it. Arguments as in `stood_still`."""
    pauses = _pauses(steps, start_ns, end_ns, limit_ns, expected_j)
    return fsum(max(0.0, missing_j - rose_j) for _, rose_j, missing_j in pauses)


def _pauses(
    steps: Edges, start_ns: int, end_ns: int, limit_ns: int, expected_j: Expected
) -> Iterator[tuple[int, float, float]]:
    """(its length in ns, what the counter rose by over it, what is expected of it) of each pause, in J."""
    first, last = max(1, bisect_right(steps.t_ns, start_ns)), bisect_left(steps.t_ns, end_ns)
    limit_ns = max(limit_ns, LONG_PAUSE * usual_ns(steps))
    for right in range(first, min(last, len(steps.t_ns) - 1) + 1):
        from_ns, to_ns = steps.t_ns[right - 1], steps.t_ns[right]
        if to_ns - from_ns <= limit_ns:
            continue
        missing_j = expected_j(from_ns, to_ns, _outside(steps, first, last, right))
        yield to_ns - from_ns, steps.j[right] - steps.j[right - 1], missing_j


def _outside(steps: Edges, first: int, last: int, pause: int) -> float:
    """J per ns over the steps from `first` - 1 to `last` without the span that ends at `pause`; where that is all there
    is, over all steps without it."""
    left, right = first - 1, min(last, len(steps.t_ns) - 1)
    if right - left == 1:
        left, right = 0, len(steps.t_ns) - 1
    rose_j = steps.j[right] - steps.j[left] - (steps.j[pause] - steps.j[pause - 1])
    span_ns = steps.t_ns[right] - steps.t_ns[left] - (steps.t_ns[pause] - steps.t_ns[pause - 1])
    return rose_j / span_ns if span_ns > 0 else 0.0
