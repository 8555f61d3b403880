"""`tcabench serve`: the bundled reference engine, in this process's place."""

import os
import sys

import typer


def serve(context: typer.Context) -> None:
    """Serve the bundled reference engine, an OpenAI-compatible server; all options are the engine's own."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "reference_engine", "serve", *context.args])
