"""What `tcabench meters` shows."""

import json
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tcabench.cli.show import console, plain
from tcabench.clock import SystemClock
from tcabench.energy.grade import grade_of_channel
from tcabench.errors import UsageError
from tcabench.power import Meter, Tape, open_meters, recording
from tcabench.power.catalogue import found_here, known_meters, shipped_maps
from tcabench.power.probe import Probed, probe
from tcabench.records import Channel, Kind, PowerSample
from tcabench.report.series import drawn_channels
from tcabench.report.text import visible

BARS = "▁▂▃▄▅▆▇█"
SPARK, REFRESH_S, LINE_S = 40, 0.25, 1.0
OLD_NS, OLD_PERIODS = 3_000_000_000, 3


def show_catalogue(as_json: bool) -> None:
    """Meters by name, and the maps that come with the bench."""
    maps: dict[str, list[str]] = {}
    for protocol, name in shipped_maps():
        maps.setdefault(protocol, []).append(name)
    rows = {
        name: asdict(known) | {"here": found_here(name) if known.where == "local" else None}
        for name, known in known_meters().items()
    }
    if as_json:
        print(json.dumps({"meters": rows, "maps": maps}, indent=2))
        return
    out, table = console(), Table(title="Meters", title_justify="left")
    for name in ("name", "what it reads", "here", "for example"):
        table.add_column(name, overflow="fold")
    for name, row in rows.items():
        table.add_row(name, str(row["what"]), plain(row["here"] or row["where"]), plain(row["example"], "dim"))
    out.print(table)
    for protocol, names in maps.items():
        out.print(Text(f"{protocol} maps: {', '.join(names)}, or the path of your own"))


@contextmanager
def opened(names: Sequence[str]) -> Iterator[list[Meter]]:
    """The meters behind `names`, closed at the end."""
    meters = open_meters(names)
    try:
        yield meters
    finally:
        for meter in meters:
            meter.close()


def show_probe(names: Sequence[str], for_s: float, as_json: bool) -> None:
    """Open, read for `for_s` seconds, tell."""
    with opened(names) as meters:
        found, faults = probe(meters, SystemClock(), for_s)
        facts = {meter.name: meter.facts() for meter in meters}
    if as_json:
        rows = [_row(one) for one in found]
        print(json.dumps({"channels": rows, "faults": list(faults), "facts": facts}, indent=2))
        return
    out = console()
    out.print(_probe_table(found))
    for meter, said in facts.items():
        out.print(_facts_table(meter, said))
    for fault in faults:
        out.print(plain(fault, "yellow"))


def _row(one: Probed) -> dict[str, Any]:
    """A probed channel as JSON-ready values."""
    channel, (grade, why) = one.channel, _grade(one.channel)
    return {
        "channel": channel.id, "domain": channel.domain, "kind": channel.kind.value, "role": channel.role.value,
        "boundary": channel.boundary, "value": one.value, "unit": channel.unit, "readings": one.readings,
        "changes_every_s": one.changes_s, "read_ms": one.read_ms, "class_pct": channel.class_pct or None,
        "gain": [channel.gain_low, channel.gain_high], "resolution": channel.resolution,
        "accuracy_source": channel.accuracy_source, "certificate": channel.certificate or None,
        "grade_at_best": grade, "grade_why": why,
    }  # fmt: skip


def _grade(channel: Channel) -> tuple[str | None, str]:
    """The grade that the channel can earn at best today; none where it is not about energy."""
    if channel.kind not in (Kind.POWER, Kind.ENERGY):
        return None, "not about energy"
    return grade_of_channel(channel, datetime.now(UTC).date().isoformat())


def _probe_table(found: Sequence[Probed]) -> Table:
    table = Table(title="What the meters say", title_justify="left")
    for name, justify in (
        ("channel", "left"), ("reads", "right"), ("at", "left"), ("accuracy (k = 2)", "right"),
        ("changes every", "right"), ("read takes", "right"), ("grade at best", "left"),
    ):  # fmt: skip
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for one in found:
        channel, (grade, why) = one.channel, _grade(one.channel)
        table.add_row(
            plain(channel.id),
            "no reading" if one.value is None else f"{one.value:,.6g} {channel.unit}",
            f"{channel.boundary} · {channel.role}",
            _accuracy(channel) if grade else "",
            "" if one.changes_s is None else f"{one.changes_s:.3g} s",
            "" if one.read_ms is None else f"{one.read_ms:.2g} ms",
            plain(f"{grade}: {why}") if grade else "",
        )
    return table


