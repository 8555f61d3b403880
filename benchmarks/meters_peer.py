"""Against zeus (PyPI `zeus`, ml-energy/zeus): energy over short and long windows of a square wave on the same stand-in
GPU, at the same instants; and the processor time of sampling eight GPUs, in turn.
"""

import json
import random
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from math import floor, fsum, sqrt
from pathlib import Path
from typing import Any

from benchmarks.figures import Measured, at_most, told
from benchmarks.meters_stages import environment, gpus
from tcabench.clock import SystemClock
from tcabench.energy import integrate
from tcabench.power import Tape, open_meters, recording
from tcabench.power.apart import ApartMeter
from tcabench.records import Context, Quantity, Window
from tcabench.timeline import align

SCRIPT = Path(__file__).with_name("meters_zeus.py")
LOW_W, HIGH_W, PERIOD_S = 150.0, 600.0, 0.73
EVERY_S = {0.5: 1.3, 1.0: 2.1, 2.0: 3.1, 5.0: 6.1, 30.0: 11.9}  # a window of so many s begins so often
ABOUT = 0.1  # lengths are drawn within so much of the nominal one: work is no multiple of the counter's 100 ms
LONG_S = 90.0
RATE_S, GPUS, COST_S = 0.05, 8, 20.0
S = 1_000_000_000
SQUARE = {"low_w": LOW_W, "high_w": HIGH_W, "period_s": PERIOD_S, "update_ms": 100, "window_ms": 25}


def measure(number: int, share: float, folder: Path, python: Path) -> Iterator[Measured]:
    """Errors and costs of one round."""
    yield from errors(random.Random(number), share, folder, python)
    yield from costs(number, share, folder, python)


def errors(rng: random.Random, share: float, folder: Path, python: Path) -> Iterator[Measured]:
    """Errors of us and of zeus over the same windows, root mean square by length."""
    spans = list(_spans(rng, max(8.0, LONG_S * share)))
    orders = {"spans_s": [span for _, span in spans], "period_s": RATE_S}
    start_ns = time.monotonic_ns()
    with environment(gpus(folder / "nvml", gpus=1, start_ns=start_ns, **SQUARE)):
        answers, tape, channels = side_by_side(python, orders)
    found = [_errors(one, tape, channels, start_ns) for one in answers]
    for length in EVERY_S:
        by_who = [one for (nominal, _), one in zip(spans, found, strict=True) if nominal == length]
        if by_who:
            yield from _told(length, {who: _rms([one[who] for one in by_who]) for who in by_who[0]})


def _spans(rng: random.Random, for_s: float) -> Iterator[tuple[float, tuple[float, float]]]:
    """(nominal length, (start, length)) of every window that ends within `for_s`."""
    for nominal_s, every_s in EVERY_S.items():
        start_s = 2.0 + rng.uniform(0, every_s)
        while start_s + nominal_s * (1 + ABOUT) < for_s:
            yield nominal_s, (start_s, nominal_s * rng.uniform(1 - ABOUT, 1 + ABOUT))
            start_s += every_s * rng.uniform(0.9, 1.1)


def _rms(errors: Sequence[float]) -> float:
    return sqrt(fsum(error * error for error in errors) / len(errors))


def _told(length: float, spread: Mapping[str, float]) -> Iterator[Measured]:
    ours, name = spread["tcabench"], f"window of {length:g} s"
    for peer in ("ZeusMonitor", "PowerMonitor"):
        yield at_most(f"{name}: error, tcabench / {peer}", ours / spread[peer], 1.0, "ratio of RMS")
    for who, error in spread.items():
        yield told(f"{name}: error of {who}", error, "of the energy, RMS")


def side_by_side(python: Path, orders: Mapping[str, Any]) -> tuple[list[dict[str, Any]], Tape, Any]:
    """zeus measures its windows while our sampler records."""
    meters = open_meters(["nvml"], apart=True)
    try:
        with _zeus(python, "windows", orders) as child:
            assert child.stdout is not None
            json.loads(child.stdout.readline())
            with recording(meters, SystemClock(), lambda samples: None) as tape:
                answers = [json.loads(line) for line in child.stdout]
                time.sleep(1)
        return answers, tape, tuple(channel for meter in meters for channel in meter.channels())
    finally:
        for meter in meters:
            meter.close()


