"""baselines.csv: what a shallow method without any encoder scores, by the same metrics on the same examples.

Methods are trained as the models are: on the prepared English training examples of the target's training task, and
tested on every language. Features of words (hypothesis_only, bag_of_words, word_tag, gazetteer) therefore say little
outside English beyond names and digits, while features of overlap and negation mean the same in every language. Beside
the targets there are rows of the study's English intermediate tasks, on their development examples: what the `dev`
scores of trainings are worth.
"""

from __future__ import annotations

import functools
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from xstilts import paths
from xstilts.analysis import generated, load, overlap, shallow
from xstilts.analysis.estimates import BASELINE
from xstilts.evaluation import metrics, submission
from xstilts.evaluation.metrics import aggregate

SEED = 0  # baselines are deterministic; they are kept with the cells as if from one seed
ENGLISH = "en"

# (prepared examples, their language) -> a prediction an example, in the metrics' forms; None: no rows of this method
Predict = Callable[[list[dict], str], Sequence | None]


def compute(spec: dict, results: Path) -> dict[tuple, load.Metrics]:
    """Per-example statistics of every baseline: keys (BASELINE, name, 0, task, language), as cells have them.

    task: a target (its test examples), or an intermediate task of the study (English development examples). A
    language whose prepared examples or gold are missing is left out, and so are methods without training examples.
    """
    study, found = _Study(spec, results), {}
    with tempfile.TemporaryDirectory() as folder:
        for target, identity in spec["targets"].items():
            methods = FAMILIES[identity["kind"]](study, target, identity, identity["training_task"])
            for language in identity["languages"]:
                gold = load.inside(results, paths.gold(target, identity["kind"], language))
                rows = load.examples(results, target, language, "test")
                if not rows or not gold.is_file():
                    continue
                for name, predict in methods.items():
                    predicted = predict(rows, language)
                    if predicted is None:
                        continue
                    _write(Path(folder, gold.name), identity, rows, predicted)
                    key = (BASELINE, name, SEED, target, language)
                    found[key] = load.statistics(spec, target, language, gold, Path(folder, gold.name))
    for task, identity in study.intermediates.items():
        rows = load.examples(results, task, ENGLISH, "dev")
        if not rows:
            continue
        gold = [GOLD[identity["kind"]](row) for row in rows]
        for name, predict in FAMILIES[identity["kind"]](study, task, identity, task).items():
            predicted = predict(rows, ENGLISH)
            if predicted is not None:
                statistics = metrics.statistics(identity["kind"], identity["options"], ENGLISH, gold, predicted)
                found[BASELINE, name, SEED, task, ENGLISH] = statistics
    return found


def named(found: dict[tuple, load.Metrics], spec: dict) -> dict[str, str]:
    """target -> the baseline that its results are compared with: the strongest on the mean over languages.

    Only baselines that have every language which any has are taken, so that means are over the same languages.
    """
    result = {}
    for target in spec["targets"]:
        means: dict[str, list[float]] = {}
        for (_, name, _, of, _), arrays in found.items():
            if of == target:
                means.setdefault(name, []).append(aggregate(load.task_score(arrays)))
        whole = max(map(len, means.values()), default=0)
        means = {name: values for name, values in means.items() if len(values) == whole}
        if means:
            result[target] = max(means, key=lambda name: sum(means[name]) / whole)
    return result


def rows(found: dict[tuple, load.Metrics], spec: dict) -> list[dict]:
    """Rows a language and metric, and of targets `mean`, `mean_non_en` over the study's languages where all are there.

    The column `target` of an intermediate task's rows names that task, and their language is English.
    """
    result = []
    groups: dict[tuple, dict[str, tuple[float, int]]] = {}
    for (_, name, _, task, language), arrays in found.items():
        for metric, array in arrays.items():
            value = aggregate(array)
            groups.setdefault((task, name, metric), {})[language] = (value, len(array))
    for (task, name, metric), by_language in groups.items():
        languages = spec["targets"].get(task, {}).get("languages")
        chosen = {code: [code] for code in by_language}
        if languages and set(by_language) == set(languages):
            chosen |= {"mean": languages, "mean_non_en": [code for code in languages if code != ENGLISH]}
        for language, codes in chosen.items():
            if codes:
                values = [by_language[code] for code in codes]
                one = {"value": sum(value for value, _ in values) / len(values), "n": sum(n for _, n in values)}
                result.append({"target": task, "language": language, "baseline": name, "metric": metric, **one})
    return result


class _Study:
    """What the families read: training examples, and the pair methods trained once a training task."""

    def __init__(self, spec: dict, results: Path):
        self.spec, self.results = spec, results
        self.pairs = functools.cache(lambda task: shallow.pairs(self.train(task)))

    def train(self, task: str | None) -> list[dict]:
        """Prepared English training examples; none where the file is not there."""
        return load.examples(self.results, task, ENGLISH, "train") or [] if task else []

    @property
    def intermediates(self) -> dict[str, dict]:
        """Identities of the tasks that this study trains as intermediates and does not test as targets."""
        known, targets = self.spec.get("catalog", {}), self.spec["targets"]
        tasks = dict.fromkeys(task for tasks in self.spec["intermediates"].values() for task in tasks)
        return {task: known[task] for task in tasks if task in known and task not in targets}


