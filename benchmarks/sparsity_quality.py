"""What gate thresholds do to the answers: `tcabench quality` of a served engine, with and without them."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from benchmarks.figures import Measured, told
from tcabench.load import Endpoint
from tcabench.load.bundled import bundled_engine
from tcabench.parity import Parity, PlannedParity, System, measure, open_system
from tcabench.workload import load_workload

MARGIN, CONCURRENCY, TIMEOUT_S = 0.01, 8, 600.0
GATES = ("0.05", "0.1", "0.25", "0.5")
ASKED = (("chat", 24, 64), ("graded", 174, None))  # workload, prompts spread evenly over it, tokens of each answer


def gate_rows() -> Iterator[Measured]:
    """Each share of neurons left out, against the engine as shipped (whose tokens are float32's, see engine_ladder)."""
    for workload, prompts, max_tok in ASKED:
        every = load_workload(workload).prompts
        some = every[:: max(1, len(every) // prompts)][:prompts]
        for gate in GATES:
            print(f"  gates {gate} on {workload}", flush=True)
            yield from _rows(
                f"gates {gate} on {workload}", compared(gate, PlannedParity(some, max_tok, MARGIN, CONCURRENCY))
            )


def compared(gate: str, planned: PlannedParity) -> Parity:
    """The engine with the thresholds shipped for it, against itself without."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        plain = stack.enter_context(open_system("bundled", None, None, folder))
        said = stack.enter_context(bundled_engine(["--gate-sparsity", gate], folder / "cut.log"))
        endpoint = Endpoint(said["listening"] + "/v1", said["model"], "chat", TIMEOUT_S)
        return measure(plain, System(f"gates {gate}", endpoint, {}), planned, _stage)


def _rows(at: str, parity: Parity) -> Iterator[Measured]:
    made = parity.compared
    agreed, like, right = made.agreement, made.likeness, made.right
    print(f"    {made.found.standing.value}: {made.found.why}", flush=True)
    yield told(f"{at}: same answers", agreed.same / agreed.compared, f"share of {agreed.compared}")
    if like is not None:
        for name, value in (("", like.nll.mean), (", low", like.nll.low95), (", high", like.nll.high95)):
            yield told(f"{at}: log-perplexity{name}", value, "nat/token more; 95 % interval over texts")
        yield told(f"{at}: KL", like.kl.mean, "nat/token, at the least")
        yield told(f"{at}: largest |d logprob|", like.logprob_max, "nat")
    if right is not None and right.graded:
        yield told(f"{at}: right", right.candidate_right / right.graded, f"share of {right.graded}")
        yield told(f"{at}: right without", right.reference_right / right.graded, f"share of {right.graded}")
        yield told(f"{at}: p of McNemar's test", right.p_value, "probability")


def _stage(what: str, n: int) -> Callable[[], None]:
    return lambda: None
