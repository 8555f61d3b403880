# mypy: disable-error-code="no-untyped-def, untyped-decorator, misc"
"""Linear maps on plain or packed weights, with what stands before and after them in a Llama layer fused in."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from reference_engine.config import Activation
from reference_engine.kernels.triton.matrix import Matrix

ROWS = 16  # of x in a tile, whatever the batch: the least that tl.dot takes
NARROW, WIDE, WIDE_FROM = 16, 64, 2048  # columns in a tile: by the matrix alone, never by the batch
INNER = 64  # weights multiplied at a time
INTERPRETED = tl.constexpr(triton.knobs.runtime.interpret)


def project(
    x: Tensor,
    matrix: Matrix,
    norm: Tensor | None = None,
    eps: float = 0.0,
    gated: bool = False,
    residual: Tensor | None = None,
    exact: bool = True,
    activation: Activation = "silu",
    threshold: float = 0.0,
) -> Tensor:
    """(m, n) float32 of `x` (m, k) float32: `matrix` of x, or of its RMS norm weighted by `norm` (k,).

    `gated`: the first half of the matrix's values, through `activation`, times the second half (n is then half of its
    values); what the activation leaves at or below `threshold` in size counts as 0, if that is above 0.
    `residual` (m, n) is added at the end. `exact` multiplies in float32; else in bfloat16, summed in float32.
    """
    (m, k), n = x.shape, matrix.n // 2 if gated else matrix.n
    out = torch.empty(m, n, device=x.device)
    columns = WIDE if n >= WIDE_FROM else NARROW
    _project[(triton.cdiv(m, ROWS), triton.cdiv(n, columns))](
        x, matrix.weight, matrix.scales, matrix.minima, matrix.bias, norm, residual, out, m, n, k, eps, threshold,
        PACKED=matrix.scales is not None, BIASED=matrix.bias is not None, NORMED=norm is not None, GATED=gated,
        ADDED=residual is not None, EXACT=exact, ACTIVATION=activation, CUT=threshold > 0, ROWS=ROWS, COLUMNS=columns,
        INNER=INNER,
    )  # fmt: skip
    return out


@triton.jit(do_not_specialize=["m"])  # one machine code for any batch
def _project(
    x, weight, scales, minima, bias, norm, residual, out, m, n, k, eps, threshold,
    PACKED: tl.constexpr, BIASED: tl.constexpr, NORMED: tl.constexpr, GATED: tl.constexpr, ADDED: tl.constexpr,
    EXACT: tl.constexpr, ACTIVATION: tl.constexpr, CUT: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    INNER: tl.constexpr,
):  # fmt: skip
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)  # rows fastest: tiles that share weights run side by side
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    size = tl.full((ROWS,), 1.0, tl.float32)
    if NORMED:
        size = _inverse_rms(x, rows, m, k, eps, ROWS, INNER)
    value = tl.zeros((ROWS, COLUMNS), tl.float32)
    for part in tl.static_range(2 if GATED else 1):
        if PACKED:
            product = _packed(x, weight, scales, minima, norm, size, rows, columns, m, n, k, part,
                              NORMED, EXACT, ROWS, COLUMNS, INNER)  # fmt: skip
        else:
            product = _plain(x, weight, norm, size, rows, columns, m, n, k, part, NORMED, EXACT, ROWS, COLUMNS, INNER)
        if BIASED:
            product += tl.load(bias + part * n + columns, mask=columns < n, other=0.0)[None, :]
        value = product if part == 0 else _activated(value, threshold, ACTIVATION, CUT) * product
    at = rows[:, None] * n + columns[None, :]
    inside = (rows[:, None] < m) & (columns[None, :] < n)
    if ADDED:
        value += tl.load(residual + at, mask=inside, other=0.0)
    tl.store(out + at, value, mask=inside)


@triton.jit
def _activated(gate, threshold, ACTIVATION: tl.constexpr, CUT: tl.constexpr):
    """See `model/activation.py`."""
    if ACTIVATION == "silu":
        found = gate / (1.0 + tl.exp(-gate))
    else:
        found = tl.maximum(gate, 0.0)
        if ACTIVATION == "relu2":
            found = found * found
    if CUT:
        found = tl.where(tl.abs(found) > threshold, found, 0.0)
    return found


@triton.jit
def _inverse_rms(x, rows, m, k, eps, ROWS: tl.constexpr, INNER: tl.constexpr):
    """(ROWS,) one over the root mean square of each row of x."""
    squares = tl.zeros((ROWS, INNER), tl.float32)
    for start in range(0, k, INNER):
        at = start + tl.arange(0, INNER)
        part = tl.load(x + rows[:, None] * k + at[None, :], mask=(rows[:, None] < m) & (at[None, :] < k), other=0.0)
        squares += part * part
    return 1.0 / tl.sqrt(tl.sum(squares, 1) / k + eps)


@triton.jit
def _inputs(x, norm, size, rows, at, m, k, NORMED: tl.constexpr):
    """(ROWS, len(at)) of x, normed if asked for; 0 outside."""
    part = tl.load(x + rows[:, None] * k + at[None, :], mask=(rows[:, None] < m) & (at[None, :] < k), other=0.0)
    if NORMED:
        part = part * size[:, None] * tl.load(norm + at, mask=at < k, other=0.0)[None, :]
    return part


@triton.jit
def _plain(
    x, weight, norm, size, rows, columns, m, n, k, part,
    NORMED: tl.constexpr, EXACT: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, INNER: tl.constexpr,
):  # fmt: skip
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    lines = (part * n + columns).to(tl.int64) * k
    for start in range(0, k, INNER):
        at = start + tl.arange(0, INNER)
        inside = (at[:, None] < k) & (columns[None, :] < n)
        factors = tl.load(weight + lines[None, :] + at[:, None], mask=inside, other=0.0).to(tl.float32)
        total = dot(_inputs(x, norm, size, rows, at, m, k, NORMED), factors, total, EXACT)
    return total


@triton.jit
def _packed(
    x, weight, scales, minima, norm, size, rows, columns, m, n, k, part,
    NORMED: tl.constexpr, EXACT: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, INNER: tl.constexpr,
):  # fmt: skip
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    lines = (part * n + columns).to(tl.int64)[None, :]
    for start in range(0, k // 2, INNER // 2):
        byte = start + tl.arange(0, INNER // 2)
        inside = (byte[:, None] < k // 2) & (columns[None, :] < n)
        nibbles = tl.load(weight + lines * (k // 2) + byte[:, None], mask=inside, other=0)
        of_block = lines * (k // 32) + byte[:, None] // 16
        scale = tl.load(scales + of_block, mask=inside, other=0.0).to(tl.float32)
        minimum = tl.load(minima + of_block, mask=inside, other=0.0).to(tl.float32)
        low = byte // 16 * 32 + byte % 16
        factors = (nibbles & 15).to(tl.float32) * scale + minimum
        total = dot(_inputs(x, norm, size, rows, low, m, k, NORMED), factors, total, EXACT)
        factors = (nibbles >> 4).to(tl.float32) * scale + minimum
        total = dot(_inputs(x, norm, size, rows, low + 16, m, k, NORMED), factors, total, EXACT)
    return total


@triton.jit
def dot(a, b, total, EXACT: tl.constexpr):
    """`total` + a b, all float32; unless EXACT the factors are rounded to bfloat16 first."""
    if EXACT:
        return tl.dot(a, b, total, input_precision="ieee")  # else tf32, which keeps 10 bits of 23
    a, b = a.to(tl.bfloat16), b.to(tl.bfloat16)
    if INTERPRETED:  # it would multiply their bits as if those were integers
        return tl.dot(a.to(tl.float32), b.to(tl.float32), total)
    return tl.dot(a, b, total)
