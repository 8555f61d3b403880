"""The nouns. Stages do not import each other; what passes between them is declared here, frozen."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


@dataclass(frozen=True, slots=True)
class Quantity:
    """A measured value in `unit` with its expanded interval [low, high] (k = 2, about 95 %).

    The interval may be lopsided: an estimate that is good to a factor of 3 spans value/3 to 3*value. With
    `open_above` the sample was too small to bound the value from above: `high` is then just the largest seen.
    """

    value: float
    low: float
    high: float
    unit: str
    open_above: bool = False

    @classmethod
    def exact(cls, value: float, unit: str) -> "Quantity":
        """A count or a setting: no uncertainty of its own."""
        return cls(value, value, value, unit)


@dataclass(frozen=True, slots=True)
class NotMetered:
    """There is no number here, and why. Never 0.0, never a guess."""

    why: str


Value = Quantity | NotMetered


@dataclass(frozen=True, slots=True)
class Message:
    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt of a workload; `max_tok` is its output length (pinned or at most), `answer` the right one if known."""

    id: str
    messages: tuple[Message, ...]
    max_tok: int
    answer: str | None = None


@dataclass(frozen=True, slots=True)
class Arrivals:
    """When requests are sent. "closed": `concurrency` in flight, the next as soon as one ends. "constant" and
    "poisson": `rate_per_s` whatever the server does (open loop), at most `concurrency` at once (if given)."""

    kind: str
    concurrency: int | None
    rate_per_s: float | None


@dataclass(frozen=True, slots=True)
class WindowPlan:
    """Planned phases: idle before load, warm-up, measuring, and how long answers are awaited after that."""

    idle_s: float
    warmup_s: float
    measure_s: float
    drain_s: float


@dataclass(frozen=True, slots=True)
class Workload:
    """A workload as loaded. `digest` is the sha256 over its files (see `workload.catalogue`)."""

    name: str
    version: int
    title: str
    license: str
    digest: str
    prompts: tuple[Prompt, ...]
    pin_output: bool
    temperature: float
    arrivals: Arrivals
    window: WindowPlan


@dataclass(frozen=True, slots=True)
class Request:
    """One request to send. `due_s` is its offset from the start of load (open loop), None in closed loop."""

    index: int
    prompt_id: str
    messages: tuple[Message, ...]
    max_tok: int
    pin_output: bool
    temperature: float
    seed: int
    due_s: float | None


class Status(StrEnum):
    """How a request ended. Everything but OK counts as an error."""

    OK = "ok"
    UNREACHABLE = "unreachable"  # no connection, or it broke before the response head
    HTTP_4XX = "http_4xx"
    HTTP_429 = "http_429"
    HTTP_5XX = "http_5xx"
    STREAM_CUT = "stream_cut"  # the stream ended without its closing event
    MALFORMED = "malformed"  # bytes that are not the protocol
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"  # we stopped it: end of drain, Ctrl-C


@dataclass(frozen=True, slots=True)
class Trace:
    """What happened to one request; all times in ns of the run's monotonic clock.

    `due_ns` is the scheduled instant in open loop (None in closed loop); latencies count from it where it exists, so a
    late client cannot hide queueing. `chunk_ns` holds the arrival of each content-bearing chunk. `output_tok` and
    `prompt_tok` are the server's `usage`, `recount_tok` is our count of `text` (None: not given, no tokenizer).
    """

    index: int
    prompt_id: str
    max_tok: int
    due_ns: int | None
    sent_ns: int
    end_ns: int
    chunk_ns: tuple[int, ...]
    status: Status
    http_status: int | None
    error: str
    finish_reason: str | None
    text: str
    prompt_tok: int | None
    output_tok: int | None
    recount_tok: int | None
    server_id: str | None


class Kind(StrEnum):
    """What a channel measures; the value of each sample is in the unit after the colon."""

    POWER = "power"  # W
    ENERGY = "energy"  # J, a counter that only rises
    TEMPERATURE = "temperature"  # degC
    CLOCK = "clock"  # MHz
    POWER_LIMIT = "power_limit"  # W
    THROTTLE = "throttle"  # bit mask, meaning given by the meter
    UTILISATION = "utilisation"  # 0..1
    CPU_TIME = "cpu_time"  # s, a counter that only rises


