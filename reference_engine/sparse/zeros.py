"""Neurons behind a gate that is exactly zero.

Proof: a neuron adds `activation(gate) * up` times its column of the down projection; behind a gate of 0 that is 0 times
finite numbers, and a sum that begins at +0 keeps its bits when 0 is added. (Only a product so small that it becomes -0
could tell the difference, by the sign of a zero.) `kernels/cpu/neurons.h` makes all other sums
in the order of the dense step, so the answers are the same bits. The zeros themselves come from training (ReLU Strikes
Back, Mirzadeh et al., arXiv 2310.04564); SiLU has none.
"""

from reference_engine.config import EngineConfig, Kind, ModelSpec
from reference_engine.sparse.pattern import Done, Sizes, Work


def of_neurons(sizes: Sizes, done: Done) -> Work:
    """The up and down weights that were not multiplied, and those that were not read."""
    return Work(sizes.neuron.macs * done.left_neurons, sizes.neuron.bytes * done.unread_neurons)


class Zeros:
    """See above."""

    lever = "zeros"
    kind: Kind = "equivalent"

    def why_dense(self, spec: ModelSpec, config: EngineConfig, packed: bool = False) -> str | None:
        """See `Pattern`; `packed` where the layers' weights are multiplied in 4 or 8 bits."""
        if not config.has("zeros"):
            return "it is switched off"
        if spec.activation == "silu":
            return "SiLU is never exactly zero; only ReLU-type gates are"
        if packed:
            return "packed weights are multiplied a tile at a time, closed neurons among them; float32 weights are not"
        return None

    def spared(self, sizes: Sizes, done: Done) -> Work:
        """See `Pattern`. Under thresholds all that is left out is theirs, zeros among it."""
        return Work() if any(sizes.config.budget.gate) else of_neurons(sizes, done)
