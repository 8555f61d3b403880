"""How well the load marker tells a meter's delay: simulated runs with a marker of about a minute, watched by a fast GPU
meter and by a slow meter whose delay and clock nobody knows. The seeds are fixed.
"""

import random
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from math import fsum, sqrt
from typing import Any

from benchmarks.figures import Measured, at_least, at_most
from tcabench.records import Alignment
from tcabench.timeline import align
from tests.timeline.played_load import Load, S, Watch, fast, slow

TRIALS, CHUNK = 200, 10
UPDATES_S = (1.0, 3.0, 5.0)
LARGEST_MS = {1.0: 10.0, 3.0: 30.0, 5.0: 50.0}  # 1 % of the update interval
CLOCK_S = 20.0  # its own clock is off by up to so much, and was never compared with ours


@dataclass(frozen=True)
class Trial:
    """One run: whether the marker timed the meter, the error of that delay and the stated one (k = 2)."""

    is_timed: bool
    error_s: float
    stated_s: float


def measure(number: int, share: float, pool: Executor) -> Iterator[Measured]:
    """Errors and coverage for each update interval; each with its delay unknown, by our clock and by one of its own."""
    count = max(2, round(TRIALS * share))
    jobs = {
        (every_s, is_flat): [
            pool.submit(trials, every_s, is_flat, number, first, min(first + CHUNK, count))
            for first in range(0, count, CHUNK)
        ]
        for every_s in UPDATES_S
        for is_flat in (False, True)
    }
    found = {key: [trial for job in of_one for trial in job.result()] for key, of_one in jobs.items()}
    for every_s in UPDATES_S:
        yield from _told(f"{every_s:g} s meter", [one for one in found[every_s, False] if one.is_timed], count, every_s)
    refused = [not trial.is_timed for every_s in UPDATES_S for trial in found[every_s, True]]
    yield at_least("marker: a flat load is refused", sum(refused) / len(refused), 1.0, "share of runs")


def _told(name: str, timed: list[Trial], count: int, every_s: float) -> Iterator[Measured]:
    rmse_s = sqrt(fsum(one.error_s * one.error_s for one in timed) / len(timed))
    held = sum(abs(one.error_s) <= one.stated_s for one in timed) / len(timed)
    yield at_least(f"marker, {name}: delay found", len(timed) / count, 0.95, "share of runs")
    yield at_most(f"marker, {name}: error of the delay, RMSE", 1000 * rmse_s, LARGEST_MS[every_s], "ms")
    yield at_least(f"marker, {name}: stated error holds the truth", held, 0.95, "share of runs")


def trials(every_s: float, is_flat: bool, number: int, first: int, end: int) -> list[Trial]:
    """Some of the trials for one update interval; of every two, one meter has a clock of its own."""
    return [_trial(1000 * number + place, every_s, is_flat) for place in range(first, end)]


def _trial(seed: int, every_s: float, is_flat: bool) -> Trial:
    rng = random.Random(f"{seed} {every_s}")
    load = Load(seed, flat=is_flat)
    lead_s = rng.uniform(-CLOCK_S, CLOCK_S) if seed % 2 else None
    watch = slow(
        load, every_s, delay_s=3 * rng.random(), phase_s=every_s * rng.random(), digit=1.0, lead_s=lead_s,
        channel={"has_own_clock": lead_s is not None},
    )  # fmt: skip
    found = _alignment(load, watch)
    lag_s = watch.lag_s + (lead_s or 0.0)
    return Trial(found.method == "load marker", found.shift_ns / S - lag_s, found.error_ns / S)


def _alignment(load: Load, watch: Watch) -> Alignment:
    quick = fast(load)
    quick.channel = replace(quick.channel, average_ns=round(quick.mean_s * S))  # as its documents say
    samples = sorted([*quick.samples(), *watch.samples()], key=lambda sample: (sample.t_ns, sample.channel))
    events: list[dict[str, Any]] = load.events()
    axis = align([quick.channel, watch.channel], samples, events, load.window())
    return next(one for one in axis.alignments if one.meter == watch.channel.meter)
