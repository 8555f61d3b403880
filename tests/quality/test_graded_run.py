"""Whole runs of `graded`: against a server whose answers are known, and against the bundled engine."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tcabench.evidence.pack import open_pack
from tcabench.testing import Script, fake_endpoint
from tests.quality.test_items import ROWS, ideal

Run = Callable[..., "subprocess.CompletedProcess[str]"]
SHORT = ("--workload", "graded", "--idle", "1", "--warmup", "0", "--drain", "20", "--quiet", "--meter", "estimate")
BY_TEXT = {row["messages"][0]["content"]: row for row in ROWS}
WRONG_AT = ("arithmetic", "needle")


def half_wise(body: Mapping[str, Any]) -> str:
    """The right answer, but for two kinds."""
    row = BY_TEXT.get(body["messages"][-1]["content"])
    return "no idea" if row is None or row["kind"] in WRONG_AT else ideal(row)


def members_of(out: Path) -> tuple[Path, dict[str, Any]]:
    folder = next(path for path in out.iterdir() if path.is_dir())
    members = open_pack(next(folder.glob("*.tcab")).read_bytes()).members
    return folder, {name: json.loads(members[f"{name}.json"]) for name in ("quality", "result", "plan")}


def test_known_answers_are_graded_as_they_are(tcabench: Run, tmp_path: Path) -> None:
    with fake_endpoint(Script(says=half_wise, gap_s=0.05)) as server:
        done = tcabench(
            "run", "--endpoint", server.url, "--out", tmp_path, *SHORT, "--duration", "5", "--concurrency", "2"
        )
    assert done.returncode in (0, 3, 6), done.stdout + done.stderr
    folder, found = members_of(tmp_path)
    account = found["quality"]["graded"]
    assert set(account["kinds"]) == {row["kind"] for row in ROWS}
    for kind, counts in account["kinds"].items():
        assert counts["graded"] == counts["answers"] > 0
        assert counts["right"] == (0 if kind in WRONG_AT else counts["answers"]), kind
    assert account["digest"] == found["plan"]["workload"]["digest"]
    assert {row["index"] for row in account["items"]} == set(range(account["overall"]["answers"]))
    values = found["result"]["values"]
    assert 0 < float(values["accuracy"]["low"]) < float(values["accuracy"]["high"]) < 1
    assert values["j_per_correct_answer"]["unit"] == "J/answer"
    assert float(values["j_per_correct_answer"]["value"]) > float(values["j_per_request"]["value"])
    page = (folder / "report.html").read_text()
    assert 'data-tca="values/accuracy/value"' in page
    assert "graded-copy-001" not in page.partition('id="tca-evidence"')[0]
    check = tcabench("verify", folder / "report.html")
    assert "word for word, picture for picture" in " ".join(check.stdout.split()), check.stdout


def test_a_broken_run_is_graded_when_it_is_recovered(tcabench: Run, tmp_path: Path) -> None:
    """`recover` has the folder alone; what was under way when the run was killed counts as wrong."""
    with fake_endpoint(Script(says=half_wise, gap_s=0.05)) as server:
        command = [sys.executable, "-m", "tcabench", "run", "--endpoint", server.url, "--out", str(tmp_path), *SHORT]
        with subprocess.Popen([*command, "--duration", "600"], stdout=subprocess.DEVNULL) as child:
            deadline = time.monotonic() + 60
            while len(server.seen) < 100 and time.monotonic() < deadline:
                time.sleep(0.05)
            time.sleep(1.5)  # a kill may lose the last second
            child.kill()
    folder = next(path for path in tmp_path.iterdir() if path.is_dir())
    done = tcabench("recover", folder)
    assert (folder / "report.html").exists(), done.stdout + done.stderr
    _, found = members_of(tmp_path)
    assert found["result"]["complete"] is False
    rows = found["quality"]["graded"]["items"]
    assert len(rows) >= 50
    for row in rows:
        unanswered = row["why"] == "not answered: cancelled"
        assert row["right"] == (row["kind"] not in WRONG_AT and not unanswered), row


def test_the_bundled_engine_is_graded(tcabench: Run, tmp_path: Path) -> None:
    done = tcabench("run", "--out", tmp_path, *SHORT, "--duration", "10", "--concurrency", "4")
    assert done.returncode in (0, 3, 6), done.stdout + done.stderr
    _, found = members_of(tmp_path)
    overall = found["quality"]["graded"]["overall"]
    assert 0 < overall["right"] < overall["graded"] == overall["answers"]
    assert float(found["result"]["values"]["j_per_correct_answer"]["value"]) > 0
