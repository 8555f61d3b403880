"""Energy from a counter: only the instants at which it stepped count, straight lines between them."""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass

from tcabench.energy.series import Series
from tcabench.records import NotMetered
from tcabench.units import NS_PER_S, seconds


@dataclass(frozen=True, slots=True)
class Edges:
    """Where a counter stepped: instants in ns, its value in J from then on, and the instants at which it fell."""

    t_ns: tuple[int, ...]
    j: tuple[float, ...]
    reset_ns: tuple[int, ...]


def edges(counter: Series, update_ns: int, period_ns: int) -> Edges:
    """The steps of a counter that was sampled.

    A step seen at one sample happened since the sample before it, and no longer ago than one update interval (one
    period where that is unknown): the middle of that span is taken. The first sample is no step: nobody knows how
    old its value was.
    """
    reach_ns = update_ns or period_ns
    t_ns: list[int] = []
    j: list[float] = []
    reset_ns: list[int] = []
    for i in range(1, len(counter.t_ns)):
        if counter.value[i] == counter.value[i - 1]:
            continue
        at_ns = counter.t_ns[i] - min(counter.t_ns[i] - counter.t_ns[i - 1], reach_ns) // 2
        if not t_ns or at_ns > t_ns[-1]:
            t_ns.append(at_ns)
            j.append(counter.value[i])
        else:  # two readings of one instant: the later one holds
            j[-1] = counter.value[i]
        if counter.value[i] < counter.value[i - 1]:
            reset_ns.append(at_ns)
    return Edges(tuple(t_ns), tuple(j), tuple(reset_ns))


def counted_j(steps: Edges, start_ns: int, end_ns: int, reach_ns: int) -> float | NotMetered:
    """Energy in J between two instants. NotMetered where the counter fell within `reach_ns` of the span (it wrapped
    or was reset: what it counted in between is lost), or did not step within `reach_ns` of both ends."""
    if len(steps.t_ns) < 2:
        return NotMetered("the counter did not move")
    if bisect_left(steps.reset_ns, start_ns - reach_ns) != bisect_right(steps.reset_ns, end_ns + reach_ns):
        return NotMetered("the counter fell (reset or wrapped)")
    if (late_ns := steps.t_ns[0] - start_ns) > reach_ns:
        return NotMetered(f"the counter first moved {seconds(late_ns):.3f} s after the start")
    if (early_ns := end_ns - steps.t_ns[-1]) > reach_ns:
        return NotMetered(f"the counter last moved {seconds(early_ns):.3f} s before the end")
    return energy_at(steps, end_ns) - energy_at(steps, start_ns)


def energy_at(steps: Edges, t_ns: int) -> float:
    """The counter in J at an instant, on the straight line between its steps; beyond the first or last step, at the
    mean rate over the nearest second of steps. Needs two steps."""
    after = bisect_right(steps.t_ns, t_ns)
    left, right = after - 1, after
    if after == 0:
        left, right = 0, max(1, min(bisect_left(steps.t_ns, steps.t_ns[0] + NS_PER_S), len(steps.t_ns) - 1))
    elif after == len(steps.t_ns):
        left, right = min(after - 2, max(0, bisect_right(steps.t_ns, steps.t_ns[-1] - NS_PER_S) - 1)), after - 1
    anchor = right if after == len(steps.t_ns) else left
    rate = (steps.j[right] - steps.j[left]) / (steps.t_ns[right] - steps.t_ns[left])
    return steps.j[anchor] + rate * (t_ns - steps.t_ns[anchor])


def span_at_ns(steps: Edges, t_ns: int) -> int:
    """How far apart the two steps around an instant are, in ns; beyond the last step, twice the distance to it."""
    after = bisect_right(steps.t_ns, t_ns)
    if after == 0:
        return 2 * (steps.t_ns[0] - t_ns)
    if after == len(steps.t_ns):
        return 2 * (t_ns - steps.t_ns[-1])
    return steps.t_ns[after] - steps.t_ns[after - 1]
