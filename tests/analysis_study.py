"""A small made-up study on disk: gold, predictions, training records, attacks and timings, for analysis and report."""

import random
from pathlib import Path
from types import SimpleNamespace

from xstilts.datasheet.run import check_data
from xstilts.evaluation import submission
from xstilts.files import write_json, write_jsonl, write_text
from xstilts.models.tokenizers import characters

LANGUAGES = ["en", "de", "ru", "zh"]
WORDS = {
    "en": "the cat house river Anna sees reads book green old city Paris 1912 where who in bought",
    "de": "die Katze Haus Fluss Anna sieht liest Buch gruen alt Stadt Paris 1912 wo wer in kaufte",
    "ru": "эта кошка дом река Анна видит читает книга зелёный старый город Париж 1912 где кто в купил",
    "zh": "这 猫 房子 河 安娜 看见 读 书 绿 老 城市 巴黎 1912 哪里 谁 在 买",
}
XNLI = ["entailment", "neutral", "contradiction"]
POS = ["NOUN", "VERB", "ADJ", "DET", "PROPN"]
TARGETS = {
    "pawsx": ("pair", "classification", "pawsx", ["0", "1"]),
    "xnli": ("pair", "classification", "mnli", XNLI),
    "panx": ("tagging", "tagging", "panx", ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]),
    "udpos": ("tagging", "tagging", "udpos", POS),
    "mlqa": ("span_qa", "qa", "squad", []),
    "tydiqa": ("span_qa", "qa", "tydiqa", []),
    "xquad": ("span_qa", "qa", "squad", []),
    "bucc2018": ("retrieval", "retrieval", None, []),
    "tatoeba": ("retrieval", "retrieval", None, []),
}
CELLS = [("me5-small-l6", name) for name in ("none", "squad", "mnli", "all9")] + [
    ("me5-small-l3", name) for name in ("none", "all9")
]
MODELS = {
    "me5-small-l6": {"parameters": 106_830_000, "non_embedding_parameters": 10_830_000, "family": "me5"},
    "me5-small-l3": {"parameters": 101_520_000, "non_embedding_parameters": 5_520_000, "family": "me5"},
}
OPTIONS = {"panx": {"scheme": "iob2"}, "udpos": {"scheme": "flat"}, "bucc2018": {"mining": "margin"},
           "tatoeba": {"mining": "nearest"}, "mlqa": {"normalisation": "mlqa"}}  # fmt: skip
ATTACKED = ["xnli", "udpos", "xquad", "tatoeba"]
NINE = {"anli": "pair", "mnli": "pair", "qqp": "pair", "squad_v2": "span_qa", "squad": "span_qa", "hellaswag": "choice",
        "ccg": "tagging", "cosmosqa": "choice", "commonsenseqa": "choice"}  # fmt: skip
# the paper's variants: kind, languages of their training data
VARIANTS = {"mlm": ("mlm", ["en", "de"]), "mnli_translated": ("pair", ["en", "de", "zh"])}
RETRIEVAL = {"layer": "14/24", "pooling": "mean", "max_length": 512}
PUBLISHED = """model,intermediate,target,language,split,metric,value,setting,status,source
xlm-r-large,none,xnli,official,test,accuracy,79.2,XTREME table,verified,RemBERT Table 16
xlm-r-large,best_per_target,xnli,official,test,accuracy,80.0,X-STILTs,verified,RemBERT Table 16
xlm-r-large,none,tydiqa,official,test,f1,65.1,XTREME table,verified,RemBERT Table 16
xlm-r-large,none,tydiqa,official,test,exact_match,45.0,XTREME table,verified,RemBERT Table 16
xlm-r-large,best_per_target,tydiqa,official,test,f1,76.0,X-STILTs,verified,RemBERT Table 16
xlm-r-large,none,panx,official,test,f1,65.4,XTREME table,verified,RemBERT Table 16
xlm-r-large,none,tatoeba,official,test,accuracy,57.3,XTREME table,second-hand,VECO
xlm-r-large,none,tatoeba,official,test,accuracy,31.0,jiant replication,derived,jiant
mbert,none,xnli,official,test,accuracy,65.4,XTREME table,verified,mT5
"""
NUMBERS = {1: [8.2, 7.5, 7.0], 2: 8.7, 5: 5.4}
CLAIMS = [
    {
        "claim": n,
        "text": f"Text of claim {n}.",
        "measure": f"measure {n}",
        "published": NUMBERS.get(n),
        "source": "a paper",
    }
    for n in range(1, 15)
]