@dataclass(frozen=True, slots=True)
class Channel:
    """One stream of samples and all that is needed to judge it. Saved in the evidence beside the samples.

    `domain` says what is measured ("gpu0", "host"); two channels of one domain and different `kind` see the
    same thing (a power reading and an energy counter) and are never added. `boundary` is "chip", "node",
    "rack" or "facility". `gain_low`/`gain_high`: the true value lies in [reading*gain_low, reading*gain_high]
    (k = 2) from the meter's own class. `update_ns` is the documented interval at which the reading changes
    (0: unknown). `is_estimate` marks a model, not an instrument: such a channel never earns more than E0.
    `accuracy_source` names where the gain comes from.
    """

    id: str
    meter: str
    domain: str
    kind: Kind
    unit: str
    boundary: str
    gain_low: float
    gain_high: float
    resolution: float
    update_ns: int
    period_ns: int
    is_estimate: bool
    accuracy_source: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class PowerSample:
    """One reading of `channel`. `t_ns` is the middle of the read call, `read_ns` how long it took."""

    t_ns: int
    read_ns: int
    channel: str
    value: float


@dataclass(frozen=True, slots=True)
class Window:
    """The phases of a run, in ns. Energy and tokens are counted over the same [start_ns, end_ns).

    `idle_*`: the server was up and nothing was asked of it (equal ends: no idle phase). `load_start_ns`: first
    request. `drain_end_ns`: last answer. `why_end` names what closed the window.
    """

    idle_start_ns: int
    idle_end_ns: int
    load_start_ns: int
    start_ns: int
    end_ns: int
    drain_end_ns: int
    why_end: str


@dataclass(frozen=True, slots=True)
class Component:
    """One line of the uncertainty budget of an energy: relative half-widths (k = 2), down and up."""

    name: str
    down_rel: float
    up_rel: float
    source: str


@dataclass(frozen=True, slots=True)
class DomainEnergy:
    """Energy of one domain over the window. `residual_rel` = counter/integral - 1 where both exist."""

    domain: str
    method: str  # "counter" or "integral"
    channel: str
    energy: Value  # J
    residual_rel: float | None
    gaps: int
    longest_gap_s: float


@dataclass(frozen=True, slots=True)
class Energy:
    """Energy over the window inside `boundary`. `grade` is "E0".."E7", computed; None when nothing was metered."""

    boundary: str
    total: Value  # J
    mean_power: Value  # W
    peak_power: Value  # W
    idle_power: Value  # W
    domains: tuple[DomainEnergy, ...]
    components: tuple[Component, ...]
    grade: str | None
    grade_why: str
    block_j: tuple[float, ...]  # energy of equal blocks of the window, for the spread within the run


class Outcome(StrEnum):
    PASS = "PASS"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    NOT_APPLICABLE = "NOT APPLICABLE"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One clause of a policy, judged. `value` is None for clauses that are not about a number."""

    check: str
    outcome: Outcome
    clause: str  # the clause in words, e.g. "output_tokens_per_kwh >= 15000 token/kWh"
    reason: str  # one sentence with the numbers
    value: Value | None
    limit: str | None
    decide_s: float | None  # further measuring time that would decide it, if any would
    severity: str = "fail"  # "fail" or "warn"


@dataclass(frozen=True, slots=True)
class Judgement:
    """All clauses of one policy over one run."""

    policy_id: str
    overall: Outcome
    reason: str
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A finished run as plain values; `plan`, `sut` and `quality` are JSON-ready."""

    run_id: str
    complete: bool
    plan: Mapping[str, Any]
    sut: Mapping[str, Any]
    channels: tuple[Channel, ...]
    samples: tuple[PowerSample, ...]
    traces: tuple[Trace, ...]
    window: Window | None
    energy: Energy | None
    values: Mapping[str, Value]
    judgement: Judgement
    quality: Mapping[str, Any]
    events: tuple[Mapping[str, Any], ...] = ()
