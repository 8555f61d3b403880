"""What every way of leaving work out has in common."""

from dataclasses import dataclass
from typing import Protocol

from reference_engine.config import EngineConfig, Kind, ModelSpec


@dataclass(frozen=True, slots=True)
class Work:
    """Multiply-adds, and bytes of weights and cache that had to be read for them."""

    macs: float = 0.0
    bytes: float = 0.0

    def __add__(self, other: "Work") -> "Work":
        return Work(self.macs + other.macs, self.bytes + other.bytes)


@dataclass(slots=True)
class Done:
    """What one request has caused so far; every field adds up over steps, so that patterns are linear in it.

    rows            token rows run through the layers
    pages           pages that lie before them, summed over layers and KV heads: what dense attention would read
    choices         rows whose logits were computed
    prefix_rows     token rows found in the cache instead
    prefix_pages    pages that lie before those
    left_neurons    neurons not multiplied, summed over the layers
    left_pages      pages not attended to, summed likewise
    screened        choices that the certified head screened
    head_rows       rows of the vocabulary that it then computed in full
    steps           its share of the steps, each a reading of all weights: own rows over all rows
    heads           its share of the readings of the head
    unread_neurons  its share of the neurons whose weights were not read
    unread_pages    its share of the pages that were not fetched
    """

    rows: int = 0
    pages: int = 0
    choices: int = 0
    prefix_rows: int = 0
    prefix_pages: int = 0
    left_neurons: int = 0
    left_pages: int = 0
    screened: int = 0
    head_rows: float = 0.0
    steps: float = 0.0
    heads: float = 0.0
    unread_neurons: float = 0.0
    unread_pages: float = 0.0


class Pattern(Protocol):
    """One reason for which work is left out. To add one: a file beside this, and its line in `PATTERNS`."""

    lever: str  # of `LEVERS` or of `Budget.levers`
    kind: Kind

    def pays(self, spec: ModelSpec, config: EngineConfig) -> str | None:
        """Why the engine takes the dense path instead; None where it leaves work out."""
        ...

    def spared(self, spec: ModelSpec, config: EngineConfig, done: Done) -> Work:
        """What was not computed and not read for a request."""
        ...
