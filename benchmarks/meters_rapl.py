"""The meter `played-rapl:FOLDER`: RAPL's own code over a played powercap tree in FOLDER."""

from pathlib import Path

from tcabench.power.meter import Meter
from tcabench.power.meters.rapl import open_rapl


def open_played(argument: str) -> list[Meter]:
    """What `open_rapl` gives for that tree."""
    folder = Path(argument)
    return open_rapl("", powercap=folder / "powercap", cpuinfo=folder / "cpuinfo")
