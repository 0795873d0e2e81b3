"""The English development score of a model in training, beside that of knowing only the most frequent answer."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from xstilts.evaluation.examples_scores import score_examples
from xstilts.evaluation.predict import Predictor


def evaluate(model, task: dict, examples: Sequence[dict], precision: str, features=None) -> dict:
    """{"metric", "value", "majority", "n"} (0-100) of one task: accuracy, or F1 for tagging and span_qa.

    `only` is there too where every prediction is the same: which one. `features`: the examples, encoded before.
    """
    head = (task["task"], task["kind"], task["labels"], task["hyper"], task["options"])
    predictions = Predictor(model, *head, precision).predict(examples, features)
    metric, value = _score(task, examples, predictions)
    _, trivial = _score(task, examples, majority(task["kind"], examples))
    found = {"metric": metric, "value": round(value, 4), "majority": round(trivial, 4), "n": len(examples)}
    answers = {str(answer) for prediction in predictions for answer in _answers(task["kind"], prediction)}
    return found | ({"only": answers.pop() or "no answer"} if len(answers) == 1 else {})


def _answers(kind: str, prediction: dict) -> list:
    if kind == "span_qa":
        return [prediction["text"]]
    return prediction["tags"] if kind == "tagging" else [prediction["label"]]


def majority(kind: str, examples: Sequence[dict]) -> list[dict]:
    """Predictions without reading: the most frequent label (ties: the first by name), no answer for questions."""
    if kind == "span_qa":
        return [{"text": ""} for _ in examples]
    if kind == "tagging":
        best = _most_frequent(tag for example in examples for tag in example["tags"])
        return [{"tags": [best] * len(example["tags"])} for example in examples]
    best = _most_frequent(example["label"] for example in examples)
    return [{"label": best} for _ in examples]


def mean(scores: dict[str, dict]) -> float:
    """What the best step is chosen by: the mean over tasks."""
    # fsum: whatever the order, so that a tie is a tie after a resume too
    return math.fsum(score["value"] for score in scores.values()) / len(scores)


def _score(task: dict, examples: Sequence[dict], predictions: Sequence[dict]) -> tuple[str, float]:
    scores = score_examples(task["kind"], task["options"], "en", examples, predictions)
    metric = "f1" if "f1" in scores else "accuracy"
    return metric, scores[metric]


def _most_frequent(values):
    counts = Counter(values)
    return min(counts, key=lambda value: (-counts[value], value))
