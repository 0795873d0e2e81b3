"""Rows that are valid JSON and no example: refused by file, row, field and value before anything is written."""

import json
import re

import pytest

from xstilts import files
from xstilts.data.prepare import prepare
from xstilts.errors import UserError
from xstilts.evaluation import submission

HALF = "a\ud800b"
FIELDS = {
    "pair": {"id": "idx", "text_a": "premise"},
    "choice": {"choices": "endings"},
    "tagging": {"tags": "pos_tags"},
    "span_qa": {},
    "retrieval": {},
    "mlm": {},
}
GOOD = {
    "pair": {"idx": 1, "premise": "p", "text_b": "h", "label": "yes"},
    "choice": {"id": "1", "context": "c", "question": "q", "endings": ["a", "b"], "label": 0},
    "tagging": {"id": "1", "tokens": ["a", "b"], "pos_tags": ["yes", "no"]},
    "span_qa": {"id": "1", "context": "a cat", "question": "q", "answers": {"text": ["cat"], "answer_start": [2]}},
    "retrieval": {"id": "1", "source": "s", "target": "t"},
    "mlm": {"id": "1", "text": "a cat"},
}
SIDED = {"id": "1", "side": "source", "text": "s", "match": "2"}


def run(tmp_path, kind, rows, split="train"):
    """Prepare a file of `rows`; JSON is written with escapes, or halves of surrogate pairs could not be."""
    path = tmp_path / "data" / "de" / f"{split}.jsonl"
    files.write_text(path, "".join(f"{json.dumps(row)}\n" for row in rows))
    prepare(job(kind, {"mining": "nearest"}, split), tmp_path / "out", tmp_path / "gold", data_root=tmp_path)


def job(kind, options, split):
    return {
        "task": "task",
        "kind": kind,
        "labels": ["yes", "no"] if kind in ("pair", "tagging") else [],
        "options": options,
        "languages": ["de"],
        "splits": {split: None},
        "source": "local",
        "parts": [{"folder": "data", "splits": {split: split}, "fields": FIELDS[kind]}],
        "seed": 1,
    }


BAD = [  # (kind, field of the row, value, what the message says after file and row)
    ("pair", "premise", None, "text_a is None"),
    ("pair", "text_b", 3, "text_b is 3"),
    ("pair", "text_b", HALF, "text_b holds half of a surrogate pair"),
    ("pair", "label", None, "label is 'None'"),
    ("pair", "label", ["yes"], "label is"),
    ("pair", "idx", None, "id is 'None'"),
    ("pair", "idx", HALF, "id holds half of a surrogate pair"),
    ("choice", "context", None, "context is None"),
    ("choice", "question", 4, "question is 4"),
    ("choice", "endings", None, "choices is 'None'; it must be a list"),
    ("choice", "endings", "ab", "choices is 'ab'; it must be a list"),
    ("choice", "endings", ["a", None], "choices must be two or more strings"),
    ("choice", "endings", ["a", HALF], "choices holds half"),
    ("choice", "label", None, "label 'None'"),
    ("tagging", "tokens", None, "tokens is 'None'; it must be a list"),
    ("tagging", "tokens", 5, "tokens is '5'; it must be a list"),
    ("tagging", "tokens", ["a", None], "token 1 is None"),
    ("tagging", "tokens", ["a", HALF], "tokens holds half"),
    ("tagging", "pos_tags", None, "tags is 'None'; it must be a list"),
    ("tagging", "pos_tags", ["yes", None], "tags is 'None'; it must be a string"),
    ("span_qa", "context", None, "context is 'None'"),
    ("span_qa", "context", HALF, "context holds half"),
    ("span_qa", "question", 6, "question is 6"),
    ("span_qa", "answers", None, "answers must be"),
    ("span_qa", "answers", {"text": None, "answer_start": [2]}, "answers must be"),
    ("span_qa", "answers", {"text": "cat", "answer_start": [2, 3, 4]}, "answers must be"),
    ("span_qa", "answers", {"text": [None], "answer_start": [2]}, "answers must be"),
    ("span_qa", "answers", {"text": ["cat"], "answer_start": [None]}, "answers must be"),
    ("span_qa", "answers", {"text": ["cat"], "answer_start": [float("inf")]}, "answers must be"),
    ("span_qa", "answers", {"text": [HALF], "answer_start": [2]}, "answers holds half"),
    ("retrieval", "source", None, "source is 'None'"),
    ("retrieval", "target", HALF, "text holds half"),
    ("retrieval", "id", None, "id is 'None'"),
    ("mlm", "text", None, "text is 'None'"),
    ("mlm", "text", HALF, "text holds half"),
]


