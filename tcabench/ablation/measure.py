"""The runs: one after the other, each with an engine of its own and the product's own load, meters and report."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tcabench.ablation.ladder import Rung
from tcabench.errors import NotMeasured
from tcabench.kit import Watch, open_kit
from tcabench.pipeline import Concluded
from tcabench.pipeline import run as run_pipeline
from tcabench.plan import RunOptions
from tcabench.records import NotMetered, Quantity

SPEED, ENERGY = "output_tokens_per_s", "j_per_output_token"
Step = Callable[[int, Rung], Watch]


@dataclass(frozen=True, slots=True)
class Sample:
    """One run. `j_per_token` is None, and `why` says why, where no energy was metered; `grade` is the evidence's."""

    run_id: str
    tokens_per_s: float
    cpu_s_per_token: float
    j_per_token: float | None
    grade: str
    why: str = ""


class CpuTime:
    """CPU time in s that a server's processes spend from the load's first request to its last answer."""

    def __init__(self, watch: Watch) -> None:
        self._watch, self.pid, self.used_s = watch, 0, 0.0

    def take(self, kind: str, what: Any) -> None:
        """Pass a notice of the run on, and read the processes' account where the load begins and where it ends."""
        if kind == "phase" and what[0] == "load":
            self.used_s = -tree_cpu_s(self.pid)
        elif kind == "phase" and what[0] == "idle after":
            self.used_s += tree_cpu_s(self.pid)
        self._watch(kind, what)


def climb(rungs: Sequence[Rung], rounds: int, options: RunOptions, step: Step) -> Iterator[tuple[Rung, Sample]]:
    """All rungs in turn, `rounds` times: what drifts in the meantime meets all of them alike. `step` is told of each
    round and rung before its run, and gives who watches that run.

    raises: what a run raises; NotMeasured where one gave no speed.
    """
    for number in range(rounds):
        for rung in rungs:
            yield rung, sample(rung, options, step(number, rung))


def sample(rung: Rung, options: RunOptions, watch: Watch) -> Sample:
    """One run of the engine without the levers of `rung`."""
    account = CpuTime(watch)
    with open_kit(replace(options, engine=rung.options()), account.take) as (plan, kit):
        if kit.server_pid is None:
            raise NotMeasured("only the bundled engine's levers can be switched off", "ablation")
        account.pid = kit.server_pid
        concluded = run_pipeline(plan, kit)
    return _read(rung, concluded, account.used_s)


def _read(rung: Rung, concluded: Concluded, cpu_s: float) -> Sample:
    record = concluded.record
    speed, energy = record.values[SPEED], record.values[ENERGY]
    tokens = sum(len(t.chunk_ns) if t.output_tok is None else t.output_tok for t in record.traces)
    if not isinstance(speed, Quantity) or not tokens:
        why = speed.why if isinstance(speed, NotMetered) else "no token came back"
        raise NotMeasured(f"{rung.name}: {why}; a longer --duration may help", "ablation")
    grade = str(concluded.result["grade"])
    if isinstance(energy, NotMetered):
        return Sample(record.run_id, speed.value, cpu_s / tokens, None, grade, energy.why)
    return Sample(record.run_id, speed.value, cpu_s / tokens, energy.value, grade)


def tree_cpu_s(pid: int) -> float:
    """CPU time in s of a process and of all below it, user and system, those that have ended among them."""
    import psutil

    total = 0.0
    for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue  # it ended just now: its parent's account of ended children has it
        total += times.user + times.system + times.children_user + times.children_system
    return total
