"""Encoding and decoding by kind: nothing is lost, cut wrongly or crashed on, in any script."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from xstilts.data import kinds
from xstilts.data.kinds.sequences import truncate_pair
from xstilts.errors import UserError

UGLY = ["", " ", "\x00", "a\ud800b", "\u200b", "\U0001f600\u0301", "</s> <pad>", "é" * 50, "\ufffe\x07\x7f"]
QA = {"max_length": 24, "max_query_length": 6, "doc_stride": 7, "max_answer_length": 5, "n_best": 20}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """XLM-R's kind of tokenizer (NFKC, word-boundary pieces, unigram) over single characters and a few words."""
    letters = [chr(c) for c in range(0x21, 0x250)] + list("机器学习北京กำกรุงเทพตา़िकखд")
    words = ["▁the", "▁cat", "▁sat", "▁on", "▁a", "▁b", "机器", "学习", "ing"]
    vocabulary = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -3.0)]
    vocabulary += [(word, -2.0) for word in words] + [(letter, -5.0) for letter in dict.fromkeys(letters)]
    result = Tokenizer(models.Unigram(vocabulary, unk_id=3, byte_fallback=False))
    result.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>"])
    result.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace("\u200b", "")])
    result.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    )
    return result


def text_of(tokenizer, ids):
    return [tokenizer.id_to_token(i) for i in ids]


def span(context, question, answer, start):
    answers = [] if answer is None else [{"text": answer, "start": start}]
    return {"id": "q", "context": context, "question": question, "answers": answers}


def certain(features):
    """Logits that are sure of the gold start and end of each training feature."""
    rows = []
    for feature in features:
        logits = np.zeros((len(feature["input_ids"]), 2), np.float32)
        logits[feature["start"], 0] = logits[feature["end"], 1] = 9.0
        rows.append(logits)
    return rows


def test_pair_layout_and_longest_first_truncation(tokenizer):
    rows = [{"id": "1", "text_a": "the cat sat on the cat", "text_b": "a b", "label": "no"}]
    (feature,) = kinds.get("pair").encode(rows, tokenizer, ["yes", "no"], {"max_length": 10}, {}, training=True)
    assert text_of(tokenizer, feature["input_ids"]) == (
        ["<s>", "▁the", "▁cat", "▁sat", "▁on", "</s>", "</s>", "▁a", "▁b", "</s>"]
    )
    assert feature["label"] == 1
    for a in range(12):
        for b in range(12):
            for budget in range(12):
                left, right = list(range(a)), list(range(b))
                while len(left) + len(right) > budget:
                    (left if len(left) > len(right) else right).pop()
                assert truncate_pair(range(a), range(b), budget) == (range(len(left)), range(len(right)))


@pytest.mark.parametrize("kind", ["pair", "choice", "retrieval", "tagging", "span_qa"])
def test_odd_text_never_crashes_and_never_exceeds_max_length(tokenizer, kind):
    examples = {
        "pair": [{"id": "1", "text_a": a, "text_b": b, "label": "x"} for a in UGLY for b in UGLY],
        "choice": [{"id": "1", "context": a, "question": "", "choices": UGLY, "label": 0} for a in UGLY],
        "retrieval": [{"id": "1", "text": a} for a in UGLY],
        "tagging": [{"id": "1", "tokens": UGLY, "tags": ["x"] * len(UGLY)}, {"id": "2", "tokens": [], "tags": []}],
        "span_qa": [span(a, b, a[:1] or None, 0) for a in UGLY for b in UGLY],
    }[kind]
    module = kinds.get(kind)
    features = module.encode(examples, tokenizer, ["x"], QA, {}, training=True)
    assert {feature["example"] for feature in features} == set(range(len(examples)))
    batch = module.collate(features, 1)
    assert batch["input_ids"].shape == batch["attention_mask"].shape
    assert batch["input_ids"].shape[1] <= QA["max_length"]
    assert batch["attention_mask"].sum() == sum(len(feature["input_ids"]) for feature in features)
    assert all(value.dtype == torch.int64 for value in batch.values())
    if kind == "retrieval":
        return
    rows, width = batch["input_ids"].shape
    shape = {"pair": (rows, 1), "choice": (rows,), "tagging": (rows, width, 1), "span_qa": (rows, width, 2)}[kind]
    logits = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    assert torch.isfinite(module.loss(logits, batch))
    predictions = module.decode(features, module.unbatch(logits, batch), examples, ["x"], QA, {})
    assert len(predictions) == len(examples)
    if kind == "tagging":
        assert [len(prediction["tags"]) for prediction in predictions] == [len(UGLY), 0]
    if kind == "span_qa":
        "".join(prediction["text"] for prediction in predictions).encode()


