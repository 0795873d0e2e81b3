"""A fetched folder: equal bytes with and without the network, nothing read that is not as listed."""

import copy
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from published import LABELS, parquet, put_copy, put_data
from test_workflow import copy_project

from xstilts import study as studies
from xstilts.data.prepare import prepare
from xstilts.errors import UserError
from xstilts.hub import mirror as mirrors
from xstilts.hub import parquet as reader
from xstilts.hub.mirror import Mirror
from xstilts.identity import ROOT
from xstilts.outputs import Outputs
from xstilts.specs import Specs, text

NLI = LABELS["names"]
ID = "facebook/xnli"
PART = {
    "id": ID,
    "config": "all",
    "splits": {"test": "validation"},
    "fields": {"text_a": "premise", "text_b": "hypothesis"},
    "drop_labels": ["-1"],
    "filter": {"field": "key", "prefix": "{language_name}-"},
}
ROWS = [
    {
        "key": f"{name}-{number}",
        "premise": f"p {number} ü\u2028",
        "hypothesis": f"h\n{number}",
        "label": number // 2 % 4 - 1,
    }
    for number, name in enumerate(["english", "german"] * 9)
]


def job(revision, **more):
    spec = {"task": "xnli", "kind": "pair", "labels": NLI, "options": {}, "languages": ["de"], "splits": {"test": None}}
    spec |= {"source": "hub", "parts": [{**PART, "revision": revision}], "seed": 1}
    return {**spec, "language_names": {"de": "German"}, **more}


def run(tmp_path, spec, name, data_root):
    prepare(spec, tmp_path / name / "examples", tmp_path / name / "gold", data_root, tmp_path / "revisions.lock")
    return {
        path.relative_to(tmp_path / name): path.read_bytes()
        for path in sorted((tmp_path / name).rglob("*"))
        if path.is_file()
    }


def put_rows(root, revision, path="xnli/de/validation.jsonl", config="all"):
    """The rows as `fetch` writes them: read from the parquet file, the language's own only."""
    file = root.parent / "rows.parquet"
    file.write_bytes(parquet(ROWS, {"label": LABELS}))
    rows = [row for row in reader.rows([file]) if row["key"].startswith("german-")]
    origin = {"id": ID, "config": config, "split": "validation", "language": "de", "revision": revision}
    return put_copy(root, path, rows, "data", **origin)


def models(root, revision, folder, content, name="org/model"):
    for file, data in content.items():
        put_copy(root, f"models/{folder}/{file}", data, "model", id=name, revision=revision, file=file)


# ---- data
def test_prepared_examples_are_equal_from_the_hub_and_from_a_fetched_folder(tmp_path, hub):
    revision = put_data(hub, tmp_path / "revisions.lock", ID, {"all": {"validation": ROWS}}, {"label": LABELS})
    from_hub = run(tmp_path, job(revision), "hub", None)
    assert len(from_hub) == 2 and all(from_hub.values())
    put_rows(tmp_path / "copy", revision)
    asked = len(hub.log)
    assert run(tmp_path, job(revision), "mirror", tmp_path / "copy") == from_hub
    assert len(hub.log) == asked, "nothing is asked of the hub where the folder has the file"


def test_what_the_folder_lacks_comes_from_the_hub_and_the_folder_is_named_where_that_fails(tmp_path, hub):
    revision = put_data(hub, tmp_path / "revisions.lock", ID, {"all": {"validation": ROWS}}, {"label": LABELS})
    put_rows(tmp_path / "copy", revision, config="other")
    assert run(tmp_path, job(revision), "mixed", tmp_path / "copy")
    with pytest.raises(UserError, match=r"configuration.*manifest\.json does not list de validation of facebook/xnli"):
        run(tmp_path, job(revision, parts=[{**PART, "config": "none", "revision": revision}]), "x", tmp_path / "copy")


def test_a_flipped_byte_stops_the_job_with_the_files_name(tmp_path, hub):
    file = put_rows(tmp_path / "copy", "a" * 40)
    data = bytearray(file.read_bytes())
    data[70] ^= 1
    file.write_bytes(data)
    with pytest.raises(UserError, match=r"xnli/de/validation\.jsonl: damaged: sha256 is .* says .*xstilts fetch"):
        run(tmp_path, job("a" * 40), "x", tmp_path / "copy")
    assert not (tmp_path / "x").exists() and not hub.log
    assert Mirror.read(tmp_path / "copy").damaged().keys() == {"xnli/de/validation.jsonl"}


