"""The grid of a study: its mixtures, cells and attacks, filled in from the config, every name checked.

Each finding is one UserError that names the study's file, the key, the value and what is allowed. `study` is an
`xstilts.study.Study`; only that module uses this one.
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from pathlib import Path

from xstilts import places, presets
from xstilts.errors import UserError

NONE = "none"
ALL = "all"
# what only some samplings use: there it is needed (True) or may be left out
SAMPLING_KEYS = {"capped": {"cap": True}, "temperature": {"temperature": True, "cap": False}}
LEAST_REST = 0.01  # of the probability, for a mixture's tasks without a share: its steps grow with 1 / rest


@dataclass(frozen=True)
class Mixture:
    """Several intermediate tasks trained as one: the tasks and how batches are drawn from them."""

    tasks: tuple[str, ...]
    sampling: dict
    steps: int | None


def fill(study) -> None:
    """Add the mixtures, cells and attack cells that the config asks for; what cannot be computed is a notice."""
    config = study.config
    places.expand(study)
    _check_languages(study)
    for name, mixture in config["mixtures"].items():
        tasks = _mixture_tasks(study, name, mixture)
        if name in _asked_intermediates(study):
            _add_mixture(study, name, mixture, tasks)
    for index, block in enumerate(config["grid"]):
        _add_block(study, f"grid[{index}]", block)
    if not study.cells:
        raise UserError(f"{study.file}: grid: no cell is left to compute. " + " ".join(study.notices))
    for index, block in enumerate(config["attacks"]):
        _add_attacks(study, f"attacks[{index}]", block)


def check(study) -> None:
    """Presets and the user's files exist, every target and trained variant has languages that its source has too."""
    _check_training(study)
    places.check(study)
    study.notices += places.stand_ins(study)
    for task in [*study.targets, *(task for task in study.trained_tasks() if task in study.catalog.variants)]:
        _check_source_languages(study, task)
        if not study.languages(task):
            own = ", ".join(study.catalog.task_languages(task)) + f" ({task})"
            key, asked = _asked_languages(study, task)
            raise _error(study, key, asked, own)


def unique(items) -> list:
    """The items without repetition, in their order."""
    return list(dict.fromkeys(items))