@pytest.mark.parametrize("kind", GOOD)
def test_the_good_rows_are_good(tmp_path, kind):
    run(tmp_path, kind, [GOOD[kind]])
    assert len(files.read_jsonl(tmp_path / "out" / "task" / "de" / "train.jsonl")) == (2 if kind == "retrieval" else 1)


@pytest.mark.parametrize(("kind", "field", "value", "what"), BAD)
def test_a_bad_value_is_named(tmp_path, kind, field, value, what):
    path = tmp_path / "data" / "de" / "train.jsonl"
    with pytest.raises(UserError, match=f"^{re.escape(f'{path}:2')}.*{re.escape(what)}"):
        run(tmp_path, kind, [GOOD[kind], {**GOOD[kind], field: value}])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("field", "what"), [("id", "id is 'None'"), ("side", "side None"), ("text", "text is None")])
def test_a_retrieval_row_of_one_side_needs_its_fields(tmp_path, field, what):
    rows = [SIDED, {**SIDED, "id": "2", "side": "target", "match": "1"}]
    run(tmp_path, "retrieval", rows)
    rows[1][field] = None
    with pytest.raises(UserError, match=rf"train\.jsonl:2.*{what}"):
        run(tmp_path, "retrieval", rows)


def test_a_match_may_be_the_number_0(tmp_path):
    rows = [{"id": 0, "side": "source", "text": "s", "match": 1}, {"id": 1, "side": "target", "text": "t", "match": 0}]
    run(tmp_path, "retrieval", rows, "test")
    assert (tmp_path / "gold" / "task" / "test-de.tsv").read_text() == "0\n"


# ---- mining
def pools(tmp_path, key="s-1", text="s"):
    """Two pools of two sentences and one gold pair; `key` and `text` are those of its source side."""
    rows = {
        "source": [{"id": "s-0", "sentence": "alone"}, {"id": key, "sentence": text}],
        "target": [{"id": "t-0", "sentence": "alone"}, {"id": "t-1", "sentence": "t"}],
        "gold": [{"source_id": key, "target_id": "t-1"}],
    }
    for name, lines in rows.items():
        path = tmp_path / "data" / "de" / f"all_{name}.jsonl"
        files.write_text(path, "".join(f"{json.dumps(line)}\n" for line in lines))
    spec = job("retrieval", {"mining": "margin"}, "test")
    spec["parts"][0]["splits"] = {"dev": "dev", "test": "all"}
    prepare(spec, tmp_path / "out", tmp_path / "gold", data_root=tmp_path)


def test_the_gold_file_of_mining_can_be_read(tmp_path):
    pools(tmp_path, key="s 1\u2028\x0bx")
    assert submission.read_pairs(tmp_path / "gold" / "task" / "test-de.tsv") == [("s 1\u2028\x0bx", "t-1")]


@pytest.mark.parametrize("key", ["s\t1", "s\n1", "s\r1", " s", "s\u3000", ""])
def test_an_id_that_no_gold_line_can_hold_is_refused(tmp_path, key):
    with pytest.raises(UserError, match=rf"all_source\.jsonl:2.*{re.escape(repr(key))}.*TAB"):
        pools(tmp_path, key)
    assert not (tmp_path / "gold").exists()


@pytest.mark.parametrize("values", [{"key": None}, {"text": None}, {"text": HALF}, {"key": HALF}])
def test_bad_values_in_a_pool_are_named(tmp_path, values):
    with pytest.raises(UserError, match=r"all_(source\.jsonl:2|gold\.jsonl:1).*(is 'None'|holds half)"):
        pools(tmp_path, **values)
    assert not (tmp_path / "gold").exists()
