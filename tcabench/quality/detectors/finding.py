"""What a detector is and what it says."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from tcabench.records import NotMetered, Quantity, Status, Trace, Value

MAX_EXAMPLES = 5
WITHOUT_TEXT = ("tool_calls", "function_call")  # answers that are calls: they have no text to judge


@dataclass(frozen=True, slots=True)
class Finding:
    """`count` of `of` requests have what `title` names; `left_out` more could not be judged.

    `examples` are indices of up to five of the `count`; `says` is for a reader who knows no server from inside;
    `is_suspect` where a certificate must not rest on these answers before somebody has looked at them.
    """

    name: str
    title: str
    count: int
    of: int
    left_out: int
    examples: tuple[int, ...]
    says: str
    is_suspect: bool

    @property
    def share(self) -> Value:
        """`count` / `of`, unit 1, with Wilson's 95 % interval."""
        return Quantity.share(self.count, self.of) if self.of else NotMetered("no answer that it could be seen in")


class Detector(Protocol):
    """Looks at all answers of a run; `pinned` says whether their length was. Never raises, never does I/O."""

    def __call__(self, traces: Sequence[Trace], pinned: bool) -> tuple[Finding, ...]: ...


def answered(traces: Iterable[Trace]) -> list[Trace]:
    """Those answered in full, and in text."""
    return [t for t in traces if t.status is Status.OK and t.finish_reason not in WITHOUT_TEXT]


def examples(hits: Iterable[Trace]) -> tuple[int, ...]:
    """The indices of the first five requests, in the order of their indices."""
    return tuple(sorted(t.index for t in hits)[:MAX_EXAMPLES])


def surely_above(count: int, of: int, limit: float) -> bool:
    """Whether even the low end of the share's 95 % interval is above `limit`: one odd answer in a short run is not."""
    return of > 0 and Quantity.share(count, of).low > limit
