"""`xstilts check STUDY`: what a study needs, what of it is missing and what to do next, before anything starts."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sized
from pathlib import Path

import yaml

from xstilts import obligations
from xstilts import study as studies
from xstilts.check import needs, steps
from xstilts.check.needs import Need
from xstilts.errors import UserError
from xstilts.fetch import plan
from xstilts.fetch.problems import problems
from xstilts.identity import ROOT
from xstilts.specs import Specs
from xstilts.text_table import table

WIDTH = 120


def load_file(path: str | Path, changes: dict | None = None, root: Path = ROOT) -> studies.Study:
    """Read and check a study file, with `changes` to its top-level keys (as Snakemake's --config).

    Raises UserError for a missing file, broken YAML or a wrong entry.
    """
    try:
        config = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}. Allowed: config.yaml, a file of studies/, or your own.") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not YAML: {error}") from error
    study = studies.load({**config, **(changes or {})} if isinstance(config, dict) else config, str(path), root)
    study.changes = changes or {}
    return study


def check(path: str | Path, changes: dict | None = None, root: Path = ROOT) -> str:
    """A page of text, at most 120 wide: grid, data, models, licences, disk, what is in the way, what to do next.

    Nothing is downloaded, and data is not read but for its size. Raises UserError as `load_file` does.
    """
    study = _load(path, changes, root)
    items = plan.items(study, pinned_only=True)
    data, models = needs.data(study, items), needs.models(study, items)
    blocks = [
        _grid(study),
        _data(data),
        _models(study, models),
        _licences(study),
        _disk([*data, *models]),
        _list("In the way of a run", _in_the_way(study, [*data, *models]), "nothing"),
        _list("Worth knowing", _notes(study, data)),
        steps.text(study, [*data, *models], changes or {}, WIDTH),
    ]
    return "\n\n".join(block for block in blocks if block)


def _load(path: str | Path, changes: dict | None, root: Path) -> studies.Study:
    """`load_file`; a study of local data that names no folder yet is told how to name it."""
    try:
        return load_file(path, changes, root)
    except UserError as error:
        if "data_root: None" not in str(error):
            raise
        command = f"python -m xstilts check {path} --config data_root=FOLDER"
        raise UserError(f"{error}\nNext: {command}, where FOLDER has your data (docs/data.md)") from None


# ---- what the study is
def _grid(study: studies.Study) -> str:
    trainings = sum(len(study.training_tasks(targets)) for targets in study.cells.values())
    intermediates = sum(1 for _, name, _ in study.cells if name != studies.NONE)
    seeds = ", ".join(map(str, study.seeds))
    lines = [
        ": ".join(filter(None, [f"study {study.name} ({study.file})", study.config["description"]])),
        f"{_count(study.cells, 'cell')}: models {', '.join(study.grid_models)}; "
        f"intermediates {', '.join(study.intermediates)}; seeds {seeds}",
        f"targets {', '.join(study.targets)}",
        f"{intermediates} intermediate and {trainings} target trainings, {_count(study.attack_cells, 'attack run')}"
        + (f", {_count(study.transfer_cells, 'transfer')}" if study.transfer_cells else ""),
    ]
    if study.challenges:
        lines.append(f"static sets {', '.join(study.challenges)}")
    if study.stand_in_cells:
        heads = ", ".join(f"{name} on {model}, seed {seed}" for model, name, seed in study.stand_in_cells)
        lines.append(f"trained for attacks alone: {heads}")
    if study.demonstration:
        lines.append("a demonstration: generated data, capped data or a demo's few steps; its scores are no evidence")
    return "\n".join([_wrap(lines[0], "", "  "), *(_wrap(line, "  ", "    ") for line in lines[1:])])


def _data(rows: list[Need]) -> str:
    head = ["task", "source", "from", "revision", "size", "fields", "where"]
    body = [
        [need.name, need.source, need.origin, need.revision, need.size, need.status, need.place] for need in rows
    ]  # fmt: skip
    return _table(f"Data ({len(rows)})", head, body, {2: 40})


def _models(study: studies.Study, rows: list[Need]) -> str:
    licences = {name: study.catalog.models[name].documentation.get("licence", "not stated") for name in study.models}
    head = ["model", "source", "from", "revision", "size", "licence", "where"]
    body = [
        [need.name, need.source, need.origin, need.revision, need.size, licences[need.name], need.place]
        for need in rows
    ]
    return _table(f"Models ({len(rows)})", head, body, {2: 32, 5: 33})


def _licences(study: studies.Study) -> str:
    """What licences ask for, then one row for each licence and citation, with the names of what has them."""
    specs = Specs(study)
    found = [
        *obligations.tasks(study.catalog, {task: study.source(task) for task in study.data_tasks()}),
        *obligations.models(study.catalog, {name: specs.model(name)["source"] for name in study.models}),
        *obligations.attacks(study.catalog, study.attacks),
    ]
    made = [one.name for one in found if one.licence == obligations.OURS]
    groups = obligations.groups(found)
    lines = [f"{what}: {', '.join(names)}" for what, names in groups.items()]
    lines += [f"{obligations.OURS}, each {obligations.IMITATES}: {', '.join(made)}"] if made else []
    strict = list(dict.fromkeys(name for names in groups.values() for name in names))
    found.sort(key=lambda one: strict.index(one.name) if one.name in strict else len(strict))
    rows: dict[tuple, list[str]] = {}
    for one in found:
        if one.name not in made:
            names = rows.setdefault((one.licence, "\n".join(filter(None, [one.citation, one.url]))), [])
            names += [one.name] if one.name not in names else []  # a static set and its attack have one name
    body = [[", ".join(names), *key] for key, names in rows.items()]
    tables = [_table("", ["name", "licence", "cite"], body, {0: 15, 1: 34, 2: 63})] if body else []
    title = "Licences and citations" + (", most binding first" if groups else "")
    return "\n".join([title, *(_wrap(line, "  ", "    ") for line in lines), *tables])


def _disk(rows: list[Need]) -> str:
    left = needs.amount(rows)
    here = sum({file: size for need in rows for file, size in need.files.items() if file not in need.left}.values())
    text = f"Disk: {left or 'nothing'} to download"
    text += f"; {needs.words(here)} here already" if here else ""
    if near := needs.total(rows)[1]:
        text += ". " + near.strip().capitalize()
        text += ": data as its publishers document it, before compression"
        text += " and in all its languages" if near == needs.AT_MOST else ""
        text += "; 4 bytes for each parameter of a model. Exact once pinned."
    return _wrap(text, "", "  ")


# ---- what is in the way
def _in_the_way(study: studies.Study, rows: list[Need]) -> list[str]:
    found = [f"refused: {message}" for message in study.refused()]
    unpinned = study.unpinned()
    if unpinned:
        found.append(f"not pinned in catalog/revisions.lock ({len(unpinned)}): {', '.join(unpinned)}")
    for need in rows:
        if need.absent:
            found.append(f"missing files of {need.name}: {_some(need.absent)}")
        if need.place == needs.DAMAGED:
            found.append(f"{need.name}: what data_root has of {need.origin} is damaged, or of another revision")
    return [*found, *(line for line in problems(study).unpinned if not unpinned)]


def _notes(study: studies.Study, rows: list[Need]) -> list[str]:
    to = study.config["data_root"]
    found = problems(study, Path(to) if to else None).left_out
    out = tuple(f"{line.partition(':')[0]} is left out" for line in found)  # the same in more words
    found += [notice for notice in study.notices if not notice.startswith(out)]
    unverified = list(dict.fromkeys(f"{need.name} ({need.origin})" for need in rows if need.status == "unverified"))
    notes = {
        f"{need.name}: {part['notes']}"
        for need in rows
        for part in study.catalog.tasks[need.name].sources.get("hub", [])
        if need.source == "hub" and need.size == "?" and part.get("notes")
    }
    found += sorted(notes)
    for task in study.data_tasks():
        note = obligations.stand_in(study.catalog.tasks[task], *study.source(task))
        found += [f"{task}: {note}"] if note else []
    found += [
        f"not read: {_some(names)}: {task} is read from the copy of the hub in {study.mirror.root}. Put your own data "
        "into another folder"
        for task, names in needs.unread(study, rows).items()
    ]
    if unverified:
        found.append(
            f"fields unverified: {', '.join(unverified)}: no stored text confirms the configuration, files or fields "
            "that the catalog expects. Reading stops with a message where they differ."
        )
    return found


# ---- layout
def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _count(items: Sized, word: str) -> str:
    return f"{len(items)} {word}" + ("" if len(items) == 1 else "s")


def _list(title: str, lines: Iterable[str], none: str = "") -> str:
    lines = list(lines)
    if not lines:
        return f"{title}: {none}" if none else ""
    return "\n".join([f"{title}:", *(_wrap(line, "  - ", "    ") for line in lines)])


def _wrap(text: str, first: str, rest: str) -> str:
    return textwrap.fill(
        text, WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )


def _table(title: str, head: list[str], rows: list[list[str]], limits: dict[int, int]) -> str:
    """A table whose columns in `limits` are at most so wide: longer text goes on in rows below; empty columns go."""
    kept = [place for place in range(len(head)) if any(row[place] for row in rows)]
    lines = []
    for row in rows:
        cells = [
            [part for line in row[place].split("\n") for part in _fold(line, limits.get(place))] or [""]
            for place in kept
        ]
        height = max(map(len, cells))
        lines += [[cell[n] if n < len(cell) else "" for cell in cells] for n in range(height)]
    return table(title, [head[place] for place in kept], lines, count=False)


def _fold(text: str, width: int | None) -> list[str]:
    return textwrap.wrap(text, width or WIDTH, break_long_words=False, break_on_hyphens=False)
