"""Thresholds for the gates of a model, learnt from its own answers; no data set is needed.

Each layer's |activation(gate)| has a distribution, and cutting its smallest values makes an error in the output of the
layer's block. Beginning with nothing left out, the layer whose error grows least is cut a step more, until the mean
over the layers is the share asked for. Source: TEAL, Liu et al., arXiv 2408.14690, algorithm 1, which does this among
the matrices of one block; here each block has one knob, and the blocks compete. The model's own text as what is learnt
from: Williams et al., arXiv 2410.17170.
"""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from random import Random

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import linear

from reference_engine.config import Budget, EngineConfig
from reference_engine.engine import Engine
from reference_engine.errors import EngineError
from reference_engine.model.activation import activated
from reference_engine.model.chat import render_chat
from reference_engine.model.layers import Layer, Llama
from reference_engine.model.load import Checkpoint, load, weights_sha256
from reference_engine.model.opened import open_model
from reference_engine.model.scores import Model
from reference_engine.model.tokenizer import Tokenizer, load_tokenizer
from reference_engine.request import Request, Sampling
from reference_engine.schedule.plan import Segment, StepPlan
from reference_engine.sparse.sparsity_file import Calibration, Level, SparsityFile, write
from reference_engine.text import WholeText

SPARSITIES = (0.05, 0.1, 0.25, 0.4, 0.5, 0.7)
STEP = 0.05  # of a layer's neurons, as one turn of the allocation cuts them
DEEPEST = 19  # steps at most: a layer keeps a twentieth
SEED, TOKENS, ANSWER_TOK, TEMPERATURE = 0, 4096, 96, 0.7
HELD_OUT = 4  # one text of so many measures, the others are learnt from
PAGE_TOK = 16
TASKS = ("Explain", "Write a short story about", "List five facts about", "Compare two views of", "Give advice on",
         "Write Python code that models", "Describe to a child", "Summarise the history of")  # fmt: skip
TOPICS = ("the tides", "a market garden", "sorting a list", "the heart", "a lost letter", "bread", "prime numbers",
          "a railway station", "the water cycle", "learning a language", "a chess game", "volcanoes", "saving money",
          "the moon", "a power plant", "bees", "an old bridge", "sleep", "election rules", "a football team", "glass",
          "the violin", "a map of a city", "batteries", "winter", "fractions")  # fmt: skip

Progress = Callable[[str], None]
Texts = list[list[int]]


@dataclass(frozen=True, slots=True)
class Curve:
    """One layer, cut by 0, 1, … `DEEPEST` steps: `thresholds`, the share of neurons that each leaves out, and the
    squared error of the block's output over its squared size."""

    thresholds: tuple[float, ...]
    shares: tuple[float, ...]
    errors: tuple[float, ...]


def calibrated_file(path: Path, out: Path, tokens: int) -> Path:
    """`out`, written with what `calibrate` finds for the model at `path`; stderr tells how far it is.

    raises: ModelError; EngineError (config, sparsity-file).
    """
    if not out.resolve().parent.is_dir():
        raise EngineError(f"{out} cannot be written: its folder is missing", "sparsity-file")
    tokenizer = load_tokenizer(path, weights_sha256(path))
    writer = open_model(path, EngineConfig(), torch.device("cpu"))
    texts = own_texts(writer, tokenizer, tokens, _say)
    del writer  # before the float32 weights are read
    write(calibrate(load(path), texts, _say), out)
    return out


