"""How late a meter shows the load marker: its readings against means of a reference, shifted until they fit best.

Least squares of reading = offset + drift * t + gain * mean of the reference around (t - lag), over the lag and over
how the meter averages: a plain mean over some span, or a first-order filter. What fits no worse than chance would
have it bounds the lag (profile of the residual, JCGM 100, G.3 for the factor at few readings).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import fsum, sqrt

from tcabench.records import NotMetered
from tcabench.timeline.curve import Curve, smoothed
from tcabench.timeline.squares import Seen, Squares

FEWEST = 8
LEAST_R2 = 0.5  # the marker explains at least half of what the readings do
RIVAL, NOTHING_LEFT = 1.5, 0.01  # another lag leaves at least so many times the squared residual, and something
REACH_S = 32.0
FITTED = 5  # offset, drift, gain, lag, averaging
FINEST_S = 0.001
COARSE_S = 0.5
DOUBLE, NEAREST = 2.0, 1.02  # steps through the averaging times: coarse, fine
MEANS_S, FILTERS_S = (0.04, 16.0), (0.2, 8.0)
MOST_CORRELATED = 0.9
Averaging = Callable[[Curve, float], tuple[Curve, float]]
FLAT = "the readings do not follow the load marker: a flat load shows no delay"


@dataclass(frozen=True, slots=True)
class Sought:
    """Where to look: the marker lies in [`start_s`, `end_s`] since the curve's start, its parts are about `chip_s`
    long, the lag is within [`least_s`, `most_s`], the meter averages over something like `mean_s`. The reference's
    own edges are known to `grain_s` (k = 2) on the whole.

    The reference has to reach `REACH_S` further than the marker and any lag, on both sides."""

    start_s: float
    end_s: float
    chip_s: float
    least_s: float
    most_s: float
    mean_s: float
    grain_s: float


@dataclass(frozen=True, slots=True)
class Fit:
    """The readings lag behind the reference by `lag_s`, known to +-`error_s` (k = 2); `residual_rel` is the spread
    that is left, of the swing; `r2` the share of their variance that is explained; `how` the averaging that fits, over
    `width_s` (0: of a counter, which does not average)."""

    lag_s: float
    error_s: float
    residual_rel: float
    r2: float
    how: str
    width_s: float = 0.0


@dataclass(frozen=True, slots=True)
class _Trial:
    """One way of averaging, and the lag at which it fits best."""

    curve: Curve
    half_s: float
    lag_s: float
    squares: float

    @property
    def width_s(self) -> float:
        """The averaging time: of the filter, or of the plain mean."""
        return self.curve.delay_s or 2 * self.half_s

    def how(self) -> str:
        """The averaging in words."""
        kind = "first-order filter of" if self.curve.delay_s else "mean over"
        return f"{kind} {self.width_s:.2f} s"


def fit(seen: Seen, curve: Curve, sought: Sought) -> Fit | NotMetered:
    """The lag of `seen` behind the reference `curve`, or why it cannot be told."""
    found = look(seen, curve, sought)
    if isinstance(found, NotMetered):
        return found
    ours = seen.part(sought.start_s + found - sought.chip_s, sought.end_s + found).thinned()
    if len(ours.value) < FEWEST:
        return _too_few(len(ours.value))
    squares = Squares(ours)
    trials = _trials(squares, curve, found)
    best = min(trials, key=lambda trial: trial.squares)
    if squares.is_flat or best.squares > (1 - LEAST_R2) * squares.total:
        return NotMetered(FLAT)
    if not sought.least_s < best.lag_s < sought.most_s:
        return NotMetered(f"the best fit lies at the end of the range, {best.lag_s:.2f} s: no delay was found")
    return _judged(squares, trials, best, sought.grain_s)


def look(seen: Seen, curve: Curve, sought: Sought) -> float | NotMetered:
    """Roughly the lag in s, if there is one and only one that fits."""
    seen = seen.part(sought.start_s - sought.chip_s, sought.end_s + sought.chip_s).thinned()
    if len(seen.value) < FEWEST:
        return _too_few(len(seen.value))
    squares, half_s = Squares(seen), max(curve.step_s, sought.mean_s / 2) if seen.is_instant else 0.0
    steps = round((sought.most_s - sought.least_s) / COARSE_S)
    lags = [sought.least_s + step * COARSE_S for step in range(steps + 1)]
    left = [squares.left(curve, half_s, lag) for lag in lags]
    at = min(range(len(lags)), key=left.__getitem__)
    if squares.is_flat or left[at] >= (1 - LEAST_R2 / 2) * squares.total:
        return NotMetered(FLAT)
    rivals = [one for one, lag in zip(left, lags, strict=True) if abs(lag - lags[at]) > sought.chip_s]
    if rivals and min(rivals) <= max(RIVAL * left[at], NOTHING_LEFT * squares.total):
        return NotMetered("two delays fit the load marker about as well: none is taken")
    return lags[at]


def _trials(squares: Squares, curve: Curve, lag_s: float) -> list[_Trial]:
    """Every way of averaging that was tried, each at its best lag: coarsely at first, then finely about the best."""
    if not squares.seen.is_instant:
        return [_settled(squares, curve, 0.0, lag_s, COARSE_S / 2)]
    trials: list[_Trial] = []
    for averaged, (shortest_s, longest_s) in ((_mean, MEANS_S), (_filter, FILTERS_S)):
        coarse, width_s = [], shortest_s
        while width_s < longest_s:
            coarse.append(_settled(squares, *averaged(curve, width_s), lag_s, COARSE_S / 2))
            width_s *= DOUBLE
        trials += coarse
        if min(one.squares for one in coarse) <= RIVAL * min(one.squares for one in trials):
            trials += _narrowed(squares, curve, averaged, min(coarse, key=lambda one: one.squares))
    return trials


def _narrowed(squares: Squares, curve: Curve, averaged: Averaging, best: _Trial) -> list[_Trial]:
    """Averaging times on both sides of the best one, nearer and nearer."""
    found, ratio = [], sqrt(DOUBLE)
    while ratio > NEAREST:
        widths_s = (best.width_s / ratio, best.width_s * ratio)
        sides = [_settled(squares, *averaged(curve, width_s), best.lag_s, COARSE_S / 8) for width_s in widths_s]
        found += sides
        nearer = min(sides, key=lambda one: one.squares)
        if nearer.squares < best.squares:
            best = nearer
        else:
            ratio = sqrt(ratio)
    return found


def _mean(curve: Curve, width_s: float) -> tuple[Curve, float]:
    """A plain mean over `width_s`: (reference, half of the span it is to be meant over)."""
    return curve, max(width_s / 2, curve.step_s)


def _filter(curve: Curve, width_s: float) -> tuple[Curve, float]:
    """A first-order filter with that time constant."""
    return smoothed(curve, width_s), curve.step_s


def _settled(squares: Squares, curve: Curve, half_s: float, lag_s: float, step: float) -> _Trial:
    """The lag near `lag_s` at which this averaging fits best: downhill to where both sides are higher, on to the
    lowest point of the parabola through the three, and again with a quarter of the step."""
    here = squares.left(curve, half_s, lag_s)
    while step > FINEST_S / 2:
        left, right = (squares.left(curve, half_s, lag_s + way) for way in (-step, step))
        if min(left, right) < here:
            here, lag_s = (left, lag_s - step) if left < right else (right, lag_s + step)
            continue
        bend = left - 2 * here + right
        bottom_s = lag_s + step / 2 * (left - right) / bend if bend > 0 else lag_s
        lowest = squares.left(curve, half_s, bottom_s)
        here, lag_s = min((here, lag_s), (lowest, bottom_s))
        step /= 4
    return _Trial(curve, half_s, lag_s, here)


def _judged(squares: Squares, trials: Sequence[_Trial], best: _Trial, grain_s: float) -> Fit:
    """The best fit with its error: every lag, under every averaging, that chance could have made the best."""
    free = max(1, squares.count - FITTED)
    left = squares.residuals(best.curve, best.half_s, best.lag_s)
    factor = 2 + 3 / free
    limit = best.squares + best.squares / free * factor * factor * _inflation(left)
    fitting = [trial for trial in trials if trial.squares <= limit]
    ends = [_crossing(squares, trial, way, limit) for trial in fitting for way in (-1.0, 1.0)]
    chance_s = max(abs(end - best.lag_s) for end in ends) + FINEST_S
    fitted = [v - r for v, r in zip(squares.value, left, strict=True)]
    return Fit(
        lag_s=best.lag_s,
        error_s=sqrt(chance_s * chance_s + grain_s * grain_s),
        residual_rel=sqrt(best.squares / free) / (max(fitted) - min(fitted)),
        r2=1 - best.squares / squares.total,
        how=best.how() if squares.seen.is_instant else "counter",
        width_s=best.width_s if squares.seen.is_instant else 0.0,
    )


def _crossing(squares: Squares, trial: _Trial, way: float, limit: float) -> float:
    """The lag on one side at which an averaging no longer fits."""
    inside, step = trial.lag_s, 2 * FINEST_S
    while squares.left(trial.curve, trial.half_s, inside + way * step) <= limit and step < COARSE_S * 8:
        inside, step = inside + way * step, 2 * step
    while step > FINEST_S / 2:
        step /= 2
        if squares.left(trial.curve, trial.half_s, inside + way * step) <= limit:
            inside += way * step
    return inside


def _inflation(left: Sequence[float]) -> float:
    """By how much neighbouring residuals that go together make the readings fewer than they look."""
    total = fsum(r * r for r in left)
    if total <= 0:
        return 1.0
    together = fsum(a * b for a, b in pairwise(left)) / total
    together = min(MOST_CORRELATED, max(0.0, together))
    return (1 + together) / (1 - together)


def _too_few(number: int) -> NotMetered:
    return NotMetered(f"{number} readings while the load marker ran are too few: {FEWEST} are needed")
