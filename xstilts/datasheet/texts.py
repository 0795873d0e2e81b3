"""What counts as the input of an example, and when two inputs are the same."""

from __future__ import annotations

import hashlib

FIELDS = {
    "pair": ("text_a", "text_b"),
    "choice": ("context", "question"),
    "span_qa": ("context", "question"),
    "retrieval": ("text",),
    "mlm": ("text",),
}


def inputs(kind: str, example: dict) -> list[str]:
    """The texts of an example's input, the main one (context, premise, sentence) first; tokens joined by spaces."""
    if kind == "tagging":
        return [" ".join(example["tokens"])]
    found = [example[name] for name in FIELDS[kind]]
    return [*found, *example["choices"]] if kind == "choice" else found


def answer(kind: str, example: dict):
    """What makes two equal inputs a conflict: label, tags, place of the choice, set of answers; None: nothing does."""
    if kind == "span_qa":
        return sorted({normal(one["text"]) for one in example["answers"]})
    return example.get("tags" if kind == "tagging" else "label")


def normal(text: str) -> str:
    """Case folded, runs of white space as one space: texts that differ in nothing else are equal."""
    return " ".join(text.casefold().split())


def key(texts: list[str]) -> bytes:
    """64-bit digest of the normalised texts (BLAKE2b); equal for equal texts, whatever process asks."""
    joined = "\0".join(map(normal, texts))
    return hashlib.blake2b(joined.encode("utf-8", "replace"), digest_size=8).digest()


def main_text(texts: list[str]) -> str:
    """The first text that is not blank: the context, premise or sentence that several examples may share."""
    return next((text for text in texts if text.strip()), "")
