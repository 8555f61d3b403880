"""The bundled engine's model files, for commands that are about them and not about a running server.

The only place of the bench that imports the engine: a run reaches it over HTTP, as it reaches any other server.
"""

from pathlib import Path

from tcabench.errors import UsageError


def pull_model(source: Path | None) -> Path:
    """The default model in the user cache, fetched there with a progress bar. raises: UsageError."""
    from reference_engine.errors import EngineError
    from reference_engine.model.pull import console_progress, pull

    try:
        with console_progress() as progress:
            return pull(progress, source)
    except EngineError as err:
        raise UsageError(str(err), err.kind) from err


def export_model(model: Path | None, folder: Path) -> Path:
    """`model` (the default one if None) as a Hugging Face folder in `folder`. raises: UsageError."""
    from reference_engine.errors import EngineError
    from reference_engine.model.export import export
    from reference_engine.model.load import load, weights_sha256
    from reference_engine.model.tokenizer import load_tokenizer

    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty", "export")
    path = model or pull_model(None)
    try:
        return export(load(path), load_tokenizer(path, weights_sha256(path)), folder)
    except EngineError as err:
        raise UsageError(str(err), err.kind) from err


def calibrate_gates(model: Path | None, out: Path, tokens: int) -> Path:
    """`out`, with gate thresholds for `model` (the default one if None) learnt from `tokens` tokens of its own; stderr
    tells how far it is. raises: UsageError."""
    from reference_engine.errors import EngineError
    from reference_engine.sparse.calibrate import calibrated_file

    try:
        return calibrated_file(model or pull_model(None), out, tokens)
    except EngineError as err:
        raise UsageError(str(err), err.kind) from err
