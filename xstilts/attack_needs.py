"""What an attack asks beside its victim: stand-in models, dictionaries, alphabets, static sets. Planning only.

`study` is an `xstilts.study.Study`. A stand-in is part of an attack's results, so that the spec of its job names it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

from xstilts import findings, presets
from xstilts.attacks import keyboards
from xstilts.catalog import Catalog
from xstilts.data import dictionary_files as dictionaries
from xstilts.errors import UserError
from xstilts.identity import canonical, sha256, source_digest, stage_code
from xstilts.schema import read_yaml, validate

ENGLISH, MLM = "en", "mlm"
MIXING = {"dictionary", "phrases", "distractors"}  # proposers that read the same text in other languages
LETTERS = {"substitute": "alphabet", "insert": "alphabet", "key": "keyboard"}  # transform -> what it needs to know


# ---- stand-ins
def check(study, key: str, identities: list[dict], changes: dict) -> None:
    """UserError at `key` where a block changes a stand-in that none of its attacks has, or to what does not exist."""
    for name, values in changes.items():
        if not any(name in identity["stand_ins"] for identity in identities):
            known = sorted({one for identity in identities for one in identity["stand_ins"] if one in (MLM, "encoder")})
            allowed = ", ".join(known) or "no stand-in to change"
            raise findings.error(study, f"{key}.{name}", values, f"what an attack of the block has: {allowed}")
        if "model" in values:
            findings.known(study, f"{key}.{name}.model", [values["model"]], study.catalog.models)
    if MLM in changes and "intermediate" in changes[MLM]:
        known = [MLM, *study.config["mixtures"]]
        findings.known(study, f"{key}.mlm.intermediate", [changes[MLM]["intermediate"]], known)
    if "encoder" in changes:
        _check_encoder(study, f"{key}.encoder", [one for one in identities if "encoder" in one["stand_ins"]], changes)


def _check_encoder(study, key: str, identities: list[dict], changes: dict) -> None:
    """The layer is one of the model's; another model has a threshold of its own, which a threshold alone needs."""
    values, compares = changes["encoder"], any(map(thresholds, identities))
    for identity in identities:
        own = identity["stand_ins"]["encoder"]
        found = {**own, **values}
        layer, blocks = found["layer"], study.catalog.models[found["model"]].identity["layers"]
        if not (layer == "last" or (Fraction(layer) <= 1 if isinstance(layer, str) else layer <= blocks)):
            allowed = f"a number 0 to {blocks}, the blocks of {found['model']}, last, or a fraction up to 1"
            raise findings.error(study, f"{key}.layer", layer, allowed)
        if found["model"] != own["model"] and thresholds(identity) and "least" not in values:
            raise findings.error(
                study, f"{key}.least", None,
                f"a cosine from -1 to 1 beside another model: {', '.join(thresholds(identity))} of the attack was "
                f"chosen for {own['model']}, and another encoder's cosines lie elsewhere",
            )  # fmt: skip
    if "least" in values and not compares:
        raise findings.error(study, f"{key}.least", values["least"], "nothing: no attack of the block compares cosines")


def thresholds(identity: dict) -> list[str]:
    """Keys of an attack that hold a least cosine of its similarity encoder."""
    found = ["constraints.similarity.least"] if (identity.get("constraints") or {}).get("similarity") else []
    return found + (["options.least"] if "least" in identity["options"] else [])


def with_least(identity: dict, stand_ins: dict) -> dict:
    """An attack's identity with a study's own threshold (`stand_ins.encoder.least`) in the place of the catalog's."""
    least, keys = stand_ins.get("encoder", {}).get("least"), thresholds(identity)
    if least is None or not keys:
        return identity
    found = dict(identity)
    if "constraints.similarity.least" in keys:
        found["constraints"] = {**identity["constraints"], "similarity": {"least": least}}
    if "options.least" in keys:
        found["options"] = {**identity["options"], "least": least}
    return found


def resolve(study, key: str, identity: dict, changes: dict) -> tuple[dict, str]:
    """(the attack's stand-ins with a study's `changes`, why they cannot be had or empty).

    UserError at `key` where an intermediate is named that does not exist; the rest `check` has looked at.
    """
    own = identity["stand_ins"]
    mine = {name: {**own[name], **values} for name, values in changes.items() if name in own}
    found = {**own, **mine}
    if MLM not in found:
        return found, ""
    name = found[MLM]["intermediate"]
    known = [MLM, *(mix for mix in study.config["mixtures"])]
    findings.known(study, f"{key}.mlm.intermediate", [name], known)
    found[MLM] = {**found[MLM], "intermediate": study.renamed.get(name, name)}
    return found, _no_mlm(study, found[MLM]["intermediate"])


def _no_mlm(study, intermediate: str) -> str:
    """Why there is no masked language model that this intermediate trained; empty: there is one."""
    sources, preset = ", ".join(study.config["sources"]), study.config["training"]["preset"]
    if intermediate not in (MLM, *study.mixtures):
        return f"the mixture {intermediate} of its stand-in is not in the grid"
    if MLM not in study.intermediate_tasks(intermediate):
        return f"its stand-in {intermediate} is not trained on text (task {MLM})"
    if preset not in presets.choices(study.catalog.tasks[MLM]):
        return f"task {MLM}, which trains its stand-in, has no preset {preset}"
    try:
        study.source(MLM)
    except UserError:
        return f"no text for task {MLM}, which trains its stand-in, in sources {sources}"
    return ""


def train(study, stand_ins: dict) -> None:
    """Add the training of a stand-in's head to the study where the grid lacks it."""
    if MLM in stand_ins:
        cell = tuple(stand_ins[MLM][name] for name in ("model", "intermediate", "seed"))
        if cell not in [*study.cells, *study.stand_in_cells]:
            study.stand_in_cells.append(cell)


