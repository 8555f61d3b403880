"""Medians, spread and factors of an ablation. Pure: plain values in, plain values out."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tcabench.ablation.ladder import Rung
from tcabench.ablation.measure import Sample


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of an ablation: the field of `Sample`, its name and unit, and which way is better."""

    field: str
    title: str
    unit: str
    more_is_better: bool

    def gain(self, before: float, after: float) -> float:
        """How many times as good `after` is."""
        return after / before if self.more_is_better else before / after


SPEED = Figure("tokens_per_s", "output tokens per second", "token/s", True)
CPU = Figure("cpu_s_per_token", "processor time per output token", "CPU s/token", False)
ENERGY = Figure("j_per_token", "energy per output token", "J/token", False)
FIGURES = (SPEED, CPU, ENERGY)


@dataclass(frozen=True, slots=True)
class Cell:
    """One figure at one rung: median and range over the rounds; how many times as good as at the rung before and as at
    the first one, each the median of the rounds' own ratios (1 at the first rung)."""

    median: float
    least: float
    most: float
    over_before: float
    over_first: float


@dataclass(frozen=True, slots=True)
class Row:
    """One rung with its runs and its cells, by the figure's field; energy is missing where it was not metered."""

    rung: Rung
    samples: tuple[Sample, ...]
    cells: Mapping[str, Cell]


@dataclass(frozen=True, slots=True)
class Summary:
    """All rungs; `grades`: the evidence grades of all runs."""

    rows: tuple[Row, ...]
    grades: tuple[str, ...]

    def figures(self) -> tuple[Figure, ...]:
        """The figures that every rung has."""
        return tuple(f for f in FIGURES if all(f.field in row.cells for row in self.rows))

    def document(self) -> dict[str, Any]:
        """What is written as JSON."""
        rows = [
            {
                "rung": row.rung.name,
                "without": list(row.rung.without),
                **{name: asdict(cell) for name, cell in row.cells.items()},
                "runs": [asdict(sample) for sample in row.samples],
            }
            for row in self.rows
        ]
        return {"grades": list(self.grades), "units": {f.field: f.unit for f in FIGURES}, "rungs": rows}


def summarise(runs: Iterable[tuple[Rung, Sample]]) -> Summary:
    """The rungs in the order in which each came first; every rung has the same number of runs."""
    of: dict[Rung, list[Sample]] = {}
    for rung, one in runs:
        of.setdefault(rung, []).append(one)
    groups = list(of.values())
    rows = []
    for place, (rung, samples) in enumerate(of.items()):
        cells = {f.field: _cell(f, groups[0], groups[max(0, place - 1)], samples) for f in FIGURES if _has(f, groups)}
        rows.append(Row(rung, tuple(samples), cells))
    return Summary(tuple(rows), tuple(sorted({one.grade for group in groups for one in group})))


def _has(figure: Figure, groups: Sequence[Sequence[Sample]]) -> bool:
    return all(getattr(one, figure.field) is not None for group in groups for one in group)


def _cell(figure: Figure, first: Sequence[Sample], before: Sequence[Sample], here: Sequence[Sample]) -> Cell:
    first_v, before_v, values = ([getattr(one, figure.field) for one in group] for group in (first, before, here))
    step = [figure.gain(a, b) for a, b in zip(before_v, values, strict=True)]
    whole = [figure.gain(a, b) for a, b in zip(first_v, values, strict=True)]
    return Cell(statistics.median(values), min(values), max(values), statistics.median(step), statistics.median(whole))
