"""Where a result stands among dated public results: context beside a verdict, never a verdict."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Annotated, Literal

from pydantic import Field, RootModel

from tcabench.door import Door, checked, read_yaml
from tcabench.policy.limits import plain
from tcabench.units import J_PER_KWH

LETTER_TOKEN_PER_KWH = 15_000
CAVEAT = (
    "Public figures use other models, prompts and latencies; they show the order of magnitude, not a rank. 'gpu' "
    "counts the accelerators alone, 'wall' the whole node: a gpu figure is the more flattering one, and is not wall."
)


class Published(Door):
    """One public result, as in `builtin/published.yaml`."""

    what: str
    model: str
    boundary: Literal["wall", "gpu"]
    j_per_token: Annotated[float, Field(gt=0)]
    token_per_kwh: Annotated[float, Field(gt=0)]
    date: str
    source: str
    seen: Literal["data", "page"]


class _Table(RootModel[list[Published]]):
    pass


@dataclass(frozen=True, slots=True)
class Placed:
    """A public result, and how many times its tokens per kWh the run delivers."""

    published: Published
    times: float


@dataclass(frozen=True, slots=True)
class Standing:
    """A run among public results; `rows` fall in token/kWh, `better` counts those above the run."""

    token_per_kwh: float
    j_per_token: float
    times_letter: float
    rows: tuple[Placed, ...]
    better: int
    sentence: str
    caveat: str


def standing(tokens_per_kwh: float) -> Standing:
    """Where `tokens_per_kwh` (token/kWh, output tokens) stands. raises: ValueError unless it is above 0 and finite."""
    if not 0 < tokens_per_kwh < float("inf"):
        raise ValueError(f"{tokens_per_kwh} token/kWh cannot be placed among results")
    ranked = sorted(published(), key=lambda row: (-row.token_per_kwh, row.what))
    rows = tuple(Placed(row, tokens_per_kwh / row.token_per_kwh) for row in ranked)
    better = sum(row.times < 1 for row in rows)
    return Standing(
        token_per_kwh=tokens_per_kwh,
        j_per_token=J_PER_KWH / tokens_per_kwh,
        times_letter=tokens_per_kwh / LETTER_TOKEN_PER_KWH,
        rows=rows,
        better=better,
        sentence=_sentence(tokens_per_kwh, rows, better),
        caveat=CAVEAT,
    )


@cache
def published() -> tuple[Published, ...]:
    """The shipped table of public results."""
    file = files("tcabench.policy") / "builtin" / "published.yaml"
    return tuple(checked(_Table, read_yaml(file.read_bytes(), "published.yaml"), "published.yaml").root)


def _sentence(tokens_per_kwh: float, rows: tuple[Placed, ...], better: int) -> str:
    told = (
        f"{plain(tokens_per_kwh)} token/kWh is {plain(J_PER_KWH / tokens_per_kwh)} J/token, "
        f"{plain(tokens_per_kwh / LETTER_TOKEN_PER_KWH)} times the letter's 15,000 token/kWh (240 J/token)"
    )
    above = f"Next above it: {_named(rows[better - 1])}." if better else "No public result listed is above it."
    below = f"Next below: {_named(rows[better])}." if better < len(rows) else "No public result listed is below it."
    return f"{told}. {above} {below}"


def _named(row: Placed) -> str:
    p = row.published
    return f"{p.what} ({plain(p.token_per_kwh)} token/kWh, boundary {p.boundary}, {p.source}, {p.date})"
