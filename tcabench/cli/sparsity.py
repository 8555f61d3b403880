"""`tcabench sparsity`: thresholds for the gates of a model that the bundled engine serves."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Gate thresholds for the bundled engine's approximate tier.")

Out = Annotated[Path, typer.Option(help="The file to write, for `serve --gate-sparsity S --sparsity-file FILE`.")]
ModelPath = Annotated[Path | None, typer.Option(exists=True, help="A Llama-family folder or GGUF; else the default.")]
Tokens = Annotated[int, typer.Option(min=1, help="Tokens of the model's own to learn from.")]


@app.callback()
def _group() -> None:
    """One command so far; without this it would be the group itself."""


@app.command()
def calibrate(out: Out, model: ModelPath = None, tokens: Tokens = 4096) -> None:
    """Learn, from the model's own answers, thresholds that leave out 5 to 70 % of its neurons."""
    from tcabench.cli.engine import calibrate_gates

    typer.echo(calibrate_gates(model, out, tokens))
