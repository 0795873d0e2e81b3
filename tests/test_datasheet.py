"""Data checks on made-up files whose duplicates, leaks, lengths and pieces are known."""

import json
import subprocess
import sys

import pytest

from xstilts.analysis import tables
from xstilts.datasheet.run import check_data
from xstilts.errors import UserError
from xstilts.files import write_jsonl
from xstilts.identity import ROOT
from xstilts.models.tokenizers import SPECIALS, unigram

PIECES = [*SPECIALS, "▁", "▁a", "a", "b", "▁b", "c", "<mask>"]  # x is unknown; c has no piece with a boundary
LABELS = ["entailment", "neutral", "contradiction"]


def pair(key, a, b, label="neutral"):
    return {"id": key, "text_a": a, "text_b": b, "label": label}


def question(key, context, text, *answers):
    return {"id": key, "context": context, "question": text, "answers": [{"text": t, "start": 0} for t in answers]}


def part(task, kind, files, training_task=None):
    labels = LABELS if kind == "pair" else []
    return {
        "task": task,
        "kind": kind,
        "labels": labels,
        "training_task": training_task,
        "identity": "0",
        "files": files,
    }


def check(folder, data, examples, lengths=None, models=("m",), tokenizers=None) -> dict[str, dict]:
    """Write the files, run the job, and return its rows: data by (task, language, split), pieces by model too."""
    for (task, language, split), rows in examples.items():
        write_jsonl(folder / "examples" / task / language / f"{split}.jsonl", rows)
    tokenizer = unigram(PIECES, [0, 0, 0, 0, -3, -1, -2, -2, -1, -2, 0], {})
    for model in models:
        path = folder / "models" / model / "tokenizer.json"
        path.parent.mkdir(parents=True)
        path.write_text((tokenizers or {}).get(model) or tokenizer.to_str(), encoding="utf-8")
    limits = {one["task"]: {"max_length": 128, "max_query_length": 64} for one in data} | (lengths or {})
    spec = {"data": data, "models": dict.fromkeys(models, "0"), "lengths": dict.fromkeys(models, limits),
            "unspaced": ["zh"]}  # fmt: skip
    check_data(spec, folder / "examples", folder / "models", folder)
    found = {row["task"] + " " + row["language"] + " " + row["split"]: row for row in tables.read("data", folder)}
    pieces = {f"{row['model']} {row['task']} {row['language']} {row['split']}": row
              for row in tables.read("pieces", folder)}  # fmt: skip
    return {"data": found, "pieces": pieces}


def test_duplicates_conflicts_and_balance_of_pairs(tmp_path):
    rows = [
        pair("1", "A man  sleeps.", "He rests.", "entailment"),
        pair("2", "a man sleeps.", "HE rests. ", "entailment"),  # the same but for case and spacing
        pair("3", "A man sleeps.", "He rests.", "contradiction"),  # the same with another label
        pair("4", "He rests.", "A man sleeps.", "neutral"),  # the other way round: another input
    ]
    row = check(tmp_path, [part("mnli", "pair", [["en", "train"]])], {("mnli", "en", "train"): rows})["data"]
    row = row["mnli en train"]
    assert (row["n"], row["duplicates"], row["conflicts"]) == (4, 2, 1)
    assert row["label_balance"] == "entailment 50, neutral 25, contradiction 25" and row["majority"] == 50
    assert row["overlap_train"] is None and row["overlap_dev"] is None  # a training file is compared with nothing
    characters = [len(one["text_a"]) + len(one["text_b"]) for one in rows]
    assert row["characters_mean"] == pytest.approx(sum(characters) / 4) and row["characters_max"] == max(characters)