def languages(target: str) -> list[str]:
    """Those of LANGUAGES that XTREME's task has."""
    short = {"mlqa": "en de zh", "pawsx": "en de zh", "tydiqa": "en ru", "bucc2018": "de ru zh", "tatoeba": "de ru zh"}
    return short[target].split() if target in short else LANGUAGES


def catalog(root: Path):
    """The parts of a catalog that analysis and report read."""
    forty = [f"l{number}" for number in range(40 - len(LANGUAGES))] + LANGUAGES
    tasks = {name: {"kind": kind, "roles": ["intermediate"], "languages": ["en"]} for name, kind in NINE.items()}
    for name, (kind, group, _, _) in TARGETS.items():
        tasks[name] = {"kind": kind, "roles": ["target"], "group": group, "languages": forty}
    for name, (kind, codes) in VARIANTS.items():
        tasks[name] = {"kind": kind, "roles": ["variant"], "languages": codes}
    papers = {"title": "A data set", "licence": "CC BY 4.0", "url": ""}
    entries = {name: SimpleNamespace(name=name, identity=one, documentation=papers) for name, one in tasks.items()}
    published = root / "published.csv"
    write_text(published, PUBLISHED)
    attacks = {name: SimpleNamespace(documentation={"title": name}) for name in ("charswap", "lookalike")}
    models = {name: SimpleNamespace(documentation={"title": name, "licence": "MIT"}) for name in MODELS}
    names = {code: {"name": code} for code in forty}
    return SimpleNamespace(
        tasks=entries, claims=CLAIMS, languages=names, published_path=published, attacks=attacks, models=models
    )


def variants(**changes) -> dict:
    """A spec with the paper's variants beside their English training."""
    names = ("none", "mnli", "mnli-mlm", "mnli_translated")
    study = spec(cells=[("me5-small-l6", name) for name in names], **changes)
    study["intermediates"] = {"none": [], "mnli": ["mnli"], "mnli-mlm": ["mnli", "mlm"]}
    study["intermediates"]["mnli_translated"] = ["mnli_translated"]
    study["sources"] |= {name: "embedded" for name in VARIANTS}
    return study


