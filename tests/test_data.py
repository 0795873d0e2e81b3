"""Preparing examples: every kind and source, caps and held-out shares, and data that must be refused."""

import json
import sys
from collections import Counter
from types import SimpleNamespace

import pytest
from published import LABELS, parquet, pin, put_data

from xstilts import files
from xstilts.data import prepare as prepare_module
from xstilts.data.prepare import prepare
from xstilts.errors import UserError
from xstilts.evaluation import examples_scores, metrics, submission

NLI = ["entailment", "neutral", "contradiction"]
NLI_PART = {
    "folder": "xnli",
    "splits": {"train": "train", "test": "test"},
    "fields": {"id": "idx", "text_a": "premise", "text_b": "hypothesis"},
    "labels": {"0": "entailment", "1": "neutral", "2": "contradiction"},
}
SQUAD_FIELDS = {"id": "id", "context": "context", "question": "question", "answers": "answers"}
POOLS = {"mining": "margin"}


def spec(task, kind, part, splits, languages=("en",), labels=(), options=None, source="local", seed=1):
    parts = part if isinstance(part, list) else [part]
    return {
        "task": task,
        "kind": kind,
        "labels": list(labels),
        "options": options or {},
        "languages": list(languages),
        "splits": splits,
        "source": source,
        "parts": parts,
        "seed": seed,
    }


def put(root, folder, language, split, rows):
    files.write_jsonl(root / folder / language / f"{split}.jsonl", rows)


def run(tmp_path, job, **places):
    """Prepare into a fresh folder; returns a reader of its files by task, language and split."""
    out = tmp_path / "out"
    places.setdefault("data_root", tmp_path)
    report = prepare(job, out / "examples", out / "gold", **places)

    def read(language, split="test"):
        return files.read_jsonl(out / "examples" / job["task"] / language / f"{split}.jsonl")

    return SimpleNamespace(read=read, report=report, gold=out / "gold" / job["task"], out=out)


def nli_rows(number, label=0):
    return [{"idx": i, "premise": f"p{i}", "hypothesis": f"h{i}", "label": label} for i in range(number)]


# ---- kinds
def test_pairs_get_label_names_and_gold_lines(tmp_path):
    for language in ("en", "de"):
        put(tmp_path, "xnli", language, "test", [{**row, "label": i % 3} for i, row in enumerate(nli_rows(4))])
    job = spec("xnli", "pair", NLI_PART, {"test": None}, ["en", "de"], NLI)
    done = run(tmp_path, job)
    assert done.read("de")[1] == {"id": "1", "text_a": "p1", "text_b": "h1", "label": "neutral"}
    assert list(done.read("de")[1]) == ["id", "text_a", "text_b", "label"]
    assert (done.gold / "test-de.tsv").read_text() == "entailment\nneutral\ncontradiction\nentailment\n"


def test_labels_to_drop_are_dropped_and_counted(tmp_path):
    put(tmp_path, "xnli", "en", "test", [*nli_rows(3), {"idx": 9, "premise": "p", "hypothesis": "h", "label": -1}])
    done = run(tmp_path, spec("xnli", "pair", {**NLI_PART, "drop_labels": ["-1"]}, {"test": None}, labels=NLI))
    assert len(done.read("en")) == 3
    assert done.report["en", "test"]["dropped labels"] == 1


@pytest.mark.parametrize(("value", "index"), [(1, 1), ("1", 1), ("B", 1), ("E", 4)])
def test_choice_labels_may_be_numbers_digits_or_letters(tmp_path, value, index):
    choices = {"label": list("ABCDE"), "text": ["v", "w", "x", "y", "z"]}
    put(tmp_path, "csqa", "en", "train", [{"question": "q", "choices": choices, "answerKey": value}])
    part = {"folder": "csqa", "splits": {"train": "train"}, "fields": {"choices": "choices.text", "label": "answerKey"}}
    done = run(tmp_path, spec("csqa", "choice", part, {"train": None}))
    assert done.read("en", "train") == [
        {"id": "train-0", "context": "", "question": "q", "choices": ["v", "w", "x", "y", "z"], "label": index}
    ]


