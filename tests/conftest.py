"""Every test runs in a home of its own: no test sees the user's keys, or leaves any."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "LD_LIBRARY_PATH")
KEPT_PREFIXES = (
    "PIP_",
    "UV_",
    "http",
    "HTTP",
    "no_proxy",
    "NO_PROXY",
    "XDG_CACHE",
    "PYTEST",
    "TCABENCH_TEST",
    "TRITON_",
    "CUDA_",
    "CI",
)


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config folder of the test's own; the cache (the 98 MB model) is shared with the user's."""
    for name in list(os.environ):
        if name not in KEPT and not name.startswith(KEPT_PREFIXES):
            monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("config")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "state"))
    return home


@pytest.fixture
def tcabench() -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """The real command in a real process: tcabench("run", ..., env={...}) -> finished process."""

    def call(*arguments: object, env: dict[str, str] | None = None, cwd: Path | None = None, timeout: float = 300):  # type: ignore[no-untyped-def]
        command = [sys.executable, "-m", "tcabench", *map(str, arguments)]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, cwd=cwd, env=os.environ | (env or {}), check=False
        )

    return call
