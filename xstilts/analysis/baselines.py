"""baselines.csv: what a shallow method without any encoder scores, by the same metrics on the same examples."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from xstilts import paths
from xstilts.analysis import load, overlap
from xstilts.analysis.estimates import BASELINE
from xstilts.evaluation import submission
from xstilts.evaluation.metrics import aggregate
from xstilts.files import read_json

SEED = 0  # baselines are deterministic; they are kept with the cells as if from one seed


def compute(spec: dict, results: Path) -> dict[tuple, load.Metrics]:
    """Per-example statistics of every baseline: keys (BASELINE, name, 0, target, language), as cells have them.

    A language whose prepared examples or gold are missing is left out.
    """
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for target, identity in spec["targets"].items():
            make = FAMILIES[identity["kind"]](results, target, identity)
            for language in identity["languages"]:
                gold = load.inside(results, paths.gold(target, identity["kind"], language))
                if not gold.is_file():
                    continue
                for name, write, values in make(language, gold):
                    predicted = Path(folder, gold.name)
                    write(predicted, values)
                    found[BASELINE, name, SEED, target, language] = load.statistics(
                        spec, target, language, gold, predicted
                    )
    return found


def named(found: dict[tuple, load.Metrics], spec: dict) -> dict[str, str]:
    """target -> the baseline that its results are compared with: the strongest on the mean over languages."""
    result = {}
    for target in spec["targets"]:
        means: dict[str, list[float]] = {}
        for (_, name, _, of, _), metrics in found.items():
            if of == target:
                means.setdefault(name, []).append(aggregate(load.task_score(metrics)))
        if means:
            result[target] = max(means, key=lambda name: sum(means[name]) / len(means[name]))
    return result


def rows(found: dict[tuple, load.Metrics], spec: dict) -> list[dict]:
    """Rows a language and metric, and `mean`, `mean_non_en` over the study's languages where all are there."""
    result = []
    groups: dict[tuple, dict[str, tuple[float, int]]] = {}
    for (_, name, _, target, language), metrics in found.items():
        for metric, array in metrics.items():
            value = aggregate(array)
            groups.setdefault((target, name, metric), {})[language] = (value, len(array))
    for (target, name, metric), by_language in groups.items():
        languages = spec["targets"][target]["languages"]
        chosen = {code: [code] for code in by_language}
        if set(by_language) == set(languages):
            chosen |= {"mean": languages, "mean_non_en": [code for code in languages if code != "en"]}
        for language, codes in chosen.items():
            if codes:
                values = [by_language[code] for code in codes]
                one = {"value": sum(value for value, _ in values) / len(values), "n": sum(n for _, n in values)}
                result.append({"target": target, "language": language, "baseline": name, "metric": metric, **one})
    return result


Maker = Iterator[tuple[str, Callable, object]]  # (baseline name, writer of a prediction file, what it writes)


def _pair(results: Path, target: str, identity: dict):
    """The most frequent label of the English training data."""
    train = load.examples(results, identity["training_task"], "en", "train") or []
    counts = Counter(row["label"] for row in train)
    label = max(identity["labels"], key=lambda one: counts[one])

    def make(language: str, gold: Path) -> Maker:
        yield "majority", submission.write_labels, [label] * len(submission.read_labels(gold))

    return make


def _tagging(results: Path, target: str, identity: dict):
    """UDPOS: always NOUN; each word's most frequent English tag, else NOUN. PAN-X: all O; English names looked up."""
    train = load.examples(results, identity["training_task"], "en", "train") or []
    entities = identity["options"].get("scheme") == "iob2"
    lexicon, find = overlap.gazetteer(train) if entities else overlap.word_tags(train), overlap.find_entities

    def make(language: str, gold: Path) -> Maker:
        sentences = [row["tokens"] for row in load.examples(results, target, language, "test") or []]
        if not sentences:
            return
        if entities:
            methods = {"all_O": lambda words: ["O"] * len(words), "gazetteer": lambda words: find(words, lexicon)}
        else:
            methods = {
                "always_NOUN": lambda words: ["NOUN"] * len(words),
                "word_tag": lambda words: [lexicon.get(word.lower(), "NOUN") for word in words],
            }
        for name, tag in methods.items():
            yield name, submission.write_tags, [tag(words) for words in sentences]

    return make


def _span_qa(results: Path, target: str, identity: dict):
    """A random span of the context; the span with most question words around it (a sliding window)."""

    def make(language: str, gold: Path) -> Maker:
        questions = [
            (str(question["id"]), paragraph["context"], question["question"])
            for article in read_json(gold)["data"]
            for paragraph in article["paragraphs"]
            for question in paragraph["qas"]
        ]
        for name, answer in (("random_span", overlap.random_span), ("sliding_window", overlap.sliding_window)):
            yield name, submission.write_answers, {key: answer(key, context, text) for key, context, text in questions}

    return make


def _retrieval(results: Path, target: str, identity: dict):
    """The sentence that shares most words (Jaccard); for mining, a threshold on it set on the development pools."""
    mining = identity["options"].get("mining") == "margin"

    def make(language: str, gold: Path) -> Maker:
        test = load.examples(results, target, language, "test")
        dev = load.examples(results, target, language, "dev") if mining else []
        if test is None or dev is None:
            return
        if mining:
            yield "word_overlap", submission.write_pairs, overlap.mine(test, dev)
        else:
            yield "word_overlap", submission.write_labels, overlap.nearest(test)

    return make


FAMILIES = {"pair": _pair, "tagging": _tagging, "span_qa": _span_qa, "retrieval": _retrieval}
