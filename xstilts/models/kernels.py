"""What torch does slowly on a CPU, done by other functions of torch: float32 products, dropout, dropout + residual.

- torch's float32 products go to MKL, which takes a slow path on processors that are not Intel's; here they go to
  oneDNN, as bfloat16's do anyway. What it brings is part of the float32 rows of docs/performance.md.
- torch draws dropout's mask number by number where the processor is not Intel's; here 64 random bits make four
  decisions.
On other devices torch's own functions are used.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

STEPS = 1 << 16  # a probability is rounded to a multiple of 1 / STEPS: 0.1 becomes 0.100006


def linear(states: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`F.linear`, (..., N) and (M, N) -> (..., M), in float32 on a CPU by oneDNN: equal within rounding."""
    ours = states.device.type == "cpu" and states.dtype == weight.dtype == torch.float32 and states.numel()
    if not ours or not _onednn():  # oneDNN knows no product of no rows
        return F.linear(states, weight, bias)
    states = states.contiguous()  # for a slice oneDNN has slow reference code alone
    if torch.is_grad_enabled():
        return _Linear.apply(states, weight, bias)
    return _product(states, weight, bias)


def _onednn() -> bool:
    return (
        not torch.is_autocast_enabled("cpu")
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


def _product(states: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """states @ weight.T + bias: the function that torch's inductor calls. It knows no gradients."""
    return torch.ops.mkldnn._linear_pointwise(states, weight, bias, "none", [], "")


class _Linear(Function):
    @staticmethod
    def forward(ctx, states, weight, bias):
        ctx.save_for_backward(states, weight)
        return _product(states, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        states, weight = ctx.saved_tensors
        of_states, of_weight, of_bias = ctx.needs_input_grad
        flat = gradient.reshape(-1, gradient.shape[-1]).contiguous()
        return (
            _product(flat, weight.t(), None).view(states.shape) if of_states else None,
            _product(flat.t(), states.reshape(-1, states.shape[-1]).t(), None) if of_weight else None,
            flat.sum(0) if of_bias else None,
        )


def kept(like: Tensor, probability: float) -> tuple[Tensor, float]:
    """(tensor of the shape and dtype of `like`: 0 with `probability`, else 1; factor that keeps the mean at 1)."""
    threshold = round(probability * STEPS)
    count = like.numel()
    bits = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(2**63), None)  # all 64 bits, by torch's generator
    draws = bits.view(torch.int16)[:count].view(like.shape)
    ones = torch.empty(like.shape, dtype=like.dtype)
    # comparing into the dtype costs half of comparing into booleans, and multiplying by it a seventh
    return torch.ge(draws, threshold - STEPS // 2, out=ones), STEPS / (STEPS - threshold)


def dropout(states: Tensor, probability: float) -> Tensor:
    """`F.dropout` of states that are being trained on; the probability must be below 1."""
    if not probability:
        return states
    if states.device.type != "cpu":
        return F.dropout(states, probability)
    return _Dropout.apply(states, probability)


class _Dropout(Function):
    @staticmethod
    def forward(ctx, states, probability):
        ones, ctx.factor = kept(states, probability)
        ctx.save_for_backward(ones)
        return torch.mul(states, ones).mul_(ctx.factor)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        (ones,) = ctx.saved_tensors
        return torch.mul(gradient, ones).mul_(ctx.factor), None


def add_dropped(residual: Tensor, states: Tensor, probability: float) -> Tensor:
    """residual + dropout(states), where the residual is float32 and the states may be bfloat16."""
    if not probability:
        return residual + states
    if states.device.type != "cpu":
        return residual + F.dropout(states, probability)
    return _AddDropped.apply(residual, states, probability)


class _AddDropped(Function):
    @staticmethod
    def forward(ctx, residual, states, probability):
        ones, ctx.factor = kept(states, probability)
        ctx.save_for_backward(ones)
        return torch.add(residual, torch.mul(states, ones), alpha=ctx.factor)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        (ones,) = ctx.saved_tensors
        return gradient, gradient.to(ones.dtype).mul(ones).mul_(ctx.factor), None
