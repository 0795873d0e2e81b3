"""Statistics of each example from a gold file and a prediction file; their sum is the official score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from xstilts.errors import UserError
from xstilts.evaluation import metrics, submission

_REMEDY = "Predict again from the test file that this gold file was made of, and check that both are of one language"


def _silent(text: str) -> None:
    """Takes remarks that nobody wants."""


def read(
    kind: str, options: dict, gold_path: Path, prediction_path: Path, note: Callable[[str], None] = _silent
) -> tuple[list, list]:
    """Gold and predictions of one language in the in-memory forms of `metrics`, checked to fit each other.

    A `UserError` names the prediction file where the number of lines, the tokens of a sentence or the question ids
    differ, and the gold file where a question has no answer and the task does not allow it. Answers to questions that
    the gold file does not have are ignored, as XTREME does; `note` is told so.
    """
    if kind == "span_qa":
        gold, answers = submission.read_gold_answers(gold_path), submission.read_answers(prediction_path)
        missing = [question for question in gold if question not in answers]
        if missing:
            raise UserError(
                f"{prediction_path}: no answer for {len(missing)} of {len(gold)} questions of {gold_path}, such as "
                f"{missing[0]!r}. {_REMEDY}"
            )
        bare = [question for question, texts in gold.items() if not texts and not options.get("no_answer")]
        if bare:
            raise UserError(
                f"{gold_path}: no gold answer for {len(bare)} questions, such as {bare[0]!r}. Make it of the original "
                "data: XTREME's own preprocessing empties the answers of test files"
            )
        extra = [question for question in answers if question not in gold]
        if extra:
            note(f"{prediction_path}: ignored {len(extra)} answers to unknown questions, such as {extra[0]!r}")
        pair = list(gold.values()), [answers[question] for question in gold]
    elif kind == "tagging":
        pair = submission.read_tags(gold_path), submission.read_tags(prediction_path)
        _equal_number(*pair, gold_path, prediction_path, "sentences")
        for number, (right, given) in enumerate(zip(*pair, strict=True), 1):
            if len(right) != len(given):
                raise UserError(
                    f"{prediction_path}: sentence {number} has {len(given)} tags, {gold_path} has {len(right)}. "
                    f"{_REMEDY}"
                )
    elif kind == "retrieval" and options["mining"] == "margin":
        pair = submission.read_pairs(gold_path), submission.read_pairs(prediction_path)
    else:
        pair = submission.read_labels(gold_path), submission.read_labels(prediction_path)
        _equal_number(*pair, gold_path, prediction_path, "lines")
    if not pair[0]:
        raise UserError(f"{gold_path}: holds no examples")
    return pair


def _equal_number(gold: Sequence, given: Sequence, gold_path: Path, prediction_path: Path, what: str) -> None:
    if len(gold) != len(given):
        raise UserError(f"{prediction_path}: {len(given)} {what}, but {gold_path} has {len(gold)}. {_REMEDY}")


def statistics(
    task: str,
    kind: str,
    options: dict,
    language: str,
    gold_path: str | Path,
    prediction_path: str | Path,
    note: Callable[[str], None] = _silent,
) -> dict[str, np.ndarray]:
    """{metric: array} of one task and language, one row an example in gold order; forms: see `metrics.statistics`.

    `metrics.aggregate` of an array is the official score, 0-100. The rows of two systems on one gold file are the same
    examples. `note` is told what was ignored.
    """
    try:
        gold, predicted = read(kind, options, Path(gold_path), Path(prediction_path), note)
        return metrics.statistics(kind, options, language, gold, predicted)
    except UserError as error:
        raise UserError(f"{task} {language}: {error}") from error


def score_examples(
    kind: str, options: dict, language: str, examples: Sequence[dict], predictions: Sequence[dict]
) -> dict[str, float]:
    """{metric: 0-100} of `Predictor` output on labelled examples in memory (English dev sets, attacks)."""
    if kind == "tagging":
        gold, given = [e["tags"] for e in examples], [p["tags"] for p in predictions]
    elif kind == "span_qa":
        gold = [[answer["text"] for answer in example["answers"]] for example in examples]
        given = [p["text"] for p in predictions]
    else:
        gold, given = [e["label"] for e in examples], [p["label"] for p in predictions]
    return metrics.score(kind, options, language, gold, given)
