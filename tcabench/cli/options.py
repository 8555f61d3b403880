"""The options of `tcabench run`, each named once with its type, bounds, panel and help."""

from pathlib import Path
from typing import Annotated, Any

import typer


def _load(text: str, **bounds: Any) -> Any:
    return typer.Option(rich_help_panel="Load", help=text, **bounds)


def _verdict(text: str, **bounds: Any) -> Any:
    return typer.Option(rich_help_panel="Power and verdict", help=text, **bounds)


def _quality(text: str, **bounds: Any) -> Any:
    return typer.Option(rich_help_panel="Quality", help=text, **bounds)


def _evidence(text: str, *names: str) -> Any:
    return typer.Option(*names, rich_help_panel="Evidence", help=text)


EndpointUrl = Annotated[
    str | None,
    typer.Option(help="OpenAI-compatible server, e.g. http://127.0.0.1:8000/v1. Left out: the bundled engine."),
]
Model = Annotated[
    str | None,
    typer.Option(help="Model name at the endpoint; for the bundled engine a Llama-family folder or GGUF."),
]

WorkloadName = Annotated[str, _load("Name of a shipped workload, or the path of a folder.")]
Concurrency = Annotated[
    int | None, _load("Closed loop: requests in flight. With --rate: at most so many.", min=1, max=100_000)
]
Rate = Annotated[float | None, _load("Open loop: so many requests per second, Poisson arrivals.", min=1e-6)]
Requests = Annotated[int | None, _load("Stop after so many requests.", min=1)]
Duration = Annotated[float | None, _load("Measuring time in s, after the warm-up.", min=0.1)]
Warmup = Annotated[float | None, _load("Warm-up in s, left out of every figure.", min=0)]
Idle = Annotated[float | None, _load("Idle phase before the load in s.", min=0)]
Drain = Annotated[float | None, _load("How long to wait for the last answers in s.", min=0)]
Seed = Annotated[int, _load("Seed of prompt order and arrivals.", min=0, max=2**53 - 1)]
Api = Annotated[str, _load("chat or completions.")]
Timeout = Annotated[float, _load("Longest time for one request in s.", min=0.1)]
ApiKeyEnv = Annotated[str | None, _load("Name of the environment variable that holds the API key.")]
TokenizerFile = Annotated[Path | None, _load("tokenizer.json (or its folder) to recount tokens with.", exists=True)]

Meters = Annotated[
    list[str] | None,
    _verdict("auto, nvml:0,1, rapl, modbus://pdu/1?map=... (see `tcabench meters list`); may be given more than once."),
]
SiteFile = Annotated[
    Path | None, _verdict("Site description (YAML): meters, cooling, losses, carbon.", exists=True, dir_okay=False)
]
MarkerSeconds = Annotated[
    float | None,
    _verdict(
        "Length in s of the load marker that lines meters up; 0: none.", min=0, show_default="64 for facility meters"
    ),
]
PolicyName = Annotated[str, _verdict("Name of a built-in policy, or a YAML file.")]
BoundaryName = Annotated[
    str | None, _verdict("chip, node, rack or facility.", show_default="the outermost that is metered")
]

ReferenceSystem = Annotated[
    str | None,
    _quality("Compare the answers afterwards with a URL, `bundled`, or `dense` (the engine in float32, levers off)."),
]
ReferenceModel = Annotated[
    str | None,
    _quality(
        "Model name at the reference's URL; for the engine a folder or GGUF.", show_default="the metered engine's"
    ),
]
ReferenceKeyEnv = Annotated[
    str | None, _quality("Name of the environment variable that holds the reference's API key.")
]
ReferencePrompts = Annotated[int, _quality("So many prompts of the workload.", min=1, max=100_000)]
ReferenceMargin = Annotated[float, _quality("Perplexity may differ by this share and be EQUIVALENT.", min=0, max=1)]

Out = Annotated[Path, _evidence("Where run folders are made.")]
Key = Annotated[Path | None, _evidence("Ed25519 signing key (PEM); your own, made on first use, if left out.")]
KeyPassphraseEnv = Annotated[
    str | None, _evidence("Name of the environment variable that holds the signing key's passphrase.")
]
Quiet = Annotated[bool, _evidence("No live view; only the result.", "--quiet", "-q")]
