"""Encodings that are kept: equal to fresh ones, found again without the tokenizer, made again when damaged."""

import json
import os
import shutil
import subprocess
import sys
import time
from functools import cached_property

import numpy as np
import pytest
import torch
from conftest import ROOT
from test_predict import LABELS, QA, FakeModel, examples_of, job
from tokenizers import Tokenizer

from xstilts.data import encodings, kinds
from xstilts.errors import UserError
from xstilts.evaluation.predict import Predictor, length_batches
from xstilts.files import write_jsonl

HYPER = {**QA, "learning_rate": 1e-3, "batch_size": 8}
TASKS = {name: {"kind": name, "labels": LABELS, "hyper": HYPER, "options": {}} for name in kinds.KINDS}


def rows_of(kind: str) -> list[dict]:
    if kind in ("mlm", "retrieval"):
        return [{"id": row["id"], "text": row["context"]} for row in rows_of("span_qa")]
    rows = examples_of(kind, 20)
    if kind == "span_qa":
        rows[4]["context"] = ""
        for row in rows[:4]:
            last = row["context"].rpartition(" ")[2]
            row["answers"] = [{"text": last, "start": len(row["context"]) - len(last)}]
    return rows


class Model:
    """What is asked of a TaskModel; `read`: whether its tokenizer was."""

    def __init__(self, folder):
        self.tokenizer_file, self.read = folder / "tokenizer.json", False

    @cached_property
    def tokenizer(self):
        self.read = True
        return Tokenizer.from_file(str(self.tokenizer_file))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tokenizer with a mask, and examples of every kind."""
    root = tmp_path_factory.mktemp("data")
    tokenizer = FakeModel().tokenizer
    tokenizer.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    tokenizer.save(str(root / "tokenizer.json"))
    for kind in TASKS:
        write_jsonl(root / f"{kind}.jsonl", rows_of(kind))
    return root


@pytest.fixture
def work(tmp_path):
    return tmp_path / "work"


def features(folder, kind, cache, training=True, code="train@1", model=None, path=None, most=None, **changes):
    paths = [path or folder / f"{kind}.jsonl"]
    return encodings.features(
        {**TASKS[kind], **changes}, paths, model or Model(folder), code, cache, training=training, most=most
    )


def plain(feature: dict) -> dict:
    """A feature as lists and numbers; pairs as tuples, as `kind.encode` gives them."""
    listed = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in feature.items()}
    return {
        name: [tuple(one) if isinstance(one, list) else one for one in value] if isinstance(value, list) else value
        for name, value in listed.items()
    }


def entries(work):
    return [path for path in (work / "encodings").iterdir() if not path.name.startswith(".")]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", TASKS)
def test_features_are_those_of_the_kind(folder, work, kind, training, monkeypatch):
    monkeypatch.setattr(encodings, "CHUNK", 7)  # three pieces
    module, tokenizer = kinds.get(kind), Model(folder).tokenizer
    expected = module.encode(rows_of(kind), tokenizer, LABELS, HYPER, {}, training)
    if training:
        expected = [{k: v for k, v in one.items() if k not in encodings.DECODING} for one in expected]
    if kind == "mlm":  # one text is empty: it is left out, and the others keep their numbers
        assert len(expected) < 20
    for cache in (None, work, work):
        model = Model(folder)
        found = features(folder, kind, cache, training, model=model)
        assert [plain(one) for one in found] == expected and len(found) == len(expected)
        assert plain(found[-1]) == expected[-1] and found.examples == 20 and found.labels == LABELS
        sequences = [one.get("lengths", [len(one["input_ids"])]) for one in expected]
        assert found.lengths.tolist() == [len(one["input_ids"]) for one in expected]
        assert found.widths.tolist() == list(map(max, sequences)) and found.rows.tolist() == list(map(len, sequences))
        assert found.squares().tolist() == [sum(n * n for n in one) for one in sequences]
        assert found.pieces().tolist() == sorted({piece for one in expected for piece in one["input_ids"]})
        assert list(length_batches(found, 64)) == list(length_batches(expected, 64))
        assert found.facts == (module.vocabulary(tokenizer) if kind == "mlm" and training else None)
        ready, listed = found[:8], expected[:8]
        if kind == "mlm":
            facts = module.vocabulary(tokenizer)
            ready, listed = (module.corrupt(some, "key", facts, {"mask_probability": 0.3}) for some in (ready, listed))
        ours, theirs = (module.collate(some, 1) for some in (ready, listed))
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
        assert {value.dtype for value in ours.values()} == {torch.int64}
    assert not model.read
    with pytest.raises(IndexError, match="feature 99 of"):
        found[99]


def test_what_is_kept_needs_neither_the_tokenizer_nor_the_examples(folder, work, monkeypatch):
    features(folder, "tagging", work, labels=[])
    monkeypatch.setattr(encodings.files, "read_jsonl", lambda path: pytest.fail(f"{path} was read"))
    model = Model(folder)
    found = features(folder, "tagging", work, model=model, labels=[], hyper={**HYPER, "learning_rate": 3})
    assert not model.read and found.labels == ["L0"] and found.examples == 20, (
        "the open tag set is that of the examples"
    )
    assert isinstance(found[0]["input_ids"].base.base, np.memmap), "nothing is read into memory"


def test_every_part_of_the_identity_counts(folder, work, tmp_path):
    def made(**changes):
        model = changes.pop("model", None) or Model(folder)
        features(folder, "pair", work, model=model, **changes)
        return model.read

    assert made() and not made()
    changed = tmp_path / "pair.jsonl"
    write_jsonl(changed, [row | {"text_a": row["text_a"] + " w1"} for row in rows_of("pair")])
    other = Model(tmp_path)
    other.tokenizer_file.write_text((folder / "tokenizer.json").read_text() + "\n")
    assert made(path=changed) and made(model=other) and made(hyper={**HYPER, "max_length": 31})
    assert made(training=False) and made(code="train@2") and made(labels=LABELS[::-1]) and made(most=5)
    assert not made() and not made(hyper={**HYPER, "learning_rate": 5e-5, "n_best": 3})
    write_jsonl(changed, rows_of("pair")[:9])  # the same path with other content in the same process
    assert made(path=changed)
    shutil.copy(folder / "pair.jsonl", changed)
    assert not made(path=changed), "what counts is the content, not the place"
    with pytest.raises(UserError, match=r"absent\.jsonl: no such file"):
        made(path=tmp_path / "absent.jsonl")


def test_the_first_examples_only(folder, work):
    for cache in (None, work, work):
        found = features(folder, "span_qa", cache, training=False, most=4)
        assert found.examples == 4 and {one["example"] for one in found} == {0, 1, 2, 3}


def flip(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


DAMAGE = {
    "flipped": lambda entry: flip(entry / "input_ids.npy"),
    "flipped ends": lambda entry: flip(entry / "offsets.ends.npy"),
    "cut": lambda entry: os.truncate(entry / "begin.npy", 130),
    "empty": lambda entry: os.truncate(entry / "example.npy", 0),
    "missing column": lambda entry: (entry / "offsets.npy").unlink(),
    "missing meta": lambda entry: (entry / "meta.json").unlink(),
    "cut meta": lambda entry: os.truncate(entry / "meta.json", 20),
    "other meta": lambda entry: (entry / "meta.json").write_text("[1]"),
    "changed meta": lambda entry: (entry / "meta.json").write_text(
        (entry / "meta.json").read_text().replace('"examples": ', '"examples": 1')
    ),
    "of another": lambda entry: (entry / "meta.json").write_text('{"key": "0"}'),
}


def test_what_is_damaged_is_made_again(folder, work):
    expected = [plain(one) for one in features(folder, "span_qa", None, training=False)]
    for what, damage in DAMAGE.items():
        features(folder, "span_qa", work, training=False)
        (entry,) = entries(work)
        damage(entry)
        for read in (True, False):
            model = Model(folder)
            found = features(folder, "span_qa", work, training=False, model=model)
            assert [plain(one) for one in found] == expected and model.read is read, what
    assert len(entries(work)) == 1


def test_a_mapped_entry_stays_as_it_was_when_it_is_made_again(folder, work):
    found = features(folder, "pair", work)
    before = [plain(one) for one in found]
    (entry,) = entries(work)
    (entry / "meta.json").unlink()
    features(folder, "pair", work)
    assert [plain(one) for one in found] == before


RUN = """
import json, sys, time
from pathlib import Path
sys.path.insert(0, "tests")
from types import SimpleNamespace
from tokenizers import Tokenizer
from xstilts.data import encodings
root, work, start = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
model = SimpleNamespace(tokenizer_file=root / "tokenizer.json")
model.tokenizer = Tokenizer.from_file(str(model.tokenizer_file))
made, encode = [], encodings.encode
def slow(*arguments):
    made.append(1)
    time.sleep(0.5)
    return encode(*arguments)
