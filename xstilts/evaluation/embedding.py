"""Sentence vectors from blocks of an encoder that was never trained for them: which block, which pooling."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from xstilts.data import encodings, kinds
from xstilts.data.encodings import Features
from xstilts.errors import UserError
from xstilts.evaluation.predict import (
    TOKENS_PER_BATCH,
    at_once,
    inference,
    length_batches,
    longest,
    stable_batches,
    widened,
    widths,
)

POOLINGS = ("mean", "mean_no_specials", "cls", "max")
STATES = 1 << 30  # bytes of float32 hidden states that one batch may leave behind in all blocks together
FINAL_NORMS = ("encoder.LayerNorm", "final_norm")  # xlm-roberta-xl, modernbert


def layer_at(layer: str | int, blocks: int) -> int:
    """The number of hidden states' layer `layer` in a model of `blocks` blocks: 0 = embeddings' output, i = block i.

    `layer`: such a number; "last"; or a fraction "n/d" of the depth, rounded to the nearest block, ties up, and at
    least block 1 unless it is 0. XLM-R large's block 14 of 24, which jiant reads, is "14/24".
    """
    if layer == "last":
        return blocks
    if isinstance(layer, int) and not isinstance(layer, bool) and 0 <= layer <= blocks:
        return layer
    if isinstance(layer, str) and re.fullmatch(r"\d+/0*[1-9]\d*", layer) and (depth := Fraction(layer)) <= 1:
        return max(math.floor(depth * blocks + Fraction(1, 2)), 1 if depth else 0)
    raise UserError(
        f"layer: {layer!r}: the model has {blocks} blocks; allowed: a number 0 (embeddings' output) to {blocks}, last, "
        "or a fraction of the depth up to 1, such as 14/24"
    )


def pool(states: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """One row a text, (B, H), of float states (B, T, H) and the 0/1 mask (B, T) of real tokens.

    mean: over all real tokens, `<s>` and `</s>` included; mean_no_specials: over the pieces between them (a text
    without pieces: as mean); cls: the state of `<s>`; max: the largest value of each column over all real tokens.
    """
    if pooling == "cls":
        return states[:, 0]
    if pooling == "max":
        return states.masked_fill(mask.unsqueeze(-1) == 0, -math.inf).amax(1)
    if pooling == "mean_no_specials":
        pieces = mask.clone()
        pieces[:, 0] = 0
        pieces.scatter_(1, mask.sum(1, keepdim=True) - 1, 0)  # the last real token is </s>
        mask = torch.where(pieces.any(1, keepdim=True), pieces, mask)
    weights = mask.unsqueeze(-1).float()
    return (states * weights).sum(1) / weights.sum(1)


class Embedder:
    """Embeds texts with one or several layers of a model; `tokens` counts the real tokens put through it so far.

    `pooling`: one of `POOLINGS`; `max_length` in pieces; `precision`: "fp32" or "bf16". The blocks of a `pre_norm`
    model (its catalog identity) leave states of unbounded scale, made to be read through the final layer norm: it is
    applied to the chosen layer's states (the last block's have it already). With `work`, encodings are kept there for
    jobs of the same `code` (see `xstilts.data.encodings`). `stable`: a text's vector is equal to the bit whatever else
    is embedded (see `predict.stable_batches`).
    """

    def __init__(
        self,
        model,
        pooling: str,
        max_length: int,
        precision: str,
        pre_norm: bool = False,
        code: str = "",
        work: Path | None = None,
        stable: bool = False,
    ):
        if pooling not in POOLINGS:
            raise UserError(f"pooling: {pooling!r} is unknown; allowed: {', '.join(POOLINGS)}")
        self.model, self.pooling, self.precision = model, pooling, precision
        self.hyper, self.code, self.work = {"max_length": max_length}, code, work
        self.norm = final_norm(model.encoder) if pre_norm else None
        self.stable, self.tokens = stable, 0

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.encoder.parameters()).device

    @property
    def bytes_a_text(self) -> int:
        """Memory that the vector of one text takes, a layer."""
        return 4 * self.model.config["hidden_size"]

    def embed(self, texts: Sequence[str], layers: Sequence[int]) -> dict[int, np.ndarray]:
        """{layer: float32 (texts, hidden), rows of length 1} of one forward pass, up to the highest of `layers`.

        Equal texts are embedded once: their rows are equal to the bit. All layers are held: see `bytes_a_text`.
        """
        unique = {text: number for number, text in enumerate(dict.fromkeys(texts))}
        found = self.vectors(self.features(list(unique)), layers)
        if len(unique) == len(texts):
            return found
        order = [unique[text] for text in texts]
        return {layer: rows[order] for layer, rows in found.items()}

    def features(self, texts: Sequence[str]) -> Features:
        """The texts' pieces, for `vectors`."""
        return encodings.of_texts(texts, self.hyper, self.model, self.code, self.work)

    def vectors(self, features: Sequence[dict], layers: Sequence[int]) -> dict[int, np.ndarray]:
        """As `embed`, of different texts given as `features`."""
        kind, shape = kinds.get("retrieval"), (len(features), self.model.config["hidden_size"])
        found = {layer: np.empty(shape, np.float32) for layer in layers}
        with inference(self.model, self.precision) as device:
            for numbers, width in self._batches(features, device):
                batch = kind.collate([features[number] for number in numbers], self.model.pad_id)
                self.tokens += sum(len(features[number]["input_ids"]) for number in dict.fromkeys(numbers))
                batch = widened(batch, width, self.model.pad_id) if width else batch
                mask = batch["attention_mask"].to(device)
                states = self.model.hidden_states(batch["input_ids"].to(device), mask, max(layers))
                for layer, rows in found.items():
                    pooled = pool(self._normed(states, layer).float(), mask, self.pooling)
                    rows[numbers] = torch.nn.functional.normalize(pooled, dim=-1).cpu().numpy()
        return found

    def _batches(self, features: Sequence[dict], device: torch.device) -> Iterator[tuple[list[int], int | None]]:
        """(indices of features, columns that they are padded to; None: those of the longest)."""
        if not self.stable:
            yield from ((numbers, None) for numbers in length_batches(features, self._tokens_per_batch()))
            return
        tokens = min(self._tokens_per_batch(), at_once(device))
        yield from stable_batches(widths(features).tolist(), tokens, device, 1, longest(self.model))

    def _tokens_per_batch(self) -> int:
        """By the model's size and not by the layers asked for: a layer's vectors do not depend on the others."""
        config = self.model.config
        return max(1, min(TOKENS_PER_BATCH, STATES // (self.bytes_a_text * (config["num_hidden_layers"] + 1))))

    def _normed(self, states: list[Tensor], layer: int) -> Tensor:
        read_already = self.norm is None or layer == self.model.config["num_hidden_layers"]
        return states[layer] if read_already else self.norm(states[layer])


def final_norm(encoder) -> torch.nn.Module:
    """The layer norm behind the last block of a pre-norm encoder, by its name in transformers."""
    modules = dict(encoder.named_modules())
    for name in FINAL_NORMS:
        if name in modules:
            return modules[name]
    raise UserError(
        f"identity: pre_norm: true, but the encoder has no {' or '.join(FINAL_NORMS)}: correct its catalog entry"
    )
