"""The run plan: everything that was decided before the first request, saved in the evidence as `plan.json`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from tcabench import __version__
from tcabench.door import Door, checked
from tcabench.errors import UsageError
from tcabench.records import Arrivals, WindowPlan, Workload
from tcabench.site import parse_site

MARKER_CHIPS = 16
OPEN_LOOP = 8  # requests in flight for marker and comparison, where the load itself has no such number
Seconds = Annotated[float, Field(ge=0, le=7 * 86_400, allow_inf_nan=False)]


class PlannedArrivals(Door):
    kind: Literal["closed", "constant", "poisson"]
    concurrency: Annotated[int, Field(ge=1, le=100_000)] | None
    rate_per_s: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)] | None


class PlannedWindow(Door):
    idle_s: Seconds
    warmup_s: Seconds
    measure_s: Annotated[Seconds, Field(gt=0)]
    drain_s: Seconds


class PlannedWorkload(Door):
    name: str
    version: int
    digest: str
    pin_output: bool
    temperature: float


class PlannedPolicy(Door):
    id: str
    digest: str


class PlannedMarker(Door):
    """The load marker before the load: so many pseudo-random chips of `chip_s`, `concurrency` requests in flight in
    each that is on."""

    chips: Annotated[int, Field(ge=8, le=1024)]
    chip_s: Annotated[float, Field(gt=0, le=600)]
    concurrency: Annotated[int, Field(ge=1, le=100_000)]


class PlannedReference(Door):
    """The comparison with a reference that follows the metering: with which `system`, on how many prompts of the run's
    workload, by which share perplexity may differ and still be EQUIVALENT, so many requests in flight."""

    system: Annotated[str, Field(min_length=1)]
    prompts: Annotated[int, Field(ge=1, le=100_000)]
    perplexity_margin: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
    concurrency: Annotated[int, Field(ge=1, le=100_000)]


class RunPlan(Door):
    """A run, decided. `endpoint` is null for the bundled engine, whose port says nothing; `concurrency` repeats
    the closed loop's for policies that bind to it; `pinned` says whether the server takes `ignore_eos`."""

    run_id: str
    tool_version: str
    endpoint: str | None
    api: str
    model: str
    model_sha256: str | None
    workload: PlannedWorkload
    arrivals: PlannedArrivals
    concurrency: int | None
    requests: Annotated[int, Field(ge=1)] | None
    window: PlannedWindow
    timeout_s: Annotated[float, Field(gt=0)]
    seed: Annotated[int, Field(ge=0, lt=2**53)]
    pinned: bool
    meters: tuple[str, ...]
    marker: PlannedMarker | None
    site: dict[str, Any] | None
    boundary: Literal["chip", "node", "rack", "facility"]
    metrics: Annotated[tuple[str, ...], Field(min_length=1, max_length=100)]
    policy: PlannedPolicy
    reference: PlannedReference | None = None

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        closed_at = self.arrivals.concurrency if self.arrivals.kind == "closed" else None
        if self.concurrency != closed_at:
            raise ValueError(f"concurrency is {self.concurrency}, but the arrivals say {closed_at}")
        if self.site is not None:
            parse_site(self.site)
        if len(set(self.metrics)) != len(self.metrics):
            raise ValueError("metrics: each is named once")
        return self

    def load_arrivals(self) -> Arrivals:
        """`arrivals` as the stages take it."""
        return Arrivals(**self.arrivals.model_dump())

    def phases(self) -> WindowPlan:
        """`window` as the stages take it."""
        return WindowPlan(**self.window.model_dump())


