"""Counts output tokens again, with the model's own tokenizer."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tcabench.errors import UsageError
from tcabench.records import Trace


def recount(traces: Sequence[Trace], tokenizer: Path | None) -> tuple[tuple[Trace, ...], dict[str, Any]]:
    """The traces with `recount_tok` filled in, and the account of it for `quality.json`.

    `tokenizer` is a `tokenizer.json` or a folder that holds one; None leaves the counts to the server alone.
    raises: UsageError when the file is not a tokenizer.
    """
    if tokenizer is None:
        return tuple(traces), {"recount": {"tokenizer": None, "why": "no tokenizer at hand (--tokenizer)"}}
    encoder, digest = load_tokenizer(tokenizer)
    texts = [trace.text for trace in traces]
    counts = [len(e.ids) for e in encoder.encode_batch(texts, add_special_tokens=False)]
    counted = tuple(replace(trace, recount_tok=n) for trace, n in zip(traces, counts, strict=True))
    return counted, {"recount": {"sha256": digest, "tokenizer": "tokenizer.json"}}


def load_tokenizer(tokenizer: Path) -> tuple[Any, str]:
    """The tokenizer in a file or folder, and the sha256 of its file. raises: UsageError."""
    from hashlib import sha256

    from tokenizers import Tokenizer

    path = tokenizer / "tokenizer.json" if tokenizer.is_dir() else tokenizer
    try:
        content = path.read_bytes()
        return Tokenizer.from_buffer(content), sha256(content).hexdigest()
    except OSError as err:
        raise UsageError(f"--tokenizer {path}: {err.strerror or err}", "tokenizer") from err
    except Exception as err:  # the library raises bare Exception for a malformed file
        raise UsageError(f"--tokenizer {path} is not a tokenizer.json: {err}", "tokenizer") from err
