"""Stable batches: a result is equal to the bit whatever else is predicted with it, in whatever order."""

import random

import numpy as np
import pytest
import torch

from xstilts.evaluation.embedding import POOLINGS, Embedder
from xstilts.evaluation.predict import CachedTokenizer, Predictor, stable_batches
from xstilts.models import loading, runtime
from xstilts.models.fetch import fetch

LABELS = {"pair": ["a", "b", "c"], "tagging": [f"L{i}" for i in range(17)], "span_qa": []}
HYPER = {"max_length": 64, "max_query_length": 16, "doc_stride": 24, "max_answer_length": 12, "n_best": 20}
HYPER |= {"labelled_piece": "first_nonboundary"}
TEXT = "the river runs past an old mill 机器 学习 гора и море ไทย मौसम once, twice; never!"
WORDS = TEXT.split()
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    fetch({"model": "tiny", "source": {"type": "random", "seed": 2}, "identity": {}}, path)
    return path


@pytest.fixture(params=["fp32", "bf16"])
def precision(request):
    return request.param


@pytest.fixture
def model(folder, precision):
    found = loading.load(folder, None, "cpu", runtime.lean(precision))
    for kind, labels in LABELS.items():
        found.add_head(kind, kind, len(labels) or 2, seed=1)
    return found


@pytest.fixture
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def text(rng, longest):
    return " ".join(rng.choices(WORDS, k=rng.randint(0, longest)))


def examples(kind, count=50):
    """Of all lengths, among them those that need no padding."""
    rng, rows = random.Random(kind), []
    for number in range(count):
        if kind == "pair":
            row = {"text_a": text(rng, 16), "text_b": text(rng, 12), "label": "a"}
        elif kind == "tagging":
            row = {"tokens": text(rng, 60).split(), "tags": []}
        else:
            row = {"question": text(rng, 8), "context": text(rng, 80), "answers": []}
        rows.append(row | {"id": str(number)})
    return rows


def logits(predictor, rows):
    """The logits of each example's features, which `predict` decodes."""
    found, decode = {}, predictor.kind.decode

    class Kind:
        def __getattr__(self, name):
            return getattr(kind, name)

        def decode(self, features, values, *rest):
            for feature, value in zip(features, values, strict=True):
                found.setdefault(rows[feature["example"]]["id"], []).append(value)
            return decode(features, values, *rest)

    kind, predictor.kind = predictor.kind, Kind()
    try:
        predictor.predict(rows)
    finally:
        predictor.kind = kind
    return found


def companies(rows):
    """The same rows in other company: in any order, a few, one alone."""
    rng = random.Random(7)
    yield rng.sample(rows, len(rows))
    for count in (2, 7, 9, 17):
        yield rng.sample(rows, count)
    yield from ([row] for row in rng.sample(rows, 3))


@pytest.mark.parametrize(
    ("kind", "threads"), [("pair", 1), ("pair", 2), ("tagging", 1), ("span_qa", 1)], indirect=["threads"]
)
def test_an_example_has_the_same_bits_in_any_company(model, precision, threads, kind):
    rows = examples(kind)
    predictor = Predictor(model, kind, kind, LABELS[kind], HYPER, {}, precision, stable=True)
    together = logits(predictor, rows)
    assert kind == "pair" or max(map(len, together.values())) > 1, "long ones have several windows"
    for some in companies(rows):
        for id, values in logits(predictor, some).items():
            assert all(np.array_equal(one, two) for one, two in zip(values, together[id], strict=True)), id
    other = Predictor(model, kind, kind, LABELS[kind], HYPER, {}, precision, 512, stable=True)
    for id, values in logits(other, rows).items():
        assert all(np.array_equal(one, two) for one, two in zip(values, together[id], strict=True)), id


@pytest.mark.parametrize("kind", list(LABELS))
def test_one_thread_and_two_give_the_same_bits(model, precision, kind):
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            predictor = Predictor(model, kind, kind, LABELS[kind], HYPER, {}, precision, stable=True)
            found.append(logits(predictor, examples(kind)))
    finally:
        torch.set_num_threads(before)
    one, two = found
    assert all(np.array_equal(a, b) for id in one for a, b in zip(one[id], two[id], strict=True))


