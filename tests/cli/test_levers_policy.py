"""What a server says of its levers, from its list of models to the verdict of a policy, the page and `verify`."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reference_engine.model.export import export
from tcabench.evidence.pack import open_pack
from tcabench.testing import Script, fake_endpoint
from tests.engine.conftest import make_checkpoint, make_tokenizer

Cli = Callable[..., "subprocess.CompletedProcess[str]"]
SHORT = ("--meter", "estimate", "--idle", 0.5, "--warmup", 0, "--duration", 3, "--drain", 20, "--quiet")
POLICY = """
id: exact-only
version: 1
title: Equivalent levers only
evidence: {min_grade: E0}
levers: equivalent
decision_rule: simple
checks: [{id: errors, metric: error_rate, "<=": 0.5}]
"""
EXACT = {"batching": "equivalent", "certified-head": "equivalent"}


def written(folder: Path, text: str) -> Path:
    file = folder / "policy.yaml"
    file.write_text(text)
    return file


def opened(out: Path) -> tuple[Path, dict[str, Any], str]:
    folder = next(path for path in out.iterdir() if path.is_dir())
    members = open_pack(next(folder.glob("*.tcab")).read_bytes()).members
    page = (folder / "report.html").read_text().partition('id="tca-evidence"')[0]
    return folder, json.loads(members["sut.json"]), page


@pytest.mark.parametrize(
    ("card", "code", "word", "on_page"),
    [
        ({"levers": EXACT}, 0, "PASS", "All are equivalent"),
        ({"levers": EXACT | {"page-budget": "approximate"}}, 3, "FAIL", "At least one lever is approximate"),
        ({}, 6, "INCONCLUSIVE", "The server does not say which savings it makes"),
        ({"levers": "many"}, 6, "INCONCLUSIVE", "The server does not say which savings it makes"),
    ],
)
def test_a_policy_refuses_approximate_levers(
    tcabench: Cli, tmp_path: Path, card: dict[str, Any], code: int, word: str, on_page: str
) -> None:
    policy = written(tmp_path, POLICY)
    with fake_endpoint(Script(gap_s=0.01, card=card)) as server:
        done = tcabench("run", "--endpoint", server.url, "--policy", policy, "--out", tmp_path / "runs", *SHORT)
    assert done.returncode == code, done.stdout + done.stderr
    folder, sut, page = opened(tmp_path / "runs")
    assert sut["server.levers"]["value"] == (card["levers"] if isinstance(card.get("levers"), dict) else None)
    assert on_page in page
    assert ("Approximate: <bdi>page-budget</bdi>" in page) is (word == "FAIL")
    check = tcabench("verify", folder / "report.html", "--policy", policy)
    assert check.returncode == code, check.stdout
    assert f"{word} under your policy exact-only" in " ".join(check.stdout.replace("│", " ").split())


def test_the_engine_s_own_levers_and_answers_hold(tcabench: Cli, tmp_path: Path) -> None:
    """The bundled engine says its levers; the comparison makes the run meet a policy that asks for equal answers."""
    export(make_checkpoint(context_tok=1024), make_tokenizer(), tmp_path / "tiny")
    quality = "\n  - {id: answers, kind: answers, least: identical, min_prompts: 4, reference: dense}\n"
    clauses = '\n  - {id: errors, metric: error_rate, "<=": 0.5}' + quality
    policy = written(tmp_path, POLICY.partition("checks:")[0] + "checks:" + clauses)
    asked = ("--model", tmp_path / "tiny", "--reference", "dense", "--reference-prompts", 4, "--policy", policy)
    done = tcabench("run", *asked, "--out", tmp_path / "runs", *SHORT)
    assert done.returncode == 0, done.stdout + done.stderr
    folder, sut, page = opened(tmp_path / "runs")
    levers = sut["server.levers"]["value"]
    assert levers["batching"] == "equivalent"
    assert "approximate" not in levers.values()
    assert "IDENTICAL against dense on 4 prompts" in page
    assert tcabench("verify", folder / "report.html", "--policy", policy).returncode == 0
    strict = written(folder, POLICY.replace("levers: equivalent", "quality: identical"))
    found = tcabench("verify", folder / "report.html", "--policy", strict)
    assert found.returncode == 6, found.stdout
    assert "the policy asks for 24 prompts" in " ".join(found.stdout.replace("│", " ").split())