def calibrate(checkpoint: Checkpoint, texts: Texts, say: Progress) -> SparsityFile:
    """Thresholds for every share of `SPARSITIES`, from `texts`. `say` hears how far it is.

    raises: EngineError (config) for fewer than two texts: there is nothing to learn from or to measure with.
    """
    held, learnt = texts[::HELD_OUT], [text for i, text in enumerate(texts) if i % HELD_OUT]
    if not learnt:
        raise EngineError("too few tokens for more than one text", "config")
    pages = sum(-(-len(text) // PAGE_TOK) for text in learnt) + sum(-(-len(text) // PAGE_TOK) for text in held)
    tokens = sum(map(len, texts))
    model = Recorder(checkpoint, EngineConfig(kv_tok=pages * PAGE_TOK, step_tok=max(tokens, 256)))
    say(f"measuring the error of {DEEPEST} cuts of each of {model.spec.layers} layers")
    curves, levels = model.curves(learnt), list[Level]()
    for sparsity in SPARSITIES:
        cuts = allocated([curve.errors for curve in curves], sparsity)
        thresholds = tuple(curve.thresholds[cut] for curve, cut in zip(curves, cuts, strict=True))
        expected = float(np.mean([curve.shares[cut] for curve, cut in zip(curves, cuts, strict=True)]))
        levels.append(Level(sparsity, _short(expected), _short(model.closed(held, thresholds)), thresholds))
        say(f"{sparsity:.0%} asked for: {levels[-1].measured:.1%} measured")
    learnt_from = Calibration(tokens, SEED, sha256(json.dumps(texts).encode()).hexdigest())
    return SparsityFile(checkpoint.sha256, model.spec.layers, learnt_from, tuple(levels))


def allocated(errors: Sequence[Sequence[float]], sparsity: float) -> list[int]:
    """How many steps each layer is cut so that the mean of all is `sparsity`; `errors` by layer and steps.

    Of layers whose errors grow by the same, the first is taken.
    """
    cuts = [0] * len(errors)
    for _ in range(round(sparsity / STEP * len(errors))):
        growth = {
            layer: of[cuts[layer] + 1] - of[cuts[layer]] for layer, of in enumerate(errors) if cuts[layer] + 1 < len(of)
        }
        cuts[min(growth, key=lambda layer: (growth[layer], layer))] += 1
    return cuts


def own_texts(model: Model, tokenizer: Tokenizer, tokens: int, say: Progress) -> Texts:
    """Prompts and the model's sampled answers to them, token ids, `tokens` in all. Drawn by a fixed seed: the same for
    the same weights, but where rounding on another processor tips a draw."""
    draw, texts, config = Random(SEED), Texts(), EngineConfig()
    while (left := tokens - sum(map(len, texts))) > 0:
        say(f"{tokens - left} of {tokens} tokens of the model's own")
        prompts = [_prompt(tokenizer, draw) for _ in range(min(config.max_running, 1 + left // ANSWER_TOK))]
        texts += _answered(Engine(model, config), prompts, len(texts))
    texts = [text[: max(0, tokens - sum(map(len, texts[:i])))] for i, text in enumerate(texts)]
    return [text for text in texts if text]


def _prompt(tokenizer: Tokenizer, draw: Random) -> list[int]:
    asked = f"{draw.choice(TASKS)} {draw.choice(TOPICS)}."
    if tokenizer.chat_template is None:
        return tokenizer.encode(asked + "\n\n", add_special=True)
    messages = [{"role": "user", "content": asked}]
    return tokenizer.encode(render_chat(tokenizer.chat_template, messages, tokenizer.special), add_special=False)


def _answered(engine: Engine, prompts: Texts, first: int) -> Texts:
    asked = [
        Request(str(i), len(ids), list(ids), Sampling(ANSWER_TOK, TEMPERATURE, seed=SEED + i), WholeText(lambda _: ""))
        for i, ids in enumerate(prompts, first)
    ]
    for request in asked:
        engine.submit(request)
    while engine.busy:
        engine.step()
    return [request.tokens for request in asked]


class Recorder(Llama):
    """The model by torch operations, that looks at its own gates while it runs."""

    def __init__(self, checkpoint: Checkpoint, config: EngineConfig) -> None:
        super().__init__(checkpoint, config)
        self._found: list[Curve] | None = None
        self._closed, self._gates = 0, 0

    def curves(self, texts: Texts) -> list[Curve]:
        """For each layer what cutting it does, from one run over `texts`."""
        self._found = []
        self._run(texts)
        found, self._found = self._found, None
        return found

    def closed(self, texts: Texts, thresholds: Sequence[float]) -> float:
        """The share of neurons that `thresholds` leave out, all at once, over `texts`."""
        before, self._thresholds = self._thresholds, Budget(gate=tuple(thresholds)).gate
        self._closed = self._gates = 0
        self._run(texts)
        self._thresholds = before
        return self._closed / self._gates

    def _run(self, texts: Texts) -> None:
        segments, page = list[Segment](), 0
        for text in texts:
            request = Request("", len(text), list(text), Sampling(1), WholeText(lambda _: ""))
            request.pages = list(range(page, page := page + -(-len(text) // PAGE_TOK)))
            segments.append(Segment(request, 0, len(text), False))
        self.run(StepPlan(tuple(segments)), [])

    def _mlp(self, layer: Layer, threshold: float, x: Tensor) -> Tensor:
        gate, up = layer.gate_up(self._normed(x, layer.mlp_norm)).chunk(2, dim=-1)
        active = activated(gate, self.spec.activation, threshold)
        self._closed, self._gates = self._closed + int((active == 0).sum()), self._gates + active.numel()
        inner = active * up
        out = layer.down(inner)
        if self._found is not None:
            self._found.append(_curve(active.abs(), inner, layer.down.weight, x + out))
        return out


def _curve(size: Tensor, inner: Tensor, down: Tensor, block: Tensor) -> Curve:
    """What cutting neurons by `size` does to `block`, the output: it loses `down` of what is cut of `inner`."""
    values = size.flatten().numpy()
    places = [round(cut * STEP * values.size) - 1 for cut in range(1, DEEPEST + 1)]
    ordered = np.partition(values, places)
    thresholds = (0.0, *(_short(float(ordered[place])) for place in places))
    whole, shares, errors = float(block.double().square().sum()), list[float](), list[float]()
    for threshold in thresholds:
        left_out = size <= threshold
        shares.append(float(left_out.float().mean()))
        lost = linear(inner.masked_fill(~left_out, 0.0), down)
        errors.append(float(lost.double().square().sum()) / whole)
    return Curve(thresholds, tuple(shares), tuple(errors))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _short(number: float) -> float:
    """To six significant digits, as it is written."""
    return float(f"{number:.6g}")
