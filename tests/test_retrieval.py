"""Retrieval against slow, independent references; layers, duplicates, thresholds and the job's files."""

import json
from itertools import product

import numpy as np
import pytest
import torch
from test_predict import FakeModel

from xstilts.errors import UserError
from xstilts.evaluation import retrieval, retrieve


class Sentences(FakeModel):
    """Block i's states = i times the embeddings plus a vector of its own: every layer and pooling is recognisable."""

    def __init__(self, blocks=6):
        super().__init__()
        self.blocks = blocks

    def hidden_states(self, input_ids, attention_mask, blocks=None):
        assert not self.training
        states = self.encoder(input_ids)
        return [states * (1 + i) + i for i in range(self.blocks + 1)]


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
            pairs.append((score(i, j), i, j))
    return pairs


@pytest.mark.parametrize(
    ("blocks", "depth", "block"),
    [
        *[(24, 14 / 24, 14), (24, 0.58333, 14), (12, 0.58333, 7), (36, 14 / 24, 21), (48, 0.58333, 28)],
        *[(6, 14 / 24, 4), (6, 0.58333, 4), (3, 14 / 24, 2), (1, 0.58333, 1), (6, 1.0, 6), (6, 0.01, 1)],
    ],
)
def test_layer_at_the_same_relative_depth(blocks, depth, block):
    assert retrieval.layer_at(depth, blocks) == block


def test_nearest_is_exact_across_blocks_and_takes_the_first_of_equal_rows(monkeypatch):
    monkeypatch.setattr(retrieval, "QUERIES", 16)
    monkeypatch.setattr(retrieval, "DATABASE", 32)
    queries, database = vectors(50, 0), vectors(90, 1)
    database[70:80] = database[3]
    queries[5] = database[75]
    expected = [int(np.argmax([np.dot(q.astype(float), row.astype(float)) for row in database])) for q in queries]
    assert retrieval.nearest(queries, database).tolist() == expected
    assert expected[5] == 3
    values, indices = retrieval.neighbours(queries, database[:2], 5)
    assert values.shape == indices.shape == (50, 2)


@pytest.mark.parametrize(("left", "right", "k"), [(40, 60, 4), (60, 40, 4), (3, 2, 4), (1, 1, 4), (30, 30, 1)])
def test_mining_equals_the_slow_reference(monkeypatch, left, right, k):
    monkeypatch.setattr(retrieval, "QUERIES", 7)
    monkeypatch.setattr(retrieval, "DATABASE", 11)
    source = np.abs(vectors(left, 2))
    target = np.abs(vectors(right, 3))
    shared = min(left, right) // 2
    target[:shared] = source[:shared] * 0.98 + target[:shared] * 0.02
    pairs, expected = retrieval.margin_pairs(source, target, k), slow_margin_pairs(source, target, k)
    assert [pair[1:] for pair in pairs] == [pair[1:] for pair in expected]
    assert [pair[0] for pair in pairs] == pytest.approx([pair[0] for pair in expected])


def test_embeddings_are_the_chosen_layers_mean_over_all_pieces_at_length_one():
    model, texts = Sentences(), ["w1 w2", "w3", "w1 w2", "", "w4 " * 40]
    embedder = retrieval.Embedder(model, 4, "mean", 16, "fp32")
    found = embedder(texts)
    for text, row in zip(texts, found, strict=True):
        ids = [0, *model.tokenizer.encode(text).ids[:14], 2]
        expected = (model.encoder.weight[ids] * 5 + 4).mean(0).detach().numpy()
        np.testing.assert_allclose(row, expected / np.linalg.norm(expected), rtol=1e-5, atol=1e-6)
    assert found.dtype == np.float32 and (found[0] == found[2]).all()
    assert embedder.tokens == 4 + 3 + 2 + 16
    np.testing.assert_array_equal(retrieval.embed(model, texts, 4, "mean", 16, "fp32"), found)
    with pytest.raises(UserError, match="pooling: 'cls'"):
        retrieval.embed(model, texts, 4, "cls", 16, "fp32")


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
    middle, last = (retrieval.embed(model, ["w1 w2", "w3"], layer, "mean", 16, "fp32", True) for layer in (4, 6))
    np.testing.assert_allclose(middle, last, rtol=1e-4, atol=1e-5)
    assert not np.allclose(middle, retrieval.embed(model, ["w1 w2", "w3"], 4, "mean", 16, "fp32"), atol=1e-2)
    with pytest.raises(UserError, match="pre_norm"):
        retrieval.embed(Sentences(), ["w1"], 4, "mean", 16, "fp32", True)


