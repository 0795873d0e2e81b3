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

HYPER = ("max_length", "max_query_length", "doc_stride")
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

    A bare word-boundary piece gets a width of zero (the tokenizer says it spans the next character). An end is moved
    to the end of the grapheme, as far as no piece follows: the normaliser composes marks and Hangul jamo and drops
    joiners, and the tokenizer's offsets leave out what was composed or dropped.
    """
    unique = list(dict.fromkeys(texts))
    encodings = tokenizer.encode_batch([clean(text) for text in unique], add_special_tokens=False)
    boundary, result = tokenizer.token_to_id("▁"), {}
    for text, encoding in zip(unique, encodings, strict=True):
        offsets, following = [], len(text)
        for piece, (start, end) in zip(reversed(encoding.ids), reversed(encoding.offsets), strict=True):
            while end < following and _continues_grapheme(text[end]):
                end += 1
            offsets.append((start, start if piece == boundary else end))
            following = start
        offsets.reverse()
        result[text] = encoding.ids, offsets
    return result


def _continues_grapheme(character: str) -> bool:
    """Marks, joiners, half-width sound marks, vowel and trailing jamo (Unicode Standard Annex 29, GB6 to GB9a)."""
    jamo = "\u1160" <= character <= "\u11ff" or "\ud7b0" <= character <= "\ud7fb"
    return jamo or character in "\u200c\u200d\uff9e\uff9f" or unicodedata.category(character)[0] == "M"


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
    """`{"text": answer, "score": its probability among the n_best different texts}` an example.

    The rule is that of BERT's SQuAD script, which XTREME uses (transformers' `compute_predictions_logits`):
    a candidate's start and end are among the `n_best` best of their window (question and special tokens compete too),
    its start lies in the window that shows most context around it, it has at most `max_answer_length` pieces; its
    value is start logit + end logit, the best of all windows wins (ties: the earlier window, then the better start).
    With `options.no_answer` the lowest `<s>` value of all windows competes and must be greater to win (threshold 0).

    Max context is kept though it changes answers of long contexts: it is the published protocol, and where a start
    has little context its logit was made from a sentence cut in the middle. It never removes a piece, each is a start
    in one window. Where no candidate is left the script answers "empty"; here all starts and ends are then tried (with
    `no_answer`: no answer), so that the text is empty only where the context has no visible piece.
    """
    windows = [[] for _ in examples]
    for feature, rows in zip(features, logits, strict=True):
        windows[feature["example"]].append((feature, np.asarray(rows, np.float64)))
    predictions = []
    for row, own in zip(examples, windows, strict=True):
        context, nothing = clean(row["context"]), bool(options.get("no_answer"))
        limits = hyper["max_answer_length"], hyper["doc_stride"]
        answers = _answers(context, own, hyper["n_best"], *limits, keep=hyper["n_best"])
        if not answers and not nothing:
            answers = _answers(context, own, None, *limits, keep=hyper["n_best"])
        if nothing:  # behind the others, so that it loses ties
            answers.append((min(float(rows[0].sum()) for _, rows in own), ""))
        answers.sort(key=lambda answer: -answer[0])
        scores = softmax(np.array([value for value, _ in answers])).tolist() if answers else [1.0]
        predictions.append({"text": answers[0][1] if answers else "", "score": scores[0]})
    return predictions


def _answers(context, windows, n_best: int | None, max_length: int, stride: int, keep: int) -> list[tuple[float, str]]:
    """The best `keep` (value, text) of one example's windows, best first, each text once; n_best None: no limit."""
    owned = _max_context([len(feature["offsets"]) for feature, _ in windows], stride)
    found = [_candidates(*window, mine, n_best, max_length) for window, mine in zip(windows, owned, strict=True)]
    values, starts, ends = (np.concatenate(column) for column in zip(*found, strict=True))
    answers: dict[str, float] = {}
    for i in np.argsort(-values, kind="stable"):
        text = context[starts[i] : ends[i]].strip()
        if text:
            answers.setdefault(text, float(values[i]))
        if len(answers) == keep:
            break
    return [(value, text) for text, value in answers.items()]


def _max_context(lengths: list[int], stride: int) -> list[np.ndarray]:
    """For each window which of its pieces have most context in it: the smaller of the pieces at the left and right.

    A hundredth of the window's length is added, the earlier window wins ties: `_check_is_max_context` of BERT's
    run_squad.py. `lengths`: context pieces of each window; starts lie `stride` apart (at most a window).
    """
    step = min(stride, lengths[0])
    best = np.full(step * (len(lengths) - 1) + lengths[-1], -1.0)
    owner = np.zeros(len(best), np.int64)
    places = [slice(number * step, number * step + length) for number, length in enumerate(lengths)]
    for number, (place, length) in enumerate(zip(places, lengths, strict=True)):
        left = np.arange(length)
        score = np.minimum(left, left[::-1]) + 0.01 * length
        better = score > best[place]
        best[place][better], owner[place][better] = score[better], number
    return [owner[place] == number for number, place in enumerate(places)]


def _candidates(feature, rows, mine, n_best: int | None, max_length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values, first characters and end characters of a window's spans, by rank of the start, then of the end."""
    spans, begin = np.array(feature["offsets"], np.int64).reshape(-1, 2), feature["begin"]
    ranked = [np.argsort(-rows[:, side], kind="stable")[:n_best] - begin for side in (0, 1)]
    starts, ends = (side[(side >= 0) & (side < len(spans))] for side in ranked)
    starts = starts[mine[starts]]
    length = ends[None, :] - starts[:, None] + 1
    allowed = (length >= 1) & (length <= max_length) & (spans[ends, 1] > spans[starts, 0][:, None])
    first, last = (side[indices] for side, indices in zip((starts, ends), np.nonzero(allowed), strict=True))
    return rows[first + begin, 0] + rows[last + begin, 1], spans[first, 0], spans[last, 1]
