"""Whatever goes wrong ends in a sentence, its exit code, and evidence that can be sealed as incomplete."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tcabench.testing import FakeEndpoint, Script, fake_endpoint

Cli = Callable[..., "subprocess.CompletedProcess[str]"]
SHORT = ("--idle", "0.2", "--warmup", "0.3", "--duration", "2", "--drain", "3", "--meter", "estimate", "--quiet")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def said(done: "subprocess.CompletedProcess[str]", code: int, kind: str) -> str:
    """What the command printed; it must have ended in `code` with `error[kind]` and without a traceback."""
    text = done.stdout + done.stderr
    assert "Traceback" not in text, text
    assert done.returncode == code, text
    assert f"error[{kind}]: " in done.stderr, text
    return " ".join(text.split())


def run_folder(runs: Path) -> Path:
    folders = [path for path in runs.iterdir() if path.is_dir()]
    assert len(folders) == 1
    return folders[0]


def recovered(tcabench: Cli, runs: Path) -> str:
    """Seal what the run left; the report must say INCOMPLETE and verify as such."""
    folder = run_folder(runs)
    assert "recover" in (done := tcabench("recover", folder)).stdout or done.returncode == 0, done.stderr
    page = (folder / "report.html").read_text()
    assert "INCOMPLETE" in page
    assert not (folder / "evidence").exists()
    check = tcabench("verify", folder / "report.html")
    assert check.returncode == 0, check.stdout + check.stderr
    assert "VALID" in check.stdout
    assert "INCOMPLETE" in check.stdout
    return page


@pytest.mark.parametrize(
    ("script", "arguments", "code", "kind", "says"),
    [
        (Script(key="right"), (), 4, "endpoint-auth", "an API key is needed"),
        (Script(models=("a", "b")), ("--model", "c"), 4, "endpoint-model", "no model 'c'; it lists: a, b"),
        (Script(models=("a", "b")), (), 2, "model-needed", "name the model with --model"),
        (Script(status=500, body="boom"), (), 4, "endpoint-refused", "HTTP 500: boom"),
        (Script(status=429, body="slow down"), (), 4, "endpoint-busy", "HTTP 429: slow down"),
        (Script(status=404, body="gone"), (), 4, "endpoint-model", "HTTP 404: gone"),
        (Script(garble=True), (), 4, "endpoint-protocol", "not JSON"),
        (Script(cut_after=1), (), 4, "endpoint-refused", "broke"),
    ],
    ids=["no-key", "no-model", "which-model", "500", "429", "404", "malformed", "cut"],
)
def test_a_server_that_cannot_be_driven(
    tcabench: Cli, runs: Path, script: Script, arguments: tuple[str, ...], code: int, kind: str, says: str
) -> None:
    with fake_endpoint(script) as server:
        done = tcabench("run", "--endpoint", server.url, "--out", runs, *SHORT, *arguments)
    text = said(done, code, kind)
    assert says in text
    recovered(tcabench, runs)


def test_nothing_listens(tcabench: Cli, runs: Path) -> None:
    with fake_endpoint() as server:
        pass
    text = said(tcabench("run", "--endpoint", server.url, "--out", runs, *SHORT), 4, "endpoint-unreachable")
    assert "Is the server up?" in text
    assert "not measured" not in recovered(tcabench, runs)


def test_a_wrong_key_is_refused_and_written_nowhere(tcabench: Cli, runs: Path) -> None:
    with fake_endpoint(Script(key="right")) as server:
        arguments = ("run", "--endpoint", server.url, "--out", runs, "--api-key-env", "MY_KEY", *SHORT)
        text = said(tcabench(*arguments, env={"MY_KEY": "sk-wrong-987"}), 4, "endpoint-auth")
    assert "the API key was refused" in text
    recovered(tcabench, runs)
    assert "sk-wrong-987" not in text
    assert_absent(b"sk-wrong-987", runs)


def test_the_right_key_works_and_is_written_nowhere(tcabench: Cli, runs: Path) -> None:
    with fake_endpoint(Script(key="sk-right-123")) as server:
        arguments = ("run", "--endpoint", server.url, "--out", runs, "--api-key-env", "MY_KEY", *SHORT)
        done = tcabench(*arguments, env={"MY_KEY": "sk-right-123"})
    assert done.returncode == 6, done.stdout + done.stderr  # too short a window for a verdict
    assert_absent(b"sk-right-123", runs)


def assert_absent(secret: bytes, folder: Path) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if secret in path.read_bytes()]


@pytest.mark.parametrize(
    ("arguments", "kind", "says"),
    [
        (("--endpoint", "localhost:8000"), "endpoint-url", "not an http:// or https:// URL"),
        (("--endpoint", ""), "endpoint-url", "not an http:// or https:// URL"),
        (("--endpoint", "http://[::1/v1"), "endpoint-url", "not an http:// or https:// URL"),
        (("--endpoint", "http://a..b/v1"), "endpoint-url", "not an http:// or https:// URL"),
        (("--endpoint", "http://h:99999/v1"), "endpoint-url", "not an http:// or https:// URL"),
        (("--tokenizer", __file__), "tokenizer", "is not a tokenizer.json"),
        (("--endpoint", "http://u:secret@h/v1"), "endpoint-url", "must not carry a user"),
        (("--workload", "chta"), "plugin", "Did you mean 'chat'?"),
        (("--policy", "letter-15"), "usage", "Did you mean 'letter-15k'?"),
        (("--api-key-env", "NOT_SET_ANYWHERE"), "api-key", "is not set"),
        (("--boundary", "moon"), "usage", "boundary"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_starts(
    tcabench: Cli, runs: Path, arguments: tuple[str, ...], kind: str, says: str
) -> None:
    assert says in said(tcabench("run", "--out", runs, *arguments), 2, kind)
    assert not runs.exists()


@pytest.mark.parametrize(
    ("meter", "code", "kind"), [("nvml", 4, "nvml-unavailable"), ("nmvl", 2, "plugin"), ("estimate:idle=x", 2, "usage")]
)
def test_a_meter_that_cannot_be_read(tcabench: Cli, runs: Path, meter: str, code: int, kind: str) -> None:
    with fake_endpoint() as server:
        done = tcabench("run", "--endpoint", server.url, "--out", runs, "--quiet", "--meter", meter)
    if kind != "usage":
        said(done, code, kind)
    assert done.returncode == code
    recovered(tcabench, runs)


def test_refusals_in_mid_run_are_counted_and_fail_the_run(tcabench: Cli, runs: Path) -> None:
    with fake_endpoint(Script(status=503, body="overloaded", status_after=3, gap_s=0.02)) as server:
        done = tcabench("run", "--endpoint", server.url, "--out", runs, *SHORT)
    text = done.stdout + done.stderr
    assert "Traceback" not in text
    assert done.returncode in (3, 4, 6), text
    assert "HTTP 503: overloaded" in (run_folder(runs) / "report.html").read_text()


@pytest.fixture
def under_way(runs: Path) -> Iterator[tuple["subprocess.Popen[str]", FakeEndpoint]]:
    """A long run in a process of its own, past its first answers."""
    with fake_endpoint(Script(gap_s=0.02)) as server:
        command = [sys.executable, "-m", "tcabench", "run", "--endpoint", server.url, "--out", str(runs), "--quiet"]
        command += ["--idle", "0.2", "--warmup", "0.5", "--duration", "600", "--meter", "estimate"]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)
        deadline = time.monotonic() + 60
        while len(server.seen) < 12 and time.monotonic() < deadline and child.poll() is None:
            time.sleep(0.05)
        time.sleep(1.5)
        yield child, server
        if child.poll() is None:
            child.kill()
        child.communicate()


def test_ctrl_c(tcabench: Cli, runs: Path, under_way: tuple["subprocess.Popen[str]", FakeEndpoint]) -> None:
    child, _ = under_way
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 130, out + err
    assert "error[interrupted]: stopped by the user" in err
    assert "Traceback" not in out + err
    assert "tokens" in recovered(tcabench, runs)


def test_kill_9_loses_at_most_a_second(
    tcabench: Cli, runs: Path, under_way: tuple["subprocess.Popen[str]", FakeEndpoint]
) -> None:
    child, _ = under_way
    killed_ns = time.monotonic_ns()
    child.kill()
    child.communicate(timeout=60)
    lines = (run_folder(runs) / "evidence/journal/requests.jsonl").read_text().splitlines()
    last_ns = max(int(line.split('"t":')[1].split(",")[0].rstrip("}")) for line in lines[:-1])
    assert killed_ns - last_ns < 1_000_000_000
    recovered(tcabench, runs)


def test_a_disk_that_is_full(tcabench: Cli, runs: Path) -> None:
    """The kernel refuses to let files grow past 40 kB: the journal meets what a full disk gives it."""
    limit = "import resource,signal,sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000)); sys.argv[0] = 'tcabench'; "
    limit += "from tcabench.cli.app import main; main()"
    with fake_endpoint(Script(gap_s=0.002)) as server:
        command = [sys.executable, "-c", limit, "run", "--endpoint", server.url, "--out", str(runs), "--quiet"]
        command += ["--idle", "0.1", "--warmup", "0.1", "--duration", "60", "--meter", "estimate"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    said(done, 4, "disk-full")
    recovered(tcabench, runs)


def test_a_run_under_way_is_not_recovered_from_under_it(
    tcabench: Cli, runs: Path, under_way: tuple["subprocess.Popen[str]", FakeEndpoint]
) -> None:
    child, _ = under_way
    said(tcabench("recover", run_folder(runs)), 4, "still-running")
    child.send_signal(signal.SIGTERM)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130, err
    recovered(tcabench, runs)


def test_a_reader_that_goes_away_does_not_end_the_run(runs: Path) -> None:
    """As in `tcabench run 2>&1 | head -1`: the verdict's exit code and the report stand."""
    with fake_endpoint() as server:
        command = [sys.executable, "-m", "tcabench", "run", "--endpoint", server.url, "--out", str(runs), *SHORT[:-1]]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=os.environ)
        assert child.stdout
        child.stdout.readline()
        child.stdout.close()
        assert child.wait(60) == 6  # too short a window for a verdict
    assert (run_folder(runs) / "report.html").exists()


def test_a_boundary_that_no_meter_sees_is_refused_before_the_load(tcabench: Cli, runs: Path) -> None:
    with fake_endpoint() as server:
        done = tcabench("run", "--endpoint", server.url, "--out", runs, "--boundary", "rack", *SHORT)
    assert "the meters stand at chip" in said(done, 2, "boundary")
    assert len(server.seen) == 1, "only the one request that asks whether the server works"


def test_a_key_quoted_across_the_place_where_its_message_is_cut_stays_out(tcabench: Cli, runs: Path) -> None:
    key = "sk-secret-0123456789"
    with fake_endpoint(Script(status=400, body="x" * 490 + key)) as server:
        arguments = ("run", "--endpoint", server.url, "--out", runs, "--api-key-env", "MY_KEY", *SHORT)
        text = said(tcabench(*arguments, env={"MY_KEY": key}), 4, "endpoint-refused")
    assert "sk-secret" not in text
    assert_absent(b"sk-secret", runs)


def test_recover_needs_something_to_recover(tcabench: Cli, tmp_path: Path) -> None:
    said(tcabench("recover", tmp_path), 4, "no-journal")