def test_leaks_name_the_training_task_that_has_most(tmp_path):
    data = [
        part("mnli", "pair", [["en", "train"], ["en", "dev"]]),
        part("translated", "pair", [["de", "train"], ["sw", "train"]]),
        part("squad", "span_qa", [["en", "train"]]),
        part("xnli", "pair", [["en", "test"], ["de", "test"]], "mnli"),
        part("xquad", "span_qa", [["en", "test"]], "squad"),
        part("mlm", "mlm", [["fr", "train"]]),
        part("tatoeba", "retrieval", [["de", "test"], ["fr", "test"]]),
    ]
    examples = {
        ("mnli", "en", "train"): [pair("1", "one", "two"), pair("2", "three", "four")],
        ("mnli", "en", "dev"): [pair("3", "five", "six"), pair("4", "one", "new")],
        ("translated", "de", "train"): [pair("1", "eins", "zwei")],
        ("translated", "sw", "train"): [pair("1", "moja", "mbili")],
        ("squad", "en", "train"): [question("1", "A long context.", "who?", "A")],
        ("xnli", "en", "test"): [
            pair("1", "One", "two", "entailment"),  # in training, whatever its label
            pair("2", "five", "six"),  # in the dev set
            pair("3", "three", "something else"),  # its premise is in training
            pair("4", "a long context.", "b"),  # its premise is a training context of another task
        ],
        ("xnli", "de", "test"): [pair("1", "eins", "zwei"), pair("2", "moja", "mbili")],
        ("xquad", "en", "test"): [
            question("1", "A long  context.", "where?", "A"),
            question("2", "Other.", "who?", "O"),
        ],
        ("tatoeba", "de", "test"): [
            {"id": "de-1", "side": "source", "text": "zwei", "match": "en-1"},
            {"id": "en-1", "side": "target", "text": "hello", "match": "de-1"},
        ],
        ("mlm", "fr", "train"): [{"id": "1", "text": "Bonjour !"}, {"id": "2", "text": "bonjour !"}],
        ("tatoeba", "fr", "test"): [
            {"id": "fr-1", "side": "source", "text": "bonjour !", "match": "en-1"},
            {"id": "en-1", "side": "target", "text": "hello", "match": "fr-1"},
        ],
    }
    found = check(tmp_path, data, examples)["data"]
    leaks = ("overlap_train", "overlap_with", "overlap_dev", "context_train", "context_with")
    assert [found["xnli en test"][name] for name in leaks] == [1, "mnli", 1, 2, "mnli"]
    assert [found["xnli de test"][name] for name in leaks] == [2, "translated", 0, 2, "translated"]
    assert [found["xquad en test"][name] for name in leaks] == [0, None, None, 1, "squad"]
    assert [found["tatoeba de test"][name] for name in leaks] == [0, None, None, 1, "translated"]
    assert [found["tatoeba fr test"][name] for name in leaks] == [1, "mlm", None, 1, "mlm"]
    assert (found["mlm fr train"]["duplicates"], found["mlm fr train"]["conflicts"]) == (1, None)
    assert [found["mnli en dev"][name] for name in leaks] == [0, None, None, 1, "mnli"]