def test_choices_may_stand_in_a_field_each(tmp_path):
    put(
        tmp_path,
        "cosmos",
        "en",
        "train",
        [{"context": "c", "question": "q", "answer0": "n", "answer1": "y", "label": 1}],
    )
    part = {"folder": "cosmos", "splits": {"train": "train"}, "fields": {"choices": ["answer0", "answer1"]}}
    assert run(tmp_path, spec("cosmos", "choice", part, {"train": None})).read("en", "train")[0]["choices"] == [
        "n",
        "y",
    ]


def test_tags_are_named_checked_and_written_one_a_line(tmp_path):
    put(
        tmp_path, "panx", "sw", "test", [{"tokens": ["a", "b"], "ner_tags": [0, 2]}, {"tokens": ["c"], "ner_tags": [1]}]
    )
    part = {
        "folder": "panx",
        "splits": {"test": "test"},
        "fields": {"tags": "ner_tags"},
        "labels": {"0": "O", "1": "B-PER", "2": "I-PER"},
    }
    job = spec("panx", "tagging", part, {"test": None}, ["sw"], ["O", "B-PER", "I-PER"], {"scheme": "iob2"})
    done = run(tmp_path, job)
    assert done.read("sw")[0] == {"id": "test-0", "tokens": ["a", "b"], "tags": ["O", "I-PER"]}
    assert (done.gold / "test-sw.tsv").read_text() == "O\nI-PER\n\nB-PER\n"
    assert done.report["sw", "test"]["illegal IOB2"] == 1  # an I- after O: reported, kept as it is


def qa_part(**more):
    return {"folder": "qa", "splits": {"train": "train", "test": "test"}, "fields": SQUAD_FIELDS, **more}


def qa_row(key, context, text, start):
    return {"id": key, "context": context, "question": "?", "answers": {"text": [text], "answer_start": [start]}}


def test_wrong_offsets_move_to_the_nearest_occurrence(tmp_path):
    put(tmp_path, "qa", "en", "test", [qa_row("a", "x cat y cat z cat", "cat", 9), qa_row("b", "cat", "cat", 0)])
    done = run(tmp_path, spec("tydiqa", "span_qa", qa_part(), {"test": None}))
    assert [row["answers"] for row in done.read("en")] == [[{"text": "cat", "start": 8}], [{"text": "cat", "start": 0}]]
    assert done.report["en", "test"]["answers moved"] == 1
    assert submission.read_gold_answers(done.gold / "test-en.json") == {"a": ["cat"], "b": ["cat"]}


def test_absent_answers_leave_training_data_but_stop_a_test_set(tmp_path):
    rows = [qa_row("good", "a cat", "cat", 2), qa_row("bad", "a cat", "dog", 2)]
    put(tmp_path, "qa", "en", "train", rows)
    put(tmp_path, "qa", "en", "test", rows)
    done = run(tmp_path, spec("tydiqa", "span_qa", qa_part(), {"train": None}))
    assert [row["id"] for row in done.read("en", "train")] == ["good"]
    assert done.report["en", "train"]["questions left out"] == 1
    with pytest.raises(UserError, match="ids: bad"):
        run(tmp_path, spec("tydiqa", "span_qa", qa_part(), {"test": None}))


def test_questions_without_answer_need_the_option(tmp_path):
    row = {"id": "n", "context": "c", "question": "?", "answers": {"text": [], "answer_start": []}}
    put(tmp_path, "qa", "en", "train", [row])
    job = spec("squad_v2", "span_qa", qa_part(), {"train": None}, options={"no_answer": True})
    assert run(tmp_path, job).read("en", "train")[0]["answers"] == []
    with pytest.raises(UserError, match=r"train\.jsonl:1 \(id n\): no answer"):
        run(tmp_path, {**job, "options": {"no_answer": False}})