# ---- families: (study, task, its identity, its training task) -> methods by name
def _pair(study: _Study, task: str, identity: dict, training: str | None) -> dict[str, Predict]:
    """The most frequent label of the English training data; logistic regression and trees (shallow.py)."""
    label = _most_frequent(study.train(training), identity["labels"])
    return {"majority": lambda rows, language: [label] * len(rows), **study.pairs(training)}


def _choice(study: _Study, task: str, identity: dict, training: str | None) -> dict[str, Predict]:
    """The place that is right most often; the choice by its own words; the one with most words of its context."""
    train = study.train(training)
    place = _most_frequent(train, range(max((len(row["choices"]) for row in train), default=1)))
    return {
        "majority": lambda rows, language: [place] * len(rows),
        **shallow.choices(train),
        "choice_overlap": shallow.choice_overlap,
    }


def _most_frequent(train: list[dict], labels: Sequence):
    counts = Counter(row["label"] for row in train)
    return max(labels, key=lambda one: counts[one])


def _tagging(study: _Study, task: str, identity: dict, training: str | None) -> dict[str, Predict]:
    """IOB2: all O; English names looked up. Others: each word's most frequent English tag, else the most frequent of
    all; for UDPOS that is NOUN by definition, and there is always NOUN."""
    train = study.train(training)

    def method(tag: Callable[[list[str]], list[str]]) -> Predict:
        return lambda rows, language: [tag(row["tokens"]) for row in rows]

    if identity["options"].get("scheme") == "iob2":
        names = overlap.gazetteer(train)
        return {
            "all_O": method(lambda words: ["O"] * len(words)),
            "gazetteer": method(lambda words: overlap.find_entities(words, names)),
        }
    lexicon, target = overlap.word_tags(train), task in study.spec["targets"]
    counts = Counter(tag for row in train for tag in row["tags"])
    if not target and not counts:
        return {}
    other = "NOUN" if target else min(counts, key=lambda tag: (-counts[tag], tag))
    look_up = {"word_tag": method(lambda words: [lexicon.get(word.lower(), other) for word in words])}
    return {"always_NOUN": method(lambda words: ["NOUN"] * len(words)), **look_up} if target else look_up


def _span_qa(study: _Study, task: str, identity: dict, training: str | None) -> dict[str, Predict]:
    """A random span of the context; of generated data, a random span of the kind asked for; the span with most
    question words around it (a sliding window); no answer at all, where that can be right."""

    def method(answer: Callable[[str, str, str], str]) -> Predict:
        return lambda rows, language: [answer(str(row["id"]), row["context"], row["question"]) for row in rows]

    found = {"random_span": method(overlap.random_span)}
    if task in study.spec.get("generators", {}):
        found["random_candidate"] = functools.partial(_random_candidate, study.spec, task)
    found["sliding_window"] = method(overlap.sliding_window)
    if identity["options"].get("no_answer"):
        found["no_answer"] = method(lambda key, context, question: "")
    return found


def _random_candidate(spec: dict, task: str, rows: list[dict], language: str) -> list[str] | None:
    """A candidate drawn from the question's id, any span where there is none; None where no question has one."""
    spans = generated.candidates(spec, task, language, rows)
    if not any(spans):
        return None
    return [
        overlap.random_candidate(str(row["id"]), row["context"], found)
        if found
        else overlap.random_span(str(row["id"]), row["context"], row["question"])
        for row, found in zip(rows, spans, strict=True)
    ]


def _retrieval(study: _Study, task: str, identity: dict, training: str | None) -> dict[str, Predict]:
    """The sentence that shares most words (Jaccard), with and without anchors (`overlap.anchors_of`); for mining, a
    threshold on it set on the development pools."""

    def method(anchors: bool) -> Predict:
        def predict(rows: list[dict], language: str) -> list | None:
            if identity["options"].get("mining") != "margin":
                return overlap.nearest(rows, anchors)
            dev = load.examples(study.results, task, language, "dev")
            return None if dev is None else overlap.mine(rows, dev, anchors)

        return predict

    return {"word_overlap": method(True), "anchor_free_overlap": method(False)}


FAMILIES = {"pair": _pair, "choice": _choice, "tagging": _tagging, "span_qa": _span_qa, "retrieval": _retrieval}
GOLD = {
    "pair": lambda row: row["label"],
    "choice": lambda row: row["label"],
    "tagging": lambda row: row["tags"],
    "span_qa": lambda row: [answer["text"] for answer in row["answers"]],
}


def _write(path: Path, identity: dict, rows: list[dict], predicted: Sequence) -> None:
    """A prediction file in the official layout."""
    if identity["kind"] == "span_qa":
        submission.write_answers(path, {str(row["id"]): text for row, text in zip(rows, predicted, strict=True)})
    elif identity["kind"] == "tagging":
        submission.write_tags(path, predicted)
    elif identity["options"].get("mining") == "margin":
        submission.write_pairs(path, predicted)
    else:
        submission.write_labels(path, predicted)
