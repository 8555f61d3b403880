"""A counter's readings made sound: wraps undone, stray readings left out, and every place where it started anew.

A reading below the one before has one of four causes, told apart by what comes next and by the pace of the counter
around it: a last digit that wavers, a stray reading (the old level returns at once: evcc pull request 30592, Home
Assistant issue 68862, where a 0 in between became 53 MWh), a wrap at the known modulus, or a reset.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import fsum

from tcabench.energy.series import Series

AHEAD = 600  # readings: how far a return to the old level is looked for
AROUND = 10  # changes on either side that tell the pace
LEAP = 50  # times the usual pace: a rise to look at more closely


@dataclass(frozen=True, slots=True)
class Mended:
    """The readings that hold, as a series that falls only where the counter was reset. `leap_ns`: the instants of
    readings that rose by more than anything around them explains. `notes` says in words what was done."""

    series: Series
    leap_ns: frozenset[int]
    notes: tuple[str, ...]


def mended(counter: Series, modulus: float, digit: float) -> Mended:
    """`counter` without stray readings and wraps. `modulus` (0: not known) and `digit`, its last one, in its unit."""
    walk = _Walk(counter, modulus, digit)
    i = 0
    while i < len(counter.value):
        i = walk.take(i)
    return walk.result()


@dataclass(frozen=True, slots=True)
class _Pace:
    """How a counter moved near some reading: the largest single rise, and the mean rate per ns."""

    largest: float
    rate: float

    def allows(self, rise: float, span_ns: int, digit: float) -> bool:
        return rise <= 2 * self.largest + 3 * self.rate * span_ns + 2 * digit


class _Walk:
    """One pass over the readings. `kept` are indexes into them, `value` what holds there."""

    def __init__(self, counter: Series, modulus: float, digit: float) -> None:
        self.counter, self.modulus, self.digit = counter, modulus, digit
        self.usual = _usual_rate(counter)
        self.kept: list[int] = []
        self.value: list[float] = []
        self.offset = 0.0
        self.changed_ns = 0
        self.leap_ns: set[int] = set()
        self.wraps, self.stray, self.wavers = 0, 0, 0

    def take(self, i: int) -> int:
        """Judges reading `i`; the index of the next one to judge."""
        value = self.counter.value[i] + self.offset
        if not self.kept or not value < self.value[-1]:
            return self._risen(i, value)
        if self.value[-1] - value <= 2 * self.digit:
            self.wavers += 1
            return i + 1
        if (back := self._returns(i)) is not None:
            self.stray += back - i
            return back
        if self._was_a_spike(i, value):
            return i
        if self.modulus > 0 and self._wrapped(i, value + self.modulus):
            self.offset += self.modulus
            self.wraps += 1
            return self._keep(i, value + self.modulus)
        return self._keep(i, value)

    def result(self) -> Mended:
        at = self.kept
        series = Series(
            tuple(self.counter.t_ns[i] for i in at), tuple(self.counter.read_ns[i] for i in at), tuple(self.value)
        )
        told = (
            (self.wraps, f"the counter wrapped at {self.modulus:g} {self.wraps} time(s), which was undone"),
            (self.stray, f"{self.stray} stray reading(s) off the counter's level were left out"),
            (self.wavers, f"{self.wavers} reading(s) a last digit below the one before were left out"),
        )
        whole = series if len(at) < len(self.counter.value) or self.wraps else self.counter
        return Mended(whole, frozenset(self.leap_ns), tuple(text for number, text in told if number))

    def _keep(self, i: int, value: float) -> int:
        if not self.value or value != self.value[-1]:
            self.changed_ns = self.counter.t_ns[i]
        self.kept.append(i)
        self.value.append(value)
        return i + 1

    def _risen(self, i: int, value: float) -> int:
        """Keeps a reading that did not fall; one that leapt is noted, for no pace around it explains the energy."""
        if self.kept:
            rise, span_ns = value - self.value[-1], self.counter.t_ns[i] - self.changed_ns
            odd = self.usual > 0 and rise > LEAP * self.usual * span_ns and rise > 5 * self.digit
            if odd and not self._pace(i).allows(rise / 10, span_ns, self.digit):
                self.leap_ns.add(self.counter.t_ns[i])
        return self._keep(i, value)

    def _returns(self, i: int) -> int | None:
        """The index at which the old level is back in one jump; None if it never is. A counter that was reset climbs
        past its old level too, but by small steps: by less than half of what it fell, if that was two steps or more."""
        last, fell = self.value[-1], self.value[-1] - self.counter.value[i] - self.offset
        for j in range(i + 1, min(i + AHEAD, len(self.counter.value))):
            value = self.counter.value[j] + self.offset
            if value < last:
                continue
            jumped = 2 * (self.counter.value[j] - self.counter.value[j - 1]) > fell
            span_ns = self.counter.t_ns[j] - self.changed_ns
            return j if jumped and self._pace(j).allows(value - last, span_ns, self.digit) else None
        return None

    def _was_a_spike(self, i: int, value: float) -> bool:
        """Whether the readings just kept stood above the counter's level, to which reading `i` is back; drops them."""
        last = len(self.value) - 1
        for before in range(last - 1, max(-1, last - AHEAD), -1):
            if self.value[before] > value:
                continue
            pace, since_ns = self._pace(i, before + 1), self.counter.t_ns[self.kept[before]]
            rise, rise_ns = (
                self.value[before + 1] - self.value[before],
                self.counter.t_ns[self.kept[before + 1]] - since_ns,
            )
            jumped = 2 * rise > self.value[-1] - value and not pace.allows(rise, rise_ns, self.digit)
            if not jumped or not pace.allows(value - self.value[before], self.counter.t_ns[i] - since_ns, self.digit):
                return False
            self.stray, self.changed_ns = self.stray + last - before, since_ns
            self.leap_ns -= {self.counter.t_ns[self.kept[k]] for k in range(before + 1, last + 1)}
            del self.kept[before + 1 :], self.value[before + 1 :]
            return True
        return False

    def _wrapped(self, i: int, unwrapped: float) -> bool:
        """Whether the counter went on at its pace, had it wrapped."""
        rise, span_ns = unwrapped - self.value[-1], self.counter.t_ns[i] - self.changed_ns
        return rise >= 0 and self._pace(i).allows(rise, span_ns, self.digit)

    def _pace(self, after: int, before: int | None = None) -> _Pace:
        """The pace over some changes up to kept reading `before` (the last one) and from reading `after` on."""
        until = len(self.kept) if before is None else before
        behind = [(-self.counter.t_ns[self.kept[k]], -self.value[k]) for k in range(until - 1, -1, -1)[:AHEAD]]
        ahead = [(self.counter.t_ns[k], self.counter.value[k]) for k in range(after, len(self.counter.t_ns))[:AHEAD]]
        paces = [*_changes(behind), *_changes(ahead)]
        return _Pace(max((max(rises) for rises, _ in paces), default=0.0), _fastest(paces))