def test_only_the_rows_of_a_language_pass_the_filter(tmp_path):
    put(tmp_path, "qa", "sw", "test", [qa_row("swahili-1", "a", "a", 0), qa_row("english-1", "a", "a", 0)])
    part = qa_part(filter={"field": "id", "prefix": "swahili-"})
    assert [row["id"] for row in run(tmp_path, spec("t", "span_qa", part, {"test": None}, ["sw"])).read("sw")] == [
        "swahili-1"
    ]


# ---- retrieval
def test_translation_pairs_become_two_sides_with_english_in_alphabetical_order(tmp_path):
    texts = [("eins", "one"), ("zwei", "two"), ("vier\n", "four")]
    put(tmp_path, "tatoeba", "de", "test", [{"s": source, "t": target} for source, target in texts])
    part = {"folder": "tatoeba", "splits": {"test": "test"}, "fields": {"source": "s", "target": "t"}}
    done = run(tmp_path, spec("tatoeba", "retrieval", part, {"test": None}, ["de"], options={"mining": "nearest"}))
    rows = done.read("de")
    assert [row["text"] for row in rows] == ["eins", "zwei", "vier", "four", "one", "two"]
    assert rows[0] == {"id": "de-0", "side": "source", "text": "eins", "match": "en-0"}
    assert (done.gold / "test-de.tsv").read_text() == "2\n0\n1\n"


def put_pools(root, pairs=40, alone=400):
    for side, code in (("source", "zh"), ("target", "en")):
        put(
            root,
            "bucc",
            "zh",
            f"v_{side}",
            [{"id": f"{code}-{i}", "sentence": f"{code}{i}"} for i in range(pairs + alone)],
        )
    put(root, "bucc", "zh", "v_gold", [{"source_id": f"zh-{i}", "target_id": f"en-{i}"} for i in range(pairs)])


@pytest.mark.parametrize(
    "splits", [{"test": "v"}, {"dev": "v", "test": "v"}, {"dev": {"from": "v", "hold_out": 0.5}, "test": "v"}]
)
def test_one_pair_of_pools_is_cut_into_dev_and_test(tmp_path, splits):
    put_pools(tmp_path)
    job = spec("bucc2018", "retrieval", {"folder": "bucc", "splits": splits}, {"dev": None, "test": None}, ["zh"])
    done = run(tmp_path, {**job, "options": POOLS})
    dev, test = done.read("zh", "dev"), done.read("zh", "test")
    assert not {row["id"] for row in dev} & {row["id"] for row in test}
    assert len(dev) + len(test) == 880
    assert 300 < len(dev) < 580
    gold = submission.read_pairs(done.gold / "test-zh.tsv")
    assert gold == [(row["id"], row["match"]) for row in test if row["side"] == "source" and row["match"]]
    assert 10 <= len(gold) <= 30


def test_a_cap_on_pools_counts_pairs_and_keeps_their_share(tmp_path):
    put_pools(tmp_path)
    part = {"folder": "bucc", "splits": {"dev": "other", "test": "v"}}
    done = run(tmp_path, spec("bucc2018", "retrieval", part, {"test": 10}, ["zh"], options=POOLS))
    found = Counter((row["side"], row["match"] is not None) for row in done.read("zh"))
    expected = {("source", True): 10, ("target", True): 10, ("source", False): 100, ("target", False): 100}
    assert found == expected


def test_gold_pairs_alone_are_no_pool_to_mine(tmp_path):
    part = {"id": "google/xtreme", "revision": "a" * 40, "splits": {"dev": "v", "test": "t"}}
    with pytest.raises(UserError, match=r"gold pairs only.*local"):
        run(tmp_path, spec("bucc2018", "retrieval", part, {"test": None}, ["de"], options=POOLS, source="hub"))


@pytest.mark.parametrize("split", ["dev", "test"])
def test_pools_without_a_sentence_that_has_no_partner_are_refused_from_every_source(tmp_path, split):
    put_pools(tmp_path, pairs=12, alone=0)
    with pytest.raises(UserError, match=rf"bucc2018 zh {split}: every sentence has a partner.*F1 is far too high"):
        part = {"folder": "bucc", "splits": {"dev": "v", "test": "v"}}
        run(tmp_path, spec("bucc2018", "retrieval", part, {split: None}, ["zh"], options=POOLS))


