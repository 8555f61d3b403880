"""Four pictures in one file: which neurons a batch needs, when leaving them out pays, and quality by budget:
`python benchmarks/sparsity_picture.py` draws results/sparsity.svg from what is there of the parts' results.
"""

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HERE = Path(__file__).parent
PICTURE = HERE / "results" / "sparsity.svg"
ONCE = ("gates",)  # measured once: greedy answers are the same in every round
PANEL_IN = (4.4, 3.3)
BLUE, GREEN, RED, GREY = "#2c5f8a", "#2a7f62", "#b5493b", "#6b7684"
Row = Mapping[str, Any]
Rows = Mapping[str, Row]


def main() -> int:
    """Draw; 0."""
    draw(PICTURE)
    print(f"drawn to {PICTURE}")
    return 0


def result_of(part: str) -> Path:
    """Where the figures of a part are kept; `results/` is for what has rounds."""
    return (HERE if part in ONCE else HERE / "results") / f"sparsity_{part}.json"


def draw(picture: Path) -> None:
    """The panels whose results are there."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    twins, pages, gates = (_ratios(result_of(part)) for part in ("twins", "pages", "gates"))
    panels = [each for each in ((_union, twins), (_break_even, twins), (_gates, gates), (_pages, pages)) if each[1]]
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update({"svg.hashsalt": "sparsity", "svg.fonttype": "none", "font.size": 8.5,
                             "axes.spines.top": False,
                             "axes.spines.right": False, "legend.frameon": False})  # fmt: skip
        drawing = Figure(figsize=(PANEL_IN[0] * len(panels), PANEL_IN[1]), layout="constrained")
        for ax, (panel, rows) in zip(drawing.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            panel(ax, rows)
            ax.grid(color="#e3e6ea", linewidth=0.6, zorder=0)
        drawing.savefig(picture, metadata={"Date": None})


def _ratios(file: Path) -> Rows:
    return dict(json.loads(file.read_text("utf-8"))["ratios"]) if file.exists() else {}


def _found(rows: Rows, pattern: str) -> list[tuple[float, Row]]:
    """The rows whose whole name matches, by the number in its first group."""
    found = ((re.fullmatch(pattern, name), row) for name, row in rows.items())
    return sorted(((float(match[1]), row) for match, row in found if match), key=lambda each: each[0])


def _line(ax: "Axes", points: list[tuple[float, Row]], label: str, colour: str, style: str = "o-") -> None:
    """Medians, with bars from the least to the most of the rounds."""
    x = [at for at, _ in points]
    y = [row["median"] for _, row in points]
    low, high = ([abs(row[end] - row["median"]) for _, row in points] for end in ("min", "max"))
    ax.errorbar(x, y, [low, high], fmt=style, color=colour, label=label, markersize=4, linewidth=1.2, capsize=2)


def _union(ax: "Axes", rows: Rows) -> None:
    for words, label, colour in (("multiplied for a row", "multiplied for a row", GREEN),
                                 ("read in a step", "read for the whole batch (union)", BLUE)):  # fmt: skip
        _line(ax, _found(rows, rf"ReLU model, batch (\d+): neurons {words}"), label, colour)
    ax.set(xscale="log", xlabel="batch", ylabel="share of the neurons", ylim=(0, 1))
    ax.set_xticks([1, 2, 4, 8, 16], ["1", "2", "4", "8", "16"])
    ax.set_title("ReLU-gated model: the union grows with the batch", loc="left")
    ax.legend(loc="upper left")


def _break_even(ax: "Axes", rows: Rows) -> None:
    for batch, colour in ((1, GREEN), (4, BLUE), (16, RED)):
        density = dict(_found(rows, rf"gates cut at ([\d.e-]+), batch {batch}: neurons read in a step"))
        speed = dict(_found(rows, rf"gates cut at ([\d.e-]+), batch {batch}: over all neurons"))
        points = sorted(((density[at]["median"], speed[at]) for at in density), key=lambda each: each[0])
        _line(ax, points, f"batch {batch}", colour)
    ax.axhline(1, color=GREY, linewidth=0.9, linestyle="--")
    ax.set(xlabel="share of the neurons read in a step", ylabel="x speed of reading all", xlim=(0, 1.02))
    ax.set_title("When leaving neurons out pays (float32, whole steps)", loc="left")
    ax.legend(loc="upper right")


def _pages(ax: "Axes", rows: Rows) -> None:
    contexts = sorted({int(match[1]) for name in rows if (match := re.search(r" of (\d+): log-perplexity$", name))})
    for context, colour in zip(contexts, (BLUE, GREEN), strict=False):
        ends = [_found(rows, rf"budget (\d+) of {context}: log-perplexity{end}") for end in ("", ", low", ", high")]
        x = [at for at, _ in ends[0]]
        middle, low, high = ([row["median"] * 100 for _, row in each] for each in ends)
        bars = [[m - n for m, n in zip(middle, low, strict=True)], [n - m for m, n in zip(middle, high, strict=True)]]
        ax.errorbar(x, middle, bars, fmt="o-", color=colour, label=f"context {context}", markersize=4, capsize=2)
    ax.axhspan(-1, 1, color=GREY, alpha=0.15, linewidth=0)
    ax.axhline(0, color=GREY, linewidth=0.9)
    ax.set(xscale="log", xlabel="tokens attended to at most", ylabel="log-perplexity, % more (90 %)")
    ax.set_xticks([256, 512, 1024, 2048, 4096], ["256", "512", "1k", "2k", "4k"])
    ax.minorticks_off()
    ax.set_title("Page budget: quality (grey: EQUIVALENT at 1 %)", loc="left")
    ax.legend(loc="upper right")


def _gates(ax: "Axes", rows: Rows) -> None:
    _line(ax, _found(rows, r"gates ([\d.]+) on chat: log-perplexity"), "log-perplexity, nat/token more", RED)
    _line(ax, _found(rows, r"gates ([\d.]+) on chat: same answers"), "answers that stay the same", BLUE)
    _line(ax, _found(rows, r"gates ([\d.]+) on graded: right"), "graded answers right", GREEN)
    ax.set(xlabel="share of the neurons left out", ylim=(0, None))
    ax.legend(loc="upper left")
    ax.set_title("Gate thresholds on the default model (SiLU)", loc="left")


if __name__ == "__main__":
    sys.exit(main())
