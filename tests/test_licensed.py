"""CCGbank at a user's path: every form that is read, every fault that is named, and what a study without it says.

All sentences are made up: nothing of the corpus is in this project.
"""

import copy
import json
import os

import pytest
import yaml

from xstilts import catalog as catalogs
from xstilts import files
from xstilts import study as studies
from xstilts.data.prepare import prepare
from xstilts.errors import UserError
from xstilts.identity import ROOT
from xstilts.outputs import Outputs
from xstilts.specs import Specs

PART = catalogs.load().tasks["ccg"].sources["licensed"]
TAGS = ["NP", "S\\NP"]
AUTO = (
    "ID=wsj_{number}.1 PARSER=GOLD NUMPARSE=1\n"
    "(<T S[dcl] 1 2> (<L NP PRP PRP He NP>) (<L S\\NP VBZ VBZ runs S\\NP_1>) ) \n"
)


def read(tmp_path, place, splits=("train",)):
    """Prepared examples by split, made as the workflow makes them: the catalog's own part."""
    job = {
        "task": "ccg",
        "kind": "tagging",
        "labels": [],
        "options": {"scheme": "flat"},
        "languages": ["en"],
        "seed": 1,
    }
    job |= {"splits": dict.fromkeys(splits), "source": "licensed", "parts": PART}
    prepare(job, tmp_path / "out", None, licensed=place)
    return {split: files.read_jsonl(tmp_path / "out" / "ccg" / "en" / f"{split}.jsonl") for split in splits}


def folder(tmp_path, content: dict):
    root = tmp_path / "ccgbank"
    for name, text in content.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


def distribution(tmp_path, under="data/AUTO/", sections=range(25)):
    """A folder as the LDC ships it, a file with one sentence a section."""
    names = {f"{under}{one:02d}/wsj_{one:02d}01.auto": AUTO.format(number=f"{one:02d}01") for one in sections}
    return folder(tmp_path, {**names, "data/PARG/00/wsj_0001.parg": "", "README": ""})


IDS = json.dumps({"NP": "0", "S\\NP": "1"})


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("train.jsonl", '{"words": ["He", "runs"], "supertags": ["NP", "S\\\\NP"]}'),
        ("train.txt", "He|PRP|NP runs|VBZ|S\\NP"),
        ("train.txt", "He|NP runs|S\\NP"),
        ("train.tsv", "He runs\tNP S\\NP"),
        ("ccg.train", "He runs\tNP S\\NP"),
        ("ccg.train", "He runs\t0 1"),
        ("train.jsonl", '{"words": ["He", "runs"], "supertags": [0, 1]}'),
        ("train.auto", AUTO.format(number="0001").rstrip()),
    ],
)
def test_a_sentence_is_read_in_every_form(tmp_path, name, line):
    root = folder(tmp_path, {name: f"{line}\n", "tags_to_id.json": IDS})
    place = root / name if name.endswith(".auto") else root
    (row,) = read(tmp_path, place)["train"]
    assert (row["tokens"], row["tags"]) == (["He", "runs"], TAGS)


def test_train_and_dev_are_two_files(tmp_path):
    root = folder(tmp_path, {"ccg.train": "He\tNP\n", "ccg.dev": "runs\tS\\NP\n", "tags_to_id.json": IDS})
    found = read(tmp_path, root, ("train", "dev"))
    assert [row["tokens"] for row in (*found["train"], *found["dev"])] == [["He"], ["runs"]]
    with pytest.raises(UserError, match=r"one file is read as training sentences and holds no split 'dev'"):
        read(tmp_path, root / "ccg.train", ("train", "dev"))


@pytest.mark.parametrize("under", ["data/AUTO/", "AUTO/", "", "ccgbank_1_1/data/AUTO/"])
def test_the_corpus_as_it_is_shipped_is_read_by_jiants_sections(tmp_path, under):
    found = read(tmp_path, distribution(tmp_path, under), ("train", "dev"))
    assert [row["id"] for row in found["train"]] == [f"wsj_{one:02d}01.1" for one in range(19)]
    assert [row["id"] for row in found["dev"]] == ["wsj_1901.1", "wsj_2001.1", "wsj_2101.1"]
    assert found["dev"][0]["tags"] == TAGS


def test_other_sections_are_named_in_the_catalog(tmp_path, monkeypatch):
    monkeypatch.setitem(PART[0], "splits", {"train": "02-21", "dev": "00"})
    found = read(tmp_path, distribution(tmp_path), ("train", "dev"))
    assert len(found["train"]) == 20 and [row["id"] for row in found["dev"]] == ["wsj_0001.1"]


