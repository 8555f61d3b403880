"""What a person sees while a run is under way: phase, progress, tokens/s, watts, J/token, errors, time left."""

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from tcabench.records import PowerSample
from tcabench.report.text import visible
from tcabench.units import NS_PER_S

RATE_SPAN_NS = 5 * NS_PER_S
LINE_EVERY_S = 10.0
Watch = Callable[[str, Any], None]


class Figures:
    """Running figures of a run, from the events as they come. Rough on purpose (a chunk is taken for a token, warm-up
    is in it): the report has the real ones."""

    def __init__(self) -> None:
        self.phase, self.planned_s, self.phase_began_s = "starting", 0.0, time.monotonic()
        self.answered = self.errors = self.in_flight = self.tokens = 0
        self.recent: deque[int] = deque()
        self.watts: dict[str, float] = {}
        self.joules, self.last_power_ns, self.notes = 0.0, 0, deque[str](maxlen=4)
        self.power_channels: frozenset[str] = frozenset()
        self.asked, self.to_ask = 0, 0  # requests of a comparison's present part

    def take(self, kind: str, what: Any) -> None:
        """One notice of the run: ("phase", (name, planned_s)), ("request", event), ("power", samples), ..."""
        handlers: dict[str, Callable[[Any], None]] = {
            "phase": self._phase, "request": self._request, "power": self._power, "note": self.notes.append,
            "power_channels": self._channels, "asking": self._asking, "asked": self._one_asked,
        }  # fmt: skip
        handlers[kind](what)

    def _channels(self, ids: Sequence[str]) -> None:
        self.power_channels = frozenset(ids)

    def _phase(self, what: tuple[str, float]) -> None:
        self.phase, self.planned_s = what
        self.phase_began_s = time.monotonic()

    def _asking(self, what: tuple[str, int]) -> None:
        self._phase((what[0], 0.0))
        self.asked, self.to_ask = 0, what[1]

    def _one_asked(self, _: None) -> None:
        self.asked += 1

    def _request(self, event: dict[str, Any]) -> None:
        if event["e"] == "sent":
            self.in_flight += 1
        elif event["e"] == "chunk":
            self.tokens += 1
            self.recent.append(event["t"])
        else:
            self.in_flight -= 1
            self.answered += event["status"] == "ok"
            self.errors += event["status"] != "ok"

    def _power(self, samples: Sequence[PowerSample]) -> None:
        for sample in samples:
            if sample.channel in self.power_channels:
                self.watts[sample.channel] = sample.value
                if self.phase == "load" and self.last_power_ns:
                    self.joules += sum(self.watts.values()) * max(0, sample.t_ns - self.last_power_ns) / NS_PER_S
                self.last_power_ns = max(self.last_power_ns, sample.t_ns)

    def tokens_per_s(self) -> float:
        now_ns = time.monotonic_ns()
        while self.recent and self.recent[0] < now_ns - RATE_SPAN_NS:
            self.recent.popleft()
        return len(self.recent) / (RATE_SPAN_NS / NS_PER_S)

    def line(self) -> str:
        """All figures in one line."""
        watts = f"{sum(self.watts.values()):.1f} W" if self.watts else "no meter"
        per_token = f"{self.joules / self.tokens:.3g} J/token" if self.joules and self.tokens else "- J/token"
        return (
            f"~{self.tokens_per_s():.0f} tokens/s · {watts} · {per_token} so far · {self.answered} answered · "
            f"{self.in_flight} in flight · {self.errors} errors"
        )


class LiveFigures:
    """The live view proper: a bar for the phase, a row of figures, the last notes."""

    def __init__(self, figures: Figures) -> None:
        self.figures = figures
        self.bar = Progress(
            TextColumn("{task.description:<10}"), BarColumn(bar_width=None),
            TextColumn("{task.completed:.0f}/{task.total:.0f} s"), TimeRemainingColumn(compact=True),
        )  # fmt: skip
        self.tasks: dict[str, TaskID] = {}

    def __rich__(self) -> RenderableType:
        f = self.figures
        if f.phase not in self.tasks:
            self.tasks[f.phase] = self.bar.add_task(f.phase, total=f.planned_s or None)
        elapsed_s = time.monotonic() - f.phase_began_s
        for name, task in self.tasks.items():
            total = self.bar.tasks[task].total
            done = min(elapsed_s, total or elapsed_s) if name == f.phase else (total or 0.0)
            self.bar.update(task, completed=done, visible=name == f.phase and total is not None)
        grid = Table.grid(padding=(0, 1))
        grid.add_row(Text(f.line()))
        for note in f.notes:
            grid.add_row(Text(visible(note), style="dim"))
        if f.planned_s:
            return Group(self.bar, grid)
        if f.to_ask:
            return Text(f"{f.phase} … {f.asked} of {f.to_ask}, {elapsed_s:.0f} s")
        return Group(Text(f"{f.phase} … {elapsed_s:.0f} s"), grid)


@contextmanager
def live_view(quiet: bool) -> Iterator[Watch]:
    """A function that takes the notices of a run and shows them on stderr: live on a terminal, a line now and then
    elsewhere, nothing when `quiet`."""
    figures = Figures()
    if quiet:
        yield _silent
    elif sys.stderr.isatty():
        with Live(LiveFigures(figures), console=Console(stderr=True), refresh_per_second=4, transient=True):
            yield figures.take
    else:
        yield _plain(figures)


def _silent(kind: str, what: Any) -> None:
    """Watch nothing."""


def _plain(figures: Figures) -> Watch:
    """A watch that prints each phase and note, and a line of figures every ten seconds."""
    said_s = [time.monotonic()]

    def take(kind: str, what: Any) -> None:
        figures.take(kind, what)
        if kind == "note":
            say(visible(what))
        elif kind == "phase":
            say(f"[{what[0]}]" + (f" {what[1]:g} s" if what[1] else ""))
        elif kind == "asking":
            say(f"{what[0]}: {what[1]} requests")
        elif time.monotonic() - said_s[0] > LINE_EVERY_S and figures.phase == "load":
            said_s[0] = time.monotonic()
            say(f"  {figures.line()}")

    def say(words: str) -> None:
        with suppress(OSError):  # a reader that went away (`2>&1 | head`) must not end a measurement
            print(words, file=sys.stderr)

    return take
