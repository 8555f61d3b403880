"""What the gate of an MLP goes through, and which neurons a budget leaves out behind it."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import relu, silu

from reference_engine.config import Activation, EngineConfig, ModelSpec
from reference_engine.errors import EngineError

# Names of `hidden_act` in a Hugging Face config. Source: transformers, activations.py, ACT2FN.
HF_NAMES: dict[str, Activation] = {"silu": "silu", "swish": "silu", "relu": "relu", "relu2": "relu2"}
FUNCTIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "silu": silu,
    "relu": relu,
    "relu2": lambda gate: relu(gate).square_(),
}


def activated(gate: Tensor, activation: Activation, threshold: float = 0.0) -> Tensor:
    """`activation` of `gate` (any shape); 0 where its size is not above `threshold`, if that is above 0."""
    found = FUNCTIONS[activation](gate)
    return found.masked_fill_(found.abs() <= threshold, 0.0) if threshold > 0 else found


def thresholds(spec: ModelSpec, config: EngineConfig) -> tuple[float, ...]:
    """For each layer what `config.budget.gate` asks for, as the float32 that kernels compare with; 0 for nothing.

    raises: EngineError (config) when the budget is for a model with another number of layers.
    """
    asked = config.budget.gate
    if asked and len(asked) != spec.layers:
        raise EngineError(f"thresholds for {len(asked)} layers, where the model has {spec.layers}", "config")
    return tuple(torch.tensor(asked or (0.0,) * spec.layers, dtype=torch.float32).tolist())
