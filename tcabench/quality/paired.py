"""Which of two systems answers graded questions better, question by question."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
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


def graded(prompts: Sequence[Prompt], replies: Sequence[Reply]) -> tuple[Reply, ...]:
    """`replies`, each with its grade where its prompt states how it is graded. An error is no right answer; one that
    cannot be graded stays without."""
    asked = {prompt.id: prompt for prompt in prompts if prompt.grader is not None and prompt.answer is not None}
    return tuple(_graded(asked.get(reply.id), reply) for reply in replies)


def paired(reference: Sequence[Reply], candidate: Sequence[Reply]) -> Paired | None:
    """Both systems' graded answers, prompt by prompt; None where no prompt has a grade of both."""
    theirs = {reply.id: reply.right for reply in candidate}
    pairs = [(reply.right, theirs.get(reply.id)) for reply in reference]
    both = [(one, other) for one, other in pairs if one is not None and other is not None]
    if not both:
        return None
    return Paired(
        len(both), sum(one for one, _ in both), sum(other for _, other in both),
        sum(one and not other for one, other in both), sum(other and not one for one, other in both),
    )  # fmt: skip


def _graded(prompt: Prompt | None, reply: Reply) -> Reply:
    if prompt is None:
        return reply
    right = grade(prompt.grader or "", reply.text, prompt.answer or "").right if not reply.error else False
    return replace(reply, right=right)
