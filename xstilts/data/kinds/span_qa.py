"""Extractive question answering: a span of the context (SQuAD, XQuAD, MLQA, TyDiQA), or none (SQuAD 2.0).

Sequences are `<s> question </s> </s> context </s>`. A long context becomes overlapping windows whose starts lie
`doc_stride` pieces apart, as in BERT's and XTREME's scripts. Answers are cut from the context by character offsets,
so Chinese or Thai answers need no white space (XTREME's own script splits at white space: docs of the task).
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_left, bisect_right

import numpy as np

from xstilts.data.kinds.sequences import Layout, array, clean, ids_of, inputs, softmax
from xstilts.errors import UserError

WINDOW_OVERHEAD = 4  # <s> </s> </s> </s>


def encode(examples, tokenizer, labels, hyper, options, training: bool) -> list[dict]:
    """One feature a window: `begin` = index of its first context piece, `offsets` = (start, end) characters of each.

    When training, `start` and `end` are indices into `input_ids` of the first gold answer, or both 0 (`<s>`) where
    the window does not hold all of it or there is none.
    """
    layout = Layout(tokenizer, hyper["max_length"])
    if hyper["max_length"] <= hyper["max_query_length"] + WINDOW_OVERHEAD or hyper["doc_stride"] < 1:
        raise UserError(
            f"hyper: max_length {hyper['max_length']}, max_query_length {hyper['max_query_length']}, doc_stride "
            f"{hyper['doc_stride']}: max_length must exceed max_query_length + {WINDOW_OVERHEAD}, doc_stride be >= 1"
        )
    questions = ids_of((row["question"] for row in examples), tokenizer)
    contexts = _contexts((row["context"] for row in examples), tokenizer)
    features = []
    for number, row in enumerate(examples):
        question = questions[row["question"]][: hyper["max_query_length"]]
        ids, offsets = contexts[row["context"]]
        gold = _gold_pieces(row, offsets) if training else None
        begin, room = len(question) + 3, layout.max_length - len(question) - WINDOW_OVERHEAD
        for first in _window_starts(len(ids), room, hyper["doc_stride"]):
            window = slice(first, first + room)
            feature = {"input_ids": layout.pair(question, ids[window]), "example": number, "begin": begin}
            feature["offsets"] = offsets[window]
            if training:
                inside = gold is not None and first <= gold[0] and gold[1] < min(first + room, len(ids))
                feature["start"], feature["end"] = (g - first + begin for g in gold) if inside else (0, 0)
            features.append(feature)
    return features


def _contexts(texts, tokenizer) -> dict[str, tuple[list[int], list[tuple[int, int]]]]:
    """Map each different context to its piece ids and their character offsets.

    A bare word-boundary piece gets a width of zero (the tokenizer says it spans the next character), and an end is
    moved behind combining marks that the normaliser merged into the piece.
    """
    unique = list(dict.fromkeys(texts))
    encodings = tokenizer.encode_batch([clean(text) for text in unique], add_special_tokens=False)
    boundary, result = tokenizer.token_to_id("▁"), {}
    for text, encoding in zip(unique, encodings, strict=True):
        offsets, following = [], len(text)
        for piece, (start, end) in zip(reversed(encoding.ids), reversed(encoding.offsets), strict=True):
            while end < following and unicodedata.category(text[end])[0] == "M":
                end += 1
            offsets.append((start, start if piece == boundary else end))
            following = start
        offsets.reverse()
        result[text] = encoding.ids, offsets
    return result


def _window_starts(length: int, room: int, stride: int) -> range:
    """First context piece of each window: every `stride` (at most `room`) pieces until one reaches the end."""
    return range(0, max(length - room, 0) + min(stride, room), min(stride, room))


def _gold_pieces(row: dict, offsets: list[tuple[int, int]]) -> tuple[int, int] | None:
    """First and last context piece that overlap the first gold answer; None where there is no answer or overlap."""
    text = row["answers"][0]["text"] if row["answers"] else ""
    if not text.strip():
        return None
    first_character = row["answers"][0]["start"] + len(text) - len(text.lstrip())
    start = bisect_right(offsets, first_character, key=lambda span: span[1])
    end = bisect_left(offsets, first_character + len(text.strip()), key=lambda span: span[0]) - 1
    return (start, end) if start <= end else None


def collate(features, pad_id: int) -> dict:
    """`input_ids`, `attention_mask` (B, T) and, from training features, `start` and `end` (B,)."""
    import torch

    batch = inputs([feature["input_ids"] for feature in features], pad_id)
    if "start" in features[0]:
        for name in ("start", "end"):
            batch[name] = torch.tensor([feature[name] for feature in features])
    return batch


def loss(logits, batch):
    """Mean of the cross-entropies of the start and the end over all pieces of the window; logits (B, T, 2).

    Padding is no candidate. Source: BertForQuestionAnswering (padding excluded here, so that no batch's padding
    changes its loss).
    """
    from torch.nn.functional import cross_entropy

    logits = logits.masked_fill(batch["attention_mask"].unsqueeze(-1) == 0, float("-inf"))
    return (cross_entropy(logits[..., 0], batch["start"]) + cross_entropy(logits[..., 1], batch["end"])) / 2


def unbatch(logits, batch) -> list:
    """Logits (B, T, 2) as B arrays (length, 2)."""
    lengths = batch["attention_mask"].sum(1).tolist()
    return [row[:length] for row, length in zip(array(logits), lengths, strict=True)]


def decode(features, logits, examples, labels, hyper, options) -> list[dict]:
    """`{"text": answer, "score": its probability among the n_best}` an example.

    A candidate's value is start logit + end logit; the best of all windows wins (ties: the first in the text). With
    `options.no_answer` the empty answer competes with the lowest `<s>` value of the windows, as SQuAD 2.0's baseline;
    without it the text is empty only where the context has no pieces.
    """
    found, null = [[] for _ in examples], [np.inf] * len(examples)
    for feature, rows in zip(features, logits, strict=True):
        number = feature["example"]
        found[number] += _candidates(feature, rows, hyper["n_best"], hyper["max_answer_length"])
        null[number] = min(null[number], float(rows[0].sum()))
    predictions = []
    for row, candidates, empty in zip(examples, found, null, strict=True):
        candidates = sorted(candidates, key=lambda item: (-item[0], item[1:]))[: hyper["n_best"]]
        context = clean(row["context"])
        answers = [(value, context[start:end].strip()) for value, start, end in candidates]
        answers = [answer for answer in answers if answer[1]]
        if options.get("no_answer"):
            answers.append((empty, ""))
        answers.sort(key=lambda answer: -answer[0])
        scores = softmax(np.array([value for value, _ in answers])).tolist() if answers else [1.0]
        predictions.append({"text": answers[0][1] if answers else "", "score": scores[0]})
    return predictions


def _candidates(feature, rows, n_best: int, max_answer_length: int) -> list[tuple[float, int, int]]:
    """The `n_best` best (value, first character, end character) made of the window's `n_best` starts and ends.

    Should none of those pairs be a span, all starts and ends are tried: a window with a piece has a candidate.
    """
    if not feature["offsets"]:
        return []
    spans = np.array(feature["offsets"])
    values = np.asarray(rows[feature["begin"] : feature["begin"] + len(spans)], np.float64)
    for size in (n_best, len(spans)):
        starts, ends = (np.argsort(-values[:, side], kind="stable")[:size] for side in (0, 1))
        length = ends[None, :] - starts[:, None] + 1
        allowed = (length >= 1) & (length <= max_answer_length) & (spans[ends, 1] > spans[starts, 0][:, None])
        if allowed.any():
            break
    first, last = (side[indices] for side, indices in zip((starts, ends), np.nonzero(allowed), strict=True))
    total = values[first, 0] + values[last, 1]
    best = np.lexsort((last, first, -total))[:n_best]
    return [(float(total[i]), int(spans[first[i], 0]), int(spans[last[i], 1])) for i in best]
