"""`python -m xstilts catalog diff`: where presets differ, task by task."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from xstilts import presets
from xstilts.catalog import Catalog
from xstilts.errors import UserError
from xstilts.schema import allowed
from xstilts.text_table import table

ABSENT = "–"  # a preset without this key
WIDTH = 110  # columns that sources are wrapped to


def compare(
    catalog: Catalog, names: Sequence[str], tasks: Sequence[str] = (), model: str | None = None
) -> dict[str, dict[str, list]]:
    """task -> key -> the value under each of the presets `names` (ABSENT: none), only keys whose values differ.

    Tasks: those named (a target stands for the task that it is trained on), otherwise all that have every one of the
    presets. With `model` the presets' `models:` rows are applied; without it they are rows of their own,
    `key [model]`. UserError for unknown presets, tasks or models.
    """
    _check_names(catalog, names, model)
    chosen = dict.fromkeys(_trained(catalog, task) for task in tasks) if tasks else comparable(catalog, names)
    return {task: _differences(catalog, task, names, model) for task in chosen}


def comparable(catalog: Catalog, names: Sequence[str]) -> list[str]:
    """Tasks that have all of these presets: what targets are trained on, retrieval targets, intermediates, variants."""
    trained = [catalog.tasks[name].identity["training_task"] or name for name in catalog.targets]
    order = dict.fromkeys([*trained, *catalog.intermediates, *catalog.variants, *catalog.tasks])
    return [task for task in order if set(names) <= set(catalog.tasks[task].presets)]


def show(
    catalog: Catalog,
    names: Sequence[str],
    tasks: Sequence[str] = (),
    model: str | None = None,
    sources: bool = False,
) -> str:
    """The differences as plain-text tables; with `sources` each preset's `source:` below its task's table."""
    found = compare(catalog, names, tasks, model)
    parts = []
    for task, rows in found.items():
        if rows:
            cells = [[key, *map(_text, values)] for key, values in rows.items()]
            title = _title(catalog, task) + (f", {model}" if model else "")
            parts.append(table(title, ["key", *names], cells, count=False))
            parts += [_sources(catalog, task, names)] if sources else []
    equal = [task for task, rows in found.items() if not rows]
    if equal:
        parts.append(f"No difference: {', '.join(equal)}.")
        parts += [_sources(catalog, task, names) for task in equal] if sources and tasks else []
    if not tasks:
        left = [task for task, entry in catalog.tasks.items() if entry.presets and task not in found]
        parts += [f"Not compared, for they lack one of these presets: {', '.join(left)}."] if left else []
    if not sources:
        parts.append("Where the numbers were read: add --sources.")
    return "\n\n".join(parts)


def _check_names(catalog: Catalog, names: Sequence[str], model: str | None) -> None:
    if len(names) < 2:
        raise UserError("catalog diff: give at least two presets, for example `catalog diff jiant xtreme-2020`.")
    known = list(dict.fromkeys(name for entry in catalog.tasks.values() for name in entry.presets))
    for name in names:
        if name not in known:
            raise UserError(f"catalog diff: no task has a preset {name!r}.{allowed(name, known)}")
    if model is not None and model not in catalog.models:
        raise UserError(f"catalog diff: --model: there is no model {model!r}.{allowed(model, catalog.models)}")


def _trained(catalog: Catalog, task: str) -> str:
    entry = catalog.tasks.get(task)
    return entry.identity["training_task"] or task if entry and not entry.presets else task


def _differences(catalog: Catalog, task: str, names: Sequence[str], model: str | None) -> dict[str, list]:
    resolved = [catalog.preset(task, name, model=model) for name in names]
    keys = presets.keys(catalog.tasks[task].identity, catalog.root)
    rows = {key: [values.get(key, ABSENT) for values in resolved] for key in keys}
    if model is None:
        rows = dict(
            row for key, values in rows.items() for row in [(key, values), *_by_model(catalog, task, names, key)]
        )
    return {key: values for key, values in rows.items() if any(value != values[0] for value in values)}


def _by_model(catalog: Catalog, task: str, names: Sequence[str], key: str) -> list[tuple[str, list]]:
    """A row for each model for which one of the presets has its own value of `key`."""
    special = [catalog.tasks[task].presets[name].get("models", {}) for name in names]
    models = dict.fromkeys(model for rows in special for model, changes in rows.items() if key in changes)
    return [
        (f"{key} [{model}]", [catalog.preset(task, name, model=model).get(key, ABSENT) for name in names])
        for model in models
    ]


def _title(catalog: Catalog, task: str) -> str:
    served = [name for name in catalog.targets if catalog.tasks[name].identity["training_task"] == task != name]
    return f"{task} (trains {', '.join(served)})" if served else task


def _sources(catalog: Catalog, task: str, names: Sequence[str]) -> str:
    texts = [f"{name}: {catalog.tasks[task].presets[name]['source'].strip()}" for name in names]
    return "\n".join(
        textwrap.fill(text, WIDTH, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)
        for text in texts
    )


def _text(value) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return "null" if value is None else str(value)
