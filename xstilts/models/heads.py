"""Task heads in the shapes of Hugging Face's RoBERTa heads, so that checkpoints export to them.

pair      RobertaClassificationHead on <s>: dropout, dense, tanh, dropout, linear       -> (B, labels)
tagging   RobertaForTokenClassification: dropout, linear                                -> (B, T, labels)
span_qa   RobertaForQuestionAnswering: linear to start and end; no answer = position 0  -> (B, T, 2)
choice    RobertaForMultipleChoice with its pooler: as pair with one output             -> (B,)
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn

from xstilts.errors import UserError

STANDARD_DEVIATION = 0.02  # initializer_range of BERT, RoBERTa and XLM-R


class PooledHead(nn.Module):
    """Scores of a whole sequence from the last state of its first token."""

    def __init__(self, width: int, outputs: int, dropout: float, squeeze: bool):
        super().__init__()
        self.dense, self.out_proj = nn.Linear(width, width), nn.Linear(width, outputs)
        self.dropout, self.squeeze = nn.Dropout(dropout), squeeze

    def forward(self, hidden: Tensor) -> Tensor:
        pooled = torch.tanh(self.dense(self.dropout(hidden[:, 0])))
        logits = self.out_proj(self.dropout(pooled))
        return logits.squeeze(-1) if self.squeeze else logits


class TokenHead(nn.Module):
    """Scores of each token from its last state."""

    def __init__(self, width: int, outputs: int, dropout: float):
        super().__init__()
        self.out_proj, self.dropout = nn.Linear(width, outputs), nn.Dropout(dropout)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.out_proj(self.dropout(hidden))


def build(kind: str, width: int, labels: int, dropout: float = 0.1) -> nn.Module:
    """The head of a task kind; `labels` counts for pair and tagging only."""
    if kind == "pair":
        return PooledHead(width, labels, dropout, squeeze=False)
    if kind == "choice":
        return PooledHead(width, 1, dropout, squeeze=True)
    if kind == "tagging":
        return TokenHead(width, labels, dropout)
    if kind == "span_qa":
        return TokenHead(width, 2, 0.0)
    raise UserError(f"kind: {kind!r} has no head, allowed: pair, tagging, span_qa, choice")


def initialise(head: nn.Module, seed: int, task: str) -> nn.Module:
    """Normal weights of standard deviation 0.02 and zero biases, decided by (seed, task) alone."""
    digest = hashlib.sha256(f"head {seed} {task}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
    with torch.no_grad():
        for name, parameter in head.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
            else:
                parameter.normal_(0.0, STANDARD_DEVIATION, generator=generator)
    return head
