"""Whole runs of the real command beside meters that are real servers on loopback, and a hand on their knobs.

with fake_endpoint(STEADY) as endpoint, modbus_server("janitza-umg96", watts) as meter:
    run = start(tmp_path, endpoint.url, "--meter", f"modbus://127.0.0.1:{meter.port}/1?map=janitza-umg96")
    run.until("load_start", 4.0)  # by the phases that the run writes down, not by guessing how long it took so far
    meter.stop()
    ended = run.end()             # sealed, and verified by a process of its own
"""

import json
import os
import re
import subprocess
import sys
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tcabench.evidence.pack import open_pack
from tcabench.testing import FakeEndpoint, Script
from tests.power.servers.load_curve import LoadCurve

STEADY = Script(gap_s=0.02)
PATIENCE_S = 120.0
LOOK_S, AT_ONCE = 0.05, 7
POLICY = """id: metered
version: 1
title: Sound readings of a meter
evidence: {min_grade: E4, min_window_s: 10}
checks:
  - {id: errors, metric: error_rate, "<=": 0.5}
  - {id: tokens-per-kwh, metric: output_tokens_per_kwh, ">=": 1000 token/kWh}
"""


@dataclass(frozen=True)
class Ended:
    """A run that is over: its exit code and words, its folder, and what `tcabench verify` said of its report."""

    code: int
    said: str
    folder: Path
    verified: str

    @cached_property
    def members(self) -> Mapping[str, bytes]:
        return open_pack(next(self.folder.glob("*.tcab")).read_bytes()).members

    @cached_property
    def result(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.members["result.json"])
        return found

    @cached_property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.members["events.jsonl"].splitlines()]

    @property
    def energy(self) -> dict[str, Any]:
        found: dict[str, Any] = self.result["energy"]
        return found

    def everything(self) -> bytes:
        """All that the run left: its files, the members of its bundle, what it printed."""
        files = [path.read_bytes() for path in sorted(self.folder.rglob("*")) if path.is_file()]
        return b"\n".join([*files, *self.members.values(), self.said.encode()])

    @property
    def standing(self) -> str:
        """The verdict of the verification, its last word."""
        return self.verified.splitlines()[-1]

    @property
    def warnings(self) -> str:
        """What verifying warned of, which stands between its table and what it says of the page."""
        below = self.verified.rpartition("┘")[2].partition("page: ")[0]
        return " ".join(below.split())

    @property
    def is_same_page(self) -> bool:
        """Whether the page is what the evidence makes, down to its words and pictures."""
        return "page: word for word, picture for picture" in " ".join(self.verified.split())

    def faults(self, channel: str) -> str:
        """What was wrong with a channel over the window, in one text."""
        (health,) = [one for one in self.energy["health"] if one["channel"] == channel]
        return "; ".join(health["faults"])

    def alignment(self, meter: str) -> dict[str, Any]:
        (found,) = [one for one in self.energy["alignments"] if one["meter"] == meter]
        return dict(found)

    def told(self, meter: str) -> list[str]:
        """The names of the events that speak of a meter."""
        return [str(event["event"]) for event in self.events if event.get("meter") == meter]

    def verdict(self, check: str) -> dict[str, Any]:
        (found,) = [one for one in self.result["verdicts"] if one["check"] == check]
        return dict(found)

    def section(self, name: str) -> str:
        """The words of one section of the report page."""
        page = (self.folder / "report.html").read_text()
        found = re.search(rf'<section[^>]*id="{name}".*?</section>', page, re.DOTALL)
        assert found is not None, f"the page has no section {name}"
        return " ".join(re.sub(r"<[^>]+>", " ", found[0]).split())

    def span_s(self, began_s: float) -> tuple[float, float]:
        """The window in s since `began_s` of time.monotonic()."""
        window = self.result["window"]
        return int(window["start_ns"]) / 1e9 - began_s, int(window["end_ns"]) / 1e9 - began_s

    def truth_j(self, watts: Callable[[float], float], began_s: float) -> float:
        """The energy of the window: `watts` takes seconds since `began_s` of time.monotonic()."""
        start_s, end_s = self.span_s(began_s)
        curve = LoadCurve(lambda t_s: watts(t_s + start_s))
        return curve.joules(end_s - start_s)


def total_j(value: Mapping[str, Any]) -> tuple[float, float, float]:
    """Value, low and high of a quantity in a result, in its unit; a value that was not metered fails the test."""
    assert "value" in value, value
    low, high = (float(value[end]) for end in ("low", "high"))
    return float(value["value"]), low, high


