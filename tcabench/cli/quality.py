"""`tcabench quality`: does one system answer as well as another?"""

import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tcabench.parity import PlannedParity

SystemName = Annotated[str, typer.Option(help="A URL, `bundled`, or `dense`: the engine in plain float32, levers off.")]
ModelName = Annotated[str | None, typer.Option(help="Model name at a URL; for the engine a Llama folder or GGUF.")]
KeyEnv = Annotated[str | None, typer.Option(help="Name of the environment variable that holds the API key.")]
WorkloadName = Annotated[str, typer.Option(help="Name of a shipped workload, or the path of a folder.")]
Prompts = Annotated[int, typer.Option(help="So many prompts of the workload.", min=1)]
MaxTokens = Annotated[
    int | None, typer.Option(help="Tokens of each answer at most.", min=1, show_default="each prompt's own")
]
Margin = Annotated[float, typer.Option(help="Perplexity may differ by this share and be EQUIVALENT.", min=0, max=1)]
Concurrency = Annotated[int, typer.Option(help="Requests in flight.", min=1, max=1024)]
Json = Annotated[Path | None, typer.Option("--json", help="Write all of it into this file.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress; only the result.")]


def quality(
    candidate: SystemName = "bundled",
    reference: SystemName = "dense",
    candidate_model: ModelName = None,
    reference_model: ModelName = None,
    candidate_key_env: KeyEnv = None,
    reference_key_env: KeyEnv = None,
    workload: WorkloadName = "chat",
    prompts: Prompts = 24,
    max_tokens: MaxTokens = None,
    margin: Margin = 0.01,
    concurrency: Concurrency = 8,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Ask two systems the same: is the candidate IDENTICAL, EQUIVALENT, WORSE, or can nothing be told?"""
    from tcabench.parity import PlannedParity
    from tcabench.workload import load_workload

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # being told to end is like Ctrl-C
    planned = PlannedParity(load_workload(workload).prompts[:prompts], max_tokens, margin, concurrency)
    sides = ((reference, reference_model, reference_key_env), (candidate, candidate_model, candidate_key_env))
    raise typer.Exit(_compared(sides, planned, json, quiet))


Side = tuple[str, str | None, str | None]


def _compared(sides: tuple[Side, Side], planned: "PlannedParity", json: Path | None, is_quiet: bool) -> int:
    """Measure, show, write; the exit code."""
    from tcabench.cli.quality_view import EXIT, asking, show_parity, write_parity
    from tcabench.errors import Interrupted
    from tcabench.kit import api_key
    from tcabench.parity import measure, open_system

    names = ("--reference-key-env", "--candidate-key-env")
    keys = [api_key(env, name) for (_, _, env), name in zip(sides, names, strict=True)]
    with tempfile.TemporaryDirectory(prefix="tcabench-quality-") as folder:
        opened = [open_system(*side[:2], key, Path(folder)) for side, key in zip(sides, keys, strict=True)]
        try:
            with asking(is_quiet) as stage, opened[0] as reference, opened[1] as candidate:
                parity = measure(reference, candidate, planned, stage)
        except KeyboardInterrupt as err:
            raise Interrupted("stopped by the user") from err
    show_parity(parity, reference, candidate)
    if json is not None:
        write_parity(json, parity, reference, candidate)
    return EXIT[parity.compared.found.standing]
