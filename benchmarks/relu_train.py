"""Training of one twin: `python benchmarks/relu_train.py FOLDER GATE`, started by `relu.py`, which prepares FOLDER.

Both twins see the same windows of text in the same order, from the same drawn weights, with the same schedule. The ReLU
twin alone has an L1 term on its gates, for a plain ReLU leaves too many of them open. Source of such a term: ProSparse,
arXiv 2402.13516. There it is raised by a schedule; here a controller raises it while the share of zeros is below its
target and lowers it above, so that no coefficient has to be searched for.
"""

import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.relu_model import RELU, Shape, build, gates

Docs = Sequence[tuple[list[int], int]]  # token ids of a document, and where its answer begins


@dataclass(frozen=True, slots=True)
class Recipe:
    """How both are trained. `zeros` is the share of closed gates that the controller of the L1 term aims at."""

    steps: int
    batch: int = 2
    window_tok: int = 256
    seed: int = 1
    peak_rate: float = 1.5e-3
    least_rate: float = 0.05  # of the peak, at the end
    warmup: int = 80
    decay: float = 0.1
    clip: float = 1.0
    l1_first: float = 1.0
    l1_step: float = 0.02  # by which share the coefficient changes a step
    zeros: float = 0.93
    save_every: int = 100

    def rate(self, step: int) -> float:
        """Learning rate of a step: up in a line, down along a cosine."""
        if step < self.warmup:
            return self.peak_rate * (step + 1) / self.warmup
        along = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.peak_rate * (self.least_rate + (1 - self.least_rate) * (1 + math.cos(math.pi * along)) / 2)


def windows(docs: Docs, recipe: Recipe) -> NDArray[np.int16]:
    """(steps, batch, window_tok + 1): documents one after the other, in a new order each time through, cut evenly."""
    rng, needed = np.random.default_rng(recipe.seed), recipe.steps * recipe.batch * (recipe.window_tok + 1)
    stream: list[int] = []
    while len(stream) < needed:
        for place in rng.permutation(len(docs)):
            stream += docs[place][0]
    return np.asarray(stream[:needed], np.int16).reshape(recipe.steps, recipe.batch, recipe.window_tok + 1)


class Training:
    """The state of a twin between steps. It can be saved and taken up again, and then goes on as if never stopped."""

    def __init__(self, shape: Shape, gate: str, recipe: Recipe) -> None:
        self.recipe, self.gate = recipe, gate
        self.model = build(shape, gate, recipe.seed)
        matrices = [weight for weight in self.model.parameters() if weight.dim() > 1]
        norms = [weight for weight in self.model.parameters() if weight.dim() == 1]
        groups = [{"params": matrices, "weight_decay": recipe.decay}, {"params": norms, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=recipe.peak_rate, betas=(0.9, 0.95), fused=True)
        self.step, self.l1, self.wall_s, self.cpu_s = 0, recipe.l1_first, 0.0, 0.0

    def learn(self, window: NDArray[np.int16]) -> tuple[float, float]:
        """One step on (batch, window_tok + 1) tokens. Answers the loss in nats a token and the share of zero gates."""
        began = time.monotonic(), time.process_time()
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.rate(self.step)
        ids = torch.from_numpy(window.astype(np.int64))
        with gates(self.model) as seen:
            loss = _loss(self.model, ids)
            total, zeros = self._with_l1(loss, seen)
        total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.wall_s += time.monotonic() - began[0]
        self.cpu_s += time.process_time() - began[1]
        return loss.item(), zeros

    def _with_l1(self, loss: Tensor, seen: Sequence[Tensor]) -> tuple[Tensor, float]:
        if self.gate != RELU:
            return loss, 0.0
        with torch.no_grad():
            zeros = float(np.mean([float((gate == 0).float().mean()) for gate in seen]))
        total = loss + self.l1 * torch.stack([gate.mean() for gate in seen]).mean()
        if self.step >= self.recipe.warmup:
            self.l1 *= (1 + self.recipe.l1_step) ** (1 if zeros < self.recipe.zeros else -1)
        return total, zeros

    def save(self, file: Path) -> None:
        """All of it or nothing."""
        part = file.with_name(f"{file.name}.part")
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "step": self.step}
        torch.save(state | {"l1": self.l1, "wall_s": self.wall_s, "cpu_s": self.cpu_s}, part)
        part.replace(file)

    def resume(self, file: Path) -> None:
        """Take up what `save` wrote."""
        state = torch.load(file, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.l1, self.wall_s, self.cpu_s = (state[key] for key in ("step", "l1", "wall_s", "cpu_s"))


def _loss(model: Any, ids: Tensor) -> Tensor:
    logits = model(input_ids=ids[:, :-1], use_cache=False).logits
    return functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())


def train(folder: Path, shape: Shape, gate: str, recipe: Recipe) -> Training:
    """Train on `folder`/documents.json, from the last checkpoint if there is one. GATE.log has a row a step."""
    from benchmarks.relu_measure import answers_nats, perplexity

    docs, held_out = json.loads((folder / "documents.json").read_text())
    training, checkpoint, log = Training(shape, gate, recipe), folder / f"{gate}.pt", folder / f"{gate}.log"
    if checkpoint.exists():
        training.resume(checkpoint)
    every = windows(docs, recipe)
    while training.step < recipe.steps:
        loss, zeros = training.learn(every[training.step])
        row: dict[str, float] = {"step": training.step, "loss": loss, "zeros": zeros, "l1": training.l1}
        if training.step % recipe.save_every == 0 or training.step == recipe.steps:
            training.save(checkpoint)
            nats = answers_nats(training.model, held_out[::4])
            row |= {"held_out": perplexity(nats), "wall_s": training.wall_s, "cpu_s": training.cpu_s}
        with log.open("a", encoding="utf-8") as out:
            out.write(f"{json.dumps(row)}\n")
    return training


def main(arguments: Sequence[str]) -> int:
    """Train one twin on one thread: its sums then come in the same order however many cores there are."""
    torch.set_num_threads(1)
    folder, gate = arguments
    settled = json.loads((Path(folder) / "recipe.json").read_text())
    train(Path(folder), Shape(**settled["shape"]), gate, Recipe(**settled["recipe"]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