def test_masked_text_is_one_example_a_line_and_blank_texts_are_dropped_and_counted(tmp_path):
    part = {"folder": "wiki", "splits": {"train": "train"}}
    blank = [{"id": 9, "text": ""}, {"id": 10, "text": "\n"}, {"id": 11, "text": " \t"}]
    put(tmp_path, "wiki", "de", "train", [{"id": 7, "text": "Eins.\n\n Zwei \n"}, *blank, {"id": 8, "text": "Drei"}])
    done = run(tmp_path, spec("mlm", "mlm", part, {"train": None}, ["de"]))
    assert done.read("de", "train") == [
        {"id": "7:0", "text": "Eins."},
        {"id": "7:2", "text": "Zwei"},
        {"id": "8", "text": "Drei"},
    ]
    assert done.report["de", "train"]["blank texts"] == 3
    put(tmp_path, "wiki", "de", "train", [{"text": " "}])
    with pytest.raises(UserError, match="mlm de train: no examples are left"):
        run(tmp_path, spec("mlm", "mlm", part, {"train": None}, ["de"]))


def test_a_capped_text_is_the_same_sample_when_it_is_too_long_for_the_memory(tmp_path, monkeypatch):
    put(tmp_path, "wiki", "de", "train", [{"text": f"line {number}"} for number in range(60)])
    job = spec("mlm", "mlm", {"folder": "wiki", "splits": {"train": "train"}}, {"train": 5}, ["de"])
    whole = run(tmp_path, job).read("de", "train")
    monkeypatch.setattr(prepare_module, "MANY", 4)
    assert run(tmp_path, job).read("de", "train") == whole


# ---- caps and shares
def test_a_larger_cap_only_adds_examples_in_source_order(tmp_path):
    put(tmp_path, "xnli", "en", "train", nli_rows(50))
    ids = {}
    for cap in (10, 20, None):
        done = run(tmp_path, spec("xnli", "pair", NLI_PART, {"train": cap}, labels=NLI))
        ids[cap] = [int(row["id"]) for row in done.read("en", "train")]
        assert ids[cap] == sorted(ids[cap])
    assert [len(found) for found in ids.values()] == [10, 20, 50]
    assert set(ids[10]) < set(ids[20])
    other = run(tmp_path, spec("xnli", "pair", NLI_PART, {"train": 10}, labels=NLI, seed=2))
    assert [int(row["id"]) for row in other.read("en", "train")] != ids[10]


def test_capped_test_sets_stay_parallel(tmp_path):
    put(tmp_path, "xnli", "en", "test", nli_rows(50))
    put(tmp_path, "xnli", "de", "test", nli_rows(50)[::-1])
    done = run(tmp_path, spec("xnli", "pair", NLI_PART, {"test": 7}, ["en", "de"], NLI))
    assert {row["id"] for row in done.read("en")} == {row["id"] for row in done.read("de")}


def test_a_held_out_share_is_lost_by_train(tmp_path):
    put(tmp_path, "xnli", "en", "train", nli_rows(400))
    part = {**NLI_PART, "splits": {"train": "train", "dev": {"from": "train", "hold_out": 0.1}}}
    done = run(tmp_path, spec("mnli", "pair", part, {"train": None, "dev": None}, labels=NLI))
    train, dev = ({row["id"] for row in done.read("en", split)} for split in ("train", "dev"))
    assert not train & dev
    assert len(train) + len(dev) == 400
    assert 20 < len(dev) < 60
    # train is the same when dev is not asked for
    alone = run(tmp_path, spec("mnli", "pair", part, {"train": None}, labels=NLI))
    assert {row["id"] for row in alone.read("en", "train")} == train


