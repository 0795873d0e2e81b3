"""One attack on one file: `python -m xstilts attack`. Apart from the job, whose identity has no catalog code."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from xstilts import catalog as catalogs
from xstilts import files, schema
from xstilts.attacks import alphabets, engine, keyboards
from xstilts.attacks.journal import Journal
from xstilts.errors import UserError
from xstilts.identity import stage_code
from xstilts.models import checkpoints, loading, runtime
from xstilts.robustness import byhand, exported, terminal
from xstilts.robustness.attack import read
from xstilts.robustness.attacker import Attacker, summary
from xstilts.robustness.byhand import Given


def attack_file(
    model: Path,
    base: Path | None,
    task: str,
    data: Path,
    attack: str,
    out: Path,
    language: str | None = None,
    examples: int | None = None,
    seed: int = 0,
    precision: str = "fp32",
    device: str = "auto",
    preset: str = "jiant",
    shard: tuple[int, int] = (1, 1),
    seconds: float | None = None,
    given: Given | None = None,
    resume: bool = True,
    show: Callable[[list], None] | None = None,
) -> str:
    """Attack one file of normalised examples and write the rows to `out`; returns `summary`.

    `model`: a target checkpoint, with `base` the model folder it was trained from; or, without `base`, a folder with a
    head that `export` wrote; for retrieval an intermediate checkpoint with `base`, or a model folder alone. `attack`: a
    name in the catalog or a YAML file in its schema. `language`: by default the name of the folder that `data` is in
    (examples/<task>/<language>/test.jsonl). Lengths and strides are those that a checkpoint was trained with; where
    none are recorded (exported folders, retrieval), `preset` says them. `shard`: (i, n), part i of n, from 1.
    `seconds`: how long one example may take. `resume`: what `<out>.journal` holds of the same attack is kept; it is
    deleted once `out` is whole. `show(outcomes)` is called at the end.
    """
    catalog, model, given = catalogs.load(), Path(model), given or Given()
    name, identity = _attack(catalog, attack)
    if task not in catalog.tasks:
        raise UserError(f"--task: {task!r} is unknown; allowed: {', '.join(sorted(catalog.tasks))}")
    entry = {"labels": [], **catalog.tasks[task].identity}
    language = language or Path(data).absolute().parent.name
    if language not in catalog.languages:
        raise UserError(f"--language: {language!r} is unknown; allowed: {', '.join(sorted(catalog.languages))}")
    asked = "en" if entry["options"].get("mining") == "nearest" else language  # Tatoeba's queries are English
    languages = {code: _row(catalog, code) for code in (language, asked)}
    options = entry["options"]
    engine.check(identity, entry["kind"], f"--attack {name}", options=options, language=languages[asked])
    if identity["set"]:
        raise UserError(f"--attack {name}: a static set is no attack on other texts; a study puts it to its models")
    given.check(name, identity)
    known = byhand.known(Path(base or model), catalog)
    trained = entry["training_task"] = entry.get("training_task")
    config, hyper = _settings(model, base, trained, entry["kind"])
    entry["hyper"] = hyper or catalog.preset(trained or task, preset, model=known)
    if trained and not base and entry["kind"] != "span_qa":
        entry["labels"] = exported.labels(config, entry["labels"], f"{model}/config.json")
    rows = _rows(Path(data), entry)

    where = runtime.device(device)
    loaded, pre_norm = _load(model, base, entry, where, precision), byhand.pre_norm(Path(base or model), catalog)
    attacker = Attacker(
        loaded, loaded.config["num_hidden_layers"], identity, languages, examples, seed, precision, pre_norm,
        byhand.stand_ins(identity, given, catalog, where, precision), seconds,
        byhand.resources(identity, given, catalog, task, language, Path(data), where, precision),
        (shard[0] - 1, shard[1]),
    )  # fmt: skip
    key = {
        "code": stage_code("attack"), "attack": identity, "task": entry, "language": language, "languages": languages,
        "seed": seed, "precision": precision,
        "seconds": seconds, "data": files.sha256(data), "given": given.described(), "examples": examples,
        "model": [checkpoints.sha256(Path(folder) / "model.safetensors") for folder in (base, model) if folder],
    }  # fmt: skip
    kept = Path(f"{out}.journal")
    if not resume:
        kept.unlink(missing_ok=True)
    progress = terminal.Progress()
    with Journal(kept, key) as journal:
        try:
            outcomes, _ = attacker(rows, entry, language, journal, progress)
        finally:
            progress.close()
    files.write_jsonl(out, (one.row() for one in outcomes))
    kept.unlink()
    if show:
        show(outcomes)
    return summary(outcomes)


# ---- what the options name
def _attack(catalog: catalogs.Catalog, given: str) -> tuple[str, dict]:
    """(name, identity) of an attack of the catalog or of a YAML file in its schema."""
    if given in catalog.attacks:
        return given, catalog.attacks[given].identity
    if not given.endswith((".yaml", ".yml")):
        known = ", ".join(sorted(catalog.attacks))
        raise UserError(f"--attack: {given!r} is unknown; allowed: {known}, or a YAML file like theirs")
    path = Path(given).absolute()
    return path.stem, schema.validate(schema.read_yaml(path), "attack", path)["identity"]


def _row(catalog: catalogs.Catalog, code: str) -> dict:
    """A language as an attack's spec has it."""
    return {**catalog.languages[code], "code": code, "alphabet": alphabets.of(code), "keyboard": keyboards.of(code)}