def test_what_counts_as_an_input_depends_on_the_kind(tmp_path):
    data = [
        part("udpos", "tagging", [["en", "train"], ["en", "test"]], "udpos"),
        part("squad_v2", "span_qa", [["en", "train"]]),
        part("csqa", "choice", [["en", "dev"]]),
        part("bucc2018", "retrieval", [["de", "dev"], ["de", "test"]]),
    ]

    def sentence(number, side, text, match=None):
        return {"id": f"{side}-{number}", "side": side, "text": text, "match": match}

    choices = {"id": "1", "context": "", "question": "Which?", "choices": ["a", "b"], "label": 1}
    examples = {
        ("udpos", "en", "train"): [
            {"id": "1", "tokens": ["a", "b"], "tags": ["NOUN", "VERB"]},
            {"id": "2", "tokens": ["A", "b"], "tags": ["NOUN", "NOUN"]},
        ],
        ("udpos", "en", "test"): [{"id": "1", "tokens": ["a", "b"], "tags": ["DET", "VERB"]}],
        ("squad_v2", "en", "train"): [
            question("1", "C.", "who?", "Anna", "anna"),
            question("2", "C.", "who?", "Anna"),  # the same set of answers
            question("3", "C.", "who?"),  # no answer: a conflict
            question("4", "C.", "where?", "there"),  # another question of the same context is no duplicate
        ],
        ("csqa", "en", "dev"): [
            choices,
            {**choices, "id": "2", "choices": ["b", "a"]},
            {**choices, "id": "3", "label": 0},
        ],
        ("bucc2018", "de", "dev"): [
            sentence(1, "source", "eins", "target-1"),
            sentence(1, "target", "one", "source-1"),
        ],
        ("bucc2018", "de", "test"): [
            sentence(1, "source", "zwei", "target-1"),
            sentence(2, "source", "Zwei"),
            sentence(1, "target", "two", "source-1"),
            sentence(2, "target", "zwei"),  # equal to the other side: no duplicate
            sentence(3, "target", "one"),  # in the dev pool
        ],
    }  # fmt: skip
    found = check(tmp_path, data, examples)["data"]
    counted = {name: (row["duplicates"], row["conflicts"]) for name, row in found.items()}
    assert counted == {
        "udpos en train": (1, 1), "udpos en test": (0, 0), "squad_v2 en train": (2, 1), "csqa en dev": (1, 1),
        "bucc2018 de dev": (0, None), "bucc2018 de test": (1, None),
    }  # fmt: skip
    assert found["udpos en test"]["overlap_train"] == 1 and found["bucc2018 de test"]["overlap_dev"] == 1
    assert found["udpos en train"]["label_balance"] == "NOUN 75, VERB 25 of 2 tags"
    assert (
        found["squad_v2 en train"]["label_balance"] == "no answer 25" and found["squad_v2 en train"]["majority"] == 25
    )
    assert found["csqa en dev"]["label_balance"] == "1. 33, 2. 67"
    assert found["bucc2018 de test"]["label_balance"] == "1 pairs, 1 + 2 distractors"


def test_pieces_are_counted_exactly(tmp_path):
    data = [
        part("udpos", "tagging", [["zh", "test"]], "udpos"),
        part("tatoeba", "retrieval", [["zh", "test"], ["de", "test"]]),
    ]
    both = [
        {"id": "1", "side": "source", "text": "ab x", "match": "2"},  # ▁a b ▁ <unk>
        {"id": "2", "side": "target", "text": "x x x x", "match": "1"},  # English: not counted
    ]
    tagged = [
        {"id": "1", "tokens": ["ab", "c", "\u3000"], "tags": ["N", "N", "N"]},  # ▁a b | ▁ c | nothing
        {"id": "2", "tokens": ["b", "x"], "tags": ["N", "N"]},  # ▁b | ▁ <unk>
    ]
    examples = {("udpos", "zh", "test"): tagged} | {("tatoeba", code, "test"): both for code in ("zh", "de")}
    found = check(tmp_path, data, examples, lengths={"udpos": {"max_length": 6}})["pieces"]
    row = found["m udpos zh test"]
    assert (row["n"], row["sampled"], row["pieces_mean"], row["pieces_p95"], row["pieces_max"]) == (2, 2, 3.5, 4, 4)
    assert row["unknown"] == pytest.approx(100 / 7, abs=1e-4) and row["pieces_per_word"] == pytest.approx(7 / 5)
    assert (row["empty_words"], row["boundary_first"]) == (1, 40.0)
    assert row["over_length"] == 50.0  # the empty word takes a place: 2 + 4 + 1 of 6; the other: 2 + 3
    row = found["m tatoeba de test"]
    assert (row["n"], row["pieces_max"], row["unknown"], row["pieces_per_word"]) == (1, 4, 25.0, 2.0)
    assert row["empty_words"] is None and row["boundary_first"] is None
    assert found["m tatoeba zh test"]["pieces_per_word"] is None  # written without spaces


