"""Neurons whose activated gate is small: a budget that changes the answers, layer by layer.

No proof: |activation(gate)| <= threshold says nothing of the up projection, nor of what later layers make of the
difference. `calibrate.py` chooses thresholds; what they cost in quality is to be measured. Source: CATS, Lee et al.,
arXiv 2404.08763, for the gate as what decides; TEAL, Liu et al., arXiv 2408.14690, for a threshold for each layer.
"""

from reference_engine.config import EngineConfig, Kind, ModelSpec
from reference_engine.sparse.pattern import Done, Sizes, Work
from reference_engine.sparse.zeros import of_neurons

# Of a step with float32 weights, CPU time of one thread over that of the dense step in tiles; 576 wide, MLP of 1536,
# six layers, rows drawn independently, three times 8 rounds in turn, the worst and the best of the three:
#   neurons open   all          3/4          1/2          1/4          1/10
#   batch 1        1.05-1.10    0.96-1.00    0.83-0.85    0.67-0.70    0.60-0.61
#   batch 4        0.99-1.02    0.96-1.02    0.95-0.99    0.85-0.87    0.69-0.71
#   batch 16       1.01-1.02    1.00         0.99-1.05    0.97-0.98    0.87-0.90
LEAST_SPARSITY = 0.25  # a row alone gains from here on; 4 together from 0.5, 16 from 0.75


class GateThresholds:
    """See above. Masked dense products, of packed weights, of torch and on a GPU, count nothing as left out."""

    lever = "gate-thresholds"
    kind: Kind = "approximate"

    def why_dense(self, spec: ModelSpec, config: EngineConfig, packed: bool = False) -> str | None:
        """See `Pattern`; `packed` where the layers' weights are multiplied in 4 or 8 bits."""
        if not any(config.budget.gate):
            return "no threshold is above 0"
        if packed or not config.has("fusion"):
            return "thresholds only mask dense products here (packed weights, torch, GPU): other answers, same cost"
        return None

    def spared(self, sizes: Sizes, done: Done) -> Work:
        """See `Pattern`."""
        return of_neurons(sizes, done)
