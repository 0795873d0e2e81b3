"""Edge cases of preprocessing: windows, offsets and truncation against oracles, references and real text."""

import json
import random

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from xstilts import catalog
from xstilts.data import kinds
from xstilts.data.kinds.sequences import truncate_pair
from xstilts.errors import UserError
from xstilts.models import fetch, wheel
from xstilts.models.packed import Packed
from xstilts.models.tokenizers import characters, unigram

QA = {"max_length": 384, "max_query_length": 64, "doc_stride": 128, "max_answer_length": 30, "n_best": 20}
SHORT = {"max_length": 24, "max_query_length": 6, "doc_stride": 7, "max_answer_length": 5, "n_best": 4}
SPAN, TAG = kinds.get("span_qa"), kinds.get("tagging")


@pytest.fixture(scope="module")
def tiny():
    return characters()


@pytest.fixture(scope="module")
def xlmr():
    """The tokenizer of the me5-small models, which is XLM-R's, out of the wheel that `make run` has downloaded."""
    source = catalog.load().models["me5-small-l6"].identity["source"]
    found = sorted(fetch.cache_folder().glob(f"{source['package']}-{source['version']}-*.whl"))
    if not found:
        pytest.skip(f"no wheel of {source['package']} in {fetch.cache_folder()}: `make run` downloads it")
    packed = Packed(wheel._member(found[0], source), where=str(found[0]))
    return unigram(packed.pieces, packed.scores, packed.charmap)


@pytest.fixture(params=["characters", pytest.param("unigram", marks=pytest.mark.real)])
def tokenizer(request):
    return request.getfixturevalue("tiny" if request.param == "characters" else "xlmr")


def row(context, question="?", answer=None, start=None):
    start = context.index(answer) if start is None and answer is not None else start
    answers = [] if answer is None else [{"text": answer, "start": start}]
    return {"id": "q", "context": context, "question": question, "answers": answers}


def oracle(features):
    """Logits that are sure of the gold start and end of each training feature, and of nothing where it has none."""
    rows = []
    for feature in features:
        logits = np.zeros((len(feature["input_ids"]), 2), np.float32)
        if feature["start"]:
            logits[feature["start"], 0] = logits[feature["end"], 1] = 9.0
        rows.append(logits)
    return rows


def answer_of(rows, tokenizer, hyper=QA, options=None):
    features = SPAN.encode(rows, tokenizer, None, hyper, {}, training=True)
    assert max(len(feature["input_ids"]) for feature in features) <= hyper["max_length"]
    return [answer["text"] for answer in SPAN.decode(features, oracle(features), rows, None, hyper, options or {})]


# ---- pairs
def test_pair_truncation_is_that_of_the_tokenizers_library():
    """Equal at even budgets, which all presets have; at odd ones the library gives the odd piece to the longer text.

    The rule here, of BERT and transformers 2 (XTREME), drops one piece at a time, of the second where both are equal,
    so that the odd piece stays with the first.
    """
    other = Tokenizer(models.WordLevel({str(i): i for i in range(100)}, unk_token="0"))
    other.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    draw, odd = random.Random(0), 0
    for _ in range(2000):
        a, b = (list(range(draw.choice((0, 1, draw.randint(0, 90))))) for _ in "ab")
        budget = draw.randint(1, 120)
        other.enable_truncation(budget, strategy="longest_first")
        encoding = other.encode(" ".join(map(str, a)), " ".join(map(str, b)), add_special_tokens=False)
        theirs = [encoding.sequence_ids.count(side) for side in (0, 1)]
        ours = [len(side) for side in truncate_pair(a, b, budget)]
        if budget % 2 == 0:
            assert ours == theirs, (len(a), len(b), budget)
        odd += ours != theirs
        assert sum(ours) == min(budget, len(a) + len(b)) and abs(ours[0] - theirs[0]) <= 1
    assert odd > 10
    assert all(
        hyper["max_length"] % 2 == 0
        for task in catalog.load().tasks.values()
        for hyper in task.presets.values()
        if "max_length" in hyper
    )


