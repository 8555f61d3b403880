"""NVML's call that is made 20 times a second for each GPU, with everything it needs laid out beforehand.

It goes past pynvml's function, which builds its structures anew each time, to the library that pynvml has loaded: half
the processor time of a reading.
"""

from collections.abc import Collection, Mapping
from ctypes import byref, c_int32
from typing import Any, Generic, TypeVar

import pynvml

MILLI = 1000  # NVML tells mW and mJ
Name = TypeVar("Name")
Field = tuple[int, int]
"""A field id and the power scope it is asked for."""
VIEWS = {
    pynvml.NVML_VALUE_TYPE_DOUBLE: "dVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_INT: "uiVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG: "ulVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG: "ullVal",
    pynvml.NVML_VALUE_TYPE_SIGNED_LONG_LONG: "sllVal",
    pynvml.NVML_VALUE_TYPE_SIGNED_INT: "siVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_SHORT: "usVal",
}
"""Which member of pynvml's `c_nvmlValue_t` holds a value of that type."""


class Fields(Generic[Name]):
    """Power and energy fields of a GPU, each under a name of the caller's, all read by one call of one thread."""

    def __init__(self, fields: Mapping[Name, Field]) -> None:
        values = (pynvml.c_nvmlFieldValue_t * len(fields))()
        for value, (field, scope) in zip(values, fields.values(), strict=True):
            value.fieldId, value.scopeId = field, scope
        told = tuple((name, value, value.value) for name, value in zip(fields, values, strict=True))
        call = getattr(pynvml.nvmlLib, "nvmlDeviceGetFieldValues", None)  # none in a library older than the call
        self._order = call, c_int32(len(fields)), byref(values), told

    def read(self, handle: Any, passed_over: Collection[int] = ()) -> list[tuple[Name, float]]:
        """Power in W, or energy in J, of each field; one that fails with an error of `passed_over` is left out.
        raises: NVMLError."""
        call, count, first, all_told = self._order
        if not all_told:
            return []
        if call is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)
        if code := call(handle, count, first):
            raise pynvml.NVMLError(code)
        values = []
        for name, told, value in all_told:
            if not (code := told.nvmlReturn):
                values.append((name, getattr(value, VIEWS[told.valueType]) / MILLI))
            elif code not in passed_over:
                raise pynvml.NVMLError(code)
        return values
