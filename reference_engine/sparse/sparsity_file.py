"""Thresholds for the gates of one model, as `calibrate` writes them and `serve --gate-sparsity` reads them.

JSON: `format` names this layout and its version; `weights_sha256` the weights that it is for; `calibration` what it
was learnt from (tokens, seed, sha256 of the token ids); `levels` hold, for each share of neurons to be left out, a
threshold for each layer, the share that was expected from the texts it was learnt from, and the share that was measured
on others with all layers cut at once. `sha256` is the digest of all that.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

from reference_engine.errors import EngineError
from reference_engine.model.pull import DEFAULT

FORMAT = "reference_engine gate sparsity 1"
SHIPPED = {DEFAULT.gguf_sha256: "smollm2_135m_instruct.json"}  # weights -> file beside this one
KIND = "sparsity-file"


@dataclass(frozen=True, slots=True)
class Calibration:
    """Where thresholds come from: `tokens` of the model's own, drawn by `seed`; `text_sha256` of their ids."""

    tokens: int
    seed: int
    text_sha256: str


@dataclass(frozen=True, slots=True)
class Level:
    """`sparsity`: the share of neurons asked for; `thresholds` (layers,) leave out `expected` on the texts learnt from
    and `measured` on others."""

    sparsity: float
    expected: float
    measured: float
    thresholds: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class SparsityFile:
    """See the module."""

    weights_sha256: str
    layers: int
    calibration: Calibration
    levels: tuple[Level, ...]

    def level(self, sparsity: float) -> Level:
        """The level of exactly this sparsity. raises: EngineError (config)."""
        for level in self.levels:
            if math.isclose(level.sparsity, sparsity, abs_tol=1e-9):
                return level
        known = ", ".join(f"{level.sparsity:g}" for level in self.levels)
        raise EngineError(f"--gate-sparsity {sparsity:g}: there are thresholds for {known}", "config")


def write(made: SparsityFile, file: Path) -> None:
    """raises: EngineError (sparsity-file) when it cannot be written."""
    fields = {"format": FORMAT, **asdict(made)}
    text = json.dumps({**fields, "sha256": _digest(fields)}, indent=1) + "\n"
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as err:
        raise EngineError(f"{file} cannot be written: {err.strerror}", KIND) from err


def thresholds_for(weights_sha256: str, file: Path | None = None) -> SparsityFile:
    """What `file` holds, or else what is shipped for these weights.

    raises: EngineError (sparsity-file) when there is none, it is damaged, or it is for other weights.
    """
    if file is None:
        if weights_sha256 not in SHIPPED:
            raise EngineError(
                "no thresholds are shipped for these weights; `python -m reference_engine calibrate` makes a file "
                "for --sparsity-file",
                KIND,
            )
        file = Path(str(files(__package__) / SHIPPED[weights_sha256]))
    made = read(file)
    if made.weights_sha256 != weights_sha256:
        raise EngineError(f"{file} is for weights {made.weights_sha256[:12]}, not {weights_sha256[:12]}", KIND)
    return made


def read(file: Path) -> SparsityFile:
    """raises: EngineError (sparsity-file) when it is missing, damaged or of another format."""
    try:
        fields = json.loads(file.read_text(encoding="utf-8"))
    except OSError as err:
        raise EngineError(f"{file} cannot be read: {err.strerror}", KIND) from err
    except (ValueError, RecursionError) as err:
        raise EngineError(f"{file} is not JSON: {err}", KIND) from err
    if not isinstance(fields, dict) or fields.get("format") != FORMAT:
        raise EngineError(f"{file} is not in the format {FORMAT!r}", KIND)
    if fields.pop("sha256", None) != _digest(fields):
        raise EngineError(f"{file} does not have the digest that it states: it was changed", KIND)
    try:
        return _from(fields)
    except (TypeError, KeyError, ValueError, OverflowError) as err:
        raise EngineError(f"{file} does not read: {err!r}", KIND) from err


def _from(fields: Mapping[str, Any]) -> SparsityFile:
    """raises: TypeError, KeyError, ValueError, OverflowError for what is not as `write` writes it."""
    levels = tuple(_level(level, fields["layers"]) for level in fields["levels"])
    return SparsityFile(
        str(fields["weights_sha256"]), int(fields["layers"]), Calibration(**fields["calibration"]), levels
    )


def _level(fields: Mapping[str, Any], layers: int) -> Level:
    thresholds = tuple(float(threshold) for threshold in fields["thresholds"])
    if len(thresholds) != layers:
        raise ValueError(f"{len(thresholds)} thresholds for {layers} layers")
    if not all(0 <= threshold < math.inf for threshold in thresholds):
        raise ValueError("a threshold that is no number from 0 up")
    return Level(float(fields["sparsity"]), float(fields["expected"]), float(fields["measured"]), thresholds)


def _digest(fields: Mapping[str, Any]) -> str:
    """sha256 of the fields as compact JSON with sorted keys. Numbers are written as Python's shortest form of them."""
    return sha256(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