# ---- questions
ODD_TEXT = [
    ("ends the text", "the cat sat 東京", "東京"),
    ("no white space", "他去了上海和广州", "上海"),
    ("thai", "ฉันอยู่ที่ กำแพงเพชร มานาน", "กำแพงเพชร"),
    ("decomposed accent", "the cafe\u0301 is open", "cafe\u0301"),
    ("two marks", "vie\u0323\u0302t nam", "vie\u0323\u0302t"),
    ("decomposed hangul", "a \u1112\u1161\u11ab b", "\u1112\u1161\u11ab"),
    ("one character, four letters", "in \u337f 東", "\u337f"),
    ("a fraction", "add \u00bd cup", "\u00bd"),
    ("a ligature", "his \ufb01nance oK", "\ufb01nance"),
    ("full width", "the \uff21\uff22\uff23 song", "\uff21\uff22\uff23"),
    ("arabic ligature", "said \ufdfa then", "\ufdfa"),
    ("half-width kana", "a \uff76\uff9e b", "\uff76\uff9e"),
    ("joiner at the end", "in \u0c2e\u0c3f\u0c1a\u0c3f\u0c17\u0c3e\u0c28\u0c4d\u200c x", "\u0c28\u0c4d\u200c"),
    ("joiner inside", "x \u0928\u094d\u200d\u092f\u093e y", "\u0928\u094d\u200d\u092f\u093e"),
    ("emoji and selector", "so \u263a\ufe0f ok", "\u263a\ufe0f"),
    ("astral letters", "x \U0001d518\U0001d52b y", "\U0001d518\U0001d52b"),
    ("a lone surrogate before", "a\ud800b the cat", "cat"),
    ("zero-width space before", "a\u200b\u200b the cat", "the cat"),
    ("ideographic space", "\u3000東京\u3000京都", "京都"),
]


@pytest.mark.parametrize(("context", "answer"), [case[1:] for case in ODD_TEXT], ids=[case[0] for case in ODD_TEXT])
def test_answers_come_back_to_the_character(tokenizer, context, answer):
    start = context.rindex(answer)
    found = answer_of([row(context, answer=answer, start=start)], tokenizer)[0]
    expected = answer
    if answer[0] == "\u0c28" and tokenizer.get_vocab_size() > 100_000:
        expected = found[: -len(answer)] + answer  # one piece holds more of the word
    assert found == expected


def test_space_around_a_gold_answer_is_not_part_of_it(tokenizer):
    rows = [row("the cat sat", answer=" cat ", start=3), row("the cat", answer="  ", start=3)]
    assert answer_of(rows[:1], tokenizer) == ["cat"]
    for feature in SPAN.encode(rows[1:], tokenizer, None, QA, {}, training=True):
        assert (feature["start"], feature["end"]) == (0, 0)