def unsure_wraps(series: Series, modulus: float, start_ns: int, end_ns: int) -> Iterator[tuple[int, int, float]]:
    """(from, to, by how much it rose) of each span between two readings that touches [start_ns, end_ns] and in which
    a counter went on by more than half its modulus at the pace around it: it may have wrapped more often than seen."""
    points = list(zip(series.t_ns, series.value, strict=True))
    fastest = _fastest((([b - a], t1 - t0) for (t0, a), (t1, b) in pairwise(points)))
    for right in range(
        max(1, bisect_right(series.t_ns, start_ns)), min(bisect_left(series.t_ns, end_ns) + 1, len(points))
    ):
        (from_ns, before), (to_ns, after) = points[right - 1], points[right]
        if 2 * fastest * (to_ns - from_ns) <= modulus:
            continue
        behind = [(-t_ns, -value) for t_ns, value in points[max(0, right - AHEAD) : right][::-1]]
        pace = _fastest([*_changes(behind), *_changes(points[right : right + AHEAD])])
        if 2 * pace * (to_ns - from_ns) > modulus:
            yield from_ns, to_ns, after - before


def _fastest(paces: Iterable[tuple[list[float], int]]) -> float:
    """The highest mean rate per ns among rises and the time they took; 0 where there is none."""
    return max((fsum(rises) / span_ns for rises, span_ns in paces if span_ns > 0), default=0.0)


def _changes(points: Sequence[tuple[int, float]]) -> Iterator[tuple[list[float], int]]:
    """The first rises among `points` and the time in ns they took; nothing beyond a fall."""
    rises: list[float] = []
    start_ns = end_ns = points[0][0] if points else 0
    for (_, before), (t_ns, value) in pairwise(points):
        if value < before or len(rises) == AROUND:
            break
        if value > before:
            rises.append(value - before)
            end_ns = t_ns
    if rises:
        yield rises, end_ns - start_ns


def _usual_rate(counter: Series) -> float:
    """The median rate per ns at which the counter rose from one change to the next; 0 where it hardly did."""
    rates, changed = [], 0
    for i in range(1, len(counter.value)):
        rise, span_ns = counter.value[i] - counter.value[changed], counter.t_ns[i] - counter.t_ns[changed]
        if rise == 0:
            continue
        if rise > 0 and span_ns > 0:
            rates.append(rise / span_ns)
        changed = i
    return sorted(rates)[len(rates) // 2] if len(rates) > 2 * AROUND else 0.0
