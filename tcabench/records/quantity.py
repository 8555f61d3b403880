"""A measured value with its interval, or why there is none."""

from dataclasses import dataclass
from math import sqrt

Z = 1.96  # of the normal distribution, two-sided 95 %
Z2 = Z * Z


def wilson(share: float, n: int) -> tuple[float, float]:
    """(low, high) of Wilson's 95 % interval for a share (0 to 1) of `n` things, at least one; it holds the share.

    Source: Wilson, J. Am. Stat. Assoc. 22 (1927) 209, doi 10.1080/01621459.1927.10502953.
    """
    middle = (share + Z2 / (2 * n)) / (1 + Z2 / n)
    half = Z * sqrt(share * (1 - share) / n + Z2 / (4 * n * n)) / (1 + Z2 / n)
    return min(share, max(0.0, middle - half)), max(share, min(1.0, middle + half))


@dataclass(frozen=True, slots=True)
class Quantity:
    """A measured value in `unit` with its expanded interval [low, high] (k = 2, about 95 %).

    The interval may be lopsided: an estimate that is good to a factor of 3 spans value/3 to 3*value. With
    `open_above` the sample was too small to bound the value from above: `high` is then just the largest seen.
    """

    value: float
    low: float
    high: float
    unit: str
    open_above: bool = False

    @classmethod
    def exact(cls, value: float, unit: str) -> "Quantity":
        """A count or a setting: no uncertainty of its own."""
        return cls(value, value, value, unit)

    @classmethod
    def share(cls, hits: int, of: int) -> "Quantity":
        """hits / of, unit 1, with Wilson's 95 % interval; `of` is at least 1."""
        return cls(hits / of, *wilson(hits / of, of), "1")


@dataclass(frozen=True, slots=True)
class NotMetered:
    """There is no number here, and why. Never 0.0, never a guess."""

    why: str


Value = Quantity | NotMetered
