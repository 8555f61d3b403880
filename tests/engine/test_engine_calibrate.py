"""Thresholds learnt from a model's own answers: what the allocation does, what the file holds, and who refuses it."""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from reference_engine.__main__ import _gate_thresholds, main
from reference_engine.config import Budget, EngineConfig
from reference_engine.errors import EngineError
from reference_engine.model.export import export
from reference_engine.model.layers import Layer
from reference_engine.model.load import Checkpoint, load
from reference_engine.model.opened import open_model
from reference_engine.model.pull import DEFAULT
from reference_engine.sparse.calibrate import DEEPEST, SPARSITIES, Recorder, allocated, calibrate, calibrated_file
from reference_engine.sparse.sparsity_file import SparsityFile, read, thresholds_for, write
from tests.engine.test_engine_native import SHAPE

TOKENS = 700


@pytest.fixture(scope="module")
def folder(checkpoint_of: Any, tiny_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(checkpoint_of(**SHAPE | {"vocab": 257}), tiny_tokenizer, tmp_path_factory.mktemp("calibrate"))


@pytest.fixture(scope="module")
def made(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SparsityFile]:
    file = tmp_path_factory.mktemp("thresholds") / "made.json"
    assert main(["calibrate", "--model", str(folder), "--out", str(file), "--tokens", str(TOKENS)]) == 0
    return file, read(file)


def test_the_layer_whose_error_grows_least_is_cut_first() -> None:
    flat, steep = [0.0, 0.1, 0.2, 0.3, 0.9], [0.0, 0.25, 0.35, 0.4, 1.0]
    assert allocated([flat, steep], 0.05) == [2, 0]
    assert allocated([flat, steep], 0.1) == [3, 1]
    assert allocated([flat, flat], 0.05) == [2, 0]  # of equals the first
    assert allocated([[0.0, 0.1], steep], 0.1) == [1, 3]  # no deeper than there are cuts


def test_every_level_leaves_out_about_what_was_asked_for(made: tuple[Path, SparsityFile]) -> None:
    found = made[1]
    assert [level.sparsity for level in found.levels] == list(SPARSITIES)
    assert found.calibration.tokens == TOKENS
    for level in found.levels:
        assert level.expected == pytest.approx(level.sparsity, abs=0.01)
        assert level.measured == pytest.approx(level.sparsity, abs=0.08)
        assert all(threshold == float(f"{threshold:.6g}") for threshold in level.thresholds)
    for layer in zip(*(level.thresholds for level in found.levels), strict=True):
        assert list(layer) == sorted(layer)
        assert layer[0] < layer[-1]


def test_it_is_the_same_another_time(folder: Path, made: tuple[Path, SparsityFile], tmp_path: Path) -> None:
    again = calibrated_file(folder, tmp_path / "again.json", TOKENS)
    assert again.read_bytes() == made[0].read_bytes()


class Watched(Recorder):
    """Keeps what comes out of its last block."""

    def _mlp(self, layer: Layer, threshold: float, x: torch.Tensor) -> torch.Tensor:
        out = super()._mlp(layer, threshold, x)
        self.block = x + out
        return out


def test_errors_are_those_of_the_blocks_output(checkpoint_of: Any) -> None:
    """By torch's own masked arithmetic, on one text; cutting nothing costs nothing."""
    checkpoint, text = checkpoint_of(**SHAPE | {"layers": 1}), list(range(1, 40))

    def copy() -> Checkpoint:
        return replace(checkpoint, tensors=dict(checkpoint.tensors))

    curve = Recorder(copy(), EngineConfig(kv_tok=64)).curves([text])[0]
    assert curve.errors[0] == 0.0
    assert list(curve.errors) == sorted(curve.errors)
    assert len(curve.errors) == DEEPEST + 1
    assert curve.shares[10] == pytest.approx(0.5, abs=1e-3)
    blocks = []
    for cut in (0.0, curve.thresholds[10]):
        model = Watched(copy(), EngineConfig(kv_tok=64))
        model.closed([text], (cut,))
        blocks.append(model.block.double())
    wanted = float((blocks[0] - blocks[1]).square().sum() / blocks[0].square().sum())
    assert curve.errors[10] == pytest.approx(wanted, rel=1e-3)


def test_serving_with_a_level_cuts_as_the_file_says(
    folder: Path, made: tuple[Path, SparsityFile], capsys: pytest.CaptureFixture[str]
) -> None:
    level = made[1].level(0.5)
    config = EngineConfig(kv_tok=256, budget=Budget(gate=level.thresholds))
    assert config.levers["gate-thresholds"] == "approximate"
    open_model(folder, config, torch.device("cpu"))
    assert capsys.readouterr().err == ""
    open_model(folder, config, torch.device("cpu"), kernels="torch")
    assert "same cost" in capsys.readouterr().err


def test_levels_that_no_step_gains_from_say_so(
    folder: Path, made: tuple[Path, SparsityFile], capsys: pytest.CaptureFixture[str]
) -> None:
    for sparsity, told in ((0.05, "note: with "), (0.1, "no step is faster"), (0.25, ""), (0.7, "")):
        args = argparse.Namespace(gate_sparsity=sparsity, sparsity_file=made[0])
        assert _gate_thresholds(args, folder) == made[1].level(sparsity).thresholds
        found = capsys.readouterr().err
        assert told in found
        assert bool(told) == bool(found)


def test_a_served_level_changes_answers_and_says_what_it_left_out(
    serve: Any, folder: Path, made: tuple[Path, SparsityFile]
) -> None:
    import urllib.request

    def answer(*options: str) -> dict[str, Any]:
        with serve(folder, *options) as served:
            body = {"model": "m", "prompt": "hello there", "max_tokens": 24, "ignore_eos": True}
            request = urllib.request.Request(
                served.url + "/v1/completions",
                json.dumps(body | {"model": served.ready["model"]}).encode(),
                {"content-type": "application/json"},
            )
            with urllib.request.urlopen(request) as response:
                return dict(json.load(response))

    plain, cut = answer(), answer("--gate-sparsity", "0.7", "--sparsity-file", str(made[0]))
    assert plain["choices"][0]["text"] != cut["choices"][0]["text"]
    assert "gate-thresholds" in json.dumps(cut["usage"])
    assert "gate-thresholds" not in json.dumps(plain["usage"])


BAD: dict[str, tuple[Any, str]] = {
    "not there": (None, "cannot be read"),
    "no JSON": ("{", "is not JSON"),
    "no object": ("[1]", "not in the format"),
    "another version": ({"format": "reference_engine gate sparsity 2"}, "not in the format"),
    "changed": ({"layers": 3}, "does not have the digest"),
    "no levels": ({"levels": None, "sha256": "right"}, "does not read"),
    "layers without end": ({"layers": float("inf"), "levels": [], "sha256": "right"}, "does not read"),
    "a threshold too few": ({"layers": 3, "sha256": "right"}, "2 thresholds for 3 layers"),
    "other weights": ({"weights_sha256": "f" * 64, "sha256": "right"}, "is for weights ffffffffffff, not "),
}


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=BAD)
def test_a_bad_file_is_refused(
    made: tuple[Path, SparsityFile], folder: Path, tmp_path: Path, change: Any, message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    from reference_engine.sparse import sparsity_file

    file = tmp_path / "bad.json"
    if isinstance(change, str):
        file.write_text(change)
    elif change is not None:
        fields = json.loads(made[0].read_text()) | change
        if change.get("sha256") == "right":
            fields["sha256"] = sparsity_file._digest({key: fields[key] for key in fields if key != "sha256"})
        file.write_text(json.dumps(fields))
    asked = ["serve", "--model", str(folder), "--gate-sparsity", "0.5", "--sparsity-file", str(file), "--port", "0"]
    assert main(asked) == 2
    assert message in (told := capsys.readouterr().err)
    assert told.startswith("error[sparsity-file]: ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--gate-sparsity", "0.3"), "--gate-sparsity 0.3: there are thresholds for 0.05, 0.1, 0.25, 0.4, 0.5, 0.7"),
        (("--gate-sparsity", "nan"), "there are thresholds for"),
        ((), "--sparsity-file goes with --gate-sparsity"),
    ],
)  # fmt: skip
def test_bad_options_are_refused(
    made: tuple[Path, SparsityFile], folder: Path, options: tuple[str, ...], message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert main(["serve", "--model", str(folder), "--sparsity-file", str(made[0]), *options]) == 2
    assert message in capsys.readouterr().err


def test_a_share_of_nothing_is_the_dense_step(folder: Path) -> None:
    from argparse import Namespace

    from reference_engine.__main__ import _gate_thresholds

    assert _gate_thresholds(Namespace(gate_sparsity=0.0, sparsity_file=None), folder) == ()


def test_weights_that_nothing_is_shipped_for_ask_for_a_calibration(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--model", str(folder), "--gate-sparsity", "0.5"]) == 2
    assert "no thresholds are shipped for these weights" in capsys.readouterr().err
    for model in ("random:smollm2-135m", str(tmp_path / "nothing")):
        assert main(["calibrate", "--model", model, "--out", str(tmp_path / "x.json")]) == 2
    for out, tokens in ((tmp_path / "no" / "x.json", "700"), (tmp_path / "x.json", "0"), (tmp_path / "x.json", "9")):
        assert main(["calibrate", "--model", str(folder), "--out", str(out), "--tokens", tokens]) == 2
    told = capsys.readouterr().err
    for message in ("nothing to learn", "model-missing", "folder is missing", "at least 1", "too few tokens"):
        assert message in told
    assert list(tmp_path.iterdir()) == []


def test_a_relu_model_counts_its_zeros(checkpoint_of: Any) -> None:
    """Half of its neurons are closed anyway: levels below that need no threshold and leave out the half."""
    checkpoint = checkpoint_of(**SHAPE, activation="relu")
    texts = [[(i * step) % 200 for i in range(60)] for step in (1, 3, 7, 11)]
    found = calibrate(checkpoint, texts, lambda _: None)
    assert max(found.level(0.25).thresholds) == 0.0
    assert 0.3 < found.level(0.25).expected < 0.7
    assert found.level(0.7).expected >= 0.7 - 0.01


def test_thresholds_for_the_default_model_are_shipped() -> None:
    found = thresholds_for(DEFAULT.gguf_sha256)
    assert [level.sparsity for level in found.levels] == list(SPARSITIES)
    for level in found.levels:
        assert len(level.thresholds) == 30
        assert abs(level.measured - level.sparsity) < 0.02


def test_what_is_written_is_what_is_read(made: tuple[Path, SparsityFile], tmp_path: Path) -> None:
    other = replace(made[1], weights_sha256="1" * 64)
    write(other, tmp_path / "other.json")
    assert read(tmp_path / "other.json") == other
    with pytest.raises(EngineError, match="cannot be written"):
        write(other, tmp_path / "no" / "other.json")


def test_the_bench_has_it_too(folder: Path, made: tuple[Path, SparsityFile], tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from tcabench.cli.app import app

    out = tmp_path / "bench.json"
    done = CliRunner().invoke(
        app, ["sparsity", "calibrate", "--model", str(folder), "--out", str(out), "--tokens", str(TOKENS)]
    )
    assert done.exit_code == 0, done.output
    assert out.read_bytes() == made[0].read_bytes()
    assert load(folder).sha256 == read(out).weights_sha256
