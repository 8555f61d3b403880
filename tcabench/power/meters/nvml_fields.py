"""NVML's calls that are made 20 times a second for each GPU, with everything they need laid out beforehand.

They go past pynvml's functions, which build their structures anew each time, to the library that pynvml has loaded:
half the processor time of a reading.
"""

import struct
from collections.abc import Sequence
from ctypes import byref, c_int32, c_ulonglong
from typing import Any

import pynvml

from tcabench.power.meters.nvml_sampling import UNSUPPORTED

MW_PER_W, MJ_PER_J = 1000, 1000
Field = tuple[int, int]
"""A field id and the power scope it is asked for."""
FIELD_VALUE = "24xIIQ"  # of nvmlFieldValue_t: value type, return code, the 8 bytes of the value
BITS = {
    pynvml.NVML_VALUE_TYPE_UNSIGNED_INT: 32,
    pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG: 64,
    pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG: 64,
    pynvml.NVML_VALUE_TYPE_SIGNED_LONG_LONG: 64,
    pynvml.NVML_VALUE_TYPE_SIGNED_INT: 32,
    pynvml.NVML_VALUE_TYPE_UNSIGNED_SHORT: 16,
}


class PowerFields:
    """Power fields of a GPU, read by one call. For one thread at a time."""

    def __init__(self, fields: Sequence[Field]) -> None:
        self._fields = tuple(fields)
        self._values = (pynvml.c_nvmlFieldValue_t * len(self._fields))()
        for value, (field, scope) in zip(self._values, self._fields, strict=True):
            value.fieldId, value.scopeId = field, scope
        self._unpack = struct.Struct("=" + FIELD_VALUE * len(self._fields)).unpack_from
        self._count, self._first = c_int32(len(self._fields)), byref(self._values)

    def read(self, handle: Any) -> list[tuple[Field, float]]:
        """Power in W of each field that this GPU has. raises: NVMLError for any other trouble."""
        if not self._fields:
            return []
        try:
            code = pynvml.nvmlLib.nvmlDeviceGetFieldValues(handle, self._count, self._first)
        except AttributeError as err:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND) from err  # a library older than the call
        if code:
            raise pynvml.NVMLError(code)
        told, watts = self._unpack(self._values), []
        for i, field in enumerate(self._fields):
            kind, code, value = told[3 * i : 3 * i + 3]
            if not code:
                watts.append((field, number_in(kind, value) / MW_PER_W))
            elif code not in UNSUPPORTED:
                raise pynvml.NVMLError(code)
        return watts


class EnergyCounter:
    """The energy counter of a GPU (Volta and newer). For one thread at a time."""

    def __init__(self) -> None:
        self._millijoules = c_ulonglong()
        self._where = byref(self._millijoules)

    def read(self, handle: Any) -> float:
        """Energy in J since the driver was loaded. raises: NVMLError."""
        try:
            code = pynvml.nvmlLib.nvmlDeviceGetTotalEnergyConsumption(handle, self._where)
        except AttributeError as err:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND) from err  # a library older than the call
        if code:
            raise pynvml.NVMLError(code)
        return self._millijoules.value / MJ_PER_J


def number_in(kind: int, raw: int) -> float:
    """An nvmlValue_t, read as NVML says by `kind`; what is shorter than 8 bytes stands first in it."""
    if kind == pynvml.NVML_VALUE_TYPE_DOUBLE:
        return float(struct.unpack("=d", raw.to_bytes(8, "little"))[0])
    return raw & ((1 << BITS[kind]) - 1)
