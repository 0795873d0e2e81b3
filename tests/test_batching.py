"""Batches, their parts for one and several processes, and batches prepared ahead."""

import random
import threading
import time
from itertools import islice

import numpy as np
import pytest
import torch
from test_predict import LABELS, QA, FakeModel, examples_of

from xstilts.data import encodings, kinds
from xstilts.training import batching
from xstilts.training.prefetch import ahead

LENGTHS = [random.Random(number).randint(5, 200) for number in range(1003)]


# ---- order
def test_an_epoch_has_every_example_once_in_full_batches_of_similar_length():
    batches = batching.epoch(LENGTHS, 10, "seed")
    assert sorted(index for batch in batches for index in batch) == list(range(1003))
    assert sorted(map(len, batches)) == [3] + [10] * 100
    assert padding(batches) < 1.05
    assert batches == batching.epoch(np.array(LENGTHS), 10, "seed") != batching.epoch(LENGTHS, 10, "other")
    widths = [max(LENGTHS[i] for i in batch) for batch in batches]
    assert widths != sorted(widths)  # the order of the batches is shuffled
    assert {type(index) for batch in batches for index in batch} == {int}


def padding(batches) -> float:
    """Padded tokens by real tokens."""
    return sum(len(batch) * max(LENGTHS[i] for i in batch) for batch in batches) / sum(LENGTHS)


def test_in_a_window_of_one_a_batch_is_a_random_one(monkeypatch):
    """What benchmarks compare with."""
    monkeypatch.setattr(batching, "WINDOW", 1)
    batches = batching.epoch(LENGTHS, 10, "seed")
    assert sorted(index for batch in batches for index in batch) == list(range(1003))
    assert sorted(map(len, batches)) == [3] + [10] * 100
    assert padding(batches) > 1.5


def test_an_order_is_a_fair_shuffle():
    """Every number comes to every place: 4,000 orders of 5, each place expected 800 times (5 standard deviations)."""
    counts = np.zeros((5, 5), int)
    for key in range(4000):
        order = [batch[0] for batch in batching.epoch([7] * 5, 1, str(key))]
        counts[range(5), order] += 1
    assert (abs(counts - 800) < 5 * (4000 * 0.2 * 0.8) ** 0.5).all()


@pytest.mark.parametrize("start", [0, 1, 7, 20, 21, 50])
def test_a_stream_goes_on_from_any_batch(start):
    lengths = LENGTHS[:207]
    whole = islice(batching.stream(lengths, 10, "seed"), start, start + 45)
    assert list(islice(batching.stream(lengths, 10, "seed", start=start), 45)) == list(whole)
    epochs = list(islice(batching.stream(lengths, 10, "seed"), 42))
    for part in (epochs[:21], epochs[21:]):
        assert sorted(number for batch in part for number in batch) == list(range(207))
    assert epochs[:21] != epochs[21:]


# ---- parts
@pytest.fixture(scope="module", params=["pair", "tagging", "span_qa", "choice"])
def trained(request):
    """(kind, model, training features) of 16 examples."""
    kind = kinds.get(request.param)
    model, rows = FakeModel(request.param), [row for row in examples_of(request.param, 17) if row.get("tokens", 1)]
    spec = {"labels": LABELS, "hyper": QA, "options": {}}
    return kind, model.eval(), list(encodings.encode(kind, rows, model.tokenizer, spec, True))


def gradient(kind, model, parts):
    """The gradient of the weighted sum of the parts' losses."""
    model.zero_grad()
    for part, weight in parts:
        batch = kind.collate(part, 1)
        states = model.encoder(batch["input_ids"])
        if model.kind in ("pair", "choice"):
            states = (states * batch["attention_mask"].unsqueeze(-1)).sum(1)
        logits = model.head(states)
        (kind.loss(logits.flatten() if model.kind == "choice" else logits, batch) * weight).backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def close(left, right):
    for name, value in right.items():
        torch.testing.assert_close(left[name], value, atol=1e-5, rtol=1e-4)


def test_a_split_batch_has_the_gradient_of_the_whole(trained):
    kind, model, features = trained
    whole, split = (batching.shares(features, tokens)[0] for tokens in (10**6, 100))
    assert len(whole) == 1 and len(split) >= 3 and sum(weight for _, weight in split) == pytest.approx(1.0)
    close(gradient(kind, model, split), gradient(kind, model, whole))


@pytest.mark.parametrize("ranks", [1, 2, 3, 5])
@pytest.mark.parametrize("tokens", [100, 10**6])
@pytest.mark.parametrize("count", [17, 7, 3, 1])
def test_shares_of_all_ranks_make_the_whole_batch(trained, ranks, tokens, count):
    kind, model, features = trained[0], trained[1], trained[2][:count]
    shares = batching.shares(features, tokens, ranks)
    assert len(shares) == ranks and len({len(parts) for parts in shares}) == 1, "as many parts on every rank"
    parts = [one for parts in shares for one in parts]
    assert sum(weight for _, weight in parts) == pytest.approx(1.0)
    used = [id(feature) for part, weight in parts if weight for feature in part]
    heavy = {id(feature) for feature in features if batching.terms(feature)}
    assert heavy <= set(used) and len(used) == len(set(used)), "each feature counts once"
    assert all(part for part, _ in parts), "a rank without a feature could not compute"
    for part, _ in parts:
        rows = sum(len(feature.get("lengths", [1])) for feature in part)
        width = max(max(feature.get("lengths", [len(feature["input_ids"])])) for feature in part)
        assert rows * width <= tokens or len(part) == 1
    if count == 17 and ranks > 1:
        loads = [sum(len(f["input_ids"]) for part, weight in own if weight for f in part) for own in shares]
        assert max(loads) < 2 * min(loads), "no rank waits long for another"
    close(gradient(kind, model, parts), gradient(kind, model, batching.shares(features, 10**6)[0]))


# ---- ahead
def running() -> bool:
    return any(thread.name == "prefetch" for thread in threading.enumerate())


@pytest.mark.parametrize("depth", [0, 1, 4, 100])
def test_what_is_prepared_ahead_comes_in_order(depth):
    with ahead((number * number for number in range(50)), depth) as items:
        assert list(items) == [number * number for number in range(50)]
        assert list(items) == []
    assert list(ahead([], depth)) == []


def test_only_so_many_are_prepared_ahead():
    prepared = []

    def items():
        for number in range(20):
            prepared.append(number)
            yield number

    with ahead(items(), 3) as taken:
        for number in range(5):
            assert next(taken) == number
            deadline = time.time() + 5
            while len(prepared) < number + 4 and time.time() < deadline:
                time.sleep(0.001)
            time.sleep(0.01)
            assert len(prepared) == number + 4, "what was taken, and three more"


@pytest.mark.parametrize("depth", [0, 3])
def test_an_error_comes_where_it_belongs(depth):
    def items():
        yield 1
        yield 2
        raise ValueError("of the third")

    found = []
    with pytest.raises(ValueError, match="of the third"), ahead(items(), depth) as taken:
        for item in taken:
            found.append(item)
    assert found == [1, 2] and not running()


@pytest.mark.parametrize("depth", [0, 2])
def test_leaving_early_ends_the_thread_and_closes_the_items(depth):
    closed = []

    def items():
        try:
            while True:
                yield 1
        finally:
            closed.append(True)

    with ahead(items(), depth) as taken:
        assert next(taken) == 1
    assert closed == [True] and not running()
    with pytest.raises(StopIteration):
        next(taken)
    never = ahead(items(), depth)  # not one taken
    never.close()
    never.close()
    assert not running()
