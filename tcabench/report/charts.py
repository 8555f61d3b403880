"""The page's charts. Each takes plain values and gives back one inline `<svg>`; the same values, the same bytes."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import ceil, floor, log10
from typing import TYPE_CHECKING, Any

from tcabench.report.numbers import THIN, human, rounded
from tcabench.report.series import Ecdf, Envelope
from tcabench.report.svg import COLOUR, drawable, drawing, inline

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDE_IN = 7.4
SERIES = ("series-1", "series-2", "series-3", "series-4")
LINES = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (4, 1.5, 1, 1.5)))
MOST_SERIES = 8
SHORTEST_S = 1e-6  # a log axis has no zero; two events at one instant are drawn here


def log_ticks(low: float, high: float, most: int = 8) -> list[float]:
    """Round values on a log axis from `low` to `high`, at most `most`: the finest of four sets that has few enough,
    and where the axis is too short for any of them, every so many of the finest."""
    decades = range(floor(log10(low)) - 1, ceil(log10(high)) + 1)
    choices = [
        [m * 10.0**k for k in decades for m in ms]
        for ms in (range(10, 100), (10, 12, 15, 20, 30, 50, 70), (10, 20, 50))
    ]
    for fine in choices:
        inside = [t / 10 for t in fine if low <= t / 10 <= high]
        if 2 <= len(inside) <= most:
            return inside
    coarse = [10.0**k for k in decades if low <= 10.0**k <= high]
    rest = coarse if len(coarse) > 1 else [t / 10 for t in choices[0] if low <= t / 10 <= high]
    return rest[:: max(1, ceil(len(rest) / most))]


def log_axis(ax: "Axes", low: float, high: float, unit: str, most: int = 8) -> None:
    """A log x axis over [low, high] with ticks in words."""
    ax.set_xscale("log")
    ax.set_xlim(low, high)
    edge = (high / low) ** 0.07  # a label in the outermost 7 % of the axis would be cut
    ticks = log_ticks(low * edge**0.5, high / edge, most)
    ax.set_xticks(ticks, [human(f"{t:.2g}", unit, 2) for t in ticks])
    ax.set_xticks([], minor=True)
    ax.grid(axis="x")


def power_chart(
    series: Sequence[Envelope],
    phases: Sequence[Mapping[str, Any]],
    idle_w: float | None,
    mean_w: float | None,
    desc: str,
) -> str:
    """Power in W over time in s, the phases shaded, stretches without readings hatched and the lines broken there."""
    with drawing(WIDE_IN, 2.9) as figure:
        ax = figure.add_axes((0.075, 0.15, 0.915, 0.735))
        start, end = time_span(series, phases)
        ax.set_xlim(start, end)
        shade(ax, phases, end - start)
        for i, line in enumerate(series[:MOST_SERIES]):
            draw_envelope(ax, line, i)
        reference_lines(ax, phases, idle_w, mean_w)
        ax.set_ylim(0, 1.12 * max([w for s in series for w in s.high_w] + [mean_w or 0.0, idle_w or 0.0, 1e-9]))
        ax.set_xlabel("seconds since the first request")
        ax.set_ylabel("power (W)")
        ax.grid(axis="y")
        if len(series) > 1:
            ax.legend(loc="lower right", frameon=False, ncols=min(4, len(series)))
        return inline(figure, "power", "Power over time", desc)


def time_span(series: Sequence[Envelope], phases: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    edges = [t for s in series for t in (*s.t_s[:1], *s.t_s[-1:])]
    edges += [p[name] for p in phases for name in ("start_s", "end_s")]
    start, end = min(edges, default=0.0), max(edges, default=1.0)
    return (start, end) if end > start else (start, start + 1)


def shade(ax: "Axes", phases: Sequence[Mapping[str, Any]], span_s: float) -> None:
    """Phase bands, with the phase's name above each band that is wide enough for it."""
    for phase in phases:
        start, end = phase["start_s"], phase["end_s"]
        ax.axvspan(start, end, color=COLOUR[f"phase-{phase['key']}"], linewidth=0, zorder=0)
        ax.axvline(start, color=COLOUR["muted"], linewidth=0.5, zorder=1)
        if (end - start) / span_s > 0.014 * len(phase["name"]):
            ax.text(
                (start + end) / 2, 1.02, phase["name"], transform=ax.get_xaxis_transform(), ha="center", va="bottom"
            )


