"""The picture of an ablation: one waterfall for each figure, on a log axis, so that equal factors are equally high."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tcabench.ablation.summary import Cell, Figure, Summary
from tcabench.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

KINDS = (".svg", ".png")
WIDTH_IN, HEIGHT_IN, DPI = 8.6, 2.5, 160
BETTER, WORSE, WHOLE, LINE = "#2a7f62", "#b5493b", "#6b7684", "#9aa3ad"


def check_kind(file: Path) -> None:
    """raises: UsageError for a file name that no picture can have."""
    if file.suffix not in KINDS:
        raise UsageError(f"--plot {file}: the name must end in {' or '.join(KINDS)}", "plot")
    if not file.resolve().parent.is_dir():
        raise UsageError(f"--plot {file}: there is no such folder", "plot")


def draw(summary: Summary, title: str, file: Path) -> None:
    """Write the picture to `file`, SVG or PNG by its name. raises: UsageError where that cannot be."""
    figures = summary.figures()
    with _canvas(len(figures)) as (drawing, panels):
        drawing.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
        for figure, ax in zip(figures, panels, strict=True):
            _panel(ax, figure, summary)
        panels[-1].set_xticks(
            range(len(summary.rows)), [row.rung.name for row in summary.rows], rotation=25, ha="right"
        )
        try:
            drawing.savefig(file, dpi=DPI, metadata={"Date": None} if file.suffix == ".svg" else None)
        except OSError as err:
            raise UsageError(f"--plot {file} cannot be written: {err.strerror}", "plot") from err


@contextmanager
def _canvas(panels: int) -> Iterator[tuple["Drawing", list["Axes"]]]:
    """A figure with so many panels one below the other, whatever the user's own matplotlib settings are."""
    import matplotlib as mpl
    from matplotlib.figure import Figure as Drawing

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update({"svg.hashsalt": "ablation", "svg.fonttype": "none", "font.size": 8.5,
                             "axes.spines.top": False, "axes.spines.right": False})  # fmt: skip
        drawing = Drawing(figsize=(WIDTH_IN, 0.8 + HEIGHT_IN * panels), layout="constrained")
        yield drawing, list(drawing.subplots(panels, 1, sharex=True, squeeze=False)[:, 0])


def _panel(ax: "Axes", figure: Figure, summary: Summary) -> None:
    """From each rung's median to the next one's; the first and the last stand on the ground."""
    cells = [row.cells[figure.field] for row in summary.rows]
    values = [cell.median for cell in cells]
    ground, top = min(cell.least for cell in cells) / 1.6, max(cell.most for cell in cells) * 1.7
    is_ladder = bool(summary.rows[0].rung.without)
    for place, cell in enumerate(cells):
        start = ground if place == 0 else values[place - 1] if is_ladder else values[0]
        gain = cell.over_before if is_ladder else cell.over_first
        against = cells[place - 1] if is_ladder else cells[0]
        colour = WHOLE if place == 0 or _overlap(against, cell) else BETTER if gain > 1 else WORSE
        ax.bar(place, max(start, cell.median) - min(start, cell.median), bottom=min(start, cell.median), width=0.62,
               color=colour, zorder=2)  # fmt: skip
        ax.errorbar(place, cell.median, [[cell.median - cell.least], [cell.most - cell.median]], color="black",
                    linewidth=0.9, capsize=2.5, zorder=3)  # fmt: skip
        if place and is_ladder:
            ax.plot([place - 1, place], [start, start], color=LINE, linewidth=0.8, zorder=1)
        words = f"{cell.median:.3g}" if place == 0 else f"{cell.median:.3g}\nx {gain:.2f}"
        ax.annotate(words, (place, max(start, cell.most)), (0, 3), textcoords="offset points", ha="center", va="bottom",
                    fontsize=7.5)  # fmt: skip
    ax.set(yscale="log", ylim=(ground, top * 1.25))
    better = "more is better" if figure.more_is_better else "less is better"
    ax.set_title(f"{figure.title}, {figure.unit} ({better})", loc="left", fontsize=8.5)
    ax.grid(axis="y", color="#e3e6ea", linewidth=0.6, zorder=0)


def _overlap(a: Cell, b: Cell) -> bool:
    """Whether the rounds leave open which of the two is better: such a bar is grey."""
    return a.least <= b.most and b.least <= a.most
