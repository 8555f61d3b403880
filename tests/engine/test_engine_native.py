"""The native step: its answers are the oracle's, and the same bits in any company, on any number of threads."""

import ctypes
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reference_engine.config import EngineConfig
from reference_engine.engine import Engine
from reference_engine.errors import EngineError
from reference_engine.kernels import build, pack
from reference_engine.kernels.native import NativeModel
from reference_engine.model import opened
from reference_engine.model.dense import dense_logits
from reference_engine.model.export import export
from reference_engine.model.gguf import dequantised
from reference_engine.model.layers import Llama
from reference_engine.model.load import Blocks, Checkpoint
from reference_engine.request import Request, Sampling
from reference_engine.schedule.plan import Segment, StepPlan
from reference_engine.text import TextStream

SHAPE = {"hidden": 64, "heads": 4, "kv_heads": 2, "head_dim": 32, "mlp": 96, "vocab": 203, "context_tok": 1024}
SHAPES = {
    "grouped": {},
    "nine on three": {"heads": 9, "kv_heads": 3, "head_dim": 64},
    "one key head for sixteen": {"heads": 16, "kv_heads": 1},
    "a key head each": {"heads": 2, "kv_heads": 2, "head_dim": 128},
    "head apart": {"tied": False},
    "relu": {"activation": "relu"},
    "relu2": {"activation": "relu2"},
}
BOUND = 2e-5  # largest |d logit| over largest |logit|; float32 against float64 is 3e-6 on the default model
TIMES = 8  # or so many times as far as float32 itself strays
KINDS = build.kinds_here()
CPU = torch.device("cpu")


