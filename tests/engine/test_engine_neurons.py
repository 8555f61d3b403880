"""Gates that close: the same bits as the dense step where they are exactly zero, masked dense arithmetic where a budget
closes them, and counts that are the zeros themselves."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.nn.functional import linear, rms_norm

from reference_engine.config import Budget, EngineConfig, ModelSpec
from reference_engine.engine import Engine
from reference_engine.errors import EngineError
from reference_engine.kernels import build
from reference_engine.kernels.native import NativeModel
from reference_engine.model import layers
from reference_engine.model.activation import activated
from reference_engine.model.layers import Llama
from reference_engine.model.load import Checkpoint
from reference_engine.request import Request, Sampling
from reference_engine.schedule.plan import Segment, StepPlan
from reference_engine.sparse.account import WorkAccount
from reference_engine.sparse.gate_thresholds import GateThresholds
from reference_engine.sparse.pattern import Work
from reference_engine.sparse.zeros import Zeros
from reference_engine.text import TextStream
from tests.engine.test_engine_native import BOUND, SHAPE, logits_of, quantised, request, strays, tokens

KINDS = build.kinds_here()
WIDE = {"hidden": 320, "mlp": 416, "heads": 10, "kv_heads": 5}  # ten pairs of output vectors: two unequal slices
OFF = frozenset({"zeros"})


def native(checkpoint: Checkpoint, kind: str = KINDS[0], threads: int = 2, **config: Any) -> NativeModel:
    return NativeModel(checkpoint, EngineConfig(**({"kv_tok": 4096} | config)), kind, threads)


def plan_of(lengths: Sequence[int], seed: int = 0) -> StepPlan:
    """A prompt of each length, whole, on pages of its own."""
    segments, page = [], 0
    for i, length in enumerate(lengths):
        pages = list(range(page, page + -(-length // 16)))
        page += len(pages)
        segments.append(Segment(request(tokens(length, seed + i), pages), 0, length, True))
    return StepPlan(tuple(segments))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("activation", ["relu", "relu2"])
@pytest.mark.parametrize("shape", [SHAPE, SHAPE | WIDE], ids=["narrow", "wide"])
def test_skipping_zeros_changes_no_bit(checkpoint_of: Any, shape: dict[str, Any], activation: str, kind: str) -> None:
    checkpoint = checkpoint_of(**shape, activation=activation)
    skipping, dense = native(checkpoint, kind), native(checkpoint, kind, without=OFF)
    for lengths in ((1,), (1, 1, 1), (1,) * 16, (40,), (1, 17, 1, 90)):
        plan, everyone = plan_of(lengths), list(range(len(lengths)))
        found, wanted = skipping.run(plan, everyone), dense.run(plan, everyone)
        assert torch.equal(found.logits, wanted.logits)
        assert found.greedy == wanted.greedy
    assert strays(found.logits[3], checkpoint, plan.segments[3].tokens) < 1


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), cut=st.sampled_from([0.0, 0.5, 3.0]))
def test_a_row_is_the_same_bits_in_any_company(checkpoint_of: Any, data: st.DataObject, cut: float) -> None:
    checkpoint = checkpoint_of(**SHAPE, activation="relu")
    budget = Budget(gate=(cut, 2 * cut))
    alone = native(checkpoint, threads=1, budget=budget)
    crowd = native(checkpoint, threads=data.draw(st.integers(1, 3)), budget=budget)
    others = data.draw(st.lists(st.integers(1, 40), max_size=4))
    n, place = data.draw(st.integers(1, 80)), data.draw(st.integers(0, len(others)))
    plan = plan_of([*others[:place], n, *others[place:]], seed=data.draw(st.integers(0, 99)))
    own = plan.segments[place].tokens
    wanted = logits_of(alone, own, list(range(6)), chunk=data.draw(st.integers(1, n)))
    assert torch.equal(crowd.run(plan, [place]).logits[0], wanted)


class Masked(Llama):
    """Torch's arithmetic, and what it leaves closed: (rows,) summed over the layers."""

    closed: torch.Tensor

    def forward(self, batch: Any) -> torch.Tensor:
        self.closed = torch.zeros(len(batch.ids), dtype=torch.int32)
        return super().forward(batch)

    def _mlp(self, layer: layers.Layer, threshold: float, x: torch.Tensor) -> torch.Tensor:
        normed = rms_norm(x, layer.mlp_norm.shape, layer.mlp_norm, self.spec.rms_eps)
        gate = linear(normed, layer.gate_up.weight).chunk(2, dim=-1)[0]
        self.closed += (activated(gate, self.spec.activation, threshold) == 0).sum(-1)
        return super()._mlp(layer, threshold, x)


@pytest.mark.parametrize("activation", ["silu", "relu", "relu2"])
@pytest.mark.parametrize("weights", ["float32", "packed", "unpacked"])
def test_thresholds_are_masked_dense_arithmetic(checkpoint_of: Any, activation: str, weights: str) -> None:
    checkpoint = checkpoint_of(**SHAPE, activation=activation)
    if weights != "float32":
        checkpoint = quantised(checkpoint)
    config = {"budget": Budget(gate=(0.3, 0.6)), "without": frozenset({"packing"} if weights == "unpacked" else set())}
    torch_model = Masked(checkpoint, EngineConfig(kv_tok=4096, **config), keep=True)
    model, dense = native(checkpoint, **config), native(checkpoint, without=config["without"])
    for lengths in ((1,), (9, 1), (50,)):
        plan, everyone = plan_of(lengths, seed=3), list(range(len(lengths)))
        found, wanted = model.run(plan, everyone), torch_model.run(plan, everyone)
        assert float((found.logits - wanted.logits).abs().max()) <= BOUND * 8 * float(wanted.logits.abs().max())
        assert not torch.allclose(found.logits, dense.run(plan, everyone).logits, rtol=1e-3)
        assert found.seen is not None
        if weights == "packed":
            assert (found.seen.left_neurons.sum(), found.seen.unread_neurons) == (0, 0)
        elif lengths == (1,):
            assert found.seen.left_neurons.tolist() == torch_model.closed.tolist()
            assert found.seen.unread_neurons == int(torch_model.closed[0]) > 0


