"""How exact the bundled engine is: `make bench-engine_ladder`. No peer but the definition, `model/dense.py`.

Every answer is read again by the dense model, float32 on the dequantised weights: where its best token is the answer's
at every place, the answer is the one that it would have given itself. See README.md. Writes results/engine_ladder.json.
"""

import json
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from torch import Tensor

from benchmarks.engine import versions
from benchmarks.figures import Figures, Measured, at_least, at_most, told
from reference_engine.config import EngineConfig
from reference_engine.engine import Engine
from reference_engine.kernels.build import kinds_here
from reference_engine.kernels.native import NativeModel
from reference_engine.model.chat import render_chat
from reference_engine.model.dense import dense_logits, top2_margin
from reference_engine.model.load import Checkpoint, load
from reference_engine.model.pull import console_progress, pull
from reference_engine.model.tokenizer import Tokenizer, load_tokenizer
from reference_engine.request import Request, Sampling
from reference_engine.schedule.plan import Segment, StepPlan
from reference_engine.text import WholeText

ROOT = Path(__file__).resolve().parents[1]
RESULT = Path(__file__).parent / "results" / "engine_ladder.json"
ROUNDS = 3  # each in another order of arrival
NEW_TOK = 140  # of each answer
CLOSELY = 12  # answers whose every log-probability is compared
WHOLE = 70  # places scored at a time, beside one at a time
CROWDS = {
    "64 at a time": {"max_running": 64},
    "one at a time": {"max_running": 1},
    "7 at a time, 19 tokens a step, few pages": {"max_running": 7, "step_tok": 19, "kv_tok": 640},
    "without prefix or guesses": {"max_running": 64, "without": frozenset({"prefix", "speculation"})},
}


def main() -> int:
    """Measure, show and write; 0."""
    with console_progress() as progress:
        path = pull(progress)
    dense, figures = load(path), Figures()
    prompts = _prompts(load_tokenizer(path, dense.sha256))
    model = NativeModel(load(path, keep_blocks=True), EngineConfig(max_running=64, max_waiting=200), kinds_here()[0])
    for number in range(1, ROUNDS + 1):
        print(f"round {number} of {ROUNDS}", flush=True)
        random.Random(number).shuffle(prompts)
        answers = {name: _answers(model, _config(changes), prompts) for name, changes in CROWDS.items()}
        figures.take(_alike(answers))
        figures.take(_against(dense, model, prompts, next(iter(answers.values()))))
    figures.show(f"exactness of the {model.kind} kernels: {len(prompts)} answers of {NEW_TOK} tokens a round")
    figures.write(RESULT, versions([]), ROUNDS)
    return 0


def _config(changes: Mapping[str, Any]) -> EngineConfig:
    return EngineConfig(**({"max_waiting": 200} | dict(changes)))


def _alike(answers: Mapping[str, list[list[int]]]) -> Iterator[Measured]:
    """Whether each crowd got the answers of the first."""
    (_, first), *rest = answers.items()
    for name, others in rest:
        same = sum(a == b for a, b in zip(first, others, strict=True)) / len(first)
        yield at_least(f"{name}: the same answers", same, 1, "share of answers")


def _prompts(tokenizer: Tokenizer) -> list[list[int]]:
    lines = (ROOT / "workloads" / "chat" / "prompts.jsonl").read_text(encoding="utf-8").splitlines()
    template = tokenizer.chat_template or ""
    texts = [render_chat(template, json.loads(line)["messages"], tokenizer.special) for line in lines]
    return [tokenizer.encode(text, add_special=False) for text in texts]


def _answers(model: NativeModel, config: EngineConfig, prompts: Sequence[list[int]]) -> list[list[int]]:
    """Greedy, `NEW_TOK` each, through the scheduler; the model's cache serves whatever the pages are."""
    engine = Engine(model, config)
    asked = [
        Request(str(i), len(ids), list(ids), Sampling(NEW_TOK, ignore_eos=True), WholeText(lambda _: ""))
        for i, ids in enumerate(prompts)
    ]
    for request in asked:
        engine.submit(request)
    while engine.busy:
        engine.step()
    return [request.tokens[request.prompt_tok :] for request in asked]


def _against(
    dense: Checkpoint, model: NativeModel, prompts: Sequence[list[int]], answers: Sequence[list[int]]
) -> Iterator[Measured]:
    """The answers beside what the dense model says of them."""
    wide = replace(dense, tensors={name: tensor.double() for name, tensor in dense.tensors.items()})
    own, off, ties, faults, alike = 0.0, list[Tensor](), 0, 0, 1.0
    for i, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        text = [*prompt, *answer[:-1]]
        logits = dense_logits(dense, text)[len(prompt) - 1 :]
        wrong = (logits.argmax(-1) != torch.tensor(answer)).nonzero().flatten().tolist()
        if i < CLOSELY:
            true = dense_logits(wide, text)[len(prompt) - 1 :]
            own = max(own, float((logits - true).abs().max()))
            whole, alone = _scored(model, prompt, answer, WHOLE), _scored(model, prompt, answer, 1)
            alike = min(alike, float(torch.equal(whole, alone)))
            off.append((whole.log_softmax(-1) - logits.log_softmax(-1)).abs())
        if wrong:
            is_tie = top2_margin(logits[wrong[0]]) < 2 * own
            ties, faults = ties + is_tie, faults + (not is_tie)
    yield told("tokens compared", sum(map(len, answers)), "greedy tokens")
    yield at_most("faults", faults, 0, "answers that differ where the dense model was sure")
    yield told("ties", ties, "answers that differ where the dense model's own error could decide")
    yield at_least("bitwise the same logits, many at a time and one by one", alike, 1, "1 for all of those looked at")
    yield told("largest |d logprob|", float(max(each.max() for each in off)), f"nat, {CLOSELY} answers, all tokens")
    yield told("self-error of the reference", own, "largest |d logit|, float32 against float64")


def _scored(model: NativeModel, prompt: list[int], answer: list[int], chunk: int) -> Tensor:
    """The engine's logits after the prompt and after each token of the answer but the last, so many at a time."""
    text, rows = [*prompt, *answer[:-1]], list[Tensor]()
    asked = Request("scored", len(text), text, Sampling(1), WholeText(lambda _: ""))
    asked.pages = list(range(-(-len(text) // 16)))
    for start in range(len(prompt) - 1, len(text), chunk):
        first = 0 if start == len(prompt) - 1 else start
        end = min(start + chunk, len(text))
        known = Request("scored", start + 1, text[: start + 1], Sampling(1), WholeText(lambda _: ""))
        known.pages = asked.pages
        segment = Segment(known, first, end - first, True, tuple(text[start + 1 : end]))
        rows.append(model.run(StepPlan((segment,)), list(range(segment.choices))).logits)
    return torch.cat(rows)


if __name__ == "__main__":
    sys.exit(main())
