"""What the engine is told: the shape of a model, and how much of the machine to use. Plain values, no tensors."""

from dataclasses import dataclass, field
from typing import Literal

from reference_engine.errors import EngineError

LEVERS = {
    "batching": "several requests in one step",
    "paging": "pages taken as an answer grows, and not all it may need when it is admitted",
    "skipping": "no logits for prompt tokens that nothing is drawn after",
    "fusion": "the whole step in one native call, and not some 900 torch operations",
    "packing": "weights multiplied in their 4-bit form, and not as float32",
    "certified-head": "a screen of the vocabulary with a proven bound, then the exact logits of what may still win",
    "zeros": "neurons behind a gate that is exactly zero are neither read nor multiplied (ReLU-type models)",
    "prefix": "pages of a common beginning are computed once and shared",
    "speculation": "tokens guessed from the text so far and checked together, where the batch leaves room",
}
NEEDS = {"packing": "fusion", "certified-head": "packing", "zeros": "fusion"}  # what works only where another does
LEAST_PAGES = 4  # of a budget: three are attended to whatever they score
Activation = Literal["silu", "relu", "relu2"]  # of the gate; Hugging Face's `hidden_act`
Kind = Literal["equivalent", "approximate"]  # whether the answers are those of the dense model; MLPerf draws this line


@dataclass(frozen=True, slots=True)
class Llama3Scaling:
    """Rotary scaling of Llama 3.1: low frequencies are slowed by `factor`, high ones kept, a ramp between."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_context_tok: int


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """The shape of a Llama-family model. `eos_ids` end a generation unless the request says `ignore_eos`."""

    vocab: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    mlp: int
    rms_eps: float
    rope_theta: float
    rope_scaling: Llama3Scaling | None
    context_tok: int
    tied: bool
    attention_bias: bool
    mlp_bias: bool
    bos_id: int | None
    eos_ids: tuple[int, ...]
    activation: Activation = "silu"

    @property
    def kv_bytes_per_tok(self) -> int:
        """Bytes of float32 keys and values that one token keeps over all layers."""
        return self.layers * 2 * self.kv_heads * self.head_dim * 4


@dataclass(frozen=True, slots=True)
class Budget:
    """The approximate tier: what may be left out although it changes the answers. Nothing by default.

    gate          for each layer: a neuron is left out whose |activation(gate)| is not above it; empty or 0 for none
    pages         pages of the cache that a query head group attends to at most when a token is chosen, its own and the
                  first included; 0 for all
    dense_layers  first layers that attend to all pages nevertheless
    """

    gate: tuple[float, ...] = ()
    pages: int = 0
    dense_layers: int = 2

    def __post_init__(self) -> None:
        if any(not 0 <= threshold < float("inf") for threshold in self.gate):
            raise EngineError("a gate's threshold is a number from 0 up", "config")
        for name in ("pages", "dense_layers"):
            if getattr(self, name) < 0:
                raise EngineError(f"{name} is {getattr(self, name)}; it must be at least 0", "config")
        if 0 < self.pages < LEAST_PAGES:
            raise EngineError(
                f"a page budget of {self.pages}; it must be at least {LEAST_PAGES}, or 0 for all", "config"
            )

    @property
    def levers(self) -> tuple[str, ...]:
        """The names of what is left out."""
        return (*(("gate-thresholds",) if any(self.gate) else ()), *(("page-budget",) if self.pages else ()))


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """How much the engine may hold and do at once.

    page_tok     tokens in one KV page
    kv_tok       tokens of KV cache in all (rounded up to whole pages)
    max_running  requests decoded together
    max_waiting  requests queued beyond those; more are refused
    step_tok     tokens computed in one step, decode first, then prefill chunks
    draft_tok    tokens guessed ahead at most for one request; 0 for none
    draft_rows   rows of a step that decodes, guesses included, up to which tokens are guessed
    without      levers that are switched off, names from `LEVERS`
    budget       what may be left out although it changes the answers
    """

    page_tok: int = 16
    kv_tok: int = 16_384
    max_running: int = 32
    max_waiting: int = 256
    step_tok: int = 256
    draft_tok: int = 4
    draft_rows: int = 8
    without: frozenset[str] = frozenset()
    budget: Budget = field(default_factory=Budget)

    def __post_init__(self) -> None:
        for name in ("page_tok", "kv_tok", "max_running", "step_tok"):
            if getattr(self, name) < 1:
                raise EngineError(f"{name} is {getattr(self, name)}; it must be at least 1", "config")
        for name in ("max_waiting", "draft_tok", "draft_rows"):
            if getattr(self, name) < 0:
                raise EngineError(f"{name} is {getattr(self, name)}; it must be at least 0", "config")
        if self.step_tok <= self.max_running:
            raise EngineError(
                f"step_tok ({self.step_tok}) must exceed max_running ({self.max_running}), "
                "or a step full of decodes would leave no room for new prompts",
                "config",
            )
        if unknown := self.without - LEVERS.keys():
            known = ", ".join(LEVERS)
            raise EngineError(f"{min(unknown)!r} is no lever; there are {known}", "config")

    def has(self, lever: str) -> bool:
        """Whether `lever` works: neither it nor one that it needs is switched off."""
        return lever not in self.without and (lever not in NEEDS or self.has(NEEDS[lever]))

    @property
    def levers(self) -> dict[str, Kind]:
        """What is switched on, and of which kind it is."""
        exact: dict[str, Kind] = {name: "equivalent" for name in LEVERS if self.has(name)}
        return exact | dict.fromkeys(self.budget.levers, "approximate")

    @property
    def pages(self) -> int:
        """Whole pages that hold `kv_tok` tokens."""
        return -(-self.kv_tok // self.page_tok)
