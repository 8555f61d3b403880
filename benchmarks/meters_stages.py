"""Played meters side by side: each server in its own process, a GPU by the stand-in library, and the names that read
them."""

import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks.meters_loads import Chain
from benchmarks.meters_stage import SECRETS
from tests.nvml import standin

STAGE = Path(__file__).with_name("meters_stage.py")
END_S = 20.0
WATTS = {
    "nvml": (100.0, 900.0), "rapl": (60.0, 350.0), "mqtt": (200.0, 3_000.0),
}  # fmt: skip
RACK_W = (8_000.0, 60_000.0)  # of today's racks of accelerators
PLUGIN = "benchmark-meters"


def watts_of(kind: str, chain: Chain) -> Chain:
    """The chain at the height of such a meter."""
    low_w, high_w = WATTS.get(kind, RACK_W)
    return replace(chain, low_w=low_w, high_w=high_w)


class Stages:
    """Played meters that run. `names`: kind -> the `--meter` names that read it."""

    def __init__(self, running: Mapping[str, "subprocess.Popen[str]"]) -> None:
        self._running = running
        self.names = {kind: _names(kind, child) for kind, child in running.items()}

    def begin(self, epoch_s: float) -> None:
        """Every chain begins at that instant of time.monotonic(), which lies ahead."""
        for child in self._running.values():
            _say(child, repr(epoch_s))


@contextmanager
def played(kinds: Iterable[str], chain: Chain, folder: Path) -> Iterator[Stages]:
    """A server of each kind that plays the chain at its own height; all are up. raises: RuntimeError."""
    with ExitStack() as stack, environment(SECRETS):
        yield Stages({kind: stack.enter_context(_stage(kind, watts_of(kind, chain), folder)) for kind in kinds})


@contextmanager
def _stage(kind: str, chain: Chain, folder: Path) -> Iterator["subprocess.Popen[str]"]:
    place = Path(tempfile.mkdtemp(prefix=f"{kind}-", dir=folder))
    child = subprocess.Popen(
        [sys.executable, "-W", "ignore", str(STAGE), kind, str(place)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=(place / "stderr").open("w"), text=True,
    )  # fmt: skip
    try:
        _say(child, json.dumps(asdict(chain)))
        yield child
    finally:
        with suppress(OSError):
            child.stdin.close()  # type: ignore[union-attr]
        try:
            child.wait(END_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        if child.stdout:
            child.stdout.close()


def _say(child: "subprocess.Popen[str]", line: str) -> None:
    assert child.stdin is not None
    child.stdin.write(f"{line}\n")
    child.stdin.flush()


def _names(kind: str, child: "subprocess.Popen[str]") -> list[str]:
    assert child.stdout is not None
    line = child.stdout.readline()
    if not line:
        raise RuntimeError(f"the played {kind} meter did not start: see stderr in its folder")
    names: list[str] = json.loads(line)
    return names


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """This process's environment with more in it: what a sampler started meanwhile sees."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def gpus(folder: Path, **scene: Any) -> dict[str, str]:
    """Variables with which a process finds the stand-in for NVML, and this scene."""
    there = folder if (folder / "libnvidia-ml.so.1").exists() else standin.build(folder)
    given = standin.environment(there, **scene)
    return {name: value for name, value in given.items() if os.environ.get(name) != value}


@contextmanager
def plug_in(folder: Path) -> Iterator[None]:
    """Makes `played-rapl:FOLDER` a meter, as an installed plug-in would be; the sampler's process finds it, too."""
    info = folder / "plugin" / f"{PLUGIN.replace('-', '_')}-1.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {PLUGIN}\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[tcabench.meters]\nplayed-rapl = benchmarks.meters_rapl:open_played\n")
    sys.path.append(str(info.parent))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(info.parent))
