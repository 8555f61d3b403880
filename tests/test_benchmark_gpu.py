"""The GPU's benchmark without a GPU: it refuses, and every path that needs no card runs."""

import itertools
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import engine_gpu
from benchmarks.engine_gpu import Case, Rig, measure, measured
from benchmarks.figures import Figures
from reference_engine.kernels.triton import oracle
from reference_engine.model import random_weights
from reference_engine.model.gpu import Kernels
from tests.engine.conftest import make_spec
from tests.test_benchmarks import check_shape

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "engine_gpu.py"
KERNELS = Kernels(oracle.project, oracle.rotate_and_store, oracle.paged_attention, oracle.rows_per_tile)


def rig(step_j: float = 5.0) -> Rig:
    """The CPU, with a counter that steps at every third look."""
    looks = itertools.count()
    return Rig(torch.device("cpu"), KERNELS, lambda: next(looks) // 3 * step_j, 0.01, (1, 2), 5, 3, 1 << 16)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_it_refuses_where_there_is_no_gpu() -> None:
    done = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no NVIDIA GPU" in done.stderr


@pytest.mark.parametrize("exact", [True, False])
def test_both_sides_do_the_same_work_and_are_told(monkeypatch: pytest.MonkeyPatch, exact: bool) -> None:
    monkeypatch.setitem(random_weights.SHAPES, "tiny", make_spec(tied=False))
    figures, case = Figures(), Case(random_weights.RandomModel("tiny"), exact)
    figures.take(measure(rig(), case))
    document = figures.document(engine_gpu.versions(), 1)
    check_shape(document, 1)
    assert len(document["ratios"]) == 2 * 8 + 1
    for who, what in itertools.product(("ours", "transformers"), ("rate", "power", "energy")):
        assert document["ratios"][f"{case}, batch 2, {who}: {what}"]["median"] > 0
    assert document["ratios"][f"{case}, batch 1, ours: share of the memory's bandwidth"]["median"] > 0


def test_both_sides_answer_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(random_weights.SHAPES, "tiny", make_spec())
    case, prompts = Case(random_weights.RandomModel("tiny"), True), torch.arange(60).view(2, 30)
    _, mine = engine_gpu.ours(rig(), case, prompts)
    peer = engine_gpu.theirs(rig(), case, prompts)
    assert mine(2) == peer(2) == 6


def test_what_is_spent_is_between_two_steps_of_the_counter() -> None:
    spent = measured(rig(7.0), lambda: 4)
    assert spent.tokens % 4 == 0
    assert spent.energy_j % 7 == 0
    assert spent.counted_s >= spent.work_s >= 0.01
