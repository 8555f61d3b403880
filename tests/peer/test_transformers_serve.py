"""The same weights behind `transformers serve`: both servers' logs must agree with the evidence."""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tcabench.evidence.pack import open_pack
from tcabench.evidence.tables import read_traces
from tcabench.records import Status, Trace

pytestmark = pytest.mark.peer
LOAD = ("--concurrency", "2", "--requests", "6", "--idle", "0.5", "--warmup", "0.5", "--duration", "240", "--quiet")
REQUESTS = 6


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default model as a Hugging Face folder."""
    folder = tmp_path_factory.mktemp("weights") / "SmolLM2-135M-Instruct"
    subprocess.run([sys.executable, "-m", "tcabench", "model", "export", str(folder)], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def peer(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """(base URL, log) of a running `transformers serve`."""
    folder = tmp_path_factory.mktemp("peer")
    (folder / "hub").mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(weights), "--host", "127.0.0.1"]
    command += ["--port", str(port), "--device", "cpu", "--dtype", "float32"]
    env = os.environ | {"HF_HOME": str(folder), "HF_HUB_OFFLINE": "1"}
    log = folder / "server.log"
    with log.open("wb") as out:
        server = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=env)
        try:
            wait_for(f"http://127.0.0.1:{port}/health", server, log)
            yield f"http://127.0.0.1:{port}/v1", log
        finally:
            server.terminate()
            server.wait(30)


def wait_for(url: str, server: "subprocess.Popen[bytes]", log: Path, timeout_s: float = 180) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(f"{url} did not come up: {log.read_text()}")


def traces_in(folder: Path) -> tuple[Trace, ...]:
    return read_traces(open_pack(next(folder.glob("*.tcab")).read_bytes()).members["requests.parquet"])


def one_run(tcabench: Callable[..., "subprocess.CompletedProcess[str]"], out: Path, *arguments: object) -> Path:
    """Run, verify, and give the run's folder."""
    done = tcabench("run", "--out", out, *LOAD, *arguments, timeout=600)
    assert done.returncode in (0, 6), done.stdout + done.stderr
    folder = next(path for path in out.iterdir() if path.is_dir())
    check = tcabench("verify", folder / "report.html")
    assert check.returncode == 0, check.stdout
    return folder


def anchors(folder: Path) -> list[str]:
    return re.findall(r'<section[^>]* id="([^"]+)"', (folder / "report.html").read_text())


def test_the_same_report_from_two_servers(
    tcabench: Callable[..., "subprocess.CompletedProcess[str]"], peer: tuple[str, Path], weights: Path, tmp_path: Path
) -> None:
    url, log = peer
    theirs = one_run(tcabench, tmp_path / "peer", "--endpoint", url, "--model", weights, "--tokenizer", weights)
    ours = one_run(tcabench, tmp_path / "own")
    assert anchors(theirs) == anchors(ours) != []
    of_theirs, of_ours = traces_in(theirs), traces_in(ours)
    for traces in (of_theirs, of_ours):
        assert [t.status for t in traces] == [Status.OK] * REQUESTS

    served = log.read_text().count('"POST /v1/chat/completions HTTP/1.1" 200')
    assert served == REQUESTS + 1, "each request of the bundle, and the one before the run that asks if it works"
    own_log = [json.loads(line) for line in (ours / "engine-requests.jsonl").read_text().splitlines()]
    logged = {entry["id"]: (entry["prompt_tokens"], entry["completion_tokens"]) for entry in own_log}
    assert len(logged) == REQUESTS + 1
    assert {t.server_id: (t.prompt_tok, t.output_tok) for t in of_ours}.items() <= logged.items()

    assert [t.prompt_id for t in of_theirs] == [t.prompt_id for t in of_ours]
    assert [t.prompt_tok for t in of_theirs] == [t.prompt_tok for t in of_ours]
    for a, b in zip(of_theirs, of_ours, strict=True):
        assert b.text.startswith(a.text.rstrip()), f"{a.prompt_id}: greedy answers of the same weights differ"
        assert b.output_tok == b.max_tok, "our engine pins the output length"
