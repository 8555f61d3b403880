"""Bad workload folders: each ends in one UsageError that names the file and the field."""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from tcabench.errors import UsageError
from tcabench.records import Message
from tcabench.workload import load_workload
from tcabench.workload.reindex import restate

SPEC = """
name: mine
version: 3
title: Mine
license: CC0-1.0
prompts: {{file: prompts.jsonl, sha256: "{sha256}"}}
output: {{tokens: 20, pinned: false}}
temperature: 0
arrivals:
  poisson: {{rate_per_s: 2.5, concurrency: 4}}
window: {{idle_s: 0, warmup_s: 1, measure_s: 2.5, drain_s: 3}}
"""
PROMPTS = (
    '{"id": "a", "messages": [{"role": "user", "content": "Hi"}], "max_tok": 7}\n'
    '{"id": "b", "messages": [{"role": "system", "content": "Brief!"}, '
    '{"role": "user", "content": "Ho"}], "answer": "3"}\n'
)
Change = Callable[[str], str]


def write(folder: Path, spec: Change = str, prompts: Change = str) -> str:
    """A folder with both files, changed; the stated sha256 is right. Returns its path with a slash in it."""
    data = prompts(PROMPTS).encode("utf-8", "surrogatepass")
    (folder / "prompts.jsonl").write_bytes(data)
    (folder / "workload.yaml").write_text(spec(SPEC.format(sha256=sha256(data).hexdigest())), "utf-8")
    return str(folder)


def swap(old: str, new: str) -> Change:
    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new)

    return change


def test_a_good_folder_loads(tmp_path: Path) -> None:
    workload = load_workload(write(tmp_path))
    assert (workload.name, workload.version, workload.pin_output) == ("mine", 3, False)
    assert (workload.arrivals.kind, workload.arrivals.rate_per_s, workload.arrivals.concurrency) == ("poisson", 2.5, 4)
    first, second = workload.prompts
    assert (first.max_tok, first.answer) == (7, None)
    assert (second.max_tok, second.answer) == (20, "3")
    assert second.messages == (Message("system", "Brief!"), Message("user", "Ho"))