def test_several_parts_are_joined_and_their_ids_kept_apart(tmp_path):
    put(tmp_path, "xnli", "en", "train", nli_rows(3))
    put(tmp_path, "snli", "en", "train", nli_rows(2))
    put(tmp_path, "snli", "en", "dev", nli_rows(1))
    parts = [NLI_PART, {**NLI_PART, "folder": "snli", "splits": {"train": "train", "dev": "dev"}}]
    done = run(tmp_path, spec("anli", "pair", parts, {"train": None, "dev": None}, labels=NLI))
    expected = ["xnli/train:0", "xnli/train:1", "xnli/train:2", "snli/train:0", "snli/train:1"]
    assert [row["id"] for row in done.read("en", "train")] == expected
    assert len(done.read("en", "dev")) == 1


def test_a_split_is_written_in_the_specs_languages_or_in_its_own(tmp_path):
    put(tmp_path, "xnli", "en", "train", nli_rows(3))
    put(tmp_path, "xnli", "de", "train", nli_rows(3))
    put(tmp_path, "xnli", "en", "dev", nli_rows(2))
    part = {**NLI_PART, "splits": {"train": "train", "dev": "dev"}}
    job = spec("mnli_translated", "pair", part, {"train": None, "dev": None}, ["en", "de"], NLI)
    done = run(tmp_path, {**job, "split_languages": {"dev": ["en"]}})
    assert set(done.report) == {("en", "train"), ("de", "train"), ("en", "dev")}
    assert len(done.read("de", "train")) == 3


def test_equal_specs_give_equal_bytes(tmp_path):
    put(tmp_path, "xnli", "en", "test", nli_rows(30))
    job = spec("xnli", "pair", NLI_PART, {"test": 9}, labels=NLI)
    first, second = (run(tmp_path / name, job, data_root=tmp_path) for name in ("one", "two"))
    path = "examples/xnli/en/test.jsonl"
    assert (first.out / path).read_bytes() == (second.out / path).read_bytes()


# ---- data that is refused
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([*nli_rows(1), {**nli_rows(2)[1], "label": 7}], r"test\.jsonl:2 \(id 1\): label '7'.*entailment neutral"),
        ([*nli_rows(2), nli_rows(1)[0]], "1 ids occur more than once, such as '0'"),
        (
            [{"idx": 0, "premise": "p", "label": 0}],
            r"test\.jsonl:1: no field 'hypothesis'; it has: idx, premise, label",
        ),
        ([{**nli_rows(1)[0], "premise": None}], "text_a is None; it must be a string"),
        (["text"], r"test\.jsonl:1: not a JSON object"),
        ([], r"test\.jsonl: holds no examples"),
    ],
)
def test_bad_rows_are_named_and_nothing_is_written(tmp_path, rows, message):
    put(tmp_path, "xnli", "en", "test", nli_rows(3))
    put(tmp_path, "xnli", "de", "test", rows)
    with pytest.raises(UserError, match=message):
        run(tmp_path, spec("xnli", "pair", NLI_PART, {"test": None}, ["en", "de"], NLI))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"tokens": ["a", ""], "tags": ["O", "O"]}, "token 1 is ''"),
        ({"tokens": ["a", "b"], "tags": ["O"]}, "2 tokens and 1 tags"),
        ({"tokens": [], "tags": []}, "0 tokens"),
        ({"tokens": ["a"], "tags": ["B-DATE"]}, "label 'B-DATE' is not one of: O B-PER"),
    ],
)
def test_bad_sentences_are_refused(tmp_path, row, message):
    put(tmp_path, "panx", "en", "test", [row])
    part = {"folder": "panx", "splits": {"test": "test"}}
    with pytest.raises(UserError, match=message):
        run(tmp_path, spec("panx", "tagging", part, {"test": None}, labels=["O", "B-PER"], options={"scheme": "iob2"}))


def test_choice_labels_out_of_range_are_refused(tmp_path):
    put(tmp_path, "c", "en", "train", [{"question": "q", "choices": ["a", "b"], "label": ""}])
    part = {"folder": "c", "splits": {"train": "train"}}
    with pytest.raises(UserError, match=r"label ''.*0 to 1"):
        run(tmp_path, spec("c", "choice", part, {"train": None}))
    put(tmp_path, "c", "en", "train", [{"question": "q", "choices": ["a", "b"], "label": 2}])
    with pytest.raises(UserError, match="label 2: allowed: 0 to 1"):
        run(tmp_path, spec("c", "choice", part, {"train": None}))


