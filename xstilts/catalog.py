"""What exists: tasks, models, attacks and languages, one file (or one row) each, checked against rules/schemas.

Every entry keeps apart what changes a result (`identity`), what only changes speed (`runtime`) and what is for
readers (`documentation`). How to add one: docs/adding.md.
"""

from __future__ import annotations

import copy
import difflib
import functools
import json
from dataclasses import dataclass, field
from pathlib import Path

import jsonschema
import yaml

from xstilts.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
GROUPS = ("classification", "tagging", "qa", "retrieval")
# XTREME's order within the groups; other targets follow by name
XTREME = ("xnli", "pawsx", "udpos", "panx", "xquad", "mlqa", "tydiqa", "bucc2018", "tatoeba")
# hyper-parameters of which a preset has exactly one: an override of one takes the place of the other
ALTERNATIVES = (("epochs", "max_steps"), ("warmup", "warmup_steps"))
# hyper-parameters that a preset of this kind must have, beside those that the schema requires of all
KIND_HYPER = {
    "span_qa": ("doc_stride", "max_query_length", "max_answer_length", "n_best"),
    "tagging": ("labelled_piece",),
}


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
    def published_path(self) -> Path:
        """CSV of published scores: model, intermediate, target, metric, value, status, source."""
        return self.root / "catalog" / "published.csv"

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
            f"{_shown(entry.path, self.root)}: sources: task {task} has {', '.join(entry.sources)}; usable here: "
            f"{', '.join(order) or 'none'}. Add one of the task's sources to `sources:` of the study (`local` also "
            f"needs `data_root`, `licensed` a path under `licensed:`) or leave {task} out."
            + (f" {gate}" if gate else "")
        )

    def preset(self, task: str, name: str, overrides: dict | None = None, stage: str = "target") -> dict:
        """Hyper-parameters of one training task under a preset, with a study's overrides on top.

        With stage="intermediate" the preset `<name>-intermediate` is taken where the task has one (MNLI and SQuAD are
        trained differently as intermediate and as target task). Units: lengths in tokens, batch in examples an update.
        """
        entry = self._task(task)
        where = _shown(entry.path, self.root)
        special = f"{name}-intermediate"
        if stage == "intermediate" and special in entry.presets:
            name = special
        if name not in entry.presets:
            raise UserError(f"{where}: presets: {task} has no preset {name!r}.{_allowed(name, entry.presets)}")
        result = {key: value for key, value in entry.presets[name].items() if key != "source"}
        known = _schema("task", self.root)["$defs"]["preset"]["properties"]
        for key in overrides or {}:
            if key not in known or key == "source":
                allowed = [other for other in known if other != "source"]
                raise UserError(f"training.overrides.{task}: unknown hyper-parameter {key!r}.{_allowed(key, allowed)}")
            for group in ALTERNATIVES:
                if key in group:
                    result = {other: value for other, value in result.items() if other not in group}
        return {**result, **(overrides or {})}

    def _task(self, name: str) -> Entry:
        if name not in self.tasks:
            raise UserError(f"catalog/tasks: there is no task {name!r}.{_allowed(name, self.tasks)}")
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
                f"{_shown(path, root)}: language: no mapping, and catalog/languages.yaml has no row {path.stem!r}. "
                "Add `language: {name, iso3, script, family}` to this file (docs/adding.md)."
            )
        row = validate({path.stem: lexicon["language"]}, "languages", path, root)
        languages = {**languages, **row}
        lexicon_targets[path.stem] = list(lexicon.get("targets", []))
    catalog = Catalog(
        root, tasks, models, attacks, languages, lexicon_targets, _claims(folder), revisions(folder / "revisions.lock")
    )
    _cross_check(catalog)
    return catalog


def revisions(path: Path) -> dict[str, dict]:
    """Pinned hub revisions: id -> {revision, kind, pinned_on, files} (written by `xstilts pin`)."""
    return read_yaml(path) if path.exists() else {}


def read_yaml(path: Path) -> dict:
    """Parse one YAML mapping (`{}` for an empty file); a missing or broken one is a UserError that names it."""
    try:
        value = yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not YAML: {error}") from error
    if not isinstance(value or {}, dict):
        raise UserError(f"{path}: expected `key: value` lines at the top, found a {type(value).__name__}")
    return value or {}