def test_a_folder_of_another_revision_is_refused_with_what_to_do(tmp_path, hub):
    put_rows(tmp_path / "copy", "a" * 40)
    with pytest.raises(UserError, match=f"{ID} at revision {'a' * 40}; this job needs {'b' * 40}.*xstilts fetch.*lock"):
        run(tmp_path, job("b" * 40), "x", tmp_path / "copy")
    assert not hub.log
    put_rows(tmp_path / "copy", "b" * 40, "newer/de/validation.jsonl")
    assert run(tmp_path, job("b" * 40), "y", tmp_path / "copy"), "the copy at the right revision is taken"


@pytest.mark.parametrize(
    ("change", "words"),
    [(lambda file: file.unlink(), "missing"), (lambda file: file.write_bytes(file.read_bytes()[:-9]), "bytes")],
)
def test_missing_and_cut_files_are_listed_and_refused(tmp_path, change, words):
    put_rows(tmp_path / "copy", "a" * 40)
    change(put_rows(tmp_path / "copy", "a" * 40, "xnli/sw/validation.jsonl"))
    found = Mirror.read(tmp_path / "copy")
    assert [*found.damaged()] == ["xnli/sw/validation.jsonl"] and words in found.damaged()["xnli/sw/validation.jsonl"]
    with pytest.raises(UserError, match=f"sw/validation.jsonl: .*{words}"):
        found.path("xnli/sw/validation.jsonl")


# ---- the manifest
def test_a_folder_without_manifest_is_no_mirror(tmp_path):
    assert Mirror.read(None) is None and Mirror.read("") is None and Mirror.read(tmp_path) is None


GOOD = {"kind": "data", "bytes": 1, "sha256": "0", "origin": {}}


@pytest.mark.parametrize(
    ("text_", "words"),
    [
        ("{", "not JSON"),
        ("[]", "not a manifest"),
        ('{"format": 2, "files": {}}', "format is 2"),
        (json.dumps({"format": 1, "files": {"../x": GOOD}}), "inside the folder"),
        (json.dumps({"format": 1, "files": {"/etc/x": GOOD}}), "inside the folder"),
        (json.dumps({"format": 1, "files": {"x": {**GOOD, "kind": "text"}}}), "kind must be one of data, model"),
        (json.dumps({"format": 1, "files": {"x": {**GOOD, "bytes": "1"}}}), "bytes"),
        (json.dumps({"format": 1, "files": {"x": {**GOOD, "origin": None}}}), "origin"),
        (json.dumps({"format": 1, "files": {"x": {**GOOD, "kind": "model"}}}), "origin needs file"),
    ],
)
def test_a_broken_manifest_is_one_clear_error(tmp_path, text_, words):
    (tmp_path / "manifest.json").write_text(text_)
    with pytest.raises(UserError, match=words) as caught:
        Mirror.read(tmp_path)
    assert str(tmp_path / "manifest.json") in str(caught.value)


def test_a_lost_or_broken_manifest_is_never_taken_for_no_fetch_and_its_copy_is_the_way_out(tmp_path):
    put_rows(tmp_path, "a" * 40)
    manifest, way = tmp_path / "manifest.json", rf"Next: cp {tmp_path}/manifest\.json\.bak {tmp_path}/manifest\.json &&"
    whole = manifest.read_bytes()
    manifest.write_text("{")
    with pytest.raises(UserError, match=rf"not JSON.*{way}"):
        Mirror.read(tmp_path)
    manifest.unlink()
    with pytest.raises(UserError, match=rf"no such file.*{way}"):
        plan(tmp_path, ["xnli"])
    shutil.copy(tmp_path / "manifest.json.bak", manifest)
    assert manifest.read_bytes() == whole and Mirror.read(tmp_path).damaged() == {}


def test_equal_rows_give_an_equal_manifest(tmp_path):
    rows = {"b": GOOD, "a": dict(reversed(GOOD.items()))}
    for name, table in (("one", rows), ("two", dict(sorted(rows.items())))):
        (tmp_path / name).mkdir()
        mirrors.write(tmp_path / name, table)
    assert (tmp_path / "one/manifest.json").read_bytes() == (tmp_path / "two/manifest.json").read_bytes()


