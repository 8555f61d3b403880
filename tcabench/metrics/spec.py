"""What a metric file provides, and what it is given."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tcabench.records import Energy, NotMetered, Trace, Value, Window


@dataclass(frozen=True, slots=True)
class Measured:
    """All that a metric may look at. `energy` says why where nothing was metered."""

    traces: tuple[Trace, ...]
    window: Window
    energy: Energy | NotMetered


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """One metric. `compute` gives {"": value} for a single number, {"p50": ..., ...} for several."""

    name: str
    unit: str
    lower_is_better: bool
    compute: Callable[[Measured], Mapping[str, Value]]