@pytest.mark.parametrize(("room", "over"), [(8, [100, 100, 100]), (9, [100, 0, 100]), (10, [0, 0, 0])])
def test_over_length_is_what_the_kind_would_cut(tmp_path, room, over):
    data = [part("mnli", "pair", [["en", "train"]]), part("csqa", "choice", [["en", "train"]]),
            part("squad", "span_qa", [["en", "train"]])]  # fmt: skip
    examples = {
        ("mnli", "en", "train"): [pair("1", "a a a", "b b b")],  # 6 + 4
        ("csqa", "en", "train"): [  # a a a + the longest choice 2 + 4
            {"id": "1", "context": "a a", "question": "a", "choices": ["b b", "a"], "label": 0}
        ],
        ("squad", "en", "train"): [question("1", "a a a", "b b b", "a")],
    }
    lengths = {one["task"]: {"max_length": room, "max_query_length": 3} for one in data}
    found = check(tmp_path, data, examples, lengths)["pieces"]
    assert [found[f"m {task} en train"]["over_length"] for task in ("mnli", "csqa", "squad")] == over


def test_a_question_beyond_its_own_limit_is_over_length(tmp_path):
    data = [part("squad", "span_qa", [["en", "train"]])]
    examples = {("squad", "en", "train"): [question("1", "a", "b b b", "a"), question("2", "a", "b b", "a")]}
    lengths = {"squad": {"max_length": 100, "max_query_length": 2}}
    assert check(tmp_path, data, examples, lengths)["pieces"]["m squad en train"]["over_length"] == 50.0


def test_a_sample_is_by_id_and_models_differ_only_by_their_tokenizer(tmp_path, monkeypatch):
    from xstilts.datasheet import pieces

    monkeypatch.setattr(pieces, "SAMPLE", 20)
    rows = [pair(str(n), "a " * (n + 1), "b") for n in range(60)]
    chosen = [one["id"] for one in pieces.sample(rows)]
    assert len(chosen) == 20 and chosen == sorted(chosen, key=int)
    assert {one["id"] for one in pieces.sample(rows[::-1])} == set(chosen) != {str(n) for n in range(20)}
    other = unigram([*PIECES[:-1], "x", "<mask>"], [0, 0, 0, 0, -3, -1, -2, -2, -1, -2, -1, 0], {}).to_str()
    calls = []
    real = pieces.measure
    monkeypatch.setattr(pieces, "measure", lambda *given: calls.append(1) or real(*given))
    data, examples = [part("mnli", "pair", [["en", "dev"]])], {("mnli", "en", "dev"): [pair("1", "ax", "x")]}
    found = check(tmp_path, data, examples, models=("m", "same", "new"), tokenizers={"new": other})["pieces"]
    assert len(calls) == 2  # once a tokenizer file
    rows = {name.split()[0]: row for name, row in found.items()}
    assert {**rows["m"], "model": ""} == {**rows["same"], "model": ""}
    assert (rows["m"]["unknown"], rows["new"]["unknown"]) == (50.0, 0.0)


def test_missing_and_broken_files_are_named(tmp_path):
    data, rows = [part("mnli", "pair", [["en", "dev"]])], {("mnli", "en", "dev"): [pair("1", "a", "b")]}
    with pytest.raises(UserError, match=r"tokenizer\.json: is no tokenizer"):
        check(tmp_path / "a", data, rows, tokenizers={"m": "{}"})
    with pytest.raises(UserError, match=r"dev\.jsonl: no such file"):
        check(tmp_path / "b", data, {})


def test_the_script_writes_equal_bytes_without_torch(tmp_path):
    data, rows = [part("mnli", "pair", [["en", "dev"]])], {("mnli", "en", "dev"): [pair("1", "a", "b")]}
    check(tmp_path, data, rows)
    before = {name: (tmp_path / f"{name}.csv").read_bytes() for name in ("data", "pieces")}
    spec = {"data": data, "models": {"m": "0"}, "lengths": {"m": {"mnli": {"max_length": 128}}}, "unspaced": []}
    for name in before:
        (tmp_path / f"{name}.csv").unlink()
    code = (
        "import runpy, sys; sys.path[0] = '.'; runpy.run_path('scripts/check_data.py', run_name='__main__')\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    folders = ["--examples", tmp_path / "examples", "--models", tmp_path / "models", "--out", tmp_path]
    command = [sys.executable, "-c", code, "--spec", json.dumps(spec), "--threads", "1", *map(str, folders)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    assert {name: (tmp_path / f"{name}.csv").read_bytes() for name in before} == before