def _error(study, key: str, value, allowed) -> UserError:
    names = [str(name) for name in allowed] if not isinstance(allowed, str) else []
    close = difflib.get_close_matches(str(value), names, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    listed = allowed if isinstance(allowed, str) else ", ".join(names)
    return UserError(
        f"{study.file}: {key}: {value!r} is not allowed.{hint} Allowed: {listed}. "
        "`python -m xstilts catalog` lists everything that exists."
    )


def _asked_intermediates(study) -> list[str]:
    """What the grid names as intermediates, whether or not it can be computed."""
    return unique(name for block in study.config["grid"] for name in block["intermediates"])


def _known(study, key: str, names: list[str], allowed) -> None:
    for name in names:
        if name not in allowed:
            raise _error(study, key, name, allowed)


def _check_languages(study) -> None:
    config, catalog = study.config, study.catalog
    if config["languages"] != "all":
        _known(study, "languages", config["languages"], catalog.languages)
    for target, codes in config["target_languages"].items():
        _known(study, "target_languages", [target], [*catalog.targets, *catalog.variants])
        if codes != "all":
            _known(study, f"target_languages.{target}", codes, catalog.task_languages(target))


def _asked_languages(study, task: str) -> tuple[str, str | list[str]]:
    """The config's key that says which languages a task has, and its value."""
    own = study.config["target_languages"]
    return (f"target_languages.{task}", own[task]) if task in own else ("languages", study.config["languages"])


def _check_training(study) -> None:
    """Every task that is trained or retrieves has the preset, overrides name such a task, and mixtures can be one."""
    training, trained = study.config["training"], study.trained_tasks()
    known = [*trained, *study.retrieval_targets]
    for task in training["overrides"]:
        if task not in known:
            via = study.catalog.tasks[task].identity["training_task"] if task in study.catalog.tasks else None
            hint = f" ({task} is trained as {via})" if via else ""
            raise _error(study, "training.overrides", task, ", ".join(known) + hint)
    before = {task for name in study.intermediates for task in study.intermediate_tasks(name)}
    after = {*study.training_tasks(study.targets), *known[len(trained) :]}
    hyper = {}
    for task in known:
        if training["preset"] not in presets.choices(study.catalog.tasks[task]):
            names = presets.choices(study.catalog.tasks[task])
            raise _error(study, f"training.preset (of {task})", training["preset"], names)
        for stage, used in (("intermediate", before), ("target", after)):
            for model in study.models if task in used else ():
                overrides = training["overrides"].get(task, {})
                try:
                    hyper[model, task, stage] = study.catalog.preset(task, training["preset"], overrides, stage, model)
                except UserError as error:  # it begins with training.overrides.<task> or the catalog's file
                    step = f"Next: set what is allowed under training.overrides.{task}, then `snakemake -n`."
                    raise UserError(f"{study.file}: {error} {step}") from None
    for name, new in study.renamed.items():
        for model in unique(model for model, intermediate, _ in study.cells if intermediate == new):
            tasks = study.mixtures[new].tasks
            _check_agreement(study, name, {task: hyper[model, task, "intermediate"] for task in tasks})


def _check_agreement(study, name: str, hyper: dict[str, dict]) -> None:
    """A mixture is one training: its tasks (-> hyper-parameters) have equal values of what cannot differ by batch."""
    scored = {task: values for task, values in hyper.items() if "dev" in study.train_splits(task)}
    looks = {task: values for task, values in scored.items() if values["selection"] == "english_dev_best"}
    for key, by_task in (("dropout", hyper), ("selection", scored), ("eval_every", looks), ("patience", looks)):
        if len({values.get(key) for values in by_task.values()}) > 1:
            found = ", ".join(f"{task} {values.get(key)}" for task, values in by_task.items())
            raise UserError(
                f"{study.file}: mixtures.{name}: its tasks disagree on {key}: {found}. Allowed: one value, for a "
                f"mixture is one training. Next: give them the same {key} under training.overrides.<task>."
            )


def _check_source_languages(study, target: str) -> None:
    """The chosen source has each language asked for: a lexicon for generated data, a file for local data, a part for
    the others."""
    source, parts = study.source(target)
    lexicons = {path.stem for path in (study.catalog.root / "catalog" / "lexicons").glob("*.yaml")}

    def has(code: str) -> bool:
        if source == "embedded":
            return code in lexicons
        mine = [part for part in parts if code in part.get("languages", [code])]
        return any(_has_file(study, part, target, code) for part in mine) if source == "local" else bool(mine)

    names = sorted(name for name in study.catalog.task_languages(target) if has(name))
    for code in study.languages(target):
        if code not in names and (names or source != "local"):  # no local file at all: `xstilts check` lists them
            key, _ = _asked_languages(study, target)
            raise _error(study, f"{key} (source {source} of {target})", code, names)


def _has_file(study, part: dict, task: str, code: str) -> bool:
    """Whether the data folder has a language of a local part: its test file, or training text of a variant."""
    name = part["splits"].get("test" if task in study.targets else "train")
    name = name["from"] if isinstance(name, dict) else name
    folder = Path(study.config["data_root"], part["folder"], (part.get("codes") or {}).get(code, code))
    return any((folder / f"{name}{side}.jsonl").is_file() for side in ("", "_source"))


def _mixture_tasks(study, name: str, mixture: dict) -> list[str]:
    """The tasks that a mixture asks for; an error where its settings mean nothing."""
    catalog, at = study.catalog, f"mixtures.{name}"
    if name == NONE or name in catalog.tasks:
        raise _error(study, at, name, "any name that is neither `none` nor a task of the catalog")
    keys = SAMPLING_KEYS.get(mixture["sampling"], {})
    for key in ("cap", "temperature"):
        if keys.get(key) and mixture[key] is None:
            raise _error(study, f"{at}.{key}", None, f"a number: sampling {mixture['sampling']} needs it")
        if key not in keys and mixture[key] is not None:
            users = " and ".join(method for method, used in SAMPLING_KEYS.items() if key in used)
            raise _error(study, f"{at}.{key}", mixture[key], f"null: only sampling {users} can have it")
    asked = [ALL] if mixture["tasks"] == ALL else mixture["tasks"]
    _known(study, f"{at}.tasks", asked, [ALL, *catalog.intermediates, *catalog.variants])
    tasks = unique(task for item in asked for task in (catalog.intermediates if item == ALL else [item]))
    shares = mixture["shares"]
    _known(study, f"{at}.shares", list(shares), tasks)
    # 0.7 + 0.2 + 0.1 is not quite 1
    if round(1 - math.fsum(shares.values()), 9) < LEAST_REST:
        allowed = f"shares that add up to at most {1 - LEAST_REST}: the other tasks have the rest"
        raise _error(study, f"{at}.shares", shares, allowed)
    _shares(study, name, shares, tasks, [])
    return tasks


def _shares(study, name: str, shares: dict, tasks: list[str], missing: list[str]) -> dict:
    """The fixed shares of the tasks that are there to be trained; one of these has none."""
    kept = {task: share for task, share in shares.items() if task not in missing}
    if kept and len(kept) == len(tasks) - len(missing):
        allowed = "at least one task of the mixture without a share, which has the rest"
        lost = f" (no source of {', '.join(missing)} can be used here: see `sources`)" if missing else ""
        raise _error(study, f"mixtures.{name}.shares", shares, allowed + lost)
    return kept


def _add_mixture(study, name: str, mixture: dict, tasks: list[str]) -> None:
    """Add a mixture of the tasks that can be used, by a name that says which could not; without any, none is added."""
    missing = [task for task in tasks if not _available(study, task)]
    if missing == tasks:
        study.notices.append(f"mixture {name} is left out: none of its tasks can be used.")
        return
    new = "-no-".join([name, *missing])
    if new != name and new in {*study.config["mixtures"], *study.mixtures, *study.catalog.tasks}:
        raise UserError(
            f"{study.file}: mixtures.{name}: without {', '.join(missing)}, of which no source can be used here, it is "
            f"named {new}, and that name is taken. Next: give one of the two another name."
        )
    if missing:
        study.notices.append(f"mixture {name} is trained without {', '.join(missing)} and named {new}.")
    sampling = {"method": mixture["sampling"]}
    sampling |= {key: mixture[key] for key in ("cap", "temperature") if mixture[key] is not None}
    shares = _shares(study, name, mixture["shares"], tasks, missing)
    # numbers that the paper must have had and nobody could find
    own = [f"{key} {value}" for key, value in sampling.items() if key != "method"]
    own += [f"share of {task} {share}" for task, share in shares.items()]
    if own:
        about = "this study's choice; the paper's K, T and mixing rates are not confirmed."
        study.notices.append(f"mixture {new}: {', '.join(own)}: {about}")
    study.renamed[name] = new
    kept = tuple(task for task in tasks if task not in missing)
    study.mixtures[new] = Mixture(kept, {**sampling, **({"shares": shares} if shares else {})}, mixture["steps"])


def _available(study, task: str) -> bool:
    try:
        study.source(task)
    except UserError as error:
        paths = f"{study.file}: sources: {study.config['sources']} (data_root: {study.config['data_root']}): "
        notice = f"{task} is left out: {str(error).removeprefix(paths)}"  # notices are in specs, which hold no path
        if notice not in study.notices:
            study.notices.append(notice)
        return False
    return True


def _add_block(study, key: str, block: dict) -> None:
    catalog, asked = study.catalog, block["intermediates"]
    _known(study, f"{key}.models", block["models"], catalog.models)
    single = [*catalog.intermediates, *catalog.variants]
    _known(study, f"{key}.intermediates", asked, [NONE, *single, *study.config["mixtures"]])
    targets = list(catalog.targets) if block["targets"] == "all" else block["targets"]
    _known(study, f"{key}.targets", targets, catalog.targets)
    for name in asked:
        if name in single and not _available(study, name):
            continue
        if name in study.config["mixtures"] and name not in study.renamed:
            continue  # left out, and said
        intermediate = study.renamed.get(name, name)
        for model in block["models"]:
            for seed in block["seeds"]:
                cell = study.cells.setdefault((model, intermediate, seed), [])
                cell += [target for target in targets if target not in cell]


def _add_attacks(study, key: str, block: dict) -> None:
    _known(study, f"{key}.attacks", block["attacks"], study.catalog.attacks)
    _known(study, f"{key}.models", block.get("models") or [], study.models)
    asked = [study.renamed.get(name, name) for name in block.get("intermediates") or []]
    # those that the grid names and that are left out have been said: no cell, no attack
    _known(study, f"{key}.intermediates", asked, unique([*study.intermediates, *_asked_intermediates(study)]))
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
