"""The GPU path, each part in a process of its own: whether Triton interprets or compiles is decided when it is imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent
REPO = HERE.parents[1]


def passes(name: str, interpreted: bool) -> None:
    """Run `gpu/NAME.py`; its report is the message when it fails."""
    pytest.importorskip("triton", reason="Triton has no wheel for this system")
    env = {**os.environ, "PYTHONPATH": str(REPO), "TRITON_INTERPRET": "1" if interpreted else "0"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE / "gpu" / name)]
    done = subprocess.run(command, env=env, cwd=REPO, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_kernels_compute_what_torch_does() -> None:
    passes("kernels.py", interpreted=True)


def test_kernels_compile_for_hopper() -> None:
    passes("compiled.py", interpreted=False)


@pytest.mark.hw
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU that torch can use")
def test_kernels_compute_what_torch_does_on_a_card() -> None:
    passes("kernels.py", interpreted=False)
