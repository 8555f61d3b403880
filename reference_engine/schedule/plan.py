"""One step of work, as plain ints."""

from dataclasses import dataclass

from reference_engine.request import Request


@dataclass(frozen=True, slots=True)
class Segment:
    """Rows of one request: tokens [start, start + count) of `request.tokens` followed by `drafts`.

    `count` counts both. `drafts` are guesses at tokens that are not yet chosen; they are computed with the others and
    checked afterwards. `samples`: the rows reach the request's end, so the last one before the drafts and each draft
    are followed by a choice (1 + len(drafts) logit rows).
    """

    request: Request
    start: int
    count: int
    samples: bool
    drafts: tuple[int, ...] = ()

    @property
    def tokens(self) -> list[int]:
        """The token of each row."""
        known = self.start + self.count - len(self.drafts)
        return [*self.request.tokens[self.start : known], *self.drafts]

    @property
    def choices(self) -> int:
        """How many of the last rows are followed by the choice of a token."""
        return 1 + len(self.drafts) if self.samples else 0


@dataclass(frozen=True, slots=True)
class StepPlan:
    """The segments of one step, decodes first. Never empty. `copies` are pages (from, to) to copy before it runs."""

    segments: tuple[Segment, ...]
    copies: tuple[tuple[int, int], ...] = ()

    @property
    def tokens(self) -> int:
        """Tokens this step computes."""
        return sum(segment.count for segment in self.segments)

    @property
    def sampled(self) -> tuple[Request, ...]:
        """The requests that get a token from this step, in the order of their logit rows."""
        return tuple(segment.request for segment in self.segments if segment.samples)