@pytest.mark.parametrize("word", ["w{}", "\u6771{}"])
def test_ten_thousand_words_and_an_answer_at_the_very_end(tokenizer, word):
    context = " ".join(word.format(number) for number in range(10_000))
    rows = [row(context, "where?", word.format(9999))]
    features = SPAN.encode(rows, tokenizer, None, QA, {}, training=True)
    pieces = len(tokenizer.encode(context, add_special_tokens=False).ids)
    room = QA["max_length"] - (features[0]["begin"] + 1)
    assert len(features) == 1 + -(-(pieces - room) // QA["doc_stride"]) > 100
    assert [feature["start"] > 0 for feature in features] == [False] * (len(features) - 1) + [True]
    assert max(end for feature in features for _, end in feature["offsets"]) == len(context)
    owned = SPAN._max_context([len(feature["offsets"]) for feature in features], QA["doc_stride"])
    assert sum(map(np.sum, owned)) == pieces  # each piece may start an answer in exactly one window
    assert answer_of(rows, tokenizer) == [word.format(9999)]


@pytest.mark.parametrize("context", ["", " ", "\u200b\u200b \u200d", "\n\t"])
@pytest.mark.parametrize("nothing", [False, True])
def test_a_context_of_nothing_gives_the_empty_answer(tiny, context, nothing):
    rows = [row(context)]
    features = SPAN.encode(rows, tiny, None, QA, {}, training=True)
    logits = [np.ones((len(feature["input_ids"]), 2), np.float32) for feature in features]
    (answer,) = SPAN.decode(features, logits, rows, None, QA, {"no_answer": nothing})
    assert answer["text"].strip("\u200b\u200d ") == ""


def test_empty_and_endless_questions(tokenizer):
    context = "the cat sat on the mat " * 60 + "at last"
    for question in ("", " ", "why " * 2000):
        assert answer_of([row(context, question, "last")], tokenizer) == ["last"]
    feature = SPAN.encode([row(context, "why " * 2000)], tokenizer, None, QA, {}, training=False)[0]
    assert feature["begin"] == 3 + QA["max_query_length"]
    with pytest.raises(UserError, match=r"max_length 60, max_query_length 64.*must exceed"):
        SPAN.encode([row(context)], tokenizer, None, QA | {"max_length": 60}, {}, training=False)


def test_an_answer_of_too_many_pieces_is_trained_but_not_given(tiny):
    context = "x" * 10 + " " + "y" * 40 + " " + "z" * 10
    rows = [row(context, answer="y" * 40)]
    (feature,) = SPAN.encode(rows, tiny, None, QA, {}, training=True)
    assert feature["end"] - feature["start"] == 39
    assert answer_of(rows, tiny, QA | {"max_answer_length": 40}) == ["y" * 40]
    assert 0 < len(answer_of(rows, tiny)[0].replace(" ", "")) <= 30


def test_an_answer_longer_than_the_window_or_across_windows_is_no_training_target(tiny):
    long = SPAN.encode([row("ab " + "y" * 90, answer="y" * 90)], tiny, None, SHORT, {}, training=True)
    assert len(long) > 5 and all(feature["start"] == feature["end"] == 0 for feature in long)
    context = "".join(chr(97 + i % 26) for i in range(60))
    hyper = SHORT | {"doc_stride": 20}  # farther than a window: the windows touch and do not overlap
    room = len(SPAN.encode([row(context)], tiny, None, hyper, {}, training=True)[0]["offsets"])
    for end in range(room - 4, room + 5):  # an answer may end with the window, not after it; or begin with the next
        edge = row(context, answer=context[end - 3 : end], start=end - 3)
        marked = [f["start"] > 0 for f in SPAN.encode([edge], tiny, None, hyper, {}, training=True)]
        last = room - 1  # the first piece is the word boundary
        assert marked[:2] == [end <= last, end - 3 >= last]
    across = row(context, answer=context[room - 3 : room + 2], start=room - 3)
    features = SPAN.encode([across], tiny, None, hyper, {}, training=True)
    assert all(feature["start"] == feature["end"] == 0 for feature in features)
    overlapping = SPAN.encode([across], tiny, None, SHORT, {}, training=True)
    assert any(feature["start"] for feature in overlapping)


def reference(features, logits, context, hyper, no_answer):
    """The rule of BERT's and transformers' SQuAD scripts, written out plainly: the answer, None for their `empty`."""
    starts, spans = [number * hyper["doc_stride"] for number in range(len(features))], []
    for number, (feature, rows) in enumerate(zip(features, logits, strict=True)):

        def best(side, rows=rows):
            return sorted(range(len(rows)), key=lambda i: -float(rows[i][side]))[: hyper["n_best"]]

        for start in best(0):
            for end in best(1):
                first, last = start - feature["begin"], end - feature["begin"]
                if not (0 <= first < len(feature["offsets"]) and 0 <= last < len(feature["offsets"])):
                    continue
                place = starts[number] + first
                shares = [
                    min(place - a, a + len(f["offsets"]) - 1 - place) + 0.01 * len(f["offsets"])
                    if a <= place < a + len(f["offsets"])
                    else -1
                    for a, f in zip(starts, features, strict=True)
                ]
                if shares.index(max(shares)) != number or last < first or last - first + 1 > hyper["max_answer_length"]:
                    continue
                text = context[feature["offsets"][first][0] : feature["offsets"][last][1]].strip()
                spans.append((float(rows[start][0]) + float(rows[end][1]), text))
    spans = [span for span in sorted(spans, key=lambda span: -span[0]) if span[1]]
    if no_answer:
        null = min(float(rows[0][0]) + float(rows[0][1]) for rows in logits)
        return "" if not spans or null > spans[0][0] else spans[0][1]
    return spans[0][1] if spans else None


@pytest.mark.parametrize(
    ("stride", "lengths"),
    [(7, [5]), (7, [0]), (7, [16, 16, 16, 10]), (128, [300, 300, 173]), (128, [300, 300, 290]), (128, [7, 7, 1])],
)
def test_each_piece_belongs_to_the_window_with_most_context(stride, lengths):
    step = min(stride, lengths[0])
    total = step * (len(lengths) - 1) + lengths[-1]
    owner = []
    for place in range(total):
        sides = [(place - i * step, i * step + length - 1 - place) for i, length in enumerate(lengths)]
        scores = [min(side) + 0.01 * n if min(side) >= 0 else -1 for side, n in zip(sides, lengths, strict=True)]
        owner.append(scores.index(max(scores)))
    owned = SPAN._max_context(lengths, stride)
    assert [list(mine) for mine in owned] == [
        [owner[i * step + j] == i for j in range(length)] for i, length in enumerate(lengths)
    ]


@pytest.mark.parametrize("no_answer", [False, True])
@pytest.mark.parametrize("step", [None, 0.5])  # 0.5: coarse logits, many ties, as bfloat16 gives them
def test_spans_are_those_of_the_published_script(tiny, no_answer, step):
    generator, empty, nonce, different = np.random.default_rng(5), 0, 0, 0
    context = " ".join("".join(chr(97 + (i * 7 + j) % 26) for j in range(i % 5)) for i in range(40))
    rows = [row(context, "abc")]  # windows of 16 pieces: two may show equal context
    features = SPAN.encode(rows, tiny, None, SHORT, {}, training=False)
    assert len(features) > 8
    for turn in range(200):
        hyper = SHORT | {"n_best": 1 if turn % 4 == 0 else 4}
        logits = [generator.normal(size=(len(f["input_ids"]), 2)).astype(np.float32) * 2 for f in features]
        logits = [np.round(x / step).astype(np.float32) * step if step else x for x in logits]
        if no_answer:
            for x in logits:
                x[0] += 6.0
        expected = reference(features, logits, context, hyper, no_answer)
        (found,) = SPAN.decode(features, logits, rows, None, hyper, {"no_answer": no_answer})
        if expected is None:
            assert found["text"]  # the script's nonce "empty"; here the best span of all
        else:
            assert found["text"] == expected
        empty += expected == ""
        nonce += expected is None
        different += found["text"] != reference(features[:1], logits[:1], context, hyper, no_answer)
    assert different > 50 and (5 < empty < 195 if no_answer else 5 < nonce < 50)


def test_no_answer_wins_only_when_greater_and_by_its_lowest_window(tiny):
    rows = [row("abcdefghij" * 4, "q")]
    features = SPAN.encode(rows, tiny, None, SHORT, {}, training=False)
    logits = [np.full((len(feature["input_ids"]), 2), -20.0, np.float32) for feature in features]
    for x in logits:
        x[0] = 3.0
    logits[1][features[1]["begin"] + 6] = 2.0  # a span of 4.0

    def answer(null):
        logits[2][0] = null / 2
        return SPAN.decode(features, logits, rows, None, SHORT, {"no_answer": True})[0]["text"]

    assert answer(4.0) != "" and answer(3.99) != "" and answer(4.01) == ""
    assert answer(99.0) == ""  # the other windows' 6.0 is the lowest then


# ---- tags
def gold_logits(features, size):
    rows = []
    for feature in features:
        labels = np.array(feature["labels"])
        rows.append((labels[:, None] == np.arange(size)) * np.float32(9))
    return rows


def assert_tags_survive(rows, labels, tokenizer, hyper):
    features = TAG.encode(rows, tokenizer, labels, hyper, {}, training=True)
    assert max(len(feature["input_ids"]) for feature in features) <= hyper["max_length"]
    for feature in features:
        assert len(feature["labels"]) == len(feature["input_ids"])
        assert all(0 < position < len(feature["labels"]) - 1 for position in feature["positions"])
    found = TAG.decode(features, gold_logits(features, len(labels)), rows, labels, hyper, {})
    assert [prediction["tags"] for prediction in found] == [example["tags"] for example in rows]
    return features


@pytest.mark.parametrize("rule", ["first", "first_nonboundary", "last"])
@pytest.mark.parametrize("max_length", [16, 128])
def test_a_sentence_of_a_thousand_tokens(tokenizer, rule, max_length):
    odd = ["", "\u200b", "\ufe0f", "\u00ad", "\u0301", "\ud800", "\u200d\u200c", " ", "x" * 3000, "\u5317\u4eac"]
    words = [odd[i % 50] if i % 50 < len(odd) else f"w{i}" for i in range(1000)]
    labels = [f"T{i}" for i in range(1000)]
    hyper = {"max_length": max_length, "labelled_piece": rule}
    features = assert_tags_survive([{"id": "1", "tokens": words, "tags": labels}], labels, tokenizer, hyper)
    assert len(features) > 10
    assert sum(len(feature["positions"]) for feature in features) == 1000


def test_words_without_pieces_and_words_longer_than_a_window_are_unknown(tokenizer):
    unknown = tokenizer.token_to_id("<unk>")
    words = ["", "\u6771" + "w" * 999, *(("\u200b", "\u200d\ufeff") if tokenizer.get_vocab_size() > 100_000 else ())]
    for word in words:
        (feature,) = TAG.encode([{"id": "1", "tokens": [word]}], tokenizer, ["N"], {"max_length": 32}, {}, False)
        assert (feature["input_ids"][1:-1], feature["positions"]) == ([unknown], [1])


# ---- real text
@pytest.mark.real
def test_gold_answers_of_every_real_language_come_back(xlmr, real_root):
    """Exact where the answer begins and ends with a piece; where a piece goes on, no more than that piece is added."""
    for path in sorted(path for task in ("xquad", "mlqa", "tydiqa") for path in (real_root / task).glob("*/*.jsonl")):
        rows = []
        for line in path.read_text("utf-8").splitlines()[:100]:
            raw = json.loads(line)
            answers = raw["answers"]
            rows.append(row(raw["context"], raw["question"], answers["text"][0], answers["answer_start"][0]))
        features = SPAN.encode(rows, xlmr, None, QA, {}, training=True)
        found = SPAN.decode(features, oracle(features), rows, None, QA, {})
        aligned = long = 0
        for example, prediction in zip(rows, found, strict=True):
            gold = example["answers"][0]["text"]
            start, end = example["answers"][0]["start"], example["answers"][0]["start"] + len(gold)
            encoding = xlmr.encode(example["context"], add_special_tokens=False)
            inside = [span for span in encoding.offsets if span[0] < end and span[1] > start]
            if len(inside) > QA["max_answer_length"]:
                long += 1
                continue
            if inside[0][0] >= start and inside[-1][1] <= end:
                aligned += 1
                assert prediction["text"].strip("\u200b") == gold.strip().strip("\u200b"), (path, example["id"])
            assert gold.strip().strip("\u200b") in prediction["text"]
            assert prediction["text"] in example["context"][inside[0][0] : max(end, inside[-1][1] + 3)]
        assert aligned >= 0.75 * (len(rows) - long) and long <= 0.15 * len(rows), (path, aligned, long)


@pytest.mark.real
@pytest.mark.parametrize("max_length", [16, 128])
@pytest.mark.parametrize(("task", "field"), [("udpos", "pos_tags"), ("panx", "ner_tags")])
def test_gold_tags_of_every_real_sentence_come_back(xlmr, real_root, task, field, max_length):
    labels = catalog.load().tasks[task].identity["labels"]
    hyper = {"max_length": max_length, "labelled_piece": "first_nonboundary"}
    for path in sorted((real_root / task).glob("*/*.jsonl")):
        raw = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        rows = [{"id": str(i), "tokens": one["tokens"], "tags": one[field]} for i, one in enumerate(raw)]
        assert_tags_survive(rows, labels, xlmr, hyper)
