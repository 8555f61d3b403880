"""One word, and the reasons that lead to it."""

from typing import Any

import pytest

from tcabench.quality.agreement import Agreement, Fate, Parting
from tcabench.quality.likeness import Likeness, Spread
from tcabench.quality.verdict import Standing, stand

SAME, E, W, U = Standing.IDENTICAL, Standing.EQUIVALENT, Standing.WORSE, Standing.INCONCLUSIVE


def agreed(*fates: Fate, failed: tuple[str, ...] = (), compared: int = 10, margin: float | None = 0.01) -> Agreement:
    partings = tuple(Parting("a", 3, fate, margin, "x", "y") for fate in fates)
    return Agreement(compared, compared - len(fates), 30 * compared, True, partings, failed, 1e-4)


def like(low: float, high: float, texts: int = 20, unlike: int = 0, failed: int = 0) -> Likeness:
    spread = Spread((low + high) / 2, low, high, low, high)
    return Likeness(texts, 500, 9.0, spread, spread, 1.0, 0.1, 0.01, unlike, failed)


@pytest.mark.parametrize(
    ("agreement", "likeness", "cached", "expected", "says"),
    [
        (agreed(), like(0, 0), 0, SAME, "all 300 tokens"),
        (agreed(), None, 0, SAME, "no text was scored"),
        (agreed(), like(0.1, 0.2), 0, U, "every answer is the same, and yet"),
        (agreed(Fate.TIE), like(0, 0), 0, E, "within the declared 1 %"),  # identical means equal, ties or not
        (agreed(Fate.FAULT), like(-0.009, 0.009), 0, E, "within the declared 1 %"),
        (agreed(Fate.FAULT), like(-0.009, 0.011), 0, U, "neither fits"),
        (agreed(Fate.FAULT), like(0.011, 0.02), 0, W, "beyond the declared 1 %"),
        (agreed(Fate.FAULT), like(-0.03, -0.02), 0, U, "another model"),
        (agreed(Fate.FAULT), like(0, 0, texts=9), 0, U, "fewer than 10 texts"),
        (agreed(Fate.FAULT), None, 0, U, "no text was scored by both"),
        (agreed(Fate.ENDED), like(0, 0), 0, W, "1 of 10 answers end before"),
        (agreed(), like(0, 0), 2, U, "cache"),
        (agreed(), like(0, 0), None, U, "could not be seen"),
        (agreed(), like(0, 0), 1, SAME, "all 300 tokens"),  # once may be chance
        (agreed(Fate.ENDED), like(0, 0), 3, W, "end before"),
        (
            agreed(Fate.FAULT, margin=0.41),
            like(0, 0),
            0,
            U,
            "answered by something else",
        ),  # scores differ by 0.1 at most
        (agreed(Fate.FAULT, margin=0.39), like(0, 0), 0, E, "within the declared 1 %"),
        (agreed(Fate.FAULT, margin=None), like(0, 0), 0, U, "answered by something else"),
        (agreed(*6 * [Fate.UNKNOWN]), like(0, 0), 0, U, "the reference tells nothing"),
        (agreed(*5 * [Fate.UNKNOWN]), like(0, 0), 0, E, "within the declared 1 %"),
        (agreed(Fate.FAULT), like(0, 0, failed=1), 0, U, "1 texts were not scored"),
        (agreed(Fate.FAULT), like(0, 0, unlike=1), 0, U, "1 were cut otherwise"),
        (agreed(failed=("a",)), like(0, 0), 0, U, "1 prompts were answered with an error"),
        (agreed(compared=0), like(0, 0), 0, U, "no prompt"),
    ],
)
def test_table(agreement: Any, likeness: Any, cached: int | None, expected: Standing, says: str) -> None:
    found = stand(agreement, likeness, 0.01, cached)
    assert found.standing is expected
    assert says in found.why


def test_a_margin_of_nothing_admits_only_no_difference() -> None:
    assert stand(agreed(Fate.TIE), like(0, 0), 0.0, 0).standing is E
    assert stand(agreed(Fate.TIE), like(-1e-9, 1e-9), 0.0, 0).standing is U
