"""The kinds of task: how examples become token sequences, and logits become predictions.

Each kind is a module (`pair tagging span_qa choice retrieval mlm`) with the same functions:

`encode(examples, tokenizer, labels, hyper, options, training) -> list[Feature]`
    A Feature is a dict with `input_ids` (list of int, special tokens included), `example` (index into `examples`) and
    what collate, loss and decode need: numbers, lists of numbers, lists of pairs (lists that were kept come back as
    int32 arrays). A `choice` feature holds all its sequences one after the other: see there.
`collate(features, pad_id) -> dict` of int64 tensors: `input_ids`, `attention_mask` (N, T), and the training labels.
`loss(logits, batch) -> scalar tensor`: cross-entropy, mean over examples (tagging: over labelled pieces).
`unbatch(logits, batch) -> list[numpy array]`: the unpadded float32 logits of each feature of the batch.
`decode(features, logits, examples, labels, hyper, options) -> list` of one prediction per example;
    `logits[i]` belongs to `features[i]`; the features of one example stay in the order of `encode`.

`retrieval` has `encode` and `collate` only; `mlm` has no `unbatch` and `decode`, but beside the others
`vocabulary(tokenizer)`, facts of the tokenizer (`facts(tokenizer)`: as JSON, which `facts_of` reads), and
`corrupt(features, key, facts, hyper) -> list[Feature]`: inputs of one step, drawn anew by `key`.
`HYPER` names all hyper-parameters that `encode` reads: it is given no others (`xstilts.data.encodings`).
`TOKENS_PER_BATCH`, where a kind has it, bounds what is computed at once; `open_labels(examples)` are the labels of a
task that lists none. Importing a kind never imports torch.
"""

from __future__ import annotations

from types import ModuleType

from xstilts.data.kinds import choice, mlm, pair, retrieval, span_qa, tagging
from xstilts.errors import UserError

KINDS = {
    "pair": pair,
    "tagging": tagging,
    "span_qa": span_qa,
    "choice": choice,
    "retrieval": retrieval,
    "mlm": mlm,
}


def get(kind: str) -> ModuleType:
    """The module of a kind; an unknown name is a `UserError` that lists the known ones."""
    if kind not in KINDS:
        raise UserError(f"kind: {kind!r} is unknown; allowed: {', '.join(KINDS)} (identity: kind of a catalog task)")
    return KINDS[kind]
