"""Runs that are compared with a reference once their meters are off: real engines of the tiny model, real processes."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reference_engine.model.export import export
from tcabench.evidence.pack import open_pack
from tcabench.testing import Script, fake_endpoint
from tests.engine.conftest import make_checkpoint, make_tokenizer

Cli = Callable[..., "subprocess.CompletedProcess[str]"]
SHORT = ("--meter", "estimate", "--idle", 0.5, "--warmup", 0, "--duration", 3, "--drain", 20, "--concurrency", 3)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model and another of its shape, as folders."""
    home = tmp_path_factory.mktemp("models")
    for name, seed in (("tiny", 0), ("other", 1)):
        export(make_checkpoint(seed=seed, context_tok=1024), make_tokenizer(), home / name)
    return home


def sealed(out: Path) -> tuple[Path, dict[str, bytes]]:
    folder = next(path for path in out.iterdir() if path.is_dir())
    return folder, dict(open_pack(next(folder.glob("*.tcab")).read_bytes()).members)


def measured(tcabench: Cli, out: Path, model: Path, *asked: object) -> tuple[Path, dict[str, bytes], str]:
    """A sealed run that verifies word for word: its folder, its members, what was printed."""
    done = tcabench("run", "--model", model, "--out", out, *SHORT, *asked)
    assert done.returncode in (0, 3, 6), done.stdout + done.stderr
    folder, members = sealed(out)
    check = tcabench("verify", folder / "report.html")
    assert "VALID" in check.stdout, check.stdout
    assert "INVALID" not in check.stdout, check.stdout
    assert "word for word, picture for picture" in " ".join(check.stdout.split()), check.stdout
    return folder, members, done.stdout + done.stderr


def test_the_engine_is_identical_to_float32_and_the_report_says_on_what(
    tcabench: Cli, models: Path, tmp_path: Path
) -> None:
    asked = ("--reference", "dense", "--reference-prompts", 5, "--reference-margin", 0.02)
    folder, members, said = measured(tcabench, tmp_path, models / "tiny", *asked)
    parity, plan = json.loads(members["parity.json"]), json.loads(members["plan.json"])
    assert parity["found"]["verdict"] == "IDENTICAL"
    assert parity["found"]["units"] == str(5 * 64)
    assert parity["found"]["metered"]["same"] == parity["found"]["metered"]["prompts"] != "0"
    planned = {"system": "dense", "prompts": 5, "perplexity_margin": 0.02, "concurrency": 3}
    assert plan["reference"] == planned
    line = "IDENTICAL to float32 dense on 320 tokens of 5 prompts"
    page = (folder / "report.html").read_text().partition('id="tca-evidence"')[0]
    assert f"answers: {line}" in said
    assert line in page
    assert 'data-tca="parity/flip_bound"' in page
    assert "dense: greedy answers: 5 requests" in said
    assert "metered system: scores: 5 requests" in said
    events = [json.loads(row) for row in members["events.jsonl"].splitlines()]
    begun = next(event["t"] for event in events if event["event"] == "comparison_start")
    assert begun > max(event["t"] for event in events if event["event"] == "phase")
    last_reading = max(event["t"] for event in events if event["event"] == "wall_anchor_end")
    assert last_reading < begun  # the sampler had ended


def test_another_model_as_the_reference_is_told_apart(tcabench: Cli, models: Path, tmp_path: Path) -> None:
    tiny = ("--reference", "bundled", "--reference-model", models / "tiny", "--reference-prompts", 12)
    folder, members, _ = measured(tcabench, tmp_path, models / "other", *tiny)
    found = json.loads(members["parity.json"])["found"]
    assert found["verdict"] == "WORSE", found["why"]
    assert found["same"] == "0"
    assert "WORSE than the bundled engine" in (folder / "report.html").read_text()


def test_a_reference_out_of_reach_loses_the_comparison_and_not_the_run(
    tcabench: Cli, models: Path, tmp_path: Path
) -> None:
    folder, members, said = measured(tcabench, tmp_path, models / "tiny", "--reference", "http://127.0.0.1:9/v1")
    parity = json.loads(members["parity.json"])
    assert "out of reach" in parity["why"]
    assert parity["found"] is None
    assert "parity.parquet" not in members
    assert json.loads(members["result.json"])["complete"] is True
    assert "not compared with http://127.0.0.1:9/v1: http://127.0.0.1:9/v1 is out of reach" in " ".join(said.split())
    assert "Planned, but there is no comparison" in (folder / "report.html").read_text()


def test_a_run_without_a_reference_says_that_nothing_was_compared(tcabench: Cli, tmp_path: Path) -> None:
    with fake_endpoint(Script(gap_s=0.01)) as server:
        done = tcabench("run", "--endpoint", server.url, "--out", tmp_path, *SHORT, "--quiet")
    assert "answers: not compared with a reference" in done.stdout
    folder, members = sealed(tmp_path)
    assert "parity.json" not in members
    assert "The answers were not compared with a reference" in (folder / "report.html").read_text()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_comparison_that_is_broken_off_leaves_the_run(
    tcabench: Cli, models: Path, tmp_path: Path, how: signal.Signals
) -> None:
    """Ctrl-C ends the comparison alone; after a kill, what was metered is recovered."""
    with fake_endpoint(Script(hang=True)) as reference:
        command = [
            "run",
            "--model",
            models / "tiny",
            "--out",
            tmp_path,
            *SHORT,
            "--reference",
            reference.url,
            "--quiet",
        ]
        with subprocess.Popen([sys.executable, "-m", "tcabench", *map(str, command)], stdout=subprocess.PIPE) as child:
            deadline = time.monotonic() + 120
            while not _comparing(tmp_path) and time.monotonic() < deadline:
                time.sleep(0.1)
            time.sleep(1.5)  # a kill may lose the last second
            child.send_signal(how)
            child.communicate(timeout=60)
    why = "the user stopped the comparison"
    if how is signal.SIGKILL:
        why = "the run broke off before the answers were compared"
        tcabench("recover", next(path for path in tmp_path.iterdir() if path.is_dir()))
    folder, members = sealed(tmp_path)
    assert json.loads(members["parity.json"])["why"] == why
    assert json.loads(members["result.json"])["complete"] is (how is signal.SIGINT)
    assert why in (folder / "report.html").read_text()


def _comparing(out: Path) -> bool:
    files = [*out.glob("*/evidence/events.jsonl")]
    return bool(files) and "comparison_start" in files[0].read_text()


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (("--reference", "nowhere"), "neither a URL"),
        (("--reference", "ftp://x/v1"), "--reference 'ftp://x/v1' is not"),
        (("--reference", "http://u:p@x/v1"), "--reference-key-env"),
        (("--endpoint", "http://127.0.0.1:9/v1/", "--reference", "http://127.0.0.1:9/v1"), "the metered server itself"),
        (("--reference", "dense", "--reference-key-env", "NOT_SET"), "--reference-key-env NOT_SET"),
        (("--reference", "dense", "--reference-margin", "2"), "reference-margin"),
        (("--reference", "dense", "--reference-prompts", "0"), "reference-prompts"),
    ],
)
def test_what_is_no_reference_is_refused_before_anything_is_measured(
    tcabench: Cli, tmp_path: Path, asked: tuple[Any, ...], says: str
) -> None:
    done = tcabench("run", "--out", tmp_path / "runs", *asked)
    assert done.returncode == 2
    assert says in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()