encodings.encode = slow
time.sleep(max(0, start - time.time()))
task = {"kind": "pair", "labels": [f"L{i}" for i in range(7)], "hyper": {"max_length": 32}, "options": {}}
found = encodings.features(task, [root / "pair.jsonl"], model, "c", work, training=True)
assert "torch" not in sys.modules
print(json.dumps([len(made), [one["input_ids"].tolist() for one in found]]))
"""


def test_of_jobs_that_start_at_once_one_makes_it(folder, work):
    command = [sys.executable, "-c", RUN, str(folder), str(work), str(time.time() + 1.0)]
    started = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    found = [json.loads(one.communicate()[0]) for one in started]
    assert sorted(made for made, _ in found) == [0, 0, 0, 1]
    expected = [one["input_ids"].tolist() for one in features(folder, "pair", None)]
    assert all(ids == expected for _, ids in found) and len(entries(work)) == 1


def test_unused_ones_are_deleted_when_another_is_written(folder, work):
    def aged(path, days):
        os.utime(path, (time.time() - days * 86_400,) * 2)

    seen = []
    for length in (30, 31, 32):
        features(folder, "pair", work, hyper={"max_length": length})
        seen += set(entries(work)) - set(seen)
    killed, busy = work / "encodings/.abc.123", work / "encodings/.abc.456"
    for path in (killed, busy):
        path.mkdir()
        (path / "input_ids.npy").write_bytes(b"half")
    for path, days in zip(seen, (29, 31, 31), strict=True):
        aged(path, days)
    aged(killed, 2)
    features(folder, "pair", work, hyper={"max_length": 32})  # used today, if written long ago
    assert len(entries(work)) == 3, "reading deletes nothing"
    features(folder, "choice", work)
    left = entries(work)
    assert seen[0] in left and seen[1] not in left and seen[2] in left and len(left) == 3
    assert busy.exists() and not killed.exists()


def test_a_folder_that_cannot_be_written_costs_nothing_but_time(folder, tmp_path, capsys):
    (tmp_path / "encodings").write_text("a file stands here")
    found = features(folder, "pair", tmp_path)
    assert [plain(one) for one in found] == [plain(one) for one in features(folder, "pair", None)]
    assert "could not be written" in capsys.readouterr().err


def test_a_task_without_a_usable_example_has_no_features(folder, work, tmp_path):
    write_jsonl(tmp_path / "mlm.jsonl", [{"id": "1", "text": ""}])
    for cache in (None, work, work):
        found = features(folder, "mlm", cache, path=tmp_path / "mlm.jsonl")
        assert len(found) == 0 and found.examples == 1 and list(found) == []
        assert [len(values) for values in (found.lengths, found.widths, found.pieces(), found.squares())] == [0] * 4


@pytest.mark.parametrize("kind", ["pair", "tagging", "span_qa", "choice"])
def test_predictions_from_kept_features_are_equal_to_the_last_digit(folder, work, kind):
    model, rows = FakeModel(kind), rows_of(kind)
    one = Predictor(model, "task", kind, LABELS, QA, {}, "fp32", 128)
    expected, shapes = one.predict(rows), list(model.shapes)
    for cache in (None, work, work):
        model.shapes.clear()
        again = Predictor(model, "task", kind, LABELS, QA, {}, "fp32", 128)
        found = again.predict(rows, features(folder, kind, cache, training=False))
        assert repr(found) == repr(expected) and again.tokens == one.tokens and model.shapes == shapes


def test_texts_are_kept_in_their_order(folder, work):
    texts, model = ["w1 w2", "", "w3 é", "w1 w2"], Model(folder)
    expected = kinds.get("retrieval").encode([{"text": one} for one in texts], model.tokenizer, [], HYPER, {}, False)
    for cache in (None, work, work):
        model = Model(folder)
        found = encodings.of_texts(texts, HYPER, model, "retrieval@1", cache)
        assert [plain(one) for one in found] == expected
    assert not model.read
    assert len(encodings.of_texts(texts[:2], HYPER, model, "retrieval@1", work)) == 2 and model.read


def test_the_evaluate_job_of_another_checkpoint_reads_no_tokenizer(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(FakeModel, "tokenizer_file", folder / "tokenizer.json", raising=False)
    rows = [row for row in rows_of("tagging") if row["tokens"]]
    targets, written = {"udpos": {"languages": ["en", "de"], "options": {"scheme": "flat"}}}, {}
    for number, work in enumerate((None, tmp_path / "work", tmp_path / "work")):
        if number == 2:
            monkeypatch.setattr(encodings, "encode", lambda *_: pytest.fail("encoded again"))
        names, _ = job(tmp_path / str(number), monkeypatch, "tagging", targets, rows, work)
        written[number] = [(tmp_path / str(number) / "out" / name).read_bytes() for name in names]
    assert written[0] == written[1] == written[2] and len(entries(tmp_path / "work")) == 1


def test_importing_encodings_imports_neither_torch_nor_tokenizers():
    code = "import sys, xstilts.data.encodings; sys.exit(bool({'torch', 'tokenizers'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_encode_reads_no_other_hyper_parameter(folder):
    """A key that is not in HYPER would not change the digest: so encode must work without all others."""
    for kind in TASKS:
        module, tokenizer = kinds.get(kind), Model(folder).tokenizer
        hyper = {name: HYPER[name] for name in module.HYPER if name in HYPER}
        arguments = rows_of(kind), tokenizer, LABELS
        assert module.encode(*arguments, hyper, {}, True) == module.encode(*arguments, HYPER, {}, True)