# ---- models and wheels
def test_a_model_is_the_folder_that_holds_all_its_files(tmp_path):
    whole = {"config.json": b"{}", "model.safetensors": b"w", "tokenizer.json": b"t"}
    models(tmp_path, "a" * 40, "small", {"tokenizer.json": b"t"})  # another model uses this one's tokenizer
    assert Mirror.read(tmp_path).model("org/model", "a" * 40, whole) is None
    assert Mirror.read(tmp_path).model("org/model", "a" * 40, ["tokenizer.json"]) == tmp_path / "models/small"
    models(tmp_path, "a" * 40, "whole", whole)
    assert Mirror.read(tmp_path).model("org/model", "a" * 40) == tmp_path / "models/whole"
    assert Mirror.read(tmp_path).model("org/other", "a" * 40) is None
    with pytest.raises(UserError, match=f"org/model at revision {'a' * 40}; this job needs {'b' * 40}"):
        Mirror.read(tmp_path).model("org/model", "b" * 40)
    (tmp_path / "models/whole/model.safetensors").write_bytes(b"v")
    with pytest.raises(UserError, match=r"models/whole/model\.safetensors: damaged"):
        Mirror.read(tmp_path).model("org/model", "a" * 40)


def test_a_wheel_is_found_by_package_and_version(tmp_path):
    put_copy(tmp_path, "wheels/p-1.0-py3-none-any.whl", b"wheel", "wheel", package="p", version="1.0")
    found = Mirror.read(tmp_path)
    assert found.wheel("p", "1.0") == tmp_path / "wheels/p-1.0-py3-none-any.whl"
    assert found.wheel("p", "2.0") is None
    assert found.damaged() == {} and found.folders == set()


# ---- planning
def plan(root, targets=("xnli", "xquad"), sources=("local", "hub"), project=ROOT, **changes):
    grid = [{"models": ["tiny"], "intermediates": ["none"], "targets": list(targets), "seeds": [1]}]
    config = copy.deepcopy(yaml.safe_load((ROOT / "config.yaml").read_text()))
    config |= {"sources": list(sources), "data_root": root and str(root), "grid": grid, "attacks": [], **changes}
    return studies.load(config, "config.yaml", project)


def test_a_study_has_the_same_jobs_with_and_without_its_fetched_folder(tmp_path):
    put_rows(tmp_path, None)
    without, given = (Specs(plan(root, languages=["en", "de"])) for root in (None, tmp_path))
    assert text(given.prepare_test("xnli")) == text(without.prepare_test("xnli"))
    assert text(given.target("tiny", "none", 1, "mnli")) == text(without.target("tiny", "none", 1, "mnli"))
    assert "folder" not in text(given.prepare_test("xnli"))
    assert Outputs(given.study).local_files(given.prepare_test("xnli")) == []


def test_a_users_own_folder_beside_fetched_ones_is_still_local_data(tmp_path):
    put_rows(tmp_path, None)
    for code in ("en", "de"):
        (tmp_path / "xquad" / code).mkdir(parents=True)
        (tmp_path / "xquad" / code / "test.jsonl").write_text("{}\n")
    study = plan(tmp_path, languages=["en", "de"])
    assert [study.source(task)[0] for task in ("xnli", "xquad", "mnli")] == ["hub", "local", "hub"]
    with pytest.raises(UserError, match=r"source local of xquad\): 'ru' is not allowed"):
        plan(tmp_path, languages=["en", "de", "ru"])


@pytest.mark.parametrize(
    ("sources", "fetched", "others"),
    [
        (["local", "hub"], "hub", "hub"),
        (["hub", "local"], "hub", "hub"),
        (["local", "hub", "embedded"], "hub", "hub"),
        (["local", "embedded", "hub"], "hub", "embedded"),  # a copy comes where the user's own data would
        (["embedded", "local", "hub"], "embedded", "embedded"),
        (["local", "embedded"], "local", "embedded"),
    ],
)
def test_a_fetched_folder_is_the_hub_in_the_place_of_local_in_any_order_of_sources(tmp_path, sources, fetched, others):
    for code in ("en", "de"):
        put_rows(tmp_path, None, f"xnli/{code}/test.jsonl")
    study = plan(tmp_path, ["xnli"], sources, languages=["en", "de"])
    assert {task: study.source(task)[0] for task in ("xnli", "mnli")} == {"xnli": fetched, "mnli": others}
    parts = study.catalog.tasks["xnli"].sources[fetched]
    assert study.source("xnli")[1] == parts


def test_a_task_of_several_folders_is_the_hubs_where_one_is_a_copy(tmp_path):
    for folder in ("anli", "mnli", "snli"):
        put_rows(tmp_path, None, f"{folder}/en/train.jsonl")
    assert plan(tmp_path, ["xnli"], ["local", "embedded", "hub"]).source("anli")[0] == "hub"
    (tmp_path / "snli").rename(tmp_path / "elsewhere")
    study = plan(tmp_path, ["xnli"], ["local", "embedded", "hub"])
    assert study.source("anli")[0] == "embedded", "a part of it is not there"


