"""Rows of pieces.csv: what each model's tokenizer makes of one prepared file.

Columns. `n`: examples (retrieval: source sentences, for the other side is English in every file); `sampled`: how many
of them were measured, at most 2,000, those with the smallest hashes of their ids. `pieces_mean`, `_p95`, `_max`: pieces
an example, special tokens apart (choice: all choices). `pieces_per_word`: pieces divided by words, given tokens in
tagging, else by white space; empty in languages that are written without spaces. `unknown`: percent of pieces that are
the unknown token. Tagging alone: `empty_words`, words that yield no piece (the model sees the unknown token);
`boundary_first`, percent of words whose first piece is the bare word boundary, which says nothing about the word.
`over_length`: percent of examples longer than the task's max_length (or max_query_length) under the study's preset:
truncated, or in tagging and question answering read in windows.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from xstilts.data.kinds.sequences import ids_of
from xstilts.errors import UserError

SAMPLE = 2000
UNKNOWN = ("<unk>", "[UNK]")
BOUNDARY = "▁"
SPECIALS = {"pair": 4, "choice": 4, "span_qa": 4}  # <s> A </s> </s> B </s>; others: <s> A </s>


@dataclass
class Measure:
    """Pieces of a sample: `lengths` of the sequences of each example (see `_sequences`), and counts over all."""

    lengths: list[list[int]]
    pieces: list[int]
    words: int
    unknown: int
    empty: list[int] | None = None  # tagging: words without a piece, by example
    boundary: int = 0

    def row(self, kind: str, spaced: bool, limits: dict) -> dict:
        """The columns from `sampled` on."""
        total, ranked = sum(self.pieces), sorted(self.pieces)
        tagging = self.empty is not None
        return {
            "sampled": len(ranked),
            "pieces_mean": fmean(ranked),
            "pieces_p95": ranked[math.ceil(0.95 * len(ranked)) - 1],  # nearest rank
            "pieces_max": ranked[-1],
            "pieces_per_word": total / self.words if (spaced or tagging) and self.words else None,
            "unknown": 100 * self.unknown / total if total else 0.0,
            "empty_words": sum(self.empty) if tagging else None,
            "boundary_first": 100 * self.boundary / self.words if tagging else None,
            "over_length": 100 * sum(self._over(kind, place, limits) for place in range(len(ranked))) / len(ranked),
        }

    def _over(self, kind: str, place: int, limits: dict) -> bool:
        """Whether an example's sequence (choice: any of them) does not fit; an empty word is one piece there."""
        room = limits["max_length"] - SPECIALS.get(kind, 2)
        if kind == "span_qa":
            context, question = self.lengths[place]
            longest = limits["max_query_length"]
            return question > longest or context + min(question, longest) > room
        if kind == "choice":
            stem, *choices = self.lengths[place]
            return stem + max(choices) > room
        return sum(self.lengths[place]) + (self.empty[place] if self.empty is not None else 0) > room


def sample(examples: list[dict]) -> list[dict]:
    """At most SAMPLE examples, those with the smallest hashes of their ids, in file order."""
    if len(examples) <= SAMPLE:
        return examples
    digests = [hashlib.blake2b(str(one["id"]).encode(), digest_size=8).digest() for one in examples]
    kept = set(sorted(range(len(examples)), key=lambda place: (digests[place], place))[:SAMPLE])
    return [one for place, one in enumerate(examples) if place in kept]


def measure(kind: str, examples: list[dict], tokenizer) -> Measure:
    """Count the pieces of every example; equal texts are tokenized once, each as the task's kind does it."""
    unknown = next((number for name in UNKNOWN if (number := tokenizer.token_to_id(name)) is not None), None)
    rows = [_sequences(kind, example) for example in examples]
    ids = ids_of((text for row in rows for text in row), tokenizer)
    strange = {text: found.count(unknown) for text, found in ids.items()}
    lengths = [[len(ids[text]) for text in row] for row in rows]
    result = Measure(
        lengths=lengths,
        pieces=[sum(one) for one in lengths],
        words=sum(len(row) if kind == "tagging" else sum(len(text.split()) for text in row) for row in rows),
        unknown=sum(strange[text] for row in rows for text in row),
    )
    if kind == "tagging":
        boundary = tokenizer.token_to_id(BOUNDARY)
        result.empty = [one.count(0) for one in lengths]
        bare = {word for word, found in ids.items() if found and found[0] == boundary}
        result.boundary = sum(word in bare for row in rows for word in row)
    return result


def _sequences(kind: str, example: dict) -> list[str]:
    """The texts that are tokenized on their own, as `xstilts.data.kinds` does: words; stem and choices; texts."""
    if kind == "tagging":
        return example["tokens"]
    if kind == "choice":
        return [f"{example['context']} {example['question']}".strip(), *example["choices"]]
    names = {"pair": ("text_a", "text_b"), "span_qa": ("context", "question")}.get(kind, ("text",))
    return [example[name] for name in names]


class Tokenizers:
    """The tokenizers of a study's models; models whose file and limits are the same are measured once."""

    def __init__(self, spec: dict, models_dir: Path):
        from tokenizers import Tokenizer

        self.spec, self.groups, self._loaded = spec, {}, {}
        for model in spec["models"]:
            path = Path(models_dir, model, "tokenizer.json")
            try:
                content = path.read_bytes()
                digest = hashlib.sha256(content).hexdigest()
                if digest not in self._loaded:
                    self._loaded[digest] = Tokenizer.from_buffer(content)
            except FileNotFoundError as error:
                raise UserError(f"{path}: no such file. Next: fetch the model (snakemake prepare_all)") from error
            except Exception as error:  # the tokenizers library raises bare exceptions
                raise UserError(f"{path}: is no tokenizer ({error}). Next: delete it and fetch the model") from error
            limits = spec["lengths"][model]
            group = digest, json.dumps(limits, sort_keys=True)
            self.groups.setdefault(group, (self._loaded[digest], limits, []))[2].append(model)

    def rows(self, part: dict, language: str, split: str, examples: list[dict]) -> list[dict]:
        """Rows of pieces.csv of one file, one a model, in the spec's order of models."""
        kind, spaced = part["kind"], language not in self.spec["unspaced"]
        if kind == "retrieval":
            examples = [example for example in examples if example["side"] == "source"]
        chosen, found, measured = sample(examples), {}, {}
        for (digest, _), (tokenizer, limits, models) in self.groups.items():
            if digest not in measured:
                measured[digest] = measure(kind, chosen, tokenizer)
            columns = measured[digest].row(kind, spaced, limits[part["task"]])
            about = {"task": part["task"], "language": language, "split": split, "n": len(examples)}
            found |= {model: {"model": model, **about, **columns} for model in models}
        return [found[model] for model in self.spec["models"]]
