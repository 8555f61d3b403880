"""Logits of prompt tokens that nothing is drawn after."""

from reference_engine.config import EngineConfig, Kind, ModelSpec
from reference_engine.sparse.pattern import Done, Sizes, Work


class UnneededLogits:
    """Exact: nobody looks at them. The head is not read in a step in which nobody chooses a token."""

    lever = "skipping"
    kind: Kind = "equivalent"

    def why_dense(self, spec: ModelSpec, config: EngineConfig) -> str | None:
        return None

    def spared(self, sizes: Sizes, done: Done) -> Work:
        return Work((done.rows - done.choices) * sizes.choice_macs, (done.steps - done.heads) * sizes.head_bytes)
