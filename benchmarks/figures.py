"""The figures of a benchmark: each is measured once a round; shown as a table, kept as JSON.

`results/NAME.json` is {"machine": {...}, "versions": {...}, "rounds": n, "ratios": {figure: {"median", "min", "max",
"goal", "unit"}}}. A unit ends in ", at least" or ", at most" where there is a goal; a figure without one has null.
"""

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

SIGNIFICANT = 5


class Measured(NamedTuple):
    """One value of a figure. `least`: the goal is a lower limit; else it is an upper one."""

    name: str
    value: float
    unit: str
    goal: float | None = None
    least: bool = False


def at_least(name: str, value: float, goal: float, unit: str) -> Measured:
    """A figure that should be no lower than its goal."""
    return Measured(name, value, unit, float(goal), True)


def at_most(name: str, value: float, goal: float, unit: str) -> Measured:
    """A figure that should be no higher than its goal."""
    return Measured(name, value, unit, float(goal))


def told(name: str, value: float, unit: str) -> Measured:
    """A figure without a goal."""
    return Measured(name, value, unit)


@dataclass
class Figures:
    """All that was measured, by the figure's name, in the order in which each came first."""

    measured: dict[str, list[Measured]] = field(default_factory=dict)
    began_s: float = field(default_factory=time.monotonic)
    load_before: float = field(default_factory=lambda: os.getloadavg()[0])

    def take(self, values: Iterable[Measured]) -> None:
        """One more value of each figure."""
        for one in values:
            self.measured.setdefault(one.name, []).append(one)

    def document(self, versions: Mapping[str, str], rounds: int) -> dict[str, Any]:
        """What is written."""
        ratios = {name: _row(values) for name, values in self.measured.items()}
        return {"machine": self._machine(), "versions": dict(versions), "rounds": rounds, "ratios": ratios}

    def write(self, path: Path, versions: Mapping[str, str], rounds: int) -> None:
        """Write the document, all of it or nothing."""
        text = json.dumps(self.document(versions, rounds), indent=1, ensure_ascii=False, allow_nan=False)
        part = path.with_name(f"{path.name}.part")
        part.write_text(f"{text}\n", "utf-8")
        part.replace(path)

    def show(self, title: str) -> None:
        """Print all of it as a table."""
        from rich.console import Console
        from rich.table import Table

        table = Table(title=title, title_justify="left")
        for heading in ("figure", "median", "min", "max", "goal", "unit", ""):
            table.add_column(heading, justify="left" if heading in ("figure", "unit") else "right")
        for name, values in self.measured.items():
            row, first = _row(values), values[0]
            goal = "" if first.goal is None else f"{'≥' if first.least else '≤'} {first.goal:g}"
            verdict = "" if first.goal is None else "met" if _is_met(first, row["median"]) else "[bold red]missed[/]"
            table.add_row(name, *(f"{row[key]:.4g}" for key in ("median", "min", "max")), goal, first.unit, verdict)
        Console(width=None if sys.stdout.isatty() else 160).print(table)

    def _machine(self) -> dict[str, Any]:
        import psutil

        memory_gib = round(psutil.virtual_memory().total / 2**30, 1)
        return {
            "processor": _processor(), "cores": os.cpu_count(), "memory_gib": memory_gib,
            "system": f"{platform.system()} {platform.release()}", "python": platform.python_version(),
            "load_before": round(self.load_before, 2), "load_after": round(os.getloadavg()[0], 2),
            "took_s": round(time.monotonic() - self.began_s),
        }  # fmt: skip


def _row(values: list[Measured]) -> dict[str, Any]:
    numbers, first = [one.value for one in values], values[0]
    limit = "" if first.goal is None else ", at least" if first.least else ", at most"
    shown = {"median": statistics.median(numbers), "min": min(numbers), "max": max(numbers)}
    rounded: dict[str, Any] = {key: float(f"{value:.{SIGNIFICANT}g}") for key, value in shown.items()}
    return rounded | {"goal": first.goal, "unit": first.unit + limit}


def _is_met(first: Measured, value: float) -> bool:
    if first.goal is None:
        return True
    return value >= first.goal if first.least else value <= first.goal


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
