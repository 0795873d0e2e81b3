"""Lossless vocabulary trimming: train the word embeddings that the data can touch, and know the others exactly.

A row of the word embeddings that no batch looks up has the gradient 0 at every step. Its AdamW moments (Loshchilov and
Hutter 2019, 1711.05101) stay 0, so that weight decay alone moves it: w *= 1 - lr_t * wd. The product of these factors,
`Trimmed.decay`, gives all such rows at the end. So the matrix of 250,002 rows, its gradient and its two moments become
those of a few thousand rows, at an equal result. The product is kept in float64; a full training rounds to float32 at
every step, which is where the two differ in the last digits. Masked language modelling scores every piece: no row is
without a gradient there, and nothing can be trimmed.

`Rows` is what is trained, `Overlay` what is read from a checkpoint of such a training.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xstilts.errors import UserError
from xstilts.models.encoder import Embedding, Encoder


class Touched(NamedTuple):
    """What became of a (V, H) matrix: `values` (K, H) float32 in the rows `rows` (K,) int32, rising, and all the others
    times `decay`."""

    rows: Tensor
    values: Tensor
    decay: float

    def tensors(self, name: str) -> dict[str, Tensor]:
        """As a checkpoint stores them in place of the matrix `name`."""
        decay = torch.tensor([self.decay], dtype=torch.float64)
        return {f"{name}.rows": self.rows, f"{name}.touched": self.values, f"{name}.decay": decay}


def _index(rows: Tensor, size: int) -> Tensor:
    """(size,) int32: the place of each row in `rows`, -1 where it is not there."""
    index = torch.full((size,), -1, dtype=torch.int32)
    index[rows.long()] = torch.arange(len(rows), dtype=torch.int32)
    return index


def _places(index: Tensor, ids: Tensor) -> Tensor:
    """The place of each of `ids`, in their shape; unlike index[ids] a negative one is refused."""
    return index.index_select(0, ids.flatten()).view(ids.shape)


class Rows(nn.Module):
    """Some rows of word embeddings, to be trained: `weight` (K, H) float32, `index` (V,) int32 from piece to row.

    Looking up a piece that was not kept is an IndexError on a CPU and a failed assertion on a GPU, never a wrong row.
    """

    def __init__(self, values: Tensor, rows: Tensor, size: int, padding: int | None = None):
        super().__init__()
        self.weight = nn.Parameter(values)
        self.register_buffer("index", _index(rows, size), persistent=False)
        self.padding = None if padding is None else int(self.index[padding])  # a row that has no gradient

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) ids -> (B, T, H) float32."""
        return F.embedding(_places(self.index, ids), self.weight, self.padding)


class Overlay(nn.Module):
    """Word embeddings of a trimmed training: the base's matrix, as it is stored, with what the training changed.

    The base's `weight` (V, H) keeps its number format and may stay memory-mapped: rows are cast, decayed and replaced
    after the look-up, so that no (V, H) float32 matrix is made (384 MB for 250,037 x 384). It is never trained itself.
    """

    def __init__(self, weight: Tensor, touched: Touched, padding: int | None = None):
        super().__init__()
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.register_buffer("index", _index(touched.rows, len(weight)), persistent=False)
        self.register_buffer("values", touched.values, persistent=False)
        self.touched, self.padding_idx = touched, padding

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) ids -> (B, T, H) float32."""
        places = _places(self.index, ids)
        decayed = F.embedding(ids, self.weight).float() * self.touched.decay
        if not len(self.values):
            return decayed
        return torch.where((places < 0)[..., None], decayed, F.embedding(places.clamp(min=0), self.values))

    def dense(self) -> Tensor:
        """The (V, H) float32 matrix."""
        matrix = self.weight.detach().float() * self.touched.decay
        matrix[self.touched.rows.long().to(matrix.device)] = self.values
        return matrix


class Trimmed:
    """The word embeddings of a model in training after `trim`.

    `name`: the matrix among the encoder's parameters; `module`: its `Rows`; `decay`: what all the other rows are to be
    multiplied with, the product of the steps so far (part of a resumable state, and of the best weights so far).
    """

    def __init__(self, name: str, module: Rows, before: Touched | None):
        self.name, self.module, self.before, self.decay = name, module, before, 1.0

    def decayed(self, learning_rate: float, weight_decay: float) -> None:
        """Count one step of AdamW with this learning rate and weight decay."""
        self.decay *= 1.0 - learning_rate * weight_decay

    def tensors(self, weight: Tensor | None = None) -> dict[str, Tensor]:
        """What a checkpoint stores: changes since the base, those of an earlier training included.

        `weight`: the whole (K, H) matrix, where the module holds a part of it.
        """
        rows = (self.module.index >= 0).nonzero().flatten().int().cpu()
        values = (self.module.weight if weight is None else weight).detach().float().cpu()
        if self.before is None:
            return Touched(rows, values, self.decay).tensors(self.name)
        old = torch.isin(self.before.rows, rows, invert=True)  # touched then, and not now
        every = torch.cat([rows, self.before.rows[old]])
        values = torch.cat([values, self.before.values[old] * self.decay])
        order = every.argsort()
        return Touched(every[order], values[order], self.before.decay * self.decay).tensors(self.name)


def locate(encoder: nn.Module) -> tuple[str, nn.Module]:
    """(name, module) of the encoder's word embeddings, whoever wrote the encoder."""
    own = isinstance(encoder, Encoder)
    module = encoder.embeddings.word_embeddings if own else encoder.get_input_embeddings()
    return next(name for name, one in encoder.named_modules() if one is module), module


def trim(model, ids: Sequence[int] | np.ndarray) -> Trimmed:
    """Replace the word embeddings of a `loading.TaskModel` by trainable `Rows` of the pieces `ids` and of padding.

    `ids` must hold every piece that the model will see before it is saved. Sets and returns `model.trimmed`. UserError:
    a piece that the model has no row for.
    """
    name, module = locate(model.encoder)
    size = len(module.weight)
    rows = np.union1d(np.asarray(ids, np.int64), [model.pad_id])
    if rows[0] < 0 or rows[-1] >= size:
        wrong = rows[0] if rows[0] < 0 else rows[-1]
        raise UserError(
            f"{model.tokenizer_file}: gives piece {wrong}, and the model has embeddings for 0 to {size - 1}: they do "
            "not belong together. Fetch the model again, or correct source.tokenizer of its catalog file."
        )
    kept = torch.from_numpy(rows)
    with torch.no_grad():
        values = module(kept.to(module.weight.device)).float().cpu()
    padding = getattr(module, "padding_idx", None)
    new = Rows(values, kept, size, padding if padding is not None and padding in rows else None)
    _replace(model.encoder, name, new.to(module.weight.device))
    before = module.touched if isinstance(module, Overlay) else None
    model.trimmed = Trimmed(f"{name}.weight", new, before)
    return model.trimmed


def overlay(encoder: nn.Module, touched: Touched) -> None:
    """Lay the changes of a trimmed training over the encoder's word embeddings."""
    name, module = locate(encoder)
    _replace(encoder, name, Overlay(module.weight.detach(), touched, module.padding_idx))


def densify(model, trained: bool = True) -> None:
    """Make the word embeddings of a `loading.TaskModel` one (V, H) float32 matrix, to train all of it or to export."""
    name, module = locate(model.encoder)
    weight = module.dense() if isinstance(module, Overlay) else module.weight.detach().float()
    dense = Embedding(*weight.shape, padding_idx=module.padding_idx, _weight=weight)
    _replace(model.encoder, name, dense.requires_grad_(trained))


def _replace(encoder: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(encoder.get_submodule(parent), child, module)
