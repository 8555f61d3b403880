"""Intervals for quotients and quantiles, with IEEE-exact arithmetic only."""

from collections.abc import Sequence
from math import ceil, floor, sqrt

from tcabench.records import NotMetered, Quantity, Value

Z2 = 1.96 * 1.96
QUANTILES = {"p50": 0.50, "p90": 0.90, "p99": 0.99}


def widen(q: Quantity, extra_rel: float | None) -> Quantity:
    """`q` with a further independent relative half-width (k = 2) added in quadrature, each side for itself. What
    could not be below 0 before is not below it after."""
    if extra_rel is None or q.value == 0:
        return q
    extra = abs(q.value) * extra_rel
    down, up = (sqrt(side * side + extra * extra) for side in (q.value - q.low, q.high - q.value))
    low = q.value - down
    return Quantity(q.value, max(0.0, low) if q.low >= 0 else low, q.value + up, q.unit)


def per(q: Quantity, count: float, unit: str) -> Quantity:
    """`q` / `count`, an exact positive count."""
    return Quantity(q.value / count, q.low / count, q.high / count, unit)


def wilson(share: float, n: int) -> tuple[float, float]:
    """(low, high) of Wilson's 95 % interval for a share (0 to 1) of `n` things, at least one; it holds the share.

    Source: Wilson, J. Am. Stat. Assoc. 22 (1927) 209, doi 10.1080/01621459.1927.10502953.
    """
    middle = (share + Z2 / (2 * n)) / (1 + Z2 / n)
    half = 1.96 * sqrt(share * (1 - share) / n + Z2 / (4 * n * n)) / (1 + Z2 / n)
    return min(share, max(0.0, middle - half)), max(share, min(1.0, middle + half))


def quantiles(sample_s: Sequence[float], what: str, slower: int = 0) -> dict[str, Value]:
    """p50, p90 and p99 in s, each with the 95 % interval from its order statistics (no shape assumed).

    Nearest-rank: the q-quantile is the ceil(q*n)-th smallest value; the interval's ranks are
    n*q -+ 1.96*sqrt(n*q*(1-q)), rounded outwards. Where the upper rank lies past the largest value, the sample is
    too small to bound that quantile from above (p99 takes 381 values), and the quantity is `open_above`. `slower`
    values are known only to lie above all others (requests given up on): a quantile among them is NotMetered.
    Source: David and Nagaraja, Order Statistics, 3rd ed., section 7.1.
    """
    ordered = sorted(sample_s)
    if not ordered:
        return {name: NotMetered(f"no {what} in the window") for name in QUANTILES}
    return {name: one_quantile(ordered, q, slower) for name, q in QUANTILES.items()}


def one_quantile(ordered: Sequence[float], q: float, slower: int) -> Value:
    """The q-quantile in s of an ordered sample that is not empty, and of `slower` more values above it."""
    known, n = len(ordered), len(ordered) + slower
    if ceil(q * n) > known:
        return NotMetered(f"it lies among the {slower} requests that were given up on before they were answered")
    half = 1.96 * sqrt(n * q * (1 - q))
    low, high = max(1, floor(n * q - half)), ceil(n * q + half)
    value = ordered[max(1, ceil(q * n)) - 1]
    return Quantity(value, ordered[min(low, known) - 1], ordered[min(high, known) - 1], "s", open_above=high > known)