def test_rows_together_leave_less_unread_than_alone(checkpoint_of: Any) -> None:
    """What several rows leave out is bounded by what each would; a neuron that only some need is half multiplied."""
    checkpoint = checkpoint_of(**SHAPE, activation="relu")
    model = native(checkpoint)
    alone = [model.run(plan_of((1,), seed=i), []).seen for i in range(3)]
    seen = model.run(plan_of((1, 1, 1)), []).seen
    assert seen is not None
    for row, one in enumerate(alone):
        assert one is not None
        assert one.unread_neurons == one.left_neurons[0]
        assert seen.unread_neurons < one.unread_neurons
        assert seen.left_neurons[row] == (seen.unread_neurons + one.unread_neurons) // 2
    dense = native(checkpoint, without=OFF).run(plan_of((1, 1, 1)), []).seen
    assert dense is not None
    assert (dense.left_neurons.sum(), dense.unread_neurons) == (0, 0)


def test_weights_are_held_once(checkpoint_of: Any) -> None:
    checkpoint = checkpoint_of(**SHAPE, activation="relu")
    sizes = [sum(array.nbytes for array in native(checkpoint, without=off)._kept) for off in (frozenset[str](), OFF)]
    assert sizes[0] == sizes[1]


def test_thresholds_of_zero_are_the_dense_path_itself(checkpoint_of: Any) -> None:
    checkpoint, ids = checkpoint_of(**SHAPE), tokens(30)
    plain, empty = native(checkpoint), native(checkpoint, budget=Budget(gate=(0.0, 0.0)))
    assert torch.equal(logits_of(plain, ids, [0, 1]), logits_of(empty, ids, [0, 1]))
    first = native(checkpoint, budget=Budget(gate=(0.0, 1e-30)))  # neuron by neuron, and next to nothing left out
    assert torch.equal(logits_of(plain, ids, [0, 1]), logits_of(first, ids, [0, 1]))


def test_whole_answers_with_zeros_are_those_without(checkpoint_of: Any) -> None:
    """Through the scheduler: chunks, guesses, prefixes, preemption."""
    checkpoint, answers = checkpoint_of(**SHAPE, activation="relu2"), []
    for off in (frozenset[str](), OFF):
        limits = EngineConfig(kv_tok=320, max_running=6, step_tok=17, without=off)
        engine = Engine(NativeModel(checkpoint, limits, KINDS[0], 2), limits)
        asked = [Request(str(i), 20 + i, tokens(20 + i, i), Sampling(30), TextStream(lambda _: "")) for i in range(9)]
        for one in asked:
            engine.submit(one)
        while engine.busy:
            engine.step()
        answers.append([one.tokens for one in asked])
    assert answers[0] == answers[1]


@pytest.mark.parametrize("make", [native, lambda c, **config: Llama(c, EngineConfig(**config), keep=True)])
def test_thresholds_for_another_number_of_layers_are_refused(checkpoint_of: Any, make: Any) -> None:
    with pytest.raises(EngineError, match="thresholds for 3 layers, where the model has 2"):
        make(checkpoint_of(**SHAPE), budget=Budget(gate=(0.1,) * 3))


def test_when_it_pays_and_what_it_spares(checkpoint_of: Any) -> None:
    spec: ModelSpec = checkpoint_of(**SHAPE).spec
    relu, cut = replace(spec, activation="relu"), EngineConfig(budget=Budget(gate=(0.1, 0.0)))
    plain, zeros, thresholds = EngineConfig(), Zeros(), GateThresholds()
    assert zeros.why_dense(relu, plain) is None
    assert "never exactly zero" in str(zeros.why_dense(spec, plain))
    for off in ("zeros", "fusion"):
        assert zeros.why_dense(relu, EngineConfig(without=frozenset({off}))) == "it is switched off"
    assert "packed" in str(zeros.why_dense(relu, plain, packed=True))
    assert thresholds.why_dense(spec, cut) is None
    assert "same cost" in str(thresholds.why_dense(spec, cut, packed=True))
    assert "no threshold" in str(thresholds.why_dense(spec, plain))


@pytest.mark.parametrize("cut", [(), (0.3, 0.6)], ids=["zeros", "thresholds"])
def test_what_was_left_out_is_accounted_for_once(checkpoint_of: Any, cut: tuple[float, ...]) -> None:
    """A row alone: of each closed neuron neither the row of up nor the column of down, in float32, was touched."""
    model = native(checkpoint_of(**SHAPE, activation="relu"), budget=Budget(gate=cut))
    account, plan = WorkAccount(model.sizes), plan_of((1,))
    seen = model.run(plan, []).seen
    assert seen is not None
    account.stepped(plan, seen)
    found, weights = dict(account.of(plan.segments[0].request)), 2 * 64 * int(seen.left_neurons[0])
    assert found.pop("done").macs > 0
    assert found == {"gate-thresholds" if cut else "zeros": Work(weights, 4 * weights)}
    assert 0 < int(seen.left_neurons[0]) < 2 * 96
