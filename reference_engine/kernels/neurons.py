"""Which models run neuron by neuron (see `cpu/neurons.h`), and how their MLP is laid out for it."""

from reference_engine.config import Activation, EngineConfig
from reference_engine.kernels import pack
from reference_engine.model.load import Checkpoint

ACTIVATIONS: dict[Activation, int] = {"silu": 0, "relu": 1, "relu2": 2}  # as `cpu/neurons.h` numbers them


def is_packed(checkpoint: Checkpoint, config: EngineConfig) -> bool:
    """Whether some weights of the layers are multiplied in 4 or 8 bits."""
    return config.has("packing") and any(name.startswith("model.layers.") for name in checkpoint.blocks)


def are_skipped(checkpoint: Checkpoint, config: EngineConfig) -> bool:
    """Whether closed neurons are neither read nor multiplied: where some close, and the weights are float32."""
    zeros = config.has("zeros") and checkpoint.spec.activation != "silu"
    return (zeros or any(config.budget.gate)) and not is_packed(checkpoint, config)


def mlp_parts(checkpoint: Checkpoint, at: str) -> list[pack.Packed]:
    """The MLP of the layer whose tensors begin with `at`: the gate in tiles, up (mlp, hidden), and down turned,
    which is as large."""
    spec = checkpoint.spec
    up, down = (checkpoint.floats(f"{at}mlp.{name}_proj.weight").numpy() for name in ("up", "down"))
    by_neuron = [pack.Packed(pack.aligned(each), pack.F32, spec.mlp, spec.hidden) for each in (up, down.T)]
    return [pack.pack(checkpoint, [f"{at}mlp.gate_proj.weight"], None, False), *by_neuron]
