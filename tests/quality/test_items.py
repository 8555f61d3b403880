"""The items of `graded`: what ships is what the generator writes, and each can be answered right and wrong."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tcabench.quality.grading import GRADERS, grade
from tcabench.quality.items import KINDS, build, items
from tcabench.workload import load_workload
from tcabench.workload.catalogue import shipped_root

ROWS: list[dict[str, Any]] = [json.loads(line) for line in build().splitlines()]


def ideal(row: Mapping[str, Any]) -> str:
    """An output that is right, made from what the row states."""
    answer = row["answer"]
    if row["grader"] == "fact":
        return str(json.loads(answer)["fact"])
    if row["grader"] != "code":
        return str(answer)
    stated = json.loads(answer)
    table = {repr(arguments): result for arguments, result in stated["cases"]}
    return f"```python\ndef {stated['function']}(*given):\n    return {table!r}[repr(list(given))]\n```"


def test_the_shipped_file_is_what_the_generator_writes() -> None:
    assert build() == (shipped_root() / "graded" / "prompts.jsonl").read_bytes()
    assert build() == build()


def test_there_are_enough_of_every_kind() -> None:
    assert len(ROWS) >= 500
    for kind, (_, count) in KINDS.items():
        mine = [row for row in ROWS if row["kind"] == kind]
        assert len(mine) == count >= 70
        assert [row["id"] for row in mine] == [f"graded-{kind}-{n:03}" for n in range(1, count + 1)]
        assert len({row["messages"][0]["content"] for row in mine}) == count
        assert len({row["answer"] for row in mine}) > count / 4, kind


def test_the_loaded_workload_carries_what_grading_needs() -> None:
    workload = load_workload("graded")
    assert not workload.pin_output
    assert workload.temperature == 0
    assert {p.kind for p in workload.prompts} == set(KINDS)
    assert {p.grader for p in workload.prompts} == set(GRADERS)
    assert [(p.id, p.answer, p.max_tok) for p in workload.prompts] == [
        (row["id"], row["answer"], row["max_tok"]) for row in ROWS
    ]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "code"])
def test_every_item_accepts_its_answer_and_no_other(kind: str) -> None:
    for row in (row for row in ROWS if row["kind"] == kind):
        assert grade(row["grader"], ideal(row), row["answer"]).right is True, row["id"]
        for output in ("", "I do not know.", row["messages"][0]["content"]):
            assert grade(row["grader"], output, row["answer"]).right is False, (row["id"], output)


@pytest.mark.parametrize("row", [row for row in ROWS if row["kind"] == "code"][::5], ids=lambda row: row["id"])
def test_code_items_accept_their_results_and_no_others(row: dict[str, Any]) -> None:
    name = json.loads(row["answer"])["function"]
    assert grade("code", ideal(row), row["answer"]).right is True
    assert grade("code", f"def {name}(given):\n    return given", row["answer"]).right is False


def test_no_case_of_a_code_item_can_be_passed_by_giving_one_result_always() -> None:
    for row in ROWS:
        if row["kind"] == "code":
            assert len({repr(result) for _, result in json.loads(row["answer"])["cases"]}) > 1, row["id"]


def test_answers_of_texts_stand_in_the_text_once() -> None:
    for kind in ("extraction", "needle"):
        for item in items(kind):
            stated = json.loads(item.answer)
            told = item.text.rpartition("\n\n")[0]
            assert [told.count(f" {word}") for word in (stated["fact"], *stated["decoys"])] == [1, 1, 1], item.text
