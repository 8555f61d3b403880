"""Least squares of what a meter showed against means of a reference: how much is left at a given lag."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum, sqrt

from tcabench.timeline.curve import Curve

MOST = 128  # readings: more make a fit slower, hardly better
ROUNDING = 1e-20  # of the squares of the readings: what is left of readings that are all the same


@dataclass(frozen=True, slots=True)
class Seen:
    """What a meter showed: values, each standing for the span [`from_s`, `to_s`] before any lag, in s since the
    reference's start. With `is_instant` the span is a point and the meter's averaging is to be found, too."""

    from_s: tuple[float, ...]
    to_s: tuple[float, ...]
    value: tuple[float, ...]
    is_instant: bool

    def part(self, start_s: float, end_s: float) -> "Seen":
        """The readings whose span ends in [start_s, end_s]."""
        keep = [i for i, t in enumerate(self.to_s) if start_s <= t <= end_s]
        from_s, to_s, value = (tuple(column[i] for i in keep) for column in (self.from_s, self.to_s, self.value))
        return Seen(from_s, to_s, value, self.is_instant)

    def thinned(self) -> "Seen":
        """Every second, third … reading, where there are more than a fit gains from."""
        every = -(-len(self.value) // MOST) or 1
        return Seen(self.from_s[::every], self.to_s[::every], self.value[::every], self.is_instant)


class Squares:
    """The readings, offset and drift taken out, and how much of them a shifted reference leaves."""

    def __init__(self, seen: Seen) -> None:
        n = len(seen.value)
        middle = [(a + b) / 2 for a, b in zip(seen.from_s, seen.to_s, strict=True)]
        mean_t, mean_v = fsum(middle) / n, fsum(seen.value) / n
        length = sqrt(fsum((t - mean_t) * (t - mean_t) for t in middle))
        self.seen, self.count = seen, n
        self.first_s, self.last_s = min(seen.from_s), max(seen.to_s)
        self.time = [(t - mean_t) / length for t in middle]
        slope = fsum(t * v for t, v in zip(self.time, seen.value, strict=True))
        self.value = [v - mean_v - slope * t for t, v in zip(self.time, seen.value, strict=True)]
        self.total = fsum(v * v for v in self.value)
        self.is_flat = self.total <= ROUNDING * fsum(v * v for v in seen.value)

    def left(self, curve: Curve, half_s: float, lag_s: float) -> float:
        """Sum of squares that the reference does not explain, meant over 2 * `half_s` more than each reading's span and
        shifted by `lag_s`: all of it where the reference does not reach."""
        if not self._is_within(curve, half_s, lag_s):
            return self.total
        across, along = self._products(self._means(curve, half_s, lag_s))
        return self.total if along <= 0 or across <= 0 else max(0.0, self.total - along * along / across)

    def residuals(self, curve: Curve, half_s: float, lag_s: float) -> list[float]:
        """What that leaves of each reading."""
        means = self._means(curve, half_s, lag_s)
        across, along = self._products(means)
        gain = along / across
        mean, slope = fsum(means) / self.count, fsum(m * t for m, t in zip(means, self.time, strict=True))
        return [v - gain * (m - mean - slope * t) for v, m, t in zip(self.value, means, self.time, strict=True)]

    def _is_within(self, curve: Curve, half_s: float, lag_s: float) -> bool:
        back_s = lag_s - curve.delay_s
        return self.first_s - back_s - half_s >= 0 and self.last_s - back_s + half_s < curve.length_s

    def _means(self, curve: Curve, half_s: float, lag_s: float) -> list[float]:
        """The reference's mean over each reading's span, shifted."""
        sums, per_s = curve.sums, 1 / curve.step_s
        down_s, up_s = curve.delay_s - lag_s - half_s, curve.delay_s - lag_s + half_s
        means = []
        for a, b in zip(self.seen.from_s, self.seen.to_s, strict=True):
            x, y = (a + down_s) * per_s, (b + up_s) * per_s
            i, j = int(x), int(y)
            energy = sums[j] + (y - j) * (sums[j + 1] - sums[j]) - sums[i] - (x - i) * (sums[i + 1] - sums[i])
            means.append(energy / (b - a + 2 * half_s))
        return means

    def _products(self, means: Sequence[float]) -> tuple[float, float]:
        """The reference's own sum of squares (offset and drift taken out), and its product with the readings."""
        mean = fsum(means) / self.count
        level = [m - mean for m in means]
        slope = fsum(m * t for m, t in zip(level, self.time, strict=True))
        across = fsum(m * m for m in level) - slope * slope
        return across, fsum(m * v for m, v in zip(level, self.value, strict=True))
