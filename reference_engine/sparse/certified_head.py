"""Rows of the vocabulary that a screen with a proven bound rules out. The proof is told in `kernels/cpu/head.h`."""

from reference_engine.config import EngineConfig, Kind, ModelSpec
from reference_engine.sparse.pattern import Done, Sizes, Work

LEFT_OUT = 2 / 3  # of a multiply-add with 24-bit activations, three products of bytes, the screen takes the first


class CertifiedHead:
    """Exact for greedy answers that tell no log-probabilities: the best token is computed in full and is the same bits.
    All weights are read for the screen, so no bytes are spared."""

    lever = "certified-head"
    kind: Kind = "equivalent"

    def why_dense(self, spec: ModelSpec, config: EngineConfig) -> str | None:
        return None

    def spared(self, sizes: Sizes, done: Done) -> Work:
        in_full = done.head_rows * sizes.spec.hidden
        return Work(done.screened * sizes.choice_macs * LEFT_OUT - in_full, 0.0)
