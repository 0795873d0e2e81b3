"""Retrieval against slow, independent references; layers, pooling, duplicates, thresholds, the job and its files."""

import json
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from test_predict import FakeModel

from xstilts.analysis import layers as retrieval_table
from xstilts.errors import UserError
from xstilts.evaluation import embedding, layers, retrieval, retrieve, search
from xstilts.evaluation.embedding import Embedder, layer_at
from xstilts.files import read_jsonl, write_jsonl


class Sentences(FakeModel):
    """Layer i's states = (1 + i) times the embeddings plus i: every layer and pooling is recognisable."""

    def __init__(self, blocks=6):
        super().__init__()
        self.blocks, self.passes = blocks, 0
        self.config = {"hidden_size": 16, "num_hidden_layers": blocks}

    def hidden_states(self, input_ids, attention_mask, blocks=None):
        assert not self.training
        self.passes += 1
        return [self.state(input_ids, layer) for layer in range(blocks + 1)]

    def state(self, input_ids, layer):
        return self.encoder(input_ids) * (1 + layer) + layer


class Translations(Sentences):
    """`w0`-`w24` mean what `w25`-`w49` mean, and layer i shows the meaning the more, the nearer it is to 5 of 6.

    At layers 5 and 6 a word and its translation have the same state; lower layers see mostly the word itself.
    """

    MEANING = (0.0, 0.02, 0.1, 0.2, 0.3, 1.0, 1.0)

    def state(self, input_ids, layer):
        share = self.MEANING[layer]
        meaning = torch.where(input_ids >= 30, input_ids - 25, input_ids)
        return self.encoder(meaning) * share + self.encoder(input_ids) * (1 - share)


def embedder(model, pooling="mean", max_length=16, pre_norm=False):
    return Embedder(model, pooling, max_length, "fp32", pre_norm)


def row(id, side, text, match=None):
    return {"id": id, "side": side, "text": text, "match": match}


def pool_of(source, target, gold=()):
    """A pool of two lists of texts; gold: (source number, target number)."""
    left, right = dict(gold), {b: a for a, b in gold}
    rows = [row(f"x{i}", "source", text, f"e{left[i]}" if i in left else None) for i, text in enumerate(source)]
    rows += [row(f"e{i}", "target", text, f"x{right[i]}" if i in right else None) for i, text in enumerate(target)]
    return retrieval.Pool.of(rows, "here")


# ---- layers and pooling
@pytest.mark.parametrize(
    ("layer", "blocks", "number"),
    [
        *[("14/24", 24, 14), ("14/24", 12, 7), ("14/24", 36, 21), ("14/24", 48, 28), ("14/24", 3, 2), ("14/24", 1, 1)],
        *[("14/24", 6, 4), ("20/24", 12, 10), ("1/1", 6, 6), ("1/100", 6, 1), ("0/1", 6, 0)],
        *[("last", 6, 6), (0, 6, 0), (6, 6, 6), (8, 12, 8)],
    ],
)
def test_a_layer_is_a_number_the_last_or_a_fraction_of_the_depth(layer, blocks, number):
    assert layer_at(layer, blocks) == number


@pytest.mark.parametrize("layer", [7, -1, "7", "25/24", "1/0", "first", 0.58333, True, None, "-1/2"])
def test_other_layers_are_refused_with_what_is_allowed(layer):
    with pytest.raises(UserError, match=r"layer: .*allowed: a number 0 .* to 6, last, or a fraction"):
        layer_at(layer, 6)


def plain_pooling(states, length, name):
    """One vector of the first `length` rows of `states`, written with loops."""
    rows = [list(map(float, states[i])) for i in range(length)]
    if name == "cls":
        return rows[0]
    if name == "mean_no_specials" and length > 2:
        rows = rows[1:-1]
    columns = list(zip(*rows, strict=True))
    return [max(column) if name == "max" else sum(column) / len(column) for column in columns]


