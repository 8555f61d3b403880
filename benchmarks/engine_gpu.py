"""The engine on a GPU beside `transformers` generate: `make bench-engine_gpu`. Needs an idle NVIDIA GPU.

See README.md for what each figure is. Writes results/engine_gpu.json.
"""

import argparse
import gc
import importlib.metadata
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.figures import Figures, Measured, told
from reference_engine.config import EngineConfig
from reference_engine.engine import Engine
from reference_engine.model.gpu import GpuLlama, Kernels, triton_kernels
from reference_engine.model.gpu_weights import LoadedWeights, RandomWeights
from reference_engine.model.load import load
from reference_engine.model.random_weights import RandomModel, header
from reference_engine.request import Request, Sampling
from reference_engine.text import TextStream

ROUNDS, SECONDS, BATCHES = 3, 10.0, (1, 8, 64, 256)
PROMPT_TOK, OUTPUT_TOK, PAGE_TOK = 128, 128, 16
COPIED_BYTES = 4 << 30
RESULT = Path(__file__).parent / "results" / "engine_gpu.json"


class Case(NamedTuple):
    """A model (None: SmolLM2-135M-Instruct, 4-bit weights) and the type it multiplies in, for us and for the peer."""

    model: RandomModel | None
    exact: bool

    def __str__(self) -> str:
        return f"{self.model or 'smollm2-135m q4_1'}, {'float32' if self.exact else 'bfloat16'}"


CASES = (Case(None, True), Case(None, False), Case(RandomModel("llama-3.1-8b"), False))


@dataclass(frozen=True)
class Rig:
    """Where it runs, and how it is measured. `energy_j`: the device's counter, in J from any beginning."""

    device: torch.device
    kernels: Kernels
    energy_j: Callable[[], float]
    seconds: float = SECONDS
    batches: Sequence[int] = BATCHES
    prompt_tok: int = PROMPT_TOK
    output_tok: int = OUTPUT_TOK
    copied_bytes: int = COPIED_BYTES

    def sync(self) -> None:
        """Wait for what the device still does."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


@dataclass(frozen=True)
class Spent:
    """What some repetitions of a work took; the energy is that between two steps of the counter around them."""

    tokens: int
    work_s: float
    counted_s: float
    energy_j: float


def measured(rig: Rig, work: Callable[[], int]) -> Spent:
    """Repeat `work`, which returns its tokens, for `rig.seconds`; once before that, unmeasured.

    The wait for the counter's last step, 0.1 s at most, is counted too: at most 1 % against whoever is measured.
    """
    work()
    rig.sync()
    before_j, began_s, tokens = *edge(rig), 0
    while (work_s := time.monotonic() - began_s) < rig.seconds:
        tokens += work()
        rig.sync()
    after_j, ended_s = edge(rig)
    return Spent(tokens, work_s, ended_s - began_s, after_j - before_j)


def edge(rig: Rig) -> tuple[float, float]:
    """The counter and the time (s) when it next steps."""
    first_j = rig.energy_j()
    while (now_j := rig.energy_j()) == first_j:
        time.sleep(0.0005)
    return now_j, time.monotonic()


def ours(rig: Rig, case: Case, prompts: torch.Tensor) -> tuple[GpuLlama, Callable[[int], int]]:
    """The model, and what answers the first n prompts and returns the tokens made. No page is reused, nothing guessed:
    the same work as the peer's."""
    most = max(rig.batches)
    config = EngineConfig(
        page_tok=PAGE_TOK, kv_tok=most * (rig.prompt_tok + rig.output_tok + PAGE_TOK), max_running=most,
        max_waiting=most, step_tok=max(1024, 2 * most), without=frozenset({"prefix", "speculation"}),
    )  # fmt: skip
    weights = RandomWeights(case.model, rig.device) if case.model else LoadedWeights(load(default()), rig.device)
    model = GpuLlama(weights, config, rig.kernels, case.exact)
    engine = Engine(model, config)

    def answer(batch: int) -> int:
        sampling = Sampling(max_tok=rig.output_tok, ignore_eos=True)
        for i, ids in enumerate(prompts[:batch].tolist()):
            engine.submit(Request(str(i), len(ids), ids, sampling, TextStream(lambda tokens: "")))
        tokens = 0
        while engine.busy:
            tokens += len(engine.step())
        return tokens

    return model, answer


