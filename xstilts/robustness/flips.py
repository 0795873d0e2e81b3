"""HotFlip's gains: how much a word put in another's place raises a victim's loss, to the first order.

Ebrahimi et al. 2018 (1712.06751), section 3, with sub-word pieces for characters: a word of the pieces x_1 .. x_n at
whose embeddings the loss has the gradients g_1 .. g_n gains sum_i (E[v] - E[x_i]) . g_i where every piece becomes the
piece v. (Where n > 1 the text gets shorter by n - 1 pieces, of which the first order knows nothing.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from xstilts.attacks import casing
from xstilts.attacks.candidates.single_words import asked_script, fitting, word_of, word_script
from xstilts.attacks.proposals import Draft
from xstilts.attacks.units import Unit
from xstilts.data.kinds.sequences import clean, ids_of, truncate_pair
from xstilts.evaluation.predict import at_once, longest, stable_batches
from xstilts.models import trimming
from xstilts.models.tokenizers import META
from xstilts.robustness.masked import filled_up

KINDS = ("pair", "tagging", "span_qa")


class Flips:
    """Calls as `Resources.gradients`; `victim`: a `predict.Predictor` (kind pair, tagging or span_qa).

    Words are those of `vocabulary` that are one piece of the victim's tokenizer; `spaces`: whether that piece must
    begin a word. `language`: the code of the language that they are in.
    """

    def __init__(self, victim, vocabulary: Sequence[str], spaces: bool, language: str = ""):
        self._victim, self._model, self._language = victim, victim.model, language
        self.kind = victim.kind.__name__.rpartition(".")[2]
        tokenizer, found = self._model.tokenizer, {}
        for word in vocabulary:
            pieces = [tokenizer.token_to_id(text) for text in ([META + word] if spaces else [word, META + word])]
            piece = next((piece for piece in pieces if piece is not None), None)
            if piece is not None:
                found[word] = piece
        self._words = np.array(list(found), dtype=object)
        self._scripts = np.array([word_script(word) for word in found], dtype=object)
        self._folded = np.array([casing.fold(word, language) for word in found], dtype=object)
        with torch.no_grad():
            module = trimming.locate(self._model.encoder)[1]
            ids = torch.tensor(list(found.values()), dtype=torch.int64, device=self._model.device)
            self._rows = module(ids[None])[0].double().cpu().numpy()  # (words, hidden), words may be 0

    def __call__(self, drafts: Sequence[Draft], k: int) -> list[dict[int, list[tuple[str, float]]]]:
        """For each draft: number of a unit that may change -> its `k` words of the highest gain, best first.

        A unit that no piece of the victim's input belongs to (cut off at its end) is left out. What is found for a
        draft does not depend on the others. Ties: the vocabulary's order.
        """
        victim = self._victim
        examples = [draft.example for draft in drafts]
        tokenizer, hyper = self._model.tokenizer, victim.hyper
        features = victim.kind.encode(examples, tokenizer, victim.labels, hyper, victim.options, True)
        sums = self.gradients(features, examples)
        own: list[list[int]] = [[] for _ in drafts]
        for number, feature in enumerate(features):
            own[feature["example"]].append(number)
        results = []
        for draft, numbers in zip(drafts, own, strict=True):
            windows = [features[number] for number in numbers]
            places = _places(self.kind, draft.example, windows, tokenizer, hyper)
            found = {}
            for unit in draft.ranges:
                at = [(numbers[window], position) for window, position in _of(draft.units[unit], places)]
                if at:
                    found[unit] = self._best(word_of(draft, unit), [sums[window] for window, _ in at], at, k)
            results.append({unit: words for unit, words in found.items() if words})
        return results

    def _best(self, word: str, arrays: list, at: list[tuple[int, int]], k: int) -> list[tuple[str, float]]:
        """The best words in place of one, whose pieces stand `at` (feature, position)."""
        gradient = np.zeros(self._rows.shape[1])
        here = 0.0
        for (embedded, gradients), (_, position) in zip(arrays, at, strict=True):
            gradient += gradients[position]
            here += float(embedded[position] @ gradients[position])
        gains = self._rows @ gradient - here
        other = self._folded != casing.fold(word, self._language)
        usable = np.flatnonzero(np.isin(self._scripts, fitting(asked_script(word))) & other)
        order = usable[np.argsort(-gains[usable], kind="stable")][:k]
        return [(self._words[place], float(gains[place])) for place in order]

    def gradients(self, features: list[dict], examples: Sequence[dict]) -> list[tuple[np.ndarray, np.ndarray]]:
        """(embeddings, gradients of the example's loss there) of each feature, both float64 (pieces, hidden).

        Runs in float32 or in the victim's bfloat16, also inside `torch.inference_mode`. Losses as in training, but a
        window of a long context counts only if it holds the answer, or if none does.
        """
        device, found = self._model.device, [None] * len(features)
        module = trimming.locate(self._model.encoder)[1]
        weights = _weights(self.kind, features, examples)
        lengths = [len(feature["input_ids"]) for feature in features]
        kept: list[torch.Tensor] = []

        def keep(_module, _inputs, output):
            kept.append(output.detach().requires_grad_())
            return kept[-1]

        # autocast must not take the copies of weights that were made where no gradient can flow
        bf16 = self._victim.precision == "bf16"
        autocast = torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16, cache_enabled=False)
        training = self._model.training
        self._model.eval()
        handle = module.register_forward_hook(keep)
        try:
            with torch.inference_mode(False), torch.enable_grad():
                for numbers, width in stable_batches(lengths, at_once(device), device, longest=longest(self._model)):
                    kept.clear()
                    batch = self._batch([features[number] for number in numbers], width, device)
                    with autocast:
                        logits = self._model.logits(self._victim.task, batch).float()
                    rows = torch.tensor([weights[number] for number in numbers], device=device)
                    loss = (_losses(self.kind, logits, batch) * rows).sum()
                    (gradient,) = torch.autograd.grad(loss, kept[0])
                    embedded, gradient = (one.detach().double().cpu().numpy() for one in (kept[0], gradient))
                    for row, number in enumerate(dict.fromkeys(numbers)):
                        found[number] = embedded[row, : lengths[number]], gradient[row, : lengths[number]]
        finally:
            handle.remove()
            self._model.train(training)
        return found

    def _batch(self, features: list[dict], width: int, device: torch.device) -> dict:
        """A collated batch, all rows padded to `width`."""
        lengths = torch.tensor([len(feature["input_ids"]) for feature in features])
        rows = [filled_up(feature, width, self._model.pad_id) for feature in features]
        if self.kind == "tagging":
            rows = [{**row, "labels": row["labels"] + [-100] * (width - len(row["labels"]))} for row in rows]
        batch = self._victim.kind.collate(rows, self._model.pad_id)
        batch["attention_mask"] = (torch.arange(width) < lengths[:, None]).long()
        return {name: value.to(device) for name, value in batch.items()}


def _weights(kind: str, features: list[dict], examples: Sequence[dict]) -> list[float]:
    """By what the loss of each feature counts: 1, but 0 for a window without the answer where another has it."""
    if kind != "span_qa":
        return [1.0] * len(features)
    holds = [feature["end"] > 0 for feature in features]
    some = {feature["example"] for feature, here in zip(features, holds, strict=True) if here}
    return [float(here or feature["example"] not in some) for feature, here in zip(features, holds, strict=True)]


def _losses(kind: str, logits: torch.Tensor, batch: dict) -> torch.Tensor:
    """The loss of each row, (B,), as `kinds` defines it for one example (tagging: mean over its labelled pieces)."""
    if kind == "pair":
        return F.cross_entropy(logits, batch["labels"], reduction="none")
    if kind == "tagging":
        labels = batch["labels"]
        rows = F.cross_entropy(logits.transpose(1, 2), labels, ignore_index=-100, reduction="none")
        return rows.sum(1) / (labels != -100).sum(1).clamp(min=1)
    logits = logits.masked_fill(batch["attention_mask"].unsqueeze(-1) == 0, float("-inf"))
    ends = (batch["start"], batch["end"])
    return sum(F.cross_entropy(logits[..., i], ends[i], reduction="none") for i in (0, 1)) / 2


Places = dict[tuple[str, int | None], list[tuple[int, int, int, int]]]


def _places(kind: str, example: dict, windows: list[dict], tokenizer, hyper: dict) -> Places:
    """(field, token or None) -> (window, position, first and last character) of each piece of the input."""
    found: Places = {}
    if kind == "tagging":
        words = iter(enumerate(example["tokens"]))
        sizes = ids_of(example["tokens"], tokenizer)
        for number, window in enumerate(windows):
            position = 1
            for _ in range(len(window["positions"])):
                token, text = next(words)
                count = len(sizes[text]) if 0 < len(sizes[text]) <= hyper["max_length"] - 2 else 1
                found["tokens", token] = [(number, position + i, 0, len(text)) for i in range(count)]
                position += count
        return found
    if kind == "span_qa":
        question = _spans(example["question"], tokenizer)[: hyper["max_query_length"]]
        for number, window in enumerate(windows):
            for field, begin, spans in (("question", 1, question), ("context", window["begin"], window["offsets"])):
                pieces = [(number, begin + i, first, last) for i, (first, last) in enumerate(spans)]
                found.setdefault((field, None), []).extend(pieces)
        return found
    one, two = (_spans(example[field], tokenizer) for field in ("text_a", "text_b"))
    one, two = truncate_pair(one, two, hyper["max_length"] - 4)
    for field, begin, spans in (("text_a", 1, one), ("text_b", len(one) + 3, two)):
        found[field, None] = [(0, begin + i, first, last) for i, (first, last) in enumerate(spans)]
    return found


def _spans(text: str, tokenizer) -> list[tuple[int, int]]:
    """(first, last) character of each piece of a text."""
    return tokenizer.encode(clean(text), add_special_tokens=False).offsets


def _of(unit: Unit, places: Places) -> list[tuple[int, int]]:
    """(window, position) of the pieces that have a character of the unit (a bare boundary piece: the character behind
    it)."""
    first, last = unit.word.start, unit.word.end
    pieces = places.get((unit.field, unit.token), [])
    return [(window, at) for window, at, start, end in pieces if start < last and max(end, start + 1) > first]
