"""`tcabench run`: drive, meter, judge, seal."""

import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from tcabench.cli import options as o

if TYPE_CHECKING:
    from tcabench.plan import RunOptions


def run(
    endpoint: o.EndpointUrl = None,
    model: o.Model = None,
    workload: o.WorkloadName = "chat",
    concurrency: o.Concurrency = None,
    rate: o.Rate = None,
    requests: o.Requests = None,
    duration: o.Duration = None,
    warmup: o.Warmup = None,
    idle: o.Idle = None, drain: o.Drain = None, seed: o.Seed = 0,
    api: o.Api = "chat",
    timeout: o.Timeout = 300.0,
    api_key_env: o.ApiKeyEnv = None,
    tokenizer: o.TokenizerFile = None,
    meter: o.Meters = None,
    site: o.SiteFile = None,
    marker: o.MarkerSeconds = None,
    policy: o.PolicyName = "indicative",
    boundary: o.BoundaryName = None,
    reference: o.ReferenceSystem = None, reference_model: o.ReferenceModel = None,
    reference_key_env: o.ReferenceKeyEnv = None, reference_prompts: o.ReferencePrompts = 24,
    reference_margin: o.ReferenceMargin = 0.01,
    out: o.Out = Path("runs"),
    key: o.Key = None,
    key_passphrase_env: o.KeyPassphraseEnv = None,
    quiet: o.Quiet = False,
) -> None:  # fmt: skip
    """Measure a server's tokens per kWh and write a signed report."""
    from tcabench.plan import RunOptions

    options = RunOptions(
        endpoint=endpoint, model=model, api=api, workload=workload, concurrency=concurrency, rate_per_s=rate,
        requests=requests, measure_s=duration, warmup_s=warmup, idle_s=idle, drain_s=drain, seed=seed,
        timeout_s=timeout, api_key_env=api_key_env, tokenizer=tokenizer, meters=tuple(meter) if meter else None,
        site=site, marker_s=marker, policy=policy, boundary=boundary, out=out, key=key,
        key_passphrase_env=key_passphrase_env, reference=reference, reference_model=reference_model,
        reference_key_env=reference_key_env, reference_prompts=reference_prompts, reference_margin=reference_margin,
    )  # fmt: skip
    raise typer.Exit(_measured(options, quiet))


def _measured(options: "RunOptions", quiet: bool) -> int:
    """Run, show, and give the exit code."""
    from tcabench.cli.live import live_view
    from tcabench.cli.show import show_concluded
    from tcabench.kit import open_kit
    from tcabench.pipeline import run as run_pipeline

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # being told to end is like Ctrl-C: nothing is lost
    with live_view(quiet) as watch, open_kit(options, watch) as (plan, kit):
        concluded = run_pipeline(plan, kit)
    with suppress(BrokenPipeError):  # the verdict stands whether or not somebody reads the table
        show_concluded(concluded)
    return concluded.exit_code
