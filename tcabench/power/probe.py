"""Tries meters out: what they read now, how often that changes, how long a read takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from tcabench.clock import Clock
from tcabench.power.meter import Meter
from tcabench.power.recording import recording
from tcabench.records import Channel, PowerSample
from tcabench.units import NS_PER_S


@dataclass(frozen=True, slots=True)
class Probed:
    """One channel, tried out: its last value (None: no reading), how many came, how far apart its changes were (s,
    None: it did not change twice), and how long a read took (ms, None: no reading)."""

    channel: Channel
    value: float | None
    readings: int
    changes_s: float | None
    read_ms: float | None


def probe(meters: Sequence[Meter], clock: Clock, for_s: float) -> tuple[tuple[Probed, ...], tuple[str, ...]]:
    """Every channel of `meters` after reading them for `for_s` seconds, and what went wrong meanwhile."""
    with recording(meters, clock, lambda samples: None) as tape:
        clock.sleep(for_s)
    samples = tape.samples()
    channels = [channel for meter in meters for channel in meter.channels()]
    found = tuple(_probed(channel, [s for s in samples if s.channel == channel.id]) for channel in channels)
    return found, tuple(f"{fault['meter']}: {fault['why']}" for fault in tape.faults())


def _probed(channel: Channel, samples: Sequence[PowerSample]) -> Probed:
    if not samples:
        return Probed(channel, None, 0, None, None)
    at_ns = [_stamp_ns(later) for earlier, later in pairwise(samples) if later.value != earlier.value]
    apart = [(later - earlier) / NS_PER_S for earlier, later in pairwise(at_ns)]
    read_ms = median(sample.read_ns for sample in samples) / 1e6
    return Probed(channel, samples[-1].value, len(samples), median(apart) if apart else None, read_ms)


def _stamp_ns(sample: PowerSample) -> int:
    return sample.t_ns if sample.device_ns is None else sample.device_ns
