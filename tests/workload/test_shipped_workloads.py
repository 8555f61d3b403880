"""The workloads that ship: complete, distinct, pinned, and reproducible."""

import json
import runpy
from dataclasses import replace
from pathlib import Path

import pytest

from tcabench.errors import PluginError, UsageError
from tcabench.workload import load_workload, workload_names
from tcabench.workload.catalogue import read_index, shipped_root
from tcabench.workload.reindex import reindex

NAMES = ("chat", "code", "graded", "long-context", "reasoning", "summarize")
GENERATED = ("graded", "long-context", "reasoning", "summarize")
UNPINNED = ("graded",)  # an answer that is graded must be able to end


def test_the_six_are_there() -> None:
    assert set(NAMES) <= set(workload_names())
    assert set(read_index()) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_each_loads_and_is_pinned(name: str) -> None:
    workload = load_workload(name)
    assert workload.name == name
    assert workload.digest == read_index()[name].sha256
    assert len(workload.prompts) >= 64
    assert workload.license in ("CC0-1.0", "Apache-2.0")
    assert workload.pin_output == (name not in UNPINNED)
    assert workload.temperature == 0
    assert workload.arrivals.kind == "closed"


@pytest.mark.parametrize("name", NAMES)
def test_no_prompt_comes_twice(name: str) -> None:
    prompts = load_workload(name).prompts
    assert len({p.messages for p in prompts}) == len(prompts)
    assert len({p.id for p in prompts}) == len(prompts)


@pytest.mark.parametrize("name", NAMES)
def test_the_readme_says_what_a_reader_needs(name: str) -> None:
    text = (shipped_root() / name / "README.md").read_text("utf-8")
    for part in ("**Stands for**", "**How the prompts were made.**", "**Licence.**", "**Limits.**", "**Versions.**"):
        assert part in text
    assert load_workload(name).license in text


def test_no_prompt_of_one_workload_is_in_another() -> None:
    asked = [p.messages for name in NAMES for p in load_workload(name).prompts]
    assert len(set(asked)) == len(asked)


def test_the_default_workload_takes_two_minutes() -> None:
    chat = load_workload("chat")
    assert {p.max_tok for p in chat.prompts} == {64}
    assert chat.arrivals.concurrency == 8
    window = chat.window
    assert (window.idle_s, window.warmup_s, window.measure_s, window.drain_s) == (5, 10, 75, 30)


@pytest.mark.parametrize("name", GENERATED)
def test_the_generator_writes_the_same_bytes(name: str) -> None:
    folder = shipped_root() / name
    generator = runpy.run_path(str(folder / "generate.py"))
    assert generator["build"]() == (folder / "prompts.jsonl").read_bytes()


@pytest.mark.parametrize("name", ["graded", "long-context", "reasoning"])
def test_every_prompt_with_a_right_answer_states_it(name: str) -> None:
    assert all(p.answer for p in load_workload(name).prompts)


def test_an_answer_of_long_context_stands_in_its_record_exactly_once() -> None:
    for prompt in load_workload("long-context").prompts:
        assert prompt.answer is not None
        assert prompt.messages[-1].content.count(prompt.answer) == 1, prompt.id


def test_lengths_are_what_the_readmes_say() -> None:
    def words(name: str) -> list[int]:
        return [sum(len(m.content.split()) for m in p.messages) for p in load_workload(name).prompts]

    assert 250 <= min(words("summarize")) <= max(words("summarize")) <= 600
    assert 1500 <= min(words("long-context")) <= max(words("long-context")) <= 3000
    # 3 characters a token is worse than any tokenizer does on English: this stays below 6,000 tokens for all
    assert max(len(p.messages[-1].content) for p in load_workload("long-context").prompts) < 3 * 6000


def test_prompt_files_hold_no_leftover_of_a_template() -> None:
    for name in ("long-context", "summarize"):
        for prompt in load_workload(name).prompts:
            assert not set("[]{}|@") & set(prompt.messages[-1].content), prompt.id


def test_an_unknown_name_is_told_what_there_is() -> None:
    with pytest.raises(PluginError, match=r"no workload 'caht'\. Did you mean 'chat'\?.*summarize"):
        load_workload("caht")


def test_a_changed_shipped_workload_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    root = _copy_of_shipped(tmp_path)
    prompts = root / "chat" / "prompts.jsonl"
    prompts.write_bytes(prompts.read_bytes().replace(b"burr grinder", b"burr mill"))
    monkeypatch.setattr("tcabench.workload.catalogue.shipped_root", lambda: root)
    with pytest.raises(UsageError, match=r"prompts\.jsonl: sha256 is .* but workload\.yaml states"):
        load_workload("chat")
    monkeypatch.undo()
    spec = root / "chat" / "workload.yaml"
    index = (root / "index.yaml").read_text("utf-8")
    reindex(root)
    (root / "index.yaml").write_text(index, "utf-8")
    assert load_workload(str(spec.parent)).digest != read_index()["chat"].sha256
    monkeypatch.setattr("tcabench.workload.catalogue.shipped_root", lambda: root)
    with pytest.raises(UsageError, match=r"is not as shipped: version 1, digest .* index\.yaml pins") as caught:
        load_workload("chat")
    assert caught.value.kind == "workload-changed"


def test_reindex_of_an_unchanged_folder_changes_nothing(tmp_path: Path) -> None:
    root = _copy_of_shipped(tmp_path)
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    reindex(root)
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def test_a_path_and_a_name_give_the_same_workload() -> None:
    assert load_workload(str(shipped_root() / "chat")) == load_workload("chat")


def test_missing_shipped_folder_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tcabench.__file__", str(tmp_path / "site" / "tcabench" / "__init__.py"))
    with pytest.raises(UsageError, match=r"are missing .*reinstall tcabench"):
        load_workload("chat")


def test_an_installed_wheel_is_looked_into_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "site" / "tcabench"
    shipped = package / "_shipped" / "workloads"
    shipped.mkdir(parents=True)
    (shipped / "index.yaml").write_text("{}", "utf-8")
    monkeypatch.setattr("tcabench.__file__", str(package / "__init__.py"))
    assert shipped_root() == shipped


def test_a_plugin_brings_a_workload(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A real installed distribution with an entry point, found through importlib.metadata."""
    root = _copy_of_shipped(tmp_path)
    folder = root / "chat"
    (folder / "workload.yaml").write_text((folder / "workload.yaml").read_text("utf-8").replace("chat", "tea"), "utf-8")
    site = tmp_path / "site"
    (site / "teatime-1.dist-info").mkdir(parents=True)
    (site / "teatime-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: teatime\nVersion: 1\n")
    points = "[tcabench.workloads]\ntea = teatime_plugin:FOLDER\nbad = teatime_plugin:NUMBER\n"
    (site / "teatime-1.dist-info" / "entry_points.txt").write_text(points)
    (site / "teatime_plugin.py").write_text(f"FOLDER = {json.dumps(str(folder))}\nNUMBER = 7\n")
    monkeypatch.syspath_prepend(str(site))
    assert replace(load_workload("tea"), digest="") == replace(load_workload(str(folder)), digest="")
    with pytest.raises(PluginError, match=r"workload 'bad' .*gives 7, which is not a folder"):
        load_workload("bad")


def _copy_of_shipped(tmp_path: Path) -> Path:
    root = tmp_path / "workloads"
    for path in shipped_root().rglob("*"):
        if path.suffix in (".yaml", ".jsonl"):
            target = root / path.relative_to(shipped_root())
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return root
