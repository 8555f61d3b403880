"""Samples sorted into one series per channel."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import attrgetter

from tcabench.records import PowerSample

LARGEST = 1e18  # W or J: beyond it, and where it is no number at all, a reading is none


@dataclass(frozen=True, slots=True)
class Series:
    """The samples of one channel in order of time: instants and read durations in ns, values in the channel's unit."""

    t_ns: tuple[int, ...]
    read_ns: tuple[int, ...]
    value: tuple[float, ...]


def by_channel(samples: Iterable[PowerSample]) -> Mapping[str, Series]:
    """channel id -> its samples in order of time, whatever order they came in. What is no number is no reading."""
    grouped: dict[str, list[PowerSample]] = {}
    for sample in samples:
        if -LARGEST < sample.value < LARGEST:
            grouped.setdefault(sample.channel, []).append(sample)
    return {channel: _series(group) for channel, group in grouped.items()}


def _series(group: list[PowerSample]) -> Series:
    group.sort(key=attrgetter("t_ns"))  # linear where they already are in order
    return Series(
        tuple(sample.t_ns for sample in group),
        tuple(sample.read_ns for sample in group),
        tuple(sample.value for sample in group),
    )
