"""Words that a masked language model puts in one place of a text: `fills` of `xstilts.attacks.proposals.Resources`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from xstilts.attacks.candidates.single_words import fitting, word_script
from xstilts.data import kinds
from xstilts.data.kinds.sequences import ids_of, special_id
from xstilts.evaluation.predict import at_once, inference, longest, stable_batches
from xstilts.models import runtime
from xstilts.models.tokenizers import META

CONTEXT = 128  # pieces of a text with its masked place
SARA_AM = "\u0e4d\u0e32", "\u0e33"  # a Thai vowel that the tokenizer's normaliser took apart
LETTERS = 16 * CONTEXT  # characters at either side that are tokenized: more than fit


def filled_up(feature: dict, width: int, pad_id: int) -> dict:
    """A feature with padding up to `width` pieces: what `collate` counts positions by."""
    ids = list(feature["input_ids"])
    return {**feature, "input_ids": ids + [pad_id] * (width - len(ids))}


class Fills:
    """Calls as `Resources.fills`: likeliest one-piece words of masked places, by a `TaskModel` with a head `task`.

    `spaces`: whether the language sets words apart by spaces: then only pieces that begin a word are words.
    """

    def __init__(self, model, task: str, precision: str):
        self._model, self._task, self._precision = model, task, precision
        self._vocabulary = kinds.get("mlm").vocabulary(model.tokenizer)
        tokenizer = model.tokenizer
        self._ends = special_id(tokenizer, "<s>"), special_id(tokenizer, "</s>")
        self._bare = tokenizer.token_to_id(META)
        # in the products' format: casting 250,002 rows takes longer than a batch
        lean = runtime.lean(precision) or torch.float32
        self._embeddings = model.word_embeddings.detach().to(lean)
        self._allowed: dict[tuple[bool, str], np.ndarray] = {}
        self._texts: list[str] | None = None

    def __call__(
        self, texts: Sequence[tuple[str, str]], k: int, scripts: Sequence[str] | None = None, spaces: bool = True
    ) -> list[list[tuple[str, float]]]:
        """For each (before, after) the `k` likeliest words between them with their probabilities, best first.

        `scripts`: the `word_script` that each place's words must have (None: any). The context is the text around the
        place, `CONTEXT` pieces in all. A result does not depend on the other texts. Ties: the lower piece first.
        """
        results: dict[tuple, list[tuple[str, float]]] = {}
        scripts = scripts or [""] * len(texts)
        asked = list(dict.fromkeys(zip(texts, scripts, strict=True)))
        features = self._features([text for text, _ in asked])
        lengths = [len(feature["input_ids"]) for feature in features]
        with inference(self._model, self._precision) as device:
            tokens = at_once(device) // 2  # a row of logits is 1 MB: 250,002 pieces
            for numbers, width in stable_batches(lengths, tokens, device, longest=longest(self._model)):
                logits = self._logits([features[number] for number in numbers], width, device)
                for row, number in enumerate(dict.fromkeys(numbers)):
                    results[asked[number]] = self._best(logits[row], k, self._pieces(spaces, asked[number][1]))
        return [results[key] for key in zip(texts, scripts, strict=True)]

    def _features(self, texts: list[tuple[str, str]]) -> list[dict]:
        """Features of kind mlm, without labels: `<s> before <mask> after </s>` cut around the mask."""
        befores = [before[-LETTERS:] for before, _ in texts]
        afters = [after[:LETTERS] for _, after in texts]
        pieces = ids_of([*befores, *afters], self._model.tokenizer)
        room, features = CONTEXT - 3, []
        for before, after in zip(befores, afters, strict=True):
            left, right = pieces[before], pieces[after]
            if after and not after[0].isspace():
                right = self._continued(right)
            right_room = max(room - len(left), room // 2)
            right = right[:right_room]
            left = left[max(0, len(left) - (room - len(right))) :]
            ids = [self._ends[0], *left, self._vocabulary.mask, *right, self._ends[1]]
            features.append({"input_ids": ids, "masked": [1 + len(left)], "labels": [0]})
        return features

    def _continued(self, ids: list[int]) -> list[int]:
        """Pieces of a text that goes on without a space: its first has no mark of a word's beginning."""
        if not ids or ids[0] == self._bare:
            return ids[1:]
        first = self._model.tokenizer.id_to_token(ids[0])
        inner = self._model.tokenizer.token_to_id(first.removeprefix(META))
        return ids if inner is None else [inner, *ids[1:]]

    def _logits(self, features: list[dict], width: int, device: torch.device) -> torch.Tensor:
        """(B, V) float32 logits at the masked places."""
        model = self._model
        lengths = torch.tensor([len(feature["input_ids"]) for feature in features])
        rows = [filled_up(feature, width, model.pad_id) for feature in features]
        batch = kinds.get("mlm").collate(rows, model.pad_id)
        mask = (torch.arange(width) < lengths[:, None]).long().to(device)
        hidden = model.hidden_states(batch["input_ids"].to(device), mask, only=batch["masked"].to(device))[-1]
        return model.heads[self._task](hidden, self._embeddings).float()

    def _best(self, logits: torch.Tensor, k: int, allowed: torch.Tensor) -> list[tuple[str, float]]:
        """The best k of the allowed pieces of one row of logits, with probabilities over the whole vocabulary."""
        total = torch.logsumexp(logits, 0)
        values = logits.index_select(0, allowed.to(logits.device)).cpu().numpy()
        best = _largest(values, 2 * k + 8)  # a word may be there twice, with and without the mark of a beginning
        found: dict[str, float] = {}
        for place in best:
            text = self._texts[int(allowed[place])]
            if len(found) < k:
                found.setdefault(text, float(np.exp(np.float64(values[place]) - float(total))))
        return list(found.items())

    def _pieces(self, spaces: bool, script: str) -> torch.Tensor:
        """Ids of the pieces that are words of a script ("" any), rising."""
        if self._texts is None:
            names = [self._model.tokenizer.id_to_token(number) or "" for number in range(self._vocabulary.size)]
            self._texts = [name.removeprefix(META).replace(*SARA_AM) for name in names]
            self._begin = np.array([name.startswith(META) for name in names])
            self._scripts = np.array([word_script(text) for text in self._texts], dtype=object)
            self._scripts[sorted(self._vocabulary.special)] = ""  # <mask> and the like are no words
        key = spaces, script
        if key not in self._allowed:
            usable = np.isin(self._scripts, fitting(script)) if script else self._scripts != ""
            found = np.flatnonzero(usable & self._begin if spaces else usable)
            rows = len(self._model.word_embeddings)  # a vocabulary may be larger than its model
            self._allowed[key] = torch.from_numpy(found[found < rows])
        return self._allowed[key]


def _largest(values: np.ndarray, count: int) -> np.ndarray:
    """Indices of the `count` largest, largest first, ties by index."""
    order = np.argsort(-values, kind="stable") if len(values) <= 4 * count else None
    if order is None:
        least = np.partition(values, len(values) - count)[len(values) - count]
        chosen = np.flatnonzero(values >= least)
        order = chosen[np.argsort(-values[chosen], kind="stable")]
    return order[:count]
