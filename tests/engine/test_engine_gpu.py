"""The GPU path's kernels, each file of them in a process of its own: whether Triton interprets or compiles is decided
when it is imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent
REPO = HERE.parents[1]


def passes(name: str, interpreted: bool) -> None:
    """Run the file `name`; its report is the message when it fails."""
    pytest.importorskip("triton", reason="Triton has no wheel for this system")
    env = {
        **os.environ,
        "PYTHONPATH": str(REPO),
        "TRITON_INTERPRET": "1" if interpreted else "0",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE / name)]
    done = subprocess.run(command, env=env, cwd=REPO, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_kernels_compute_what_torch_does() -> None:
    passes("gpu/kernels.py", interpreted=True)


def test_kernels_compile_for_hopper() -> None:
    passes("gpu/compiled.py", interpreted=False)


def test_the_model_is_the_dense_one() -> None:
    passes("test_engine_gpu_model.py", interpreted=True)


@pytest.mark.hw
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU that torch can use")
@pytest.mark.parametrize("name", ["gpu/kernels.py", "test_engine_gpu_model.py"])
def test_the_same_on_a_card(name: str) -> None:
    passes(name, interpreted=False)
