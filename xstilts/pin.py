"""`python -m xstilts pin`: ask the hub which commit each name means and which of its files are needed.

The answer is written to catalog/revisions.lock, which every run on hub data or models reads. This is the only place
that asks the hub what it has; catalog/candidates.yaml says which commits other projects use.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from xstilts.catalog import Catalog, read_yaml
from xstilts.errors import UserError
from xstilts.hub import client, layout, lock, parts, transfer
from xstilts.hub.lock import listed
from xstilts.schema import allowed


@dataclass
class Need:
    """What the catalog reads of one hub repository. `parts`: (task, part, languages) of a data set."""

    kind: str
    users: list[str] = field(default_factory=list)  # tasks or models that name it
    parts: list[tuple[str, dict, list[str]]] = field(default_factory=list)
    files: set[str] = field(default_factory=set)  # of a model: `weights`, `tokenizer`


def pin(catalog: Catalog, names: Iterable[str] = (), say: Callable[[str], None] = print) -> dict[str, dict]:
    """Record the commit and the needed files of every hub id in the catalog, or of the named tasks and models.

    The first of these that the hub knows and that holds the needed files is taken: the candidate
    (catalog/candidates.yaml), the commit pinned before, the head of the candidate's `branch` (main). To move an id to
    a newer head, take its row out of the lock. Each id is written as soon as it is known. Ids that cannot be pinned
    keep their row and are raised together as one UserError at the end. Returns the new rows.
    """
    transfer.check_settings()
    wanted = hub_ids(catalog, names)
    needs = _needs(catalog)
    candidates = read_yaml(catalog.candidates_path).get("candidates", {}) if catalog.candidates_path.exists() else {}
    rows, failed, answered = lock.read(catalog.lock_path), {}, False
    if client.offline():
        raise UserError(
            "pin: HF_HUB_OFFLINE is set, and pin asks the hub. Unset it and run the same command again, or pin "
            f"on a machine with network and copy {catalog.lock_path} here"
        )
    for name in wanted:
        old = rows.get(name)
        try:
            row, note = _ask(name, needs[name], candidates.get(name) or {}, old, catalog.languages)
        except UserError as error:
            failed[name] = str(error).removeprefix(f"{name}: ")
            if not answered and _silent(error):
                raise UserError(f"pin: stopped, nothing was changed. {error}") from error
            say(f"{name}: NOT PINNED")
            answered = True
            continue
        answered = True
        size = sum(file["bytes"] for file in row["files"].values()) / 1e6
        say(f"{name}: {row['revision'][:12]}, {len(row['files'])} files, {size:,.1f} MB ({note})")
        if old and old["revision"] != row["revision"]:
            say(_stale(name, old["revision"], row["revision"], needs[name]))
        if row != old:
            rows = lock.update(catalog.lock_path, {name: row})
    if failed:
        raise UserError(
            f"catalog/revisions.lock: {len(failed)} of {len(wanted)} ids could not be pinned; they keep the row that "
            "they had, the others are written.\n"
            + "\n".join(f"- {name} ({', '.join(needs[name].users)}): {why}" for name, why in failed.items())
            + "\nNext: mend these and run `python -m xstilts pin` again; what is pinned stays as it is."
        )
    return rows


def _silent(error: UserError) -> bool:
    """Whether no answer came at all, so that asking for the next id only waits again."""
    cause = error.__cause__
    return isinstance(cause, Exception) and transfer.transient(cause) and getattr(cause, "response", None) is None


def hub_ids(catalog: Catalog, names: Iterable[str] = ()) -> dict[str, str]:
    """Hub id -> `dataset` or `model` of the whole catalog, or of the named tasks and models."""
    known, names = [*catalog.tasks, *catalog.models], list(names)
    for name in names:
        if name not in known:
            raise UserError(f"pin: {name!r} is neither a task nor a model of the catalog.{allowed(name, known)}")
    return {name: need.kind for name, need in _needs(catalog).items() if not names or {*names} & {*need.users}}


def _needs(catalog: Catalog) -> dict[str, Need]:
    """Hub id -> what all tasks and models read of it, however few of them are pinned now: a row serves all."""
    found: dict[str, Need] = {}

    def need(name: str, kind: str, user: str) -> Need:
        one = found.setdefault(name, Need(kind))
        one.users += [user] if user not in one.users else []
        return one

    for task in catalog.tasks.values():
        for part in task.sources.get("hub", []):
            need(part["id"], "dataset", task.name).parts.append((task.name, part, task.identity["languages"]))
    for model in catalog.models.values():
        source = model.identity["source"]
        if source["type"] == "hub":
            need(source["id"], "model", model.name).files.add("weights")
            need(source.get("tokenizer", source)["id"], "model", model.name).files.add("tokenizer")
    return found


# ---- one id
def _ask(name: str, need: Need, candidate: dict, old: dict | None, languages: dict) -> tuple[dict, str]:
    """(row, what the printed line says about the choice) of one id."""
    refused = []
    for revision, choice in _choices(candidate, old):
        branch = choice == "head"
        info = client.info(need.kind, name, revision, missing_ok=not branch)
        why = f"the hub does not know the {choice} {revision[:12]}"
        if info is not None:
            readme = None
            if "README.md" in info.files and any(not part.get("files") for _, part, _ in need.parts):
                readme = client.read_text(need.kind, name, info.sha, "README.md")
            try:
                row = _row(name, need, info, readme, languages)
            except UserError as error:
                why = f"{choice} {info.sha[:12]}: {str(error).removeprefix(f'{name}: ')}"
            else:
                _same_content(name, row, old)
                if old and old["revision"] == info.sha:
                    row["pinned_on"] = old["pinned_on"]
                note = f"head of {revision}" if branch else f"{choice} confirmed"
                return row, "; ".join([note, *refused])
        refused.append(why)
    raise UserError(" | ".join(refused))


def _choices(candidate: dict, old: dict | None) -> list[tuple[str, str]]:
    """(revision to ask for, what it is), in the order in which they are tried."""
    asked = candidate.get("revision")
    found = [(asked, "candidate")] if asked else []
    if old and old["revision"] != asked:
        found.append((old["revision"], "earlier pin"))
    return [*found, (candidate.get("branch", "main"), "head")]


def _row(name: str, need: Need, info: client.Info, readme: str | None, languages: dict) -> dict:
    """The lock's row of a repository at one commit; UserError: what the catalog reads is not in it."""
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    row = {"revision": info.sha, "kind": need.kind, "pinned_on": today}
    if need.kind == "model":
        used = _model_files(need, info.files)
    else:
        row["configs"] = _configs(name, need, info.files, readme, languages)
        used = {path for splits in row["configs"].values() for paths in splits.values() for path in paths}
    return {**row, "files": {path: info.files[path] for path in sorted(used)}}


