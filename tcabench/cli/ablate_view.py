"""What a person sees of an ablation: how far it is, then one table for each figure."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from tcabench.cli.live import Watch
from tcabench.cli.show import console
from tcabench.errors import UsageError

if TYPE_CHECKING:
    from tcabench.ablation.ladder import Rung
    from tcabench.ablation.summary import Figure, Summary
    from tcabench.plan import RunOptions

Step = Callable[[int, "Rung"], Watch]


@contextmanager
def climbing(rungs: int, rounds: int, quiet: bool) -> Iterator[Step]:
    """A function to call before each run; it shows on stderr how far the ablation is: a bar on a terminal, a line for
    each run elsewhere, nothing when `quiet`."""
    columns = (
        TextColumn("{task.description:<42}"), BarColumn(bar_width=None), MofNCompleteColumn(), TimeElapsedColumn(),
        TimeRemainingColumn(compact=True),
    )  # fmt: skip
    is_live = sys.stderr.isatty() and not quiet
    with Progress(*columns, console=Console(stderr=True), disable=not is_live, transient=True) as progress:
        task = progress.add_task("starting", total=rungs * rounds)
        begun = [0]

        def step(number: int, rung: "Rung") -> Watch:
            name = f"round {number + 1} of {rounds}: {rung.name}"
            progress.update(task, completed=begun[0], description=name)
            begun[0] += 1
            if not is_live and not quiet:
                print(f"[{begun[0]}/{rungs * rounds}] {name}", file=sys.stderr, flush=True)
            return _watch(progress, task, name)

        yield step


def _watch(progress: Progress, task: Any, name: str) -> Watch:
    """A watch that shows the phase of the run under way."""

    def take(kind: str, what: Any) -> None:
        if kind == "phase":
            progress.update(task, description=f"{name}, {what[0]}")

    return take


def show_summary(summary: "Summary") -> None:
    """One table for each figure, and what the energy rests on."""
    from tcabench.ablation.summary import FIGURES

    out = console()
    for figure in FIGURES:
        if figure in summary.figures():
            out.print(_table(figure, summary))
            continue
        whys = {sample.why for row in summary.rows for sample in row.samples if sample.why}
        out.print(f"{figure.title}: not metered: {'; '.join(sorted(whys))}", style="yellow", markup=False)
    out.print(f"Evidence grade of the energies: {', '.join(summary.grades)}")
    if "E0" in summary.grades:
        out.print("E0: energy is an estimate from a stated power model, not a measurement.", style="yellow")


def _table(figure: "Figure", summary: "Summary") -> Table:
    is_ladder = bool(summary.rows[0].rung.without)
    table = Table(title=f"{figure.title}, {figure.unit}", title_justify="left")
    table.add_column("levers")
    for heading in ("median", "least … most", *(("x before", "x first") if is_ladder else ("x everything on",))):
        table.add_column(heading, justify="right")
    for place, row in enumerate(summary.rows):
        cell = row.cells[figure.field]
        factors = (cell.over_before, cell.over_first) if is_ladder else (cell.over_first,)
        shown = ["" if place == 0 else f"{factor:.2f}" for factor in factors]
        table.add_row(row.rung.name, f"{cell.median:.4g}", f"{cell.least:.4g} … {cell.most:.4g}", *shown)
    return table


def write_summary(file: Path, summary: "Summary", options: "RunOptions", rounds: int) -> None:
    """All of it as JSON. raises: UsageError where it cannot be written."""
    from tcabench import __version__

    head = {
        "tool_version": __version__, "workload": options.workload, "model": options.model or "default",
        "concurrency": options.concurrency, "measure_s": options.measure_s, "rounds": rounds,
    }  # fmt: skip
    try:
        file.write_text(json.dumps(head | summary.document(), indent=1, ensure_ascii=False) + "\n", "utf-8")
    except OSError as err:
        raise UsageError(f"--json {file} cannot be written: {err.strerror}", "json") from err
