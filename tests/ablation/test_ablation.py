"""The ladder, its sums and its picture, and whole ablations of a tiny model behind real servers."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import psutil
import pytest

from reference_engine import config
from reference_engine.model.export import export
from tcabench.ablation import draw, ladder, leave_one_out, summarise
from tcabench.ablation.ladder import LEVERS, Rung
from tcabench.ablation.measure import Sample
from tcabench.ablation.picture import check_kind
from tcabench.errors import UsageError
from tests.engine.conftest import make_checkpoint, make_tokenizer

Cli = Callable[..., "subprocess.CompletedProcess[str]"]
SHORT = ("--concurrency", 2, "--requests", 4, "--duration", 60, "--warmup", 0, "--idle", 0.2, "--meter", "estimate")
JOURNAL = "runs/*/evidence/journal/requests.jsonl"
RUNGS = (Rung("everything off", ("a", "b")), Rung("+ a", ("b",)), Rung("+ b", ()))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as a Hugging Face folder."""
    return export(make_checkpoint(), make_tokenizer(), tmp_path_factory.mktemp("model") / "tiny")


def sample(tokens_per_s: float, j_per_token: float | None = 1.0) -> Sample:
    return Sample("run", tokens_per_s, 2 / tokens_per_s, j_per_token, "E0", "" if j_per_token else "no meter")


def runs(*rounds: tuple[float, ...]) -> list[tuple[Rung, Sample]]:
    return [(rung, sample(speed)) for speeds in rounds for rung, speed in zip(RUNGS, speeds, strict=True)]


def test_the_ladder_has_every_lever_of_the_engine_once() -> None:
    assert set(LEVERS) == set(config.LEVERS)
    assert len(LEVERS) == len(config.LEVERS)


def test_each_rung_switches_one_lever_on_and_finds_what_it_needs_there() -> None:
    rungs = ladder()
    assert set(rungs[0].without) == set(LEVERS)
    assert rungs[-1].without == ()
    for before, after in pairwise(rungs):
        (lever,) = set(before.without) - set(after.without)
        assert after.name == f"+ {lever}"
        on = config.EngineConfig(without=frozenset(after.without))
        assert on.has(lever), f"{lever} is on and does not work: what it needs comes later"


def test_leaving_one_out_leaves_out_each_in_turn() -> None:
    first, *others = leave_one_out()
    assert first.without == ()
    assert [rung.without for rung in others] == [(lever,) for lever in LEVERS]
    assert others[0].options() == ("--without", LEVERS[0])


def test_factors_are_medians_of_the_rounds_own_ratios() -> None:
    rows = summarise(runs((10, 20, 30), (100, 300, 300), (10, 40, 20))).rows
    speed = [row.cells["tokens_per_s"] for row in rows]
    assert [cell.median for cell in speed] == [10, 40, 30]
    assert (speed[1].least, speed[1].most) == (20, 300)
    assert [cell.over_before for cell in speed] == [1, 3, 1]
    assert [cell.over_first for cell in speed] == [1, 3, 3]
    cpu = rows[1].cells["cpu_s_per_token"]
    assert cpu.over_before == pytest.approx(3), "less is better: a third of the time is three times as good"


def test_energy_that_one_run_lacks_is_nowhere() -> None:
    measured = runs((10, 20, 30))
    measured[1] = (RUNGS[1], sample(20, None))
    summary = summarise(measured)
    assert [figure.field for figure in summary.figures()] == ["tokens_per_s", "cpu_s_per_token"]


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_the_picture_names_every_rung(tmp_path: Path, kind: str) -> None:
    file = tmp_path / f"ladder.{kind}"
    draw(summarise(runs((10, 20, 15), (12, 22, 14))), "Levers", file)
    if kind == "png":
        assert file.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
        return
    words = " ".join(ElementTree.parse(file).getroot().itertext())
    for wanted in ("Levers", "everything off", "+ a", "+ b", "token/s", "CPU s/token", "J/token", "x 1.92", "x 0.69"):
        assert wanted in words
    again = tmp_path / "again.svg"
    draw(summarise(runs((10, 20, 15), (12, 22, 14))), "Levers", again)
    assert again.read_bytes() == file.read_bytes()


def test_a_picture_of_an_unknown_kind_is_refused_before_anything_is_measured(tcabench: Cli, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        check_kind(tmp_path / "nowhere" / "ladder.svg")
    done = tcabench("ablate", "--plot", tmp_path / "ladder.gif", "--out", tmp_path / "runs")
    assert done.returncode == 2
    assert "must end in .svg or .png" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_whole_ladder(tcabench: Cli, tiny: Path, tmp_path: Path) -> None:
    files = ("--plot", tmp_path / "ladder.svg", "--json", tmp_path / "ladder.json")
    done = tcabench("ablate", "--model", tiny, "--rounds", 1, "--out", tmp_path / "runs", *SHORT, *files, timeout=600)
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "ladder.json").read_text())
    assert [rung["rung"] for rung in document["rungs"]] == [rung.name for rung in ladder()]
    assert document["grades"] == ["E0"]
    for rung in document["rungs"]:
        assert rung["rung"] in done.stdout
        (run,) = rung["runs"]
        assert min(run["tokens_per_s"], run["cpu_s_per_token"], run["j_per_token"]) > 0
        report = tmp_path / "runs" / run["run_id"] / "report.html"
        assert " ".join(f"--without {lever}" for lever in rung["without"]) in report.read_text(), "it says what was off"
    assert "E0: energy is an estimate" in done.stdout
    assert f"[{len(ladder())}/{len(ladder())}]" in done.stderr
    assert ElementTree.parse(tmp_path / "ladder.svg").getroot().tag.endswith("svg")


def test_ctrl_c_leaves_nothing_running(tiny: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tcabench", "ablate", "--leave-one-out", "--model", str(tiny), "--warmup", "0"]
    command += ["--out", str(tmp_path / "runs"), "--duration", "60", "--meter", "estimate"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=dict(os.environ)) as process:
        below: list[psutil.Process] = []
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not any(log.stat().st_size for log in tmp_path.glob(JOURNAL)):
            time.sleep(0.1)
        below = psutil.Process(process.pid).children(recursive=True)
        assert below, "the engine runs"
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stderr is not None
        assert "stopped by the user" in process.stderr.read()
    gone, alive = psutil.wait_procs(below, timeout=10)
    assert not alive
    assert len(gone) == len(below)
