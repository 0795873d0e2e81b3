"""Masked language modelling: single texts whose masked pieces are to be predicted (training only: no decoding).

The rule of Devlin et al. 2019 (1810.04805, section 3.1) as nyu-mll/jiant's `mlm_simple` has it: one text line is one
example, cut at `max_length`; of the pieces that are chosen 80 % become <mask>, 10 % another piece, 10 % stay. Two
differences: a text always has a chosen piece, and a random piece is never a special one. Unlike the other kinds' the
inputs change at every step, so the training loop calls `corrupt` between `encode` and `collate`.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xstilts.data.kinds.sequences import Layout, ids_of, inputs, special_id
from xstilts.errors import UserError

HYPER = ("max_length",)
SPECIALS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
MASKED, REPLACED = 0.8, 0.1  # shares of the chosen pieces; the others stay as they are
# Logits are (chosen pieces, vocabulary): at 250,037 pieces and 15 % a part of 4,096 tokens needs 0.6 GB for each of the
# logits, their log-probabilities and their gradient.
TOKENS_PER_BATCH = 4096


@dataclass(frozen=True)
class Vocabulary:
    """What `corrupt` must know of a tokenizer: the id of <mask>, the number of ids, the ids of special tokens."""

    mask: int
    size: int
    special: frozenset[int]


def vocabulary(tokenizer) -> Vocabulary:
    """The facts of a `tokenizers.Tokenizer`; UserError where it has no <mask>."""
    if tokenizer.token_to_id("<mask>") is None:
        raise UserError(
            "tokenizer.json: no token <mask>, which kind mlm needs: take a model that was pretrained with masks, or "
            "leave the mlm task out of the study"
        )
    added = tokenizer.get_added_tokens_decoder()
    special = {number for number, token in added.items() if token.special}
    special |= {special_id(tokenizer, token) for token in SPECIALS}
    size = max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1
    return Vocabulary(tokenizer.token_to_id("<mask>"), size, frozenset(special))


def facts(tokenizer) -> dict:
    """`vocabulary(tokenizer)` as JSON can hold it."""
    found = vocabulary(tokenizer)
    return {"mask": found.mask, "size": found.size, "special": sorted(found.special)}


def facts_of(record: dict) -> Vocabulary:
    """The vocabulary of which `facts` made the record."""
    return Vocabulary(record["mask"], record["size"], frozenset(record["special"]))


def encode(examples, tokenizer, labels, hyper, options, training: bool) -> list[dict]:
    """One feature an example, `<s> text </s>`; texts without a piece that could be predicted are left out."""
    layout, special = Layout(tokenizer, hyper["max_length"]), vocabulary(tokenizer).special
    ids = ids_of((row["text"] for row in examples), tokenizer)
    features = [{"input_ids": layout.single(ids[row["text"]]), "example": i} for i, row in enumerate(examples)]
    return [feature for feature in features if not special.issuperset(feature["input_ids"])]


def corrupt(features: Sequence[dict], key: str, facts: Vocabulary, hyper: dict) -> list[dict]:
    """Features with masks: `input_ids` changed, `masked` (positions, rising) and `labels` (the ids that stood there).

    Each piece that is not special is chosen with probability `mask_probability`, independently; where none was, one is.
    `key` decides all: equal keys and features give equal masks.
    """
    generator, result = random.Random(key), []
    for feature in features:
        ids = np.asarray(feature["input_ids"]).tolist()
        usable = [position for position, piece in enumerate(ids) if piece not in facts.special]
        chosen = [position for position in usable if generator.random() < hyper["mask_probability"]]
        chosen = chosen or [generator.choice(usable)]
        labels = [ids[position] for position in chosen]
        for position in chosen:
            ids[position] = _shown(ids[position], generator, facts)
        result.append({**feature, "input_ids": ids, "masked": chosen, "labels": labels})
    return result


def _shown(piece: int, generator: random.Random, facts: Vocabulary) -> int:
    """What stands in place of a chosen piece."""
    draw = generator.random()
    if draw < MASKED:
        return facts.mask
    if draw >= MASKED + REPLACED:
        return piece
    while True:
        other = generator.randrange(facts.size)
        if other not in facts.special:
            return other


def collate(features, pad_id: int) -> dict:
    """`input_ids`, `attention_mask` (B, T), `masked` (M,): indices into the B * T positions, and `labels` (M,)."""
    import torch

    batch = inputs([feature["input_ids"] for feature in features], pad_id)
    width = batch["input_ids"].shape[1]
    batch["masked"] = torch.tensor([row * width + at for row, one in enumerate(features) for at in one["masked"]])
    batch["labels"] = torch.tensor([piece for feature in features for piece in feature["labels"]])
    return batch


def loss(logits, batch):
    """Mean cross-entropy of logits (M, V) at the chosen positions."""
    from torch.nn.functional import cross_entropy

    return cross_entropy(logits, batch["labels"])
