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


def _text(path: Path) -> str:
    """The file's text, every kind of line end as a newline."""
    try:
        with open(path, encoding="utf-8") as handle:
            text = handle.read()
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8: {error}") from error
    except OSError as error:  # such as a folder of that name
        raise UserError(f"{path}: could not be read ({error.strerror})") from error
    if text.startswith("\ufeff"):  # it would become a part of the first label
        raise UserError(f"{path}: begins with a byte order mark; save it as UTF-8 without one")
    return text


def _lines(path: Path) -> list[str]:
    """Lines without the white space (Unicode's) at their ends."""
    lines = _text(path).split("\n")
    if not lines[-1]:
        lines.pop()
    return [line.strip() for line in lines]


def _json(path: Path):
    try:
        return json.loads(_text(path), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: wrong JSON: {error}") from error


def _unique(pairs: list[tuple[str, object]]) -> dict:
    """An object of JSON. `json` alone would keep the last of two equal keys, and nobody would know."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in found if keys.count(key) > 1)!r} occurs twice in one object")
    return found


def read_labels(path: Path) -> list[str]:
    """One label (or, for Tatoeba, one row index) a line."""
    labels = _lines(path)
    for number, label in enumerate(labels, 1):
        if not label:
            raise UserError(
                f"{path}:{number}: empty line; every line must hold one label "
                "(XTREME's own preprocessing empties test labels: gold is to be made from the data sets themselves)"
            )
    return labels


def read_tags(path: Path) -> list[list[str]]:
    """One tag a line; each empty line ends a sentence, which may be empty: XTREME counts sentences so."""
    sentences, sentence = [], []
    for line in _lines(path):
        if line:
            sentence.append(line)
        else:
            sentences.append(sentence)
            sentence = []
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
    """{question id: answer text}; such an object may also stand under a key "data", as in XTREME."""
    answers = _json(path)
    if isinstance(answers, dict):
        answers = answers.get("data", answers)
    if not isinstance(answers, dict):
        raise UserError(f"{path}: must be one JSON object of question id: answer text")
    for question, answer in answers.items():
        if not isinstance(answer, str):
            raise UserError(f"{path}: the answer to {question!r} is {answer!r}; it must be a string (may be empty)")
    return answers


def read_gold_answers(path: Path) -> dict[str, list[str]]:
    """{question id: texts of its gold answers} of a SQuAD-like gold file (or its list "data"), in file order."""
    content = _json(path)
    try:
        questions = [
            question
            for article in (content["data"] if isinstance(content, dict) else content)
            for paragraph in article["paragraphs"]
            for question in paragraph["qas"]
        ]
        gold = {str(question["id"]): [answer["text"] for answer in question["answers"]] for question in questions}
    except (KeyError, TypeError) as error:
        raise UserError(f"{path}: not a SQuAD-like file (data, paragraphs, qas, answers): {error!r}") from error
    if len(gold) != len(questions):
        raise UserError(f"{path}: question ids are not unique")
    for question, texts in gold.items():
        if not all(isinstance(text, str) for text in texts):
            raise UserError(f"{path}: question {question!r} has a gold answer whose text is not a string")
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
