"""What the generator of embedded data can say about its own items: candidate answers, and labels after an attack.

A spec's `generators` names the generators of each embedded task; an example's id says which item of them it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import regex

from xstilts import embedded
from xstilts.analysis import load

ENGLISH = "en"
BROKEN, UNREADABLE = "broken", "unreadable"
# "test-17" (retrieval: "source-17"), or where a task has several parts "xquad/test:test-17"
IDENTITY = regex.compile(r"(?:(?P<part>[^/:]+)/[^:]*:)?(?P<group>train|dev|test|source|target)-(?P<number>\d+)")


def origin(spec: dict, task: str, key: str) -> tuple[str, str, int] | None:
    """(generator, its split or side, number of the item) behind an example's id; None: not generated."""
    names, found = spec.get("generators", {}).get(task, []), IDENTITY.fullmatch(key)
    name = found and (found["part"] or (names[0] if len(names) == 1 else None))
    return (name, found["group"], int(found["number"])) if name in names else None


def candidates(spec: dict, task: str, language: str, rows: Sequence[dict]) -> list[list[tuple[int, int]]]:
    """Spans (start, end) of each row's context that have the type its question asks for; [] where none are known.

    The items are generated once more, which costs a hundredth of reading them back from their texts.
    """
    sizes: dict[tuple[str, str], int] = {}
    for row in rows:
        found = origin(spec, task, str(row["id"]))
        if found:
            sizes[found[:2]] = max(sizes.get(found[:2], 0), found[2] + 1)
    known = {
        (row["context"], row["question"]): spans
        for (generator, split), size in sizes.items()
        for row, spans in embedded.candidates(generator, language, split, size, spec["data"]["seed"])
    }
    return [known.get((row["context"], row["question"]), []) for row in rows]


class Labels:
    """Says of successful adversaries whether their labels still follow; equal texts are judged once."""

    def __init__(self, spec: dict, results: Path):
        self.spec, self.results = spec, results
        self._examples: dict[tuple[str, str], dict[str, dict]] = {}
        self._known: dict[tuple, str] = {}

    def __call__(self, target: str, language: str, rows: Sequence[dict]) -> list[str | None]:
        """A verdict (see `embedded.verdict`) for each row of an attack file whose attack succeeded, else None.

        All None where the target's data are not generated or their generator has no check. An adversary whose
        prepared example is not there, or has other texts by now, is `unreadable`.
        """
        if not self.spec.get("generators", {}).get(target):
            return [None] * len(rows)
        return [self._verdict(target, language, row) if row["outcome"] == "succeeded" else None for row in rows]

    def _verdict(self, target: str, language: str, row: dict) -> str | None:
        if (target, language) not in self._examples:
            found = load.examples(self.results, target, language, "test") or []
            self._examples[target, language] = {str(example["id"]): example for example in found}
        example, item = self._examples[target, language].get(row["id"]), origin(self.spec, target, row["id"])
        if example is None or item is None:
            return UNREADABLE
        original = {name: _value(example, name, text) for name, text in row["original"].items()}
        if any(example.get(name) != value for name, value in original.items()):
            return UNREADABLE
        edited = {
            name: _value(example, name, text)
            for name, text in row["adversarial"].items()
            if text != row["original"][name]
        }
        said_in = ENGLISH if example.get("side") == "target" else language
        key = (item, said_in, *((name, str(value)) for name, value in edited.items()))
        if key not in self._known:
            try:
                self._known[key] = embedded.verdict(item[0], said_in, example, **edited)
            except KeyError:  # a generator without a check
                self._known[key] = None
        return self._known[key]


def _value(example: dict, name: str, text: str) -> str | list[str]:
    """A field of an attack file as examples have it: tokens are joined by tabs there."""
    return text.split("\t") if isinstance(example.get(name), list) else text
