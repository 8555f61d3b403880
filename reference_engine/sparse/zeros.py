"""Neurons behind a gate that is exactly zero.

Proof: a neuron adds `activation(gate) * up` times its column of the down projection; behind a gate of 0 that is 0 times
finite weights, and a sum that begins at +0 keeps its bits when 0 is added. `kernels/cpu/neurons.h` makes all other sums
in the order of the dense step, so the answers are the same bits. The zeros themselves come from training (ReLU Strikes
Back, Mirzadeh et al., arXiv 2310.04564); SiLU has none.
"""

from dataclasses import dataclass

from reference_engine.config import EngineConfig, Kind, ModelSpec
from reference_engine.sparse.pattern import Done, Work

FLOAT_BYTES = 4


def of_neurons(spec: ModelSpec, done: Done) -> Work:
    """What `done.left_neurons` did not multiply and `done.unread_neurons` did not read: of each neuron a row of the up
    and a column of the down projection, `hidden` float32 weights both."""
    weights = 2 * spec.hidden
    return Work(float(weights * done.left_neurons), float(weights * FLOAT_BYTES * done.unread_neurons))


@dataclass(frozen=True, slots=True)
class Zeros:
    """See above. `Pattern`."""

    lever: str = "zeros"
    kind: Kind = "equivalent"

    def pays(self, spec: ModelSpec, config: EngineConfig, packed: bool = False) -> str | None:
        """See `Pattern`; `packed` where the layers' weights are multiplied in 4 or 8 bits."""
        if not config.has("zeros"):
            return "it is switched off"
        if spec.activation == "silu":
            return "SiLU is never exactly zero; only ReLU-type gates are"
        if packed:
            return "packed weights are multiplied a tile at a time, closed neurons among them; float32 weights are not"
        return None

    def spared(self, spec: ModelSpec, config: EngineConfig, done: Done) -> Work:
        """See `Pattern`. Under thresholds the left-out neurons are theirs, zeros among them."""
        return Work() if self.pays(spec, config) or any(config.budget.gate) else of_neurons(spec, done)
