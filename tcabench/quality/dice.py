"""Seeded choices, and the item that they make."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Item:
    """A question with one right answer: what is asked, what is right (in the form that `grader` takes, see
    `quality.grading`), and how many tokens an answer may have."""

    kind: str
    grader: str
    text: str
    answer: str
    max_tok: int


class Dice:
    """Choices made from `Random.random()` alone: the only method whose sequence Python keeps between versions."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)

    def number(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return low + int(self.rng.random() * (high - low + 1))

    def some(self, pool: Sequence[T], count: int) -> list[T]:
        """`count` different members of `pool`, in random order."""
        return sorted(pool, key=lambda _: self.rng.random())[:count]

    def one(self, pool: Sequence[T]) -> T:
        """One member of `pool`."""
        return pool[self.number(0, len(pool) - 1)]
