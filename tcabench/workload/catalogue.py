"""Where workloads are found: shipped with tcabench, brought by a plug-in, or in a folder of the user's own."""

import os
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated

from pydantic import Field, RootModel

import tcabench
from tcabench.door import Door, checked, read_yaml
from tcabench.errors import PluginError, UsageError
from tcabench.records import Workload
from tcabench.registry import Registry
from tcabench.workload.spec import SPEC_FILE, Name, Sha256, read_workload

GROUP = "tcabench.workloads"
INDEX_FILE = "index.yaml"


class Pinned(Door):
    """One line of the index: the version of a shipped workload and its digest (`spec.folder_digest`)."""

    version: Annotated[int, Field(ge=1)]
    sha256: Sha256


class Index(RootModel[dict[Name, Pinned]]):
    """`index.yaml`: every shipped workload by name."""


def load_workload(name_or_path: str) -> Workload:
    """The workload called `name_or_path`, or in the folder of that path (any text with a `/`, or `.`).

    A shipped workload must have the digest that the index pins. raises: UsageError, saying what is known or wrong.
    """
    if _is_path(name_or_path):
        return read_workload(Path(name_or_path).expanduser())
    workload = read_workload(_folder_of(name_or_path))
    if workload.name != name_or_path:
        raise UsageError(
            f"workload {name_or_path!r}: its {SPEC_FILE} says name: {workload.name!r}; they must be the same"
        )
    pinned = read_index().get(name_or_path)
    if pinned and (pinned.version, pinned.sha256) != (workload.version, workload.digest):
        raise UsageError(
            f"workload {name_or_path!r} is not as shipped: version {workload.version}, digest {workload.digest}; "
            f"{INDEX_FILE} pins version {pinned.version}, {pinned.sha256}. Reinstall tcabench, or load a changed copy "
            "by its path",
            kind="workload-changed",
        )
    return workload


def workload_names() -> list[str]:
    """Every name that `load_workload` knows, shipped ones and plug-ins, sorted."""
    return sorted(_registry().table())


def shipped_root() -> Path:
    """The folder of shipped workloads: inside an installed wheel, else of this checkout. raises: UsageError."""
    package = Path(tcabench.__file__).resolve().parent
    places = (package / "_shipped" / "workloads", package.parent / "workloads")
    for place in places:
        if (place / INDEX_FILE).is_file():
            return place
    tried = " and ".join(str(place) for place in places)
    raise UsageError(
        f"the workloads that ship with tcabench are missing (no {INDEX_FILE} in {tried}); reinstall tcabench"
    )


def shipped_folder(name: str) -> Path:
    """The folder of a shipped workload. This is what the registry holds; a plug-in may give such a function too."""
    return shipped_root() / name


def read_index(root: Path | None = None) -> dict[str, Pinned]:
    """Name -> version and digest, as pinned in the index of `root` (of the shipped workloads by default)."""
    path = (root or shipped_root()) / INDEX_FILE
    return checked(Index, read_yaml(path.read_bytes(), str(path)), str(path)).root


def _registry() -> Registry:
    """The index is the built-in table: a shipped workload is a folder and a line there."""
    shipped = f"{shipped_folder.__module__}:{shipped_folder.__name__}"
    return Registry("workload", GROUP, dict.fromkeys(read_index(), shipped))


def _folder_of(name: str) -> Path:
    """A plug-in names its folder (str or Path) or a function from the workload's name to it."""
    registry = _registry()
    if name not in registry.table():
        raise _unknown(name, registry.table())
    found = registry.load(name)
    folder = found(name) if callable(found) else found
    if not isinstance(folder, str | os.PathLike):
        raise PluginError(f"workload {name!r} ({registry.table()[name]}) gives {folder!r}, which is not a folder")
    return Path(folder)


def _unknown(name: str, table: dict[str, str]) -> PluginError:
    close = get_close_matches(name, table, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    if Path(name, SPEC_FILE).is_file():
        hint = f" For the folder here, write ./{name}."
    return PluginError(f"no workload {name!r}.{hint} Known: {', '.join(sorted(table))}; or give the path of a folder")


def _is_path(text: str) -> bool:
    return os.sep in text or "/" in text or text in ("", ".", "..") or text.startswith("~")
