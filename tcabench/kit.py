"""Everything a run takes from the world, opened: server, meters, journal, key. The plan says the rest."""

import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tcabench.clock import Clock, SystemClock, wall_anchor
from tcabench.energy import BOUNDARIES
from tcabench.energy.boundary import domains_inside
from tcabench.errors import Interrupted, TcaError, UsageError
from tcabench.evidence import Journal, Signer, append_ledger
from tcabench.evidence.signers.file_key import open_file_key
from tcabench.evidence.tables import write_channels
from tcabench.load import Endpoint, preflight
from tcabench.load.bundled import bundled_engine
from tcabench.load.endpoint import checked_url, is_loopback
from tcabench.metrics import DEFAULT_METRICS
from tcabench.parity.in_run import Sought, sought
from tcabench.plan import RunOptions, RunPlan, decide, parse_plan, planned_marker
from tcabench.policy import load_policy
from tcabench.power import Fault, Meter, open_meters
from tcabench.provenance import has_random_weights, host_facts, server_facts
from tcabench.quality import load_tokenizer
from tcabench.records import Channel, Instrument, Kind, PowerSample, Role, Workload
from tcabench.site import Site, load_site
from tcabench.workload import load_workload

Watch = Callable[[str, Any], None]
MARKER_S = 64.0  # what the fit of a meter's delay needs: see timeline.lag


def ledger_path() -> Path:
    """Where the runs of this rig are chained: one ledger per user, wherever the run folders are made."""
    from platformdirs import user_state_path

    return user_state_path("tcabench") / "ledger.jsonl"


@dataclass(frozen=True, slots=True)
class Kit:
    """The opened world of one run. What happens goes into the journal, and before the watcher. `server_pid` is the
    bundled engine's process; None for any other server. `reference`: how what the run is compared with is opened."""

    folder: Path
    clock: Clock
    workload: Workload
    endpoint: Endpoint
    meters: Sequence[Meter]
    journal: Journal
    tokenizer: Path | None
    signer: Signer
    watch: Watch
    server_pid: int | None = None
    reference: Sought | None = None

    def take_request(self, event: dict[str, Any]) -> None:
        self.journal.request(event)
        self.watch("request", event)

    def take_samples(self, samples: Sequence[PowerSample]) -> None:
        self.journal.samples(samples)
        self.watch("power", samples)

    def take_fault(self, fault: Fault) -> None:
        """An event of the meters: a fault, which is shown too, or what the sampler writes down of clocks and cost."""
        self.journal.event(fault)
        if "why" in fault:
            self.watch("note", f"{fault['event']}: {fault['why']}")

    def mark(self, phase: str, t_ns: int) -> None:
        """Write down that a phase began or ended."""
        self.journal.event({"t": t_ns, "event": "phase", "phase": phase})
        if phase == "load_stop":
            self.watch("phase", ("drain", 0.0))

    def take_marker(self, event: dict[str, Any]) -> None:
        """An edge of a chip, or the begin and end of a marker's request: evidence, but no part of the load."""
        if "event" in event:
            self.journal.event(event)
        elif event["e"] != "chunk":
            self.journal.event({"t": event["t"], "event": "marker_request", "step": event})

    def asking(self, name: str, requests: int) -> Callable[[], None]:
        """Tell that so many requests of the comparison follow; call what comes back after each."""
        self.watch("asking", (name, requests))
        return lambda: self.watch("asked", None)

    def rest(self, idle_s: float, phase: str) -> None:
        """Leave the server alone for `idle_s`, so that its idle power is known."""
        self.watch("phase", (phase.replace("_", " "), idle_s))
        self.mark(f"{phase}_start", self.clock.now_ns())
        self.clock.sleep(idle_s)
        self.mark(f"{phase}_end", self.clock.now_ns())