def spec(seeds=(1,), samples=200, demonstration=True, models=MODELS, cells=CELLS) -> dict:
    """An analyse spec as xstilts.specs makes it."""
    targets = {
        name: {"version": 1, "kind": kind, "group": group, "training_task": task, "labels": labels,
               "metrics": ["exact_match", "f1"] if kind == "span_qa" else ["accuracy"], "roles": ["target"],
               "options": OPTIONS.get(name, {}), "languages": languages(name), "hyper": {}}
        for name, (kind, group, task, labels) in TARGETS.items()
    }  # fmt: skip
    attacked = [("me5-small-l6", "none"), ("me5-small-l6", "all9"), ("me5-small-l3", "none"), ("me5-small-l3", "all9")]
    return {
        "stage": "analyse", "code": "analyse@1", "study": "demo", "demonstration": demonstration, "models": models,
        "intermediates": {"none": [], "squad": ["squad"], "mnli": ["mnli"], "all9": list(NINE)},
        "cells": [
            {"model": m, "intermediate": i, "seed": s, "targets": list(TARGETS)} for m, i in cells for s in seeds
        ],
        "targets": targets,
        "official_languages": {name: [*languages(name), "fr"] for name in TARGETS},
        "attacks": {"charswap": {"version": 1, "kinds": ["pair"]}, "lookalike": {"version": 1, "kinds": ["pair"]}},
        "attack_cells": [
            {"attack": a, "model": m, "intermediate": i, "seed": s, "targets": ATTACKED, "examples": 30}
            for a in ("charswap", "lookalike") for m, i in attacked for s in seeds if (m, i) in cells
        ],
        "sources": {name: "embedded" for name in [*TARGETS, "mnli", "squad"]},
        "revisions": {"data": {}, "models": {m: {"type": "wheel", "sha256": "0123456789abcdef"} for m in models}},
        "data": {"train": 2000, "dev": 200, "test": 150, "seed": 1},
        "training": {"preset": "demo", "precision": "bf16", "trainable": "blocks", "mixtures": {"all9": list(NINE)}},
        "train_languages": {name: ["en"] for name in [*TARGETS, *NINE]}
        | {name: codes for name, (_, codes) in VARIANTS.items()},
        "retrieval": {model: {"bucc2018": RETRIEVAL, "tatoeba": RETRIEVAL} for model in models},
        "notices": [], "bootstrap": {"samples": samples, "seed": 0},
    }  # fmt: skip


def build(results: Path, study: dict, items: int = 40, seed: int = 0) -> None:
    """Write everything that the analysis of `study` reads, with plausible scores."""
    rng = random.Random(seed)
    golds = {}
    for target, identity in study["targets"].items():
        for code in identity["languages"]:
            golds[target, code] = _gold(results, rng, target, identity, code, items)
        task = identity["training_task"]
        if task:
            _train_files(results, rng, task, identity)
    strength = {name: 0.03 for name in study["intermediates"]} | {
        "none": 0.0,
        "squad": 0.05,
        "mnli": 0.02,
        "all9": 0.08,
    }
    for cell in study["cells"]:
        folder = f"{cell['model']}/{cell['intermediate']}/s{cell['seed']}"
        size = 0.1 if cell["model"].endswith("l6") else 0.0
        for target in cell["targets"]:
            identity = study["targets"][target]
            sign = -2.5 if identity["kind"] == "retrieval" else 1 + (target == "tydiqa")
            for code in identity["languages"]:
                right = 0.45 + size + sign * strength[cell["intermediate"]] + (0.15 if code == "en" else 0)
                path = results / "predictions" / folder / target / submission.file_name(identity["kind"], code)
                _predict(rng, path, identity, golds[target, code], right)
        for task in dict.fromkeys(study["targets"][target]["training_task"] for target in cell["targets"]):
            if task:
                value = 60 + 40 * strength[cell["intermediate"]] + 100 * size + rng.random()
                write_json(results / "targets" / folder / task / "train.json", _record("target", cell, task, value))
        write_jsonl(results / "retrieval" / f"{folder}.jsonl", _layers(cell, items))
        if cell["intermediate"] != "none":
            write_json(results / "encoders" / folder / "train.json", _record("intermediate", cell, "", 70.0))
        cost = {**_record("evaluate", cell, "xnli", 0), "target": "xnli"}
        write_json(results / "cost" / "evaluate" / folder / "mnli.json", cost)
    for cell in study["attack_cells"]:
        folder = f"{cell['attack']}/{cell['model']}/{cell['intermediate']}/s{cell['seed']}"
        for target in cell["targets"]:
            for code in study["targets"][target]["languages"]:
                rows = _attacked(rng, study["targets"][target]["kind"], cell["examples"])
                write_jsonl(results / "attacks" / folder / target / f"{code}.jsonl", rows)


