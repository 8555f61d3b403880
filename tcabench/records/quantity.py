"""A measured value with its interval, or why there is none."""

from dataclasses import dataclass


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


@dataclass(frozen=True, slots=True)
class NotMetered:
    """There is no number here, and why. Never 0.0, never a guess."""

    why: str


Value = Quantity | NotMetered
