"""Test files that hold the same examples in several languages, and the alignment of their words by an encoder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from xstilts import files
from xstilts.data.kinds.sequences import Layout, ids_of, inputs
from xstilts.errors import UserError

Words = tuple[str, ...]


def read(examples_dir: str | Path, target: str, languages: Iterable[str]) -> dict[str, dict[str, dict]]:
    """{id: {language: row}} of <examples_dir>/<target>/<language>/test.jsonl, of ids that several languages have.

    Rows of one id are taken for translations of one another: so it is in XNLI, PAWS-X, XQuAD, MLQA and the embedded
    sets. A row whose label no other language's row has (PAWS-X: some items differ) is left out; where two labels
    remain, `translations` of xstilts/attacks/candidates/dictionary.py keeps them apart. Pair and span_qa rows only.
    """
    found: dict[str, dict[str, dict]] = {}
    for language in languages:
        path = Path(examples_dir, target, language, "test.jsonl")
        for number, row in enumerate(files.read_jsonl(path), 1):
            if "id" not in row or not ("text_b" in row or "context" in row):
                raise UserError(
                    f"{path}: row {number}: no pair of texts and no question; parallel texts are read from pair and "
                    "span_qa targets only"
                )
            found.setdefault(str(row["id"]), {})[language] = row
    parallel = {}
    for key, rows in found.items():
        labels = Counter(row.get("label") for row in rows.values())
        kept = {language: row for language, row in rows.items() if labels[row.get("label")] > 1}
        if kept:
            parallel[key] = kept
    return parallel


class Aligner:
    """Aligns the words of translations by their vectors in one layer of an encoder: SimAlign's `inter` (argmax).

    Jalili Sabet et al. 2020 (arXiv 2004.08728): two words are aligned when each is the other's nearest by cosine. A
    word's vector is the mean of its pieces' states. `model`: a `models.loading.TaskModel`; `layer`: number of its
    hidden states (0 = embeddings' output); `max_length` in pieces, `<s>` and `</s>` included: words beyond are aligned
    with nothing. `pre_norm`: as in `evaluation.embedding.Embedder`. `tokens` counts the real tokens put through it.
    """

    def __init__(self, model, layer: int, max_length: int = 512, precision: str = "fp32", pre_norm: bool = False):
        from xstilts.evaluation.embedding import final_norm

        self.model, self.layer, self.precision = model, layer, precision
        self.layout = Layout(model.tokenizer, max_length)
        read_already = not pre_norm or layer == model.config["num_hidden_layers"]
        self.norm = None if read_already else final_norm(model.encoder)
        self.tokens = 0

    def align(self, pairs: Sequence[tuple[Sequence[str], Sequence[str]]]) -> list[list[tuple[int, int]]]:
        """For each pair of word lists the aligned (i, j), rising in i; no word has two. Other pairs do not matter."""
        lists = {tuple(words): None for pair in pairs for words in pair}
        vectors = dict(zip(lists, self._vectors(list(lists)), strict=True))
        return [mutual(vectors[tuple(one)], vectors[tuple(other)]) for one, other in pairs]

    def _vectors(self, lists: list[Words]) -> list[np.ndarray]:
        """(words with a vector, hidden) float32 rows of length 1; words at the end of a list may have none."""
        from xstilts.evaluation.predict import at_once, inference, longest, stable_batches, widened

        pieces = ids_of((word for words in lists for word in words), self.model.tokenizer)
        sequences = [[piece for word in words for piece in pieces[word]] for words in lists]
        rows = [self.layout.single(sequence) for sequence in sequences]
        lengths = [len(row) for row in rows]
        found = [np.zeros((0, self.model.config["hidden_size"]), np.float32)] * len(lists)
        with inference(self.model, self.precision) as device:
            for numbers, width in stable_batches(lengths, at_once(device), device, longest=longest(self.model)):
                plain = inputs([rows[number] for number in numbers], self.model.pad_id)
                batch = {name: one.to(device) for name, one in widened(plain, width, self.model.pad_id).items()}
                numbers = list(dict.fromkeys(numbers))  # the last may be repeated
                self.tokens += sum(lengths[number] for number in numbers)
                states = self.model.hidden_states(batch["input_ids"], batch["attention_mask"], self.layer)[self.layer]
                states = (self.norm(states) if self.norm else states).float().cpu().numpy()
                for place, number in enumerate(numbers):
                    counts = [len(pieces[word]) for word in lists[number]]
                    found[number] = word_vectors(states[place, 1 : len(rows[number]) - 1], counts)
        return found


def word_vectors(states: np.ndarray, counts: list[int]) -> np.ndarray:
    """Mean of each word's pieces, scaled to length 1: (pieces, hidden) and pieces a word -> (words, hidden).

    Stops before the first word whose pieces are not all there. A word without pieces has a vector of zeros.
    """
    rows, start = [], 0
    for count in counts:
        if start + count > len(states):
            break
        mean = states[start : start + count].mean(0) if count else np.zeros(states.shape[1], np.float32)
        rows.append(mean / max(float(np.linalg.norm(mean)), 1e-12))
        start += count
    return np.array(rows, np.float32).reshape(len(rows), states.shape[1])


def mutual(one: np.ndarray, other: np.ndarray) -> list[tuple[int, int]]:
    """(i, j) where row j of `other` is the nearest of row i of `one`, and the other way round; ties: the first."""
    if not len(one) or not len(other):
        return []
    cosine = one @ other.T
    forward, backward = cosine.argmax(1), cosine.argmax(0)
    return [(i, int(j)) for i, j in enumerate(forward) if backward[j] == i and one[i].any() and other[j].any()]
