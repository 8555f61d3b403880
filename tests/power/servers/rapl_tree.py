"""A directory like /sys/class/powercap whose counters run: real files, advanced by a thread every 2 ms.

    with RaplTree(folder, {"intel-rapl:0": ("package-0", lambda t: 80.0)}) as tree:
        meters = open_rapl("", powercap=tree.powercap, cpuinfo=tree.cpuinfo)

Each zone has a name and a callable: seconds of time.monotonic() since the start -> W. `drawn_j` integrates it as the
counter does. Knobs: `frozen` (names of zones that stand still), `reset_counter(zone)`, `remove(zone)`.
"""

import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

Watts = Callable[[float], float]
TICK_S = 0.002
RANGE_UJ = 65_532_610_987  # as seen on Zen and Skylake servers: 2^32 steps of 15.26 uJ


class RaplTree:
    def __init__(
        self, folder: Path, zones: Mapping[str, tuple[str, Watts]], *, vendor: str = "GenuineIntel",
        model: str = "Stand-in processor",
        range_uj: int = RANGE_UJ, start_uj: int = 0,
    ) -> None:  # fmt: skip
        self.powercap, self.cpuinfo = folder / "powercap", folder / "cpuinfo"
        self.frozen: set[str] = set()
        self._zones, self._range_uj = dict(zones), range_uj
        self._j = dict.fromkeys(zones, start_uj / 1e6)
        self._file: dict[str, int] = {}
        self._over, self._lock = threading.Event(), threading.Lock()
        self._thread = threading.Thread(target=self._run, name="rapl tree", daemon=True)
        self.powercap.mkdir(parents=True)
        self.cpuinfo.write_text(f"processor\t: 0\nvendor_id\t: {vendor}\nmodel name\t: {model}\n")
        for zone, (label, _) in zones.items():
            self._make(zone, label)

    def __enter__(self) -> "RaplTree":
        self.began_s = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        for file in self._file.values():
            os.close(file)

    def reset_counter(self, zone: str) -> None:
        with self._lock:
            self._j[zone] = 0.0

    def remove(self, zone: str) -> None:
        """The files go, as when the kernel module is taken out."""
        with self._lock:
            os.truncate(self._file[zone], 0)  # what is open reads nothing any more
            os.close(self._file.pop(zone))
            for file in (self.powercap / zone).iterdir():
                file.unlink()

    def deny(self, zone: str) -> None:
        """Only the owner's rights are left, as the kernel sets them: root alone may read."""
        (self.powercap / zone / "energy_uj").chmod(0o400 if os.geteuid() == 0 else 0)

    def _make(self, zone: str, label: str) -> None:
        folder = self.powercap / zone
        folder.mkdir()
        (folder / "name").write_text(f"{label}\n")
        (folder / "max_energy_range_uj").write_text(f"{self._range_uj}\n")
        self._file[zone] = os.open(folder / "energy_uj", os.O_RDWR | os.O_CREAT, 0o644)
        self._write(zone)

    def _run(self) -> None:
        last_s = 0.0
        while not self._over.wait(TICK_S):
            now_s = time.monotonic() - self.began_s
            with self._lock:
                for zone in self._file:
                    self._step(zone, last_s, now_s)
            last_s = now_s

    def _step(self, zone: str, from_s: float, to_s: float) -> None:
        if zone in self.frozen:
            return
        watts = self._zones[zone][1]
        self._j[zone] = (self._j[zone] + watts((from_s + to_s) / 2) * (to_s - from_s)) % (self._range_uj / 1e6)
        self._write(zone)

    def _write(self, zone: str) -> None:
        """Of one length always, in one call: a reader never sees half a number."""
        os.pwrite(self._file[zone], b"%020d\n" % round(self._j[zone] * 1e6), 0)
