"""What a command leaves on the terminal: the result of a run, the steps of a verification."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tcabench.report.text import visible

if TYPE_CHECKING:
    from tcabench.pipeline import Concluded
    from tcabench.verify.verification import Verification

COLOURS = {
    "PASS": "green", "FAIL": "red", "INCONCLUSIVE": "yellow", "NOT APPLICABLE": "yellow", "OK": "green",
    "NOT CHECKED": "yellow", "VALID": "green", "UNKNOWN SIGNER": "yellow",
}  # fmt: skip
LABELS = {
    "output_tokens_per_kwh": "output tokens per kWh", "j_per_output_token": "energy per output token",
    "j_per_request": "energy per request", "accuracy": "right answers",
    "j_per_correct_answer": "energy per correct answer", "power_mean": "mean power", "power_peak": "peak power",
    "power_idle": "idle power", "ttft": "time to first token", "itl": "inter-token latency",
    "tpot": "time per output token", "e2e": "end-to-end latency", "output_tokens_per_s": "output tokens per second",
    "requests_per_s": "requests per second", "error_rate": "error rate", "output_tokens": "output tokens counted",
    "window_s": "measuring window", "token_count_difference": "usage against recount",
    "energy_total": "energy in the window", "energy_dynamic": "energy above idle",
    "j_per_output_token_dynamic": "energy above idle per token", "power_idle_before": "idle power before",
    "power_idle_after": "idle power after", "j_per_prompt_token_prefill": "prefill energy per prompt token",
    "j_per_output_token_decode": "decode energy per output token", "heat_removed": "heat removed",
    "ppue_interim": "pPUE (interim, partial)", "ere": "ERE (interim)", "cue": "CUE (interim)", "wue": "WUE (interim)",
    "cer": "CER (interim)", "co2e_location_g_per_1k_output_tokens": "CO2e per 1,000 tokens (location)",
    "co2e_market_g_per_1k_output_tokens": "CO2e per 1,000 tokens (market)",
    "sci_g_per_1k_output_tokens": "SCI per 1,000 tokens",
}  # fmt: skip


class Output(Console):
    """stdout. A reader that goes away ends the printing, not the command: its exit code is the verdict."""

    def on_broken_pipe(self) -> None:
        self.quiet = True


def console() -> Console:
    """stdout, wide enough for a path when it is not a terminal."""
    terminal = Output()
    return terminal if terminal.is_terminal else Output(width=120)


def plain(text: str, style: str = "") -> Text:
    """`text` from outside as it may stand on a terminal: no markup of ours, no control characters of theirs."""
    return Text(visible(text), style=style)


def show_concluded(done: "Concluded") -> None:
    """The table of values, the clauses of the policy, the verdict and where the files lie."""
    from tcabench.report.sections.parity import headline

    out, result = console(), done.result
    out.print(_values(result))
    for why, names in _absent(result).items():
        out.print(Text.assemble("not metered: ", ", ".join(names), ": ", plain(why, "dim")))
    out.print(Text.assemble("answers: ", plain(headline(done.record.parity))))
    out.print(_clauses(result))
    for line in _banner(done):
        out.print(line)


def _values(result: Mapping[str, Any]) -> Table:
    grade, boundary = result["grade"] or "none", result["boundary"] or "not metered"
    table = Table(title=f"{result['run_id']} · evidence grade {grade} · boundary {boundary}", title_justify="left")
    table.add_column("metric")
    table.add_column("value", justify="right")
    table.add_column("interval (k = 2)", justify="right")
    table.add_column("unit")
    for name, value in result["values"].items():
        if "not_metered" not in value:
            table.add_row(_label(name), *_cells(value))
    return table


def _absent(result: Mapping[str, Any]) -> dict[str, list[str]]:
    """Why there is no value -> the metrics without one, so that one missing meter is told once."""
    found: dict[str, list[str]] = {}
    for name, value in result["values"].items():
        if "not_metered" in value:
            found.setdefault(value["not_metered"], []).append(_label(name))
    return found


def _label(name: str) -> str:
    metric, _, stat = name.partition(".")
    return f"{LABELS.get(metric, metric)} {stat}".rstrip()


def _cells(value: Mapping[str, Any]) -> tuple[str | Text, ...]:
    number, low, high = (_short(value[part]) for part in ("value", "low", "high"))
    if value["low"] == value["high"] and not value.get("open_above"):
        whole = float(value["value"]).is_integer()
        return (
            f"{float(value['value']):.10g}" if whole else number,
            "exact",
            "" if value["unit"] == "1" else value["unit"],
        )
    if value.get("open_above"):
        high = "open"
    return number, f"{low} … {high}", "" if value["unit"] == "1" else value["unit"]


def _short(decimal: str) -> str:
    """Four significant digits, thousands set apart."""
    number = float(decimal)
    if number and abs(number) < 1e-3:
        return f"{number:.3e}"
    digits = 0 if abs(number) >= 1000 else 4
    return f"{float(f'{number:.4g}'):,.0f}".replace(",", " ") if digits == 0 else f"{number:.{digits}g}"


def _clauses(result: Mapping[str, Any]) -> Table:
    table = Table(title=f"Policy {result['policy']['id']}", title_justify="left")
    table.add_column("verdict")
    table.add_column("clause")
    table.add_column("why", overflow="fold")
    for verdict in result["verdicts"]:
        table.add_row(_coloured(verdict["outcome"]), plain(verdict["clause"]), plain(verdict["reason"]))
    return table


def _coloured(word: str) -> Text:
    return Text(word, style=f"bold {COLOURS.get(word, 'red')}")


def _banner(done: "Concluded") -> Iterator[Text]:
    result, sealed = done.result, done.sealed
    if not done.record.complete:
        yield Text("INCOMPLETE: this run broke off; nothing in it can pass.", style="bold yellow")
    if result["grade"] == "E0":
        yield Text("E0: energy is an estimate from a stated power model, not a measurement.", style="yellow")
    yield Text.assemble(_coloured(result["overall"]), ": ", plain(result["reason"]))
    yield Text(f"report   {sealed.report}\nevidence {sealed.tcab}\nverify   tcabench verify {sealed.report}")


def show_verification(found: "Verification", on_page: str = "") -> None:
    """The seven steps, what they found, what is to be said of the page, and the word at the end."""
    out = console()
    table = Table(title=plain(found.path), title_justify="left")
    for name in ("step", "", "outcome", "detail"):
        table.add_column(name, overflow="fold")
    for step in found.steps:
        table.add_row(str(step.number), step.name, _coloured(step.outcome.value), plain(step.detail))
    out.print(table)
    for words in (*found.differences, *found.warnings):
        out.print(plain(words, "yellow"))
    if on_page:
        out.print(plain(on_page))
    if found.complete is False:
        out.print(Text("INCOMPLETE: this run broke off; nothing in it can pass.", style="bold yellow"))
    if found.judgement:
        judged = Text.assemble(_coloured(found.judgement.overall.value), ": ", plain(found.judgement.reason))
        out.print(Text.assemble(plain(f"Policy {found.judged_by}: "), judged))
    out.print(_coloured(found.verdict.value))
