"""Neurons whose activated gate is small: a budget that changes the answers, layer by layer.

No proof: |activation(gate)| <= threshold says nothing of the up projection, nor of what later layers make of the
difference. `calibrate.py` chooses thresholds; what they cost in quality is to be measured. Source: CATS, Lee et al.,
arXiv 2404.08763, for the gate as what decides; TEAL, Liu et al., arXiv 2408.14690, for a threshold for each layer.
"""

from reference_engine.config import EngineConfig, Kind, ModelSpec
from reference_engine.sparse.pattern import Done, Sizes, Work
from reference_engine.sparse.zeros import of_neurons


class GateThresholds:
    """See above. Masked dense products, of packed weights, of torch and on a GPU, count nothing as left out."""

    lever = "gate-thresholds"
    kind: Kind = "approximate"

    def why_dense(self, spec: ModelSpec, config: EngineConfig, packed: bool = False) -> str | None:
        """See `Pattern`; `packed` where the layers' weights are multiplied in 4 or 8 bits."""
        if not any(config.budget.gate):
            return "no threshold is above 0"
        if packed or not config.has("fusion"):
            return "thresholds only mask the dense products of packed weights or torch: other answers at the same cost"
        return None

    def spared(self, sizes: Sizes, done: Done) -> Work:
        """See `Pattern`."""
        return of_neurons(sizes, done)
