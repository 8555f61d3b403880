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
    log-probabilities."""

    id: str
    text: str = ""
    tokens: tuple[Token, ...] | None = None
    finish: str | None = None
    output_tok: int | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Score:
    """The tokens of the text `id`, each with its log-probability after those before it; or an `error`."""

    id: str
    tokens: tuple[Token, ...] = ()
    error: str = ""