TREE = AUTO.format(number="0001")
FAULTS = [
    ("train.tsv", "He runs\tNP\n", r"train.tsv:1: 2 words and 1 supertags"),
    ("train.tsv", "He\tNP\nHe\tNP\tNP\n", r"train.tsv:2: 3 columns; allowed: words, one TAB, supertags"),
    ("train.txt", "He|NP runs\n", r"train.txt:1: token 'runs' is not word.supertag or"),
    ("train.txt", "", r"train.txt: holds no sentences"),
    ("train.jsonl", "", r"train.jsonl: holds no examples"),
    (
        "train.jsonl",
        '{"tokens": ["He"], "supertags": ["NP"]}\n',
        r"train.jsonl:1: 'words' must be a list; its fields: tok",
    ),
    ("train.jsonl", '["He"]\n', r"train.jsonl:1: 'words' must be a list; it is \"\['He'\]\""),
    ("train.jsonl", '{"words": [], "supertags": []}\n', r"train.jsonl:1: 0 words and 0 supertags"),
    (
        "train.jsonl",
        '{"words": ["a", "b"], "supertags": ["NP", 1]}\n',
        r"supertag 'NP': allowed are names alone, or numb",
    ),
    ("ccg.train", "He\t7\n", r"ccg.train:1: supertag id 7 is not in .*tags_to_id.json, which has 2 ids, 0 to 1"),
    ("02/w.auto", TREE.replace("ID=", "id "), r"w.auto:1: 'id wsj.*a line `ID=<sentence> ...` must stand before each"),
    ("02/w.auto", TREE.split("\n")[0], r"w.auto:2: this line is no whole tree: 0 brackets are open, it has 0 words"),
    ("02/w.auto", TREE[:-4], r"w.auto:2: this line is no whole tree: 1 brackets are open, it has 2 words"),
    (
        "02/w.auto",
        TREE.replace("PRP PRP", "PRP"),
        r"w.auto:2: column 16: ' \(<L NP PRP He NP>\).* is no part of a deriv",
    ),
    ("02/w.auto", TREE.replace(") \n", ") )\n"), r"w.auto:2: column \d+: ' \)' is no part of a derivation"),
]


@pytest.mark.parametrize(("name", "text", "message"), FAULTS)
def test_a_fault_is_named_by_file_and_line(tmp_path, name, text, message):
    root = folder(tmp_path, {name: text, "tags_to_id.json": IDS})
    with pytest.raises(UserError, match=message):
        read(tmp_path, root / name if name.endswith(".auto") else root)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (None, r"ccg.train:1: supertags are numbers, and no tags_to_id.json"),
        ("[]", r"tags_to_id.json: must be an object, supertag -> number"),
        ('{"NP": "x"}', r"tags_to_id.json: 'NP': 'x' is no number"),
        ('{"NP": 0, "N": 0}', r"tags_to_id.json: id 0 has two names, 'NP' and 'N'"),
        ("{", r"tags_to_id.json: not JSON"),
    ],
)
def test_a_broken_table_of_ids_is_refused(tmp_path, table, message):
    root = folder(tmp_path, {"ccg.train": "He\t0\n"} | ({"tags_to_id.json": table} if table else {}))
    with pytest.raises(UserError, match=message):
        read(tmp_path, root)


def test_text_of_another_encoding_is_named(tmp_path):
    root = folder(tmp_path, {"train.txt": ""})
    (root / "train.txt").write_bytes("é|NP\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"train.txt: not UTF-8"):
        read(tmp_path, root)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"training.txt": "", "sub/x": ""},
            r"has no 'train': none of train.jsonl, .*it has: sub/, training.txt. Allowed",
        ),
        ({"train.txt": "He|NP", "train.tsv": "He\tNP"}, r"train.txt and train.tsv are both 'train': keep one"),
        ({"data/AUTO/02/wsj_0201.auto": TREE}, r"data/AUTO/00: no .auto file; 'train' is made of sections 00-18"),
    ],
)
def test_a_folder_with_other_names_lists_what_it_has(tmp_path, content, message):
    with pytest.raises(UserError, match=message):
        read(tmp_path, folder(tmp_path, content))


# ---- a study
def config(name="config.yaml", **changes):
    value = copy.deepcopy(yaml.safe_load((ROOT / name).read_text(encoding="utf-8")))
    grid = [{"models": ["tiny"], "intermediates": ["none", "ccg", "mix"], "targets": ["xnli"], "seeds": [1]}]
    mixtures = {"mix": {"tasks": ["mnli", "ccg"], "sampling": "uniform", "steps": 2}}
    return {**value, "grid": grid, "mixtures": mixtures, "attacks": [], **changes}


def load(**changes):
    return studies.load(config(**changes), "own.yaml")


