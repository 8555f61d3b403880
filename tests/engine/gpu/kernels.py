"""Each kernel against its torch oracle; run by `test_engine_gpu.py` in a process of its own: in Triton's interpreter on
CPU tensors, or on a real card."""

import os
from typing import Any

import pytest
import torch
from torch import Tensor

from reference_engine.kernels.triton import oracle
from reference_engine.kernels.triton.attention import SPLIT_TOK, paged_attention, rows_per_tile
from reference_engine.kernels.triton.matrix import Matrix, stacked, unpack_q4_1
from reference_engine.kernels.triton.project import project
from reference_engine.kernels.triton.rotate import rotate_and_store

DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"
EXACT, ROUNDED = 2e-5, 3e-2  # of the largest value: float32 in another order of summation; bfloat16 factors, which the
# interpreter cuts and does not round


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE)


def packed(n: int, k: int, seed: int = 0) -> Matrix:
    """A Q4_1 matrix by way of the file's own blocks."""
    rng = torch.Generator().manual_seed(seed)
    blocks = torch.randint(0, 256, (n, k // 32, 20), generator=rng, dtype=torch.uint8)
    heads = torch.stack((torch.rand(n, k // 32, generator=rng) * 0.1, -torch.rand(n, k // 32, generator=rng)), dim=-1)
    blocks[..., :4] = heads.half().view(torch.uint8)
    made = unpack_q4_1(blocks.view(-1), (n, k))
    return Matrix(*(part.to(DEVICE) for part in (made.weight, made.scales, made.minima)))


def close(found: Tensor, expected: Tensor, limit: float) -> bool:
    return float((found - expected).abs().max()) <= limit * float(expected.abs().max())


KINDS = {
    "float32": lambda n, k: Matrix(draw(n, k, seed=1)),
    "bfloat16": lambda n, k: Matrix(draw(n, k, seed=1).bfloat16()),
    "float16": lambda n, k: Matrix(draw(n, k, seed=1).half()),
    "packed": packed,
    "biased": lambda n, k: Matrix(draw(n, k, seed=1), bias=draw(n, seed=2)),
}


def test_packed_blocks_are_those_of_gguf() -> None:
    import numpy as np
    from gguf import quants

    blocks = np.random.default_rng(0).integers(0, 256, (6, 40), dtype=np.uint8)
    blocks[:, (1, 3, 21, 23)] &= 0x3B  # the high bytes of the float16s: finite and not huge
    expected = quants.Q4_1.dequantize_blocks(blocks.reshape(-1, 20)).reshape(6, 64)
    assert np.array_equal(unpack_q4_1(torch.from_numpy(blocks), (6, 64)).floats().numpy(), expected)


@pytest.mark.parametrize("activation", ["silu", "relu", "relu2"])
def test_gates_that_are_not_above_the_threshold_close(activation: str) -> None:
    x, matrix = draw(5, 96), packed(64, 96)
    open_ = project(x, matrix, gated=True, activation=activation)
    cut: dict[str, Any] = {"gated": True, "activation": activation, "threshold": 0.7}
    found, expected = project(x, matrix, **cut), oracle.project(x, matrix, **cut)
    assert close(found, expected, EXACT)
    assert 0 < int((found != open_).sum()) < found.numel()
    assert set(found[found != open_].tolist()) == {0.0}


@pytest.mark.parametrize("exact", [True, False], ids=["float32", "in bfloat16"])
@pytest.mark.parametrize("shape", [(1, 48, 96), (5, 70, 64), (17, 33, 160)], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_projection(kind: str, shape: tuple[int, int, int], exact: bool) -> None:
    m, n, k = shape
    x, matrix = draw(m, k), KINDS[kind](n, k)
    options: list[dict[str, Any]] = [
        {}, {"norm": draw(k, seed=3), "eps": 1e-5}, {"residual": draw(m, n, seed=4)},
    ]  # fmt: skip
    if n % 2 == 0:
        gated = {"gated": True, "norm": draw(k, seed=3), "eps": 1e-5}
        options += [gated, gated | {"activation": "relu"}, gated | {"activation": "relu2"}]
    for option in options:
        found, expected = (f(x, matrix, exact=exact, **option) for f in (project, oracle.project))
        assert close(found, expected, EXACT if exact else ROUNDED), option


def test_a_row_is_the_same_alone_and_among_others() -> None:
    x, matrix, norm = draw(33, 96), packed(70, 96), draw(96, seed=3)
    together = project(x, matrix, norm, 1e-5, gated=True)
    for row in (0, 15, 16, 32):
        assert torch.equal(project(x[row : row + 1], matrix, norm, 1e-5, gated=True)[0], together[row])


def test_matrices_that_are_not_stored_alike_are_joined_without_loss() -> None:
    parts = [packed(4, 32), Matrix(draw(3, 32).bfloat16(), bias=draw(3)), Matrix(draw(2, 32))]
    joined = stacked(parts)
    assert torch.equal(joined.floats(), torch.cat([part.floats() for part in parts]))
    assert joined.bias is not None
    assert joined.bias[:4].eq(0).all()
    assert stacked([packed(4, 32), packed(6, 32, seed=1)]).scales is not None


@pytest.mark.parametrize("d", [8, 24, 64])
@pytest.mark.parametrize("of", [torch.float32, torch.bfloat16], ids=str)
def test_rotation_and_storing(d: int, of: torch.dtype) -> None:
    heads, kv_heads, t = 3, 2, 5
    qkv, angles = draw(t, (heads + 2 * kv_heads) * d), draw(40, d // 2, seed=1)
    positions = torch.tensor([0, 39, 7, 8, 0], dtype=torch.int32, device=DEVICE)
    slots = torch.tensor([3, 11, 0, 1, -1], dtype=torch.int32, device=DEVICE)
    caches = [torch.zeros(12, kv_heads, d, dtype=of, device=DEVICE) for _ in range(4)]
    found = rotate_and_store(qkv, (angles.cos(), angles.sin()), positions, slots, *caches[:2])
    expected = oracle.rotate_and_store(qkv, (angles.cos(), angles.sin()), positions, slots, *caches[2:])
    assert close(found, expected, EXACT)
    assert close(caches[0].float(), caches[2].float(), EXACT if of == torch.float32 else ROUNDED)
    assert close(caches[1].float(), caches[3].float(), 0 if of == torch.float32 else ROUNDED)
    assert not caches[0][4:11].any()  # neither there nor anywhere for the slot of -1


class Ragged:
    """Segments (start, count) of requests whose pages lie scattered; `only` one of them, if wanted."""

    def __init__(self, segments: list[tuple[int, int]], heads: int, kv_heads: int, d: int, page_tok: int) -> None:
        pages = max(-(-(start + count) // page_tok) for start, count in segments)
        order = torch.randperm(pages * len(segments), generator=torch.Generator().manual_seed(5))
        self.tables = order.view(len(segments), pages).int().to(DEVICE)
        self.keys, self.values = (draw(pages * len(segments) * page_tok, kv_heads, d, seed=s) for s in (6, 7))
        self.segments, self.page_tok, self.heads, self.kv_heads = segments, page_tok, heads, kv_heads
        self.queries = draw(sum(count for _, count in segments), heads, d, seed=8)
        self.context_tok = pages * page_tok

    def attend(self, function: Any, only: int | None = None, exact: bool = True, per_tile: int | None = None) -> Tensor:
        per_tile = per_tile or rows_per_tile(self.heads, self.kv_heads)
        tiles, positions, row, mine = list[list[int]](), list[int](), 0, list[int]()
        for owner, (start, count) in enumerate(self.segments):
            if only in (None, owner):
                at = len(positions)
                tiles += [[at + i, min(per_tile, count - i), owner] for i in range(0, count, per_tile)]
                positions += range(start, start + count)
                mine += range(row, row + count)
            row += count
        ints = (torch.tensor(each, dtype=torch.int32, device=DEVICE) for each in (tiles, positions))
        tiles_, positions_ = ints
        found: Tensor = function(self.queries[mine], self.keys, self.values, tiles_, self.tables, positions_,
                                 self.page_tok, self.context_tok, exact)  # fmt: skip
        return found


MIXED = [(0, 1), (15, 1), (16, 3), (0, 9), (SPLIT_TOK - 1, 2), (2 * SPLIT_TOK - 2, 3)]


@pytest.mark.parametrize(
    ("heads", "d", "page_tok"), [((4, 4), 8, 16), ((9, 3), 64, 5), ((8, 1), 24, 16), ((17, 1), 8, 5)], ids=str
)
def test_paged_attention(heads: tuple[int, int], d: int, page_tok: int) -> None:
    ragged = Ragged(MIXED, *heads, d, page_tok)
    assert close(ragged.attend(paged_attention), ragged.attend(oracle.paged_attention), EXACT)


def test_paged_attention_in_bfloat16() -> None:
    ragged = Ragged(MIXED, 9, 3, 64, 16)
    assert close(
        ragged.attend(paged_attention, exact=False), ragged.attend(oracle.paged_attention, exact=False), ROUNDED
    )


def test_a_request_attends_alike_alone_among_others_and_row_by_row() -> None:
    ragged, row = Ragged(MIXED, 9, 3, 64, 16), 0
    together = ragged.attend(paged_attention)
    assert torch.equal(ragged.attend(paged_attention, per_tile=1), together)
    for owner, (_, count) in enumerate(MIXED):
        assert torch.equal(ragged.attend(paged_attention, only=owner), together[row : row + count])
        row += count