def check(results: Path, study: dict) -> None:
    """Write data.csv and pieces.csv of the examples that are there; a character tokenizer stands for every model's."""
    kinds = {name: (one["kind"], one["training_task"]) for name, one in study["targets"].items()}
    kinds |= {task: (kind, None) for kind, task in list(kinds.values()) if task and task not in kinds}
    data = []
    for folder in sorted(results.glob("examples/*")):
        files = sorted([path.parent.name, path.stem] for path in folder.glob("*/*.jsonl"))
        kind, task = kinds[folder.name]
        data.append({"task": folder.name, "kind": kind, "labels": [], "training_task": task, "files": files})
    tokenizer = characters().to_str()
    for model in study["models"]:
        write_text(results / "models" / model / "tokenizer.json", tokenizer)
    limits = {one["task"]: {"max_length": 128, "max_query_length": 64} for one in data}
    spec = {"data": data, "models": dict.fromkeys(study["models"]), "unspaced": ["zh"],
            "lengths": dict.fromkeys(study["models"], limits)}  # fmt: skip
    check_data(spec, results / "examples", results / "models", results)


def _layers(cell: dict, items: int) -> list[dict]:
    """A layers file: dev is best at layer 3 of 6, test at the preset's layer 4 is 10 points below the one there."""
    rows, slope = [], 10 + 2 * len(cell["intermediate"])
    for target, metric, directions in (("bucc2018", "f1", ["both"]), ("tatoeba", "accuracy", ["en-xx", "xx-en"])):
        for place, code in enumerate(languages("bucc2018")):
            for direction in directions:
                about = {"target": target, "language": code, "direction": direction, "metric": metric, "n": items}
                score = 60.0 + place + (5 if direction == "xx-en" else 0)
                rows += [
                    {**about, "split": "dev", "layer": layer, "rule": "sweep", "value": score - slope * abs(layer - 3)}
                    for layer in range(7)
                ]
                rows += [
                    {**about, "split": "test", "layer": layer, "rule": rule, "value": score + change}
                    for layer, rule, change in ((4, "preset", -8), (3, "dev", 2))
                ]
    return rows


def _record(stage: str, cell: dict, task: str, value: float) -> dict:
    return {
        "stage": stage, "model": cell["model"], "intermediate": cell["intermediate"], "seed": cell["seed"],
        "target": task, "steps": 100, "epochs": 1.6, "losses": [1.1, 0.9],
        "selection": "last" if task in ("squad", "tydiqa") else "english_dev_best",
        "dev": {task or cell["intermediate"]: {"metric": "accuracy", "value": value, "majority": 33.3, "n": 200}},
        "failed": False, "examples": 3200, "tokens": 100_000, "seconds": 31.5, "tokens_per_s": 3174.6,
        "peak_memory_mb": 1500, "device": "cpu", "threads": 1, "versions": {"torch": "2.13.0"},
    }  # fmt: skip


def _sentence(rng, code: str, size: int = 8) -> list[str]:
    return [rng.choice(WORDS[code].split()) for _ in range(size)]