def test_pair_probabilities_and_unknown_label(tokenizer):
    module, rows = kinds.get("pair"), [{"id": "7", "text_a": "a", "text_b": "b", "label": "maybe"}]
    features = module.encode(rows, tokenizer, ["yes", "no"], {"max_length": 16}, {}, training=False)
    (prediction,) = module.decode(features, [np.array([0.0, np.log(3)], np.float32)], rows, ["yes", "no"], {}, {})
    assert prediction["label"] == "no"
    assert prediction["scores"] == pytest.approx({"yes": 0.25, "no": 0.75})
    with pytest.raises(UserError, match="example 7: label 'maybe'"):
        module.encode(rows, tokenizer, ["yes", "no"], {"max_length": 16}, {}, training=True)
    with pytest.raises(UserError, match="kind: 'pairs'"):
        kinds.get("pairs")


def test_tagging_long_sentences_keep_every_word_in_order(tokenizer):
    words = ["the", "机器", "x" * 8, "", "cat", "x" * 40] * 9  # the last is longer than a window: <unk>
    names = [f"T{i}" for i in range(len(words))]
    rows = [{"id": "1", "tokens": ["the"], "tags": ["T3"]}, {"id": "2", "tokens": words, "tags": names}]
    module, hyper = kinds.get("tagging"), {"max_length": 12}
    features = module.encode(rows, tokenizer, names, hyper, {}, training=True)
    assert len(features) > 10 and max(len(feature["input_ids"]) for feature in features) == 12
    logits = []
    for feature in features:
        row = np.zeros((len(feature["input_ids"]), len(names)), np.float32)
        for position, label in enumerate(feature["labels"]):
            if label >= 0:
                row[position, label] = 5.0
        logits.append(row)
    predictions = module.decode(features, logits, rows, names, hyper, {})
    assert [prediction["tags"] for prediction in predictions] == [["T3"], names]
    assert np.shape(predictions[1]["scores"]) == (len(words), len(names))


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("first", ["▁", "▁the"]), ("first_nonboundary", ["机器", "▁the"]), ("last", ["学习", "▁the"])],
)
def test_tagging_labels_the_chosen_piece(tokenizer, rule, expected):
    rows = [{"id": "1", "tokens": ["机器学习", "the"], "tags": ["N", "D"]}]
    hyper = {"max_length": 16, "labelled_piece": rule}
    (feature,) = kinds.get("tagging").encode(rows, tokenizer, ["N", "D"], hyper, {}, training=True)
    assert text_of(tokenizer, [feature["input_ids"][i] for i in feature["positions"]]) == expected
    assert [label for label in feature["labels"] if label >= 0] == [0, 1]


def test_tagging_default_rule_and_wrong_rule(tokenizer):
    rows = [{"id": "1", "tokens": ["机器学习"], "tags": ["N"]}]
    encode = kinds.get("tagging").encode
    assert encode(rows, tokenizer, ["N"], QA, {}, training=False)[0]["positions"] == [2]
    with pytest.raises(UserError, match="labelled_piece"):
        encode(rows, tokenizer, ["N"], QA | {"labelled_piece": "second"}, {}, training=False)


@pytest.mark.parametrize(
    ("context", "answer"),
    [
        ("the cat sat on the b", "sat on"),
        ("机器学习在北京", "北京"),
        ("机器学习在北京", "机器"),
        ("กรุงเทพ กำ ตา", "กำ"),
        ("cafe\u0301 the \u00bd \ufb01n", "cafe\u0301"),
        ("cafe\u0301 the \u00bd \ufb01n", "\u00bd"),
        ("कि ख़ का", "ख़"),
        ("\U0001f600 the \U0001f600cat", "cat"),
        ("the  cat\n\tsat", "cat\n\tsat"),
        (" the cat ", "the cat"),
    ],
)
def test_span_answers_survive_encoding_in_any_script(tokenizer, context, answer):
    rows = [span(context, "the", answer, context.index(answer))]
    module = kinds.get("span_qa")
    features = module.encode(rows, tokenizer, None, QA | {"max_length": 64}, {}, training=True)
    (prediction,) = module.decode(features, certain(features), rows, None, QA | {"max_answer_length": 30}, {})
    assert prediction["text"] == answer
    assert prediction["score"] > 0.9


def test_span_windows_cover_the_context_and_the_best_window_wins(tokenizer):
    context = " ".join(f"{chr(97 + i % 26)}{i}" for i in range(60))
    rows = [span(context, "the cat sat on the cat sat", "h59", context.index("h59"))]
    module = kinds.get("span_qa")
    features = module.encode(rows, tokenizer, None, QA, {}, training=True)
    pieces = len(tokenizer.encode(context).ids)
    covered = {offset for feature in features for offset in feature["offsets"]}
    assert len(features) > 5 and len(covered) == pieces
    starts = [feature["offsets"][0] for feature in features]
    order = [sorted(covered).index(first) for first in starts]
    assert set(np.diff(order)) == {QA["doc_stride"]}
    assert all(len(feature["input_ids"]) <= QA["max_length"] for feature in features)
    assert [feature["start"] > 0 for feature in features] == [False] * (len(features) - 1) + [True]
    assert all(feature["start"] == feature["end"] == 0 for feature in features[:-1])
    (prediction,) = module.decode(features, certain(features), rows, None, QA, {})
    assert prediction["text"] == "h59"


