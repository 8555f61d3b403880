"""AMD SMI opened once for all meters, and what its errors mean for the user.

The `amdsmi` module is AMD's own binding of libamd_smi.so; ROCm brings both, PyPI the binding alone. It prints what it
does not find to stdout while it is imported, and then fails in several ways.
"""

import io
import threading
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from importlib import import_module
from importlib.util import find_spec
from typing import Any, TypeVar

from tcabench.errors import MeterError

T = TypeVar("T")

NO_MODULE = (
    "AMD GPUs are read through the Python module amdsmi, which is not installed: pip install 'tcabench[amd]', or the "
    "one that came with ROCm: pip install /opt/rocm/share/amd_smi"
)
NO_LIBRARY = (
    "the Python module amdsmi finds no libamd_smi.so: there is no ROCm, or it is elsewhere (set ROCM_PATH), or the "
    "container was not given it"
)
NO_MATCH = (
    "the Python module amdsmi and libamd_smi.so do not belong together ({}): install the module that came with this "
    "ROCm, pip install /opt/rocm/share/amd_smi"
)
NOT_SUPPORTED = frozenset(
    {2, 3, 40, 49}
)  # AMDSMI_STATUS_NOT_SUPPORTED, _NOT_YET_IMPLEMENTED, _NO_DATA, _NO_HSMP_MSG_SUP
NO_PERM, NO_DRIVER, LOST = 10, frozenset({34, 51}), frozenset({30, 31, 54})  # 30 busy, 31 not found, 54 restart failed


class Library:
    """AMD SMI, held open while anybody uses it. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0

    def enter(self) -> Any:
        """One user more; gives back the module. raises: MeterError of kind meter-missing or amdsmi-unavailable."""
        with self._lock:
            module = _imported()
            if not self._users:
                call(module.amdsmi_init, "AMD SMI")
            self._users += 1
            return module

    def leave(self) -> None:
        """One user less; the last one closes it."""
        with self._lock:
            self._users -= 1
            if not self._users:
                module = _imported()
                with suppress(module.AmdSmiException):  # whatever it answers, nobody uses it any more
                    module.amdsmi_shut_down()


LIBRARY = Library()


def call(ask: Callable[[], T], who: str) -> T:
    """The answer. raises: MeterError that names `who`."""
    trouble: type[Exception] = import_module("amdsmi").AmdSmiException
    try:
        return ask()
    except trouble as err:
        raise meter_error(err, who) from err


def asked(ask: Callable[[], T]) -> T | None:
    """The answer, None where this GPU or driver has none. raises: AmdSmiException for any other trouble."""
    trouble: type[Exception] = import_module("amdsmi").AmdSmiException
    try:
        return ask()
    except trouble as err:
        if getattr(err, "err_code", None) not in NOT_SUPPORTED:
            raise
    return None


def meter_error(err: Exception, who: str) -> MeterError:
    """What AMD SMI's error means, and what to do."""
    code = getattr(err, "err_code", None)
    told = " ".join(str(getattr(err, "err_info", err)).split())
    if code in NO_DRIVER:
        return MeterError(f"AMD SMI cannot be used, the amdgpu driver is not loaded: {told}", "amdsmi-unavailable")
    if code == NO_PERM:
        why = "Run as a user of the groups render and video; in a container pass /dev/kfd and /dev/dri in."
        return MeterError(f"{who} may not be read, AMD SMI says: {told}. {why}", "amdsmi-permission")
    if code in LOST:
        why = "Look for amdgpu errors in `dmesg`; a GPU that was reset starts its counter anew. This run is incomplete."
        return MeterError(f"{who} is not there any more, AMD SMI says: {told}. {why}", "gpu-lost")
    return MeterError(f"{who} cannot be read, AMD SMI says: {told}. `amd-smi monitor` may tell more.", "amdsmi-read")


def _imported() -> Any:
    if find_spec("amdsmi") is None:
        raise MeterError(NO_MODULE, "meter-missing")
    try:
        with redirect_stdout(io.StringIO()):
            return import_module("amdsmi")
    except AttributeError as err:  # it binds every function that its own release knows
        raise MeterError(NO_MATCH.format(err), "amdsmi-unavailable") from err
    except (ImportError, KeyError, OSError) as err:
        raise MeterError(NO_LIBRARY, "amdsmi-unavailable") from err
