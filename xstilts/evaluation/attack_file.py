"""One attack on one file: `python -m xstilts attack`. Apart from the job, whose identity has no catalog code."""

from __future__ import annotations

import argparse
from pathlib import Path

from xstilts import catalog as catalogs
from xstilts import files
from xstilts.attacks import engine
from xstilts.errors import UserError
from xstilts.evaluation.attack import Attacker, read, summary
from xstilts.models import loading, runtime


def attack_file(
    checkpoint: Path,
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
) -> str:
    """Attack one file of normalised examples and write the rows to `out`; returns `summary`.

    `checkpoint`: a target checkpoint, with `base` the model folder it was trained from; for retrieval an intermediate
    checkpoint with `base`, or a model folder alone. `language`: by default the name of the folder that `data` is in
    (examples/<task>/<language>/test.jsonl). Lengths and strides are those that the checkpoint was trained with; for
    retrieval, where nothing is trained, `preset` says which layer and pooling are read.
    """
    catalog = catalogs.load()
    for option, name, known in (("attack", attack, catalog.attacks), ("task", task, catalog.tasks)):
        if name not in known:
            raise UserError(f"--{option}: {name!r} is unknown; allowed: {', '.join(sorted(known))}")
    identity, entry = catalog.attacks[attack].identity, {"labels": [], **catalog.tasks[task].identity}
    engine.check(identity, entry["kind"], f"--attack {attack} --task {task}")
    language = language or Path(data).resolve().parent.name
    if language not in catalog.languages:
        raise UserError(f"--language: {language!r} is unknown; allowed: {', '.join(sorted(catalog.languages))}")
    script = catalog.languages[language]["script"]
    if identity["scripts"] != "all" and script not in identity["scripts"]:
        raise UserError(f"--attack {attack}: not for {language} ({script}); scripts: {', '.join(identity['scripts'])}")
    trained = entry.get("training_task")
    known = _known(Path(base or checkpoint), catalog)
    hyper = _hyper(Path(checkpoint), trained) if trained else catalog.preset(task, preset, model=known)
    entry |= {"training_task": trained, "hyper": hyper}
    rows = read(Path(data), entry)

    where, dtype = runtime.device(device), runtime.lean(precision)
    model = loading.load(base or checkpoint, checkpoint if base else None, where, dtype)
    layers = model.config["num_hidden_layers"]
    pre_norm = bool(known) and catalog.models[known].identity["pre_norm"]
    attacker = Attacker(model, layers, identity, catalog.languages, examples, seed, precision, pre_norm)
    outcomes, _ = attacker(rows, entry, language)
    files.write_jsonl(out, (one.row() for one in outcomes))
    return summary(outcomes)


def _known(folder: Path, catalog: catalogs.Catalog) -> str | None:
    """The catalog's name of the model in `folder`, where it was fetched from the catalog."""
    card = folder / "model.json"
    name = files.read_json(card).get("name") if card.is_file() else None
    return name if name in catalog.models else None


def _hyper(checkpoint: Path, task: str) -> dict:
    """The hyper-parameters that a target checkpoint was trained with on `task`."""
    config = files.read_json(checkpoint / "config.json")
    heads = config.get("heads", {})
    if task not in heads:
        have = ", ".join(heads) or "none"
        raise UserError(f"--model {checkpoint}: no head for {task}, has {have}. Give the folder of a {task} training.")
    return next(one["hyper"] for one in config["spec"]["tasks"] if one["task"] == task)


def main(argv: list[str] | None = None) -> int:
    """`python -m xstilts attack`: one attack on one file."""
    parser = argparse.ArgumentParser(prog="python -m xstilts attack", description=attack_file.__doc__.split("\n")[0])
    parser.add_argument("--model", required=True, type=Path, help="target checkpoint (retrieval: an encoder)")
    parser.add_argument("--base", type=Path, help="folder of the model that the checkpoint was trained from")
    parser.add_argument("--task", required=True, help="a target of the catalog, such as xnli")
    parser.add_argument("--data", required=True, type=Path, help="normalised examples, JSON lines")
    parser.add_argument("--attack", required=True, help="an attack of the catalog, such as charswap")
    parser.add_argument("--out", required=True, type=Path, help="where the outcomes go, JSON lines")
    parser.add_argument("--language", help="language code (default: the name of the folder of --data)")
    parser.add_argument("--examples", type=int, help="how many examples, chosen by a hash of their ids (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--preset", default="jiant", help="retrieval: whose layer and pooling (default: jiant)")
    parser.add_argument("--device", default="auto")
    options = vars(parser.parse_args(argv))
    print(attack_file(options.pop("model"), **options))
    return 0
