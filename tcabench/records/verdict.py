"""Judged clauses, and a finished run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tcabench.records.answers import Trace, Work
from tcabench.records.energy import Energy, Window
from tcabench.records.power import Channel, PowerSample
from tcabench.records.quality import Spoken
from tcabench.records.quantity import Value


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
    """A finished run as plain values; `plan`, `sut`, `quality` and `parity` are JSON-ready."""

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
    aligned: tuple[PowerSample, ...] = ()  # the sound samples on the run's clock
    parity: Mapping[str, Any] = field(default_factory=dict)  # the comparison with a reference; empty: none was planned
    spoken: tuple[Spoken, Spoken] | None = None  # what reference and system said in it
    work: tuple[Work, ...] = ()  # what the server says it did and was spared
    work_sums: Mapping[str, Any] = field(default_factory=dict)  # of that in the window; empty: nothing was told
