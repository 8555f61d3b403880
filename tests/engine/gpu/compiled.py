"""Every kernel compiled to machine code of an H100/H200 (sm_90); that needs no card. Run by `test_engine_gpu.py`, in a
process of its own."""

from typing import Any

import pytest
import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

from reference_engine.kernels.triton.attention import paged_attention
from reference_engine.kernels.triton.matrix import Matrix
from reference_engine.kernels.triton.project import project
from reference_engine.kernels.triton.rotate import rotate_and_store

TYPES = {
    torch.float32: "*fp32", torch.bfloat16: "*bf16", torch.float16: "*fp16", torch.uint8: "*u8", torch.int32: "*i32",
}  # fmt: skip


class Launches:
    """Compiles what is launched, as if for a card, and runs nothing."""

    def __init__(self) -> None:
        self.assembly: dict[str, str] = {}

    def run(self, kernel: Any, *args: Any, grid: Any, warmup: bool, **named: Any) -> None:
        given = dict(zip(kernel.arg_names, args, strict=False)) | named
        constants = {name: value for name, value in given.items() if value is None or name.isupper()}
        signature = {name: "constexpr" if name in constants else self._type(value) for name, value in given.items()}
        found = triton.compile(ASTSource(kernel, signature, constants), GPUTarget("cuda", 90, 32))
        self.assembly[kernel.__name__] = found.asm["ptx"]
        assert found.asm["cubin"]

    def _type(self, value: Any) -> str:
        if isinstance(value, Tensor):
            return TYPES[value.dtype]
        return "i32" if isinstance(value, int) else "fp32"


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> Launches:
    found = Launches()
    monkeypatch.setattr(JITFunction, "run", lambda kernel, *args, **named: found.run(kernel, *args, **named))
    return found


MATRICES = {
    "float32": Matrix(torch.zeros(64, 96)),
    "bfloat16": Matrix(torch.zeros(64, 96, dtype=torch.bfloat16)),
    "packed": Matrix(torch.zeros(64, 48, dtype=torch.uint8), *(torch.zeros(64, 3).half() for _ in range(2))),
    "wide": Matrix(torch.zeros(4096, 96, dtype=torch.bfloat16), bias=torch.zeros(4096)),
}


@pytest.mark.parametrize("exact", [True, False], ids=["float32", "in bfloat16"])
@pytest.mark.parametrize("kind", MATRICES)
def test_projections_compile(kind: str, exact: bool, launches: Launches) -> None:
    x, matrix = torch.zeros(3, 96), MATRICES[kind]
    project(x, matrix, torch.zeros(96), 1e-5, gated=True, exact=exact, activation="relu2", threshold=0.5)
    project(x, matrix, torch.zeros(96), 1e-5, gated=True, exact=exact)
    project(x, matrix, residual=torch.zeros(3, matrix.n), exact=exact)
    assembly = launches.assembly["_project"]
    assert ("mma.sync" in assembly or "wgmma" in assembly) != exact  # tensor cores, which would round to tf32
    assert "atom" not in assembly  # no sum in an order that chance decides


@pytest.mark.parametrize("exact", [True, False], ids=["float32", "in bfloat16"])
@pytest.mark.parametrize("heads", [(9, 3, 64), (32, 8, 128)], ids=str)
def test_attention_compiles(heads: tuple[int, int, int], exact: bool, launches: Launches) -> None:
    count, kv_heads, d = heads
    of = torch.float32 if exact else torch.bfloat16
    keys, values = (torch.zeros(64, kv_heads, d, dtype=of) for _ in range(2))
    ints = torch.zeros(2, dtype=torch.int32)
    turn = torch.zeros(8, d // 2), torch.zeros(8, d // 2)
    qkv = torch.zeros(2, (count + 2 * kv_heads) * d)
    queries = rotate_and_store(qkv, turn, ints, ints, keys, values)
    paged_attention(queries, keys, values, ints.new_zeros(2, 3), ints.new_zeros(1, 4), ints, 16, 64, exact)
    assert set(launches.assembly) == {"_rotate_and_store", "_attend", "_combine"}
    assert "atom" not in launches.assembly["_attend"]
