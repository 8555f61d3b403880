"""Answers that go round in circles."""

from collections.abc import Sequence

from tcabench.quality.detectors.finding import Finding, answered, examples, surely_above
from tcabench.records import Trace

# Below this, four rounds are four syllables: "no, no, no, no" is an answer, not a loop.
MIN_CHARS = 80
# The larger part of an answer: with less of it in the loop, the rest may well be what was asked for. It is also what
# makes the search exact: a run of more than half of a text holds its second or its third quarter whole.
MIN_LOOP_SHARE = 0.5
# One answer in twenty. Small models asked for the most probable word do repeat themselves now and then.
MAX_SHARE = 0.05

SAYS = (
    "More than half of each of these answers is the same piece of text over and over. Nobody can use them, and they "
    "are cheaper to make than others where a server guesses words ahead. "
)
PINNED = "The length was pinned: the model had to write on past its own end, which makes small ones repeat themselves."
FREE = "The model could have stopped and did not: it, or what was done to it, is broken."


def detect(traces: Sequence[Trace], pinned: bool) -> tuple[Finding, ...]:
    """Answers of which more than half is one repeated piece, at most an eighth of the answer long."""
    done = answered(traces)
    judged = [t for t in done if len(t.text) >= MIN_CHARS]
    looping = [t for t in judged if looped_chars(t.text) > MIN_LOOP_SHARE * len(t.text)]
    found = Finding(
        name="repeated",
        title="the same text over and over",
        count=len(looping),
        of=len(judged),
        left_out=len(done) - len(judged),
        examples=examples(looping),
        says=SAYS + (PINNED if pinned else FREE),
        is_suspect=surely_above(len(looping), len(judged), MAX_SHARE),
    )
    return (found,)


def looped_chars(text: str) -> int:
    """How many characters the longest repetition has that fills the second or third quarter of `text`, in linear time.

    Each run of more than half of `text` that repeats a piece of at most an eighth of it is found, and its length is
    exact: it holds one of these quarters, and by Fine and Wilf's theorem the quarter's own shortest period is the
    run's. Source: Fine and Wilf, Proc. Am. Math. Soc. 16 (1965) 109, doi 10.1090/S0002-9939-1965-0174934-9.
    """
    n = len(text)
    return max(reach(text, n // 4, n // 2), reach(text, n // 2, n // 2 + n // 4))


def reach(text: str, start: int, end: int) -> int:
    """The length of the run around `text[start:end]` that keeps its period; 0 where it has none."""
    period = shortest_period(text[start:end])
    if not period:
        return 0
    while start > 0 and text[start - 1] == text[start - 1 + period]:
        start -= 1
    while end < len(text) and text[end] == text[end - period]:
        end += 1
    return end - start


def shortest_period(piece: str) -> int:
    """The smallest p, at most half of `piece`, with piece[i] == piece[i + p] throughout; 0 where there is none.

    The first place at which the first half occurs again is that period, if any is: an earlier one would be a period
    too.
    """
    period = piece.find(piece[: (len(piece) + 1) // 2], 1)
    return period if period > 0 and piece[period:] == piece[:-period] else 0