def _errors(answer: Mapping[str, Any], tape: Tape, channels: Any, start_ns: int) -> dict[str, float]:
    """who -> |error|."""
    window = Window(0, 0, 0, answer["start_ns"], answer["end_ns"], answer["end_ns"], "planned")
    truth_j = drawn_j((window.end_ns - start_ns) / S) - drawn_j((window.start_ns - start_ns) / S)
    axis = align(channels, tape.samples(), tape.events(), window)
    context = Context(alignments=axis.alignments, health=axis.health)
    total = integrate(channels, axis.samples, window, "chip", context).total
    if not isinstance(total, Quantity):
        raise RuntimeError(f"no energy of a window: {total.why}")
    said = {"tcabench": total.value, "ZeusMonitor": answer["counter_j"], "PowerMonitor": answer["power_j"]}
    return {who: abs(joules / truth_j - 1) for who, joules in said.items()}


def drawn_j(s: float) -> float:
    """Energy in J of the stand-in's GPU 0 from its start: low, then high, each for half of a period."""
    whole, half_s = floor(s / PERIOD_S), PERIOD_S / 2
    rest_s = s - whole * PERIOD_S
    return whole * half_s * (LOW_W + HIGH_W) + LOW_W * min(rest_s, half_s) + HIGH_W * max(0.0, rest_s - half_s)


def costs(number: int, share: float, folder: Path, python: Path) -> Iterator[Measured]:
    """Processor time of sampling eight GPUs, as a share of one core: us, zeus at our rate, zeus as it comes."""
    for_s = max(4.0, COST_S * share)
    with environment(gpus(folder / "nvml", gpus=GPUS, start_ns=time.monotonic_ns(), **SQUARE)):
        ways = {
            "tcabench at 20 Hz": lambda: our_share(for_s),
            "PowerMonitor at 20 Hz": lambda: zeus_share(python, RATE_S, for_s),
            "PowerMonitor as it comes": lambda: zeus_share(python, None, for_s),
        }
        order = list(ways)[number % 3 :] + list(ways)[: number % 3]
        used = {name: ways[name]() for name in order}
    for name in ways:
        yield told(f"8 GPUs: {name}", used[name], "of one core")
    ours, *theirs = ways
    for name in theirs:
        yield at_most(f"8 GPUs: cost, tcabench / {name}", used[ours] / used[name], 1.0, "ratio")


def our_share(for_s: float) -> float:
    """The sampler's process and what this one does for it, as a share of one core."""
    meters = open_meters(["nvml"], apart=True)
    try:
        pid = sampler_pid(meters)
        with recording(meters, SystemClock(), lambda samples: None):
            time.sleep(1)
            before_s, began_s = process_s(pid) + time.process_time(), time.monotonic()
            time.sleep(for_s)
            return (process_s(pid) + time.process_time() - before_s) / (time.monotonic() - began_s)
    finally:
        for meter in meters:
            meter.close()


def zeus_share(python: Path, period_s: float | None, for_s: float) -> float:
    """zeus' processes, as a share of one core."""
    with _zeus(python, "cost", {"period_s": period_s, "for_s": for_s}) as child:
        assert child.stdout is not None
        answer = json.loads(child.stdout.readline())
    return float(answer["cpu_s"] / answer["wall_s"])


def sampler_pid(meters: Sequence[Any]) -> int:
    """The process in which these meters are read."""
    return next(meter.sampler.pid for meter in meters if isinstance(meter, ApartMeter))


def process_s(pid: int) -> float:
    """Processor time of a process in s, threads that ended among it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100  # user and system, in ticks of 10 ms (USER_HZ)


def _zeus(python: Path, what: str, orders: Mapping[str, Any]) -> "subprocess.Popen[str]":
    child = subprocess.Popen([str(python), str(SCRIPT), what], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdin is not None
    child.stdin.write(json.dumps(orders) + "\n")
    child.stdin.close()
    return child