def validate(value: dict, schema: str, file: Path | str, root: Path | str | None = None) -> dict:
    """`value` with the defaults of rules/schemas/<schema>.schema.json filled in.

    Raises UserError naming file, key path, value, what is allowed and the closest match.
    """
    root = Path(root) if root else ROOT
    errors = sorted(_validator(schema, root).iter_errors(value), key=lambda error: [str(part) for part in error.path])
    if errors:
        more = f" ({len(errors) - 1} more)" if len(errors) > 1 else ""
        raise UserError(f"{_shown(Path(file), root)}: {_explain(errors[0])}{more} {_next(schema)}")
    return _filled(value, _schema(schema, root), _schema(schema, root))


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
    for entry in catalog.tasks.values():
        identity, where = entry.identity, _shown(entry.path, catalog.root)
        options = _schema("task", catalog.root)["$defs"]["options"][identity["kind"]]
        errors = list(jsonschema.Draft202012Validator(options).iter_errors(identity["options"]))
        if errors:
            raise UserError(f"{where}: identity.options.{_explain(errors[0])} {_next('task')}")
        identity["options"] = _filled(identity["options"], options, options)
        for code in identity["languages"]:
            if code not in catalog.languages:
                raise UserError(f"{where}: identity.languages: {code!r} is unknown.{_allowed(code, catalog.languages)}")
        if "target" in identity["roles"] and "group" not in identity:
            raise UserError(f"{where}: identity.group: missing; a target needs one. Allowed: {', '.join(GROUPS)}")
        training = identity["training_task"]
        if training is not None and training not in catalog.tasks:
            raise UserError(
                f"{where}: identity.training_task: no task {training!r}.{_allowed(training, catalog.tasks)}"
            )
        for preset, hyper in entry.presets.items():
            for group in ALTERNATIVES:
                if sum(key in hyper for key in group) != 1:
                    raise UserError(f"{where}: presets.{preset}: give exactly one of {' and '.join(group)}")
            for key in KIND_HYPER.get(identity["kind"], ()):
                if key not in hyper:
                    raise UserError(f"{where}: presets.{preset}.{key}: missing; kind {identity['kind']} needs it")


@functools.cache
def _schema(name: str, root: Path) -> dict:
    return json.loads((root / "rules" / "schemas" / f"{name}.schema.json").read_text(encoding="utf-8"))


@functools.cache
def _validator(name: str, root: Path) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(_schema(name, root))


def _filled(value, schema, root: dict):
    """A copy of `value` in which absent keys have their schema's default."""
    if isinstance(schema, dict) and "$ref" in schema:
        schema = functools.reduce(dict.__getitem__, schema["$ref"].removeprefix("#/").split("/"), root)
    if not isinstance(schema, dict):
        return value
    if isinstance(value, list):
        return [_filled(item, schema.get("items"), root) for item in value]
    if not isinstance(value, dict):
        return value
    properties, others = schema.get("properties", {}), schema.get("additionalProperties")
    result = {key: _filled(item, properties.get(key, others), root) for key, item in value.items()}
    for key, sub in properties.items():
        if key not in result and "default" in sub:
            result[key] = _filled(copy.deepcopy(sub["default"]), sub, root)
    return result


# ---- messages
def _explain(error: jsonschema.ValidationError) -> str:
    """One schema error as `key.path: what is wrong. What is allowed.`"""
    path = ".".join(str(part) for part in error.absolute_path)
    at = f"{path}: " if path else ""
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        unknown = next(key for key in error.instance if key not in known)
        return f"{at}unknown key {unknown!r}.{_allowed(unknown, known)}"
    if error.validator == "required":
        missing = next(key for key in error.validator_value if key not in error.instance)
        described = error.schema["properties"][missing]
        return f"{at}key {missing!r} is missing ({described.get('description', '')})"
    if error.validator == "enum":
        return f"{at}{error.instance!r} is not allowed.{_allowed(str(error.instance), error.validator_value)}"
    described = error.schema.get("description", "") if isinstance(error.schema, dict) else ""
    return f"{at}{error.message}. Expected: {described}"


def _allowed(value: str, names) -> str:
    """` Did you mean 'x'? Allowed: ...`"""
    names = [str(name) for name in names]
    close = difflib.get_close_matches(str(value), names, n=1)
    return (f" Did you mean {close[0]!r}?" if close else "") + f" Allowed: {', '.join(names) or 'nothing'}."


def _next(schema: str) -> str:
    return (
        "Next: mend the file, then `snakemake -n`."
        if schema == "study"
        else "Next: see docs/adding.md, then `python -m xstilts catalog`."
    )


def _shown(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