def test_answers_that_are_no_lists_are_refused(tmp_path):
    put(tmp_path, "qa", "en", "test", [{"id": "a", "context": "c", "question": "?", "answers": {"text": ["c"]}}])
    assert run(tmp_path, spec("q", "span_qa", qa_part(), {"test": None})).read("en")[0]["answers"][0]["start"] == 0
    put(tmp_path, "qa", "en", "test", [{"id": "a", "context": "c", "question": "?", "answers": "c"}])
    with pytest.raises(UserError, match="answers must be"):
        run(tmp_path, spec("q", "span_qa", qa_part(), {"test": None}))


# ---- sources
def test_a_missing_local_file_says_where_it_belongs(tmp_path):
    job = spec("xnli", "pair", NLI_PART, {"test": None}, ["sw"], NLI)
    with pytest.raises(UserError, match=r"xnli/sw/test\.jsonl: no such file.*docs/data\.md"):
        run(tmp_path, job)
    with pytest.raises(UserError, match="data_root"):
        run(tmp_path, job, data_root=None)


def test_what_the_source_lacks_is_named(tmp_path):
    with pytest.raises(UserError, match="'local' has no sw"):
        run(tmp_path, spec("xnli", "pair", {**NLI_PART, "languages": ["en"]}, {"test": None}, ["sw"], NLI))
    with pytest.raises(UserError, match="no split 'dev'"):
        run(tmp_path, spec("xnli", "pair", NLI_PART, {"dev": None}, labels=NLI))


# ---- the hub
HUB_PART = {
    "id": "facebook/xnli",
    "config": "{language}",
    "splits": {"train": "train", "test": "test"},
    "fields": {"id": "idx", "text_a": "premise", "text_b": "hypothesis"},
    "labels": {"0": "entailment", "1": "neutral", "2": "contradiction"},
}


@pytest.fixture
def lock_path(tmp_path):
    return tmp_path / "revisions.lock"


def hub_run(tmp_path, lock_path, part, revision, kind="pair", languages=("de",), labels=NLI, split="test", **more):
    job = spec("xnli", kind, {**part, "revision": revision}, {split: None}, languages, labels, source="hub")
    return run(tmp_path, {**job, **more}, data_root=None, revisions=lock_path)


def test_the_hub_is_read_at_its_pinned_revision_and_only_the_split_that_is_asked_for(tmp_path, hub, lock_path):
    rows = [{**row, "label": number % 3} for number, row in enumerate(nli_rows(4))]
    tables = {code: {"train": nli_rows(9), "test": rows} for code in ("de", "sw")}
    revision = put_data(hub, lock_path, "facebook/xnli", tables, {"label": LABELS})
    hub.add("dataset", "facebook/xnli", {"README.md": b"a later commit without the files"})
    done = hub_run(tmp_path, lock_path, HUB_PART, revision)
    assert [row["label"] for row in done.read("de")] == ["entailment", "neutral", "contradiction", "entailment"]
    assert {path.path.split("/resolve/")[1] for path in hub.requests("/resolve/")} == {
        f"{revision}/de/test-00000-of-00001.parquet"
    }


def test_files_that_declare_no_classes_are_mapped_by_number_and_unlabelled_rows_are_dropped(tmp_path, hub, lock_path):
    rows = [{**row, "label": number - 1} for number, row in enumerate(nli_rows(4))]
    for features in (None, {"label": LABELS}):  # a number without a name stays -1
        revision = put_data(hub, lock_path, "facebook/xnli", {"de": {"test": rows}}, features)
        done = hub_run(tmp_path, lock_path, {**HUB_PART, "drop_labels": ["-1"]}, revision)
        assert [row["label"] for row in done.read("de")] == NLI
        assert done.report["de", "test"]["dropped labels"] == 1