def parse_plan(content: bytes) -> RunPlan:
    """The plan in `plan.json`. raises: UsageError naming the field."""
    try:
        return RunPlan.model_validate_json(content)
    except ValidationError as err:
        first = err.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "plan.json"
        raise UsageError(f"plan.json: {where}: {first['msg']}", "plan") from err


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What a person asked for; None leaves the choice to the workload. Times in s. `engine`: more options of the
    bundled engine, e.g. `--without`, `paging`."""

    endpoint: str | None = None
    model: str | None = None
    api: str = "chat"
    workload: str = "chat"
    concurrency: int | None = None
    rate_per_s: float | None = None
    requests: int | None = None
    measure_s: float | None = None
    warmup_s: float | None = None
    idle_s: float | None = None
    drain_s: float | None = None
    seed: int = 0
    timeout_s: float = 300.0
    api_key_env: str | None = None
    tokenizer: Path | None = None
    meters: tuple[str, ...] | None = None
    marker_s: float | None = None
    site: Path | None = None
    policy: str = "indicative"
    boundary: str | None = None
    out: Path = Path("runs")
    key: Path | None = None
    key_passphrase_env: str | None = None
    engine: tuple[str, ...] = ()
    reference: str | None = None
    reference_model: str | None = None
    reference_key_env: str | None = None
    reference_prompts: int = 24
    reference_margin: float = 0.01


def decide(
    run_id: str,
    options: RunOptions,
    workload: Workload,
    policy_id: str,
    policy_digest: str,
    metrics: tuple[str, ...],
    site: dict[str, Any] | None = None,
) -> RunPlan:
    """The plan, as far as it can be decided before the server was asked: `model`, `model_sha256` and `pinned` are
    settled by its answers, `meters` and `marker` by the meters. raises: UsageError naming the option that makes no
    sense."""
    arrivals = _arrivals(options, workload)
    fields: dict[str, Any] = {
        "run_id": run_id,
        "tool_version": __version__,
        "endpoint": options.endpoint,
        "api": options.api,
        "model": options.model or "",
        "model_sha256": None,
        "workload": {name: getattr(workload, name) for name in PlannedWorkload.model_fields},
        "arrivals": {"kind": arrivals.kind, "concurrency": arrivals.concurrency, "rate_per_s": arrivals.rate_per_s},
        "concurrency": arrivals.concurrency if arrivals.kind == "closed" else None,
        "requests": options.requests,
        "window": _window(options, workload.window),
        "timeout_s": options.timeout_s,
        "seed": options.seed,
        "pinned": False,
        "meters": (),
        "marker": None,
        "site": site,
        "boundary": options.boundary or "chip",
        "metrics": metrics,
        "policy": {"id": policy_id, "digest": policy_digest},
        "reference": _reference(options, arrivals, len(workload.prompts)),
    }
    return checked(RunPlan, fields, "run options")


def planned_marker(marker_s: float, arrivals: PlannedArrivals) -> PlannedMarker | None:
    """A marker of `marker_s` seconds in all, as many requests in flight as the load itself has; None for 0 s."""
    if marker_s <= 0:
        return None
    chip_s, concurrency = marker_s / MARKER_CHIPS, arrivals.concurrency or OPEN_LOOP
    return PlannedMarker(chips=MARKER_CHIPS, chip_s=chip_s, concurrency=concurrency)


def _arrivals(options: RunOptions, workload: Workload) -> Arrivals:
    """Open loop where a rate was asked for, else the workload's own arrivals, perhaps with another concurrency."""
    if options.rate_per_s is not None:
        return Arrivals("poisson", options.concurrency, options.rate_per_s)
    if options.concurrency is None:
        return workload.arrivals
    return Arrivals(workload.arrivals.kind, options.concurrency, workload.arrivals.rate_per_s)


def _reference(options: RunOptions, arrivals: Arrivals, prompts: int) -> dict[str, Any] | None:
    """As many prompts as there are at most, and as many in flight as the load itself has."""
    if options.reference is None:
        return None
    asked = min(options.reference_prompts, prompts)
    return {
        "system": options.reference, "prompts": asked, "perplexity_margin": options.reference_margin,
        "concurrency": min(asked, arrivals.concurrency or OPEN_LOOP),
    }  # fmt: skip


def _window(options: RunOptions, own: WindowPlan) -> dict[str, float]:
    asked = {
        "idle_s": options.idle_s,
        "warmup_s": options.warmup_s,
        "measure_s": options.measure_s,
        "drain_s": options.drain_s,
    }
    return {name: getattr(own, name) if value is None else value for name, value in asked.items()}
