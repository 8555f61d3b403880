"""The two systems that are compared: any endpoint, the bundled engine, or that engine with every lever off."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tcabench.errors import UsageError
from tcabench.load import Endpoint, preflight
from tcabench.load.bundled import bundled_engine
from tcabench.load.endpoint import checked_url

BUNDLED, DENSE = "bundled", "dense"
TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class System:
    """`name` as it was asked for; `facts` is what is known of it, for the record."""

    name: str
    endpoint: Endpoint
    facts: Mapping[str, Any]


def checked_name(name: str, option: str = "") -> str:
    """`name` as a system's: `bundled`, `dense` or a URL without a trailing slash. raises: UsageError, with `option`."""
    if name in (BUNDLED, DENSE):
        return name
    if "://" not in name:
        raise UsageError(f"{option} {name!r} is neither a URL nor {BUNDLED} or {DENSE}".lstrip(), "system")
    return checked_url(name, option or "--endpoint")


@contextmanager
def open_system(name: str, model: str | None, key: str | None, folder: Path) -> Iterator[System]:
    """`bundled`: the reference engine as it comes; `dense`: the same in plain float32, every lever off; else a URL.
    `model`: a folder or GGUF for the engine, a model's name at a URL. The engine's messages go to `folder`.

    raises: UsageError, EndpointError, NotMeasured.
    """
    if checked_name(name) not in (BUNDLED, DENSE):
        ready = preflight(Endpoint(checked_url(name), model or "", "chat", TIMEOUT_S, key), False)
        yield _of_worth(System(name, ready.endpoint, {"url": name, "model": ready.endpoint.model, **ready.said}))
        return
    from tcabench.ablation.ladder import LEVERS  # here, for its package opens runs, and a run opens systems

    off = LEVERS if name == DENSE else ()
    arguments = [*(("--model", model) if model else ()), *(word for lever in off for word in ("--without", lever))]
    log = folder / f"{name}-{len(list(folder.iterdir()))}.log"
    with bundled_engine(arguments, log) as said:
        known = ("model", "weights_sha256", "kernels", "dtype", "device", "random_weights")
        facts = {"without": list(off), **{key: said.get(key) for key in known}}
        yield _of_worth(System(name, Endpoint(said["listening"] + "/v1", said["model"], "chat", TIMEOUT_S), facts))


def _of_worth(system: System) -> System:
    """raises: UsageError for weights drawn at random: no figure of quality is given of them."""
    if system.facts.get("random_weights"):
        raise UsageError(
            f"{system.name}: the weights were drawn at random; what the model says means nothing", "system"
        )
    return system
