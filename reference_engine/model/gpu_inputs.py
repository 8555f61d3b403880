"""A step plan as one array of int32, so that one copy brings all of it to the device."""

from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from reference_engine.schedule.plan import StepPlan

ALIGNED = 4  # int32, 16 bytes
NOWHERE = -1  # the slot of a row that only fills up a batch: nothing is stored


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the kernels read, int32: `ids`, `positions`, `slots` (rows,); `tiles` (n, 3) and `tables` (requests, pages),
    for which see `kernels.triton.attention`; `chosen`: the rows that are followed by a choice."""

    ids: Tensor
    positions: Tensor
    slots: Tensor
    tiles: Tensor
    tables: Tensor
    chosen: Tensor


@dataclass(frozen=True, slots=True)
class Layout:
    """How many of each there are."""

    rows: int
    tiles: int
    requests: int
    pages: int
    chosen: int

    @property
    def total(self) -> int:
        """Ints in all."""
        return self._starts[-1]

    def views(self, flat: Tensor) -> Inputs:
        """The parts of `flat` (total,)."""
        places = zip(self._starts, self._sizes, strict=False)
        ids, positions, slots, tiles, tables, chosen = (flat[start : start + size] for start, size in places)
        return Inputs(ids, positions, slots, tiles.view(-1, 3), tables.view(self.requests, self.pages), chosen)

    @property
    def _sizes(self) -> tuple[int, ...]:
        return self.rows, self.rows, self.rows, 3 * self.tiles, self.requests * self.pages, self.chosen

    @property
    def _starts(self) -> list[int]:
        """Each part begins at a multiple of 16 bytes: Triton compiles a kernel again for pointers that do not."""
        return list(accumulate((-(-size // ALIGNED) * ALIGNED for size in self._sizes), initial=0))


def layout_of(plan: StepPlan, page_tok: int, per_tile: int) -> Layout:
    """Just what `plan` needs, with tiles of up to `per_tile` rows."""
    return Layout(
        rows=plan.tokens,
        tiles=sum(-(-segment.count // per_tile) for segment in plan.segments),
        requests=len(plan.segments),
        pages=max(-(-(segment.start + segment.count) // page_tok) for segment in plan.segments),
        chosen=sum(segment.choices for segment in plan.segments),
    )


def fill(flat: Tensor, plan: StepPlan, layout: Layout, page_tok: int, per_tile: int) -> None:
    """Write `plan` into `flat` (layout.total,) int32 on the CPU.

    Rows that it leaves free (there are some where a tile has one row) look at the first token of the first request, so
    that they come to numbers, and store nothing.
    """
    flat.zero_()
    into = layout.views(flat)
    parts = (into.ids, into.positions, into.slots, into.tiles, into.tables, into.chosen)
    ids, positions, slots, tiles, tables, chosen = (part.numpy() for part in parts)
    slots[plan.tokens :] = NOWHERE
    tiles[plan.tokens :] = _tiles(np.arange(plan.tokens, layout.rows, dtype=np.int32), layout.rows, 1, 0)
    row, tile, choice = 0, 0, 0
    for owner, segment in enumerate(plan.segments):
        span = np.arange(segment.start, segment.start + segment.count, dtype=np.int32)
        pages = np.asarray(segment.request.pages[: span[-1] // page_tok + 1], np.int32)
        end = row + segment.count
        ids[row:end], positions[row:end] = segment.tokens, span
        slots[row:end] = pages[span // page_tok] * page_tok + span % page_tok
        tables[owner, : len(pages)] = pages
        firsts = np.arange(row, end, per_tile, dtype=np.int32)
        tiles[tile : tile + len(firsts)] = _tiles(firsts, end, per_tile, owner)
        chosen[choice : choice + segment.choices] = np.arange(end - segment.choices, end)
        row, tile, choice = end, tile + len(firsts), choice + segment.choices


def _tiles(firsts: NDArray[np.int32], end: int, per_tile: int, owner: int) -> NDArray[np.int32]:
    return np.stack((firsts, np.minimum(per_tile, end - firsts), np.full_like(firsts, owner)), axis=1)