def draw_envelope(ax: "Axes", line: Envelope, index: int) -> None:
    """The mean as a line, the span of readings behind it, and hatched gaps."""
    colour, style = COLOUR[SERIES[index % 4]], LINES[index // 4 % 4] if index >= 4 else LINES[index % 4]
    starts = [0, *line.breaks, len(line.t_s)]
    for n, (a, b) in enumerate(pairwise(starts)):
        marker = "o" if b - a == 1 else None
        ax.fill_between(line.t_s[a:b], line.low_w[a:b], line.high_w[a:b], color=colour, alpha=0.25, linewidth=0)
        name = drawable(line.label, 24) + (" (estimate)" if line.is_estimate else "") if n == 0 else None
        ax.plot(
            line.t_s[a:b], line.mean_w[a:b], color=colour, linestyle=style, linewidth=1.2, marker=marker,
            markersize=2, label=name,
        )  # fmt: skip
    for gap in line.gaps:
        ax.axvspan(
            gap.start_s, gap.end_s, facecolor="none", edgecolor=COLOUR["gap"], hatch="////", linewidth=0, zorder=1
        )


def reference_lines(
    ax: "Axes", phases: Sequence[Mapping[str, Any]], idle_w: float | None, mean_w: float | None
) -> None:
    """The run's idle and mean power, each over the phase it was taken from."""
    for key, value, style in (("idle", idle_w, (0, (1, 1.5))), ("window", mean_w, (0, (6, 2)))):
        for phase in phases:
            if value is not None and phase["key"] == key:
                ax.hlines(value, phase["start_s"], phase["end_s"], color=COLOUR["ink"], linestyle=style, linewidth=0.9)


def standing_chart(rows: Sequence[Mapping[str, Any]], desc: str) -> str:
    """Dots on a log axis of J/token: public results, this one with its interval, and 15,000 tokens/kWh as a line.

    A row: {"name", "j", "boundary", "here"} and, for this result, "low" and "high".
    """
    height = 0.75 + 0.18 * len(rows)
    with drawing(WIDE_IN, height) as figure:
        ax = figure.add_axes((0.44, 0.46 / height, 0.54, (height - 0.72) / height))
        values = [v for r in rows for v in (r["j"], r.get("low"), r.get("high")) if v and v > 0] + [240.0]
        log_axis(ax, min(values) / 1.6, max(values) * 1.6, "", 7)
        ax.set_ylim(len(rows) - 0.4, -0.6)
        ax.axvline(240.0, color=COLOUR["limit"], linewidth=1.2, linestyle=(0, (4, 2)))
        ax.text(240.0, 1.01, f"15{THIN}000 tokens/kWh", transform=ax.get_xaxis_transform(), ha="right", va="bottom")
        for y, row in enumerate(rows):
            standing_dot(ax, y, row)
        ax.set_yticks(range(len(rows)), [drawable(str(r["name"]), 52) for r in rows], fontsize=7.5)
        for tick, row in zip(ax.get_yticklabels(), rows, strict=True):
            tick.set_fontweight("bold" if row["here"] else "normal")
        ax.spines["left"].set_visible(False)
        ax.set_xlabel("joules per output token (log scale; left is better)")
        return inline(figure, "standing-chart", "This result among dated public results", desc)


def standing_dot(ax: "Axes", y: int, row: Mapping[str, Any]) -> None:
    if not row["here"]:
        ax.plot(
            [row["j"]],
            [y],
            marker="s" if row["boundary"] == "wall" else "o",
            markersize=4.2,
            color=COLOUR["series-1"],
            linestyle="none",
        )
        return
    low, high = row.get("low"), row.get("high")
    if low and high and high > low > 0:
        ax.hlines(y, low, high, color=COLOUR["here"], linewidth=2.2)
    face = COLOUR["paper"] if row.get("estimate") else COLOUR["here"]
    ax.plot(
        [row["j"]], [y], marker="D", markersize=6, color=COLOUR["here"], markerfacecolor=face, markeredgewidth=1.5,
        linestyle="none",
    )  # fmt: skip


def budget_chart(rows: Sequence[Mapping[str, Any]], desc: str) -> str:
    """Bars to the left (down) and right (up) in percent for every component. A row: {"name", "down_pc", "up_pc"}."""
    height = 0.55 + 0.26 * len(rows)
    with drawing(WIDE_IN, height) as figure:
        ax = figure.add_axes((0.3, 0.44 / height, 0.67, (height - 0.52) / height))
        most = max([v for r in rows for v in (r["down_pc"], r["up_pc"])] + [1e-9])
        for y, row in enumerate(rows):
            ax.barh(y, -row["down_pc"], height=0.56, color=COLOUR["series-1"])
            ax.barh(y, row["up_pc"], height=0.56, color=COLOUR["series-2"])
            ax.text(-row["down_pc"] - most * 0.02, y, percent(row["down_pc"]), ha="right", va="center")
            ax.text(row["up_pc"] + most * 0.02, y, percent(row["up_pc"]), ha="left", va="center")
        ax.axvline(0, color=COLOUR["ink"], linewidth=0.7)
        ax.set_xlim(-1.25 * most, 1.25 * most)
        ax.set_ylim(len(rows) - 0.4, -0.6)
        ax.set_yticks(range(len(rows)), [drawable(str(r["name"]), 34) for r in rows])
        ax.xaxis.set_major_formatter(lambda v, _: f"{v:+.3g} %".replace("-", "\u2212") if v else "0")
        ax.spines["left"].set_visible(False)
        ax.grid(axis="x")
        ax.set_xlabel("part of the energy (k = 2)")
        return inline(figure, "budget", "Uncertainty budget of the energy", desc)


def ladder_chart(rows: Sequence[Mapping[str, Any]], desc: str) -> str:
    """Bars of the energy at each boundary, from the inside out, each with its interval. A row: {"name", "j", "low",
    "high", "here"}, energies in J."""
    height = 0.5 + 0.3 * len(rows)
    with drawing(WIDE_IN, height) as figure:
        ax = figure.add_axes((0.12, 0.44 / height, 0.85, (height - 0.5) / height))
        most = max([row["high"] for row in rows] + [1e-9])
        for y, row in enumerate(rows):
            ax.barh(y, row["j"], height=0.56, color=COLOUR["here" if row["here"] else "series-1"])
            ax.hlines(y, row["low"], row["high"], color=COLOUR["ink"], linewidth=1.0)
            ax.text(row["high"] + most * 0.01, y, human(repr(row["j"]), "J", 3), ha="left", va="center")
        ax.set_xlim(0, 1.16 * most)
        ax.set_ylim(len(rows) - 0.4, -0.6)
        ax.set_yticks(range(len(rows)), [drawable(str(row["name"]), 16) for row in rows])
        ax.xaxis.set_major_formatter(lambda v, _: human(repr(float(v)), "J", 3))
        ax.spines["left"].set_visible(False)
        ax.grid(axis="x")
        ax.set_xlabel("energy in the window")
        return inline(figure, "ladder", "Energy at each boundary", desc)


def percent(value: float) -> str:
    from decimal import Decimal

    return f"{rounded(Decimal(repr(value)), 2)} %"


def ecdf_chart(chart_id: str, name: str, data: Ecdf, marks: Mapping[str, float], desc: str) -> str:
    """The share of values at or below each time, on a log axis; `marks` are the result's own percentiles in s."""
    with drawing(2.6, 1.95) as figure:
        ax = figure.add_axes((0.165, 0.135, 0.815, 0.735))
        x = [max(v, SHORTEST_S) for v in data.x_s]
        known = [max(v, SHORTEST_S) for v in marks.values()]
        log_axis(ax, min(x + known) / 1.25, max(x + known) * 1.25, "s", 4)
        ax.step([x[0], *x], [0.0, *data.share], where="post", color=COLOUR["series-1"], linewidth=1.5)
        for label, value in marks.items():
            share = int(label.removeprefix("p")) / 100
            place = max(value, SHORTEST_S)
            ax.vlines(place, 0, share, color=COLOUR["here"], linewidth=0.8, linestyle=(0, (2, 1.5)))
            ax.plot([place], [share], marker="o", markersize=3.5, color=COLOUR["here"], linestyle="none")
            ax.annotate(label, (place, share), xytext=(-4, 2), textcoords="offset points", ha="right", va="bottom")
        ax.set_ylim(0, 1.06)
        ax.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"])
        ax.grid(axis="y")
        ax.set_title(name, loc="left", fontsize=9, fontweight="bold")
        return inline(figure, chart_id, f"Distribution of {name}", desc)
