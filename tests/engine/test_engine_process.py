"""The server as a process: its one line, its exit, its errors."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reference_engine.__main__ import main
from reference_engine.config import EngineConfig
from reference_engine.model.pull import digest
from tcabench.load.bundled import bundled_engine

REPO = Path(__file__).resolve().parents[2]
ENV = {**os.environ, "PYTHONPATH": str(REPO)}
CHAT: dict[str, Any] = {
    "model": "tiny",
    "messages": [{"role": "user", "content": "hi"}],
    "max_tokens": 450,
    "stream": True,
    "extra_body": {"ignore_eos": True},
}


def test_the_ready_line(tiny_server: Any, tiny_folder: Path) -> None:
    ready = tiny_server.ready
    assert ready == {
        "listening": ready["listening"],
        "model": "tiny",
        "weights": str(tiny_folder),
        "random_weights": False,
        "levers": EngineConfig().levers,
        "device": "cpu",
        "dtype": "float32",
        "kernels": "torch",  # its heads are 8 wide
        "weights_sha256": digest(tiny_folder / "model.safetensors"),
        "tokenizer": str(tiny_folder / "tokenizer.json"),
        "context_tok": 512,
        "pid": tiny_server.process.pid,
    }


def test_sigterm_lets_answers_end(serve: Any, tiny_folder: Path) -> None:
    from openai import OpenAI

    with serve(tiny_folder) as served, OpenAI(base_url=served.url + "/v1", api_key="x", max_retries=0) as client:
        stream = iter(client.chat.completions.create(**CHAT))
        next(stream)
        served.process.send_signal(signal.SIGTERM)
        chunks = list(stream)
        assert chunks[-1].choices[0].finish_reason == "length"
        assert len(chunks) == 450
        assert served.process.wait(30) == 0
        assert served.process.stdout.read() == ""
        assert [line["finish_reason"] for line in served.log_lines()] == ["length"]
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(served.url + "/health")


def test_sigint_ends_too(serve: Any, tiny_folder: Path) -> None:
    with serve(tiny_folder) as served:
        served.process.send_signal(signal.SIGINT)
        assert served.process.wait(30) == 130
        assert "Traceback" not in served.process.stderr.read()


def test_it_ends_with_its_parent(serve: Any, tiny_folder: Path) -> None:
    with serve(tiny_folder, "--exit-with-parent") as served:
        with urllib.request.urlopen(served.url + "/health") as answer:
            assert answer.status == 200
        served.process.stdin.close()
        assert served.process.wait(30) == 0


def test_the_bench_needs_no_key_for_its_own_engine(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REFERENCE_ENGINE_API_KEY", "for others")
    with (
        bundled_engine(["--model", str(tiny_folder)], tmp_path / "log") as ready,
        urllib.request.urlopen(ready["listening"] + "/v1/models", timeout=30) as answer,
    ):
        assert answer.status == 200


def test_without_the_option_a_closed_stdin_changes_nothing(serve: Any, tiny_folder: Path) -> None:
    with serve(tiny_folder) as served:
        served.process.stdin.close()
        time.sleep(0.3)
        with urllib.request.urlopen(served.url + "/health") as answer:
            assert answer.status == 200


def test_a_parent_killed_outright(tiny_folder: Path) -> None:
    """The child holds the reading end of a pipe whose writing end dies with the parent."""
    child = [sys.executable, "-m", "reference_engine", "serve", "--model", str(tiny_folder), "--port", "0"]
    script = (
        "import subprocess, sys, time\n"
        f"p = subprocess.Popen({[*child, '--exit-with-parent']!r}, stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
        "p.stdout.readline(); print(p.pid, flush=True); time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], env=ENV, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    end = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0]:
        assert time.monotonic() < end, "the server outlived its parent"
        time.sleep(0.05)


def run(*options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "reference_engine", "serve", *options]
    return subprocess.run(command, env=ENV, capture_output=True, text=True, timeout=60, check=False)


def taken_port() -> tuple[socket.socket, str]:
    listening = socket.create_server(("127.0.0.1", 0))
    return listening, str(listening.getsockname()[1])


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        (("--model", "/no/such/model"), "model-missing"),
        (("--model", __file__), "model-damaged"),
        (("--max-running", "0"), "config"),
        (("--threads", "0"), "config"),
        (("--host", "no.such.host.invalid"), "address"),
        (("--port", "70000"), "address"),
        (("--request-log", "/no/such/folder/log"), "log"),
        (("--max-requests", "0"), "config"),
        (("--api-key-file", "/no/such/file"), "key"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_code_2(tiny_folder: Path, options: tuple[str, str], kind: str) -> None:
    base = {"--model": str(tiny_folder), "--port": "0"} | dict([options])
    done = run(*(part for option in base.items() for part in option))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error[{kind}]: ")
    assert done.stderr.count("\n") == 1


def test_a_taken_port(tiny_folder: Path) -> None:
    listening, port = taken_port()
    with listening:
        done = run("--model", str(tiny_folder), "--port", port)
    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr


def test_export_and_reload(tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "--model", str(tiny_folder), str(tmp_path / "copy")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'copy'}\n"
    assert digest(tmp_path / "copy" / "model.safetensors") == digest(tiny_folder / "model.safetensors")


def test_the_engine_never_imports_the_bench_nor_torch_before_it_must() -> None:
    code = "import sys, reference_engine.__main__, reference_engine.model.pull; print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], env=ENV, capture_output=True, text=True, check=True)
    assert not {"'torch'", "'tcabench'", "'fastapi'", "'transformers'"} & set(done.stdout.strip("[]\n").split(", "))
    for file in (REPO / "reference_engine").rglob("*.py"):
        assert not re.search(r"^\s*(import|from) tcabench", file.read_text(), re.MULTILINE), file


def test_an_engine_that_breaks_tells_everybody(
    tiny: Any, tiny_tokenizer: Any, engine_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step that raises ends every answer with an error, and the server says so from then on."""
    import asyncio

    from reference_engine.errors import RequestError
    from reference_engine.request import Request, Sampling
    from reference_engine.server.bridge import Bridge
    from reference_engine.text import TextStream

    engine = engine_of(tiny)

    def broken(*_: Any) -> None:
        raise MemoryError("no room for the step")

    async def scene() -> list[str]:
        bridge = Bridge(lambda: engine)
        bridge.attach()
        said = []
        monkeypatch.setattr(engine.model, "forward", broken)
        for name in ("under way", "later"):
            request = Request(name, 1, [1], Sampling(4), TextStream(tiny_tokenizer.decode))
            try:
                async for _ in bridge.ask([request], streams=True):
                    pass
            except RequestError as err:
                said.append(f"{err.status} {err.kind} {err}")
        assert bridge.failure == "MemoryError: no room for the step"
        await bridge.stop()
        return said

    assert asyncio.run(scene()) == ["500 engine_failed the engine stopped: MemoryError: no room for the step"] * 2
