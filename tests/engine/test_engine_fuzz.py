"""A fuzzer holds the server to its own OpenAPI document: its answers, its refusals, its key."""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

KEY = "sk-fuzzed"
# What fits the schema may still be refused (a prompt longer than the context, two limits that differ); the reverse may
# never be accepted.
LEFT_OUT = "positive_data_acceptance"


def fuzz(url: str, folder: Path, *options: str) -> str:
    """schemathesis' report. raises: AssertionError with it when something was found."""
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{url}/openapi.json", "--seed", "1"]
    command += ["--checks", "all", "--exclude-checks", LEFT_OUT, "--request-timeout", "60", "--no-color"]
    done = subprocess.run([*command, *options], cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_server_is_as_its_document_says(serve: Any, tiny_folder: Path, tmp_path: Path) -> None:
    with serve(tiny_folder) as served:
        har = tmp_path / "run.har"
        limits = ("--phases", "coverage,fuzzing", "--max-time", "45", "--max-examples", "60")
        fuzz(served.url, tmp_path, *limits, "--continue-on-failure", "--report", "har", "--report-har-path", str(har))
        statuses = [entry["response"]["status"] for entry in json.loads(har.read_text())["log"]["entries"]]
        assert statuses.count(200) > 50  # or it would have tried refusals only
        assert statuses.count(400) > 50
        assert max(statuses) < 500
        served.process.terminate()
        assert "Traceback" not in served.process.stderr.read()


def test_every_path_asks_for_the_key_but_health(
    serve: Any, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REFERENCE_ENGINE_API_KEY", KEY)
    with serve(tiny_folder) as served:
        header = f"Authorization: Bearer {KEY}"
        fuzz(served.url, tmp_path, "--phases", "coverage", "--max-time", "15", "-H", header)
        request = urllib.request.Request(f"{served.url}/openapi.json", headers={"Authorization": f"Bearer {KEY}"})
        with urllib.request.urlopen(request) as answer:
            paths = json.load(answer)["paths"]
    locked = {path for path, methods in paths.items() if all("security" in method for method in methods.values())}
    assert paths.keys() - locked == {"/health"}
