"""The grid of a study: its mixtures, cells and attacks, filled in from the config, every name checked.

Each finding is one UserError that names the study's file, the key, the value and what is allowed. `study` is an
`xstilts.study.Study`; only that module uses this one.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from xstilts.errors import UserError

if TYPE_CHECKING:
    from xstilts.study import Study

RETRIEVAL = ("bucc2018", "tatoeba")
NONE = "none"
ALL = "all"


@dataclass(frozen=True)
class Mixture:
    """Several intermediate tasks trained as one: the tasks and how batches are drawn from them."""

    tasks: tuple[str, ...]
    sampling: dict
    steps: int | None


def fill(study: Study) -> None:
    """Add the mixtures, cells and attack cells that the config asks for; what cannot be computed is a notice."""
    config = study.config
    if config["data_root"] and not Path(config["data_root"]).is_dir():
        raise _error(study, "data_root", config["data_root"], "an existing folder")
    _check_languages(study)
    for name, mixture in config["mixtures"].items():
        _add_mixture(study, name, mixture)
    for index, block in enumerate(config["grid"]):
        _add_block(study, f"grid[{index}]", block)
    if not study.cells:
        raise UserError(f"{study.file}: grid: no cell is left to compute. " + " ".join(study.notices))
    for index, block in enumerate(config["attacks"]):
        _add_attacks(study, f"attacks[{index}]", block)


def check(study: Study) -> None:
    """Presets exist, and every target and trained variant has languages that its source has too."""
    _check_training(study)
    for task in [*study.targets, *(task for task in study.trained_tasks() if task in study.catalog.variants)]:
        _check_source_languages(study, task)
        if not study.languages(task):
            own = ", ".join(study.catalog.task_languages(task)) + f" ({task})"
            raise _error(study, "languages", study.config["languages"], own)


def unique(items) -> list:
    """The items without repetition, in their order."""
    return list(dict.fromkeys(items))


def _error(study: Study, key: str, value, allowed) -> UserError:
    names = [str(name) for name in allowed] if not isinstance(allowed, str) else []
    close = difflib.get_close_matches(str(value), names, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    listed = allowed if isinstance(allowed, str) else ", ".join(names)
    return UserError(
        f"{study.file}: {key}: {value!r} is not allowed.{hint} Allowed: {listed}. "
        "`python -m xstilts catalog` lists everything that exists."
    )


def _known(study: Study, key: str, names: list[str], allowed) -> None:
    for name in names:
        if name not in allowed:
            raise _error(study, key, name, allowed)


def _check_languages(study: Study) -> None:
    config, catalog = study.config, study.catalog
    if config["languages"] != "all":
        _known(study, "languages", config["languages"], catalog.languages)
    for target, codes in config["target_languages"].items():
        _known(study, "target_languages", [target], [*catalog.targets, *catalog.variants])
        if codes != "all":
            _known(study, f"target_languages.{target}", codes, catalog.task_languages(target))


def _check_training(study: Study) -> None:
    """Every task that is trained or retrieves has the preset, and overrides name such a task."""
    training, trained = study.config["training"], study.trained_tasks()
    known = [*trained, *(target for target in study.targets if target in RETRIEVAL)]
    for task in training["overrides"]:
        if task not in known:
            via = study.catalog.tasks[task].identity["training_task"] if task in study.catalog.tasks else None
            hint = f" ({task} is trained as {via})" if via else ""
            raise _error(study, "training.overrides", task, ", ".join(known) + hint)
    before = {task for name in study.intermediates for task in study.intermediate_tasks(name)}
    after = {*study.training_tasks(study.targets), *known[len(trained) :]}
    for task in known:
        for stage, used in (("intermediate", before), ("target", after)):
            for model in study.models if task in used else ():
                overrides = training["overrides"].get(task, {})
                try:
                    study.catalog.preset(task, training["preset"], overrides, stage=stage, model=model)
                except UserError as error:
                    raise UserError(f"{study.file}: training.preset: {error}") from None


def _check_source_languages(study: Study, target: str) -> None:
    """The chosen source has each language asked for: a lexicon for generated data, a part for the others."""
    source, parts = study.source(target)
    lexicons = {path.stem for path in (study.catalog.root / "catalog" / "lexicons").glob("*.yaml")}
    for code in study.languages(target):
        listed = [part["languages"] for part in parts if part.get("languages")]
        known = lexicons if source == "embedded" else {name for names in listed for name in names}
        if (source == "embedded" or listed) and code not in known:
            names = sorted(known & set(study.catalog.task_languages(target)))
            key = "target_languages" if target in study.config["target_languages"] else "languages"
            raise _error(study, f"{key} (source {source} of {target})", code, names)


def _add_mixture(study: Study, name: str, mixture: dict) -> None:
    catalog = study.catalog
    if name == NONE or name in catalog.tasks:
        raise _error(study, f"mixtures.{name}", name, "any name that is neither `none` nor a task of the catalog")
    need = {"capped": "cap", "temperature": "temperature"}.get(mixture["sampling"])
    if need and mixture.get(need) is None:
        raise _error(study, f"mixtures.{name}.{need}", None, f"a number: sampling {mixture['sampling']} needs it")
    asked = [ALL] if mixture["tasks"] == ALL else mixture["tasks"]
    _known(study, f"mixtures.{name}.tasks", asked, [ALL, *catalog.intermediates, *catalog.variants])
    tasks = unique(task for item in asked for task in (catalog.intermediates if item == ALL else [item]))
    missing = [task for task in tasks if not _available(study, task)]
    kept = tuple(task for task in tasks if task not in missing)
    new = "-no-".join([name, *missing])
    if missing:
        study.notices.append(f"mixture {name} is trained without {', '.join(missing)} and named {new}.")
    sampling = {key: mixture[key] for key in ("sampling", "cap", "temperature") if mixture.get(key) is not None}
    sampling = {"method" if key == "sampling" else key: value for key, value in sampling.items()}
    shares = _shares(study, f"mixtures.{name}.shares", mixture["shares"], tasks, kept)
    _note_unknown(study, name, mixture)
    study.renamed[name] = new
    study.mixtures[new] = Mixture(kept, {**sampling, **({"shares": shares} if shares else {})}, mixture["steps"])


def _shares(study: Study, key: str, shares: dict, tasks: list[str], kept: tuple[str, ...]) -> dict:
    """The fixed shares of the tasks that are there to be trained."""
    _known(study, key, list(shares), tasks)
    if sum(shares.values()) >= 1:
        raise _error(study, key, shares, "shares that add up to less than 1: the other tasks have the rest")
    shares = {task: share for task, share in shares.items() if task in kept}
    if shares and len(shares) == len(kept):
        raise _error(study, key, shares, "at least one task of the mixture without a share, which has the rest")
    return shares


def _note_unknown(study: Study, name: str, mixture: dict) -> None:
    """Say of numbers that the paper must have had and nobody could find that they are this study's own."""
    own = [f"{key} {mixture[key]}" for key in ("cap", "temperature") if mixture.get(key) is not None]
    own += [f"share of {task} {share}" for task, share in mixture["shares"].items()]
    if own:
        about = "this study's choice; the paper's K, T and mixing rates are not confirmed."
        study.notices.append(f"mixture {name}: {', '.join(own)}: {about}")