def test_span_length_limit_and_no_empty_answer_without_the_option(tokenizer):
    rows = [span("the cat sat on the cat sat on a b", "the", None, 0)]
    module = kinds.get("span_qa")
    (feature,) = features = module.encode(rows, tokenizer, None, QA, {}, training=True)
    assert (feature["start"], feature["end"]) == (0, 0)
    logits = np.zeros((len(feature["input_ids"]), 2), np.float32)
    logits[0] = 50.0  # <s>: no answer
    logits[feature["begin"], 0] = logits[feature["begin"] + 9, 1] = 9.0
    logits[feature["begin"] + 4, 1] = 5.0
    decode = module.decode
    assert decode(features, [logits], rows, None, QA, {})[0]["text"] == "the cat sat on the"
    assert decode(features, [logits], rows, None, QA | {"max_answer_length": 10}, {})[0]["text"] == rows[0]["context"]
    assert decode(features, [logits], rows, None, QA, {"no_answer": True})[0]["text"] == ""
    logits[0] = -50.0
    assert decode(features, [logits], rows, None, QA, {"no_answer": True})[0]["text"] == "the cat sat on the"
    logits[:] = np.arange(len(logits), 0, -1)[:, None] * [1, 1]  # best starts and ends crossed: n_best 1 has no span
    logits[:, 0] *= -1
    assert decode(features, [logits], rows, None, QA | {"n_best": 1}, {})[0]["text"]
    nothing = [span("", "a", None, 0)]
    (empty,) = decode(module.encode(nothing, tokenizer, None, QA, {}, False), [logits], nothing, None, QA, {})
    assert empty["text"] == ""


def test_span_loss_ignores_padding(tokenizer):
    module = kinds.get("span_qa")
    rows = [span("the cat", "a", "cat", 4), span("the cat sat on the b", "a", "sat", 8)]
    features = module.encode(rows, tokenizer, None, QA, {}, training=True)
    logits = torch.randn(2, 24, 2, generator=torch.Generator().manual_seed(0))
    apart = []
    for i, feature in enumerate(features):
        batch = module.collate([feature], 1)
        apart.append(module.loss(logits[i : i + 1, : batch["input_ids"].shape[1]], batch))
    batch = module.collate(features, 1)
    together = module.loss(logits[:, : batch["input_ids"].shape[1]], batch)
    assert together == pytest.approx(float(sum(apart)) / 2, rel=1e-6)


def test_span_bad_lengths_are_named(tokenizer):
    with pytest.raises(UserError, match="max_query_length 60"):
        kinds.get("span_qa").encode([span("a", "b", "a", 0)], tokenizer, None, QA | {"max_query_length": 60}, {}, True)


def test_choice_examples_of_different_sizes_share_a_batch(tokenizer):
    module = kinds.get("choice")
    rows = [
        {"id": "1", "context": "the cat", "question": "", "choices": ["sat", "on", "a b"], "label": 2},
        {"id": "2", "context": "", "question": "the", "choices": ["a", "b"], "label": 0},
    ]
    features = module.encode(rows, tokenizer, None, {"max_length": 16}, {}, training=True)
    batch = module.collate(features, 1)
    assert batch["sizes"].tolist() == [3, 2] and batch["input_ids"].shape[0] == 5
    assert text_of(tokenizer, batch["input_ids"][2].tolist()) == (
        ["<s>", "▁the", "▁cat", "</s>", "</s>", "▁a", "▁b", "</s>"]
    )
    logits = torch.tensor([0.0, 1.0, 2.0, 3.0, -1.0], requires_grad=True)
    expected = -(np.log(np.exp(2) / np.exp([0, 1, 2]).sum()) + np.log(np.exp(3) / np.exp([3, -1]).sum())) / 2
    loss = module.loss(logits, batch)
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    loss.backward()
    assert torch.isfinite(logits.grad).all()
    predictions = module.decode(features, module.unbatch(logits, batch), rows, None, {}, {})
    assert [prediction["label"] for prediction in predictions] == [2, 0]
    assert [len(prediction["scores"]) for prediction in predictions] == [3, 2]


def test_tagging_loss_is_a_mean_over_labelled_pieces(tokenizer):
    module = kinds.get("tagging")
    rows = [{"id": "1", "tokens": ["the", "xxxx"], "tags": ["N", "D"]}, {"id": "2", "tokens": ["a"], "tags": ["D"]}]
    batch = module.collate(module.encode(rows, tokenizer, ["N", "D"], {"max_length": 16}, {}, training=True), 1)
    logits = torch.zeros(*batch["input_ids"].shape, 2)
    assert (batch["labels"] >= 0).sum() == 3
    assert float(module.loss(logits, batch)) == pytest.approx(np.log(2))
    batch["labels"][:] = -100
    assert float(module.loss(logits, batch)) == 0.0


def test_importing_the_kinds_does_not_import_torch():
    code = "import sys, xstilts.data.kinds; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
