"""Which model runs the weights: the native step for this processor, or the same by torch operations."""

import sys
from collections.abc import Callable

import torch

from reference_engine.config import EngineConfig, ModelSpec
from reference_engine.errors import EngineError
from reference_engine.kernels import build, native
from reference_engine.kernels.neurons import is_packed
from reference_engine.model.layers import Llama
from reference_engine.model.load import Checkpoint
from reference_engine.model.scores import Model
from reference_engine.sparse.gate_thresholds import GateThresholds


def cpu_model(
    load: Callable[[bool], Checkpoint], config: EngineConfig, kernels: str = "auto", threads: int | None = None
) -> Model:
    """A model ready to run. `load` reads it, and leaves quantised what is so when it is given True.

    With `auto`, what cannot run natively runs by torch, and stderr says why. raises: whatever `load` raises;
    EngineError when the kernels asked for cannot be had.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    if kernels == "torch" or not config.has("fusion"):
        checkpoint = load(False)
        tell_of_thresholds(checkpoint.spec, config, is_dense=True)
        return Llama(checkpoint, config)
    checkpoint = load(True)
    missing = native.why_not(checkpoint.spec, config)
    try:
        if missing is None:
            tell_of_thresholds(checkpoint.spec, config, is_packed(checkpoint, config))
            return native.NativeModel(checkpoint, config, _kind(kernels), threads)
    except build.NoCompiler as err:
        missing = str(err)
    if kernels != "auto":
        raise EngineError(f"the {kernels} kernels cannot run this: {missing}", "config")
    print(_note(missing), file=sys.stderr, flush=True)
    return Llama(_floats(checkpoint), config)


def tell_of_thresholds(spec: ModelSpec, config: EngineConfig, is_dense: bool) -> None:
    """A note on stderr where gate thresholds change the answers and spare nothing."""
    if any(config.budget.gate) and (why := GateThresholds().why_dense(spec, config, is_dense)):
        print(f"note: {why}", file=sys.stderr, flush=True)


def _kind(kernels: str) -> str:
    return build.kinds_here()[0] if kernels == "auto" else kernels


def _note(why: str) -> str:
    return f"note: torch operations do the work, 3 to 12 times slower than the native step: {why}"


def _floats(checkpoint: Checkpoint) -> Checkpoint:
    for name in tuple(checkpoint.blocks):
        checkpoint.tensors[name] = checkpoint.floats(name)
        del checkpoint.blocks[name]
    return checkpoint
