"""Which of two systems answers graded questions better, question by question."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import comb

from tcabench.quality.grading import grade
from tcabench.records import Prompt
from tcabench.records.quality import Reply

LEVEL = 0.05  # of the test


@dataclass(frozen=True, slots=True)
class Paired:
    """Of `graded` questions, how many each got right; `lost`: the reference alone was right, `gained`: the candidate
    alone."""

    graded: int
    reference_right: int
    candidate_right: int
    lost: int
    gained: int

    @property
    def p_value(self) -> float:
        """How likely so uneven a split of the questions on which they differ is, or a more uneven one, if neither were
        better: exact, two-sided. Source: McNemar, Psychometrika 12 (1947) 153, by the binomial itself.
        """
        n = self.lost + self.gained
        tail = sum(comb(n, k) for k in range(min(self.lost, self.gained) + 1))
        return min(1.0, float(Fraction(2 * tail, 2**n)))

    @property
    def is_worse(self) -> bool:
        """Whether the candidate loses more than it gains, beyond chance."""
        return self.lost > self.gained and self.p_value < LEVEL


def paired(prompts: Sequence[Prompt], reference: Sequence[Reply], candidate: Sequence[Reply]) -> Paired | None:
    """Both systems' answers to those of `prompts` that state how they are graded; None where none does."""
    asked = {prompt.id: prompt for prompt in prompts if prompt.grader is not None and prompt.answer is not None}
    ours, theirs = (_right(asked, replies) for replies in (reference, candidate))
    both = [(ours[name], theirs[name]) for name in asked if name in ours and name in theirs]
    if not both:
        return None
    return Paired(
        len(both), sum(one for one, _ in both), sum(other for _, other in both),
        sum(one and not other for one, other in both), sum(other and not one for one, other in both),
    )  # fmt: skip


def _right(asked: Mapping[str, Prompt], replies: Sequence[Reply]) -> dict[str, bool]:
    """By prompt: whether the answer is right. One that cannot be graded is left out; an error is no right answer."""
    found: dict[str, bool] = {}
    for reply in replies:
        prompt = asked.get(reply.id)
        if prompt is None:
            continue
        given = grade(prompt.grader or "", reply.text, prompt.answer or "").right if not reply.error else False
        if given is not None:
            found[reply.id] = given
    return found