def test_the_digest_follows_every_byte(tmp_path: Path) -> None:
    one = load_workload(write(tmp_path)).digest
    assert load_workload(write(tmp_path)).digest == one
    assert load_workload(write(tmp_path, prompts=swap("Ho", "Hu"))).digest != one
    assert load_workload(write(tmp_path, spec=swap("title: Mine", "title: Mine "))).digest != one


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("license: CC0-1.0\n", "", "license: Field required"),
        ("license:", "licence:", "licence: unknown key; did you mean 'license'?"),
        ("tokens: 20", "tokenz: 20", "output.tokenz: unknown key; did you mean 'tokens'?"),
        ("tokens: 20", "tokens: 0", "output.tokens: .*greater than or equal to 1"),
        ("tokens: 20", 'tokens: "20"', r"output.tokens: .*valid integer \(got '20'\)"),
        ("tokens: 20", "tokens: true", "output.tokens: .*valid integer"),
        ("pinned: false", "pinned: maybe", "output.pinned: .*valid boolean"),
        ("version: 3", "version: 3.0", "version: .*valid integer"),
        ("temperature: 0", "temperature: .nan", "temperature: .*finite number"),
        ("temperature: 0", "temperature: -1", "temperature: .*greater than or equal to 0"),
        ("name: mine", "name: My Own", "name: .*pattern"),
        ("measure_s: 2.5", "measure_s: 0", "window.measure_s: .*greater than 0"),
        ("measure_s: 2.5, ", "", "window.measure_s: Field required"),
        ("poisson: {rate_per_s: 2.5, concurrency: 4}", "{}", "arrivals: give exactly one of closed, constant, poisson"),
        ("  poisson:", "  closed: {concurrency: 2}\n  poisson:", "arrivals: give exactly one of"),
        ("poisson: {rate_per_s: 2.5, concurrency: 4}", "closed: {}", "arrivals.closed.concurrency: Field required"),
        ("rate_per_s: 2.5", "rate_per_s: 0", "arrivals.poisson.rate_per_s: .*greater than 0"),
        ("rate_per_s: 2.5", "rate_per_s: .inf", "arrivals.poisson.rate_per_s:"),
        ("poisson:", "bursty:", "arrivals.bursty: unknown key"),
        ("file: prompts.jsonl", "file: ../prompts.jsonl", "prompts.file: .*pattern"),
        ("file: prompts.jsonl", "file: other.jsonl", "other.jsonl: cannot be read: No such file"),
        ("title: Mine", "title: Mine\ntitle: Yours", "key 'title' is given twice"),
        ("title: Mine", "title: &t Mine\nnote: *t", r"aliases \(\*name\) are not allowed"),
        ("title: Mine", "title: [", "not readable as YAML"),
        ("title: Mine", "title: 2024-13-45", "not readable as YAML"),
        ("title: Mine", "title: " + "[" * 5000, "nested too deeply|not readable"),
    ],
)
def test_a_wrong_spec_is_told(tmp_path: Path, old: str, new: str, told: str) -> None:
    with pytest.raises(UsageError, match=told) as caught:
        load_workload(write(tmp_path, spec=swap(old, new)))
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("text", ["", "just words", "- a\n- b", "\x00", "{}", "a: b\n---\nc: d"])
def test_a_file_that_is_no_spec_is_told(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match=r"workload\.yaml"):
        load_workload(write(tmp_path, spec=lambda _: text))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('"id": "a"', '"id": "b"', "line 2: id: 'b' is already on line 1"),
        ('"id": "a"', '"id": "a", "id": "c"', "line 1: not a JSON object: a key is given twice"),
        ('"id": "a", ', "", "line 1: id: Field required"),
        ('"max_tok": 7', '"max_tokens": 7', "line 1: max_tokens: unknown key; did you mean 'max_tok'?"),
        ('"max_tok": 7', '"max_tok": 0', "line 1: max_tok"),
        ('"role": "user", "content": "Hi"', '"role": "human", "content": "Hi"', "line 1: messages.0.role"),
        ('"content": "Hi"', '"content": ""', "line 1: messages.0.content"),
        ('"content": "Hi"', '"content": "\\ud800"', "line 1: messages.0.content"),
        ('[{"role": "user", "content": "Hi"}]', "[]", "line 1: messages"),
        ('"role": "user", "content": "Hi"', '"role": "assistant", "content": "Hi"', "user and assistant take turns"),
        ('"role": "user", "content": "Hi"', '"role": "system", "content": "Hi"', "the last message must be the user's"),
        (
            '"role": "user", "content": "Ho"',
            '"role": "system", "content": "Ho"',
            "system message can only be the first",
        ),
        ('"max_tok": 7}\n', '"max_tok": 7}\n\n', "line 2: not a JSON object"),
        ('{"id": "a"', '["id"', "line 1: not a JSON object"),
    ],
)
def test_a_wrong_prompt_is_told_with_its_line(tmp_path: Path, old: str, new: str, told: str) -> None:
    with pytest.raises(UsageError, match=told) as caught:
        load_workload(write(tmp_path, prompts=swap(old, new)))
    assert "prompts.jsonl" in str(caught.value)


def test_a_grader_and_its_kind_come_through_the_door(tmp_path: Path) -> None:
    good = load_workload(write(tmp_path, prompts=swap('"answer": "3"', '"answer": "3", "grader": "number"')))
    assert [(p.grader, p.kind) for p in good.prompts] == [(None, None), ("number", "number")]
    good = load_workload(write(tmp_path, prompts=swap('"answer"', '"grader": "number", "kind": "sums", "answer"')))
    assert [(p.grader, p.kind) for p in good.prompts] == [(None, None), ("number", "sums")]


@pytest.mark.parametrize(
    ("new", "told"),
    [
        ('"max_tok": 7, "grader": "exact"', "line 1: grader: there is no answer to grade by"),
        ('"max_tok": 7, "kind": "sums"', "line 1: kind: only graded prompts have one"),
        ('"answer": "3", "grader": "vibes"', "line 1: grader"),
    ],
)
def test_a_grader_without_sense_is_told(tmp_path: Path, new: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        load_workload(write(tmp_path, prompts=swap('"max_tok": 7', new)))


def test_no_prompts_at_all_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no prompts in it"):
        load_workload(write(tmp_path, prompts=lambda _: ""))


def test_prompts_changed_behind_the_spec_are_refused_until_restated(tmp_path: Path) -> None:
    path = write(tmp_path)
    (tmp_path / "prompts.jsonl").write_text(PROMPTS.replace("Ho", "He"), "utf-8")
    with pytest.raises(UsageError, match=r"sha256 is .* states .*tcabench\.workload\.reindex") as caught:
        load_workload(path)
    assert caught.value.kind == "workload-changed"
    restate(tmp_path)
    assert load_workload(path).prompts[1].messages[-1].content == "He"


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere/workload\.yaml: cannot be read: No such file"):
        load_workload(str(tmp_path / "nowhere"))


def test_a_folder_given_like_a_name_is_hinted_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    write(tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"For the folder here, write \./mine"):
        load_workload("mine")
    assert load_workload("./mine").name == "mine"