@dataclass(frozen=True)
class Metered:
    """A run that is over, the energy that its meter's load really had in the window, and what was secret."""

    ended: Ended
    truth_j: float
    secrets: tuple[str, ...] = ()


@contextmanager
def at_once(rounds: Mapping[str, Callable[[Path], Metered]], out: Path) -> Iterator[Callable[[str], Metered]]:
    """Runs each of `rounds` in a folder of its own, a few at a time: they wait for most of their time. What comes back
    waits for the one named, and raises what it raised."""
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="run") as pool:
        begun = {name: pool.submit(round_, out / name) for name, round_ in rounds.items()}
        try:
            yield lambda name: begun[name].result()
        finally:
            for one in begun.values():
                one.cancel()


class Run:
    """`tcabench run` in the background, in a home of its own."""

    def __init__(self, out: Path, arguments: Sequence[object], env: Mapping[str, str]) -> None:
        self.out, self.env = out, {**env, **_home(out)}
        self._log = out / "said.txt"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tcabench", "run", *map(str, arguments), "--out", str(out / "runs")],
                stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=self.env,
            )  # fmt: skip

    def said(self) -> str:
        return self._log.read_text()

    def until(self, phase: str, more_s: float = 0.0) -> None:
        """Wait until so long after the run wrote down that it is in `phase`. raises: RuntimeError when it never is."""
        at_ns = self._reached(phase)
        while (left_s := at_ns / 1e9 + more_s - time.monotonic()) > 0:
            time.sleep(min(left_s, LOOK_S))

    def end(self) -> Ended:
        """Wait for its end, and verify what it left."""
        try:
            code = self.process.wait(PATIENCE_S)
        finally:
            self.stop()
        folder = next((path for path in (self.out / "runs").iterdir() if path.is_dir()), self.out)
        check = subprocess.run(
            [sys.executable, "-m", "tcabench", "verify", str(folder / "report.html")],
            capture_output=True, text=True, timeout=PATIENCE_S, env=self.env, check=False,
        )  # fmt: skip
        if not check.stdout:
            raise RuntimeError(f"nothing to verify: {self.said()}{check.stderr}")
        return Ended(code, self.said(), folder, check.stdout)

    def stop(self) -> None:
        """End the process, if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)

    def _reached(self, phase: str) -> int:
        until_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < until_s and self.process.poll() is None:
            for path in self.out.glob("runs/*/evidence/events.jsonl"):
                for line in path.read_bytes().split(b"\n")[:-1]:
                    event = json.loads(line)
                    if event.get("phase") == phase:
                        return int(event["t"])
            time.sleep(LOOK_S)
        raise RuntimeError(f"the run never came to {phase}: {self.said()}")


def start(out: Path, url: str, *arguments: object, env: Mapping[str, str] | None = None, load_s: float = 12.0) -> Run:
    """A run of 2 s idle, 1 s warm-up and a window of `load_s`, without a marker and by the policy POLICY, unless
    `arguments` say otherwise."""
    out.mkdir(parents=True, exist_ok=True)
    policy = out / "policy.yaml"
    policy.write_text(POLICY)
    timing = ("--idle", "2", "--warmup", "1", "--duration", load_s, "--drain", "5", "--concurrency", "4")
    base = ("--endpoint", url, *timing, "--marker", "0", "--policy", policy, "--quiet")
    return Run(out, (*base, *arguments), {**os.environ, **(env or {})})  # of an option given twice the last one counts


def _home(out: Path) -> dict[str, str]:
    return {"XDG_CONFIG_HOME": str(out / "config"), "XDG_STATE_HOME": str(out / "state"), "MPLBACKEND": "agg"}


class Busy:
    """How many requests a scripted server had in flight, at any instant of time.monotonic() so far."""

    def __init__(self, endpoint: FakeEndpoint) -> None:
        self.began_s = time.monotonic()
        self._at_s, self._count, self._lock = [self.began_s], [0], threading.Lock()
        stream = endpoint._stream

        async def counted(request: Any, body: dict[str, Any]) -> Any:
            self._step(1)
            try:
                return await stream(request, body)
            finally:
                self._step(-1)

        endpoint._stream = counted  # type: ignore[method-assign]

    def at(self, t_s: float) -> int:
        with self._lock:
            return self._count[max(0, bisect_right(self._at_s, t_s) - 1)]

    def _step(self, by: int) -> None:
        with self._lock:
            self._at_s.append(time.monotonic())
            self._count.append(self._count[-1] + by)
