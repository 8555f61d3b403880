"""One step of work, as plain ints."""

from dataclasses import dataclass

from reference_engine.request import Request


@dataclass(frozen=True, slots=True)
class Segment:
    """Tokens [start, start + count) of one request. `samples`: they reach its end, so the next token follows."""

    request: Request
    start: int
    count: int
    samples: bool


@dataclass(frozen=True, slots=True)
class StepPlan:
    """The segments of one step, decodes first. Never empty."""

    segments: tuple[Segment, ...]

    @property
    def tokens(self) -> int:
        """Tokens this step computes."""
        return sum(segment.count for segment in self.segments)

    @property
    def sampled(self) -> tuple[Request, ...]:
        """The requests that get a token from this step, in the order of their logit rows."""
        return tuple(segment.request for segment in self.segments if segment.samples)