def models(stand_ins: dict) -> list[str]:
    """Models that an attack's stand-ins load."""
    return findings.unique(stand_ins[name]["model"] for name in (MLM, "encoder") if name in stand_ins)


# ---- static sets
def missing_set(study, identity: dict) -> str:
    """Why a static set cannot be had; empty: it can, or the attack has none."""
    if not identity["set"]:
        return ""
    task = identity["set"]["task"]
    try:
        study.source(task)
    except UserError:
        given = "given" if study.config["data_root"] else "not given"
        return f"no source of task {task} in {', '.join(study.config['sources'])} (data_root: {given})"
    return ""


# ---- languages
def attacked(study, target: str, code: str) -> str:
    """The language of the text that is changed: Tatoeba's queries are English, whatever the language of its pool."""
    options = study.catalog.tasks[target].identity["options"]
    return ENGLISH if options.get("mining") == "nearest" else code


def missing_language(study, identity: dict, stand_ins: dict, target: str, code: str) -> str:
    """Why an attack cannot be run on a language of a target; empty: it can."""
    text = attacked(study, target, code)
    script = study.catalog.languages[text]["script"]
    if identity["scripts"] != "all" and script not in identity["scripts"]:
        return f"it is valid for the scripts {', '.join(identity['scripts'])}"
    if identity["set"]:
        codes = study.catalog.tasks[identity["set"]["task"]].identity["languages"]
        return "" if code in codes else f"its set is in {', '.join(codes)}"
    needs = [LETTERS.get(name) for name in identity["transform"]]
    if all(needs) and not any(letters(study.catalog, text, need) for need in needs):
        return f"no {' and no '.join(sorted(set(needs)))} of the language is known"
    others = mixed(study, identity, stand_ins, target, text)
    if others is not None and not others:
        return "no text of another language to mix in"
    if "dictionaries" in stand_ins and not dictionary_files(study, stand_ins, [(text, other) for other in others]):
        return "no dictionary joins the language to another one of the target"
    return ""


def mixed(study, identity: dict, stand_ins: dict, target: str, text: str = "") -> list[str] | None:
    """Languages that an attack mixes into texts of one: its own list, else those that the target has in the study.

    None: it mixes none in.
    """
    names = identity.get("transform", [])
    if not set(names) & MIXING or (names == ["distractors"] and "languages" not in stand_ins):
        return None
    own = stand_ins.get("languages", study.languages(target))
    return [code for code in study.languages(target) if code in own and code != text]


def letters(catalog: Catalog, code: str, what: str):
    """The `alphabet` (list of letters) or `keyboard` (key -> neighbours) of a language; empty: not known."""
    folder = catalog.root / "catalog"
    if what == "alphabet":
        return _alphabets(folder / "alphabets.yaml").get(code)
    return _keyboard(folder / "keyboards", code)


@functools.cache
def _alphabets(path: Path) -> dict[str, list[str]]:
    """As xstilts/attacks/alphabets.py reads them (and checks that each letter is one cluster), with no library more."""
    if not path.is_file():
        return {}
    return {code: text.split() for code, text in validate(read_yaml(path), "alphabets", path)["alphabets"].items()}


@functools.cache
def _keyboard(folder: Path, code: str) -> dict[str, list[str]]:
    return keyboards.of(code, folder)


def rows(study, identity: dict, codes: list[str]) -> dict[str, dict]:
    """Rows of languages as an attack's spec has them: with `code`, and the alphabet or keyboard that it needs."""
    needs = {LETTERS[name] for name in identity.get("transform", []) if name in LETTERS}
    found = {}
    for code in sorted(codes):
        known = {need: letters(study.catalog, code, need) for need in sorted(needs)}
        found[code] = {**study.catalog.languages[code], "code": code}
        found[code] |= {need: value for need, value in known.items() if value}
    return found


# ---- dictionaries
def dictionary_files(study, stand_ins: dict, pairs: Iterable[tuple[str, str]]) -> dict[str, dict]:
    """`en-de` -> {source, file, sha256} of the dictionaries of pairs of languages.

    A dictionary serves both directions, so that the reverse of a pair can be what there is. A file is told by its
    content; its folder, data_root, goes by the jobs' environment.
    """
    found: dict[str, dict] = {}
    wanted = ["-".join(pair) for pair in pairs]
    for source in stand_ins["dictionaries"]:
        for pair in wanted:
            if pair not in found and _reverse(pair) not in found:
                found |= _embedded(study, pair) if source == "embedded" else _local(study, pair)
    return dict(sorted(found.items()))


def _reverse(pair: str) -> str:
    return "-".join(reversed(pair.split("-")))


def _embedded(study, pair: str) -> dict[str, dict]:
    """A generated word list, where the study may generate: made of the lexicons of both languages."""
    files = [study.catalog.root / "catalog" / "lexicons" / f"{code}.yaml" for code in pair.split("-")]
    if "embedded" not in study.config["sources"] or not all(path.is_file() for path in files):
        return {}
    made = sha256(canonical([stage_code("embedded"), [_digest(path) for path in files]]))
    return {pair: {"source": "embedded", "file": None, "sha256": made}}


def _local(study, pair: str) -> dict[str, dict]:
    root = study.config["data_root"]
    return {
        name: {"source": "local", "file": path.relative_to(root).as_posix(), "sha256": _bytes(path)}
        for name, path in (dictionaries.available(root, [pair]) if root else {}).items()
    }


_digest = functools.cache(source_digest)


@functools.cache
def _bytes(path: Path) -> str:
    return sha256(path.read_bytes())