def test_without_a_path_the_cell_is_dropped_and_said():
    study = load(sources=["licensed", "hub"])
    assert study.intermediates == ["none", "mix-no-ccg"]
    (left_out,) = [notice for notice in study.notices if notice.startswith("ccg is left out: catalog/tasks/ccg.yaml")]
    assert "CCGbank needs an LDC licence: give its folder as `licensed: {ccgbank: /path}`" in left_out
    assert "mixture mix is trained without ccg and named mix-no-ccg." in study.notices
    assert set(study.notices) <= set(Specs(study).report()["notices"]), "the report shows them"


def test_an_empty_folder_is_refused_at_planning_with_the_studys_file_and_key(tmp_path):
    with pytest.raises(
        UserError, match=r"^own.yaml: licensed.ccgbank: .*: has no 'train': .* it has: nothing. Allowed: a"
    ):
        load(sources=["licensed", "hub"], licensed={"ccgbank": str(tmp_path)})


def test_one_file_serves_where_the_catalog_holds_dev_out_of_it(tmp_path, monkeypatch):
    path = folder(tmp_path, {"all.tsv": "He runs\tNP S\\NP\n" * 40}) / "all.tsv"
    given = {"sources": ["licensed", "hub"], "licensed": {"ccgbank": str(path)}}
    with pytest.raises(
        UserError, match=r"holds no split 'dev'. Allowed: .*; one file .* `dev: \{from: train, hold_out: 0.1"
    ):
        load(**given)
    monkeypatch.setitem(PART[0], "splits", {"train": "train", "dev": {"from": "train", "hold_out": 0.1}})
    found = read(tmp_path, path, ("train", "dev"))
    assert len(found["train"]) + len(found["dev"]) == 40 and found["dev"]


@pytest.mark.parametrize(
    ("sources", "step"),
    [
        (["embedded"], "Next: put `licensed` before `embedded` in `sources`, or leave ccg out."),
        (["embedded", "licensed"], "Next: put `licensed` before `embedded` in `sources`, or leave ccg out."),
        (["licensed", "hub", "embedded"], "Next: give its path, or leave ccg out."),
    ],
)
def test_a_stand_in_for_licensed_data_is_never_silent(sources, step):
    study = load(sources=sources)
    (notice,) = [notice for notice in study.notices if "stand-in" in notice]
    assert notice.endswith(step)
    assert notice.startswith("ccg is a generated stand-in and not CCGbank") and "licensed: {ccgbank:" in notice
    assert notice in Specs(study).report()["notices"]
    assert not [other for other in study.notices if "generated data stands in" in other]


def test_every_task_that_falls_back_to_generated_data_is_named(tmp_path):
    (tmp_path / "xnli").mkdir()
    study = load(sources=["local", "embedded"], data_root=str(tmp_path), languages=["en"])
    (notice,) = [notice for notice in study.notices if "generated data stands in" in notice]
    assert notice.startswith("generated data stands in for mnli, for which no source of local can be used")
    assert str(tmp_path) not in notice, "a notice is part of specs, which hold no path"
    plain = load(sources=["embedded"], grid=[{**config()["grid"][0], "intermediates": ["none"]}], mixtures={})
    assert not plain.notices


def test_jobs_depend_on_the_files_that_they_read_and_on_no_others(tmp_path):
    root = distribution(tmp_path)
    study = load(sources=["licensed", "embedded"], licensed={"ccgbank": str(root)})
    assert study.intermediates == ["none", "ccg", "mix"]
    inputs = Outputs(study).local_files(Specs(study).prepare_train("ccg"))
    assert len(inputs) == 22 and all(name.endswith(".auto") for name in inputs)
    jiants = folder(tmp_path / "jiant", {"ccg.train": "", "ccg.dev": "", "tags_to_id.json": IDS, "ccg.test": ""})
    study = load(sources=["licensed", "embedded"], licensed={"ccgbank": str(jiants)})
    names = [os.path.basename(name) for name in Outputs(study).local_files(Specs(study).prepare_train("ccg"))]
    assert names == ["ccg.dev", "ccg.train", "tags_to_id.json"]


def test_a_path_in_the_home_folder_is_found_and_a_wrong_one_refused_at_planning(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    distribution(tmp_path)
    assert "ccg" in load(sources=["licensed", "hub"], licensed={"ccgbank": "~/ccgbank"}).intermediates
    with pytest.raises(
        UserError,
        match=r"own.yaml: licensed.ccgbank: '/no/such' is not allowed. Allowed: a folder with train.* and dev",
    ):
        load(sources=["licensed", "hub"], licensed={"ccgbank": "/no/such"})
    with pytest.raises(
        UserError, match=r"own.yaml: licensed.ccgbank: .*data/PARG/00: no .auto file; 'train' is made of"
    ):
        load(sources=["licensed", "hub"], licensed={"ccgbank": "~/ccgbank/data/PARG"})
