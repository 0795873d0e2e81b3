"""The grid of a study: its cells and attacks (and mixtures: xstilts/mixing.py), filled in, every name checked.

Each finding is one UserError that names the study's file, the key, the value and what is allowed. `study` is an
`xstilts.study.Study`; only that module uses this one.
"""

from __future__ import annotations

from pathlib import Path

from xstilts import attack_plan, findings, mixing, places, presets, schema
from xstilts.errors import UserError
from xstilts.findings import unique
from xstilts.mixing import ALL, NONE


def fill(study) -> None:
    """Add the mixtures, cells and attack cells that the config asks for; what cannot be computed is a notice."""
    config = study.config
    places.expand(study)
    _check_languages(study)
    for name, mixture in config["mixtures"].items():
        tasks = mixing.tasks_of(study, name, mixture)
        if name in _asked_intermediates(study):
            mixing.add(study, name, mixture, tasks)
    for index, block in enumerate(config["grid"]):
        _add_block(study, f"grid[{index}]", block)
    if not study.cells:
        raise UserError(f"{study.file}: grid: no cell is left to compute. " + " ".join(study.notices))
    attack_plan.fill(study, _asked_intermediates(study))


def check(study) -> None:
    """Presets and the user's files exist, every target and trained variant has languages that its source has too."""
    _check_training(study)
    _check_lora(study)
    places.check(study)
    study.notices += places.stand_ins(study)
    for task in [*study.targets, *(task for task in study.trained_tasks() if task in study.catalog.variants)]:
        _check_source_languages(study, task)
        if not study.languages(task):
            own = ", ".join(study.catalog.task_languages(task)) + f" ({task})"
            key, asked = _asked_languages(study, task)
            raise findings.error(study, key, asked, own)


def _asked_intermediates(study) -> list[str]:
    """What the grid names as intermediates, whether or not it can be computed."""
    return unique(name for block in study.config["grid"] for name in block["intermediates"])


def _check_languages(study) -> None:
    config, catalog = study.config, study.catalog
    if config["languages"] != "all":
        findings.known(study, "languages", config["languages"], catalog.languages)
    for target, codes in config["target_languages"].items():
        findings.known(study, "target_languages", [target], [*catalog.targets, *catalog.variants])
        if codes != "all":
            findings.known(study, f"target_languages.{target}", codes, catalog.task_languages(target))


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
            raise findings.error(study, "training.overrides", task, ", ".join(known) + hint)
    before = {task for _, name, _ in study.encoders for task in study.intermediate_tasks(name)}
    after = {*study.training_tasks(study.targets), *known[len(trained) :]}
    hyper = {}
    for task in known:
        if training["preset"] not in presets.choices(study.catalog.tasks[task]):
            names = presets.choices(study.catalog.tasks[task])
            raise findings.error(study, f"training.preset (of {task})", training["preset"], names)
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


def _check_lora(study) -> None:
    """LoRA's settings stand beside `trainable: lora`; where it trains at a rate for all weights, that is said."""
    training, root = study.config["training"], study.catalog.root
    if training["trainable"] != "lora":
        known = schema.read_schema("study", root)["properties"]["training"]["properties"]["lora"]["properties"]
        for key, value in training["lora"].items():
            if value != known[key]["default"]:
                allowed = f"nothing beside `trainable: {training['trainable']}`, which has no adapters"
                raise findings.error(study, f"training.lora.{key}", value, allowed)
        return
    own = training["overrides"]
    plain = [task for task in study.trained_tasks() if "learning_rate" not in own.get(task, {})]
    if plain:
        study.notices.append(
            f"trainable: lora: the learning rates of {', '.join(plain)} are those of preset {training['preset']}, made "
            "for training other weights (LoRA's authors take 3e-4 for RoBERTa large on MNLI): set learning_rate under "
            "training.overrides.<task>."
        )


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
            raise findings.error(study, f"{key} (source {source} of {target})", code, names)


def _has_file(study, part: dict, task: str, code: str) -> bool:
    """Whether the data folder has a language of a local part: its test file, or training text of a variant."""
    name = part["splits"].get("test" if task in study.targets else "train")
    name = name["from"] if isinstance(name, dict) else name
    folder = Path(study.config["data_root"], part["folder"], (part.get("codes") or {}).get(code, code))
    return any((folder / f"{name}{side}.jsonl").is_file() for side in ("", "_source"))


def _add_block(study, key: str, block: dict) -> None:
    catalog, asked = study.catalog, block["intermediates"]
    findings.known(study, f"{key}.models", block["models"], catalog.models)
    single = [*catalog.intermediates, *catalog.variants]
    findings.known(study, f"{key}.intermediates", asked, [NONE, *single, *study.config["mixtures"]])
    targets = mixing.of_all(study, catalog.targets) if block["targets"] == ALL else block["targets"]
    if block["targets"] == ALL:
        mixing.say_left_out(study, catalog.targets)
    findings.known(study, f"{key}.targets", targets, catalog.targets)
    for name in asked:
        if name in single and not mixing.available(study, name):
            continue
        if name in study.config["mixtures"] and name not in study.renamed:
            continue  # left out, and said
        intermediate = study.renamed.get(name, name)
        for model in block["models"]:
            for seed in block["seeds"]:
                cell = study.cells.setdefault((model, intermediate, seed), [])
                cell += [target for target in targets if target not in cell]