@pytest.mark.parametrize(("pooling", "threads"), [*((name, 1) for name in POOLINGS), ("mean", 2)], indirect=["threads"])
def test_a_text_has_the_same_vector_in_any_company(model, precision, threads, pooling):
    rng = random.Random(0)
    texts = [text(rng, 40) for _ in range(50)]
    embedder = Embedder(model, pooling, 48, precision, stable=True)
    together = dict(zip(texts, embedder.embed(texts, [1, 2])[2], strict=True))
    for some in companies(texts):
        for one, vector in zip(some, embedder.embed(some, [2])[2], strict=True):
            assert np.array_equal(vector, together[one])


@pytest.mark.parametrize("kind", list(LABELS))
def test_predictions_are_the_ordinary_ones_but_for_rounding(model, precision, kind):
    rows = examples(kind, 40)
    ordinary, stable = (
        Predictor(model, kind, kind, LABELS[kind], HYPER, {}, precision, stable=stable) for stable in (False, True)
    )
    for one, two in zip(logits(ordinary, rows).values(), logits(stable, rows).values(), strict=True):
        for a, b in zip(one, two, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5 if precision == "fp32" else 0.05)
    assert ordinary.tokens == stable.tokens, "rows that only fill a batch up are not counted"


def test_batches_have_one_width_every_row_and_no_more_tokens_than_allowed():
    rng = random.Random(3)
    lengths = [rng.randint(2, 130) for _ in range(400)]
    batches = list(stable_batches(lengths, 1024, CPU, 8, 128))
    seen = [number for numbers, _ in batches for number in dict.fromkeys(numbers)]
    assert sorted(seen) == list(range(400))
    for numbers, width in batches:
        assert len(numbers) % 8 == 0 and (len(numbers) * width <= 1024 or len(numbers) == 8)
        assert len({width == lengths[number] for number in numbers}) == 1
        for number in numbers:
            assert width == max(lengths[number], min(128, -(-lengths[number] // 8) * 8))
    assert list(stable_batches([], 1024, CPU)) == []
    numbers, width = next(stable_batches([5, 6], 1024, CPU, 1))
    assert (numbers, width) == ([0, 1], 8)
    sizes = {len(numbers) for numbers, width in stable_batches([20] * 50, 1024, torch.device("cuda"), 8)}
    assert sizes == {40}, "an accelerator sees one shape a width"


def test_choices_share_a_batch_and_are_refused(model):
    with pytest.raises(ValueError, match="choice"):
        Predictor(model, "x", "choice", [], HYPER, {}, "fp32", stable=True)


def test_texts_are_tokenized_once_and_forgotten_in_time(folder):
    tokenizer = loading.load(folder).tokenizer

    class Counting:
        def __init__(self):
            self.asked, self.token_to_id = [], tokenizer.token_to_id

        def encode_batch_fast(self, texts, add_special_tokens):
            self.asked += texts
            return tokenizer.encode_batch_fast(texts, add_special_tokens=add_special_tokens)

        def encode_batch(self, texts, add_special_tokens):
            self.asked += texts
            return tokenizer.encode_batch(texts, add_special_tokens=add_special_tokens)

    inner = Counting()
    cached = CachedTokenizer(inner, most=20)
    for _ in range(2):
        first, _, third = cached.encode_batch_fast(["a word", "b", "a word"], add_special_tokens=False)
    assert inner.asked == ["a word", "b"] and first is third
    assert first.ids == tokenizer.encode("a word", add_special_tokens=False).ids
    (offsets,) = cached.encode_batch(["a word"], add_special_tokens=False)
    assert offsets.offsets == tokenizer.encode("a word", add_special_tokens=False).offsets
    cached.encode_batch_fast(["a text of more than twenty characters"], add_special_tokens=False)
    cached.encode_batch_fast(["b"], add_special_tokens=False)
    assert inner.asked.count("b") == 2
