"""A run whose model's weights were drawn: labelled wherever it is told of, and without a figure of quality."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tcabench import kit
from tcabench.evidence.pack import open_pack

LOAD = ("--idle", "1", "--warmup", "0", "--duration", "3", "--drain", "1", "--concurrency", "1", "--quiet")


def test_the_report_says_so_and_holds_no_quality(
    tcabench: Callable[..., "subprocess.CompletedProcess[str]"], tmp_path: Path
) -> None:
    done = tcabench("run", "--model", "random:smollm2-135m", "--out", tmp_path, *LOAD)
    assert done.returncode in (3, 6), done.stdout + done.stderr  # so short a load, on so slow a model, decides nothing
    folder = next(path for path in tmp_path.iterdir() if path.is_dir())
    members = open_pack(next(folder.glob("*.tcab")).read_bytes()).members
    sut, plan, quality = (json.loads(members[f"{name}.json"]) for name in ("sut", "plan", "quality"))
    assert plan["model"] == "random:smollm2-135m"
    assert plan["model_sha256"] is None
    assert sut["model.weights"]["value"] == "drawn at random"
    assert sut["model.sha256"]["value"] is None
    assert list(quality) == ["none"]
    assert "not_metered" in json.loads(members["result.json"])["values"]["token_count_difference"]
    page = (folder / "report.html").read_text()
    assert "and for no quality of answers" in page
    check = tcabench("verify", folder / "report.html")
    assert "word for word, picture for picture" in " ".join(check.stdout.split()), check.stdout


@pytest.mark.parametrize(("device", "asked"), [("cpu", ["auto:cpu"]), ("cuda:0", ["auto"])])
def test_auto_looks_at_gpus_where_the_engine_runs_on_one(
    monkeypatch: pytest.MonkeyPatch, device: str, asked: list[str]
) -> None:
    seen: list[list[str]] = []

    def opened(names: list[str], apart: bool) -> list[Any]:
        seen.append(list(names))
        return []

    monkeypatch.setattr(kit, "open_meters", opened)
    kit._open_meters(["auto"], "http://127.0.0.1:1/v1", {"device": device}, lambda what, value: None)
    assert seen == [asked]
