"""What exists: tasks, models, attacks and languages, one file (or one row) each, checked against rules/schemas.

Every entry keeps apart what changes a result (`identity`), what only changes speed (`runtime`) and what is for
readers (`documentation`). How to add one: docs/adding.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from xstilts import presets
from xstilts.errors import UserError
from xstilts.hub import lock
from xstilts.schema import ROOT, allowed, check_part, next_step, read_schema, read_yaml, shown, validate

__all__ = ["ROOT", "Catalog", "Entry", "load", "read_yaml", "validate"]
SEARCHED = ("transform", "search", "constraints", "goals", "budget")  # of an attack that is no static set
GROUPS = ("classification", "tagging", "qa", "retrieval")
# XTREME's order within the groups; other targets follow by name
XTREME = ("xnli", "pawsx", "udpos", "panx", "xquad", "mlqa", "tydiqa", "bucc2018", "tatoeba")


@dataclass(frozen=True)
class Entry:
    """One task, model or attack; the blocks are as in its file with defaults filled in (absent blocks are empty)."""

    name: str
    path: Path
    identity: dict
    sources: dict = field(default_factory=dict)
    presets: dict = field(default_factory=dict)
    size: dict = field(default_factory=dict)
    runtime: dict = field(default_factory=dict)
    documentation: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Catalog:
    """All entries by name. `languages`: code -> {name, iso3, script, family, spaces, direction}."""

    root: Path
    tasks: dict[str, Entry]
    models: dict[str, Entry]
    attacks: dict[str, Entry]
    languages: dict[str, dict]
    lexicon_targets: dict[str, list[str]]
    claims: list[dict]
    revisions: dict[str, dict]

    @property
    def targets(self) -> list[str]:
        """Names of the target tasks in XTREME's order, by group."""
        names = [name for name, task in self.tasks.items() if "target" in task.identity["roles"]]
        names.sort(key=lambda name: (XTREME.index(name) if name in XTREME else len(XTREME), name))
        return sorted(names, key=lambda name: GROUPS.index(self.tasks[name].identity["group"]))

    @property
    def intermediates(self) -> list[str]:
        """Names of the English intermediate tasks, alphabetically."""
        return sorted(name for name, task in self.tasks.items() if "intermediate" in task.identity["roles"])

    @property
    def variants(self) -> list[str]:
        """Names of tasks that can be trained on as intermediates but are not part of `tasks: all`, alphabetically."""
        return sorted(name for name, task in self.tasks.items() if "variant" in task.identity["roles"])

    @property
    def challenges(self) -> list[str]:
        """Names of static sets that attacks put to trained models, alphabetically."""
        return sorted(name for name, task in self.tasks.items() if "challenge" in task.identity["roles"])

    @property
    def published_path(self) -> Path:
        """CSV of published scores: model, intermediate, target, metric, value, status, source."""
        return self.root / "catalog" / "published.csv"

    @property
    def lock_path(self) -> Path:
        """Pinned revisions of hub data and models (xstilts/hub/lock.py), written by `xstilts pin`."""
        return self.root / "catalog" / lock.DEFAULT.name

    @property
    def candidates_path(self) -> Path:
        """YAML of revisions that others use, to be confirmed by `xstilts pin`."""
        return self.root / "catalog" / "candidates.yaml"

    def task_languages(self, task: str) -> list[str]:
        """The task's own list, then languages that a lexicon adds to this task's generated data."""
        entry = self._task(task)
        added = [
            code for code, targets in self.lexicon_targets.items() if task in targets and "embedded" in entry.sources
        ]
        return [*entry.identity["languages"], *(code for code in added if code not in entry.identity["languages"])]

    def task_source(self, task: str, order: list[str]) -> tuple[str, list[dict]]:
        """(name, parts) of the first source of `order` that the task has; UserError where it has none of them."""
        entry = self._task(task)
        for name in order:
            if name in entry.sources:
                return name, entry.sources[name]
        gate = entry.documentation.get("gate")
        raise UserError(
            f"{shown(entry.path, self.root)}: sources: task {task} has {', '.join(entry.sources)}; usable here: "
            f"{', '.join(order) or 'none'}. Add one of the task's sources to `sources:` of the study (`local` also "
            f"needs `data_root`, `licensed` a path under `licensed:`) or leave {task} out."
            + (f" {gate}" if gate else "")
        )

    def preset(
        self, task: str, name: str, overrides: dict | None = None, stage: str = "target", model: str | None = None
    ) -> dict:
        """Hyper-parameters of one task under a preset, for one model where its name is given, then a study's overrides.

        With stage="intermediate" the preset `<name>-intermediate` is taken where the task has one (MNLI and SQuAD are
        trained differently as intermediate and as target task). Units: lengths in tokens, batch in examples an update.
        """
        if model is not None and model not in self.models:
            raise UserError(f"catalog/models: there is no model {model!r}.{allowed(model, self.models)}")
        return presets.resolve(self._task(task), name, overrides, stage, self.models.get(model), self.root)

    def _task(self, name: str) -> Entry:
        if name not in self.tasks:
            raise UserError(f"catalog/tasks: there is no task {name!r}.{allowed(name, self.tasks)}")
        return self.tasks[name]


