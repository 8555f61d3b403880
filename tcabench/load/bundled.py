"""Starts the bundled reference engine as a child process, for runs that name no endpoint."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tcabench.errors import NotMeasured

STOP_TIMEOUT_S = 20.0
KEY_VARIABLE = "REFERENCE_ENGINE_API_KEY"  # meant for an engine that others reach; ours is asked by nobody but us


@contextmanager
def bundled_engine(arguments: list[str], log: Path) -> Iterator[Mapping[str, Any]]:
    """What the engine printed when it was ready (`listening`, `model`, `weights_sha256`, `tokenizer`, ...).

    The engine's own messages go to `log`. It ends with us, however we end: it watches the pipe to its stdin.
    raises: NotMeasured with the engine's last words when it does not come up.
    """
    command = [sys.executable, "-m", "reference_engine", "serve", "--port", "0", "--exit-with-parent", *arguments]
    env = {name: value for name, value in os.environ.items() if name != KEY_VARIABLE}
    with log.open("wb") as stderr:
        child = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr)
        try:
            yield _ready(child, log)
        finally:
            _stop(child)


def _ready(child: "subprocess.Popen[bytes]", log: Path) -> Mapping[str, Any]:
    """The one line that the engine prints once it listens."""
    line = child.stdout.readline() if child.stdout else b""
    if not line:
        child.wait()
        words = log.read_text("utf-8", "replace").strip().splitlines()
        said = words[-1] if words else "it said nothing"
        raise NotMeasured(f"the reference engine did not start (exit {child.returncode}): {said}", "engine-start")
    ready: Mapping[str, Any] = json.loads(line)
    return ready


def _stop(child: "subprocess.Popen[bytes]") -> None:
    child.terminate()
    try:
        child.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    for pipe in (child.stdin, child.stdout):
        if pipe:
            pipe.close()