@pytest.mark.parametrize("name", embedding.POOLINGS)
def test_pooling_reads_real_tokens_only(name):
    states = torch.randn(4, 7, 5, generator=torch.Generator().manual_seed(3)) - 2  # negative: a zero would be the max
    lengths = [7, 2, 3, 5]  # the second text has no pieces
    mask = torch.tensor([[1] * n + [0] * (7 - n) for n in lengths])
    expected = [plain_pooling(states[i], n, name) for i, n in enumerate(lengths)]
    np.testing.assert_allclose(embedding.pool(states, mask, name), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", embedding.POOLINGS)
def test_several_layers_come_from_one_pass_and_equal_each_alone(name):
    model, texts = Sentences(), ["w1 w2", "w3", "w1 w2", "", "w4 " * 40]
    together = embedder(model, name)
    found = together.embed(texts, [0, 4, 6])
    assert model.passes == 1 and together.tokens == 4 + 3 + 2 + 16, "equal texts once, cut at max_length"
    for layer, rows in found.items():
        assert rows.dtype == np.float32 and (rows[0] == rows[2]).all()
        for text, vector in zip(texts, rows, strict=True):
            ids = [0, *model.tokenizer.encode(text).ids[:14], 2]
            states = (model.encoder.weight[ids] * (1 + layer) + layer).detach()
            expected = np.array(plain_pooling(states, len(ids), name))
            np.testing.assert_allclose(vector, expected / np.linalg.norm(expected), rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(embedder(model, name).embed(texts, [layer])[layer], rows)


def test_batches_leave_no_more_states_behind_than_they_may(monkeypatch):
    def tokens(hidden, blocks):
        one = embedder(Sentences(blocks))
        one.model.config["hidden_size"] = hidden
        return one._tokens_per_batch()

    assert tokens(768, 12) == 8192, "the predictor's number, 327 MB of states"
    assert tokens(2560, 36) == 2**30 // (37 * 4 * 2560) == 2833, "XLM-R XL: all blocks, and the embeddings"
    assert tokens(2**30, 1) == 1

    sizes, texts = [], ["w1 " * (1 + i % 7) + f"w{i}" for i in range(40)]
    expected = embedder(Sentences()).embed(texts, [3])[3]
    states = Sentences.hidden_states
    monkeypatch.setattr(
        Sentences, "hidden_states", lambda self, ids, *rest: sizes.append(ids.numel()) or states(self, ids, *rest)
    )
    monkeypatch.setattr(embedding, "STATES", 30 * 7 * 4 * 16)  # 30 tokens of six blocks and the embeddings
    monkeypatch.setattr(embedding.encodings, "CHUNK", 7)
    np.testing.assert_allclose(embedder(Sentences()).embed(texts, [3])[3], expected, rtol=1e-5, atol=1e-6)
    assert len(sizes) > 8 and 20 < max(sizes) <= 30


def test_an_unknown_pooling_is_refused():
    with pytest.raises(UserError, match=r"pooling: 'sum'.*mean, mean_no_specials, cls, max"):
        embedder(Sentences(), "sum")


def test_pre_norm_models_are_read_through_their_final_norm_once():
    class PreNorm(Sentences):
        def __init__(self):
            super().__init__()
            self.embeddings, self.encoder = self.encoder, torch.nn.Module()
            self.encoder.final_norm = torch.nn.LayerNorm(16, elementwise_affine=True)

        def hidden_states(self, input_ids, attention_mask, blocks=None):
            states = [self.embeddings(input_ids) * 100**i for i in range(7)]
            return [*states[:-1], self.encoder.final_norm(states[-1])]

    model = PreNorm()
    found = embedder(model, pre_norm=True).embed(["w1 w2", "w3"], [4, 6])
    np.testing.assert_allclose(found[4], found[6], rtol=1e-4, atol=1e-5)
    assert not np.allclose(found[4], embedder(model).embed(["w1 w2", "w3"], [4])[4], atol=1e-2)
    with pytest.raises(UserError, match="pre_norm"):
        embedder(Sentences(), pre_norm=True)


# ---- pairs
def vectors(count, seed, size=8):
    rows = np.random.default_rng(seed).normal(size=(count, size)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def slow_margin_pairs(source, target, k):
    """Artetxe and Schwenk 2019, written with loops and sorts only."""
    cosine = [[float(np.dot(s.astype(float), t.astype(float))) for t in target] for s in source]
    column = [[cosine[i][j] for i in range(len(source))] for j in range(len(target))]

    def top(row):
        return sorted(range(len(row)), key=lambda j: (-row[j], j))[:k]

    source_mean = [sum(row[j] for j in top(row)) / len(top(row)) for row in cosine]
    target_mean = [sum(row[j] for j in top(row)) / len(top(row)) for row in column]

    def score(i, j):
        return cosine[i][j] / ((source_mean[i] + target_mean[j]) / 2)

    candidates = []
    for i in range(len(source)):
        candidates.append((i, max(top(cosine[i]), key=lambda j: score(i, j))))
    for j in range(len(target)):
        candidates.append((max(top(column[j]), key=lambda i: score(i, j)), j))
    pairs, left, right = [], set(), set()
    for i, j in sorted(candidates, key=lambda pair: (-score(*pair), pair)):
        if i not in left and j not in right:
            left.add(i)
            right.add(j)
            if score(i, j) > 0:
                pairs.append((score(i, j), i, j))
    return pairs


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(("left", "right", "k"), [(40, 60, 4), (60, 40, 4), (3, 2, 4), (1, 1, 4), (30, 30, 1)])
def test_mining_equals_the_slow_reference(left, right, k, signed):
    source, target = vectors(left, 2), vectors(right, 3)
    if not signed:
        source, target = np.abs(source), np.abs(target)
    shared = min(left, right) // 2
    target[:shared] = source[:shared] * 0.98 + target[:shared] * 0.02
    pairs = retrieval.margin_pairs(search.both_directions(source, target, k))
    expected = slow_margin_pairs(source, target, k)
    assert [pair[1:] for pair in pairs] == [pair[1:] for pair in expected]
    assert [pair[0] for pair in pairs] == pytest.approx([pair[0] for pair in expected])


def test_pairs_that_do_not_score_above_zero_are_left_out():
    def given(*rows):
        return np.array([[value] for value, _ in rows]), np.array([[number] for _, number in rows])

    # the first source is unlike every target, and the first target's best source is taken by the second target
    found = given((-0.5, 0), (1.0, 1)), given((0.9, 1), (1.0, 1))
    assert retrieval.margin_pairs(found) == [(1.0, 1, 1)]


def test_nearest_takes_the_first_of_equal_rows_in_both_directions():
    # English rows in another order; "b" twice on each side, and "c " differs from "c" by white space only
    pool = pool_of(["a", "b", "c", "b"], ["b", "c ", "a", "c"], [(0, 2), (1, 0), (2, 3)])
    assert [list(side) for side in pool.texts] == [["a", "b", "c"], ["b", "c", "a"]]
    points = {"a": [1.0, 0.0], "b": [0.6, 0.8], "c": [0.0, 1.0]}
    sides = (np.array([points[text] for text in side], np.float32) for side in pool.texts)
    found = search.both_directions(*sides, 1)
    english, other = retrieval.nearest(pool, found)
    assert english.tolist() == [1, 2, 0, 2] and other.tolist() == [2, 0, 1, 0]
    # the second "c" is the partner, the first is found: as with the official index of equal vectors
    assert retrieval.accuracies(pool, found) == (100.0, pytest.approx(200 / 3), 3)


def test_equal_sentences_are_mined_once_then_expanded_or_dropped():
    source, target = ["w1 w2", "w3 w4", "w1 w2", "w5 w6"], ["w1 w2", "w3 w4", "w5 w6", "w5 w6", "w7 w8"]
    pool = pool_of(source, target, [(0, 0), (1, 1)])
    one = embedder(Sentences())
    sides = (one.embed(list(side), [4])[4] for side in pool.texts)
    found = search.both_directions(*sides, 4)
    expanded, dropped = (retrieval.mine(pool, found, how) for how in retrieval.DUPLICATES)
    first = {pair[1:] for pair in expanded if pair[0] >= 1}
    assert first == {("x0", "e0"), ("x2", "e0"), ("x1", "e1"), ("x3", "e2"), ("x3", "e3")}
    assert [pair[1:] for pair in dropped] == [("x1", "e1")], "the rest has a repeated sentence on some side"
    for mined in (expanded, dropped):
        assert all(a[0] >= b[0] for a, b in pairwise(mined))
    with pytest.raises(UserError, match=r"duplicates: 'keep'.*expand, drop"):
        retrieval.mine(pool, found, "keep")


def test_threshold_is_the_best_cut_and_lies_midway():
    candidates = [(0.9, "a", "1"), (0.8, "b", "2"), (0.6, "c", "9"), (0.4, "d", "4"), (0.1, "e", "8")]
    gold = {("a", "1"), ("b", "2"), ("d", "4"), ("f", "5")}
    threshold, f1 = retrieval.best_threshold(candidates, gold)
    assert f1 == pytest.approx(100 * 2 * 3 / (4 + 4)) and threshold == pytest.approx(0.25)
    assert retrieval.above(candidates, threshold) == [("a", "1"), ("b", "2"), ("c", "9"), ("d", "4")]
    assert retrieval.best_threshold(candidates, {("e", "8")})[0] == pytest.approx(0.1), "all kept: the last score"
    assert retrieval.above(candidates, retrieval.best_threshold(candidates, {("x", "y")})[0]) == []
    assert retrieval.best_threshold([], gold) == (math.inf, 0.0)


@pytest.mark.parametrize("seed", range(5))
def test_threshold_gives_the_f1_it_promises_and_none_is_better(seed):
    random = np.random.default_rng(seed)
    scores = np.sort(random.integers(1, 15, 40) / 10)[::-1]  # many equal scores
    candidates = [(float(score), f"x{i}", f"e{i}") for i, score in enumerate(scores)]
    gold = {(f"x{i}", f"e{i}") for i in range(40) if random.random() < (scores[i] / 2)} | {("x99", "e99")}

    def f1(threshold):
        kept = {pair[1:] for pair in candidates if pair[0] >= threshold}
        return 200 * len(kept & gold) / (len(kept) + len(gold))

    threshold, promised = retrieval.best_threshold(candidates, gold)
    assert promised == pytest.approx(f1(threshold)) == pytest.approx(max(f1(score) for score in scores))
    assert retrieval.f1(retrieval.above(candidates, threshold), gold) == pytest.approx(promised)


# ---- the choice of a layer
def test_english_queries_decide_and_the_lowest_of_equal_layers_wins():
    values = {0: (10.0, 50.0, 99.0), 1: (30.0, 40.0, 0.0), 2: (40.0, 30.0, 50.0), 3: (60.0, 5.0, 100.0)}
    rows = [
        {"target": "tatoeba", "language": code, "layer": layer, "direction": direction, "metric": "accuracy"}
        | {"value": value}
        for layer, (de, sw, back) in reversed(values.items())
        for code, direction, value in (("de", "en-xx", de), ("sw", "en-xx", sw), ("de", "xx-en", back))
    ]
    assert layers.choose(rows) == 1, "layers 1 and 2 have the mean 35; layer 3's better way back does not count"
    lines = layers.table(rows, "bucc2018", 3, 1).splitlines()
    assert lines[1].split() == ["layer", "de", "sw", "mean"]
    assert [line.split() for line in lines[2:]] == [
        ["0", "10.0", "50.0", "30.0"],
        ["1", "30.0", "40.0", "35.0", "chosen"],
        ["2", "40.0", "30.0", "35.0"],
        ["3", "60.0", "5.0", "32.5", "preset"],
    ]


# ---- the job
ENGLISH = [f"w{i} w{(7 * i) % 25}" for i in range(25)]


def translated(text):
    return " ".join(f"w{int(word[1:]) + 25}" for word in text.split())


def mining_rows(first, count, extra):
    """`count` pairs from sentence `first` on and `extra` sentences without a partner on each side."""
    english = ENGLISH[first : first + count]
    rows = [row(f"x-{i}", "source", translated(text), f"en-{i}") for i, text in enumerate(english)]
    rows += [row(f"en-{i}", "target", text, f"x-{i}") for i, text in enumerate(english)]
    for i in range(extra):
        rows.append(row(f"x-extra{i}", "source", f"w{26 + i} w{30 + i} w{40 + i}"))
        rows.append(row(f"en-extra{i}", "target", f"w{20 - i} w{3 + i}"))
    return rows


def matching_rows(count):
    order = np.random.default_rng(0).permutation(count)
    rows = [row(f"s{i}", "source", translated(ENGLISH[i]), f"t{i}") for i in range(count)]
    return rows + [row(f"t{i}", "target", ENGLISH[i], f"s{i}") for i in order]


@pytest.fixture
def examples(tmp_path):
    for code, count in (("de", 12), ("zh", 10)):
        write_jsonl(tmp_path / "examples" / "tatoeba" / code / "test.jsonl", matching_rows(count + 8))
        for split, first in (("dev", 0), ("test", 12)):
            write_jsonl(tmp_path / "examples" / "bucc2018" / code / f"{split}.jsonl", mining_rows(first, count, 5))
    return tmp_path


HYPER = {"layer": "14/24", "pooling": "mean", "max_length": 16}
TARGETS = {
    "bucc2018": {
        "languages": ["de", "zh"],
        "options": {"mining": "margin"},
        "hyper": {**HYPER, "neighbours": 4, "duplicates": "expand"},
    },
    "tatoeba": {"languages": ["zh", "de"], "options": {"mining": "nearest"}, "hyper": HYPER},
}


def run_job(folder, monkeypatch, targets, out="out", model=None, intermediate="none", precision="fp32", pre_norm=False):
    """The job; `model` is what the base model's folder holds, or the checkpoint's where there is an intermediate."""
    held = {None: Sentences(), folder / "encoder": Sentences()}
    held[None if intermediate == "none" else folder / "encoder"] = model or Translations()
    monkeypatch.setattr(retrieve.loading, "load", lambda base, encoder, device, dtype: held[encoder])
    spec = {"stage": "retrieval", "model": {"name": "m", "layers": 6, "pre_norm": pre_norm}, "seed": 1}
    spec |= {"intermediate": intermediate, "precision": precision, "targets": targets}
    base, encoder, data, out = folder / "model", folder / "encoder", folder / "examples", folder / out
    retrieve.retrieve(spec, base, encoder, data, out, out / "layers.jsonl", out / "cost.json", "cpu")
    return read_jsonl(out / "layers.jsonl"), json.loads((out / "cost.json").read_text())


def wanted(rows, **values):
    return [row for row in rows if all(row[key] == value for key, value in values.items())]


def by_hand(rows, layer):
    """(source vectors, English vectors) of a pool of rows, of the rows themselves, duplicates included."""
    one = embedder(Translations())
    return [one.embed([r["text"] for r in rows if r["side"] == side], [layer])[layer] for side in ("source", "target")]


def test_job_chooses_a_layer_on_dev_and_submits_the_presets(examples, monkeypatch, capsys):
    rows, cost = run_job(examples, monkeypatch, TARGETS)
    assert all(tuple(one) == layers.KEYS for one in rows)
    # every layer on dev, in both targets; the layers where a translation looks like its original win, the lower of two
    for target, directions in (("bucc2018", ["both"]), ("tatoeba", ["en-xx", "xx-en"])):
        for code in ("de", "zh"):
            for direction in directions:
                sweep = wanted(rows, target=target, language=code, rule="sweep", split="dev", direction=direction)
                assert [one["layer"] for one in sweep] == list(range(7))
                assert {one["n"] for one in sweep} == {12 if code == "de" else 10}
                values = [one["value"] for one in sweep]
                assert values[5] == values[6] == max(values) > values[4] > values[0]
        assert {one["layer"] for one in wanted(rows, target=target, rule="dev")} == {5}
        assert {one["layer"] for one in wanted(rows, target=target, rule="preset")} == {4}
        assert len(wanted(rows, target=target, split="test")) == 2 * 2 * len(directions)
    log = capsys.readouterr().out
    assert "4   " in log and "preset" in log and "chosen" in log and "layers on dev" in log
    # tatoeba's file is at the preset's layer; its rows are the accuracies of both directions
    for code in ("de", "zh"):
        data = read_jsonl(examples / "examples" / "tatoeba" / code / "test.jsonl")
        sources = [one for one in data if one["side"] == "source"]
        english = [one for one in data if one["side"] == "target"]
        for layer, rule in ((4, "preset"), (5, "dev")):
            left, right = by_hand(data, layer)
            cosine = right.astype(float) @ left.astype(float).T
            found, back = cosine.argmax(1), cosine.argmax(0)
            if rule == "preset":
                assert (examples / "out" / "tatoeba" / f"test-{code}.tsv").read_text().split() == list(map(str, found))
            forth = [sources[i]["id"] == one["match"] for i, one in zip(found, english, strict=True)]
            home = [english[i]["id"] == one["match"] for i, one in zip(back, sources, strict=True)]
            for direction, right_ones in (("en-xx", forth), ("xx-en", home)):
                (one,) = wanted(rows, target="tatoeba", language=code, rule=rule, direction=direction)
                assert one["value"] == pytest.approx(100 * np.mean(right_ones)) and one["n"] == len(right_ones)
                assert one["metric"] == "accuracy" and (one["value"] == 100) == (rule == "dev")
    assert cost["tokens"] > 0 and cost["stage"] == "retrieval"


class Dropped(torch.nn.Module):
    """Stands in for a final norm: the first half of the columns is lost."""

    def forward(self, states):
        return torch.cat([torch.zeros_like(states[..., :16]), states[..., 16:]], -1)


class Normed(Sentences):
    """A word and its translation differ in the first half of the columns only; notes whether autocast was on."""

    def __init__(self):
        super().__init__()
        self.config["hidden_size"], self.bf16 = 32, set()
        self.encoder = torch.nn.ModuleDict({"words": self.encoder, "final_norm": Dropped()})

    def state(self, input_ids, layer):
        self.bf16.add(torch.is_autocast_enabled("cpu"))
        words, meaning = self.encoder["words"], torch.where(input_ids >= 30, input_ids - 25, input_ids)
        return torch.cat([5 * words(input_ids), words(meaning)], -1)


def test_job_reads_the_checkpoint_of_its_intermediate_as_the_spec_says(examples, monkeypatch):
    def found(out, model, **settings):
        rows, _ = run_job(examples, monkeypatch, {"tatoeba": TARGETS["tatoeba"]}, out, model, **settings)
        return [one["value"] for one in rows]

    # the folder that must not be read holds Sentences, which knows no translations
    base, untrained = found("base", Translations()), found("untrained", Sentences())
    assert base != untrained and found("after", Translations(), intermediate="mnli") == base
    for precision, bf16 in (("fp32", False), ("bf16", True)):
        model = Normed()
        raw, normed = (found("normed", model, precision=precision, pre_norm=pre_norm) for pre_norm in (False, True))
        assert set(normed) == {100.0} and max(raw) < 50, "the final norm decides"
        assert model.bf16 == {bf16}


@pytest.mark.parametrize("k", [1, 4])
def test_test_pools_are_cut_at_the_threshold_of_dev(examples, monkeypatch, k):
    bucc = TARGETS["bucc2018"] | {"hyper": TARGETS["bucc2018"]["hyper"] | {"neighbours": k}}
    rows, _ = run_job(examples, monkeypatch, TARGETS | {"bucc2018": bucc})
    for code in ("de", "zh"):
        for layer, rule in ((4, "preset"), (5, "dev")):
            mined = {}
            for split in ("dev", "test"):
                data = read_jsonl(examples / "examples" / "bucc2018" / code / f"{split}.jsonl")
                names = [[r["id"] for r in data if r["side"] == side] for side in ("source", "target")]
                pairs = slow_margin_pairs(*by_hand(data, layer), k)
                gold = {(r["id"], r["match"]) for r in data if r["side"] == "source" and r["match"]}
                mined[split] = [(score, (names[0][a], names[1][b])) for score, a, b in pairs], gold
            scored = {}
            for cut in range(1, len(mined["dev"][0]) + 1):
                pairs, gold = mined["dev"]
                following = pairs[cut][0] if cut < len(pairs) else pairs[-1][0]
                correct = sum(pair in gold for _, pair in pairs[:cut])
                scored.setdefault(2 * correct / (cut + len(gold)), (pairs[cut - 1][0] + following) / 2)
            pairs, gold = mined["test"]
            kept = {pair for score, pair in pairs if score >= scored[max(scored)]}
            if rule == "preset":
                lines = (examples / "out" / "bucc2018" / f"test-{code}.tsv").read_text().splitlines()
                assert {tuple(line.split("\t")) for line in lines} == kept
            (one,) = wanted(rows, target="bucc2018", language=code, rule=rule)
            assert one["value"] == pytest.approx(200 * len(kept & gold) / (len(kept) + len(gold)))
            assert (one["n"], one["metric"], one["direction"]) == (len(gold), "f1", "both")


def test_vectors_held_stay_within_the_bound_and_each_text_is_embedded_once(examples, monkeypatch):
    held, tokenized, of, pieces = [], [], Embedder.vectors, Embedder.features

    def spy(self, features, numbers):
        assert all(isinstance(one["input_ids"], np.ndarray) for one in features), "lists take nine times as much"
        held.append((len(features), len(numbers)))
        return of(self, features, numbers)

    def tokenize(self, texts):
        assert len(set(texts)) == len(texts)
        tokenized.append(len(texts))
        return pieces(self, texts)

    monkeypatch.setattr(Embedder, "vectors", spy)
    monkeypatch.setattr(Embedder, "features", tokenize)
    rows, cost = run_job(examples, monkeypatch, TARGETS)
    assert [numbers for _, numbers in held] == [7, 2, 2], "one pass for dev, one for each target's test"
    held.clear()
    tokenized.clear()
    monkeypatch.setattr(retrieve, "MEMORY", 3 * 34 * 4 * 16)  # three layers of one language's dev pool
    smaller, more = run_job(examples, monkeypatch, TARGETS, "smaller")
    assert all(texts * numbers <= 3 * 34 for texts, numbers in held) and len(held) > 6
    assert len(tokenized) == 6, (
        "once for every language of dev and of each target's test, not for every group of layers"
    )
    assert more["tokens"] > cost["tokens"]
    assert [one | {"value": pytest.approx(one["value"])} for one in rows] == smaller
    for path in ("tatoeba/test-de.tsv", "bucc2018/test-zh.tsv"):
        assert (examples / "out" / path).read_bytes() == (examples / "smaller" / path).read_bytes()


def test_each_target_is_swept_with_its_own_pooling(examples, monkeypatch):
    bucc = TARGETS["bucc2018"] | {"hyper": TARGETS["bucc2018"]["hyper"] | {"pooling": "cls"}}
    rows, _ = run_job(examples, monkeypatch, TARGETS)
    other, _ = run_job(examples, monkeypatch, TARGETS | {"bucc2018": bucc}, "other")
    assert wanted(other, target="tatoeba") == wanted(rows, target="tatoeba")
    for code in ("de", "zh"):
        sweep = wanted(other, target="bucc2018", language=code, rule="sweep")
        assert len({one["value"] for one in sweep}) == 1, "the state of `<s>` is the same in all sentences here"
    assert {one["layer"] for one in wanted(other, target="bucc2018", rule="dev")} == {0}, "ties: the lowest layer"


def test_without_dev_pools_nothing_is_chosen_and_the_log_says_so(examples, monkeypatch, capsys):
    rows, _ = run_job(examples, monkeypatch, {"tatoeba": TARGETS["tatoeba"]})
    assert {one["rule"] for one in rows} == {"preset"} and len(rows) == 4
    assert "tatoeba: no layer is chosen: that needs the dev pools of bucc2018" in capsys.readouterr().out


@pytest.mark.parametrize("split", ["dev", "test"])
def test_gold_pairs_alone_are_no_mining_pool(examples, monkeypatch, split):
    write_jsonl(examples / "examples" / "bucc2018" / "zh" / f"{split}.jsonl", mining_rows(0, 10, 0))
    with pytest.raises(UserError, match=rf"zh/{split}\.jsonl: every sentence has a partner: gold pairs alone are not"):
        run_job(examples, monkeypatch, TARGETS)


def test_unusable_data_and_settings_are_refused(examples, monkeypatch):
    path = examples / "examples" / "tatoeba" / "de" / "test.jsonl"
    data = read_jsonl(path)
    write_jsonl(path, data[:20])
    with pytest.raises(UserError, match="one side only"):
        run_job(examples, monkeypatch, TARGETS)
    for change, message in (
        ({"side": "left"}, r"test\.jsonl: row 2: side: 'left'; allowed: source, target"),
        ({"side": None}, r"test\.jsonl: row 2: no side; needed: id, side, text, match"),
    ):
        changed = {key: value for key, value in (data[1] | change).items() if value or key != "side"}
        write_jsonl(path, [data[0], changed, *data[2:]])
        with pytest.raises(UserError, match=message):
            run_job(examples, monkeypatch, TARGETS)
    for side, other in (("source", "target"), ("target", "source")):
        write_jsonl(path, [one | {"match": one["match"] if one["side"] == side else None} for one in data])
        with pytest.raises(UserError, match=rf"test\.jsonl: no {other} row has a partner \(match\), while"):
            run_job(examples, monkeypatch, TARGETS)
    with pytest.raises(UserError, match="here: holds no rows"):
        retrieval.Pool.of([], "here")
    write_jsonl(path, [one | {"match": None} for one in data])
    with pytest.raises(UserError, match="no sentence has a partner"):
        run_job(examples, monkeypatch, TARGETS)
    path.unlink()
    with pytest.raises(UserError, match=r"tatoeba.de.test\.jsonl: no such file"):
        run_job(examples, monkeypatch, TARGETS)
    with pytest.raises(UserError, match="layer: 9: the model has 6 blocks"):
        run_job(examples, monkeypatch, {"tatoeba": TARGETS["tatoeba"] | {"hyper": HYPER | {"layer": 9}}})
    with pytest.raises(UserError, match="tatoeba: options: mining: 'guess'; allowed: nearest, margin"):
        run_job(examples, monkeypatch, {"tatoeba": TARGETS["tatoeba"] | {"options": {"mining": "guess"}}})


# ---- retrieval.csv
def test_table_of_a_study_has_every_row_and_the_means(tmp_path):
    common = {"target": "tatoeba", "split": "test", "direction": "en-xx", "rule": "preset", "metric": "accuracy"}
    given = [
        common | {"language": code, "layer": layer, "value": value, "n": n}
        for layer, code, value, n in ((4, "de", 50.0, 100), (4, "sw", 20.0, 60), (5, "de", 70.0, 100))
    ]
    write_jsonl(tmp_path / "retrieval" / "m" / "none" / "s1.jsonl", given)
    cells = [{"model": "m", "intermediate": name, "seed": 1, "targets": ["tatoeba"]} for name in ("none", "mnli")]
    rows = retrieval_table.rows({"cells": cells}, tmp_path)
    about = {"model": "m", "intermediate": "none", "seed": 1, **common}
    assert rows[:3] == [{"model": "m", "intermediate": "none", "seed": 1, **one} for one in given]
    assert rows[3:] == [
        about | {"language": "mean", "layer": 4, "value": 35.0, "n": 160},
        about | {"language": "mean", "layer": 5, "value": 70.0, "n": 100},
    ]