@contextmanager
def open_kit(options: RunOptions, watch: Watch) -> Iterator[tuple[RunPlan, Kit]]:
    """The plan and the kit of a run. What cannot work is refused before anything is started; whatever goes wrong
    after that is written into the journal, which `tcabench recover` can seal.

    raises: UsageError, EndpointError, MeterError, EvidenceError, Interrupted.
    """
    workload, policy = load_workload(options.workload), load_policy(options.policy)
    url = None if options.endpoint is None else checked_url(options.endpoint)
    if options.tokenizer is not None:
        load_tokenizer(options.tokenizer)
    key, signer = api_key(options.api_key_env), own_signer(options.key, options.key_passphrase_env)
    reference = sought(options, api_key(options.reference_key_env, "--reference-key-env"))
    run_id = time.strftime("%Y%m%dT%H%M%SZ-", time.gmtime()) + secrets.token_hex(3)
    site = None if options.site is None else load_site(options.site)
    named = replace(options, endpoint=url, reference=reference.system if reference else None)
    said = None if site is None else site.model_dump(mode="json")
    plan = decide(run_id, named, workload, policy.id, policy.digest, DEFAULT_METRICS, said)
    folder = options.out / run_id
    with ExitStack() as stack:
        journal = stack.enter_context(Journal(folder))
        stack.enter_context(_failures_kept(journal, folder))
        _begin(journal, plan, policy.yaml_bytes)
        endpoint, ready = _endpoint(stack, options, url, key, folder, watch)
        found = preflight(endpoint, workload.pin_output)
        meters = _open_meters(_asked_for(options, site), found.endpoint.base_url, ready, watch)
        for meter in meters:
            stack.callback(meter.close)
        plan = _settled(plan, found.endpoint, ready, meters, options)
        if workload.pin_output and not plan.pinned:
            watch("note", "output length is not pinned: the server refuses ignore_eos, so answers may be shorter")
        facts = host_facts() | server_facts(found.said, ready, options.engine)
        _write_down(journal, plan, facts, meters)
        inside = domains_inside(_channels(meters), plan.boundary)
        watch("power_channels", [domain.power.id for domain in inside if domain.power])
        tokenizer = options.tokenizer or _own_tokenizer(ready)
        pid = None if ready is None else int(ready["pid"])
        asked = None if has_random_weights(facts) else reference
        opened = (workload, found.endpoint, meters, journal, tokenizer, signer, watch, pid, asked)
        yield plan, Kit(folder, SystemClock(), *opened)


def api_key(env: str | None, option: str = "--api-key-env") -> str | None:
    """The API key in the environment variable named `env`. raises: UsageError, with `option`, when it is not set."""
    if env is None:
        return None
    value = os.environ.get(env, "").strip()
    if not value:
        raise UsageError(f"{option} {env}: that environment variable is not set", "api-key")
    if not (value.isascii() and value.isprintable()):
        raise UsageError(f"{option} {env}: what it holds cannot be sent in a header", "api-key")
    return value


def own_signer(path: Path | None, passphrase_env: str | None = None) -> Signer:
    """The signing key in `path`, or the user's own, made on first use; `passphrase_env` names a variable."""
    return open_file_key(path, passphrase_env)


@contextmanager
def _failures_kept(journal: Journal, folder: Path) -> Iterator[None]:
    """Whatever ends the run early stands in the evidence, and the message says where that lies."""
    try:
        yield
    except KeyboardInterrupt as err:
        raise _noted(journal, folder, Interrupted("stopped by the user")) from err
    except TcaError as err:
        raise _noted(journal, folder, err) from err.__cause__


def _noted(journal: Journal, folder: Path, err: TcaError) -> TcaError:
    """`err`, written into the journal if that still can be, and telling how to seal what is there."""
    if journal.failure is None and (folder / "evidence").is_dir():
        journal.event({"t": time.monotonic_ns(), "event": "error", "kind": err.kind, "message": str(err)})
    if (folder / "evidence").is_dir():
        err.add_note(f"The evidence so far is kept; `tcabench recover {folder}` seals it as incomplete.")
    return err


def _begin(journal: Journal, plan: RunPlan, policy_yaml: bytes) -> None:
    """What is known before anything was started, the wall clock's anchor, and a line in the rig's ledger."""
    anchor = wall_anchor()
    journal.write("plan.json", plan.model_dump(mode="json"))
    journal.write("policy.yaml", policy_yaml)
    journal.event(
        {"t": anchor.mono_ns, "event": "wall_anchor", "wall_ns": str(anchor.wall_ns), "error_ns": anchor.error_ns}
    )
    append_ledger(ledger_path(), plan.run_id, "started", anchor.wall_ns)