def test_threshold_is_the_best_cut_and_lies_midway():
    candidates = [(0.9, "a", "1"), (0.8, "b", "2"), (0.6, "c", "9"), (0.4, "d", "4"), (0.1, "e", "8")]
    gold = {("a", "1"), ("b", "2"), ("d", "4"), ("f", "5")}
    cuts = []
    for kept in range(1, 6):
        correct = sum(pair[1:] in gold for pair in candidates[:kept])
        cuts.append(100 * 2 * correct / (kept + len(gold)))
    threshold, f1 = retrieval.best_threshold(candidates, gold)
    assert f1 == pytest.approx(max(cuts)) and threshold == pytest.approx(0.25)
    assert retrieval.above(candidates, threshold) == [("a", "1"), ("b", "2"), ("c", "9"), ("d", "4")]
    assert retrieval.best_threshold(candidates, {("e", "8")})[0] == pytest.approx(0.1)
    assert retrieval.above(candidates, retrieval.best_threshold(candidates, {("x", "y")})[0]) == []
    assert retrieval.best_threshold([], gold)[1] == 0.0


def pool(pairs, distractors):
    rows = [{"id": f"x-{i}", "side": "source", "text": text, "match": f"en-{i}"} for i, text in enumerate(pairs)]
    rows += [{"id": f"en-{i}", "side": "target", "text": text, "match": f"x-{i}"} for i, text in enumerate(pairs)]
    for side, (i, text) in product(("source", "target"), enumerate(distractors)):
        extra = text if side == "source" else text + " w49"
        rows.append({"id": f"{side}-{i}", "side": side, "text": extra, "match": None})
    return rows


def test_equal_sentences_are_mined_once_and_all_their_ids_paired():
    rows = pool(["w1 w2", "w3 w4"], ["w5 w6 w7"])
    rows.append({"id": "x-again", "side": "source", "text": "w1 w2", "match": None})
    source, target = ([row for row in rows if row["side"] == side] for side in ("source", "target"))
    mined = retrieval.mine(retrieval.Embedder(Sentences(), 4, "mean", 16, "fp32"), source, target, 4)
    assert {("x-0", "en-0"), ("x-again", "en-0"), ("x-1", "en-1")} <= {pair[1:] for pair in mined}
    assert [pair[0] for pair in mined] == sorted((pair[0] for pair in mined), reverse=True)


def write(folder, rows, split="test"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def run_job(tmp_path, monkeypatch, targets):
    monkeypatch.setattr(retrieve.loading, "load", lambda *_: Sentences())
    spec = {
        "stage": "retrieval",
        "model": {"name": "m", "layers": 6, "pre_norm": False},
        "intermediate": "none",
        "seed": 1,
    }
    spec |= {"precision": "fp32", "max_length": 16, "targets": targets}
    paths = [tmp_path / "model", None, tmp_path / "examples", tmp_path / "out", tmp_path / "cost.json"]
    retrieve.retrieve(spec, *paths, device="cpu")


def test_job_writes_tatoeba_rows_and_bucc_pairs(tmp_path, monkeypatch):
    texts = ["w9 w8", "w1 w2 w3", "w4", "w7 w7"]
    order = [2, 0, 3, 1]  # the English side is sorted, the other side is not
    rows = [{"id": f"s{i}", "side": "source", "text": text, "match": f"t{i}"} for i, text in enumerate(texts)]
    rows += [{"id": f"t{i}", "side": "target", "text": texts[i], "match": f"s{i}"} for i in order]
    write(tmp_path / "examples" / "tatoeba" / "de", rows)
    write(tmp_path / "examples" / "bucc2018" / "zh", pool(["w1 w2", "w3 w4", "w40"], ["w5 w6", "w8 w9 w10"]), "dev")
    write(tmp_path / "examples" / "bucc2018" / "zh", pool(["w11 w12", "w13"], ["w15 w16", "w18 w19 w20"]), "test")
    common = {"pooling": "mean", "relative_depth": 0.58333}
    targets = {
        "tatoeba": {"languages": ["de"], "options": {"mining": "nearest", **common}},
        "bucc2018": {"languages": ["zh"], "options": {"mining": "margin", "neighbours": 4, **common}},
    }
    run_job(tmp_path, monkeypatch, targets)
    assert (tmp_path / "out" / "tatoeba" / "test-de.tsv").read_text() == "2\n0\n3\n1\n"
    mined = [line.split("\t") for line in (tmp_path / "out" / "bucc2018" / "test-zh.tsv").read_text().splitlines()]
    assert ["x-0", "en-0"] in mined and ["x-1", "en-1"] in mined
    assert json.loads((tmp_path / "cost.json").read_text())["tokens"] > 0
    write(tmp_path / "examples" / "tatoeba" / "de", rows[:4])
    with pytest.raises(UserError, match="one side only"):
        run_job(tmp_path, monkeypatch, targets)
    targets["tatoeba"]["options"]["mining"] = "guess"
    with pytest.raises(UserError, match="tatoeba: options: mining: 'guess'"):
        run_job(tmp_path, monkeypatch, targets)


def test_vectors_do_not_depend_on_the_number_of_threads():
    queries, database = vectors(300, 5, 64), vectors(500, 6, 64)
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(retrieval.neighbours(queries, database, 4))
        np.testing.assert_array_equal(found[0][0], found[1][0])
        np.testing.assert_array_equal(found[0][1], found[1][1])
    finally:
        torch.set_num_threads(before)