def load(root: Path | str | None = None) -> Catalog:
    """Read and check everything under `<root>/catalog` (default: this project); UserError at the first fault."""
    root = Path(root) if root else ROOT
    folder = root / "catalog"
    tasks, models, attacks = (_entries(folder, kind, root) for kind in ("task", "model", "attack"))
    languages = validate(read_yaml(folder / "languages.yaml"), "languages", folder / "languages.yaml", root)
    lexicon_targets = {}
    for path in sorted((folder / "lexicons").glob("*.yaml")):
        if path.stem in languages:
            continue
        lexicon = read_yaml(path)
        if not isinstance(lexicon.get("language"), dict):
            raise UserError(
                f"{shown(path, root)}: language: no mapping, and catalog/languages.yaml has no row {path.stem!r}. "
                "Add `language: {name, iso3, script, family}` to this file (docs/adding.md)."
            )
        row = validate({path.stem: lexicon["language"]}, "languages", path, root)
        languages = {**languages, **row}
        lexicon_targets[path.stem] = list(lexicon.get("targets", []))
    catalog = Catalog(
        root, tasks, models, attacks, languages, lexicon_targets, _claims(folder), lock.read(folder / lock.DEFAULT.name)
    )
    _cross_check(catalog)
    return catalog


# ---- reading
def _entries(folder: Path, kind: str, root: Path) -> dict[str, Entry]:
    result = {}
    for path in sorted((folder / f"{kind}s").glob("*.yaml")):
        result[path.stem] = Entry(path.stem, path, **validate(read_yaml(path), kind, path, root))
    return result


def _claims(folder: Path) -> list[dict]:
    path = folder / "claims.yaml"
    return read_yaml(path).get("claims", []) if path.exists() else []


def _cross_check(catalog: Catalog) -> None:
    """What a schema cannot say: references between entries, and what a kind or role asks of an entry."""
    for name, entry in catalog.tasks.items():
        identity, where = entry.identity, shown(entry.path, catalog.root)
        options = read_schema("task", catalog.root)["$defs"]["options"][identity["kind"]]
        try:
            identity["options"] = check_part(identity["options"], options, "identity.options")
        except UserError as error:
            raise UserError(f"{where}: {error} {next_step('task')}") from None
        for code in identity["languages"]:
            if code not in catalog.languages:
                raise UserError(f"{where}: identity.languages: {code!r} is unknown.{allowed(code, catalog.languages)}")
        if "target" in identity["roles"] and "group" not in identity:
            raise UserError(f"{where}: identity.group: missing; a target needs one. Allowed: {', '.join(GROUPS)}")
        for role in ("variant", "challenge"):
            if role in identity["roles"] and len(identity["roles"]) > 1:
                raise UserError(f"{where}: identity.roles: {identity['roles']}: a {role} has no other role")
        if "challenge" in identity["roles"] and not identity["training_task"]:
            raise UserError(f"{where}: identity.training_task: missing; a challenge is put to the model trained on it")
        if not identity["metrics"] and identity["kind"] != "mlm":
            raise UserError(f"{where}: identity.metrics: empty; only kind mlm is without a metric")
        local = entry.sources.get("local", [])
        for part in local:
            others = [one["folder"] for one in local if one is not part]
            if "replaces" in part and part["replaces"] not in others:
                known = allowed(part["replaces"], others)
                raise UserError(f"{where}: sources.local: replaces: no other part has {part['replaces']!r}.{known}")
        training = identity["training_task"]
        if training is not None and training not in catalog.tasks:
            raise UserError(f"{where}: identity.training_task: no task {training!r}.{allowed(training, catalog.tasks)}")
        catalog.tasks[name] = replace(entry, presets=presets.checked(entry, catalog.models, catalog.root))
    for entry in catalog.attacks.values():
        _check_attack(catalog, entry)


def _check_attack(catalog: Catalog, entry: Entry) -> None:
    """Names in an attack exist, and a static set has nothing of a search."""
    identity, where = entry.identity, shown(entry.path, catalog.root)

    def known(key: str, name: str, names: Iterable[str]) -> None:
        if name not in names:
            next_ = next_step("attack")
            raise UserError(f"{where}: identity.{key}: {name!r} is unknown.{allowed(name, names)} {next_}")

    for target in identity.get("targets", []):
        known("targets", target, catalog.targets)
    for name in identity["never_after"]:
        known("never_after", name, [*catalog.intermediates, *catalog.variants])
    for code in identity["stand_ins"].get("languages", []):
        known("stand_ins.languages", code, catalog.languages)
    for stand_in in ("mlm", "encoder"):
        if stand_in in identity["stand_ins"]:
            known(f"stand_ins.{stand_in}.model", identity["stand_ins"][stand_in]["model"], catalog.models)
    if identity["set"]:
        known("set.task", identity["set"]["task"], catalog.challenges)
        searched = [key for key in SEARCHED if key in identity]
        if searched:
            raise UserError(f"{where}: identity.{searched[0]}: not allowed beside `set`: a static set is not searched")
    if identity.get("constraints", {}).get("similarity") and "encoder" not in identity["stand_ins"]:
        raise UserError(f"{where}: identity.stand_ins.encoder: missing; constraints.similarity is measured by it")
