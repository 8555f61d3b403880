"""What two systems said, token by token where they tell."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Token:
    """A token as the API names it. `logprob` is natural; None for the first token of a scored text. `top`: the best
    alternatives with their log-probabilities, best first."""

    label: str
    logprob: float | None
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer to the prompt `id`, or the `error` that came instead. `tokens` is None where the API tells no
    log-probabilities; `right`: whether the answer was graded right, None where it was not graded."""

    id: str
    text: str = ""
    tokens: tuple[Token, ...] | None = None
    finish: str | None = None
    output_tok: int | None = None
    error: str = ""
    right: bool | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """The tokens of the text `id`, each with its log-probability after those before it; or an `error`."""

    id: str
    tokens: tuple[Token, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class Spoken:
    """What the system `name` said when two were asked the same. `greedy`: an answer a prompt; `again`: some of those
    a second time; `sampled`: answers to a few prompts at temperature 1, one set for each seed; `scores`: of the texts
    that both were given."""

    name: str
    greedy: tuple[Reply, ...] = ()
    again: tuple[Reply, ...] = ()
    sampled: tuple[tuple[Reply, ...], ...] = ()
    scores: tuple[Score, ...] = ()
