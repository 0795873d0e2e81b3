"""Pin hub revisions, and list the catalog.

`pin` is the only place that asks the hub which commit a name means. It compares the answer with the candidates that
other projects use (catalog/candidates.yaml), checks that the files are of a kind that is read here (parquet,
safetensors), and writes catalog/revisions.lock, which every run on hub data or models needs.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable

import yaml

from xstilts.catalog import Catalog, Entry, read_yaml
from xstilts.errors import UserError
from xstilts.files import write_text
from xstilts.presets import choices
from xstilts.text_table import table

LOCK_HEADER = """\
# Hub revisions in use: id -> {revision, kind: model|dataset, pinned_on, files: {path: sha256 or null}}.
# Written by `python -m xstilts pin`, never by hand. Empty: nothing is pinned yet, and a run that needs the hub refuses.
"""
SUFFIX = {"dataset": ".parquet", "model": ".safetensors"}


def pin(catalog: Catalog, names: Iterable[str] = (), api=None, say: Callable[[str], None] = print) -> dict[str, dict]:
    """Ask the hub for the commit of every hub id in the catalog (or of the named tasks and models) and record it.

    A candidate revision is confirmed where the hub still knows it, otherwise the head (or the candidate's branch) is
    taken and said. Ids that cannot be pinned keep their old row, and are raised as one UserError after the others are
    written. `api` is a huggingface_hub.HfApi (tests give their own). Returns the new content of the lock.
    """
    wanted = hub_ids(catalog, names)
    api = api or _api()
    candidates = read_yaml(catalog.candidates_path).get("candidates", {}) if catalog.candidates_path.exists() else {}
    table, failed = dict(catalog.revisions), {}
    for name, kind in wanted.items():
        try:
            table[name] = _ask(api, name, kind, candidates.get(name, {}), say)
        except UserError as error:
            failed[name] = str(error)
    write_lock(catalog, table)
    if failed:
        raise UserError(
            f"catalog/revisions.lock: {len(wanted) - len(failed)} of {len(wanted)} ids pinned. "
            + " | ".join(f"{name}: {why}" for name, why in failed.items())
            + " Next: mend these and run `python -m xstilts pin` again."
        )
    return table


def hub_ids(catalog: Catalog, names: Iterable[str] = ()) -> dict[str, str]:
    """Hub id -> `dataset` or `model` of the whole catalog, or of the named tasks and models."""
    names = list(names)
    known = {**catalog.tasks, **catalog.models}
    for name in names:
        if name not in known:
            raise UserError(f"pin: {name!r} is neither a task nor a model of the catalog. Allowed: {', '.join(known)}")
    found = {}
    for name, entry in known.items():
        if not names or name in names:
            found.update(_entry_ids(entry))
    return found


def _entry_ids(entry: Entry) -> dict[str, str]:
    found = {part["id"]: "dataset" for part in entry.sources.get("hub", [])}
    source = entry.identity.get("source", {})
    if source.get("type") == "hub":
        found[source["id"]] = "model"
        if "tokenizer" in source:
            found[source["tokenizer"]["id"]] = "model"
    return found


def write_lock(catalog: Catalog, table: dict[str, dict]) -> None:
    """Replace catalog/revisions.lock with `table`, sorted by id."""
    body = yaml.safe_dump({name: table[name] for name in sorted(table)}, sort_keys=False, width=120)
    write_text(catalog.root / "catalog" / "revisions.lock", LOCK_HEADER + body)


def _api():
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise UserError("pin: needs the package huggingface_hub: pip install huggingface_hub") from error
    return HfApi()


def _ask(api, name: str, kind: str, candidate: dict, say: Callable[[str], None]) -> dict:
    """One row of the lock. Tries the candidate's commit, then its branch or the head."""
    info, asked = None, candidate.get("revision")
    if asked:
        info = _info(api, name, kind, asked, missing_ok=True)
    if info is None:
        branch = candidate.get("branch", "main")
        if asked:
            say(f"{name}: the hub does not know the candidate {asked[:12]}, taking {branch}")
        info = _info(api, name, kind, branch)
    files = {file.rfilename: getattr(file.lfs, "sha256", None) if file.lfs else None for file in info.siblings or []}
    kept = {path: files[path] for path in sorted(files) if path.endswith(SUFFIX[kind])}
    # tokenizer-only repositories and script data sets show here, before a run finds out
    if not kept:
        others = ", ".join(sorted(files)[:5]) or "nothing"
        raise UserError(f"revision {info.sha[:12]} holds no {SUFFIX[kind]} file (it has {others})")
    say(f"{name}: {info.sha[:12]}" + (" (candidate confirmed)" if info.sha == asked else ""))
    day = datetime.datetime.now(datetime.UTC).date().isoformat()
    return {"revision": info.sha, "kind": kind, "pinned_on": day, "files": kept}


def _info(api, name: str, kind: str, revision: str, missing_ok: bool = False):
    call = api.dataset_info if kind == "dataset" else api.model_info
    try:
        return call(name, revision=revision, files_metadata=True)
    except Exception as error:  # the client raises its own, its HTTP library's and the system's errors
        status = getattr(getattr(error, "response", None), "status_code", None)
        if missing_ok and status in (404, 400):
            return None
        if status in (401, 403):
            raise UserError("the hub refuses access (gated or private): accept its terms and log in") from error
        if status == 404:
            raise UserError(f"the hub has no such {kind} or revision {revision!r}") from error
        raise UserError(
            f"the hub could not be reached ({type(error).__name__}). Pin on a machine with network "
            "(HF_HUB_OFFLINE unset) and commit catalog/revisions.lock"
        ) from error


# ---- listing
def list_catalog(catalog: Catalog) -> str:
    """Everything in the catalog as plain-text tables (`python -m xstilts catalog`)."""
    targets = [
        [
            name,
            task["kind"],
            task["group"],
            str(len(catalog.task_languages(name))),
            task["training_task"] or "-",
            sources,
        ]
        for name in catalog.targets
        for task, sources in [(catalog.tasks[name].identity, ", ".join(catalog.tasks[name].sources))]
    ]
    intermediates = [
        [name, task.identity["kind"], ", ".join(task.sources), ", ".join(choices(task))]
        for name, task in ((name, catalog.tasks[name]) for name in catalog.intermediates)
    ]
    variants = [
        [name, task.identity["kind"], str(len(task.identity["languages"])), ", ".join(task.sources), presets]
        for name, task in ((name, catalog.tasks[name]) for name in catalog.variants)
        for presets in [", ".join(choices(task))]
    ]
    models = [
        [
            model.name,
            model.identity["source"]["type"],
            model.identity["family"],
            str(model.identity["layers"]),
            f"{model.size['parameters'] / 1e6:,.1f} M",
            f"{model.size['non_embedding_parameters'] / 1e6:,.1f} M",
            _pinned(catalog, model),
        ]
        for model in sorted(catalog.models.values(), key=lambda model: model.size["non_embedding_parameters"])
    ]
    attacks = [
        [name, ", ".join(attack.identity["kinds"]), _scripts(attack.identity["scripts"])]
        for name, attack in catalog.attacks.items()
    ]
    codes = sorted(catalog.languages)
    lines = [" ".join(codes[start : start + 20]) for start in range(0, len(codes), 20)]
    return "\n\n".join(
        [
            table("Targets", ["name", "kind", "group", "languages", "trained on", "sources"], targets),
            table("Intermediate tasks", ["name", "kind", "sources", "presets"], intermediates),
            *([table("Variants", ["name", "kind", "languages", "sources", "presets"], variants)] if variants else []),
            table("Models", ["name", "source", "family", "blocks", "parameters", "non-embedding", "pinned"], models),
            table("Attacks", ["name", "kinds", "scripts"], attacks),
            "\n".join([f"Languages ({len(codes)})", *lines]),
        ]
    )


def _pinned(catalog: Catalog, model: Entry) -> str:
    source = model.identity["source"]
    if source["type"] == "hub":
        return catalog.revisions.get(source["id"], {}).get("revision", "no")[:12]
    return "by sha256" if source["type"] == "wheel" else "-"


def _scripts(scripts) -> str:
    return scripts if isinstance(scripts, str) else ", ".join(scripts)
