"""The comparison that a run makes once its meters are put away: the very server that was metered, and a reference."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tcabench.errors import TcaError, UsageError
from tcabench.evidence.parity_table import write_spoken
from tcabench.load import Endpoint
from tcabench.load.endpoint import checked_url
from tcabench.parity.measure import PlannedParity, Stage, measure
from tcabench.parity.systems import BUNDLED, DENSE, System, checked_name, open_system
from tcabench.plan import PlannedReference, RunOptions

SCHEMA = "tcabench/parity/v1"
METERED = "metered system"
Asked = tuple[dict[str, Any], bytes | None]


@dataclass(frozen=True, slots=True)
class Sought:
    """How a run's reference is opened: its `system`, the `model` there (None: the default, or the only one), and the
    API `key`, which is written nowhere."""

    system: str
    model: str | None
    key: str | None = field(repr=False)


def sought(options: RunOptions, key: str | None) -> Sought | None:
    """The reference asked for, None where none was. The engine as a reference takes the model of the engine that is
    metered, unless another is named. raises: UsageError for a name that is no system, or the metered one."""
    if options.reference is None:
        return None
    name = checked_name(options.reference, "--reference")
    if options.endpoint is not None and name == checked_url(options.endpoint):
        raise UsageError(f"--reference {name} is the metered server itself, which equals itself", "system")
    same = options.model if options.endpoint is None and name in (BUNDLED, DENSE) else None
    return Sought(name, options.reference_model or same, key)


def ask_both(
    metered: Endpoint, facts: Mapping[str, Any], reference: Sought, planned: PlannedParity, folder: Path, stage: Stage
) -> Asked:
    """What `parity.json` says before anything is concluded, and `parity.parquet` with all that both said. Where the
    reference failed, or the user had enough of it, the first says why and there is no second: the run is whole without.
    """
    candidate = System(METERED, metered, facts)
    try:
        with open_system(reference.system, reference.model, reference.key, folder) as opened:
            parity = measure(opened, candidate, planned, stage)
        return _head(planned, opened, candidate), write_spoken(parity.reference, parity.candidate)
    except KeyboardInterrupt:
        return not_compared(reference.system, "the user stopped the comparison"), None
    except TcaError as err:
        return not_compared(reference.system, str(err)), None


def not_compared(reference: str, why: str) -> dict[str, Any]:
    """`parity.json` of a run that was to be compared and was not."""
    return {"schema": SCHEMA, "why": why, "reference": {"name": reference}, "candidate": None, "planned": None}


def planned_parity(prompts: tuple[Any, ...], reference: PlannedReference) -> PlannedParity:
    """The comparison that the run's plan declares: the first prompts of its own workload, each as long as it says."""
    chosen = prompts[: reference.prompts]
    return PlannedParity(chosen, None, reference.perplexity_margin, reference.concurrency)


def _head(planned: PlannedParity, reference: System, candidate: System) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "why": "",
        "reference": {"name": reference.name, **reference.facts},
        "candidate": {"name": candidate.name, **candidate.facts},
        "planned": {
            "prompts": [prompt.id for prompt in planned.prompts],
            "perplexity_margin": planned.margin,
            "concurrency": planned.concurrency,
        },
    }
