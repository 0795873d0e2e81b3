"""A study: the grid of cells and attacks that one config file asks for, checked against the catalog.

cell = model x intermediate x seed, with the targets it is evaluated on. Everything here is planning: no data is read
(but for the existence of local files) and nothing heavy is imported, so that a dry run stays quick.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from pathlib import Path

from xstilts import catalog as catalogs
from xstilts.errors import UserError
from xstilts.identity import ROOT

RETRIEVAL = ("bucc2018", "tatoeba")
NONE = "none"


@dataclass(frozen=True)
class Mixture:
    """Several intermediate tasks trained as one: the tasks and how batches are drawn from them."""

    tasks: tuple[str, ...]
    sampling: dict
    steps: int | None


@dataclass
class Study:
    """A checked study. `cells` and `attack_cells` are in the order of the config; `notices` says what was left out."""

    name: str
    config: dict
    file: str
    catalog: catalogs.Catalog
    mixtures: dict[str, Mixture] = field(default_factory=dict)
    cells: dict[tuple[str, str, int], list[str]] = field(default_factory=dict)
    attack_cells: dict[tuple[str, str, str, int], dict] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)

    # ---- what is in the study, each in a stable order
    @property
    def models(self) -> list[str]:
        return _unique(model for model, _, _ in self.cells)

    @property
    def intermediates(self) -> list[str]:
        return _unique(name for _, name, _ in self.cells)

    @property
    def seeds(self) -> list[int]:
        return _unique(seed for _, _, seed in self.cells)

    @property
    def targets(self) -> list[str]:
        """Targets of any cell, in the catalog's order."""
        used = {target for targets in self.cells.values() for target in targets}
        return [name for name in self.catalog.targets if name in used]

    @property
    def attacks(self) -> list[str]:
        return _unique(attack for attack, _, _, _ in self.attack_cells)

    @property
    def demonstration(self) -> bool:
        """True where data is generated or cut short, or training lasts a demo's few steps: then nothing is evidence."""
        capped = any(self.config["data"][split] is not None for split in ("train", "dev", "test"))
        return capped or "embedded" in self.config["sources"] or self.config["training"]["preset"] == "demo"

    def languages(self, target: str) -> list[str]:
        """The study's languages of one target, in the task's own order."""
        own = self.catalog.task_languages(target)
        asked = self.config["target_languages"].get(target, self.config["languages"])
        return own if asked == "all" else [code for code in own if code in asked]

    def training_tasks(self, targets: list[str]) -> list[str]:
        """The distinct target trainings that serve `targets` (XQuAD and MLQA share SQuAD's)."""
        return _unique(task for task in map(self.training_task, targets) if task)

    def training_task(self, target: str) -> str | None:
        return self.catalog.tasks[target].identity["training_task"]

    def served(self, training_task: str) -> list[str]:
        """Targets of this study that are evaluated with the model trained on `training_task`."""
        return [target for target in self.targets if self.training_task(target) == training_task]

    def intermediate_tasks(self, intermediate: str) -> tuple[str, ...]:
        """The English tasks behind an intermediate: one, or a mixture's, or none."""
        if intermediate == NONE:
            return ()
        return self.mixtures[intermediate].tasks if intermediate in self.mixtures else (intermediate,)

    def source(self, task: str) -> tuple[str, list[dict]]:
        """(name, parts) of the first source in the study's order that the task has and that can be used here."""
        usable = [name for name in self.config["sources"] if self._usable(name, task)]
        try:
            return self.catalog.task_source(task, usable)
        except UserError as error:
            raise UserError(
                f"{self.file}: sources: {self.config['sources']} (data_root: {self.config['data_root']}): {error}"
            ) from None

    def _usable(self, source: str, task: str) -> bool:
        """Whether a source can be used for a task: `local` needs the task's folders, `licensed` a path."""
        if source == "local":
            root = self.config["data_root"]
            parts = self.catalog.tasks[task].sources.get("local", [])
            return bool(root) and all(Path(root, part["folder"]).is_dir() for part in parts)
        return source != "licensed" or any(self.config["licensed"].values())

    def unpinned(self) -> list[str]:
        """Hub ids (data sets and models) that the study needs and catalog/revisions.lock does not pin."""
        ids = [
            part["id"]
            for task in self.data_tasks()
            for name, parts in [self.source(task)]
            if name == "hub"
            for part in parts
        ]
        sources = [self.catalog.models[model].identity["source"] for model in self.models]
        hub = [source for source in sources if source["type"] == "hub"]
        ids += [place["id"] for source in hub for place in (source, source.get("tokenizer") or source)]
        return [name for name in _unique(ids) if name not in self.catalog.revisions]

    def trained_tasks(self) -> list[str]:
        """Every task whose English training data the study reads."""
        trained = [task for name in self.intermediates for task in self.intermediate_tasks(name)]
        return _unique([*trained, *self.training_tasks(self.targets)])

    def data_tasks(self) -> list[str]:
        """Every task whose data the study reads, for training or as a test."""
        return _unique([*self.trained_tasks(), *self.targets])