def test_class_names_of_another_order_are_not_read_by_number(tmp_path, hub, lock_path):
    other = {"_type": "ClassLabel", "names": NLI[::-1]}
    revision = put_data(hub, lock_path, "facebook/xnli", {"de": {"test": nli_rows(1)}}, {"label": other})
    assert hub_run(tmp_path, lock_path, HUB_PART, revision).read("de")[0]["label"] == "contradiction"


def test_templates_take_a_languages_english_name_and_rows_are_numbered_after_the_filter(tmp_path, hub, lock_path):
    rows = [{**qa_row(key, "a", "a", 0), "key": key} for key in ("english-1", "german-1", "english-2", "german-2")]
    revision = put_data(hub, lock_path, "qa/qa", {"goldp.German": {"test": rows}})
    fields = {name: name for name in ("context", "question", "answers")}
    part = {"id": "qa/qa", "config": "goldp.{language_name}", "splits": {"test": "test"}}
    part |= {"fields": {**fields, "id": "key"}, "filter": {"field": "key", "prefix": "{language_name}-"}}
    done = hub_run(tmp_path, lock_path, part, revision, "span_qa", labels=(), language_names={"de": "German"})
    assert [row["id"] for row in done.read("de")] == ["german-1", "german-2"]
    # without ids of its own, a row has the number that it has in a fetched folder, which lacks the other languages
    pairs = [{**row, "language": code} for row, code in zip(nli_rows(4), ("en", "de", "en", "de"), strict=True)]
    revision = put_data(hub, lock_path, "nli/nli", {"all": {"test": pairs}})
    part = {**HUB_PART, "id": "nli/nli", "config": "all", "filter": {"field": "language", "prefix": "{language}"}}
    part["fields"] = {"text_a": "premise", "text_b": "hypothesis"}
    done = hub_run(tmp_path, lock_path, part, revision)
    assert [(row["id"], row["text_a"]) for row in done.read("de")] == [("test-0", "p1"), ("test-1", "p3")]


def test_the_name_of_a_language_is_the_jobs_not_the_machines(tmp_path, hub, lock_path):
    revision = put_data(hub, lock_path, "facebook/xnli", {"Deutsch": {"test": nli_rows(2)}})
    part = {**HUB_PART, "config": "{language_name}"}
    assert hub_run(tmp_path, lock_path, part, revision, language_names={"de": "Deutsch"}).read("de")
    with pytest.raises(UserError, match="no configuration 'German'; it has Deutsch"):
        hub_run(tmp_path, lock_path, part, revision)


def test_a_part_that_names_its_files_and_no_configuration_is_read(tmp_path, hub, lock_path):
    path = "default/test/0000.parquet"
    configs = {"default": {"test": [path]}}
    revision = pin(hub, lock_path, "dataset", "allenai/cosmos_qa", {path: parquet(nli_rows(2))}, configs=configs)
    part = {**HUB_PART, "id": "allenai/cosmos_qa", "files": {"test": path}}
    del part["config"]
    assert len(hub_run(tmp_path, lock_path, part, revision).read("de")) == 2


@pytest.mark.parametrize("revision", [None, "main"])
def test_unpinned_ids_are_refused_before_the_hub_is_asked(tmp_path, hub, lock_path, revision):
    with pytest.raises(UserError, match=r"facebook/xnli has no pinned revision.*python -m xstilts pin"):
        hub_run(tmp_path, lock_path, HUB_PART, revision)
    assert not hub.log


def test_a_lock_that_moved_on_since_the_job_was_planned_is_said(tmp_path, hub, lock_path):
    revision = put_data(hub, lock_path, "facebook/xnli", {"de": {"test": nli_rows(2)}})
    with pytest.raises(UserError, match=f"needs revision {'b' * 40}, and .*revisions.lock has {revision}.*again"):
        hub_run(tmp_path, lock_path, HUB_PART, "b" * 40)


