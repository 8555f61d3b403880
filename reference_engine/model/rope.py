"""Rotary frequencies, plain and with Llama 3 scaling."""

import math

import torch
from torch import Tensor

from reference_engine.config import Llama3Scaling
from reference_engine.model.load import Checkpoint


def rope_frequencies(checkpoint: Checkpoint) -> Tensor:
    """(head_dim/2,) radians per position, float32."""
    spec = checkpoint.spec
    steps = torch.arange(0, spec.head_dim, 2, dtype=torch.float32) / spec.head_dim
    frequencies = 1.0 / (spec.rope_theta**steps)
    if checkpoint.rope_factors is not None:
        return frequencies / checkpoint.rope_factors
    return frequencies if spec.rope_scaling is None else _llama3(frequencies, spec.rope_scaling)


def _llama3(frequencies: Tensor, scaling: Llama3Scaling) -> Tensor:
    """Source: Llama 3.1 reference code, `apply_scaling`; transformers `_compute_llama3_parameters`."""
    wavelength = 2 * math.pi / frequencies
    longest = scaling.original_context_tok / scaling.low_freq_factor
    shortest = scaling.original_context_tok / scaling.high_freq_factor
    ramp = (scaling.original_context_tok / wavelength - scaling.low_freq_factor) / (
        scaling.high_freq_factor - scaling.low_freq_factor
    )
    between = (1 - ramp) * frequencies / scaling.factor + ramp * frequencies
    slowed = torch.where(wavelength > longest, frequencies / scaling.factor, frequencies)
    return torch.where((wavelength <= longest) & (wavelength >= shortest), between, slowed)


def rope_table(checkpoint: Checkpoint, positions_tok: int) -> tuple[Tensor, Tensor]:
    """cos and signed sin, both (positions_tok, 1, head_dim): `x * cos + roll(x, head_dim/2) * sin` turns x.

    The first half of `sin` carries the minus of the rotation, so that one roll replaces a split and a join.
    """
    positions = torch.arange(positions_tok, dtype=torch.float32)
    angles = torch.outer(positions, rope_frequencies(checkpoint))
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((cos, cos), dim=-1)[:, None], torch.cat((-sin, sin), dim=-1)[:, None]
