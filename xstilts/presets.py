"""Presets: the hyper-parameters of a task by name, and what a preset means for one stage and one model.

Tasks that are trained hold training settings, retrieval tasks hold how sentences become vectors (nothing is trained).
The keys and their meaning: rules/schemas/task.schema.json, `$defs/preset` and `$defs/retrieval_preset`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from xstilts.errors import UserError
from xstilts.schema import allowed, check_part, read_schema, shown

# of each of these a preset has exactly one key: an override of one takes the place of the other
ALTERNATIVES = (("epochs", "max_steps"), ("warmup", "warmup_steps"))
# keys that a preset of this kind (or of this kind of mining) must have and others must not
KIND_HYPER = {
    "span_qa": ("doc_stride", "max_query_length", "max_answer_length", "n_best"),
    "tagging": ("labelled_piece",),
    "mlm": ("mask_probability",),
    "margin": ("neighbours", "duplicates"),
}
ABOUT = ("source", "models")  # keys of a preset that are no hyper-parameters


def schema(identity: dict, root: Path) -> dict:
    """JSON schema of a preset of a task with this identity: the keys that its kind uses, no others."""
    retrieval = identity["kind"] == "retrieval"
    general = read_schema("task", root)["$defs"]["retrieval_preset" if retrieval else "preset"]
    use = identity["options"]["mining"] if retrieval else identity["kind"]
    own = KIND_HYPER.get(use, ())
    foreign = {key for keys in KIND_HYPER.values() for key in keys} - set(own)
    properties = {key: value for key, value in general["properties"].items() if key not in foreign}
    return {**general, "properties": properties, "required": [*general["required"], *own]}


def keys(identity: dict, root: Path) -> list[str]:
    """Hyper-parameters that a preset of such a task may hold, in the schema's order."""
    return [key for key in schema(identity, root)["properties"] if key not in ABOUT]


def choices(entry) -> list[str]:
    """Presets of a task that a study may name; `<name>-intermediate` is taken by itself (see `resolve`)."""
    return [name for name in entry.presets if not name.endswith("-intermediate")]


def checked(entry, models: Mapping, root: Path) -> dict[str, dict]:
    """The presets of a task's entry with defaults filled in; UserError where one does not fit the task's kind.

    `models`: the catalog's models, which `models:` of a preset may name.
    """
    where = shown(entry.path, root)
    try:
        return {name: _checked(entry.identity, name, preset, models, root) for name, preset in entry.presets.items()}
    except UserError as error:
        raise UserError(f"{where}: {error} Next: see docs/adding.md, then `python -m xstilts catalog`.") from None


def resolve(entry, name: str, overrides: dict | None, stage: str, model, root: Path) -> dict:
    """Hyper-parameters of `entry` under preset `name`: the preset, then its `models:` row, then a study's overrides.

    `model` is a catalog entry or None. Raises UserError for an unknown preset, key or value.
    """
    special = f"{name}-intermediate"
    name = special if stage == "intermediate" and special in entry.presets else name
    if name not in entry.presets:
        where = shown(entry.path, root)
        raise UserError(f"{where}: presets: {entry.name} has no preset {name!r}.{allowed(name, entry.presets)}")
    at = f"training.overrides.{entry.name}"
    _check_changes(entry.identity, overrides or {}, at, root)
    preset = entry.presets[name]
    result = {key: value for key, value in preset.items() if key not in ABOUT}
    if model is not None:
        result = _changed(result, preset.get("models", {}).get(model.name, {}))
    result = _changed(result, overrides or {})
    if model is not None and "layer" in result:
        place = at if "layer" in (overrides or {}) else f"{shown(entry.path, root)}: presets.{name}"
        _check_depth(result["layer"], model, place)
    return result


def _checked(identity: dict, name: str, preset: dict, models: Mapping, root: Path) -> dict:
    at = f"presets.{name}"
    preset = check_part(preset, schema(identity, root), at)
    if identity["kind"] != "retrieval":
        for group in ALTERNATIVES:
            if sum(key in preset for key in group) != 1:
                raise UserError(f"{at}: give exactly one of {' and '.join(group)}.")
    _check_fraction(preset.get("layer"), at)
    for model, changes in preset.get("models", {}).items():
        if model not in models:
            raise UserError(f"{at}.models: the catalog has no model {model!r}.{allowed(model, models)}")
        _check_changes(identity, changes, f"{at}.models.{model}", root)
        if "layer" in changes:
            _check_depth(changes["layer"], models[model], f"{at}.models.{model}")
    return preset


def _check_changes(identity: dict, changes: dict, at: str, root: Path) -> None:
    """Every key of `changes` is a hyper-parameter of the kind and its value is one that a preset may have."""
    full = schema(identity, root)
    properties = {key: value for key, value in full["properties"].items() if key not in ABOUT}
    check_part(changes, {**full, "properties": properties, "required": []}, at)
    for group in ALTERNATIVES:
        if sum(key in changes for key in group) > 1:
            raise UserError(f"{at}: give only one of {' and '.join(group)}.")
    _check_fraction(changes.get("layer"), at)


def _changed(hyper: dict, changes: dict) -> dict:
    """`hyper` with `changes` in it; a changed key pushes out its alternative."""
    pushed = {key for group in ALTERNATIVES if set(group) & set(changes) for key in group}
    return {**{key: value for key, value in hyper.items() if key not in pushed}, **changes}


def _check_fraction(layer, at: str) -> None:
    if isinstance(layer, str) and "/" in layer:
        part, whole = map(int, layer.split("/"))
        if part > whole:
            raise UserError(f"{at}.layer: {layer!r} lies beyond the last block. Allowed: a fraction of at most 1.")


def _check_depth(layer, model, at: str) -> None:
    blocks = model.identity["layers"]
    if isinstance(layer, int) and layer > blocks:
        raise UserError(
            f"{at}.layer: {layer} is not allowed: {model.name} has {blocks} blocks. "
            f"Allowed: 0 (embeddings) to {blocks}, `last`, or a fraction such as 14/24."
        )
