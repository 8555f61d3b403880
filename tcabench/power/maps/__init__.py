"""The maps that tcabench ships: which register, object or topic of a meter is which quantity. One folder a protocol."""

from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path

from tcabench.errors import UsageError

SUFFIX = ".yaml"


def shipped(protocol: str) -> tuple[str, ...]:
    """The names of the maps for `protocol` (a folder here, such as "modbus"), sorted."""
    folder = files(__name__).joinpath(protocol)
    names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    return tuple(sorted(name.removesuffix(SUFFIX) for name in names if name.endswith(SUFFIX)))


def shipped_map(protocol: str, name: str) -> bytes:
    """The text of one of them. raises: KeyError where `shipped` does not name it."""
    if name not in shipped(protocol):
        raise KeyError(name)
    return files(__name__).joinpath(protocol, name + SUFFIX).read_bytes()


def own_map(path: Path, what: str) -> bytes:
    """The text of a user's own map, a `what` ("register map"). raises: UsageError."""
    try:
        return path.read_bytes()
    except OSError as err:
        raise UsageError(f"{path}: the {what} cannot be read: {err.strerror or err}", "meter-map") from err


def named_map(protocol: str, name: str, what: str, example: str) -> bytes:
    """The text of a shipped map. raises: UsageError naming those there are; `example` is a file of one's own."""
    known = shipped(protocol)
    if name not in known:
        close = get_close_matches(name, known, n=1)
        hint = f"Did you mean {close[0]!r}? " if close else ""
        raise UsageError(
            f"{protocol}: there is no {what} {name!r}. {hint}Known: {', '.join(known)}; or give the path of your own "
            f"(map=./{example}{SUFFIX})",
            "meter-argument",
        )
    return shipped_map(protocol, name)
