"""The measuring window and the energy in it: how sound the readings were, what they add up to, what follows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tcabench.records.answers import Trace
from tcabench.records.power import PowerSample
from tcabench.records.quantity import NotMetered, Value

NO_IDLE = NotMetered("the run had no idle phase")
NO_OTHER = NotMetered("there is no other channel")
BROKEN_COUNTER = "no energy is counted across that"  # how the `why` of a counter ends that fell or leapt


@dataclass(frozen=True, slots=True)
class Window:
    """The phases of a run, in ns. Energy and tokens are counted over the same [start_ns, end_ns).

    `idle_*` and `idle_after_*`: the server was up and nothing was asked of it, before and after the load (equal ends:
    no such phase). `load_start_ns`: first request. `drain_end_ns`: last answer. `why_end` names what closed the window.
    """

    idle_start_ns: int
    idle_end_ns: int
    load_start_ns: int
    start_ns: int
    end_ns: int
    drain_end_ns: int
    why_end: str
    idle_after_start_ns: int = 0
    idle_after_end_ns: int = 0


@dataclass(frozen=True, slots=True)
class Alignment:
    """How a meter's samples were put on the run's clock: moved back by `shift_ns`, then known to +-`error_ns` (k = 2).

    `method` is "host clock" (stamped by us, nothing moved), "stated clock" (the meter's own stamps, taken as wall
    time), "clock exchange" (NTP-style round trips) or "load marker" (cross-correlation: `shift_ns` then holds the
    reading's own delay, too). `residual_rel` is the spread that the
    marker's fit leaves, of the swing. `why` says what stood in the way of a better method.
    """

    meter: str
    shift_ns: int
    error_ns: int
    method: str
    residual_rel: float | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """How sound one channel's readings were over the window: counts of readings `expected` by its period and `got`,
    of those that came `late`, or twice (`duplicates`); time in s without a sound reading, frozen ones among it.
    `lost_rel` (0..1) is the share of the window that no sound reading covers; `faults` says what is wrong in words."""

    channel: str
    expected: int
    got: int
    late: int
    duplicates: int
    frozen_s: float
    missing_s: float
    lost_rel: float
    faults: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Axis:
    """All sound samples on the run's clock, in order of time; what was moved and what was left out."""

    samples: tuple[PowerSample, ...]
    alignments: tuple[Alignment, ...]
    health: tuple[Health, ...]


@dataclass(frozen=True, slots=True)
class Component:
    """One line of the uncertainty budget of an energy: relative half-widths (k = 2), down and up."""

    name: str
    down_rel: float
    up_rel: float
    source: str


@dataclass(frozen=True, slots=True)
class DomainEnergy:
    """Energy of one domain over the window. `residual_rel` = counter/integral - 1 where both exist; `other` is the
    energy by the method that was not taken, and `why` says why it was not."""

    domain: str
    method: str  # "counter", "integral" or "model"
    channel: str
    energy: Value  # J
    residual_rel: float | None
    gaps: int
    longest_gap_s: float
    other: Value = NO_OTHER
    why: str = ""


@dataclass(frozen=True, slots=True)
class Rung:
    """The energy at one boundary, so that chip, node, rack and facility stand side by side."""

    boundary: str
    total: Value  # J
    mean_power: Value  # W
    grade: str | None
    grade_why: str


@dataclass(frozen=True, slots=True)
class Split:
    """The window's energy by what was being done, by `rule`; the parts add up to the total."""

    prefill: Value  # J
    decode: Value  # J
    unloaded: Value  # J, while no request was under way
    rule: str


@dataclass(frozen=True, slots=True)
class Heat:
    """Heat that one coolant loop took away over the window, from flow and temperatures."""

    loop: str
    heat: Value  # J
    flow: Value  # L/min, mean
    rise: Value  # K, mean of return less supply
    fluid: str
    balance_rel: float | None  # heat over the IT energy it is set against, less 1
    why: str = ""


@dataclass(frozen=True, slots=True)
class Facility:
    """The plant's share in the window. `rule` names how shared cooling and loss were allocated, `tier` how well they
    are known: M3 measured directly, M2 measured and shared, M1 facility average, M0 declared or shared by a declared
    figure. `channels` are the ids of those that its values were taken from."""

    it: Value  # J of the system under test, at its outermost metered boundary
    it_all: Value  # J of all IT that shares the plant
    share: Value  # 1
    cooling: Value  # J allocated
    loss: Value  # J allocated
    ppue: Value  # 1, interim and partial
    erf: Value  # 1
    ere: Value  # 1
    wue: Value  # L/kWh
    cer: Value  # 1, heat removed over cooling electricity
    heat: tuple[Heat, ...]
    rule: str
    tier: str
    notes: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Carbon:
    """CO2 equivalent of the window's energy, location- and market-based, and the embodied share. `boundary` names the
    energy it was taken from; the sources are dated."""

    boundary: str
    location: Value  # g
    market: Value  # g
    embodied: Value  # g
    intensity_location: Value  # g/kWh
    intensity_market: Value  # g/kWh
    source_location: str
    source_market: str
    source_embodied: str


@dataclass(frozen=True, slots=True)
class Energy:
    """Energy over the window inside `boundary`. `grade` is "E0".."E7", computed; None when nothing was metered."""

    boundary: str
    total: Value  # J
    mean_power: Value  # W
    peak_power: Value  # W
    idle_power: Value  # W, before and after the load together
    domains: tuple[DomainEnergy, ...]
    components: tuple[Component, ...]
    grade: str | None
    grade_why: str
    block_j: tuple[float, ...]  # energy of equal blocks of the window, for the spread within the run
    idle_before: Value = NO_IDLE  # W
    idle_after: Value = NO_IDLE  # W
    dynamic: Value = NO_IDLE  # J above idle
    ladder: tuple[Rung, ...] = ()
    split: Split | None = None
    facility: Facility | None = None
    carbon: Carbon | None = None
    alignments: tuple[Alignment, ...] = ()
    health: tuple[Health, ...] = ()


@dataclass(frozen=True, slots=True)
class Context:
    """What an energy account needs beside channels and samples. `site` is the plan's site description, `day` the ISO
    date of the run (UTC), `start_wall_ns` the wall time (Unix ns) of the window's start; empty where not known."""

    alignments: tuple[Alignment, ...] = ()
    health: tuple[Health, ...] = ()
    traces: tuple[Trace, ...] = ()
    site: Mapping[str, Any] = field(default_factory=dict)
    day: str = ""
    start_wall_ns: int = 0