def _accuracy(channel: Channel) -> str:
    """The limits of error in words: ± where they are even, else both."""
    down, up = 100 * (1 - channel.gain_low), 100 * (channel.gain_high - 1)
    return f"±{up:.2g} %" if abs(up - down) < 0.01 else f"-{down:.2g} / +{up:.3g} %"


def _facts_table(meter: str, facts: dict[str, Any]) -> Table:
    table = Table(title=plain(meter), title_justify="left", show_header=False)
    for _ in range(3):
        table.add_column(overflow="fold")
    for name, fact in facts.items():
        said = fact.get("value")
        words = f"not known: {fact.get('why', '')}" if said is None else str(said)
        table.add_row(plain(name), plain(words), plain(str(fact.get("source", "")), "dim"))
    return table


def show_watch(names: Sequence[str], for_s: float | None) -> None:
    """Watts as they come: a table that moves on a terminal, a line a second elsewhere."""
    with opened(names) as meters, recording(meters, SystemClock(), lambda samples: None) as tape:
        powers = drawn_channels([channel for meter in meters for channel in meter.channels()])
        if not powers:
            raise UsageError("none of these meters tells power or energy: see `tcabench meters probe`", "no-power")
        ends_s = None if for_s is None else time.monotonic() + for_s
        with suppress(KeyboardInterrupt, BrokenPipeError):  # a reader that goes away ends the watching, too
            (_watch_live if sys.stdout.isatty() else _watch_lines)(powers, Watts(tape), ends_s)


class Watts:
    """The present power of channels: as read, or for a counter as the rate of its last step."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self._steps: dict[str, tuple[PowerSample, float | None]] = {}

    def now(self, channel: Channel) -> tuple[PowerSample | None, float | None]:
        """(the newest reading, the power in W); None where there is none yet."""
        latest = self.tape.latest(channel.id)
        if latest is None or channel.kind is not Kind.ENERGY:
            return latest, None if latest is None else latest.value
        before, watts = self._steps.get(channel.id, (latest, None))
        if latest.value != before.value and latest.t_ns > before.t_ns:
            watts = (latest.value - before.value) / ((latest.t_ns - before.t_ns) / 1e9)
            before = latest
        self._steps[channel.id] = before, watts
        return latest, watts


def _watch_live(powers: Sequence[Channel], seen: Watts, ends_s: float | None) -> None:
    past: dict[str, deque[float]] = {channel.id: deque(maxlen=SPARK) for channel in powers}
    with Live(console=console(), refresh_per_second=4, transient=False) as live:
        while ends_s is None or time.monotonic() < ends_s:
            live.update(_watch_table(powers, seen, past))
            time.sleep(REFRESH_S)


def _watch_table(powers: Sequence[Channel], seen: Watts, past: dict[str, deque[float]]) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    for channel in powers:
        latest, now_w = seen.now(channel)
        if now_w is not None:
            past[channel.id].append(now_w)
        watts, where = _watts(channel, latest, now_w), f"{channel.boundary} · {channel.role}"
        table.add_row(
            plain(channel.id), Text(watts, justify="right"), where, Text(spark(past[channel.id]), style="cyan")
        )
    faults = [plain(f"{fault['meter']}: {fault['why']}", "yellow") for fault in seen.tape.faults()[-3:]]
    return Group(table, *faults, Text("Ctrl-C ends", style="dim"))


def _watts(channel: Channel, latest: PowerSample | None, now_w: float | None) -> str:
    """The present power, unless it is so old that it says nothing of now."""
    if latest is None or now_w is None:
        return "no reading" if latest is None else "no step of the counter yet"
    old_ns = time.monotonic_ns() - latest.t_ns
    if old_ns > max(OLD_NS, OLD_PERIODS * channel.period_ns, OLD_PERIODS * channel.update_ns):
        return f"no reading for {old_ns / 1e9:.0f} s"
    return f"{now_w:,.1f} W"


def spark(values: Sequence[float]) -> str:
    """The values as a row of bars, from 0 to their largest."""
    top = max(values, default=0.0)
    if top <= 0:
        return ""
    return "".join(BARS[min(len(BARS) - 1, max(0, int(value / top * len(BARS))))] for value in values)


def _watch_lines(powers: Sequence[Channel], seen: Watts, ends_s: float | None) -> None:
    told = 0
    while ends_s is None or time.monotonic() < ends_s:
        time.sleep(LINE_S)
        said = [f"{visible(channel.id)} {_watts(channel, *seen.now(channel))}" for channel in powers]
        print(f"{datetime.now().astimezone():%H:%M:%S}  " + "  ".join(said), flush=True)
        for fault in (faults := seen.tape.faults())[told:]:
            print(f"          {visible(fault['meter'])}: {visible(fault['why'])}", flush=True)
        told = len(faults)
