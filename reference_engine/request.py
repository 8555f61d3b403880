"""A request on its way through the engine, and what comes out of it token by token."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from torch import Tensor

from reference_engine.sparse.pattern import Done, Work
from reference_engine.speculate import PromptLookup
from reference_engine.text import Text

Finish = Literal["stop", "length", "cancelled", "failed"]


class Constraint(Protocol):
    """What one answer may consist of. It keeps its place in that answer, so no two requests share one."""

    @property
    def error(self) -> str | None:
        """Why it could not go on; from then on only the end of the answer is allowed."""
        ...

    def allowed(self, output: Sequence[int]) -> Tensor:
        """(vocab,) bool: the tokens that may follow `output`, the answer so far. Nothing but an end-of-sequence token
        once it is complete, which then ends it like any other."""
        ...


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are chosen. `temperature` 0 is greedy. `logprobs`: how many alternatives to report, None for none.
    `choice` counts the answers to one prompt, which draw differently from one seed. `logit_bias` (token -> summand),
    the penalties and `constraint` change the logits that the token is chosen by."""

    max_tok: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    logprobs: int | None = None
    ignore_eos: bool = False
    choice: int = 0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    constraint: Constraint | None = None

    @property
    def is_plain(self) -> bool:
        """Whether the model's best token is all that is asked for, so that no logits need to be looked at."""
        return self.temperature == 0 and self.logprobs is None and not self.is_shaped

    @property
    def is_shaped(self) -> bool:
        """Whether tokens are chosen by other logits than the model's own."""
        return (
            self.constraint is not None
            or bool(self.logit_bias)
            or self.frequency_penalty != 0
            or self.presence_penalty != 0
        )


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """Natural log of a token's probability under the model itself, before temperature and top_p; best tokens first."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class Delta:
    """One generated token. `text` is what may be shown because of it: often empty, when a character or a stop string is
    not yet complete. `finish` is set on the last one."""

    request_id: str
    token: int
    text: str
    logprob: TokenLogprob | None
    finish: Finish | None


@dataclass(slots=True, eq=False)
class Request:
    """The engine's own record of a request. `tokens` is the prompt, then the answer; the first `computed` of them have
    their keys and values in `pages`. Times are ns of the monotonic clock.

    `client` is whom the queue is fair to. `prefix_tok`: prompt tokens that were in the cache when it was admitted.
    `chain`: digests of the full pages of `tokens`; the first `filed` of its pages are offered to other requests.
    `given`: the whole prompt of a text that is scored. `tokens` then begins with the first of it alone; the others are
    appended one by one as if they had been chosen, so that each has its log-probability; `opening` is the text of the
    first, as far as it is certain. (Longer than the prompt, with `tokens` beginning as the prompt: its end alone is.)
    `done` counts what it causes; `work`, once it has ended, says what that comes to.
    """

    id: str
    prompt_tok: int
    tokens: list[int]
    sampling: Sampling
    text: Text
    client: str = ""
    received_ns: int = field(default_factory=time.monotonic_ns)
    first_ns: int | None = None
    finished_ns: int | None = None
    arrival: int = -1
    computed: int = 0
    pages: list[int] = field(default_factory=list)
    chain: list[bytes] = field(default_factory=list)
    filed: int = 0
    prefix_tok: int = 0
    lookup: PromptLookup | None = None
    preempted: int = 0
    given: tuple[int, ...] = ()
    opening: str = ""
    finish: Finish | None = None
    done: Done = field(default_factory=Done)
    work: Mapping[str, Work] = field(default_factory=dict)

    @property
    def output_tok(self) -> int:
        """Tokens generated so far, a final end-of-sequence token included."""
        return max(len(self.tokens) - self.prompt_tok, 0)

    @property
    def first_choice(self) -> int:
        """The place of the first token that is followed by a choice, of an answer's token or of one that is scored."""
        return 0 if self.given and len(self.given) <= self.prompt_tok else self.prompt_tok - 1

    @property
    def ahead(self) -> tuple[int, ...]:
        """Given tokens that have not been appended yet."""
        return self.given[len(self.tokens) :]

    @property
    def remaining_tok(self) -> int:
        """Tokens not yet in the cache; 1 for a request that is decoding."""
        return len(self.tokens) - self.computed
