"""The list of commands. Bodies live one file a command; nothing heavy is imported until one of them runs."""

import logging
import os
import sys
from typing import Annotated

import typer

from tcabench import __version__
from tcabench.cli import ablate, meters, model, quality, recover, run, serve, sparsity, verify
from tcabench.errors import TcaError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Measure and certify the energy of AI inference: tokens per kWh with a stated uncertainty, a verdict and "
    "a signed report that anyone can verify offline.",
    epilog="Exit codes: 0 pass, 2 usage, 3 fail, 4 could not measure, 5 not verified, 6 inconclusive or not "
    "applicable, 130 stopped by the user, 1 a bug of ours.",
)
app.command("run")(run.run)
app.command("verify")(verify.verify)
app.command("recover")(recover.recover)
app.command(
    "serve", add_help_option=False, context_settings={"allow_extra_args": True, "ignore_unknown_options": True}
)(serve.serve)
app.command("ablate")(ablate.ablate)
app.command("quality")(quality.quality)
app.add_typer(meters.app, name="meters")
app.add_typer(model.app, name="model")
app.add_typer(sparsity.app, name="sparsity")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tcabench {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """The only place where an error becomes a sentence and an exit code. Bugs are not caught here."""
    logging.getLogger("tcabench").addHandler(logging.NullHandler())
    try:
        app()
    except TcaError as err:
        from tcabench.report.text import visible

        typer.secho(f"error[{err.kind}]: {visible(str(err))}", err=True, fg=typer.colors.RED)
        for note in getattr(err, "__notes__", ()):
            typer.echo(note, err=True)
        sys.exit(err.exit_code)
    finally:
        _let_go_of_closed_pipes()


def _let_go_of_closed_pipes() -> None:
    """Whoever read our output may have gone (`| head`): what Python still wants to write to them must not become the
    exit code."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