def _available(study: Study, task: str) -> bool:
    try:
        study.source(task)
    except UserError as error:
        if str(error) not in study.notices:
            study.notices.append(str(error))
        return False
    return True


def _add_block(study: Study, key: str, block: dict) -> None:
    catalog, asked = study.catalog, block["intermediates"]
    _known(study, f"{key}.models", block["models"], catalog.models)
    single = [*catalog.intermediates, *catalog.variants]
    _known(study, f"{key}.intermediates", asked, [NONE, *single, *study.renamed])
    targets = list(catalog.targets) if block["targets"] == "all" else block["targets"]
    _known(study, f"{key}.targets", targets, catalog.targets)
    for intermediate in (study.renamed.get(name, name) for name in asked):
        if intermediate in single and not _available(study, intermediate):
            continue
        for model in block["models"]:
            for seed in block["seeds"]:
                cell = study.cells.setdefault((model, intermediate, seed), [])
                cell += [target for target in targets if target not in cell]


def _add_attacks(study: Study, key: str, block: dict) -> None:
    _known(study, f"{key}.attacks", block["attacks"], study.catalog.attacks)
    _known(study, f"{key}.models", block.get("models") or [], study.models)
    asked = [study.renamed.get(name, name) for name in block.get("intermediates") or []]
    _known(study, f"{key}.intermediates", asked, study.intermediates)
    _known(study, f"{key}.targets", block.get("targets") or [], study.targets)
    _known(study, f"{key}.seeds", block.get("seeds") or [], study.seeds)
    for attack in block["attacks"]:
        for (model, intermediate, seed), targets in study.cells.items():
            if block.get("models") and model not in block["models"]:
                continue
            if asked and intermediate not in asked:
                continue
            if block.get("seeds") and seed not in block["seeds"]:
                continue
            kinds = study.catalog.attacks[attack].identity["kinds"]
            chosen = [
                target
                for target in targets
                if target in (block.get("targets") or targets) and study.catalog.tasks[target].identity["kind"] in kinds
            ]
            if chosen:
                study.attack_cells[attack, model, intermediate, seed] = {
                    "targets": chosen,
                    "examples": block["examples"],
                }
