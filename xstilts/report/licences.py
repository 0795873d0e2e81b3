"""Licences and citations: everything that the study used, what it may be used for and what to cite.

Read from the catalog when the report is made: they document the study and are no part of its results.
"""

from __future__ import annotations

from xstilts import obligations
from xstilts.obligations import Obligation
from xstilts.report import style
from xstilts.report.contents import Contents
from xstilts.report.tables import Cell, Table

WORDS = {"data": style.task, "model": str, "attack": str, "baseline": style.baseline}


def used(contents: Contents) -> list[Obligation]:
    """Tasks (from the source that was used), models (stand-ins of attacks too), attacks and shallow baselines."""
    spec, catalog = contents.spec, contents.catalog
    origins = spec.get("origins", {})
    revisions = spec["revisions"]["models"]
    models = dict.fromkeys([*contents.models, *revisions])  # the grid has no stand-ins, revisions have
    names = dict.fromkeys(name for task in contents.shallow_tasks() for name in contents.shallow_names(task))
    return [
        *obligations.tasks(catalog, {task: (name, origins.get(task, [])) for task, name in spec["sources"].items()}),
        *obligations.models(catalog, {name: revisions.get(name, {}) for name in models}),
        *obligations.attacks(catalog, contents.attacks),
        *obligations.baselines(names),
    ]


def groups(contents: Contents) -> list[tuple[str, str]]:
    """(what a licence asks for, names of what asks for it), most binding first."""
    shown = [one._replace(name=WORDS[one.kind](one.name)) for one in used(contents)]
    return [(asks, ", ".join(names)) for asks, names in obligations.groups(shown).items()]


def table(contents: Contents) -> Table:
    """One row for each task, model, attack and baseline; those that differ by name alone share one."""
    names: dict[tuple, list[str]] = {}
    for one in used(contents):
        names.setdefault(one._replace(name=""), []).append(WORDS[one.kind](one.name))
    rows = [
        [
            one.kind,
            ", ".join(same),
            Cell(one.source, small=one.revision or (one.note and f"({one.note})")),
            one.licence,
            Cell(one.citation or "–", small=one.url),
        ]
        for one, same in names.items()
    ]
    caption = "Data from the source that this study used, models, attacks and shallow baselines; licences and papers "
    caption += "as the catalog documents them. For files of data_root it is the licence of the original, and what "
    caption += "stands in for other data may have one of its own. Below a source its revision: the hub's commit, or "
    caption += "the sha256 of a file, first 12 digits."
    return Table("licences", caption, ["what", "name", "from", "licence", "cite"], rows, prose=True)
