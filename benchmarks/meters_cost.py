"""What sampling costs, and how late readings come while the process that asked for them is busy."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from math import floor
from multiprocessing import get_context
from pathlib import Path

from benchmarks.figures import Measured, at_most, told
from benchmarks.meters_loads import Chain
from benchmarks.meters_peer import SQUARE, process_s, sampler_pid
from benchmarks.meters_stages import environment, gpus, played
from tcabench.clock import SystemClock
from tcabench.power import Tape, open_meters, recording

GPUS, FACILITY = 8, ("modbus", "snmp2", "redfish", "prometheus")
COST_S, BUSY_S, CALM_S = 30.0, 10.0, 2.0
PERIOD_NS, MS, LEAST_MS = 50_000_000, 1e6, 0.001
GROUPS = {
    "8 GPUs, energy and power at 20 Hz": lambda name: name.startswith("nvml.") and "telemetry" not in name,
    "8 GPUs, telemetry at 1 Hz": lambda name: name.startswith("nvml.") and "telemetry" in name,
    "Modbus at 1 Hz": lambda name: name.startswith("modbus."),
    "SNMP v2c at 1 Hz": lambda name: name.startswith("snmp."),
    "Redfish, TLS, at 1 Hz": lambda name: name.startswith("redfish."),
    "Prometheus at 1 Hz": lambda name: name.startswith("prometheus."),
}


def cost(number: int, share: float, folder: Path) -> Iterator[Measured]:
    """The sampler's process, as a share of one core: by the kernel's account, and each meter's reads by its own."""
    scene = gpus(folder / "nvml", gpus=GPUS, start_ns=time.monotonic_ns(), **SQUARE)
    with environment(scene), played(FACILITY, Chain(1.0, 10.0, number, 0.0, 1.0), folder) as stages:
        names = ["nvml", *(names[0] for names in stages.names.values())]
        used, tape = _sampled(names, max(4.0, COST_S * share))
    for name, value in used.items():
        limit = at_most if name == "process" else None
        unit = "of one core"
        yield limit(f"sampler: {name}", value, 0.01, unit) if limit else told(f"sampler: {name}", value, unit)
    yield told("a thread that only sleeps, 20 times a second", _sleeping(max(2.0, 10.0 * share)), "of one core")
    last = {event["meter"]: event["share"] for event in tape.costs()}
    for title, belongs in GROUPS.items():
        yield told(
            f"sampler, by its own account: {title}", sum(last[name] for name in last if belongs(name)), "of one core"
        )


def _sampled(names: Sequence[str], for_s: float) -> tuple[dict[str, float], Tape]:
    meters = open_meters(names, apart=True)
    try:
        pid = sampler_pid(meters)
        with recording(meters, SystemClock(), lambda samples: None) as tape:
            time.sleep(2)
            before_s, here_s, began_s = process_s(pid), time.process_time(), time.monotonic()
            time.sleep(for_s)
            took_s = time.monotonic() - began_s
            used = {"process": (process_s(pid) - before_s) / took_s,
                    "taking over what it sends": (time.process_time() - here_s) / took_s}  # fmt: skip
        return used, tape
    finally:
        for meter in meters:
            meter.close()


def _sleeping(for_s: float) -> float:
    """What it costs on this machine to be woken as often as the GPUs are read; a virtual one makes much of it."""
    cpu_s, began_s = time.thread_time(), time.monotonic()
    while time.monotonic() - began_s < for_s:
        time.sleep(PERIOD_NS / 1e9)
    return (time.thread_time() - cpu_s) / (time.monotonic() - began_s)


def lateness(number: int, share: float, folder: Path) -> Iterator[Measured]:
    """How late readings of a GPU at 20 Hz begin while the asking process computes in Python: by the sampler's process,
    and by a thread of the busy process."""
    busy_s = max(1.0, BUSY_S * share)
    late_ms = {}
    with environment(gpus(folder / "nvml", gpus=1, start_ns=time.monotonic_ns(), **SQUARE)):
        ways = {"own process": True, "thread beside the load": False}
        for name in sorted(ways, reverse=bool(number % 2)):
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                late_ms[name] = sorted(pool.submit(late, ways[name], busy_s).result())
    for name in ways:
        for share_of in (0.5, 0.99):
            value, title = _quantile(late_ms[name], share_of), f"late by, {name}: {100 * share_of:g} % quantile"
            is_ours = name == "own process" and share_of == 0.99
            yield at_most(title, value, 5.0, "ms") if is_ours else told(title, value, "ms")
    ours, other = (_quantile(late_ms[name], 0.99) for name in ways)
    yield at_most("late by, own process / thread: 99 % quantile", ours / max(other, LEAST_MS), 1.0, "ratio")


def late(apart: bool, busy_s: float) -> list[float]:
    """For each tick of the schedule while this process was busy: by how many ms the reading began later."""
    meters = open_meters(["nvml"], apart=apart)
    try:
        with recording(meters, SystemClock(), lambda samples: None) as tape:
            time.sleep(CALM_S)
            busy_from_ns = time.monotonic_ns()
            _compute(busy_s)
            busy_to_ns = time.monotonic_ns()
            time.sleep(0.5)
    finally:
        for meter in meters:
            meter.close()
    began = [s.t_ns - s.read_ns // 2 for s in tape.samples() if s.channel == "nvml.gpu0.energy"]
    return _late_ms(began, busy_from_ns, busy_to_ns)


def _late_ms(began: Sequence[int], from_ns: int, to_ns: int) -> list[float]:
    """The schedule stands at start + k * period, and nothing begins early: of the readings before the load, the one
    that was least late tells it. A tick without a reading waited for the next one."""
    first = began[0]
    off = [(ns - first + PERIOD_NS // 2) % PERIOD_NS - PERIOD_NS // 2 for ns in began if ns < from_ns]
    start = first + min(off)
    due = range(start + (from_ns - start) // PERIOD_NS * PERIOD_NS + PERIOD_NS, to_ns, PERIOD_NS)
    found, later = [], iter(began)
    ns = next(later)
    for tick in due:
        while ns < tick - PERIOD_NS // 50:
            ns = next(later, to_ns + PERIOD_NS)
        found.append(max(0, ns - tick) / MS)
    return found


def _compute(for_s: float) -> int:
    """Pure Python, as a load generator that counts tokens: the interpreter is never idle."""
    total, until_s = 0, time.monotonic() + for_s
    while time.monotonic() < until_s:
        total += sum(a * b for a, b in pairwise(range(2000)))
    return total


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, floor(share * len(ordered)))]
