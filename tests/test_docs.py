"""README and the product say the same: commands, names, exit codes, limits."""

import re
from pathlib import Path

import pytest

from tcabench import errors
from tcabench.load.apis import APIS
from tcabench.metrics import METRICS
from tcabench.policy import BUILTIN
from tcabench.power import METERS
from tcabench.verify.trust import SCHEMA
from tcabench.verify.verification import Standing
from tcabench.workload import load_workload, workload_names

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("name", [*METRICS.builtin, *METERS.builtin, *BUILTIN, *workload_names()])
def test_every_name_has_its_line(name: str) -> None:
    assert f"`{name}`" in README


@pytest.mark.parametrize("name", [*APIS.builtin])
def test_apis_are_named_in_the_help(name: str) -> None:
    assert name in (ROOT / "tcabench/cli/options.py").read_text()


@pytest.mark.parametrize("word", [*Standing])
def test_every_word_of_verify_is_explained(word: Standing) -> None:
    assert f"**{word.value}**" in README


def test_every_exit_code_is_explained() -> None:
    codes = {e.exit_code for e in vars(errors).values() if isinstance(e, type) and hasattr(e, "exit_code")}
    for code in codes | {0, 1, 3, 6}:
        assert f"\n| {code} |" in README, code


def test_the_output_length_of_each_workload_is_told_right() -> None:
    for name in workload_names():
        told = re.search(rf"\| `{name}` \|.*\| (up to )?(\d+) \|", README)
        assert told, name
        lengths = {prompt.max_tok for prompt in load_workload(name).prompts}
        assert max(lengths) == int(told[2])
        assert (len(lengths) > 1) == bool(told[1])


def test_entry_point_groups_are_named() -> None:
    for group in re.findall(
        r'"(tcabench\.[a-z]+)",\n', "".join(p.read_text() for p in (ROOT / "tcabench").rglob("*.py"))
    ):
        assert f"`{group}`" in README, group


def test_the_trust_file_shown_is_of_this_schema() -> None:
    assert f'"schema": "{SCHEMA}"' in README


def test_commands_in_the_readme_exist() -> None:
    text = (ROOT / "tcabench/cli/app.py").read_text()
    shown = "".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL))
    for command in set(re.findall(r"^tcabench ([a-z]+)", shown, re.MULTILINE)):
        assert f'"{command}"' in text, command


def test_the_project_speaks_of_itself_alone() -> None:
    """No path of the machine that it was written on, in anything that is shipped."""
    for path in [
        *ROOT.glob("*.md"),
        *(p for d in ("tcabench", "reference_engine", "reports") for p in (ROOT / d).rglob("*")),
    ]:
        if path.is_file() and path.suffix in (".md", ".py", ".yaml", ".html", ".css"):
            assert not re.search(r"/(root|home)/", path.read_text()), path