def _configs(name: str, need: Need, files: dict, readme: str | None, languages: dict) -> dict:
    """Configuration -> split -> files, of everything that the catalog's parts read; UserError: what is not there."""
    found: dict[str, dict[str, list[str]]] = {}
    ask = [(task, part, parts.configs(part, codes, languages)) for task, part, codes in need.parts]
    by_layout = [config for _, part, configs in ask if not part.get("files") for config in configs]
    if by_layout:
        found |= layout.splits(name, readme, files, by_layout)
    for task, part, configs in ask:
        lost = [path for path in (part.get("files") or {}).values() if path not in files]
        if lost:
            parquet = [path for path in sorted(files) if path.endswith(".parquet")]
            why = f"no file {lost[0]} (`files:` of task {task}); parquet files: {listed(parquet)}"
            raise UserError(why if parquet else layout.no_parquet(files))
        if part.get("files"):
            for config in configs:
                found.setdefault(config, {}).update({split: [path] for split, path in part["files"].items()})
        _check_splits(task, part, {config: found[config] for config in configs})
    return found


def _check_splits(task: str, part: dict, found: dict[str, dict]) -> None:
    """Refuse a split that no configuration has, or a test split that one lacks.

    Training and development rows are mostly English: udpos.Kazakh has a test split alone, and that is well. A run that
    wants more than there is stops at the lock (lock.files).
    """
    for ours, theirs in part["splits"].items():
        split = theirs["from"] if isinstance(theirs, dict) else theirs
        lacking = [config for config, splits in found.items() if split not in splits]
        if lacking and (ours == "test" or len(lacking) == len(found)):
            raise UserError(
                f"task {task} reads the split {split!r} of configuration {listed(lacking, 3)}, which has "
                f"{listed(found[lacking[0]])}: mend `splits:` in catalog/tasks/{task}.yaml"
            )


def _model_files(need: Need, files: dict) -> set[str]:
    """Names of the files that are read of a model: those in the repository's top folder, safetensors only."""
    used, holds = set(), f"(it holds {listed(sorted(files), 6)})"
    if "weights" in need.files:
        kinds = (".safetensors", ".safetensors.index.json")
        used = {path for path in files if path.endswith(kinds) and "/" not in path}
        if not any(path.endswith(kinds[0]) for path in used):
            raise UserError(
                f"no .safetensors file {holds}; pickled weights are never read. Next: name a commit with safetensors "
                "in catalog/candidates.yaml, or convert the model and use a `local` source"
            )
        lacking = layout.lacking(used, layout.numbered(files))
        if lacking:
            raise UserError(f"the weights {listed(lacking, 4)} are not there {holds}. {layout.UNFINISHED}")
        if "config.json" not in files:
            raise UserError(f"no config.json {holds}")
        used.add("config.json")
    if "tokenizer" in need.files:
        if "tokenizer.json" not in files:
            raise UserError(
                f"no tokenizer.json {holds}. Next: name the repository that has it under source.tokenizer, or make one "
                "with AutoTokenizer.from_pretrained(...).save_pretrained(DIR) and use a `local` source"
            )
        used.add("tokenizer.json")
    return used


def _same_content(name: str, row: dict, old: dict | None) -> None:
    """Refuse other content behind a commit that is pinned already: a commit cannot change."""
    if old is None or old["revision"] != row["revision"]:
        return
    for path, file in row["files"].items():
        before = old["files"].get(path, file)
        if before != file:
            raise UserError(
                f"{path} at the pinned commit {row['revision'][:12]} was {before}, the hub now says {file}. A commit "
                f"cannot change: ask whoever runs the hub. To take it all the same, first take {name} out of "
                "catalog/revisions.lock"
            )


def _stale(name: str, old: str, new: str, need: Need) -> str:
    """What another revision of a pinned id makes stale."""
    what = "prepared data of" if need.kind == "dataset" else "the model(s)"
    return (
        f"{name}: CHANGED from {old[:12]} to {new[:12]}. Stale now: {what} {', '.join(need.users)}, and all that was "
        "trained or evaluated with it; the next run makes these again. A folder that `fetch` filled holds the old "
        "revision: run `python -m xstilts fetch` again. To keep the old one, name it in "
        "catalog/candidates.yaml and pin again"
    )