def quantised(checkpoint: Checkpoint, layers: str = "Q4_1", ends: str = "Q8_0") -> Checkpoint:
    """Matrices in blocks, as a GGUF holds them; `tensors` holds what they stand for, for the oracle."""
    from gguf import GGMLQuantizationType, quants

    tensors, blocks = dict(checkpoint.tensors), {}
    for name, tensor in checkpoint.tensors.items():
        if tensor.ndim == 2:
            tensor = tensor * 2 / tensor.shape[1] ** 0.5  # scores of a trained size, not a lottery of one key
            kind = ends if "embed" in name or "lm_head" in name else layers
            raw = quants.quantize(tensor.numpy(), GGMLQuantizationType[kind])
            raw = raw.reshape(len(tensor), tensor.shape[1] // 32, -1)
            blocks[name] = Blocks(kind, raw)
            tensors[name] = torch.from_numpy(dequantised(kind, raw))
    return Checkpoint(checkpoint.source, checkpoint.spec, tensors, None, checkpoint.sha256, blocks)


@pytest.fixture(scope="module")
def packed_of(checkpoint_of: Callable[..., Checkpoint]) -> Callable[..., Checkpoint]:
    return lambda kinds=("Q4_1", "Q8_0"), **changes: quantised(checkpoint_of(**(SHAPE | changes)), *kinds)


def model_of(checkpoint: Checkpoint, kind: str = KINDS[0], threads: int = 2, **config: Any) -> NativeModel:
    return NativeModel(checkpoint, EngineConfig(**({"kv_tok": 2048} | config)), kind, threads)


@pytest.fixture(scope="module")
def tiny_native(checkpoint_of: Any, tiny_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of float weights in a shape that the native step does."""
    return export(checkpoint_of(**SHAPE, eos_ids=(2,)), tiny_tokenizer, tmp_path_factory.mktemp("native"))


def request(ids: list[int], pages: list[int]) -> Request:
    made = Request("r", len(ids), list(ids), Sampling(8), TextStream(lambda _: ""))
    made.pages = pages
    return made


def logits_of(model: Any, ids: list[int], pages: list[int], chunk: int = 10_000) -> torch.Tensor:
    """The logits after the last token, computed `chunk` tokens at a time."""
    asked = request(ids, pages)
    for start in range(0, len(ids), chunk):
        end = min(start + chunk, len(ids))
        plan = StepPlan((Segment(asked, start, end - start, end == len(ids)),))
        scores = model.run(plan, [0] if end == len(ids) else [])
    logits: torch.Tensor = scores.logits[0]
    return logits


def strays(logits: torch.Tensor, checkpoint: Checkpoint, ids: list[int]) -> float:
    """How far `logits` lie from those of float64, in units of what is allowed: below 1 is well."""
    wide = replace(checkpoint, tensors={name: tensor.double() for name, tensor in checkpoint.tensors.items()})
    true = dense_logits(wide, ids)[-1]
    own = (dense_logits(checkpoint, ids)[-1] - true).abs().max()
    return float((logits - true).abs().max() / max(BOUND * true.abs().max(), TIMES * own))


def tokens(n: int, seed: int = 0, vocab: int = 200) -> list[int]:
    return [int(i) for i in np.random.default_rng(seed).integers(0, vocab, n)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_logits_are_those_of_the_oracle(packed_of: Any, shape: dict[str, Any], kind: str) -> None:
    checkpoint = packed_of(**shape)
    model = model_of(checkpoint, kind)
    for n in (1, 17, 150):
        ids = tokens(n)
        assert strays(logits_of(model, ids, list(range(20, 40))), checkpoint, ids) < 1


@pytest.mark.parametrize("kinds", [("Q4_0", "Q8_0"), ("Q8_0", "Q4_1"), ("Q8_0", "Q4_0")], ids=str)
def test_other_formats_too(packed_of: Any, kinds: tuple[str, str]) -> None:
    checkpoint, ids = packed_of(kinds), tokens(40)
    assert strays(logits_of(model_of(checkpoint), ids, [3, 1, 2]), checkpoint, ids) < 1


@pytest.mark.parametrize("config", [{}, {"without": frozenset({"packing"})}], ids=["float weights", "unpacked"])
def test_float_weights_run_natively(packed_of: Any, checkpoint_of: Any, config: dict[str, Any]) -> None:
    checkpoint, ids = packed_of() if config else checkpoint_of(**SHAPE), tokens(40)
    assert strays(logits_of(model_of(checkpoint, **config), ids, [3, 1, 2]), checkpoint, ids) < 1


def test_all_processors_agree(packed_of: Any) -> None:
    """Within the bound; the whole numbers are the same, what differs is where the compiler fuses a float."""
    checkpoint, ids = packed_of(), tokens(100)
    all_logits = [logits_of(model_of(checkpoint, kind), ids, list(range(8))) for kind in KINDS]
    for logits in all_logits[1:]:
        assert float((logits - all_logits[0]).abs().max() / all_logits[0].abs().max()) < BOUND


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_row_is_the_same_bits_in_any_company(packed_of: Any, data: st.DataObject) -> None:
    """Alone or with others, whole or in chunks, wherever its pages lie, on one thread or three."""
    checkpoint = packed_of(heads=6, kv_heads=2)
    alone, crowd = model_of(checkpoint, threads=1), model_of(checkpoint, threads=data.draw(st.integers(1, 3)))
    n = data.draw(st.integers(1, 200))
    wanted = logits_of(alone, tokens(n), list(range(13)))
    others = data.draw(st.lists(st.tuples(st.integers(1, 150), st.integers(1, 8)), max_size=9))
    segments, page = [Segment(request(tokens(n), list(range(100, 113))), n - 1, 1, True)], 0
    logits_of(crowd, tokens(n), list(range(100, 113)), data.draw(st.integers(1, n)))  # leaves its keys and values
    for seed, (length, count) in enumerate(others):
        asked = request(tokens(length, seed), list(range(page, page + 10)))
        segments.append(Segment(asked, max(0, length - count), min(count, length), True))
        page += 10
    place = data.draw(st.integers(0, len(others)))
    segments[0], segments[place] = segments[place], segments[0]
    scores = crowd.run(StepPlan(tuple(segments)), [place])
    assert torch.equal(scores.logits[0], wanted)
    assert scores.greedy[place] == int(wanted.argmax())


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10_000), rows=st.integers(4, 40))
def test_the_certified_head_gives_the_token_of_the_whole_head(packed_of: Any, seed: int, rows: int) -> None:
    checkpoint = packed_of(vocab=1203)
    whole = model_of(checkpoint, without=frozenset({"certified-head"}))
    plan = StepPlan(tuple(Segment(request([t], [i]), 0, 1, True) for i, t in enumerate(tokens(rows, seed, 1203))))
    assert model_of(checkpoint).run(plan, []).greedy == whole.run(plan, []).greedy


def test_of_equal_logits_the_lowest_id_wins(packed_of: Any) -> None:
    """Every row of the head thrice: whichever wins, its first copy must be named, screened or not."""
    checkpoint = packed_of(vocab=600, tied=False)
    name = "lm_head.weight"
    thrice = np.concatenate([checkpoint.blocks[name].raw[:200]] * 3)
    checkpoint.blocks[name] = Blocks("Q8_0", thrice)
    plan = StepPlan(tuple(Segment(request([i], [i]), 0, 1, True) for i in range(16)))
    for levers in (frozenset[str](), frozenset({"certified-head"})):
        greedy = model_of(checkpoint, without=levers).run(plan, []).greedy
        assert max(greedy) < 200
        assert len(set(greedy)) > 4


def test_pages_are_copied_before_the_step(packed_of: Any) -> None:
    checkpoint, ids = packed_of(), tokens(30)
    model = model_of(checkpoint)
    wanted = logits_of(model, ids, [0, 1])
    scores = model.run(StepPlan((Segment(request(ids, [0, 5]), 29, 1, True),), copies=((1, 5),)), [0])
    assert torch.equal(scores.logits[0], wanted)


def test_drafted_rows_have_scores_of_their_own(packed_of: Any) -> None:
    checkpoint, ids = packed_of(), tokens(30)
    model = model_of(checkpoint)
    each = [logits_of(model, ids[:n], [0, 1]) for n in (28, 29, 30)]
    logits_of(model, ids[:27], [7, 8])
    asked = request(ids[:28], [7, 8])
    scores = model.run(StepPlan((Segment(asked, 27, 3, True, tuple(ids[28:])),)), [0, 1, 2])
    assert all(torch.equal(*pair) for pair in zip(scores.logits, each, strict=True))


def test_packed_weights_are_the_dequantised_ones(packed_of: Any) -> None:
    """Read back from the tiles, number by number."""
    checkpoint = packed_of()
    name = "model.layers.0.mlp.down_proj.weight"
    one = pack.pack(checkpoint, [name], None, True)
    cells = one.data.reshape(one.outputs // 16, one.inputs // 32, 320)
    numbers = cells[:, :, :256].reshape(*cells.shape[:2], 4, 16, 4)
    q = np.concatenate([numbers & 15, numbers >> 4], 2).transpose(0, 3, 1, 2, 4).reshape(one.outputs, -1, 32)
    scale, offset = (
        cells[:, :, at : at + 32].copy().view(np.float16).astype(np.float32).swapaxes(1, 2).reshape(one.outputs, -1, 1)
        for at in (256, 288)
    )
    assert np.array_equal((scale * q + offset).reshape(one.outputs, -1), checkpoint.tensors[name].numpy())


def test_skipping_can_be_switched_off(packed_of: Any) -> None:
    checkpoint, ids = packed_of(), tokens(40)
    plan = StepPlan((Segment(request(ids, [0, 1, 2]), 0, 40, True), Segment(request([5], [9]), 0, 1, True)))
    plain = model_of(checkpoint).run(plan, [0, 1])
    every = model_of(checkpoint, without=frozenset({"skipping"})).run(plan, [0, 1])
    assert plain.greedy == every.greedy
    assert torch.equal(plain.logits, every.logits)


def test_answers_are_those_of_torch(packed_of: Any) -> None:
    """Whole answers through the scheduler, many at a time, few pages, small chunks."""
    checkpoint = packed_of()
    limits = EngineConfig(kv_tok=320, max_running=6, step_tok=17)
    answers = []
    for model in (model_of(checkpoint, kv_tok=320, max_running=6, step_tok=17), Llama(checkpoint, limits, keep=True)):
        engine = Engine(model, limits)
        asked = [Request(str(i), 20 + i, tokens(20 + i, i), Sampling(30), TextStream(lambda _: "")) for i in range(9)]
        for one in asked:
            engine.submit(one)
        while engine.busy:
            engine.step()
        answers.append([one.tokens for one in asked])
    assert answers[0] == answers[1]


def test_no_compiler_is_told_and_torch_does_the_work(
    tiny_native: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert isinstance(opened.open_model(tiny_native, EngineConfig(kv_tok=256), CPU), Llama)
    assert "slower than the native step: the C++ compiler no-such-compiler is not there" in capsys.readouterr().err
    with pytest.raises(EngineError, match="no-such-compiler is not there"):
        opened.open_model(tiny_native, EngineConfig(kv_tok=256), CPU, kernels=KINDS[0])


def test_what_cannot_run_natively_runs_by_torch(tiny_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(opened.open_model(tiny_folder, EngineConfig(kv_tok=256), CPU), Llama)
    assert "heads of 8" in capsys.readouterr().err


def test_a_compiler_that_fails_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CXX", "g++ --no-such-flag")
    with pytest.raises(build.NoCompiler, match="no-such-flag"):
        build.kernels(KINDS[-1])
    assert list((tmp_path / "tcabench").rglob("*.so")) == []


def test_kernels_that_this_processor_lacks_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "kinds_here", lambda: ["portable"])
    with pytest.raises(EngineError, match="has no avx512; it has portable"):
        build.kernels("avx512")


def test_the_cache_is_named_by_source_flags_and_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = {build._digest(["g++", "-O2"]), build._digest(["g++", "-O3"])}
    (tmp_path / "step.cpp").write_text("int x;")
    monkeypatch.setattr(build, "SOURCES", tmp_path)
    assert len(names | {build._digest(["g++", "-O3"])}) == 3


def test_the_structures_are_laid_out_as_in_c() -> None:
    from reference_engine.kernels import native

    assert ctypes.sizeof(native._Shape) == 13 * 4
    assert native._Plan.ids.offset == 24  # five numbers and four bytes of nothing before the pointers
