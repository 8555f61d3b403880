"""The workload door: `workload.yaml` and its prompt file, checked field by field, as a `records.Workload`."""

import json
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from tcabench.door import Door, checked, read_yaml
from tcabench.errors import UsageError
from tcabench.records import Arrivals, Message, Prompt, WindowPlan, Workload

SPEC_FILE = "workload.yaml"
MAX_OUTPUT_TOK = 1_000_000
MAX_CONCURRENCY = 65_536

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Tokens = Annotated[int, Field(ge=1, le=MAX_OUTPUT_TOK)]
Concurrency = Annotated[int, Field(ge=1, le=MAX_CONCURRENCY)]
Seconds = Annotated[float, Field(ge=0, le=1_000_000)]
Text = Annotated[str, Field(min_length=1)]


class PromptFile(Door):
    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*\.jsonl$")]
    sha256: Sha256


class Output(Door):
    tokens: Tokens
    pinned: bool


class ClosedLoop(Door):
    concurrency: Concurrency


class OpenLoop(Door):
    rate_per_s: Annotated[float, Field(gt=0, le=1_000_000)]
    concurrency: Concurrency | None = None


class ArrivalsSpec(Door):
    closed: ClosedLoop | None = None
    constant: OpenLoop | None = None
    poisson: OpenLoop | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if len(self.model_fields_set) != 1 or None in (getattr(self, k) for k in self.model_fields_set):
            raise ValueError("give exactly one of closed, constant, poisson")
        return self

    def record(self) -> Arrivals:
        """The one kind that is given."""
        if self.closed:
            return Arrivals("closed", self.closed.concurrency, None)
        for kind, loop in (("constant", self.constant), ("poisson", self.poisson)):
            if loop:
                return Arrivals(kind, loop.concurrency, loop.rate_per_s)
        raise AssertionError("the door lets exactly one kind through")


class WindowSpec(Door):
    idle_s: Seconds
    warmup_s: Seconds
    measure_s: Annotated[float, Field(gt=0, le=1_000_000)]
    drain_s: Seconds


class WorkloadSpec(Door):
    """`workload.yaml` as it stands in the folder."""

    name: Name
    version: Annotated[int, Field(ge=1)]
    title: Text
    license: Text
    prompts: PromptFile
    output: Output
    temperature: Annotated[float, Field(ge=0, le=2)]
    arrivals: ArrivalsSpec
    window: WindowSpec


class MessageSpec(Door):
    role: Literal["system", "user", "assistant"]
    content: Text


class PromptSpec(Door):
    """One line of `prompts.jsonl`."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    messages: Annotated[list[MessageSpec], Field(min_length=1)]
    max_tok: Tokens | None = None
    answer: Text | None = None
    grader: Literal["exact", "number", "fact", "list", "json", "code"] | None = None
    kind: Name | None = None

    @model_validator(mode="after")
    def _gradable(self) -> Self:
        if self.grader is not None and self.answer is None:
            raise ValueError("grader: there is no answer to grade by")
        if self.kind is not None and self.grader is None:
            raise ValueError("kind: only graded prompts have one; name the grader too")
        return self

    @model_validator(mode="after")
    def _a_conversation(self) -> Self:
        roles = [m.role for m in self.messages]
        if "system" in roles[1:]:
            raise ValueError("messages: a system message can only be the first")
        turns = roles[1:] if roles[0] == "system" else roles
        if turns[::2] != ["user"] * len(turns[::2]) or turns[1::2] != ["assistant"] * len(turns[1::2]):
            raise ValueError("messages: user and assistant take turns, user first")
        if len(turns) % 2 == 0:
            raise ValueError("messages: the last message must be the user's")
        return self


def read_workload(folder: Path) -> Workload:
    """The workload in `folder`, with its digest.

    raises: UsageError naming file, line and field when a file is missing, wrong, or not the one whose sha256 is stated.
    """
    spec_bytes = _read(folder / SPEC_FILE)
    spec = checked(WorkloadSpec, read_yaml(spec_bytes, str(folder / SPEC_FILE)), str(folder / SPEC_FILE))
    prompt_path = folder / spec.prompts.file
    prompt_bytes = _read(prompt_path)
    found = sha256(prompt_bytes).hexdigest()
    if found != spec.prompts.sha256:
        raise UsageError(
            f"{prompt_path}: sha256 is {found}, but {SPEC_FILE} states {spec.prompts.sha256}; restore the file, or, if "
            f"the change is meant, raise `version` and run `python -m tcabench.workload.reindex {folder}`",
            kind="workload-changed",
        )
    return Workload(
        name=spec.name,
        version=spec.version,
        title=spec.title,
        license=spec.license,
        digest=folder_digest({SPEC_FILE: spec_bytes, spec.prompts.file: prompt_bytes}),
        prompts=read_prompts(prompt_bytes, str(prompt_path), spec.output.tokens),
        pin_output=spec.output.pinned,
        temperature=spec.temperature,
        arrivals=spec.arrivals.record(),
        window=WindowPlan(**spec.window.model_dump()),
    )


def folder_digest(files: dict[str, bytes]) -> str:
    """sha256 (hex) over the canonical JSON list of [file name, sha256], sorted by name."""
    listed = [[name, sha256(data).hexdigest()] for name, data in sorted(files.items())]
    return sha256(json.dumps(listed, separators=(",", ":")).encode()).hexdigest()


def read_prompts(data: bytes, where: str, output_tok: int) -> tuple[Prompt, ...]:
    """The prompts in the file's order; `output_tok` where a line has no `max_tok`. raises: UsageError with the line."""
    prompts = tuple(_prompt(spec, output_tok) for spec in _lines(data, where))
    if not prompts:
        raise UsageError(f"{where}: no prompts in it; write one JSON object a line")
    return prompts


def _lines(data: bytes, where: str) -> Iterator[PromptSpec]:
    first_line: dict[str, int] = {}
    for number, line in enumerate(data.splitlines(), 1):
        at = f"{where}, line {number}"
        spec = checked(PromptSpec, _json(line, at), at)
        if spec.id in first_line:
            raise UsageError(f"{at}: id: {spec.id!r} is already on line {first_line[spec.id]}; ids must be unique")
        first_line[spec.id] = number
        yield spec


def _json(line: bytes, at: str) -> Any:
    try:
        return json.loads(line, object_pairs_hook=_no_twins)
    except (ValueError, RecursionError) as err:
        raise UsageError(f"{at}: not a JSON object: {err}") from err


def _no_twins(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is given twice")
    return found


def _prompt(spec: PromptSpec, output_tok: int) -> Prompt:
    messages = tuple(Message(m.role, m.content) for m in spec.messages)
    return Prompt(spec.id, messages, spec.max_tok or output_tok, spec.answer, spec.grader, spec.kind or spec.grader)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as err:
        raise UsageError(f"{path}: cannot be read: {err.strerror}") from err
