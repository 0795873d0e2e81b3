"""Attention: torch's fused kernels on an accelerator, two plain matrix products on a CPU.

Measured by `make bench` (benchmarks/results/attention.json; torch 2.13, one thread of an AMD EPYC with avx512_bf16,
bf16, forward and backward, 22 to 128 tokens, some padding): 2.1 to 9.7 times as fast as torch's function without
dropout, 1.6 to 3.3 times with it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from xstilts.models.kernels import kept

ALIGNED = 16  # torch's memory-efficient kernel copies a bias in each block unless its rows start at multiples of this


def bias_of(mask: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """What is added to the scores of keys: (B, T) 0/1 mask -> (B, 1, 1, T), 0 or the lowest number of `dtype`.

    None stays None, and on a CPU a mask of ones becomes None: nothing is padding, so nothing has to be added, and the
    fast kernels of an accelerator, which take no bias, can be used. There the mask is not looked at (that would make
    the host wait): whoever made it on the host knows.
    """
    if mask is None or (mask.device.type == "cpu" and bool(mask.all())):
        return None
    size, length = mask.shape
    room = length if mask.device.type == "cpu" else -(-length // ALIGNED) * ALIGNED
    bias = torch.zeros(size, 1, 1, room, dtype=dtype, device=mask.device)[..., :length]
    return bias.masked_fill_(~mask.bool()[:, None, None, :], torch.finfo(dtype).min)


def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, dropout: float) -> Tensor:
    """softmax(Q K^T / sqrt(D)) V (Vaswani et al. 2017): (B, heads, S, D) and twice (B, heads, T, D) -> as the first.

    `bias`: see `bias_of`. `dropout` is applied to the weights.
    """
    if query.device.type != "cpu":
        if bias is not None:
            bias = bias.expand(-1, query.shape[1], query.shape[2], -1)
        return F.scaled_dot_product_attention(query, key, value, attn_mask=bias, dropout_p=dropout)
    size, heads, length, width = query.shape
    if bias is not None:
        bias = bias.expand(-1, heads, 1, -1).reshape(size * heads, 1, -1).to(query.dtype)
    query, key, value = (part.reshape(size * heads, -1, width) for part in (query, key, value))
    # autocast would make float32 copies of the weights
    with torch.autocast("cpu", enabled=False):
        mixed = _Attention.apply(query, key, value, bias, dropout)
    return mixed.view(size, heads, length, width)


class _Attention(Function):
    """(N, S, D), twice (N, T, D) and a bias (N, 1, T) -> (N, S, D).

    Written out to keep the weights in the dtype of the products alone, and because torch's bfloat16 softmax takes up
    to twice as long as float32's with both conversions unless a row is a multiple of 32 long.
    """

    @staticmethod
    def forward(ctx, query, key, value, bias, dropout):
        ctx.scale, ctx.factor = query.shape[-1] ** -0.5, 1.0
        weights = torch.softmax(_scaled(query, key.transpose(1, 2), ctx.scale, bias), -1, dtype=torch.float32)
        weights = weights.to(query.dtype)
        ones = None
        if dropout:
            ones, ctx.factor = kept(weights, dropout)
        ctx.save_for_backward(query, key, value, weights, ones)
        return _scaled(weights if ones is None else weights * ones, value, ctx.factor)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        query, key, value, weights, ones = ctx.saved_tensors
        of_weights = _scaled(gradient, value.transpose(1, 2), ctx.factor)
        dropped = weights
        if ones is not None:
            dropped = weights * ones
            of_weights.mul_(ones)
        of_value = _scaled(dropped.transpose(1, 2), gradient, ctx.factor)
        of_scores = torch._softmax_backward_data(of_weights, weights, -1, weights.dtype)
        of_query = _scaled(of_scores, key, ctx.scale)
        of_key = _scaled(of_scores.transpose(1, 2), query, ctx.scale)
        return of_query, of_key, of_value, None, None


def _scaled(left: Tensor, right: Tensor, factor: float, bias: Tensor | None = None) -> Tensor:
    """factor * left @ right + bias for batches of matrices."""
    if bias is not None:
        return torch.baddbmm(bias, left, right, alpha=factor)
    if factor == 1.0:
        return torch.bmm(left, right)
    empty = torch.empty((), dtype=left.dtype).expand(len(left), left.shape[1], right.shape[2])
    return torch.baddbmm(empty, left, right, beta=0, alpha=factor)  # beta=0: what is added is not read
