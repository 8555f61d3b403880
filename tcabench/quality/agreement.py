"""Are two systems' greedy answers the same, and where they part, was it a near tie?

Both chose from the same text until they parted, so only the first difference of an answer says anything: what follows
it was written after different words.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tcabench.records.quality import Reply, Token

# How far float32 strays from itself when its sums are taken in another order, in log-probability: 9e-5 measured on the
# default model. A reference that computes every batch alike would else seem to have no error at all.
FLOAT32_ERROR = 1e-4
SURE = 0.05  # one minus the confidence of the bound on the share of tokens that differ


class Fate(StrEnum):
    """How an answer parted from the reference's."""

    TIE = "tie"  # the reference itself held both tokens for equally good, within its own error
    FAULT = "fault"
    ENDED = "ended early"  # the answer is the beginning of the reference's
    UNKNOWN = "unknown"  # the reference tells no log-probabilities


@dataclass(frozen=True, slots=True)
class Parting:
    """The first difference of one answer: after `at` equal tokens (characters where tokens are not told). `margin`: how
    much better the reference held its own token than the other, in log-probability; where the other is not among its
    best, how much better than the least of those it is at least; None where that is not told."""

    prompt_id: str
    at: int
    fate: Fate
    margin: float | None
    reference: str
    candidate: str


@dataclass(frozen=True, slots=True)
class Agreement:
    """`same` of `compared` answers agree to the end; `units` tokens (or characters) were chosen from the same text
    before, the differing ones included. `failed`: prompts that the candidate answered with an error."""

    compared: int
    same: int
    units: int
    is_tokens: bool
    partings: tuple[Parting, ...]
    failed: tuple[str, ...]
    self_error: float

    def count(self, fate: Fate) -> int:
        """Answers that parted in this way."""
        return sum(parting.fate is fate for parting in self.partings)

    @property
    def flip_bound(self) -> float | None:
        """Share of tokens that differ, at most, with 95 % confidence, where none was seen to: the exact form of the
        "rule of three", 1 - 0.05^(1/n), about 3/n, each token counting as a draw of its own; None for characters, which
        are no draws. Source: Hanley and Lippman-Hand, JAMA 249 (1983) 1743."""
        return 1 - SURE ** (1 / self.units) if self.units and self.is_tokens and not self.partings else None


def agreement(reference: Sequence[Reply], candidate: Sequence[Reply], self_error: float) -> Agreement:
    """The candidate's greedy answers against the reference's, prompt by prompt.

    `self_error`: by how much the reference's log-probabilities differ from themselves between two passes. Prompts that
    the reference failed on are left out.
    """
    wanted = {reply.id: reply for reply in reference if not reply.error}
    pairs = [(wanted[reply.id], reply) for reply in candidate if reply.id in wanted]
    answered = [(one, other) for one, other in pairs if not other.error]
    is_tokens = all(one.tokens is not None and other.tokens is not None for one, other in answered)
    error = max(self_error, FLOAT32_ERROR)
    met = [_parting(one, other, is_tokens, error) for one, other in answered]
    units = sum(
        _length(one, is_tokens) if parting is None else parting.at + 1
        for (one, _), parting in zip(answered, met, strict=True)
    )
    partings = tuple(parting for parting in met if parting is not None)
    failed = tuple(other.id for _, other in pairs if other.error)
    return Agreement(len(answered), len(answered) - len(partings), units, is_tokens, partings, failed, error)


def self_error(once: Sequence[Reply], again: Sequence[Reply]) -> float:
    """Largest |d log-probability| between two passes of one system over the tokens that both chose alike; 0 where there
    are none."""
    second = {reply.id: reply.tokens or () for reply in again}
    largest = 0.0
    for reply in once:
        for one, other in zip(reply.tokens or (), second.get(reply.id, ()), strict=False):
            if one.label != other.label:
                break
            if one.logprob is not None and other.logprob is not None:
                largest = max(largest, abs(one.logprob - other.logprob))
    return largest


def _length(reply: Reply, is_tokens: bool) -> int:
    return len(reply.tokens or ()) if is_tokens else len(reply.text)


def _labels(reply: Reply, is_tokens: bool) -> Sequence[str]:
    return [token.label for token in reply.tokens or ()] if is_tokens else reply.text


def _parting(reference: Reply, candidate: Reply, is_tokens: bool, error: float) -> Parting | None:
    """Where the two part, or None where they are the same to the end."""
    ours, theirs = _labels(reference, is_tokens), _labels(candidate, is_tokens)
    is_same_text = reference.text == candidate.text and reference.finish == candidate.finish
    if is_same_text and (ours == theirs or _ends_alike(ours, theirs)):
        return None
    if ours == theirs:  # the tokens told are not those of the text
        return Parting(reference.id, len(ours), Fate.FAULT, None, reference.text[-40:], candidate.text[-40:])
    pairs = enumerate(zip(ours, theirs, strict=False))
    at = next((i for i, (one, other) in pairs if one != other), min(len(ours), len(theirs)))
    own, other = "".join(ours[at : at + 1]), "".join(theirs[at : at + 1])
    margin = _margin(reference.tokens[at], other) if is_tokens and reference.tokens and at < len(ours) else None
    return Parting(reference.id, at, _fate(margin, error, at == len(theirs)), margin, own, other)


def _ends_alike(ours: Sequence[str], theirs: Sequence[str]) -> bool:
    """Whether only one of them tells of the token that ends the text, which has no text itself."""
    least = min(len(ours), len(theirs))
    return max(len(ours), len(theirs)) - least == 1 and ours[:least] == theirs[:least]


def _margin(token: Token, other: str) -> float | None:
    """How much better `token` is than `other`; an empty `other` is an end, which may hide among the alternatives."""
    if token.logprob is None or not token.top:
        return None
    rest: Mapping[str, float] = {label: logprob for label, logprob in token.top if label != token.label}
    if not rest:
        return None
    against = rest.get(other, max(rest.values()) if not other else min(rest.values()))
    return token.logprob - against


def _fate(margin: float | None, error: float, is_end: bool) -> Fate:
    """Both values of a margin may be wrong by `error`."""
    if margin is not None and margin < 2 * error:
        return Fate.TIE
    if is_end:
        return Fate.ENDED
    return Fate.UNKNOWN if margin is None else Fate.FAULT