def theirs(rig: Rig, case: Case, prompts: torch.Tensor) -> Callable[[int], int]:
    """The same of `transformers`, with the same weights in one type throughout."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from reference_engine.model.export import hf_config

    checkpoint = header(case.model) if case.model else load(default())
    weights = RandomWeights(case.model, rig.device) if case.model else LoadedWeights(checkpoint, rig.device, False)
    of = torch.float32 if case.exact else torch.bfloat16
    with torch.device(rig.device):
        model = LlamaForCausalLM._from_config(LlamaConfig(**hf_config(checkpoint.spec)), dtype=of).eval()
    for name, parameter in model.named_parameters():
        found = weights.take(name)
        assert found is not None, name
        parameter.data.copy_(found.weight)

    def answer(batch: int) -> int:
        ids = prompts[:batch].to(rig.device)
        with torch.inference_mode():
            made = model.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=rig.output_tok,
                min_new_tokens=rig.output_tok, do_sample=False, pad_token_id=0,
            )  # fmt: skip
        return int(made[:, ids.shape[1] :].numel())

    return answer


def measure(rig: Rig, case: Case) -> Iterator[Measured]:
    """Both sides in turn at every batch, then what share of the memory's bandwidth ours uses at batch 1."""
    prompts = torch.randint(0, 256, (max(rig.batches), rig.prompt_tok), generator=torch.Generator().manual_seed(0))
    model, mine = ours(rig, case, prompts)
    peer = theirs(rig, case, prompts)
    for batch in rig.batches:
        both = {"ours": measured(rig, lambda: mine(batch)), "transformers": measured(rig, lambda: peer(batch))}  # noqa: B023
        for who, spent in both.items():
            name = f"{case}, batch {batch}, {who}"
            yield told(f"{name}: rate", spent.tokens / spent.work_s, "token/s")
            yield told(f"{name}: power", spent.energy_j / spent.counted_s, "W")
            yield told(f"{name}: energy", spent.energy_j / spent.tokens, "J/token")
        first, second = both["ours"], both["transformers"]
        faster = (first.tokens / first.work_s) / (second.tokens / second.work_s)
        thriftier = (first.tokens / first.energy_j) / (second.tokens / second.energy_j)
        yield told(f"{case}, batch {batch}: token/s, ours / transformers", faster, "ratio")
        yield told(f"{case}, batch {batch}: token/J, ours / transformers", thriftier, "ratio")
        if batch == 1:
            share = first.tokens / first.work_s * bytes_per_token(model, rig) / bandwidth(rig)
            yield told(f"{case}, batch 1, ours: share of the memory's bandwidth", share, "of a copy's rate")


def bytes_per_token(model: GpuLlama, rig: Rig) -> float:
    """Bytes that a decoded token cannot do without: every weight, the keys and values of the mean context."""
    layers = sum(m.n_bytes for one in model.layers for m in (one.qkv, one.out, one.gate_up, one.down))
    of = model.layers[0].keys
    context = 2 * len(model.layers) * (rig.prompt_tok + rig.output_tok / 2) * of[0].numel() * of.element_size()
    return layers + model.head.n_bytes + context


def bandwidth(rig: Rig) -> float:
    """Bytes/s, read and written, of a large copy within the device; the best of five."""
    source = torch.empty(rig.copied_bytes, dtype=torch.uint8, device=rig.device)
    target, best_s = torch.empty_like(source), float("inf")
    for _ in range(5):
        rig.sync()
        began_s = time.perf_counter()
        target.copy_(source)
        rig.sync()
        best_s = min(best_s, time.perf_counter() - began_s)
    return 2 * rig.copied_bytes / best_s


def default() -> Path:
    """SmolLM2-135M-Instruct in the user's cache, fetched if need be."""
    from reference_engine.model.pull import console_progress, pull

    with console_progress() as progress:
        return pull(progress)


def card(seconds: float, batches: Sequence[int]) -> Rig:
    """The first GPU that torch sees, with its own energy counter (NVML, mJ, since Volta)."""
    import pynvml

    pynvml.nvmlInit()
    device = torch.device("cuda:0")
    torch.cuda.set_device(device)
    handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
    counter = lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000  # noqa: E731
    return Rig(device, triton_kernels(), counter, seconds, batches)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, show and write; 0. 2 where there is no GPU."""
    asked = _asked(arguments)
    if not torch.cuda.is_available():
        print(
            "no NVIDIA GPU that torch can use: this benchmark measures one, and nothing was measured", file=sys.stderr
        )
        return 2
    figures, rig = Figures(), card(asked.seconds, asked.batches)
    for number in range(asked.rounds):
        for case in CASES:
            print(f"round {number + 1} of {asked.rounds}: {case}", flush=True)
            figures.take(measure(rig, case))
            gc.collect()
            torch.cuda.empty_cache()
    figures.show(f"engine_gpu, {torch.cuda.get_device_name(0)}: {asked.rounds} round(s)")
    if asked.out:
        figures.write(asked.out, versions(), asked.rounds)
        print(f"written to {asked.out}")
    return 0


def _asked(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"how often all is measured in turn ({ROUNDS})")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"least length of one measurement ({SECONDS:g})")
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES, help="requests at once")
    parser.add_argument("--out", type=Path, help=f"the JSON (of all in full: results/{RESULT.name})")
    asked = parser.parse_args(arguments)
    if asked.rounds >= ROUNDS and asked.seconds >= SECONDS and tuple(asked.batches) == BATCHES:
        asked.out = asked.out or RESULT
    return asked


def versions() -> dict[str, str]:
    """What was measured, and with what."""
    found = {name: importlib.metadata.version(name) for name in ("tcabench", "torch", "triton", "transformers")}
    gpu = {"gpu": torch.cuda.get_device_name(0), "cuda": str(torch.version.cuda)} if torch.cuda.is_available() else {}
    said: Any = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False, cwd=RESULT.parent
    )
    return found | gpu | {"commit": said.stdout.strip()}


if __name__ == "__main__":
    sys.exit(main())
