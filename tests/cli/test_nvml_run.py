"""A whole run metered through the real NVML binding, against a stand-in driver whose power is known."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tcabench.evidence.pack import open_pack
from tcabench.testing import Script, fake_endpoint

sys.path.insert(0, str(Path(__file__).parents[1] / "nvml"))
from standin import build, environment

MEAN_W = 200.0


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("nvml"))


def run(tcabench: Callable[..., "subprocess.CompletedProcess[str]"], out: Path, env: dict[str, str]) -> Path:
    """A run of 31 s, which E2 asks for; the folder it leaves."""
    with fake_endpoint(Script(gap_s=0.01)) as server:
        done = tcabench(
            "run", "--endpoint", server.url, "--out", out, "--idle", "2", "--warmup", "1", "--duration", "31",
            "--policy", "letter-15k", "--concurrency", "24", "--quiet", env=env,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASS" in done.stdout
    return next(path for path in out.iterdir() if path.is_dir())


def test_energy_from_the_counter_reaches_grade_e2(
    tcabench: Callable[..., "subprocess.CompletedProcess[str]"], tmp_path: Path, driver: Path
) -> None:
    scene = environment(driver, gpus=1, low_w=MEAN_W - 100, high_w=MEAN_W + 100, period_s=0.5)
    folder = run(tcabench, tmp_path / "runs", scene)
    members = open_pack(next(folder.glob("*.tcab")).read_bytes()).members
    result = json.loads(members["result.json"])
    assert result["grade"] == "E2", result["grade_why"]
    assert result["overall"] == "PASS"
    mean = result["values"]["power_mean"]
    assert float(mean["low"]) < MEAN_W < float(mean["high"])
    assert float(mean["value"]) == pytest.approx(MEAN_W, rel=0.01)
    tokens, joules = (float(result["values"][n]["value"]) for n in ("output_tokens", "j_per_output_token"))
    assert tokens * joules == pytest.approx(31 * MEAN_W, rel=0.01)
    assert [d["method"] for d in result["energy"]["domains"]] == ["counter"]
    sut = json.loads(members["sut.json"])
    assert any("driver" in name for name in sut)
    check = tcabench("verify", folder / "report.html", "--policy", "letter-15k")
    assert check.returncode == 0, check.stdout
    assert "word for word, picture for picture" in " ".join(check.stdout.split())
