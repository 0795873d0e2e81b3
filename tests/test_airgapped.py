"""A study on hub data from its first pin to the report, the last step in a process without any network."""

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile

import pandas
import pytest
import yaml
from fake_hub import FakeHub
from hub_repositories import build, tiny_model
from test_workflow import copy_project

from xstilts.data.prepare import prepare
from xstilts.specs import Specs
from xstilts.study import load

MODEL = "testing/tiny-xlm-r"
STUDY = {
    "study": "hubtiny",
    "sources": ["local", "hub"],
    "languages": ["en", "de"],
    "data": {"train": 40, "dev": 10, "test": 8, "seed": 1},
    "mixtures": {"mix2": {"tasks": ["mnli", "squad"], "sampling": "uniform", "steps": 4}},
    "grid": [{"models": ["tiny-hub"], "intermediates": ["none", "mix2"], "targets": "all", "seeds": [1]}],
    "training": {
        "preset": "demo",
        "precision": "fp32",
        "trainable": "all",
        "overrides": {name: {"max_steps": 3} for name in ("mnli", "pawsx", "udpos", "panx", "squad", "tydiqa")},
    },
    "attacks": [{"attacks": ["charswap"], "intermediates": ["none"], "examples": 2}],
    "bootstrap": {"samples": 100, "seed": 0},
}


