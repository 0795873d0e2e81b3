"""The command line: `python -m xstilts COMMAND ...`. Every command imports what it needs and no more."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from xstilts.errors import UserError

DESCRIPTION = "English intermediate-task training for zero-shot cross-lingual transfer."


def main(argv: list[str] | None = None) -> int:
    """Run one command; a UserError is printed without a traceback and gives exit status 1, Ctrl-C gives 130."""
    parser = argparse.ArgumentParser(prog="python -m xstilts", description=DESCRIPTION)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    told = "in place of the study file's own top-level KEY; VALUE is YAML, e.g. data_root=/path or 'languages=[en, de]'"
    changes = {"nargs": "*", "default": [], "metavar": "KEY=VALUE", "help": told}

    listing = commands.add_parser("catalog", help="list tasks, models, attacks, languages; diff: compare presets")
    listing.add_argument("action", nargs="?", default="list", choices=["list", "diff"])
    listing.add_argument("presets", nargs="*", metavar="PRESET", help="diff: two or more presets")
    listing.add_argument("--task", nargs="+", default=[], help="diff: only these tasks")
    listing.add_argument("--model", help="diff: the values for this model")
    listing.add_argument("--sources", action="store_true", help="diff: where the numbers were read")
    pin = commands.add_parser("pin", help="ask the hub for the revisions of everything, write catalog/revisions.lock")
    pin.add_argument("names", nargs="*", help="only these tasks and models, or those of these study files")
    pin.add_argument("--config", **changes)
    check = commands.add_parser("check", help="check a study: what it needs, what is missing")
    check.add_argument("study")
    check.add_argument("--config", **changes)
    cost = commands.add_parser("cost", help="estimate a study's time, disk and memory before it starts")
    cost.add_argument("study")
    cost.add_argument("--config", **changes)
    cost.add_argument(
        "--device",
        metavar="NAME",
        help="the device to estimate for: a part of the name of one that rates were measured on; with --peak any name "
        "(a CPU's begins with cpu, others are GPUs)",
    )
    cost.add_argument("--memory", type=float, metavar="GB", help="memory of the device, to say which models fit")
    cost.add_argument("--rates", nargs="+", default=[], type=Path, metavar="PLACE", help="results folders, benchmarks")
    cost.add_argument("--peak", type=float, metavar="FLOP/S", help="no measured rate: the device's peak, e.g. 8e14")
    cost.add_argument("--mfu", type=float, metavar="SHARE", help="and the share of it in use, 0 to 1: both assumed")
    cost.add_argument("--json", type=Path, metavar="OUT", help="write the estimate there too")
    fetch = commands.add_parser("fetch", help="bring a study's data and models into a folder")
    fetch.add_argument("study")
    fetch.add_argument("--to", required=True, metavar="DIR", type=Path, help="the folder; afterwards data_root=DIR")
    fetch.add_argument("--jobs", type=int, default=4, help="downloads at once (default 4)")
    fetch.add_argument("--verify", action="store_true", help="fetch nothing: compare every file with the manifest")
    fetch.add_argument("--config", **changes)
    commands.add_parser("score", help="official XTREME scores of a submission folder", add_help=False)
    commands.add_parser("attack", help="attack one trained model on one file", add_help=False)
    commands.add_parser("handcheck", help="a sheet of successful attacks for readers to judge", add_help=False)
    export = commands.add_parser("export", help="write a complete Hugging Face folder of a checkpoint")
    export.add_argument("checkpoint", help="folder of an encoder or a target checkpoint")
    export.add_argument("--model", help="folder of its base model (default: the one in models/ beside it)")
    export.add_argument("--out", required=True)
    share = commands.add_parser("share", help="share the artifact store: push, pull, status, drop")
    share.add_argument("action", choices=["push", "pull", "status", "drop"])
    share.add_argument("outputs", nargs="*", help="drop: output files whose stored entries are deleted")
    stages = commands.add_parser("stages", help="say whether edited code changes results")
    stages.add_argument("action", choices=["status", "record", "bump"])
    stages.add_argument("names", nargs="*")
    run = commands.add_parser("run", help="run a study (as `make run` does)")
    run.add_argument("study")

    arguments, rest = parser.parse_known_args(argv)
    if rest and arguments.command not in ("run", "score", "attack", "handcheck"):
        parser.error(f"unknown arguments: {' '.join(rest)}")
    try:
        return COMMANDS[arguments.command](arguments, rest) or 0
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 130 if isinstance(error.__context__, KeyboardInterrupt) else 1
    except KeyboardInterrupt:
        print("stopped; what was written is kept. Run the same command again to go on.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0


def _catalog(arguments, rest):
    from xstilts import catalog, listing, preset_diff

    entries = catalog.load()
    if arguments.action == "diff":
        print(preset_diff.show(entries, arguments.presets, arguments.task, arguments.model, arguments.sources))
    elif arguments.presets or arguments.task or arguments.model or arguments.sources:
        raise UserError("catalog list: takes nothing more. Presets are compared by `catalog diff PRESET PRESET`.")
    else:
        print(listing.list_catalog(entries))


def _pin(arguments, rest):
    from xstilts import catalog, pin

    names = []
    for name in arguments.names:
        names += _names_of(name, arguments.config) if name.endswith((".yaml", ".yml")) else [name]
    pin.pin(catalog.load(), names)


def _names_of(file: str, config: list[str]) -> list[str]:
    """The tasks and models that a study reads from the hub."""
    from xstilts.check.page import load_file

    study = load_file(file, _changes(config))
    models = [name for name in study.models if study.catalog.models[name].identity["source"]["type"] == "hub"]
    found = [*(task for task in study.data_tasks() if study.source(task)[0] == "hub"), *models]
    if not found:
        raise UserError(f"{file}: nothing of it comes from the hub, so there is nothing to pin")
    return found


def _changes(config: list[str]) -> dict:
    """KEY=VALUE arguments as a mapping; values are YAML, as Snakemake reads them."""
    import yaml

    for one in config:
        if "=" not in one:
            raise UserError(f"--config {one}: allowed: KEY=VALUE, such as data_root=/path")
    try:
        return {key: yaml.safe_load(value) for key, value in (one.split("=", 1) for one in config)}
    except yaml.YAMLError as error:
        why = " ".join(str(error).split())
        raise UserError(f"--config {' '.join(config)}: a value is no YAML: {why}. Quote it: KEY='\"...\"'") from error


def _check(arguments, rest):
    from xstilts.check.page import check

    print(check(arguments.study, _changes(arguments.config)))


def _cost(arguments, rest):
    from xstilts.cost.page import Asked, cost

    asked = Asked(arguments.rates, arguments.device, arguments.peak, arguments.mfu, arguments.memory)
    print(cost(arguments.study, _changes(arguments.config), asked, arguments.json))


def _fetch(arguments, rest):
    from xstilts import fetch
    from xstilts.check.page import load_file

    study = load_file(arguments.study, _changes(arguments.config))
    if arguments.verify:
        print(fetch.verify(arguments.to, study))
    else:
        print(fetch.fetch(study, arguments.to, arguments.jobs))


def _score(arguments, rest):
    from xstilts.evaluation.score import main

    return main(rest)


def _attack(arguments, rest):
    from xstilts.robustness.file import main

    return main(rest)


def _handcheck(arguments, rest):
    from xstilts.handcheck import main

    return main(rest)


def _export(arguments, rest):
    from xstilts.files import read_json
    from xstilts.models.export import export

    checkpoint = Path(arguments.checkpoint)
    parent = read_json(checkpoint / "config.json")["parent"]["model"]
    beside = [folder / "models" / parent for folder in checkpoint.absolute().parents]
    model = arguments.model or next((folder for folder in beside if folder.is_dir()), None)
    if model is None:
        raise UserError(f"{checkpoint}: its base model {parent} lies in no models/ folder above it: give --model DIR")
    export(checkpoint, model, Path(arguments.out))


def _share(arguments, rest):
    from xstilts import share

    if arguments.action == "drop":
        print(share.drop(arguments.outputs))
    else:
        print({"push": share.push, "pull": share.pull, "status": share.status}[arguments.action]())


def _stages(arguments, rest):
    from xstilts import identity

    if arguments.action == "status":
        for stage in identity.STAGES:
            print(identity.stage_code(stage))
        return 1 if identity.changed_stages() else 0
    names = arguments.names or identity.changed_stages()
    for code in identity.record_stages(names, bump=arguments.action == "bump"):
        print(code)


def _run(arguments, rest):
    from xstilts.launch import run

    return run(arguments.study, rest)


COMMANDS = {
    "catalog": _catalog,
    "pin": _pin,
    "check": _check,
    "cost": _cost,
    "fetch": _fetch,
    "score": _score,
    "attack": _attack,
    "handcheck": _handcheck,
    "export": _export,
    "share": _share,
    "stages": _stages,
    "run": _run,
}

if __name__ == "__main__":
    sys.exit(main())
