"""The command line answers at once: nothing heavy is imported before it is used."""

import subprocess
import sys
from collections.abc import Callable

from tcabench import __version__

HEAVY = ("torch", "transformers", "pandas", "matplotlib", "jinja2", "pyarrow", "aiohttp", "pynvml", "pydantic", "numpy",
         "cryptography", "tokenizers", "yaml", "asyncio")  # fmt: skip
Cli = Callable[..., "subprocess.CompletedProcess[str]"]


def test_help_lists_the_commands_and_the_exit_codes(tcabench: Cli) -> None:
    done = tcabench("--help")
    assert done.returncode == 0
    words = " ".join(done.stdout.replace("│", " ").split())
    for command in ("run", "verify", "recover", "serve", "model"):
        assert command in words
    assert "4 could not measure" in words


def test_nothing_heavy_is_imported_for_help() -> None:
    code = f"import sys, tcabench.cli.app; print([n for n in {HEAVY!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    code = "import sys, tcabench.cli.app; print(*(n for n in sys.modules if n.startswith('tcabench.')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    inside = [name for name in done.stdout.split() if name.count(".") > 1]
    assert inside
    assert all(name.startswith("tcabench.cli.") for name in inside), inside


def test_serve_hands_everything_to_the_engine(tcabench: Cli) -> None:
    done = tcabench("serve", "--help")
    assert done.returncode == 0
    assert "--request-log" in done.stdout
    wrong = tcabench("serve", "--model", "/nowhere/model.gguf")
    assert wrong.returncode == 2
    assert "Traceback" not in wrong.stderr
    assert "/nowhere/model.gguf" in wrong.stderr


def test_version(tcabench: Cli) -> None:
    assert tcabench("--version").stdout.strip() == f"tcabench {__version__}"


def test_a_wrong_option_is_a_usage_error(tcabench: Cli) -> None:
    done = tcabench("run", "--wrong")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
