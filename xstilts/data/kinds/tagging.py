"""One tag a word (UDPOS, PAN-X, CCG). Words come pre-split; the label sits on one piece of each word.

Which piece is the hyper-parameter `labelled_piece`: `first` (XTREME's rule), `last`, or `first_nonboundary` (default):
the first that is not a bare word-boundary piece. Nearly every pre-split word of Chinese and Japanese begins with a bare
boundary piece (docs/protocol.md), whose embedding says nothing about the word: XTREME's rule hides such a word from its
own label. Sentences longer than `max_length` become windows of whole words, as XTREME splits them, and are merged by
`decode`.
"""

from __future__ import annotations

from xstilts.data.kinds.sequences import (
    Layout,
    array,
    class_of,
    ids_of,
    inputs,
    label_index,
    pad,
    softmax,
    special_id,
)
from xstilts.errors import UserError

HYPER = ("max_length", "labelled_piece")
IGNORED = -100
LABELLED_PIECES = ("first_nonboundary", "first", "last")


def encode(examples, tokenizer, labels, hyper, options, training: bool) -> list[dict]:
    """One feature a window: `<s> pieces </s>`; `positions`: the labelled piece of each of its words, in order.

    When training, `labels` holds a class number for each piece, -100 where none is labelled. A word without pieces
    (empty, or only characters that the tokenizer drops) and one of more pieces than a window become <unk>, as in
    XTREME's preprocessing.
    """
    layout, index = Layout(tokenizer, hyper["max_length"]), label_index(labels)
    labelled, unknown = _labelled_piece(tokenizer, hyper), [special_id(tokenizer, "<unk>")]
    room = layout.max_length - 2
    words = {
        word: (pieces, labelled(pieces)) if 0 < len(pieces) <= room else (unknown, 0)
        for word, pieces in ids_of((word for row in examples for word in row["tokens"]), tokenizer).items()
    }
    features = []
    for number, row in enumerate(examples):
        tags = iter([class_of(tag, index, row) for tag in row["tags"]] if training else ())
        for pieces, positions in _windows([words[word] for word in row["tokens"]], room):
            feature = {"input_ids": layout.single(pieces), "example": number, "positions": positions}
            if training:
                feature["labels"] = [IGNORED] * (len(pieces) + 2)
                for position in positions:
                    feature["labels"][position] = next(tags)
            features.append(feature)
    return features


def open_labels(examples) -> list[str]:
    """The tags of the examples, sorted: the labels of a task that lists none (CCG)."""
    return sorted({tag for row in examples for tag in row["tags"]})


def _labelled_piece(tokenizer, hyper):
    """A function: piece ids of a word -> index of the labelled one."""
    rule = hyper.get("labelled_piece", "first_nonboundary")
    if rule not in LABELLED_PIECES:
        raise UserError(f"hyper: labelled_piece: {rule!r} is unknown; allowed: {', '.join(LABELLED_PIECES)}")
    if rule == "first_nonboundary":
        boundary = tokenizer.token_to_id("▁")
        return lambda pieces: next((i for i, piece in enumerate(pieces) if piece != boundary), 0)
    return (lambda pieces: 0) if rule == "first" else (lambda pieces: len(pieces) - 1)


def _windows(words, room: int):
    """Yield (pieces, positions in `<s> pieces </s>`) of windows of whole words; at least one, even if empty."""
    pieces, positions = [], []
    for word, labelled in words:
        if len(pieces) + len(word) > room:
            yield pieces, positions
            pieces, positions = [], []
        positions.append(1 + len(pieces) + labelled)
        pieces = pieces + word
    yield pieces, positions


def collate(features, pad_id: int) -> dict:
    """`input_ids`, `attention_mask` (B, T) and, from training features, `labels` (B, T) with -100 = not labelled."""
    batch = inputs([feature["input_ids"] for feature in features], pad_id)
    if "labels" in features[0]:
        batch["labels"] = pad([feature["labels"] for feature in features], IGNORED)
    return batch


def loss(logits, batch):
    """Cross-entropy of logits (B, T, L), mean over the labelled pieces of the batch (0 when it has none)."""
    from torch.nn.functional import cross_entropy

    labels = batch["labels"]
    total = cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum")
    return total / (labels != IGNORED).sum().clamp(min=1)


def unbatch(logits, batch) -> list:
    """Logits (B, T, L) as B arrays (length, L)."""
    lengths = batch["attention_mask"].sum(1).tolist()
    return [row[:length] for row, length in zip(array(logits), lengths, strict=True)]


def decode(features, logits, examples, labels, hyper, options) -> list[dict]:
    """`{"tags": [name of each word], "scores": [probability of each label, for each word]}` an example."""
    predictions = [{"tags": [], "scores": []} for _ in examples]
    for feature, rows in zip(features, logits, strict=True):
        if len(feature["positions"]):
            words = rows[feature["positions"]]
            predictions[feature["example"]]["tags"] += [labels[best] for best in words.argmax(-1)]
            predictions[feature["example"]]["scores"] += list(softmax(words))
    return predictions
