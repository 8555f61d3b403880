"""JSON with one spelling (RFC 8785), and a reader that leaves no room for a second meaning."""

import json
from collections.abc import Iterator
from math import isfinite
from typing import Any, NoReturn

import rfc8785

from tcabench.errors import NotVerified

MAX_BYTES = 64_000_000
MAX_DEPTH = 32


def canonical(value: Any) -> bytes:
    """`value` as RFC 8785 bytes. Integers from 2^53 on do not fit and travel as decimal strings.

    raises: ValueError for what has no canonical form (NaN, large integers, lone surrogates).
    """
    encoded: bytes = rfc8785.dumps(value)
    return encoded


def plain(value: Any) -> bytes:
    """`value` as compact ASCII JSON with sorted keys: for evidence that holds nanoseconds beyond 2^53.

    raises: ValueError for NaN and infinities.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def read_json(data: bytes, what: str, limit_bytes: int = MAX_BYTES) -> Any:
    """The one value in `data`; `what` names it in messages.

    raises: NotVerified for a key given twice, NaN or infinities, bad UTF-8, more than `limit_bytes` or
    nesting deeper than MAX_DEPTH.
    """
    if len(data) > limit_bytes:
        raise _malformed(what, f"{len(data)} bytes; at most {limit_bytes} are read")
    try:
        text = data.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
    except ValueError as err:
        raise _malformed(what, str(err)) from err
    except RecursionError as err:
        raise _malformed(what, f"nested deeper than {MAX_DEPTH}") from err
    _check_depth(value, what)
    return value


def read_canonical(data: bytes, what: str, limit_bytes: int = MAX_BYTES) -> Any:
    """Like `read_json`, and `data` is exactly the RFC 8785 spelling of what it says. raises: NotVerified."""
    value = read_json(data, what, limit_bytes)
    try:
        same = canonical(value) == data
    except ValueError as err:
        raise _malformed(what, f"no canonical form: {err}") from err
    if not same:
        raise _malformed(what, "it is not in canonical form (RFC 8785)")
    return value


def read_lines(data: bytes, what: str) -> tuple[dict[str, Any], ...]:
    """The objects of a JSON Lines file, each line ended by a newline. raises: NotVerified."""
    if data and not data.endswith(b"\n"):
        raise _malformed(what, "its last line is torn")
    return tuple(_objects(data, what))


def _objects(data: bytes, what: str) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(data.split(b"\n")[:-1], start=1):
        value = read_json(line, f"{what} line {number}")
        if not isinstance(value, dict):
            raise _malformed(f"{what} line {number}", "not an object")
        yield value


def _malformed(what: str, why: str) -> NotVerified:
    return NotVerified(f"{what}: {why}", kind="malformed")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is given twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError(f"{text} is out of range")
    return number


def _check_depth(value: Any, what: str) -> None:
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise _malformed(what, f"nested deeper than {MAX_DEPTH}")
        level = [child for parent in level for child in _children(parent)]


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [v for v in value.values() if isinstance(v, dict | list)]
    if isinstance(value, list):
        return [v for v in value if isinstance(v, dict | list)]
    return []
