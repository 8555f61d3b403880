"""Meters of a plug-in, as another package would bring them; each does one thing that meters do."""

import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from tcabench.errors import MeterError, UsageError
from tcabench.records import Channel, ClockReading, Instrument, Kind, Reading

HOUR_2026_NS = 1_782_000_000_000_000_000


class PluginMeter:
    """One power channel, read every 10 ms unless said otherwise; its values are what `read` makes of the count."""

    def __init__(self, kind: str, made: Callable[[int], Any], instrument: Instrument = Instrument.DEVICE) -> None:
        self.name, self._made, self._count = f"plug.{kind}", made, 0
        self._instrument = instrument

    def channels(self) -> tuple[Channel, ...]:
        return (
            Channel(
                f"{self.name}.power", self.name, self.name, Kind.POWER, "W", "chip", 0.9, 1.1, 1.0, 0, 10_000_000,
                False, "made up", instrument=self._instrument, class_pct=0.5, note="µ and ü",
            ),
        )  # fmt: skip

    def read(self) -> Sequence[Reading | tuple[str, float]]:
        self._count += 1
        value = self._made(self._count)
        return value if isinstance(value, list) else [(f"{self.name}.power", value)]

    def facts(self) -> dict[str, Any]:
        return {
            "pid": {"value": os.getpid(), "source": "the plug-in"},
            "secret_is_there": {"value": "PLUG_SECRET" in os.environ, "source": "the plug-in"},
            "python_path": {"value": os.environ.get("PYTHONPATH"), "source": "the plug-in"},
            "heavy": {"value": sorted({"torch", "pandas", "numpy", "pyarrow", "aiohttp"} & set(sys.modules)),
                      "source": "the plug-in"},
        }  # fmt: skip

    def close(self) -> None:
        if self.name == "plug.slow_to_close":
            threading.Event().wait(60)


class ClockedPlugin(PluginMeter):
    """Two readings at a time, stamped by a clock of its own that is exactly at HOUR_2026_NS."""

    def channels(self) -> tuple[Channel, ...]:
        (plain,) = super().channels()
        return (plain,)

    def device_time(self) -> ClockReading:
        return ClockReading(HOUR_2026_NS + 1, 1)


def opened(argument: str) -> list[PluginMeter]:
    """The meters of `--meter plug:KIND,KIND`."""
    return [_opened(kind) for kind in argument.split(",")]


def _opened(kind: str) -> PluginMeter:
    if kind in REFUSALS:
        raise REFUSALS[kind]
    if kind == "clocked":
        return ClockedPlugin(kind, _stamped)
    if kind == "opens_for_ever":
        print("opening", file=sys.stderr, flush=True)
        time.sleep(3600)
    if kind == "lingers":
        threading.Thread(target=time.sleep, args=(3600,)).start()
    instrument = Instrument.METER if kind.startswith("far") else Instrument.DEVICE
    return PluginMeter(kind, MAKERS.get(kind, float), instrument)


def _stamped(count: int) -> list[Reading]:
    at_ns = HOUR_2026_NS + count * 1000
    return [Reading("plug.clocked.power", count + share, at_ns + round(1000 * share)) for share in (0.25, 0.75)]


def _says(count: int) -> float:
    print("a line on stdout", count)
    return float(count)


def _crashes(count: int) -> float:
    if count == 5:
        print("the vendor's library gives up", file=sys.stderr, flush=True)
        os.abort()
    return float(count)


def _cut(count: int) -> float:
    if 5 <= count < 8:
        raise MeterError("the line is cut: plug it in again", "cut")
    return float(count)


def _bug(count: int) -> float:
    return {}["nothing"] if count == 3 else float(count)  # type: ignore[no-any-return]


def _hangs(count: int) -> float:
    if count == 3:
        time.sleep(3600)
    return float(count)


REFUSALS: dict[str, Exception] = {
    "away": MeterError("the meter is away: bring it back", "meter-unreachable"),
    "wrong": UsageError("plug: that makes no sense", "meter-argument"),
    "broken": ZeroDivisionError("a bug"),
}
MAKERS: dict[str, Callable[[int], Any]] = {
    "thirds": lambda count: count / 3, "says": _says, "crashes": _crashes, "cut": _cut, "bug": _bug, "hangs": _hangs,
}  # fmt: skip
