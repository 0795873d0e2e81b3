"""Checks of normalised examples: what would make a score wrong stops the job before anything is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from xstilts.errors import UserError


def check_example(kind: str, example: dict, labels: Sequence[str], options: dict, where: str, counts: Counter) -> None:
    """Raise `UserError` (row, id, value, what is allowed) where an example cannot be used.

    `labels`: the task's label names; empty: any. `counts` gains `illegal IOB2` (tags kept: PAN-X's raw data has I-
    tags that follow no B-) and `blank tokens`.
    """
    key = example["id"]
    here = f"{where} (id {key if key.isprintable() else repr(key)})"
    for name, value in example.items():
        _encodable(value, name, here)
    _CHECKS[kind](example, labels, options, here, counts)


def _encodable(value, name: str, here: str) -> None:
    """No half of a surrogate pair, which JSON can hold as \\ud800 and no UTF-8 file can."""
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            around = value[max(error.start - 20, 0) : error.start + 20]
            raise UserError(
                f"{here}: {name} holds half of a surrogate pair near {around!r}, which no UTF-8 file can hold; mend "
                "the text or remove the row"
            ) from error
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            _encodable(item, name, here)


def _one_line(value: str) -> bool:
    """Whether a line of a gold file can hold the value, so that reading gives it back."""
    return bool(value) and value == value.strip() and "\n" not in value and "\r" not in value


def _strings(example: dict, names: Sequence[str], here: str) -> None:
    for name in names:
        if not isinstance(example[name], str):
            raise UserError(f"{here}: {name} is {example[name]!r}; it must be a string")


def _label(value: str, labels: Sequence[str], here: str) -> None:
    if not _one_line(value):
        raise UserError(f"{here}: label {value!r} is empty, holds a line break or has white space at an end")
    if labels and value not in labels:
        allowed = " ".join(labels) if len(labels) <= 40 else f"{len(labels)} names in the catalog"
        raise UserError(f"{here}: label {value!r} is not one of: {allowed}")


def _pair(example: dict, labels: Sequence[str], options: dict, here: str, counts: Counter) -> None:
    _strings(example, ("text_a", "text_b"), here)
    _label(example["label"], labels, here)


def _choice(example: dict, labels: Sequence[str], options: dict, here: str, counts: Counter) -> None:
    _strings(example, ("context", "question"), here)
    choices = example["choices"]
    if not isinstance(choices, list) or len(choices) < 2 or not all(isinstance(c, str) for c in choices):
        raise UserError(f"{here}: choices must be two or more strings, not {str(choices)[:100]}")
    if not 0 <= example["label"] < len(choices):
        raise UserError(f"{here}: label {example['label']}: allowed: 0 to {len(choices) - 1}")


def _tagging(example: dict, labels: Sequence[str], options: dict, here: str, counts: Counter) -> None:
    tokens, tags = example["tokens"], example["tags"]
    if not tokens or len(tokens) != len(tags):
        raise UserError(f"{here}: {len(tokens)} tokens and {len(tags)} tags; both must be the same number, not 0")
    for position, token in enumerate(tokens):
        if not isinstance(token, str) or not token:
            raise UserError(f"{here}: token {position} is {token!r}; it must be a string that is not empty")
        counts["blank tokens"] += not token.strip()
    for tag in tags:
        _label(tag, labels, here)
        if not tag or tag != "".join(tag.split()):
            raise UserError(f"{here}: tag {tag!r} is empty or holds white space")
    if options.get("scheme") == "iob2":
        before = ["O", *tags[:-1]]
        counts["illegal IOB2"] += sum(
            tag.startswith("I-") and previous[2:] != tag[2:] for previous, tag in zip(before, tags, strict=True)
        )


def _span_qa(example: dict, labels: Sequence[str], options: dict, here: str, counts: Counter) -> None:
    _strings(example, ("context", "question"), here)
    if not example["answers"] and not options.get("no_answer"):
        raise UserError(
            f"{here}: no answer, but the task has none without one. (XTREME's own download scripts blank the answers "
            "of test files: take the originals.)"
        )


def _retrieval(example: dict, labels: Sequence[str], options: dict, here: str, counts: Counter) -> None:
    _strings(example, ("text",), here)
    if not example["text"].strip():
        raise UserError(f"{here}: text is empty")
    if example["side"] not in ("source", "target"):
        raise UserError(f"{here}: side {example['side']!r} is not one of: source target")
    if options.get("mining") == "margin" and ("\t" in example["id"] or not _one_line(example["id"])):
        raise UserError(
            f"{here}: id {example['id']!r} is empty, holds a TAB or line break or has white space at an end: no file "
            "of `source id<TAB>English id` lines can hold it. Rename it in the pool and in the gold pairs"
        )


def _mlm(example: dict, labels: Sequence[str], options: dict, here: str, counts: Counter) -> None:
    _strings(example, ("text",), here)
    if not example["text"].strip():
        raise UserError(f"{here}: text is empty; leave the row out, or give it text")


_CHECKS = {
    "pair": _pair,
    "choice": _choice,
    "tagging": _tagging,
    "span_qa": _span_qa,
    "retrieval": _retrieval,
    "mlm": _mlm,
}


def usable_answers(examples: list[dict], split: str, what: str, counts: Counter) -> list[dict]:
    """Leave out answers whose text is not in the context (`start` -1), and questions that lose all; count both.

    Raises `UserError` with the ids for a test split: a test set must not shrink unnoticed.
    """
    lost = [e["id"] for e in examples if any(answer["start"] < 0 for answer in e["answers"])]
    if lost and split == "test":
        shown = ", ".join(lost[:10]) + (f" and {len(lost) - 10} more" if len(lost) > 10 else "")
        raise UserError(f"{what}: answers that do not occur in their context, ids: {shown}. Mend or remove these rows")
    if not lost:
        return examples
    kept = []
    for example in examples:
        answers = [answer for answer in example["answers"] if answer["start"] >= 0]
        if answers or not example["answers"]:
            kept.append({**example, "answers": answers})
    counts["questions left out"] += len(examples) - len(kept)
    return kept


def check_file(kind: str, examples: Sequence[dict], options: dict, what: str) -> None:
    """Raise `UserError` for no examples, an id that occurs twice, and for retrieval matches that are not one-to-one, a
    sentence without a match where each needs one, and a mining pool in which every sentence has one.
    """
    if not examples:
        raise UserError(f"{what}: no examples are left")
    ids = Counter(example["id"] for example in examples)
    double = [key for key, number in ids.items() if number > 1]
    if double:
        raise UserError(
            f"{what}: {len(double)} ids occur more than once, such as {double[0]!r}; ids must be unique "
            "(leave `id` out of the part's `fields` to number the rows)"
        )
    if kind != "retrieval":
        return
    rows = {example["id"]: example for example in examples}
    matched = [example for example in examples if example["match"] is not None]
    for row in matched:
        partner = rows.get(row["match"])
        if partner is None or partner["match"] != row["id"] or partner["side"] == row["side"]:
            raise UserError(f"{what}: id {row['id']!r}: its match {row['match']!r} does not match it back")
    if not matched:
        raise UserError(f"{what}: no sentence has a match")
    if options["mining"] == "nearest" and len(matched) < len(examples):
        raise UserError(f"{what}: {len(examples) - len(matched)} sentences have no match; every one must have one")
    if options["mining"] == "margin":
        _check_pools(examples, what)


def _check_pools(examples: Sequence[dict], what: str) -> None:
    """Mining is finding pairs among sentences that have none: gold pairs alone are no pool."""
    if all(example["match"] is not None for example in examples):
        raise UserError(
            f"{what}: every sentence has a partner: these are the gold pairs alone and no pool to mine. Mining has to "
            "leave distractors alone; without any, F1 is far too high. Give the whole pools of the BUCC 2018 shared "
            "task (docs/data.md), or choose sources: [embedded]"
        )
