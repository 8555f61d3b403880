"""What every way of leaving work out has in common."""

from dataclasses import dataclass
from typing import Protocol

from reference_engine.config import EngineConfig, Kind, ModelSpec

FLOAT_BYTES = 4


@dataclass(frozen=True, slots=True)
class Work:
    """Multiply-adds, and bytes of weights and cache that had to be read for them."""

    macs: float = 0.0
    bytes: float = 0.0

    def __add__(self, other: "Work") -> "Work":
        return Work(self.macs + other.macs, self.bytes + other.bytes)

    def __sub__(self, other: "Work") -> "Work":
        return Work(self.macs - other.macs, self.bytes - other.bytes)


@dataclass(frozen=True, slots=True)
class Sizes:
    """What one of each costs. `layer_bytes`: weights of all layers; `head_bytes`: those of the vocabulary head."""

    spec: ModelSpec
    config: EngineConfig
    layer_bytes: int
    head_bytes: int

    @property
    def row_macs(self) -> int:
        """Of one token through all layers, attention's own apart."""
        spec = self.spec
        attention = spec.hidden * spec.head_dim * (2 * spec.heads + 2 * spec.kv_heads)
        return spec.layers * (attention + 3 * spec.hidden * spec.mlp)

    @property
    def choice_macs(self) -> int:
        """Of the logits of one row."""
        return self.spec.vocab * self.spec.hidden

    @property
    def page(self) -> Work:
        """Of one page of one KV head in one layer: scores and weighted values for the queries that share it."""
        numbers = 2 * self.config.page_tok * self.spec.head_dim
        return Work(numbers * (self.spec.heads // self.spec.kv_heads), numbers * FLOAT_BYTES)

    @property
    def neuron(self) -> Work:
        """Of the up and down weights of one neuron; bytes where they lie as float32, neuron by neuron."""
        return Work(2 * self.spec.hidden, 2 * self.spec.hidden * FLOAT_BYTES)


@dataclass(slots=True)
class Done:
    """What one request has caused so far; every field adds up over steps, and patterns are linear in it.

    rows            token rows run through the layers
    pages           pages that lie before them, summed over layers and KV heads: what dense attention looks at
    fetched         those, once for the rows of the request that share a fetch
    choices         rows whose logits were computed
    prefix_rows     token rows found in the cache instead
    prefix_pages    pages that lie before those
    left_neurons    neurons not multiplied, summed over the layers
    left_pages      pages not attended to, summed over layers and KV heads
    scored_pages    pages among which those attended to were chosen, summed likewise
    screened        choices that the certified head screened
    head_rows       its share of the rows of the vocabulary that were then computed in full
    steps           its share of the steps, each a reading of all weights: own rows over all rows
    heads           its share of those steps that read the head
    unread_neurons  its share of the neurons whose weights were not read
    unread_pages    its share of the pages that were not fetched, by what its rows left out
    """

    rows: int = 0
    pages: int = 0
    fetched: int = 0
    choices: int = 0
    prefix_rows: int = 0
    prefix_pages: int = 0
    left_neurons: int = 0
    left_pages: int = 0
    scored_pages: int = 0
    screened: int = 0
    head_rows: float = 0.0
    steps: float = 0.0
    heads: float = 0.0
    unread_neurons: float = 0.0
    unread_pages: float = 0.0


class Pattern(Protocol):
    """One reason for which work is left out. To add one: a file beside this, and its line in `account.PATTERNS`."""

    @property
    def lever(self) -> str:
        """Its name: one of `LEVERS` or of `Budget.levers`."""
        ...

    @property
    def kind(self) -> Kind:
        """Whether the answers stay those of the dense model."""
        ...

    def why_dense(self, spec: ModelSpec, config: EngineConfig) -> str | None:
        """Why the engine takes the dense path instead; None where work is left out."""
        ...

    def spared(self, sizes: Sizes, done: Done) -> Work:
        """What was not computed and not read for a request."""
        ...
