"""Runs the metrics that a plan names over one measured window."""

from collections.abc import Sequence

from tcabench.metrics.spec import Measured, MetricSpec
from tcabench.metrics.spread import block_tokens, spread_rel
from tcabench.records import Energy, NotMetered, Trace, Value, Window
from tcabench.registry import Registry

METRICS = Registry(
    "metric",
    "tcabench.metrics",
    {
        "output_tokens_per_kwh": "tcabench.metrics.tokens_per_kwh:SPEC",
        "j_per_output_token": "tcabench.metrics.energy_per_token:SPEC",
        "j_per_request": "tcabench.metrics.energy_per_request:SPEC",
        "accuracy": "tcabench.metrics.accuracy:SPEC",
        "j_per_correct_answer": "tcabench.metrics.energy_per_correct_answer:SPEC",
        "power_mean": "tcabench.metrics.power:MEAN",
        "power_peak": "tcabench.metrics.power:PEAK",
        "power_idle": "tcabench.metrics.power:IDLE",
        "ttft": "tcabench.metrics.ttft:SPEC",
        "itl": "tcabench.metrics.itl:SPEC",
        "tpot": "tcabench.metrics.tpot:SPEC",
        "e2e": "tcabench.metrics.e2e:SPEC",
        "output_tokens_per_s": "tcabench.metrics.throughput:TOKENS",
        "requests_per_s": "tcabench.metrics.throughput:REQUESTS",
        "error_rate": "tcabench.metrics.error_rate:SPEC",
        "output_tokens": "tcabench.metrics.counts:TOKENS",
        "window_s": "tcabench.metrics.counts:WINDOW",
        "token_count_difference": "tcabench.metrics.token_count_difference:SPEC",
        "energy_total": "tcabench.metrics.energy_total:SPEC",
        "energy_dynamic": "tcabench.metrics.energy_dynamic:SPEC",
        "j_per_output_token_dynamic": "tcabench.metrics.dynamic_per_token:SPEC",
        "power_idle_before": "tcabench.metrics.power_idle_before:SPEC",
        "power_idle_after": "tcabench.metrics.power_idle_after:SPEC",
        "j_per_prompt_token_prefill": "tcabench.metrics.prefill_per_token:SPEC",
        "j_per_output_token_decode": "tcabench.metrics.decode_per_token:SPEC",
        "heat_removed": "tcabench.metrics.heat_removed:SPEC",
        "ppue_interim": "tcabench.metrics.ppue:SPEC",
        "ere": "tcabench.metrics.ere:SPEC",
        "cue": "tcabench.metrics.cue:SPEC",
        "wue": "tcabench.metrics.wue:SPEC",
        "cer": "tcabench.metrics.cer:SPEC",
        "co2e_location_g_per_1k_output_tokens": "tcabench.metrics.co2e_location:SPEC",
        "co2e_market_g_per_1k_output_tokens": "tcabench.metrics.co2e_market:SPEC",
        "sci_g_per_1k_output_tokens": "tcabench.metrics.sci:SPEC",
    },
)
DEFAULT_METRICS = tuple(METRICS.builtin)


def compute(
    names: Sequence[str], traces: Sequence[Trace], energy: Energy | NotMetered, window: Window
) -> dict[str, Value]:
    """Every value of the named metrics, e.g. {"power_mean": ..., "ttft.p50": ..., "ttft.p90": ...}.

    raises: PluginError for a name that is not known.
    """
    measured = Measured(tuple(traces), window, energy)
    values: dict[str, Value] = {}
    for name in names:
        spec: MetricSpec = METRICS.load(name)
        for stat, value in spec.compute(measured).items():
            values[f"{name}.{stat}" if stat else name] = value
    return values


def stat_rel(traces: Sequence[Trace], energy: Energy | NotMetered, window: Window) -> float | None:
    """Relative half-width (k = 2) of J/token that comes from spread within the window; None if unknown.

    It is the one part of the uncertainty that measuring longer shrinks.
    """
    return spread_rel(Measured(tuple(traces), window, energy), block_tokens)
