"""A step plan as tensors: the flat token rows of the step, and which cache pages each of them may look at."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reference_engine.schedule.plan import Segment, StepPlan


@dataclass(frozen=True, slots=True)
class Group:
    """Segments that attend in one call: `rows` (batch, n) of the flat step, `pages` (batch, p) of the cache, and `mask`
    (batch, 1, n, p * page_tok), 0 where a row may look and -inf where not (future, padding, unwritten). `positions`
    (batch, n): the rows' own; `may_pick` (batch, n): those at or after the first choice of their request."""

    rows: Tensor
    pages: Tensor
    mask: Tensor
    positions: Tensor
    may_pick: Tensor


@dataclass(frozen=True, slots=True)
class Batch:
    """`ids`, `positions`, `slots` (tokens,): what is computed, where in its text, where its keys go. `logit_rows` (s,):
    the rows
    that are followed by the choice of a token."""

    ids: Tensor
    positions: Tensor
    slots: Tensor
    logit_rows: Tensor
    groups: tuple[Group, ...]


def batch_of(plan: StepPlan, page_tok: int) -> Batch:
    """The tensors of one step."""
    ids, positions, slots, logit_rows = list[int](), list[int](), list[int](), list[int]()
    alike = defaultdict[tuple[int, int], list[tuple[int, Segment]]](list)
    for segment in plan.segments:
        alike[_shape(segment, page_tok)].append((len(ids), segment))
        span = range(segment.start, segment.start + segment.count)
        ids += segment.tokens
        positions += span
        slots += [segment.request.pages[at // page_tok] * page_tok + at % page_tok for at in span]
        logit_rows += range(len(ids) - segment.choices, len(ids))
    groups = tuple(_group(members, page_tok) for members in alike.values())
    return Batch(_longs(ids), _longs(positions), _longs(slots), _longs(logit_rows), groups)


def _longs(numbers: Sequence[int]) -> Tensor:
    return torch.tensor(numbers, dtype=torch.long)  # said outright: an empty list would come out as floats


def _shape(segment: Segment, page_tok: int) -> tuple[int, int]:
    """Segments of one shape share a call: as many rows, and page counts within a factor of two, so that padding never
    more than doubles the work."""
    pages = -(-(segment.start + segment.count) // page_tok)
    return segment.count, 1 << (pages - 1).bit_length()


def _group(members: Sequence[tuple[int, Segment]], page_tok: int) -> Group:
    count = members[0][1].count
    ends = [segment.start + segment.count for _, segment in members]
    width = -(-max(ends) // page_tok)
    pages = [(segment.request.pages[:width] + [0] * width)[:width] for _, segment in members]
    positions = torch.tensor([segment.start for _, segment in members])[:, None] + torch.arange(count)
    visible = torch.arange(width * page_tok) <= positions[:, None, :, None]
    mask = torch.zeros(visible.shape).masked_fill_(~visible, -torch.inf)
    rows = torch.tensor([first for first, _ in members])[:, None] + torch.arange(count)
    first_choices = torch.tensor([segment.request.first_choice for _, segment in members])
    return Group(rows, torch.tensor(pages), mask, positions, positions >= first_choices[:, None])
