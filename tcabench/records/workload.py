"""What is asked of a server: prompts, arrivals, phases, requests."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Message:
    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt of a workload; `max_tok` is its output length (pinned or at most), `answer` the right one if known.
    `grader` names how an output is held against it (None: it is not), `kind` the class that it is counted in."""

    id: str
    messages: tuple[Message, ...]
    max_tok: int
    answer: str | None = None
    grader: str | None = None
    kind: str | None = None


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
