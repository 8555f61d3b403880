"""What each approximate lever does to the answers: `tcabench quality` of a served engine against the dense one."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from tcabench.load import Endpoint
from tcabench.load.bundled import bundled_engine
from tcabench.parity import Parity, PlannedParity, System, measure, open_system
from tcabench.workload import load_workload

MARGIN, CONCURRENCY, TIMEOUT_S = 0.01, 8, 600.0
GRADED = "graded"


def compared(
    levers: Mapping[str, Sequence[str]],
    model: Sequence[str],
    workload: str,
    prompts: int,
    max_tok: int | None,
    folder: Path,
) -> dict[str, Parity]:
    """Each engine, started with the options of `levers`, against the engine in plain float32 with every lever off.
    `prompts` of the workload are taken evenly spread over it."""
    every = load_workload(workload).prompts
    some = every[:: max(1, len(every) // prompts)][:prompts]
    planned = PlannedParity(some, max_tok, MARGIN, CONCURRENCY)
    found = {}
    for name, options in levers.items():
        with ExitStack() as stack:
            dense = stack.enter_context(open_system("dense", model[1] if model else None, None, folder))
            log = folder / f"{name.replace(' ', '-')}.log"
            said = stack.enter_context(bundled_engine([*model, *options], log))
            endpoint = Endpoint(said["listening"] + "/v1", said["model"], "chat", TIMEOUT_S)
            found[name] = measure(dense, System(name, endpoint, {}), planned, _silent)
    return found


def _silent(what: str, n: int) -> Callable[[], None]:
    print(f"  {what} ({n})", flush=True)
    return lambda: None
