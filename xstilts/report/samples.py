"""Samples of generated data in the report: sentences of every language word by word, and items of the tasks."""

from __future__ import annotations

from xstilts import embedded
from xstilts.embedded import gloss
from xstilts.embedded.grammar import grammar
from xstilts.report import style
from xstilts.report.contents import Contents

SHOWN = ("xnli", "pawsx", "panx", "xquad", "tydiqa")  # one kind each, but retrieval, which the sentences show


def samples(contents: Contents) -> dict | None:
    """What the page shows of the embedded data; None where the study has none of it.

    `sentences`: [{english, others: [{language, name, direction, text, words: [(word, gloss)]}]}]; `items`: [(task,
    [(language, direction, text)])], the second test item of each task, the same in every language.
    """
    generated = [task for task, source in contents.spec["sources"].items() if source == "embedded"]
    codes = [code for code in contents.languages if code in embedded.languages()]
    if not generated or not codes:
        return None
    sentences = []
    for clause, template in gloss.SHOWN:
        others = [_sentence(contents, code, clause, template) for code in codes if code != embedded.ENGLISH]
        sentences.append({"english": grammar(embedded.ENGLISH).sentence(clause, template), "others": others})
    items = []
    for task in SHOWN:
        targets = contents.spec["targets"].get(task)
        if task in generated and targets:
            generator = contents.spec.get("generators", {}).get(task, [task])[0]
            seed = contents.spec.get("data", {}).get("seed", 1)
            rows = [(code, embedded.generate(generator, code, "test", 2, seed)[1]) for code in targets["languages"]]
            items.append((style.target(task), [(code, _direction(contents, code), _item(row)) for code, row in rows]))
    return {"sentences": sentences, "items": items}


def _sentence(contents: Contents, code: str, clause, template: str) -> dict:
    g = grammar(code)
    return {
        "language": code,
        "name": contents.catalog.languages[code]["name"] if code in contents.catalog.languages else code,
        "direction": _direction(contents, code),
        "text": g.text(g.clause(clause, template)),
        "words": gloss.words(code, clause, template),
    }


def _direction(contents: Contents, code: str) -> str:
    return contents.catalog.languages.get(code, {}).get("direction", "ltr")


def _item(row: dict) -> str:
    """One example on one line."""
    if "text_a" in row:
        return f"{row['text_a']} | {row['text_b']} | {row['label']}"
    if "tokens" in row:
        pairs = zip(row["tokens"], row["tags"], strict=True)
        return " ".join(token if tag == "O" else f"{token}/{tag}" for token, tag in pairs)
    answers = ", ".join(answer["text"] for answer in row["answers"]) or "no answer"
    return f"{row['context']} | {row['question']} | {answers}"
