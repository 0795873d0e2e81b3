"""Task heads in the shapes of Hugging Face's RoBERTa heads, so that checkpoints export to them.

pair      RobertaClassificationHead on <s>: dropout, dense, tanh, dropout, linear       -> (B, labels)
tagging   RobertaForTokenClassification: dropout, linear                                -> (B, T, labels)
span_qa   RobertaForQuestionAnswering: linear to start and end; no answer = position 0  -> (B, T, 2)
choice    RobertaForMultipleChoice with its pooler: as pair with one output             -> (B,)
mlm       XLMRobertaLMHead at the chosen positions, tied to the word embeddings         -> (M, V)
"""

from __future__ import annotations

import hashlib

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xstilts.errors import UserError
from xstilts.models import kernels
from xstilts.models.encoder import Dropout

STANDARD_DEVIATION = 0.02  # initializer_range of BERT, RoBERTa and XLM-R


class PooledHead(nn.Module):
    """Scores of a whole sequence from the last state of its first token."""

    def __init__(self, width: int, outputs: int, dropout: float, squeeze: bool):
        super().__init__()
        self.dense, self.out_proj = nn.Linear(width, width), nn.Linear(width, outputs)
        self.dropout, self.squeeze = Dropout(dropout), squeeze

    def forward(self, hidden: Tensor) -> Tensor:
        pooled = torch.tanh(self.dense(self.dropout(hidden[:, 0])))
        logits = self.out_proj(self.dropout(pooled))
        return logits.squeeze(-1) if self.squeeze else logits


class TokenHead(nn.Module):
    """Scores of each token from its last state."""

    def __init__(self, width: int, outputs: int, dropout: float):
        super().__init__()
        self.out_proj, self.dropout = nn.Linear(width, outputs), Dropout(dropout)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.out_proj(self.dropout(hidden))


class MaskedHead(nn.Module):
    """Scores of every piece of the vocabulary: dense, gelu, LayerNorm, then the word embeddings and a bias.

    The shape of Hugging Face's XLMRobertaLMHead. The head of pretraining is not there to start from (fetching a model
    keeps its encoder alone), so it begins as a reader of the encoder's states: the dense layer is the identity, the
    biases are 0, and LayerNorm's weight is 1, but less where the embeddings are so long that a logit's standard
    deviation would pass 2 (the first loss is then about ln V + 2 at most). No random numbers are drawn.
    """

    def __init__(self, width: int, vocabulary: int):
        super().__init__()
        self.dense, self.layer_norm = nn.Linear(width, width), nn.LayerNorm(width, eps=1e-5)
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    @torch.no_grad()
    def start(self, embeddings: Tensor) -> None:
        """Set the first weights, by the word embeddings (V, H) that the head is tied to."""
        torch.nn.init.eye_(self.dense.weight)
        self.dense.bias.zero_()
        sample = embeddings[:: max(1, len(embeddings) // 10_000)].float()  # enough for a mean
        self.layer_norm.weight.fill_((2.0 / sample.norm(dim=1).mean()).clamp(max=1.0))
        self.layer_norm.bias.zero_()
        self.bias.zero_()

    def forward(self, hidden: Tensor, embeddings: Tensor) -> Tensor:
        """(M, H) states and (V, H) word embeddings -> (M, V) logits."""
        hidden = self.layer_norm(F.gelu(self.dense(hidden)))
        if not torch.is_autocast_enabled(hidden.device.type):
            embeddings = embeddings.to(hidden.dtype)  # frozen ones may be float16
        return kernels.linear(hidden, embeddings, self.bias)


def build(kind: str, width: int, labels: int, dropout: float = 0.1) -> nn.Module:
    """The head of a task kind; `labels` counts for pair and tagging, and for mlm, where it is the vocabulary's size."""
    if kind == "pair":
        return PooledHead(width, labels, dropout, squeeze=False)
    if kind == "choice":
        return PooledHead(width, 1, dropout, squeeze=True)
    if kind == "tagging":
        return TokenHead(width, labels, dropout)
    if kind == "span_qa":
        return TokenHead(width, 2, 0.0)
    if kind == "mlm":
        return MaskedHead(width, labels)
    raise UserError(f"kind: {kind!r} has no head, allowed: pair, tagging, span_qa, choice, mlm")


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
