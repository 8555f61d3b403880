"""The default model: every prompt of the chat workload gets the tokens that `transformers` gives it in float32."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from reference_engine.config import EngineConfig
from reference_engine.engine import Engine
from reference_engine.kernels.build import kinds_here
from reference_engine.kernels.native import NativeModel
from reference_engine.model.chat import render_chat
from reference_engine.model.dense import dense_logits, top2_margin
from reference_engine.model.export import export
from reference_engine.model.layers import Llama
from reference_engine.model.load import Checkpoint, load
from reference_engine.model.scores import Model
from reference_engine.model.tokenizer import Tokenizer
from reference_engine.request import Request, Sampling
from reference_engine.text import TextStream

PROMPTS = Path(__file__).resolve().parents[2] / "workloads" / "chat" / "prompts.jsonl"
NEW_TOK = 48
BATCH = 16
CONFIG = EngineConfig(max_running=24)
TIE = 1e-4  # two logits this close swap places by rounding alone


@pytest.fixture(scope="module")
def prompts(default_tokenizer: Tokenizer) -> dict[str, list[int]]:
    """Prompt id -> token ids as the server makes them."""
    template = default_tokenizer.chat_template
    assert template is not None
    lines = [json.loads(line) for line in PROMPTS.read_text(encoding="utf-8").splitlines()]
    texts = {line["id"]: render_chat(template, line["messages"], default_tokenizer.special) for line in lines}
    return {name: default_tokenizer.encode(text, add_special=False) for name, text in texts.items()}


@pytest.fixture(scope="module")
def folder(
    default_checkpoint: Checkpoint, default_tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return export(default_checkpoint, default_tokenizer, tmp_path_factory.mktemp("export") / "smollm2")


@pytest.fixture(scope="module")
def theirs(folder: Path) -> tuple[Any, Any]:
    """`transformers`' model and tokenizer over the exported folder."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model, AutoTokenizer.from_pretrained(folder, padding_side="left")


def test_the_exported_tokenizer_makes_the_same_prompts(theirs: tuple[Any, Any], prompts: dict[str, list[int]]) -> None:
    lines = [json.loads(line) for line in PROMPTS.read_text(encoding="utf-8").splitlines()]
    for line in lines:
        ids = theirs[1].apply_chat_template(line["messages"], add_generation_prompt=True)["input_ids"]
        assert ids == prompts[line["id"]]


def test_the_oracle_agrees_with_transformers_on_logits(
    theirs: tuple[Any, Any], default_checkpoint: Checkpoint, prompts: dict[str, list[int]]
) -> None:
    for ids in list(prompts.values())[:2]:
        with torch.inference_mode():
            logits = theirs[0](torch.tensor([ids])).logits[0]
        assert float((dense_logits(default_checkpoint, ids) - logits).abs().max()) < 1e-3


def engine_tokens(model: Model, tokenizer: Tokenizer, prompts: dict[str, list[int]]) -> dict[str, list[int]]:
    """All prompts at once through continuous batching, with the answer's own end."""
    engine = Engine(model, CONFIG)
    requests = [
        Request(name, len(ids), list(ids), Sampling(NEW_TOK), TextStream(tokenizer.decode))
        for name, ids in prompts.items()
    ]
    for request in requests:
        engine.submit(request)
    while engine.busy:
        engine.step()
    engine.scheduler.check_integrity()
    return {request.id: request.tokens[request.prompt_tok :] for request in requests}


def their_tokens(model: Any, tokenizer: Any, prompts: dict[str, list[int]], end: int) -> dict[str, list[int]]:
    """`generate`, greedy, in batches of prompts of like length, padded on the left."""
    answers, names = {}, sorted(prompts, key=lambda name: len(prompts[name]))
    for at in range(0, len(names), BATCH):
        batch = names[at : at + BATCH]
        padded = tokenizer.pad({"input_ids": [prompts[name] for name in batch]}, return_tensors="pt")
        out = model.generate(**padded, max_new_tokens=NEW_TOK, do_sample=False)[:, padded["input_ids"].shape[1] :]
        for name, row in zip(batch, out.tolist(), strict=True):
            answers[name] = row[: row.index(end) + 1] if end in row else row
    return answers


def test_greedy_tokens_are_those_of_transformers(
    theirs: tuple[Any, Any],
    default_checkpoint: Checkpoint,
    default_gguf: Path,
    default_tokenizer: Tokenizer,
    prompts: dict[str, list[int]],
) -> None:
    """The native step on packed weights, and torch on float ones."""
    wanted = their_tokens(*theirs, prompts, default_checkpoint.spec.eos_ids[0])
    packed = NativeModel(load(default_gguf, keep_blocks=True), CONFIG, kinds_here()[0])
    for model in (packed, Llama(default_checkpoint, CONFIG, keep=True)):
        compare(engine_tokens(model, default_tokenizer, prompts), wanted, default_checkpoint, prompts)


def compare(
    ours: dict[str, list[int]], wanted: dict[str, list[int]], checkpoint: Checkpoint, prompts: dict[str, list[int]]
) -> None:
    """A difference is a tie if the dense model itself could not tell the two tokens apart, else a fault."""
    ties, faults = list[str](), list[str]()
    for name, ids in prompts.items():
        if ours[name] == wanted[name]:
            continue
        same = next(i for i, pair in enumerate(zip(ours[name], wanted[name], strict=False)) if pair[0] != pair[1])
        margin = top2_margin(dense_logits(checkpoint, ids + wanted[name][:same])[-1])
        (ties if margin < TIE else faults).append(f"{name} at token {same}: margin {margin:.2e}")
    tokens = sum(map(len, wanted.values()))
    print(f"{len(prompts)} prompts, {tokens} tokens, {len(ties)} ties {ties}, {len(faults)} faults {faults}")
    assert len(prompts) >= 64
    assert faults == []
