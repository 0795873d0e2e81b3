"""XTREME's submission files: reading (strict, errors name the file) and writing.

One folder a task with `test-<language>.tsv`, or `.json` for question answering; gold folders have the same layout.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from xstilts import files
from xstilts.errors import UserError


def file_name(kind: str, language: str) -> str:
    """`test-<language>.json` for span_qa, `.tsv` for every other kind."""
    return f"test-{language}.{'json' if kind == 'span_qa' else 'tsv'}"


def _lines(path: Path) -> list[str]:
    try:
        with open(path, encoding="utf-8") as handle:
            return [line.strip() for line in handle]
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8: {error}") from error


def read_labels(path: Path) -> list[str]:
    """One label (or, for Tatoeba, one row index) a line."""
    labels = _lines(path)
    for number, label in enumerate(labels, 1):
        if not label:
            raise UserError(f"{path}:{number}: empty line; every line must hold one label")
    return labels


def read_tags(path: Path) -> list[list[str]]:
    """One tag a line, an empty line between sentences."""
    sentences, sentence = [], []
    for number, line in enumerate(_lines(path), 1):
        if line:
            sentence.append(line)
        elif sentence:
            sentences.append(sentence)
            sentence = []
        else:
            raise UserError(f"{path}:{number}: an empty sentence; exactly one empty line separates sentences")
    return [*sentences, sentence] if sentence else sentences


def read_pairs(path: Path) -> list[tuple[str, str]]:
    """`source id TAB English id` a line. A file of no pairs is valid: nothing was mined."""
    pairs = []
    for number, line in enumerate(_lines(path), 1):
        parts = line.split("\t")
        if len(parts) != 2 or not all(parts):
            raise UserError(f"{path}:{number}: {line!r} is not `source id<TAB>English id`")
        pairs.append((parts[0], parts[1]))
    return pairs


def read_answers(path: Path) -> dict[str, str]:
    """{question id: answer text}."""
    answers = files.read_json(path)
    if not isinstance(answers, dict):
        raise UserError(f"{path}: must be one JSON object of question id: answer text")
    for question, answer in answers.items():
        if not isinstance(answer, str):
            raise UserError(f"{path}: the answer to {question!r} is {answer!r}; it must be a string (may be empty)")
    return answers


def read_gold_answers(path: Path) -> dict[str, list[str]]:
    """{question id: texts of its gold answers} of a SQuAD-like gold file, in file order."""
    try:
        questions = [
            question
            for article in files.read_json(path)["data"]
            for paragraph in article["paragraphs"]
            for question in paragraph["qas"]
        ]
        gold = {str(question["id"]): [answer["text"] for answer in question["answers"]] for question in questions}
    except (KeyError, TypeError) as error:
        raise UserError(f"{path}: not a SQuAD-like file (data, paragraphs, qas, answers): {error!r}") from error
    if len(gold) != len(questions):
        raise UserError(f"{path}: question ids are not unique")
    return gold


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    files.write_text(path, "".join(f"{line}\n" for line in lines))


def write_labels(path: Path, labels: Iterable[str | int]) -> None:
    """One label or row index a line."""
    _write_lines(path, (str(label) for label in labels))


def write_tags(path: Path, sentences: Iterable[Sequence[str]]) -> None:
    """One tag a line, an empty line between sentences."""
    files.write_text(path, "\n\n".join("\n".join(tags) for tags in sentences) + "\n")


def write_pairs(path: Path, pairs: Iterable[tuple[str, str]]) -> None:
    """`source id TAB English id` a line."""
    _write_lines(path, ("\t".join(pair) for pair in pairs))


def write_answers(path: Path, answers: dict[str, str]) -> None:
    """{question id: answer text}."""
    files.write_json(path, answers)


def write_gold_answers(path: Path, examples: Sequence[dict]) -> None:
    """A SQuAD-like file of normalised span_qa examples; neighbours with one context share a paragraph."""
    paragraphs: list[dict] = []
    for example in examples:
        if not paragraphs or paragraphs[-1]["context"] != example["context"]:
            paragraphs.append({"context": example["context"], "qas": []})
        answers = [{"text": answer["text"], "answer_start": answer["start"]} for answer in example["answers"]]
        paragraphs[-1]["qas"].append({"id": example["id"], "question": example["question"], "answers": answers})
    # Compact, unlike write_json: contexts make these files large.
    text = json.dumps({"version": "1.1", "data": [{"title": "", "paragraphs": paragraphs}]}, ensure_ascii=False)
    files.write_text(path, text + "\n")


def write_predictions(path: Path, kind: str, examples: Sequence[dict], predictions: Sequence[dict]) -> None:
    """Write what `Predictor.predict` gave for `examples` (pair, choice, tagging, span_qa)."""
    if kind == "tagging":
        write_tags(path, [prediction["tags"] for prediction in predictions])
    elif kind == "span_qa":
        pairs = zip(examples, predictions, strict=True)
        write_answers(path, {example["id"]: prediction["text"] for example, prediction in pairs})
    else:
        write_labels(path, [prediction["label"] for prediction in predictions])
