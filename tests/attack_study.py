"""A made-up study of many attacks on disk: several seeds, transferred texts, a static set, attacks that lack cells."""

import random

import analysis_study

from xstilts.files import read_jsonl, write_jsonl

MADE = ["badchars", "bertattack", "case", "charswap", "deepwordbug", "diacritics", "hotflip", "lookalike", "pruthi",
        "punctuation", "textbugger", "textfooler"]  # fmt: skip
SOURCE = "me5-small-l6.none.s1"
FIELDS = {"pair": "text_b", "tagging": "tokens", "span_qa": "question"}
EDITS = {
    "badchars": lambda text: text[:3] + "\u200b" + text[3:],
    "lookalike": lambda text: "\u202e" + text[::-1] + "\u202c",
    "case": str.upper,
}


def spec(seeds=(1, 2), attacks=MADE, **changes) -> dict:
    """A spec with these attacks, one static set on XNLI in English, and transfer of two attacks from one source."""
    cells = [("me5-small-l6", "none"), ("me5-small-l6", "all9"), ("me5-small-l3", "none"), ("me5-small-l3", "all9")]
    study = analysis_study.spec(seeds=seeds, cells=cells, **changes)
    everything = {"xnli": ["en", "de", "ru", "zh"], "udpos": ["en", "de", "ru", "zh"], "xquad": ["en", "zh"]}
    study["attacks"] = {name: {"version": 1, "kinds": ["pair"], "set": None, "stand_ins": {}} for name in attacks}
    if "bertattack" in attacks:
        study["attacks"]["bertattack"]["stand_ins"] = {
            "mlm": {"model": "me5-small-l12", "intermediate": "mlm", "seed": 1},
            "encoder": {"model": "me5-small-l12", "layer": "last", "pooling": "mean", "max_length": 128},
        }
        study["attacks"]["bertattack"]["constraints"] = {"similarity": {"least": 0.9}}
    study["attacks"]["advglue_mnli"] = {"version": 1, "set": {"task": "advglue_mnli"}}
    study["attack_cells"] = [
        {"attack": name, "model": m, "intermediate": i, "seed": s, "examples": 20, "targets": list(own),
         "languages": own}
        for name in study["attacks"] for m, i in cells for s in seeds
        for own in [{"xnli": ["en"]} if name.startswith("adv") else everything]
    ]  # fmt: skip
    study["transfer_cells"] = [
        {"attack": name, "source": SOURCE, "model": m, "intermediate": i, "seed": s, "targets": ["xnli"],
         "languages": {"xnli": ["en", "de", "ru", "zh"]}}
        for name in attacks[:2] for m, i in cells for s in seeds
        if f"{m}.{i}.s{s}" != SOURCE
    ]  # fmt: skip
    study["not_run"] = [
        {"attack": "hotflip", "target": "tatoeba", "languages": ["de", "ru", "zh"], "why": "no gradient there"},
        {"attack": "hotflip", "target": "bucc2018", "languages": ["de", "ru", "zh"], "why": "no gradient there"},
        {"attack": "textfooler", "target": "xquad", "languages": ["ru"], "why": "no neighbours <for> it"},
        {"attack": "bumblebee", "target": "", "languages": [], "why": "no aligner"},
    ]
    return study


def build(results, study: dict, items: int = 20, seed: int = 0) -> None:
    """What `analysis_study.build` writes, and every attack's rows with texts."""
    analysis_study.build(results, {**study, "attack_cells": []}, items, seed)
    for cell in study["attack_cells"]:
        folder = f"attacks/{cell['attack']}/{cell['model']}/{cell['intermediate']}/s{cell['seed']}"
        _write(results, study, cell, folder, made=not study["attacks"][cell["attack"]].get("set"))
    for cell in study["transfer_cells"]:
        source = cell["source"]
        folder = f"transfer/{cell['attack']}/{source}/{cell['model']}/{cell['intermediate']}/s{cell['seed']}"
        _write(results, study, cell, folder, made=True)


def _write(results, study, cell, folder, made):
    for target, codes in cell["languages"].items():
        for code in codes:
            rng = random.Random(f"{folder}/{target}/{code}")
            examples = read_jsonl(results / "examples" / target / code / "test.jsonl")
            field = FIELDS[study["targets"][target]["kind"]]
            rows = [row(rng, field, cell, example, made) for example in examples[:20]]
            rng.shuffle(rows)  # in the order in which they were finished
            write_jsonl(results / folder / target / f"{code}.jsonl", rows)


def row(rng, field, cell, example, made) -> dict:
    """One outcome; stronger models and later attacks of the alphabet are right more often."""
    if not made:
        right = float(rng.random() < 0.4)
        return {"id": example["id"], "outcome": "failed" if right else "succeeded", "why": "", "queries": 1,
                "perturbed": None, "similarity": None, "clean": None, "attacked": right, "original": {},
                "adversarial": {field: example[field]}}  # fmt: skip
    clean = float(rng.random() < (0.8 if cell["model"].endswith("l6") else 0.65))
    held = 0.35 + 0.03 * MADE.index(cell["attack"]) + (0.1 if cell["intermediate"] == "all9" else 0)
    attacked = clean * (rng.random() < held)
    outcome = "skipped" if not clean else "failed" if attacked else "succeeded"
    text = "\t".join(example[field]) if field == "tokens" else example[field]
    other = EDITS.get(cell["attack"], lambda text: text + "x")(text)
    found = {"id": example["id"], "outcome": outcome, "why": "", "queries": rng.randint(1, 24) if clean else 0,
             "vanished": rng.randint(0, 3), "refused": 0, "perturbed": 0.2, "similarity": 0.9, "clean": clean,
             "attacked": attacked, "original": {field: text},
             "adversarial": {field: other if clean else text}}  # fmt: skip
    if field == "tokens":
        found |= {"clean_counts": [int(6 * clean), 8, 8], "attacked_counts": [int(6 * attacked), 8, 8]}
    return found