def _endpoint(
    stack: ExitStack, options: RunOptions, url: str | None, key: str | None, folder: Path, watch: Watch
) -> tuple[Endpoint, Mapping[str, Any] | None]:
    """The server to drive, and what the bundled engine printed if it is ours (started here)."""
    if url is not None:
        watch("phase", ("checking the endpoint", 0.0))
        return Endpoint(url, options.model or "", options.api, options.timeout_s, key), None
    watch("phase", ("starting the engine", 0.0))
    arguments = ["--model", options.model] if options.model else []
    arguments += [*options.engine, "--request-log", str(folder / "engine-requests.jsonl")]
    ready = stack.enter_context(bundled_engine(arguments, folder / "engine.log"))
    return Endpoint(ready["listening"] + "/v1", ready["model"], options.api, options.timeout_s), ready


def _asked_for(options: RunOptions, site: Site | None) -> tuple[str, ...]:
    """The meters named on the command line and those of the site; the site's alone where none were named."""
    described = site.meter_names() if site else ()
    if options.meters is None:
        return described or ("auto",)
    return (*options.meters, *(name for name in described if name not in options.meters))


def _open_meters(names: Sequence[str], base_url: str, ready: Mapping[str, Any] | None, watch: Watch) -> list[Meter]:
    """The meters asked for. `auto` looks only where the work is: at no meter of this machine for a server elsewhere,
    and at no idle GPU beside an engine that runs on the CPU."""
    if list(names) == ["auto"] and not is_loopback(base_url):
        watch("note", "not metered: the server is on another machine; name a meter that sees it (--meter)")
        return []
    if list(names) == ["auto"] and ready is not None and not str(ready.get("device", "cpu")).startswith("cuda"):
        names = ["auto:cpu"]
    meters = open_meters(names, apart=True)
    for meter in meters:
        chosen = meter.facts().get("chosen")
        why = f": {chosen['value']}" if chosen and chosen["value"] != "named" else ""
        watch("note", f"meter {meter.name}{why}")
    return meters


def _channels(meters: Sequence[Meter]) -> list[Channel]:
    return [channel for meter in meters for channel in meter.channels()]


def _boundary(meters: Sequence[Meter], asked: str | None) -> str:
    """The boundary asked for, else the outermost one at which the system under test is metered: a narrower one would
    only flatter it. raises: UsageError where the meters all stand elsewhere: the run would end without a joule."""
    loads = [channel for channel in _channels(meters) if channel.role is Role.LOAD]
    there = {channel.boundary for channel in loads if channel.kind in (Kind.POWER, Kind.ENERGY)}
    if asked is None:
        return max(there, key=BOUNDARIES.index, default="chip")
    if there and asked not in there and asked != "facility":
        raise UsageError(f"--boundary {asked}: the meters stand at {', '.join(sorted(there))}", "boundary")
    return asked


def _marker_s(meters: Sequence[Meter], asked: float | None) -> float:
    """How long the load marker is, in s: none where the device's own meters, read by our clock, are all there is."""
    if asked is not None:
        return asked
    remote = (Instrument.METER, Instrument.BMC)
    return MARKER_S if any(c.instrument in remote and c.role is Role.LOAD for c in _channels(meters)) else 0.0


def _settled(
    plan: RunPlan, endpoint: Endpoint, ready: Mapping[str, Any] | None, meters: Sequence[Meter], options: RunOptions
) -> RunPlan:
    """The plan with what the server's answers and the meters settled."""
    news = {
        "model": endpoint.model,
        "model_sha256": ready["weights_sha256"] if ready and not ready.get("random_weights") else None,
        "pinned": plan.workload.pin_output and endpoint.sends_ignore_eos,
        "meters": tuple(meter.name for meter in meters),
        "boundary": _boundary(meters, options.boundary),
        "marker": planned_marker(_marker_s(meters, options.marker_s), plan.arrivals),
    }
    return parse_plan(plan.model_copy(update=news).model_dump_json().encode())


def _write_down(journal: Journal, plan: RunPlan, facts: dict[str, Any], meters: Sequence[Meter]) -> None:
    """Plan, system under test and channels, before the first request."""
    of_meters = {f"{meter.name}.{name}": fact for meter in meters for name, fact in meter.facts().items()}
    journal.write("plan.json", plan.model_dump(mode="json"))
    journal.write("sut.json", facts | of_meters)
    journal.write("channels.json", write_channels(_channels(meters)))


def _own_tokenizer(ready: Mapping[str, Any] | None) -> Path | None:
    return Path(ready["tokenizer"]) if ready and ready["tokenizer"] else None