def test_a_task_without_a_hub_source_reads_a_folder_that_is_a_copy_for_another_task(tmp_path):
    put_rows(tmp_path / "data", None, "xnli/de/test.jsonl")
    project = copy_project(tmp_path / "project")
    entry = yaml.safe_load((project / "catalog/tasks/xnli.yaml").read_text())
    entry["sources"] = {"local": entry["sources"]["local"]}
    (project / "catalog/tasks/ours.yaml").write_text(yaml.safe_dump(entry))
    study = plan(tmp_path / "data", ["ours", "xnli"], languages=["de"], project=project)
    assert [study.source(task)[0] for task in ("ours", "xnli")] == ["local", "hub"]


def test_without_the_hub_among_the_sources_a_fetched_folder_is_local_data(tmp_path):
    put_rows(tmp_path, None, "xnli/de/test.jsonl")
    (tmp_path / "mnli").mkdir()
    with pytest.raises(UserError, match=r"source local of xnli\): 'en' is not allowed"):
        plan(tmp_path, ["xnli"], ["local"], languages=["en", "de"])
    assert plan(tmp_path, ["xnli"], ["local"], languages=["de"]).source("xnli")[0] == "local"


def test_fetched_gold_pairs_do_not_lift_the_refusal_to_mine_and_fetched_pools_do(tmp_path):
    put_rows(tmp_path, None, "bucc2018_gold_pairs/de/test.jsonl")
    study = plan(tmp_path, ["bucc2018"], languages="all")
    assert "gold pairs" in study.refused()[0]
    for code in ("de", "fr", "ru", "zh"):
        for side in ("source", "target", "gold"):
            for split in ("sample", "training"):
                put_copy(tmp_path, f"bucc2018_shared_task/{code}/{split}_{side}.jsonl", [{}], "pool", url="u")
    study = plan(tmp_path, ["bucc2018"], languages="all")
    assert not study.refused() and study.source("bucc2018")[0] == "local"
    assert len(Outputs(study).local_files(Specs(study).prepare_test("bucc2018"))) == 24


def test_a_broken_manifest_is_said_when_the_study_is_planned(tmp_path):
    (tmp_path / "xnli").mkdir()
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(UserError, match=r"manifest\.json: not JSON"):
        plan(tmp_path, ["xnli"])


# ---- without network
def script(tmp_path, spec, name, **environment):
    """scripts/prepare.py as a job runs it."""
    command = [sys.executable, "scripts/prepare.py", "--spec", json.dumps(spec), "--examples", str(tmp_path / name)]
    command += ["--gold", str(tmp_path / f"{name}-gold"), "--revisions", str(tmp_path / "revisions.lock")]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "XSTILTS_DATA_ROOT": "", **environment}
    )


def test_offline_a_job_reads_a_filled_cache_and_without_one_says_what_to_do(tmp_path, hub):
    revision = put_data(hub, tmp_path / "revisions.lock", ID, {"all": {"validation": ROWS}}, {"label": LABELS})
    assert script(tmp_path, job(revision), "online").returncode == 0
    asked = len(hub.log)
    done = script(tmp_path, job(revision), "offline", HF_HUB_OFFLINE="1")
    assert done.returncode == 0, done.stderr
    files = [Path(tmp_path, name, "xnli/de/test.jsonl").read_bytes() for name in ("online", "offline")]
    assert files[0] == files[1]
    empty = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "empty"), "HF_HUB_CACHE": str(tmp_path / "empty/hub")}
    failed = script(tmp_path, job(revision), "empty", **empty)
    assert failed.returncode == 1 and "Traceback" not in failed.stderr
    for word in (ID, "HF_HUB_OFFLINE", "xstilts fetch"):
        assert word in failed.stderr, failed.stderr
    assert len(hub.log) == asked and not (tmp_path / "empty" / "xnli").exists()


def test_offline_a_fetched_folder_is_all_that_a_job_needs(tmp_path, hub):
    put_rows(tmp_path / "copy", "a" * 40)
    away = {"HF_HUB_OFFLINE": "1", "XSTILTS_DATA_ROOT": str(tmp_path / "copy")}
    done = script(tmp_path, job("a" * 40), "copied", **away)
    assert done.returncode == 0, done.stderr
    assert "xnli de test: dropped labels" in done.stdout and (tmp_path / "copied/xnli/de/test.jsonl").is_file()
