"""NVML opened once for all meters, and what its errors mean for the user."""

import threading
from collections.abc import Callable
from typing import TypeVar

import pynvml

from tcabench.errors import MeterError

T = TypeVar("T")

WHAT_TO_DO = {
    pynvml.NVML_ERROR_GPU_IS_LOST: (
        "gpu-lost",
        "The board fell off the bus. Look for Xid 79 in `dmesg`, check its power and seating, then reset the GPU or "
        "reboot; this run is incomplete.",
    ),
    pynvml.NVML_ERROR_RESET_REQUIRED: (
        "gpu-lost",
        "Reset the GPU (`nvidia-smi --gpu-reset`) or reboot, then run again.",
    ),
    pynvml.NVML_ERROR_NO_PERMISSION: (
        "nvml-permission",
        "Run as a user who may read /dev/nvidia*; in a container pass the GPU in with the `utility` driver capability.",
    ),
}
NO_DRIVER = {
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: "libnvidia-ml.so.1 is not on this machine: there is no NVIDIA driver, or the "
    "container was not given the GPU",
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "the NVIDIA driver is not loaded: try `nvidia-smi`, or load the nvidia module",
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "libnvidia-ml.so.1 and the loaded driver are of different versions: "
    "reboot, or reload the nvidia module",
}
# what reads say once the driver was reloaded: all GPUs are affected, and only opening NVML again helps
STALE = (
    pynvml.NVML_ERROR_UNINITIALIZED,
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
    pynvml.NVML_ERROR_INVALID_ARGUMENT,
)


class Session:
    """NVML, held open while anybody uses it. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = self._opened = 0

    def enter(self) -> int:
        """One user more; gives back how many times NVML was opened so far. raises: MeterError."""
        with self._lock:
            if not self._users:
                call(pynvml.nvmlInit, "NVML")
                self._opened += 1
            self._users += 1
            return self._opened

    def leave(self) -> None:
        """One user less; the last one closes NVML."""
        with self._lock:
            self._users -= 1
            if not self._users:
                _shut_down()

    def renew(self, seen: int) -> int:
        """Open NVML anew unless somebody did since opening number `seen`; gives back the present number.

        raises: MeterError while the driver is away.
        """
        with self._lock:
            if self._opened == seen:
                _shut_down()
                call(pynvml.nvmlInit, "NVML")
                self._opened += 1
            return self._opened


SESSION = Session()


def call(ask: Callable[[], T], who: str) -> T:
    """The answer. raises: MeterError that names `who`."""
    try:
        return ask()
    except pynvml.NVMLError as err:
        raise meter_error(err, who) from err


def meter_error(err: pynvml.NVMLError, who: str) -> MeterError:
    """What NVML's error means, and what to do."""
    if err.value in NO_DRIVER:
        return MeterError(f"NVML cannot be used: {NO_DRIVER[err.value]}", "nvml-unavailable")
    kind, what_to_do = WHAT_TO_DO.get(err.value, ("nvml-read", "`nvidia-smi -q` may tell more."))
    return MeterError(f"{who} cannot be read, NVML says: {err}. {what_to_do}", kind)


def _shut_down() -> None:
    try:
        pynvml.nvmlShutdown()
    except pynvml.NVMLError as err:
        if err.value != pynvml.NVML_ERROR_UNINITIALIZED:  # it is closed already, after a renewal that failed
            raise
