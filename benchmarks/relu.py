"""A model in which dynamic sparsity is real, and its dense twin: `make relu-model FOLDER=...`, or
`python benchmarks/relu.py FOLDER [--prompts N] [--steps N]`.

Draws samples from the default model, trains a tokenizer and both twins on them, and writes FOLDER/relu-model and
FOLDER/silu-model for `transformers` and the engine, and FOLDER/relu_model.json: what was measured, and the digests.
What is already there of a run that was broken off is used. See README.md.
"""

import argparse
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import engine_servers as servers
from benchmarks import relu_measure as measure
from benchmarks import relu_samples as samples
from benchmarks.figures import Figures
from benchmarks.peer import ROOT
from benchmarks.relu_model import RELU, SILU, Shape, chat_ids, document, export, train_tokenizer
from benchmarks.relu_train import Recipe, Training, windows

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PROMPTS, STEPS = 1687, 1700
KV_TOK = 24_576  # of the teacher's cache: all answers in flight at their longest
SHOWN = 6  # continuations of held-out prompts


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw, train, export, measure and write; 0."""
    asked = _asked(arguments)
    folder, shape, recipe, figures = asked.folder, Shape(), Recipe(asked.steps), Figures()
    folder.mkdir(parents=True, exist_ok=True)
    drawn = _samples(folder, asked.prompts)
    fast = prepare(folder, drawn, shape, recipe)
    _train(folder)
    found = results(folder, fast, drawn, shape, recipe)
    head = figures.document(_versions(), 1)
    text = json.dumps({"machine": head["machine"], "versions": head["versions"]} | found, indent=1, ensure_ascii=False)
    (folder / "relu_model.json").write_text(f"{text}\n", "utf-8")
    print(text)
    return 0


def _samples(folder: Path, count: int) -> list[samples.Sample]:
    """The teacher's answers: those in `folder`, and what they lack. One server of one thread for each core: they need
    not wait for each other, as two threads of one would at every layer. A seeded answer does not depend on it."""
    file = folder / "samples.jsonl"
    there = {one.id for one in samples.read(file)} if file.exists() else set()
    if not there.issuperset(range(count)):
        gguf = Path(_said(sys.executable, "-m", "reference_engine", "pull"))
        launch = servers.ours(gguf, "--kv-tokens", str(KV_TOK), "--threads", "1", "--draft-tokens", "0")
        with ExitStack() as stack:
            up = [
                stack.enter_context(servers.started(f"teacher{i}", launch, folder)) for i in range(os.cpu_count() or 1)
            ]
            for server in up:
                stack.enter_context(server.awake())
            samples.generate([server.url for server in up], count, file)
    drawn = sorted((one for one in samples.read(file) if one.id < count), key=lambda one: one.id)
    if [one.prompt for one in drawn] != samples.prompts(count):
        raise ValueError(f"{file} holds answers to other prompts; name another folder")
    return drawn


def prepare(folder: Path, drawn: Sequence[samples.Sample], shape: Shape, recipe: Recipe) -> "Tokenizer":
    """Write what `relu_train.py` reads. The tokenizer too learns from no held-out text.

    raises: ValueError where the folder holds a training of another kind, whose checkpoints would be taken up.
    """
    settled, file = {"shape": asdict(shape), "recipe": asdict(recipe)}, folder / "recipe.json"
    if file.exists() and json.loads(file.read_text()) != settled:
        raise ValueError(f"{file} is of another training; name another folder")
    file.write_text(json.dumps(settled))
    fast = train_tokenizer((one for one in drawn if not one.is_held_out), shape.vocab)
    every = [(one.is_held_out, document(fast, one)) for one in drawn]
    docs = [[doc for is_held_out, doc in every if is_held_out == wanted] for wanted in (False, True)]
    (folder / "documents.json").write_text(json.dumps(docs))
    fast.save(str(folder / "tokenizer.json"))
    return fast


def _train(folder: Path) -> None:
    """Both twins at the same time, a thread each. raises: RuntimeError where one fails."""
    script, threads = Path(__file__).with_name("relu_train.py"), {"OMP_NUM_THREADS": "1"}
    commands = [[sys.executable, str(script), str(folder), gate] for gate in (RELU, SILU)]
    running = [subprocess.Popen(command, env=os.environ | threads, cwd=ROOT) for command in commands]
    ended = [process.wait() for process in running]  # both, before either is judged
    if any(ended):
        raise RuntimeError(f"a twin was not trained; see the logs in {folder}")


def results(
    folder: Path, fast: "Tokenizer", drawn: Sequence[samples.Sample], shape: Shape, recipe: Recipe
) -> dict[str, Any]:
    """Export both twins and answer what is to be told of them."""
    docs, asked = json.loads((folder / "documents.json").read_text())
    found: dict[str, Any] = {"shape": asdict(shape), "recipe": asdict(recipe)}
    found["data"] = _data(fast, drawn, docs, asked) | {"visits_tok": windows(docs, recipe)[:, :, 1:].size}
    shown = [one for one in drawn if one.is_held_out][:SHOWN]
    nats = {}
    for gate in (RELU, SILU):
        twin = Training(shape, gate, recipe)
        twin.resume(folder / f"{gate}.pt")
        twin.model.eval()
        nats[gate] = measure.answers_nats(twin.model, asked)
        found[gate] = _told(twin, nats[gate], export(twin.model, fast, folder / f"{gate}-model"))
        found[gate]["continuations"] = dict(_continuations(twin.model, fast, shown))
        if gate == RELU:
            found[gate] |= measure.sparsity(twin.model, asked)
    found["relu_over_silu"] = _rounded(measure.ratio(nats[RELU], nats[SILU])._asdict())
    return found


def _data(
    fast: "Tokenizer", drawn: Sequence[samples.Sample], docs: Sequence[Any], asked: Sequence[Any]
) -> dict[str, Any]:
    return {
        "teacher": servers.NAME, "temperature": samples.TEMPERATURE, "prompts": len(drawn),
        "teacher_tok": sum(one.teacher_tok for one in drawn), "whole": sum(one.is_whole for one in drawn),
        "train_tok": sum(len(ids) for ids, _ in docs), "held_out_docs": len(asked),
        "held_out_answer_tok": sum(len(ids) - begin for ids, begin in asked),
        "samples_sha256": samples.samples_sha256(drawn),
        "tokenizer_sha256": sha256(fast.to_str(pretty=True).encode()).hexdigest(),
    }  # fmt: skip


def _told(twin: Training, nats: Sequence[measure.Nats], weights_sha256: str) -> dict[str, Any]:
    means = [one.nats / one.tokens for one in nats]
    return {
        "weights_sha256": weights_sha256, "parameters": sum(weight.numel() for weight in twin.model.parameters()),
        "steps": twin.step, "wall_s": round(twin.wall_s, 1), "cpu_s": round(twin.cpu_s, 1),
        "perplexity": round(measure.perplexity(nats), 4), "median_doc_perplexity": round(_median(means), 4),
        "last_l1": twin.l1 if twin.gate == RELU else 0.0,
    }  # fmt: skip


def _median(means: Sequence[float]) -> float:
    return math.exp(sorted(means)[len(means) // 2])


def _continuations(model: Any, fast: "Tokenizer", of: Sequence[samples.Sample]) -> Iterator[tuple[str, str]]:
    for one, ids in zip(of, chat_ids(fast, [one.prompt for one in of]), strict=True):
        yield one.prompt, fast.decode(measure.greedy(model, ids))


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 5) for name, value in values.items()}


def _versions() -> dict[str, str]:
    from benchmarks.engine import versions

    return versions([])


def _said(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stdout.strip().splitlines()[-1]


def _asked(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where everything is written")
    parser.add_argument("--prompts", type=int, default=PROMPTS, help=f"how many the teacher answers ({PROMPTS})")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"of training, for both twins ({STEPS})")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
