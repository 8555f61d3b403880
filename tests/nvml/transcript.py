"""Transcripts of real meters: read them, and play them back as a meter.

A transcript is JSON Lines. First line: {"schema", "channels", "facts", "window", "load", "phases", "edges"}; each
further line a sample, [t_ns, read_ns, "channel", value]. `record_transcript.py` writes them.
"""

import json
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tcabench.clock import Clock
from tcabench.records import Channel, Instrument, Kind, PowerSample, Role, Window

SCHEMA = "tcabench/meter-transcript/v1"
ENUMS: Mapping[str, Callable[[str], Any]] = {"kind": Kind, "role": Role, "instrument": Instrument}


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of the recording; `period_s` of a square wave, 0 where there is none."""

    name: str
    start_ns: int
    end_ns: int
    period_s: float


@dataclass(frozen=True, slots=True)
class Transcript:
    """`edges`: the instants at which the load went on (True) or off, in ns, as far as it told."""

    channels: tuple[Channel, ...]
    samples: tuple[PowerSample, ...]
    window: Window
    facts: Mapping[str, Any]
    load: str
    phases: tuple[Phase, ...] = ()
    edges: tuple[tuple[int, bool], ...] = ()


def read(path: Path) -> Transcript:
    """raises: ValueError for a file of another schema."""
    head, *lines = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    if head.get("schema") != SCHEMA:
        raise ValueError(f"{path} is no transcript of schema {SCHEMA}")
    channels = tuple(
        Channel(**{**row, **{key: enum(row[key]) for key, enum in ENUMS.items() if key in row}})
        for row in head["channels"]
    )
    return Transcript(
        channels, tuple(PowerSample(*line) for line in lines), Window(**head["window"]), head["facts"], head["load"],
        tuple(Phase(**row) for row in head.get("phases", [])), tuple((t, on) for t, on in head.get("edges", [])),
    )  # fmt: skip


class ReplayMeter:
    """Says at each read what the recorded meter had last said by then, counted from the first read."""

    name = "replay"

    def __init__(self, transcript: Transcript, clock: Clock) -> None:
        self._transcript, self._clock, self._started_ns = transcript, clock, -1
        self._by_channel: dict[str, list[PowerSample]] = {channel.id: [] for channel in transcript.channels}
        for sample in transcript.samples:
            self._by_channel[sample.channel].append(sample)
        self._from_ns = min(sample.t_ns for sample in transcript.samples)

    def channels(self) -> tuple[Channel, ...]:
        return self._transcript.channels

    def read(self) -> list[tuple[str, float]]:
        if self._started_ns < 0:
            self._started_ns = self._clock.now_ns()
        at_ns = self._from_ns + self._clock.now_ns() - self._started_ns
        last = {id_: bisect_right(s, at_ns, key=lambda sample: sample.t_ns) for id_, s in self._by_channel.items()}
        return [(id_, self._by_channel[id_][count - 1].value) for id_, count in last.items() if count]

    def facts(self) -> dict[str, Mapping[str, Any]]:
        return dict(self._transcript.facts)

    def close(self) -> None:
        """Nothing is held open."""