def test_a_split_or_language_that_is_not_pinned_is_no_empty_set(tmp_path, hub, lock_path):
    revision = put_data(hub, lock_path, "facebook/xnli", {"de": {"train": nli_rows(2)}})
    with pytest.raises(UserError, match=r"'test'.*it has train.*xstilts pin"):
        hub_run(tmp_path, lock_path, HUB_PART, revision)
    with pytest.raises(UserError, match=r"configuration 'sw'; it has de"):
        hub_run(tmp_path, lock_path, HUB_PART, revision, languages=["sw"])


def test_a_broken_file_of_the_repository_is_named_and_nothing_is_written(tmp_path, hub, lock_path):
    revision = put_data(hub, lock_path, "facebook/xnli", {"de": {"test": b"no parquet"}})
    with pytest.raises(UserError, match=r"test-00000-of-00001\.parquet: not a parquet file"):
        hub_run(tmp_path, lock_path, HUB_PART, revision)
    assert not (tmp_path / "out").exists()


def test_generated_examples_are_asked_for_by_cap_and_seed(tmp_path, monkeypatch):
    calls = []

    def generate(generator, language, split, n, seed):
        calls.append((generator, language, split, n, seed))
        return [{"id": f"g{i}", "text_a": "a", "text_b": "b", "label": "neutral"} for i in range(n or 20)]

    monkeypatch.setattr("xstilts.embedded.generate", generate, raising=False)
    part = {
        "generator": "mnli",
        "splits": {"train": "train", "dev": {"from": "train", "hold_out": 0.5}, "test": "test"},
    }
    job = spec("mnli", "pair", part, {"train": 5, "test": 4}, labels=NLI, source="embedded", seed=3)
    done = run(tmp_path, job, data_root=None)
    assert calls == [("mnli", "en", "train", None, 3), ("mnli", "en", "test", 4, 3)]
    assert [row["id"] for row in done.read("en")] == ["g0", "g1", "g2", "g3"]
    assert len(done.read("en", "train")) == 5


def test_the_script_takes_a_spec_and_paths(tmp_path, monkeypatch, capsys):
    put(tmp_path, "xnli", "en", "test", nli_rows(3))
    job = spec("xnli", "pair", NLI_PART, {"test": None}, labels=NLI)
    arguments = [
        "prepare.py",
        "--spec",
        json.dumps(job),
        "--examples",
        str(tmp_path / "e"),
        "--gold",
        str(tmp_path / "g"),
    ]
    monkeypatch.setattr(sys, "argv", [*arguments, "--data-root", str(tmp_path)])
    source = (prepare_module.Path(__file__).parent.parent / "scripts" / "prepare.py").read_text()
    exec(compile(source, "prepare.py", "exec"), {"__name__": "__main__", "__doc__": "d"})
    assert "xnli en test: examples 3" in capsys.readouterr().out
    assert (tmp_path / "g" / "xnli" / "test-en.tsv").is_file()


# ---- real text
@pytest.mark.real
@pytest.mark.parametrize("task", ["xnli", "udpos", "panx", "xquad", "mlqa", "tydiqa", "bucc2018", "tatoeba"])
def test_real_test_sets_prepare_and_score_100_against_themselves(tmp_path, real_root, task):
    entry = pytest.importorskip("xstilts.catalog").load().tasks[task]
    part, identity = entry.sources["local"][0], entry.identity
    language = {"panx": "sw", "mlqa": "zh", "tydiqa": "te", "bucc2018": "zh"}.get(
        task, "th" if task != "udpos" else "ko"
    )
    job = spec(
        task, identity["kind"], part, {"test": 30}, [language], identity.get("labels") or [], identity["options"]
    )
    done = run(tmp_path, job, data_root=real_root)
    path = done.gold / submission.file_name(identity["kind"], language)
    if identity["kind"] == "span_qa":
        answers = {key: texts[0] for key, texts in submission.read_gold_answers(path).items()}
        submission.write_answers(tmp_path / "answers.json", answers)
    predictions = tmp_path / "answers.json" if identity["kind"] == "span_qa" else path
    found = examples_scores.statistics(task, identity["kind"], identity["options"], language, path, predictions)
    assert [metrics.aggregate(rows) for rows in found.values()] == pytest.approx([100] * len(found))
