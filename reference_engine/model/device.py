"""Which device a model runs on, and whether it has the room."""

from importlib.util import find_spec

import torch

from reference_engine.errors import EngineError, ModelError


def choose_device(asked: str) -> torch.device:
    """The device that `auto`, `cpu`, `cuda` or `cuda:1` means; `auto` is the first GPU that can be used, else the CPU.

    raises: EngineError (device), which says what is missing.
    """
    kind, _, number = asked.partition(":")
    if asked == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() and find_spec("triton") else "cpu")
    if asked == "cpu":
        return torch.device("cpu")
    if kind != "cuda" or (":" in asked and not (number.isascii() and number.isdigit())):
        raise EngineError(f"--device {asked}: it is auto, cpu, cuda or cuda:N", "device")
    if not torch.cuda.is_available():
        why = "sees no NVIDIA GPU" if torch.version.cuda else "is built without CUDA"
        raise EngineError(f"--device {asked}: torch {torch.__version__} {why}", "device")
    if find_spec("triton") is None:
        raise EngineError(f"--device {asked}: the GPU's kernels need triton (pip install triton)", "device")
    if int(number or 0) >= torch.cuda.device_count():
        raise EngineError(f"--device {asked}: there are {torch.cuda.device_count()} GPUs, counted from 0", "device")
    return torch.device("cuda", int(number or 0))


def check_room(needed: int, device: torch.device, what: str) -> None:
    """raises: ModelError (model-too-large), in GiB, when `device` has not `needed` bytes free for `what`."""
    free = _free_bytes(device)
    if needed > free:
        raise ModelError(
            f"{what} needs {needed / 2**30:.1f} GiB, and {device} has {free / 2**30:.1f} GiB free. "
            "Take a smaller model or fewer --kv-tokens",
            "model-too-large",
        )


def _free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    import psutil

    return int(psutil.virtual_memory().available)
