"""What was measured: host, software, server, model; each fact with its source."""

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("tcabench", "torch", "transformers", "nvidia-ml-py", "aiohttp", "tokenizers")


RANDOM = "drawn at random"


def fact(value: object, source: str) -> dict[str, Any]:
    """A fact with where it comes from, as it stands in `sut.json`."""
    return {"value": value, "source": source}


def host_facts() -> dict[str, dict[str, Any]]:
    """This machine: processor, cores, memory, system, virtualisation, package versions."""
    import psutil

    facts = {
        "host.cpu": fact(_cpu_model(), "/proc/cpuinfo"),
        "host.logical_cpus": fact(psutil.cpu_count(), "psutil.cpu_count"),
        "host.memory_bytes": fact(str(psutil.virtual_memory().total), "psutil.virtual_memory"),
        "host.system": fact(platform.platform(), "platform.platform"),
        "host.hypervisor": fact(_is_virtual(), "/proc/cpuinfo flag hypervisor"),
        "host.python": fact(platform.python_version(), "platform.python_version"),
    }
    return facts | {f"package.{name}": fact(_version(name), "importlib.metadata") for name in PACKAGES}


def server_facts(
    said: Mapping[str, Any], ready: Mapping[str, Any] | None, options: Sequence[str] = ()
) -> dict[str, dict[str, Any]]:
    """The server: what it said of itself, what the bundled engine printed when it came up (None: not ours), and the
    options that it was started with beside the usual ones."""
    facts = {
        "server.software": fact(said.get("server"), "Server response header"),
        "server.models": fact(said.get("models"), "GET /models"),
    }
    facts["server.levers"] = _levers(said, ready)
    if said.get("random_weights"):
        facts["model.weights"] = fact(RANDOM, "GET /models: random_weights")
    if ready is None:
        facts["model.sha256"] = {**fact(None, "GET /models"), "why": "an endpoint does not prove which weights it runs"}
        return facts
    if ready.get("random_weights"):
        no_file = "the weights were drawn at random: there is no file to take a digest of"
        return facts | {"model.sha256": {**fact(None, "bundled engine"), "why": no_file}}
    facts["model.sha256"] = fact(ready["weights_sha256"], "sha256 of the weights file, taken by the bundled engine")
    facts["model.file"] = fact(Path(ready["weights"]).name, "bundled engine")
    facts["model.context_tok"] = fact(ready["context_tok"], "bundled engine")
    if options:
        facts["server.options"] = fact(" ".join(options), "tcabench")
    return facts


def _levers(said: Mapping[str, Any], ready: Mapping[str, Any] | None) -> dict[str, Any]:
    """The levers that are on, each "equivalent" or "approximate", by the server's own word."""
    if ready is not None and "levers" in ready:
        return fact(dict(ready["levers"]), "bundled engine")
    if said.get("levers") is not None:
        return fact(dict(said["levers"]), "GET /models: levers")
    return {**fact(None, "GET /models"), "why": "the server does not say which levers are on, nor of what kind"}


def has_random_weights(sut: Mapping[str, Any]) -> bool:
    """Whether the model's weights were drawn, so that nothing may be said of the quality of its answers."""
    return bool((sut.get("model.weights") or {}).get("value") == RANDOM)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _cpuinfo() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text() if path.exists() else ""


def _cpu_model() -> str | None:
    for line in _cpuinfo().splitlines():
        if line.lower().startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or None


def _is_virtual() -> bool | None:
    text = _cpuinfo()
    return " hypervisor" in text if text else None
