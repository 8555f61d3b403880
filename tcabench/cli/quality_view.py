"""What a person sees of a comparison: how far it is, the tables, the verdict."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tcabench.cli.show import console
from tcabench.errors import UsageError
from tcabench.parity import Parity, System, document
from tcabench.quality.agreement import Agreement, Fate
from tcabench.quality.likeness import Likeness, Spread
from tcabench.quality.paired import Paired
from tcabench.quality.verdict import Standing
from tcabench.report.text import visible

EXIT = {Standing.IDENTICAL: 0, Standing.EQUIVALENT: 0, Standing.WORSE: 3, Standing.INCONCLUSIVE: 6}
COLOURS = {0: "green", 3: "red", 6: "yellow"}
SHOWN = 8  # partings listed


@contextmanager
def asking(is_quiet: bool) -> Iterator[Callable[[str, int], Callable[[], None]]]:
    """A function to tell what is asked next; on stderr a bar on a terminal, a line elsewhere, nothing when quiet."""
    columns = TextColumn("{task.description:<36}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    is_live = sys.stderr.isatty() and not is_quiet
    with Progress(*columns, console=Console(stderr=True), disable=not is_live, transient=True) as progress:

        def stage(name: str, requests: int) -> Callable[[], None]:
            task = progress.add_task(name, total=requests)
            if not is_live and not is_quiet:
                print(f"{name}: {requests} requests", file=sys.stderr, flush=True)
            return lambda: progress.advance(task)

        yield stage


def show_parity(parity: Parity, reference: System, candidate: System) -> None:
    """The figures, where answers parted, and the verdict with its reason."""
    out, made = console(), parity.compared
    agreed, like = made.agreement, made.likeness
    table = Table(title=f"{candidate.name} against {reference.name}", title_justify="left")
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_column("95 % interval or note")
    for row in (*_agreed(agreed), *(_alike(like) if like else [("scores", "none", made.unscored)])):
        table.add_row(*(visible(cell) for cell in row))
    cached = "not seen" if made.cached is None else str(made.cached)
    table.add_row("prompts answered alike for two seeds", cached, "by the candidate alone; 2 or more look like a cache")
    if made.right is not None:
        table.add_row(*_right(made.right))
    out.print(table)
    if agreed.partings:
        out.print(_partings(agreed))
    code = EXIT[made.found.standing]
    out.print(f"[bold {COLOURS[code]}]{made.found.standing.value}[/]: ", end="")
    out.print(visible(made.found.why), markup=False)


def _agreed(agreed: Agreement) -> list[tuple[str, str, str]]:
    unit = "tokens" if agreed.is_tokens else "characters"
    bound = "" if agreed.flip_bound is None else f"fewer than {agreed.flip_bound:.2g} differ (rule of three)"
    fates = ", ".join(f"{agreed.count(fate)} {fate.value}" for fate in Fate if agreed.count(fate))
    return [
        ("greedy answers that are equal", f"{agreed.same} of {agreed.compared}", fates),
        (f"{unit} chosen from the same text", f"{agreed.units:,}", bound),
        ("the reference's own error", f"{agreed.self_error:.1e}", "log-probability, or what float32 leaves open"),
    ]


def _alike(like: Likeness) -> list[tuple[str, str, str]]:
    left_out = f"; {like.unlike} cut otherwise, {like.failed} failed" if like.unlike or like.failed else ""
    return [
        ("texts scored by both", f"{like.texts}", f"{like.tokens:,} tokens{left_out}"),
        ("perplexity of the reference", f"{like.perplexity:.3f}", ""),
        ("perplexity, candidate less reference", f"{100 * like.perplexity_rel:+.3g} %", _percent(like.nll)),
        ("KL divergence, at least", f"{like.kl.mean:.2e} nat", f"{like.kl.low95:.2e} … {like.kl.high95:.2e}"),
        ("|d log-probability|, mean and most", f"{like.logprob_mean:.2e}", f"{like.logprob_max:.2e}"),
        ("same best token", f"{100 * like.same_best:.2f} %", ""),
    ]


def _right(right: Paired) -> tuple[str, str, str]:
    shares = f"{right.candidate_right} against {right.reference_right} of {right.graded}"
    return "right answers", shares, f"{right.lost} lost, {right.gained} gained, McNemar p = {right.p_value:.2g}"


def _percent(nll: Spread) -> str:
    from math import expm1

    return f"{100 * expm1(nll.low95):+.3g} … {100 * expm1(nll.high95):+.3g} %"


def _partings(agreed: Agreement) -> Table:
    title = f"Where answers part (the first {min(SHOWN, len(agreed.partings))} of {len(agreed.partings)})"
    table = Table(title=title, title_justify="left")
    for heading in ("prompt", "after", "fate", "margin", "reference", "candidate"):
        table.add_column(heading, justify="right" if heading in ("after", "margin") else "left")
    for each in agreed.partings[:SHOWN]:
        margin = "" if each.margin is None else f"{each.margin:.2e}"
        cells = (each.prompt_id, str(each.at), each.fate.value, margin, repr(each.reference), repr(each.candidate))
        table.add_row(*(visible(cell) for cell in cells))
    return table


def write_parity(file: Path, parity: Parity, reference: System, candidate: System) -> None:
    """All of it as JSON. raises: UsageError where it cannot be written."""
    from tcabench import __version__

    content = {"tool_version": __version__, **document(parity, reference, candidate)}
    try:
        file.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", "utf-8")
    except OSError as err:
        raise UsageError(f"--json {file} cannot be written: {err.strerror}", "json") from err
