"""The maps that tcabench ships: which register, object or topic of a meter is which quantity. One folder a protocol."""

from importlib.resources import files

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
