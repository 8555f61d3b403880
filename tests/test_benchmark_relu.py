"""The recipe of the ReLU-gated model and its twin runs, learns, and writes folders that others load. Never how good
they are: that is for the recipe's own figures."""

import json
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import relu_measure as measure
from benchmarks.relu import PROMPTS, STEPS, prepare, results
from benchmarks.relu_model import RELU, SILU, Shape, build, document, gates
from benchmarks.relu_samples import Sample, prompts, write
from benchmarks.relu_train import Recipe, Training, train, windows

ROOT = Path(__file__).resolve().parents[1]
SHAPE = Shape(hidden=64, layers=2, head_dim=32, mlp=128, vocab=320, context_tok=128)
RECIPE = Recipe(steps=40, batch=4, window_tok=64, warmup=5, peak_rate=5e-3, save_every=20)


@pytest.fixture(scope="module")
def drawn() -> list[Sample]:
    """What a teacher of few words said."""
    every = prompts(80)
    return [
        Sample(i, i, text, f"Once upon a time: {text} The end, said {i % 7}.", 20, True) for i, text in enumerate(every)
    ]


@pytest.fixture(scope="module")
def folder(drawn: list[Sample], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Both twins, trained and exported."""
    folder, threads = tmp_path_factory.mktemp("relu"), torch.get_num_threads()
    torch.set_num_threads(1)
    write(drawn, folder / "samples.jsonl")
    fast = prepare(folder, drawn, SHAPE, RECIPE)
    for gate in (RELU, SILU):
        train(folder, SHAPE, gate, RECIPE)
    found = results(folder, fast, drawn, SHAPE, RECIPE)
    (folder / "relu_model.json").write_text(json.dumps(found))
    yield folder
    torch.set_num_threads(threads)


def rows(folder: Path, gate: str) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / f"{gate}.log").read_text().splitlines()]


@pytest.mark.parametrize("gate", [RELU, SILU])
def test_the_loss_falls(folder: Path, gate: str) -> None:
    every = rows(folder, gate)
    assert [row["step"] for row in every] == list(range(1, RECIPE.steps + 1))
    assert every[-1]["loss"] < every[0]["loss"] - 1
    assert every[-1]["held_out"] < every[19]["held_out"]


@pytest.mark.parametrize("gate", [RELU, SILU])
def test_what_is_written_loads_elsewhere_with_the_same_numbers(folder: Path, gate: str, drawn: list[Sample]) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    fast = AutoTokenizer.from_pretrained(folder / f"{gate}-model")
    model = AutoModelForCausalLM.from_pretrained(folder / f"{gate}-model")
    assert model.config.hidden_act == gate
    assert model.generation_config.eos_token_id == 0
    chat = fast.apply_chat_template(
        [{"role": "user", "content": drawn[0].prompt}], add_generation_prompt=True, return_dict=False
    )
    ids, begin = document(fast.backend_tokenizer, drawn[0])
    assert chat == ids[:begin]
    trained = Training(SHAPE, gate, RECIPE)
    trained.resume(folder / f"{gate}.pt")
    torch.testing.assert_close(model(torch.tensor([ids])).logits, trained.model(torch.tensor([ids])).logits)


def test_the_engine_loads_the_dense_twin(folder: Path) -> None:
    from reference_engine.model.chat import render_chat
    from reference_engine.model.load import load
    from reference_engine.model.tokenizer import load_tokenizer

    checkpoint = load(folder / "silu-model")
    assert checkpoint.spec.eos_ids == (0,)
    assert (checkpoint.spec.mlp, checkpoint.spec.tied) == (SHAPE.mlp, True)
    tokenizer = load_tokenizer(folder / "silu-model", checkpoint.sha256)
    text = render_chat(tokenizer.chat_template or "", [{"role": "user", "content": "Hello"}], tokenizer.special)
    assert text == "<|user|>Hello<|assistant|>"
    assert tokenizer.encode(text, add_special=True)[0] == 1


def test_what_is_told(folder: Path) -> None:
    found = json.loads((folder / "relu_model.json").read_text())
    assert found["data"]["visits_tok"] == 40 * 4 * 64
    assert found["relu"]["parameters"] == found["silu"]["parameters"]
    assert found["relu_over_silu"]["low"] <= found["relu_over_silu"]["ratio"] <= found["relu_over_silu"]["high"]
    expected = found["relu"]["perplexity"] / found["silu"]["perplexity"]
    assert found["relu_over_silu"]["ratio"] == pytest.approx(expected, rel=1e-3)
    density = found["relu"]["union_density"]
    assert all(one <= four + 0.02 for one, four in zip(density["1"], density["4"], strict=True))
    assert density["1"] == pytest.approx([1 - share for share in found["relu"]["zeros"]], abs=0.03)


def test_a_training_that_was_broken_off_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    every = windows([(list(range(200)), 10)], RECIPE)
    whole, first, second = (Training(SHAPE, RELU, RECIPE) for _ in range(3))
    for step in range(8):
        loss = whole.learn(every[step])
    for step in range(5):
        first.learn(every[step])
    first.save(tmp_path / "relu.pt")
    second.resume(tmp_path / "relu.pt")
    for step in range(5, 8):
        again = second.learn(every[step])
    assert again == loss
    assert second.l1 == whole.l1


def test_twins_begin_with_the_same_weights_and_see_the_same_windows() -> None:
    relu, silu = (build(SHAPE, gate, 3).state_dict() for gate in (RELU, SILU))
    assert all(torch.equal(relu[name], silu[name]) for name in relu)
    docs = [([7, 8, 9], 1), ([1, 2], 1)]
    assert np.array_equal(windows(docs, RECIPE), windows(docs, RECIPE))


def test_gates_are_those_after_the_activation() -> None:
    model = build(SHAPE, RELU, 3)
    with gates(model) as seen:
        model(torch.tensor([[1, 2, 3]]))
    assert [gate.shape for gate in seen] == [(1, 3, SHAPE.mlp)] * SHAPE.layers
    assert all(0.2 < float((gate == 0).float().mean()) < 0.8 for gate in seen)
    assert all(float(gate.detach().min()) == 0 for gate in seen)


def test_union_density_of_units_that_open_alone_and_at_random() -> None:
    is_open = np.zeros((8, 1, 1, 8), bool)
    is_open[range(8), 0, 0, range(8)] = True  # each document has a unit to itself
    assert [float(measure.union_density(is_open, n)[0]) for n in (1, 2, 8)] == [1 / 8, 2 / 8, 1]
    random = np.random.default_rng(1).random((32, 64, 2, 512)) < 0.1
    assert measure.union_density(random, 4) == pytest.approx(1 - 0.9**4, abs=0.01)


def test_the_figures_that_are_kept_are_of_this_recipe() -> None:
    kept = json.loads((ROOT / "benchmarks" / "relu_model.json").read_text())
    assert kept["shape"] == asdict(Shape())
    assert kept["recipe"] == asdict(Recipe(STEPS))
    assert kept["data"]["prompts"] == PROMPTS
    for gate in (RELU, SILU):
        assert re.fullmatch("[0-9a-f]{64}", kept[gate]["weights_sha256"])
        assert kept[gate]["steps"] == STEPS


def test_prompts_are_the_same_each_time_and_a_longer_list_goes_on() -> None:
    assert prompts(30) == prompts(300)[:30]
    assert len(set(prompts(2100))) == 2100
    with pytest.raises(ValueError, match="the templates make"):
        prompts(10**6)
