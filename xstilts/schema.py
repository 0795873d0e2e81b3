"""YAML files checked against rules/schemas, with one clear error for what is wrong.

The schemas are JSON Schema 2020-12; their `default`s are filled in and their `description`s are what an error shows.
"""

from __future__ import annotations

import copy
import difflib
import functools
import json
import math
import re
from collections.abc import Iterable
from pathlib import Path

import jsonschema
import yaml

from xstilts.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
# JSON Schema takes 2.0 as an integer and lets .nan and .inf pass every bound; no setting here means any of them
_types = jsonschema.Draft202012Validator.TYPE_CHECKER.redefine_many(
    {
        "integer": lambda _, value: isinstance(value, int) and not isinstance(value, bool),
        "number": lambda _, value: (
            isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        ),
    }
)
Validator = jsonschema.validators.extend(jsonschema.Draft202012Validator, type_checker=_types)


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
        raise UserError(f"{shown(Path(file), root)}: {explain(errors[0])}{more} {next_step(schema)}")
    return filled(value, read_schema(schema, root), read_schema(schema, root))


@functools.cache
def read_schema(name: str, root: Path) -> dict:
    """The JSON of <root>/rules/schemas/<name>.schema.json. Shared: do not change it."""
    return json.loads((root / "rules" / "schemas" / f"{name}.schema.json").read_text(encoding="utf-8"))


@functools.cache
def _validator(name: str, root: Path) -> Validator:
    return Validator(read_schema(name, root))


def filled(value, schema, root: dict):
    """A copy of `value` in which absent keys have their schema's default."""
    if isinstance(schema, dict) and "$ref" in schema:
        schema = functools.reduce(dict.__getitem__, schema["$ref"].removeprefix("#/").split("/"), root)
    if not isinstance(schema, dict):
        return value
    if isinstance(value, list):
        return [filled(item, schema.get("items"), root) for item in value]
    if not isinstance(value, dict):
        return value
    properties, others = schema.get("properties", {}), schema.get("additionalProperties")
    result = {key: filled(item, properties.get(key, others), root) for key, item in value.items()}
    for key, sub in properties.items():
        if key not in result and "default" in sub:
            result[key] = filled(copy.deepcopy(sub["default"]), sub, root)
    return result


def check_part(value: dict, schema: dict, at: str) -> dict:
    """`value` with the defaults of a JSON schema filled in; a UserError names the key path below `at`, but no file."""
    for error in Validator(schema).iter_errors(value):
        raise UserError(explain(error, at))
    return filled(value, schema, schema)


# ---- messages
def explain(error: jsonschema.ValidationError, at: str = "") -> str:
    """One schema error as `key.path: what is wrong. What is allowed.`; `at` is the path of the checked part."""
    path = ".".join(str(part) for part in [*([at] if at else []), *error.absolute_path])
    at = f"{path}: " if path else ""
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        unknown = next(key for key in error.instance if key not in known)
        return f"{at}unknown key {unknown!r}.{allowed(unknown, known)}"
    if error.validator == "required":
        missing = next(key for key in error.validator_value if key not in error.instance)
        described = error.schema["properties"][missing]
        return f"{at}key {missing!r} is missing ({described.get('description', '')})"
    if error.validator == "enum":
        return f"{at}{error.instance!r} is not allowed.{allowed(str(error.instance), error.validator_value)}"
    described = error.schema.get("description", "") if isinstance(error.schema, dict) else ""
    if error.validator == "type" and re.fullmatch(r"[-+]?\d+[eE][-+]?\d+", str(error.instance)):
        described += f" (YAML reads {error.instance} as text: write {str(error.instance).lower().replace('e', '.0e')})"
    if error.validator == "type" and isinstance(error.instance, float):
        if error.instance.is_integer():
            described += f" (a whole number: write {int(error.instance)})"
        elif not math.isfinite(error.instance):
            described += " (a finite number)"
    return f"{at}{error.message}. Expected: {described}"


def allowed(value: str, names: Iterable) -> str:
    """` Did you mean 'x'? Allowed: ...`"""
    names = [str(name) for name in names]
    close = difflib.get_close_matches(str(value), names, n=1)
    return (f" Did you mean {close[0]!r}?" if close else "") + f" Allowed: {', '.join(names) or 'nothing'}."


def next_step(schema: str) -> str:
    """What to do about an error in a file of this schema."""
    return (
        "Next: mend the file, then `snakemake -n`."
        if schema == "study"
        else "Next: see docs/adding.md, then `python -m xstilts catalog`."
    )


def shown(path: Path, root: Path) -> str:
    """`path` as messages show it: relative to the project where it lies inside."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