def run(root, environment, *command, check=True):
    result = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=root,
        env={**environment, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not check or result.returncode == 0, result.stdout[-3000:] + result.stderr[-6000:]
    return result


def archive(split):
    """BUCC 2018's German archive of one split: ten sentences a side, the first six of which are pairs."""
    file = io.BytesIO()
    lines = {
        "de": [f"de-{number}\tSatz Nummer {number} von vielen." for number in range(10)],
        "en": [f"en-{number}\tSentence number {number} of many." for number in range(10)],
        "gold": [f"de-{number}\ten-{number}" for number in range(6)],
    }
    with tarfile.open(fileobj=file, mode="w:bz2") as tar:
        for name, rows in lines.items():
            data = ("\n".join(rows) + "\n").encode()
            member = tarfile.TarInfo(f"./bucc2018/de-en/de-en.{split}.{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return file.getvalue()


def project(folder, hub):
    """A copy of the project with a study of hub data, a model of the fake hub, and BUCC's archives there too."""
    root = copy_project(folder)
    entry = yaml.safe_load((root / "catalog/models/tiny.yaml").read_text())
    entry["identity"]["source"] = {"type": "hub", "id": MODEL}
    (root / "catalog/models/tiny-hub.yaml").write_text(yaml.safe_dump(entry))
    bucc = root / "catalog/tasks/bucc2018.yaml"
    bucc.write_text(bucc.read_text().replace("https://comparable.limsi.fr", hub.url))
    (root / "hubtiny.yaml").write_text(yaml.safe_dump(STUDY))
    return root


@pytest.fixture(scope="module")
def fetched(tmp_path_factory):
    """(project, folder): pinned and fetched from a hub that is gone afterwards; what was said on the way."""
    base, said = tmp_path_factory.mktemp("airgapped"), {}
    with FakeHub() as hub:
        build(hub, rows=40, languages=["en", "de"])
        tiny_model(hub, MODEL)
        for split in ("sample", "training"):
            hub.place(f"bucc2018/bucc2018-de-en.{split}-gold.tar.bz2", archive(split))
        root = project(base / "project", hub)
        here = {**os.environ, **hub.environment(base / "home")}
        said["unpinned"] = run(root, here, "xstilts", "check", "hubtiny.yaml").stdout
        run(root, here, "xstilts", "pin", "hubtiny.yaml")
        said["pinned"] = run(root, here, "xstilts", "check", "hubtiny.yaml").stdout
        said["fetch"] = run(root, here, "xstilts", "fetch", "hubtiny.yaml", "--to", str(base / "brought")).stdout
        shutil.copytree(root, base / "online")
        pools = base / "pools"
        shutil.copytree(base / "brought" / "bucc2018_shared_task", pools / "bucc2018_shared_task")
        online = ["--configfile", "hubtiny.yaml", "--config", f"data_root={pools}", "--cores", "2"]
        run(base / "online", here, "snakemake", *online, "prepare_all")
    return base, said


@pytest.fixture(scope="module")
def finished(fetched):
    """The study, run to its report by a process that has no network; the machine's own caches are empty."""
    base, _ = fetched
    if subprocess.run(["unshare", "-rn", "true"], check=False).returncode:
        refused = "`unshare -rn` is not permitted here: no process without network can be started"
        if os.environ.get("XSTILTS_NEED_UNSHARE") == "1":
            pytest.fail(f"{refused}, and XSTILTS_NEED_UNSHARE=1 asks for one")
        pytest.skip(refused)
    root, empty = base / "project", {"HF_HOME": str(base / "empty"), "XSTILTS_CACHE": str(base / "empty")}
    environment = {**os.environ, **empty, "PYTHONPATH": str(root)}
    for name in ("HF_ENDPOINT", "HF_TOKEN", "SNAKEMAKE_OUTPUT_CACHE"):
        environment.pop(name, None)
    study = ["--configfile", "hubtiny.yaml", "--config", f"data_root={base / 'brought'}", "--cores", "2"]
    command = ["unshare", "-rn", sys.executable, "-m", "snakemake", *study]
    result = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    logs = "".join(path.read_text() for path in (root / "logs").rglob("*.log") if "rror" in path.read_text())
    assert result.returncode == 0, result.stderr[-4000:] + logs[-4000:]
    return base


def test_check_says_what_to_do_next_at_each_step(fetched):
    _, said = fetched
    assert "xstilts pin hubtiny.yaml" in said["unpinned"] and "not pinned" in said["unpinned"]
    assert "xstilts pin" not in said["pinned"] and "xstilts fetch hubtiny.yaml --to" in said["pinned"]
    assert "data_root" in said["fetch"]


def test_the_study_reaches_its_report_without_network(finished):
    results = finished / "project" / "results" / "hubtiny"
    assert "hubtiny" in (results / "report.html").read_text()
    scores = pandas.read_csv(results / "scores.csv")
    assert set(scores[scores.language == "de"].target) == {
        *("xnli", "pawsx", "udpos", "panx", "xquad", "mlqa", "bucc2018", "tatoeba")
    }  # TyDiQA has no German
    assert set(scores[scores.language == "en"].target) == {*set(scores[scores.language == "de"].target), "tydiqa"} - {
        *("bucc2018", "tatoeba")
    }
    lock = yaml.safe_load((finished / "project/catalog/revisions.lock").read_text())
    assert set(scores.model_revision) == {lock[MODEL]["revision"]}


def test_a_fetched_folder_and_the_hub_give_the_same_bytes_under_the_same_hashes(finished):
    online, here = finished / "online", finished / "project"
    there = {path.relative_to(online / "results"): path for path in (online / "results").rglob("*.jsonl")}
    assert len(there) > 20
    for name, path in there.items():
        assert path.read_bytes() == (here / "results" / name).read_bytes(), name
    model = "hubtiny/models/tiny-hub/model.safetensors"
    assert (online / "results" / model).read_bytes() == (here / "results" / model).read_bytes()
    stored = {path.name for path in (online / "data").iterdir()}
    assert stored and stored <= {path.name for path in (here / "data").iterdir()}


def test_the_manifest_says_where_each_file_is_from(finished):
    files = json.loads((finished / "brought" / "manifest.json").read_text())["files"]
    lock = yaml.safe_load((finished / "project/catalog/revisions.lock").read_text())
    row = files["xnli/de/test.jsonl"]
    assert row["rows"] == 40 and row["origin"]["revision"] == lock["facebook/xnli"]["revision"]
    assert "CC BY-NC" in row["licence"] and "Conneau" in row["citation"]
    lines = (finished / "brought/xnli/de/test.jsonl").read_text().splitlines()
    assert len(lines) == 40 and json.loads(lines[0])["label"] in ("entailment", "neutral", "contradiction")
    on_disk = {path.relative_to(finished / "brought").as_posix() for path in (finished / "brought").rglob("*")}
    assert {name for name in on_disk if (finished / "brought" / name).is_file()} - set(files) <= {
        "manifest.json",
        "manifest.json.bak",
        ".fetch.lock",
    }


def test_the_folder_can_also_be_read_as_local_data(finished, tmp_path, monkeypatch):
    """Without the hub among its sources, a study reads the same rows from the folder's plain layout."""
    root, brought = finished / "project", finished / "brought"
    monkeypatch.chdir(root)
    study = load({**STUDY, "sources": ["local"], "data_root": str(brought)}, "hubtiny.yaml", root)
    assert {study.source(task)[0] for task in study.data_tasks()} == {"local"}
    specs, examples = Specs(study), tmp_path / "examples"
    for spec in map(specs.prepare_test, study.targets):
        prepare({**spec, "splits": dict.fromkeys(spec["splits"])}, examples, None, brought)
    whole = study.config["data"]["test"]
    for path in examples.rglob("test.jsonl"):
        here = root / "results/hubtiny/examples" / path.relative_to(examples)
        mine, theirs = (
            [{key: row[key] for key in row if key not in ("id", "match")} for row in map(json.loads, file.open())]
            for file in (path, here)
        )
        assert len(theirs) >= whole and all(row in mine for row in theirs), path


def test_a_flipped_byte_stops_the_job_and_is_named(fetched, tmp_path):
    base, _ = fetched
    root, brought, path = base / "project", base / "damaged", "xnli/de/test.jsonl"
    shutil.copytree(base / "brought", brought)
    data = bytearray((brought / path).read_bytes())
    data[100] ^= 1
    (brought / path).write_bytes(data)
    command = ("xstilts", "fetch", "hubtiny.yaml", "--to", str(brought), "--verify")
    verified = run(root, dict(os.environ), *command, check=False)
    assert verified.returncode == 1 and path in verified.stderr and "sha256" in verified.stderr

    for folder, status in (("brought", 0), ("damaged", 1)):
        job = prepare_xnli(root, base / folder, tmp_path / folder, base / "empty")
        assert job.returncode == status, job.stderr
        written = (tmp_path / folder / "examples/xnli/de/test.jsonl").is_file()
        assert written is (status == 0)
    assert "Traceback" not in job.stderr
    assert f"{brought / path}: damaged: sha256 is" in job.stderr and "python -m xstilts fetch" in job.stderr


def prepare_xnli(root, brought, out, empty):
    """The job that prepares XNLI's test data, as the workflow starts it; the hub is gone and no cache is filled."""
    spec = Specs(load({**STUDY, "data_root": str(brought)}, "hubtiny.yaml", root)).prepare_test("xnli")
    command = [sys.executable, "scripts/prepare.py", "--spec", json.dumps(spec)]
    command += ["--examples", str(out / "examples"), "--gold", str(out / "gold")]
    environment = {**os.environ, "PYTHONPATH": str(root), "XSTILTS_DATA_ROOT": str(brought), "HF_HUB_OFFLINE": "1"}
    environment |= {"HF_HOME": str(empty), "HF_HUB_CACHE": str(empty / "hub")}
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
