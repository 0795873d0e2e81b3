"""Rows of data.csv: size, balance, duplicates, leaks and lengths of one prepared file.

Columns. `n`: examples (retrieval: sentences of both sides). `label_balance`: percent of each label; tagging: the
commonest three tags and how many there are; choice: places of the right one; question answering: no answer;
retrieval: gold pairs and distractors (source side + target side). `majority`: percent of the commonest label (question
answering: of no answer, where the task has such). `duplicates`: examples whose input is that of an earlier one of the
file (retrieval: of the same side); `conflicts`: those of them whose answer differs from the first one's.

Leaks, of dev and test files. `overlap_train`: examples whose whole input is that of a training example, for the
training task that has most of them, `overlap_with` (its file in any language). `context_train`, `context_with`: the
same for examples whose main text (context, premise, sentence) is any text of a training example: XQuAD's paragraphs
come from SQuAD. `overlap_dev` (test files): inputs in the English dev set of the training task, by which checkpoints
are chosen; for BUCC in its own dev pools, which set its threshold.

`characters_mean`, `_median`, `_max`: of all texts of an example (answers and labels apart).
"""

from __future__ import annotations

from collections import Counter
from statistics import fmean, median_low

from xstilts.datasheet import texts

COMMONEST = 3  # tags that are named


class Seen:
    """Inputs and texts of the training files by task, and inputs of the dev files by (task, language)."""

    def __init__(self):
        self.inputs: dict[str, set[bytes]] = {}
        self.texts: dict[str, set[bytes]] = {}
        self.dev: dict[tuple[str, str], set[bytes]] = {}

    def add(self, task: str, language: str, split: str, rows: list[list[str]]) -> None:
        """Remember the inputs of a training or dev file (`rows`: what `texts.inputs` gives)."""
        if split == "train":
            self.inputs.setdefault(task, set()).update(map(texts.key, rows))
            self.texts.setdefault(task, set()).update(texts.key([text]) for row in rows for text in row if text.strip())
        elif split == "dev":
            self.dev[task, language] = {texts.key(row) for row in rows}

    def leaks(self, part: dict, language: str, split: str, rows: list[list[str]]) -> dict:
        """The columns on leaks of a dev or test file; none of a training file."""
        if split == "train":
            return {}
        own = part["training_task"] or part["task"]
        keys = [texts.key(row) for row in rows]
        mains = [texts.key([texts.main_text(row)]) for row in rows]
        found = dict(zip(("overlap_train", "overlap_with"), _most(keys, self.inputs, own), strict=True))
        found |= zip(("context_train", "context_with"), _most(mains, self.texts, own), strict=True)
        dev = self.dev.get((own, "en"), self.dev.get((own, language)))
        if split == "test" and dev is not None:
            found["overlap_dev"] = sum(key in dev for key in keys)
        return found


def _most(keys: list[bytes], known: dict[str, set[bytes]], own: str) -> tuple[int, str]:
    """(number of keys, task) of the task that knows most of them; ties: the own training task, then the first."""
    counts = {task: sum(key in there for key in keys) for task, there in known.items()}
    task = max(counts, key=lambda name: (counts[name], name == own), default="")
    return (counts[task], task) if counts.get(task) else (0, "")


def row(part: dict, language: str, split: str, examples: list[dict], seen: Seen) -> dict:
    """One row of data.csv. `part`: an entry of the spec's `data` (task, kind, labels, training_task)."""
    kind = part["kind"]
    rows = [texts.inputs(kind, example) for example in examples]
    balance, majority = _balance(part, examples)
    duplicates, conflicts = _duplicates(kind, examples, rows)
    characters = [sum(map(len, one)) for one in rows]
    found = {
        "task": part["task"], "language": language, "split": split, "n": len(examples), "label_balance": balance,
        "majority": majority, "duplicates": duplicates, "conflicts": conflicts,
        **seen.leaks(part, language, split, rows),
        "characters_mean": fmean(characters), "characters_median": median_low(characters),
        "characters_max": max(characters),
    }  # fmt: skip
    seen.add(part["task"], language, split, rows)
    return found


def _duplicates(kind: str, examples: list[dict], rows: list[list[str]]) -> tuple[int, int | None]:
    """(examples with the input of an earlier one, those with another answer); no conflicts where there is no answer."""
    first: dict[tuple, object] = {}
    duplicates = conflicts = 0
    for example, one in zip(examples, rows, strict=True):
        key, answer = (example.get("side"), texts.key(one)), texts.answer(kind, example)
        if key in first:
            duplicates += 1
            conflicts += first[key] != answer
        first.setdefault(key, answer)
    return duplicates, conflicts if texts.answer(kind, examples[0]) is not None else None


def _balance(part: dict, examples: list[dict]) -> tuple[str, float | None]:
    """(label_balance, majority) of a file."""
    kind, n = part["kind"], len(examples)
    if kind == "mlm":
        return "", None
    if kind == "retrieval":
        alone = Counter(example["side"] for example in examples if example["match"] is None)
        pairs = sum(example["match"] is not None for example in examples) // 2
        return f"{pairs} pairs, {alone['source']} + {alone['target']} distractors", None
    if kind == "span_qa":
        empty = 100 * sum(not example["answers"] for example in examples) / n
        return f"no answer {empty:.0f}", empty or None
    if kind == "tagging":
        counts = Counter(tag for example in examples for tag in example["tags"])
        total = sum(counts.values())
        shown = sorted(counts, key=lambda tag: (-counts[tag], tag))[:COMMONEST]
        text = ", ".join(f"{tag} {100 * counts[tag] / total:.0f}" for tag in shown)
        return f"{text} of {len(counts)} tags", 100 * max(counts.values()) / total
    counts = Counter(example["label"] for example in examples)
    if kind == "pair":
        shown = [f"{name} {100 * counts[name] / n:.0f}" for name in part["labels"] or sorted(counts)]
    else:
        places = range(max(len(example["choices"]) for example in examples))
        shown = [f"{place + 1}. {100 * counts[place] / n:.0f}" for place in places]
    return ", ".join(shown), 100 * max(counts.values()) / n