def load(config: dict, file: str, root: Path = ROOT) -> Study:
    """Check a study config against its schema and the catalog. Raises UserError before anything is planned."""
    catalog = catalogs.load(root)
    config = catalogs.validate(config, "study", file, root)
    study = Study(config["study"], config, file, catalog)
    if config["data_root"] and not Path(config["data_root"]).is_dir():
        raise _error(study, "data_root", config["data_root"], "an existing folder")
    _check_languages(study)
    for name, mixture in config["mixtures"].items():
        _add_mixture(study, name, mixture)
    for index, block in enumerate(config["grid"]):
        _add_block(study, f"grid[{index}]", block)
    if not study.cells:
        raise UserError(f"{file}: grid: no cell is left to compute. " + " ".join(study.notices))
    for index, block in enumerate(config["attacks"]):
        _add_attacks(study, f"attacks[{index}]", block)
    _check_training(study)
    for target in study.targets:
        _check_source_languages(study, target)
        if not study.languages(target):
            raise _error(
                study, "languages", config["languages"], ", ".join(catalog.task_languages(target)) + f" ({target})"
            )
    return study


# ---- checks
def _unique(items) -> list:
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
        _known(study, "target_languages", [target], catalog.targets)
        if codes != "all":
            _known(study, f"target_languages.{target}", codes, catalog.task_languages(target))


def _check_training(study: Study) -> None:
    """Presets exist for every task that is trained, and overrides name such a task."""
    training, trained = study.config["training"], study.trained_tasks()
    for task in training["overrides"]:
        if task not in trained:
            via = study.catalog.tasks[task].identity["training_task"] if task in study.catalog.tasks else None
            hint = f" ({task} is trained as {via})" if via else ""
            raise _error(study, "training.overrides", task, ", ".join(trained) + hint)
    for task in trained:
        try:
            study.catalog.preset(task, training["preset"], training["overrides"].get(task, {}))
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
    tasks = list(catalog.intermediates) if mixture["tasks"] == "all" else mixture["tasks"]
    _known(study, f"mixtures.{name}.tasks", tasks, catalog.intermediates)
    missing = [task for task in tasks if not _available(study, task)]
    kept = tuple(task for task in tasks if task not in missing)
    if missing:
        new = "-no-".join([name, *missing])
        study.notices.append(f"mixture {name} is trained without {', '.join(missing)} and named {new}.")
    sampling = {key: mixture[key] for key in ("sampling", "cap", "temperature") if mixture.get(key) is not None}
    sampling = {"method" if key == "sampling" else key: value for key, value in sampling.items()}
    study.renamed[name] = "-no-".join([name, *missing])
    study.mixtures[study.renamed[name]] = Mixture(kept, sampling, mixture["steps"])


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
    _known(study, f"{key}.intermediates", asked, [NONE, *catalog.intermediates, *study.renamed])
    targets = list(catalog.targets) if block["targets"] == "all" else block["targets"]
    _known(study, f"{key}.targets", targets, catalog.targets)
    for intermediate in (study.renamed.get(name, name) for name in asked):
        if intermediate in catalog.intermediates and not _available(study, intermediate):
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
