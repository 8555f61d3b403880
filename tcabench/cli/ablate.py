"""`tcabench ablate`: what each lever of the bundled engine contributes."""

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tcabench.cli import options as o

if TYPE_CHECKING:
    from tcabench.plan import RunOptions

Rounds = Annotated[int, typer.Option(help="How often the whole ladder is climbed; medians count.", min=1)]
LeaveOneOut = Annotated[bool, typer.Option("--leave-one-out", help="All levers on, then all but one.")]
Plot = Annotated[Path | None, typer.Option(help="Draw a waterfall into this file (.svg or .png).")]
Json = Annotated[Path | None, typer.Option("--json", help="Write all figures and run ids into this file.")]
Model = Annotated[str | None, typer.Option(help="Llama-family folder or GGUF; left out: the default model.")]


def ablate(
    model: Model = None,
    workload: o.WorkloadName = "chat",
    concurrency: o.Concurrency = None,
    requests: o.Requests = None,
    duration: o.Duration = 20.0,
    warmup: o.Warmup = 4.0,
    idle: o.Idle = 1.0,
    drain: o.Drain = None,
    seed: o.Seed = 0,
    meter: o.Meters = None,
    rounds: Rounds = 3,
    leave_one_out: LeaveOneOut = False,
    plot: Plot = None,
    json: Json = None,
    out: o.Out = Path("runs"),
    quiet: o.Quiet = False,
) -> None:
    """Switch the bundled engine's levers on one by one and show what each gives: tokens/s, CPU s/token, J/token."""
    from tcabench.plan import RunOptions

    options = RunOptions(
        model=model, workload=workload, concurrency=concurrency, requests=requests, measure_s=duration,
        warmup_s=warmup, idle_s=idle, drain_s=drain, seed=seed, meters=tuple(meter) if meter else None, out=out,
    )  # fmt: skip
    _ablated(options, rounds, leave_one_out, plot, json, quiet)


def _ablated(
    options: "RunOptions", rounds: int, is_leave_one_out: bool, plot: Path | None, json: Path | None, quiet: bool
) -> None:
    """Measure, show, draw, write."""
    from tcabench.ablation import climb, draw, ladder, leave_one_out, summarise
    from tcabench.ablation.picture import check_kind
    from tcabench.cli.ablate_view import climbing, show_summary, write_summary
    from tcabench.errors import Interrupted

    if plot is not None:
        check_kind(plot)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # being told to end is like Ctrl-C
    rungs = leave_one_out() if is_leave_one_out else ladder()
    try:
        with climbing(len(rungs), rounds, quiet) as step:
            summary = summarise(climb(rungs, rounds, options, step))
    except KeyboardInterrupt as err:  # between two runs; within one the run itself says so
        raise Interrupted("stopped by the user") from err
    show_summary(summary)
    if json is not None:
        write_summary(json, summary, options, rounds)
    if plot is not None:
        draw(summary, f"The bundled engine's levers, workload {options.workload}", plot)