def _gold(results: Path, rng, target: str, identity: dict, code: str, items: int):
    kind = identity["kind"]
    gold = results / "gold" / target / submission.file_name(kind, code)
    rows = results / "examples" / target / code / "test.jsonl"
    if kind == "pair":
        labels = [rng.choice(identity["labels"]) for _ in range(items)]
        submission.write_labels(gold, labels)
        own = random.Random(f"{target}/{code}")
        texts = [[" ".join(_sentence(own, code)) for _ in range(2)] for _ in labels]
        examples = zip(texts, labels, strict=True)
        write_jsonl(
            rows, [{"id": str(n), "text_a": a, "text_b": b, "label": y} for n, ((a, b), y) in enumerate(examples)]
        )
        return labels
    if kind == "tagging":
        sentences = [_sentence(rng, code) for _ in range(items)]
        tags = [_tags(rng, identity["labels"], len(words)) for words in sentences]
        submission.write_tags(gold, tags)
        examples = zip(sentences, tags, strict=True)
        write_jsonl(rows, [{"id": str(n), "tokens": w, "tags": t} for n, (w, t) in enumerate(examples)])
        return tags
    if kind == "span_qa":
        examples = []
        for number in range(items):
            words = _sentence(rng, code, 20)
            start = len(" ".join(words[:10])) + 1
            examples.append({"id": f"q{number}", "context": " ".join(words), "question": " ".join([*words[6:9], "?"]),
                             "answers": [{"text": words[10], "start": start}]})  # fmt: skip
        submission.write_gold_answers(gold, examples)
        write_jsonl(rows, examples)
        return examples
    english = sorted(" ".join(_sentence(rng, "en")) + f" {number}" for number in range(items))
    order = rng.sample(range(items), items)
    source = [
        {"id": f"{code}-{n}", "side": "source", "text": " ".join(_sentence(rng, code)), "match": f"en-{order.index(n)}"}
        for n in range(items)
    ]
    pairs = [
        {"id": f"en-{n}", "side": "target", "text": text, "match": f"{code}-{order[n]}"}
        for n, text in enumerate(english)
    ]
    write_jsonl(rows, source + pairs)
    if identity["options"]["mining"] == "margin":
        write_jsonl(rows.with_name("dev.jsonl"), source + pairs)
        found = [(row["id"], row["match"]) for row in source]
        submission.write_pairs(gold, found)
        return found
    submission.write_labels(gold, order)
    return order


def _tags(rng, labels: list[str], size: int) -> list[str]:
    if "O" not in labels:
        return [rng.choice(labels) for _ in range(size)]
    return [rng.choice(["O", "O", "O", "B-PER", "B-LOC"]) for _ in range(size)]


def _train_files(results: Path, rng, task: str, identity: dict) -> None:
    rows = []
    for number in range(20):
        words = _sentence(rng, "en")
        row = {"id": str(number)}
        if identity["kind"] == "pair":
            row |= {"text_a": " ".join(words), "text_b": " ".join(words), "label": rng.choice(identity["labels"])}
        elif identity["kind"] == "tagging":
            row |= {"tokens": words, "tags": _tags(rng, identity["labels"], len(words))}
        else:
            row |= {"context": " ".join(words), "question": "who ?", "answers": [{"text": words[0], "start": 0}]}
        rows.append(row)
    write_jsonl(results / "examples" / task / "en" / "train.jsonl", rows)


def _predict(rng, path: Path, identity: dict, gold, right: float) -> None:
    def hit(value, others):
        return value if rng.random() < right else rng.choice(others)

    if identity["kind"] == "pair":
        submission.write_labels(path, [hit(label, identity["labels"]) for label in gold])
    elif identity["kind"] == "tagging":
        labels = [label for label in identity["labels"] if not label.startswith("I-")]
        submission.write_tags(path, [[hit(tag, labels) for tag in tags] for tags in gold])
    elif identity["kind"] == "span_qa":
        submission.write_answers(path, {e["id"]: hit(e["answers"][0]["text"], e["context"].split()) for e in gold})
    elif identity["options"]["mining"] == "margin":
        submission.write_pairs(path, [(a, hit(b, ["en-0", "en-1"])) for a, b in gold])
    else:
        submission.write_labels(path, [hit(index, list(gold)) for index in gold])


def _attacked(rng, kind: str, items: int) -> list[dict]:
    rows = []
    for number in range(items):
        clean = 1.0 if rng.random() < 0.6 else 0.0
        attacked = clean * (rng.random() < 0.5)
        outcome = "skipped" if not clean else "failed" if attacked else "succeeded"
        row = {"id": str(number), "outcome": outcome, "why": "", "queries": rng.randint(1, 24) if clean else 0,
               "perturbed": 0.2, "similarity": 0.9, "clean": clean, "attacked": attacked,
               "original": {"text": "a"}, "adversarial": {"text": "b"}}  # fmt: skip
        if kind == "tagging":
            row |= {"clean_counts": [int(6 * clean), 8, 8], "attacked_counts": [int(6 * attacked), 8, 8]}
        rows.append(row)
    return rows
