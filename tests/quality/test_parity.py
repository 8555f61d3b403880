"""`tcabench quality` on whole systems: float32 against itself, coarser weights, another model, and servers that cheat.

Each is a real server of the tiny model; the cheats stand before one.
"""

import json
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from reference_engine.model.export import export
from reference_engine.model.load import Checkpoint
from tcabench.load.bundled import bundled_engine
from tests.engine.conftest import make_checkpoint, make_tokenizer

Cli = Callable[..., "subprocess.CompletedProcess[str]"]
Change = Callable[[torch.Tensor], torch.Tensor]


def coarse(weights: torch.Tensor) -> torch.Tensor:
    """Sixteen levels a row."""
    step = weights.abs().amax(-1, keepdim=True) / 7.5
    return (weights / step).round() * step


CHANGES: dict[str, Change] = {"bf16": lambda weights: weights.bfloat16().float(), "int4": coarse}


def changed(checkpoint: Checkpoint, change: Change) -> Checkpoint:
    return replace(checkpoint, tensors={name: change(tensor) for name, tensor in checkpoint.tensors.items()})


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model, the same in coarser numbers, and another of its shape, as folders."""
    home, tiny = tmp_path_factory.mktemp("models"), make_checkpoint(context_tok=1024)
    made = {"float32": tiny, "other": make_checkpoint(seed=1, context_tok=1024)}
    made |= {name: changed(tiny, change) for name, change in CHANGES.items()}
    for name, checkpoint in made.items():
        export(checkpoint, make_tokenizer(), home / name)
    return home


@pytest.fixture
def compare(
    tcabench: Cli, models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., tuple[int, Any, str]]:
    """The exit code, the document and what was printed."""

    def run(*candidate: Any) -> tuple[int, Any, str]:
        file = tmp_path_factory.mktemp("quality") / "found.json"
        done = tcabench(
            "quality", "--reference-model", models / "float32", *candidate, "--prompts", 12, "--max-tokens", 48,
            "--json", file,
        )  # fmt: skip
        return done.returncode, json.loads(file.read_text()) if file.exists() else None, done.stdout + done.stderr

    return run


def test_float32_is_identical_to_float32(compare: Any, models: Path) -> None:
    code, found, said = compare("--candidate-model", models / "float32")
    assert (code, found["verdict"]) == (0, "IDENTICAL"), said
    assert "IDENTICAL" in said
    assert found["agreement"]["units"] == sum(12 * [48])
    assert found["agreement"]["flip_bound"] == pytest.approx(3 / (12 * 48), rel=0.01)
    assert found["likeness"]["logprob_max"] < 1e-4
    assert found["reference"]["without"]
    assert not found["candidate"]["without"]


def test_bf16_weights_are_told_from_float32(compare: Any, models: Path) -> None:
    code, found, said = compare("--candidate-model", models / "bf16")
    assert found["verdict"] in ("EQUIVALENT", "IDENTICAL"), said
    assert code == 0
    assert 1e-4 < found["likeness"]["logprob_max"] < 1
    assert found["likeness"]["kl"]["low95"] > 1e-9


def test_int4_weights_are_told_from_bf16(compare: Any, models: Path) -> None:
    code, found, said = compare("--candidate-model", models / "int4")
    assert (code, found["verdict"]) in ((3, "WORSE"), (6, "INCONCLUSIVE")), said
    assert found["agreement"]["same"] < 12
    assert found["likeness"]["logprob_max"] > 0.05


def test_another_model_behind_the_same_name_is_found(compare: Any, models: Path) -> None:
    code, found, said = compare("--candidate-model", models / "other")
    assert (code, found["verdict"]) == (3, "WORSE"), said
    assert found["agreement"]["same"] == 0
    assert found["likeness"]["same_best"] < 0.5


class Cheating(BaseHTTPRequestHandler):
    """Passes everything on to `server`: answers halved, or kept and given again to whoever asks the same."""

    server_url, halves, keeps = "", False, False
    kept: ClassVar[dict[str, tuple[int, str, bytes]]] = {}

    def do_GET(self) -> None:
        self._say(*self._upstream(None))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        is_answer = self.path.endswith("/chat/completions") and not body.get("stream")
        if is_answer and self.halves:
            body["max_tokens"] //= 2
        key = json.dumps([self.path, body.get("messages"), body.get("logprobs")])
        if not (is_answer and self.keeps):
            return self._say(*self._upstream(body))
        if key not in self.kept:
            self.kept[key] = self._upstream(body)
        return self._say(*self.kept[key])

    def _upstream(self, body: Any) -> tuple[int, str, bytes]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.server_url + self.path, data, {"content-type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.headers["content-type"], answer.read()
        except urllib.error.HTTPError as err:
            with err:
                return err.code, err.headers["content-type"], err.read()

    def _say(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def cheating(model: Path, log: Path, **how: bool) -> Iterator[str]:
    """The URL of a server that cheats with a real one behind it."""
    with bundled_engine(["--model", str(model)], log) as ready:
        handler = type("Handler", (Cheating,), {"server_url": ready["listening"], "kept": {}, **how})
        httpd = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        thread = threading.Thread(target=httpd.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{httpd.server_address[1]}/v1"
        finally:
            httpd.shutdown()
            httpd.server_close()
            thread.join(10)


def test_a_server_that_is_honest_behind_the_proxy_is_identical(compare: Any, models: Path, tmp_path: Path) -> None:
    with cheating(models / "float32", tmp_path / "log") as url:
        code, found, said = compare("--candidate", url)
    assert (code, found["verdict"]) == (0, "IDENTICAL"), said


def test_a_server_that_shortens_answers_is_worse(compare: Any, models: Path, tmp_path: Path) -> None:
    with cheating(models / "float32", tmp_path / "log", halves=True) as url:
        code, found, said = compare("--candidate", url)
    assert (code, found["verdict"]) == (3, "WORSE"), said
    assert "end before the reference's" in said
    assert {parting["fate"] for parting in found["agreement"]["partings"]} == {"ended early"}


def test_a_server_that_answers_from_a_cache_is_found(compare: Any, models: Path, tmp_path: Path) -> None:
    with cheating(models / "float32", tmp_path / "log", keeps=True) as url:
        code, found, said = compare("--candidate", url)
    assert (code, found["verdict"]) == (6, "INCONCLUSIVE"), said
    assert found["cached_prompts"] == 4
    assert "cache" in said


def test_a_reference_that_does_not_answer_is_no_verdict(tcabench: Cli, models: Path, tmp_path: Path) -> None:
    done = tcabench("quality", "--reference", "http://127.0.0.1:9/v1", "--candidate-model", models / "float32")
    assert done.returncode == 4
    assert "out of reach" in done.stderr


@pytest.mark.parametrize("name", ["nowhere", "ftp://x/v1"])
def test_what_is_no_system_is_a_usage_error(tcabench: Cli, name: str) -> None:
    done = tcabench("quality", "--reference", name)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_of_weights_drawn_at_random_nothing_is_said(tcabench: Cli) -> None:
    done = tcabench("quality", "--reference", "bundled", "--reference-model", "random:smollm2-135m")
    assert done.returncode == 2
    assert "drawn at random" in done.stderr
