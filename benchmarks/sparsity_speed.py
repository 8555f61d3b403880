"""How fast each lever of the engine is, in one process and without a server: decoding after a prompt, by load."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from reference_engine.config import Budget, EngineConfig
from reference_engine.engine import Engine
from reference_engine.kernels.build import kinds_here
from reference_engine.kernels.native import NativeModel
from reference_engine.model.chat import render_chat
from reference_engine.model.load import load
from reference_engine.model.tokenizer import Tokenizer
from reference_engine.request import Request, Sampling
from reference_engine.sparse.account import DONE
from reference_engine.sparse.pattern import Work
from reference_engine.text import WholeText

ROOT = Path(__file__).resolve().parents[1]
EXACT = frozenset({"skipping", "certified-head", "zeros", "prefix", "speculation"})  # what the exact tier leaves out
KV_TOK, STEP_TOK, MOST_RUNNING = 24_576, 256, 64


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to run a model: the exact levers that are off, and what may be left out although it changes answers."""

    name: str
    without: frozenset[str] = frozenset()
    budget: Budget = field(default_factory=Budget)

    @property
    def config(self) -> EngineConfig:
        return EngineConfig(kv_tok=KV_TOK, step_tok=STEP_TOK, max_running=MOST_RUNNING, max_waiting=1024,
                            without=self.without, budget=self.budget)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Load:
    """`batch` requests at a time, so many in all, each `output_tok` long; prompts of the workload cut or joined to
    `prompt_tok` tokens, 0 as they are. `whole`: the prompt counts too, else only from the first token on."""

    name: str
    batch: int
    requests: int
    output_tok: int
    prompt_tok: int = 0

    @property
    def whole(self) -> bool:
        return self.prompt_tok == 0


@dataclass(frozen=True, slots=True)
class Ran:
    """What a load came to. `made`: tokens while it was timed; `density`: share of the neurons that a row multiplied;
    `union`: share of those whose weights a step read; `work`: what was done and spared for those tokens, by reason;
    `answers`: all tokens of each request."""

    tokens_per_s: float
    cpu_s_per_token: float
    made: int
    density: float
    union: float
    work: Mapping[str, Work]
    answers: tuple[tuple[int, ...], ...]

    @property
    def done(self) -> Work:
        """What was done for one token."""
        whole = self.work[DONE]
        return Work(whole.macs / self.made, whole.bytes / self.made)


class Runner:
    """A model loaded once for each variant, the engine made anew for each load."""

    def __init__(self, weights: Path, tokenizer: Tokenizer, prompts: Sequence[Sequence[int]]) -> None:
        self.weights, self.tokenizer, self._prompts = weights, tokenizer, prompts
        self._models: dict[str, NativeModel] = {}

    def model(self, variant: Variant) -> NativeModel:
        """The variant's model. raises: EngineError, NoCompiler."""
        if variant.name not in self._models:
            checkpoint = load(self.weights, keep_blocks=True)
            self._models[variant.name] = NativeModel(checkpoint, variant.config, kinds_here()[0])
        return self._models[variant.name]

    def run(self, variant: Variant, wanted: Load) -> Ran:
        """One load, through the scheduler. A load whose prompts do not count is timed from the last first token on."""
        engine = Engine(self.model(variant), replace(variant.config, max_running=wanted.batch))
        requests = [self._request(i, wanted) for i in range(wanted.requests)]
        for request in requests:
            engine.submit(request)
        while not wanted.whole and any(request.first_ns is None for request in requests):
            engine.step()
        made, before, neurons = -_output_tok(requests), _sums(engine, requests), _neurons(requests)
        wall, cpu = time.perf_counter(), time.process_time()
        while engine.busy:
            engine.step()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        made += _output_tok(requests)
        work = {reason: each - before.get(reason, Work()) for reason, each in _sums(engine, requests).items()}
        answers = tuple(tuple(request.tokens[request.prompt_tok :]) for request in requests)
        every = engine.spec.layers * engine.spec.mlp
        left, rows, unread, steps = (now - then for now, then in zip(_neurons(requests), neurons, strict=True))
        density, union = 1 - left / (rows * every), 1 - unread / (steps * every)
        return Ran(made / wall, cpu / made, made, density, union, work, answers)

    def _request(self, at: int, wanted: Load) -> Request:
        ids = list(self._prompts[at % len(self._prompts)])
        place = at
        while len(ids) < wanted.prompt_tok:
            place += 1
            ids += self._prompts[place % len(self._prompts)]
        ids = ids[: wanted.prompt_tok or None]
        sampling = Sampling(wanted.output_tok, ignore_eos=True)
        return Request(str(at), len(ids), ids, sampling, WholeText(lambda _: ""))


def chat_prompts(tokenizer: Tokenizer, workload: str = "chat") -> list[list[int]]:
    """The token ids of a shipped workload's prompts, in the model's own chat template."""
    lines = (ROOT / "workloads" / workload / "prompts.jsonl").read_text(encoding="utf-8").splitlines()
    template = tokenizer.chat_template or ""
    texts = [render_chat(template, json.loads(line)["messages"], tokenizer.special) for line in lines]
    return [tokenizer.encode(text, add_special=False) for text in texts]


def in_turn(variants: Sequence[Variant], number: int) -> Iterator[Variant]:
    """The variants of round `number`: every other round backwards, so that no one always comes after the same."""
    yield from variants if number % 2 else reversed(variants)


def _output_tok(requests: Sequence[Request]) -> int:
    return sum(request.output_tok for request in requests)


def _neurons(requests: Sequence[Request]) -> tuple[float, float, float, float]:
    """Neurons left, of how many rows; neurons unread, in how many steps."""
    done = [request.done for request in requests]
    return (
        sum(each.left_neurons for each in done), sum(each.rows for each in done),
        sum(each.unread_neurons for each in done), sum(each.steps for each in done),
    )  # fmt: skip


def _sums(engine: Engine, requests: Sequence[Request]) -> dict[str, Work]:
    sums: dict[str, Work] = {}
    for request in requests:
        for reason, work in engine.account.of(request).items():
            sums[reason] = sums.get(reason, Work()) + work
    return sums