def _settings(model: Path, base: Path | None, task: str | None, kind: str) -> tuple[dict, dict | None]:
    """(config.json of the model, the hyper-parameters that it was trained with, None where none are recorded).

    UserError: no head for `task`, or a checkpoint without its base.
    """
    config = files.read_json(model / "config.json")
    if not base and config.get("parent"):
        parent = config["parent"]["model"]
        raise UserError(f"--model {model}: a checkpoint, trained from {parent}: give --base, the folder of {parent}")
    if not task:
        return config, None
    if not base:
        found = exported.head(config)
        if found is None or found[0] != kind:
            have = f"{found[1]} (kind {found[0]})" if found else "none (a plain encoder)"
            raise UserError(
                f"--model {model}: no head for {task} (kind {kind}), has {have}. Give a folder that `python -m xstilts "
                f"export` made of a {task} training, or the training's own folder and its --base."
            )
        return config, None
    heads = config.get("heads", {})
    if task not in heads:
        have = ", ".join(heads) or "none"
        raise UserError(f"--model {model}: no head for {task}, has {have}. Give the folder of a {task} training.")
    return config, next(one["hyper"] for one in config["spec"]["tasks"] if one["task"] == task)


def _rows(path: Path, entry: dict) -> list[dict]:
    """The examples, each a JSON object with the fields of its kind and an id of its own."""
    first: dict[str, int] = {}
    for number, row in enumerate(files.read_jsonl(path), 1):
        if not isinstance(row, dict):
            raise UserError(f"{path}: row {number}: a {type(row).__name__}; an example is a JSON object")
        if "id" in row and not isinstance(row["id"], str):
            raise UserError(f"{path}: row {number}: id {row['id']!r}: ids are texts")
        if row.get("id") in first:
            raise UserError(f"{path}: row {number}: id {row['id']!r} is that of row {first[row['id']]} too")
        first[row.get("id", number)] = number
    return read(path, entry)


# ---- models
def _load(model: Path, base: Path | None, entry: dict, device, precision: str):
    task = entry["training_task"]
    if task and not base:
        settings = {name: entry[name] for name in ("kind", "labels", "options")}
        return exported.load(model, task, settings, device)
    return loading.load(base or model, model if base else None, device, runtime.lean(precision))


# ---- the command
def main(argv: list[str] | None = None) -> int:
    """`python -m xstilts attack`: one attack on one file."""
    parser = argparse.ArgumentParser(prog="python -m xstilts attack", description=attack_file.__doc__.split("\n")[0])
    add = parser.add_argument
    add("--model", required=True, type=Path, help="target checkpoint or exported folder (retrieval: an encoder)")
    add("--base", type=Path, help="folder of the model that a checkpoint was trained from")
    add("--task", required=True, help="a target of the catalog, such as xnli")
    add("--data", required=True, type=Path, help="normalised examples, JSON lines")
    add("--attack", required=True, help="an attack of the catalog, such as charswap, or a YAML file like theirs")
    add("--out", required=True, type=Path, help="where the outcomes go, JSON lines")
    add("--language", help="language code (default: the name of the folder of --data)")
    add("--examples", type=int, help="how many examples, chosen by a hash of their ids (default: all)")
    add("--shard", type=_shard, default=(1, 1), metavar="I/N", help="part I of N of the examples, from 1/N to N/N")
    add("--seconds", type=float, help="how long one example may take (default: no limit)")
    add("--seed", type=int, default=0)
    add("--show", type=int, default=0, metavar="N", help="print what changed in the first N successes")
    add("--resume", action=argparse.BooleanOptionalAction, default=True, help="go on where a stopped command was")
    add("--parallel", type=_pair, action="append", default=[], metavar="LANG=FILE", help="the examples in LANG")
    add("--dictionary", type=_pair, action="append", default=[], metavar="EN-DE=FILE", help="two columns; or embedded")
    add("--encoder", type=Path, help="model folder: the attack's sentence encoder")
    add("--mlm", type=Path, help="checkpoint with a head of kind mlm: the attack's masked language model")
    add("--mlm-base", type=Path, help="folder of the model that --mlm was trained from")
    add("--precision", choices=["fp32", "bf16"], default="fp32")
    add("--preset", default="jiant", help="whose lengths, or layer and pooling, where none are recorded")
    add("--device", default="auto")
    options = vars(parser.parse_args(argv))
    given = Given(
        *(options.pop(name) for name in ("mlm", "mlm_base", "encoder")),
        dict(options.pop("dictionary")),
        {code: Path(path) for code, path in options.pop("parallel")},
    )
    most = options.pop("show")

    def show(outcomes: list) -> None:
        if most and (text := terminal.gallery(outcomes, most, terminal.coloured())):
            print(text)

    print(attack_file(**options, given=given, show=show))
    return 0


def _shard(text: str) -> tuple[int, int]:
    number, _, of = text.partition("/")
    if not (number.isdigit() and of.isdigit() and 1 <= int(number) <= int(of)):
        raise argparse.ArgumentTypeError(f"{text!r}: allowed: I/N with 1 <= I <= N, such as 1/4")
    return int(number), int(of)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"{text!r}: allowed: NAME=FILE, such as de=test.jsonl or en-de=words.txt")
    return name, value
