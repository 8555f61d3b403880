"""A model and its tokenizer from what the command line names: a file, a folder or a random shape; on CPU or GPU."""

from pathlib import Path

import torch

from reference_engine.config import EngineConfig
from reference_engine.errors import EngineError
from reference_engine.kernels.choose import cpu_model, tell_of_thresholds
from reference_engine.model.load import load
from reference_engine.model.random_weights import RandomModel, random_checkpoint, random_tokenizer
from reference_engine.model.scores import Model
from reference_engine.model.tokenizer import Tokenizer, load_tokenizer

Source = Path | RandomModel


def open_model(
    source: Source, config: EngineConfig, device: torch.device, exact: bool = True, kernels: str = "auto",
    threads: int | None = None,
) -> Model:  # fmt: skip
    """The model, ready to run; `kernels` and `threads` are for the CPU.

    raises: ModelError; EngineError (device) for bfloat16 on the CPU, (config) for kernels that cannot be had and for a
    page budget on a GPU.
    """
    if device.type == "cpu":
        if not exact:
            raise EngineError("--gpu-dtype bfloat16: the model runs on the CPU, in float32", "device")
        if isinstance(source, RandomModel):
            return cpu_model(lambda _: random_checkpoint(source), config, kernels, threads)
        return cpu_model(lambda keep_blocks: load(source, keep_blocks), config, kernels, threads)
    if config.budget.pages:
        raise EngineError("a page budget: on a GPU all pages are attended to", "config")
    from reference_engine.model.gpu import GpuLlama, triton_kernels
    from reference_engine.model.gpu_weights import open_weights

    torch.cuda.set_device(device)  # Triton launches on the current one
    weights = open_weights(source, device, config.has("packing"))
    tell_of_thresholds(weights.checkpoint.spec, config, is_dense=True)
    return GpuLlama(weights, config, triton_kernels(), exact)


def open_tokenizer(source: Source, digest: str) -> Tokenizer:
    """Its tokenizer. raises: ModelError."""
    return random_tokenizer(source) if isinstance(source, RandomModel) else load_tokenizer(source, digest)
