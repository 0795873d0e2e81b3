"""docs/own.md, followed to the letter in a copy of the project: own data and an own model, without code."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas
import pytest
import yaml
from test_study import all_jobs
from test_workflow import copy_project

from xstilts import study as studies
from xstilts.errors import UserError
from xstilts.identity import ROOT
from xstilts.specs import Specs

GUIDE = (ROOT / "docs" / "own.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)


def sh(root: Path, *arguments: str, text: str | None = None, check: bool = True) -> str:
    """Run Python in the project as a reader does; both streams together."""
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    environment.pop("SNAKEMAKE_OUTPUT_CACHE", None)
    result = subprocess.run(
        [sys.executable, *arguments], cwd=root, env=environment, input=text, text=True, capture_output=True, check=False
    )
    output = result.stdout + result.stderr
    assert bool(result.returncode) != check, output[-6000:]
    return output


@pytest.fixture(scope="module")
def printed() -> list[str]:
    """What the commands and scripts of the guide print, in order; filled by `project`."""
    return []


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, printed) -> Path:
    """A copy after steps 1 to 4: Python blocks run, YAML blocks written to the file that their first line names."""
    root = copy_project(tmp_path_factory.mktemp("own") / "project")
    for language, text in BLOCKS:
        if language == "python":
            printed.append(sh(root, "-", text=text))
        elif language == "yaml":
            path = root / text.split("\n", 1)[0].removeprefix("# ")
            assert not path.exists() and path.parent.is_dir(), path
            path.write_text(text, encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def project(prepared, printed) -> Path:
    """The same after step 5."""
    (commands,) = [text for language, text in BLOCKS if not language]
    for command in commands.splitlines():
        printed.append(sh(prepared, *command.split()[1:]))
    return prepared


def started(root: Path) -> dict[Path, float]:
    return {path: path.stat().st_mtime for path in (root / "logs").rglob("*.started")}


def guide_message(start: str) -> list[str]:
    """The parts of a message of the guide's last table, which `...` may stand between."""
    (row,) = [line for line in GUIDE.splitlines() if line.startswith(f"| {start}")]
    return re.findall(r"`([^`]+)`", row.split(" | ")[2])


def says(output: str, start: str) -> bool:
    return all(part in output for part in guide_message(start))


def test_the_guide_ends_in_scores_of_every_cell(project, printed):
    scores = pandas.read_csv(project / "results/mine/scores.csv")
    cells = (
        scores[scores["language"].isin(["en", "de"])].groupby(["model", "intermediate", "target", "language"]).size()
    )
    assert sorted(cells.index) == [
        ("my-encoder", intermediate, target, language)
        for intermediate in ("factcheck", "none")
        for target in ("factcheck", "products")
        for language in ("de", "en")
    ]
    assert scores["value"].between(0, 100).all()
    for line in re.findall(r"`(results/mine/[^`]+)`", GUIDE):
        pattern = re.sub("<[^>]+>", "*", line)
        assert list(project.glob(pattern)), line
    lines = (project / "results/mine/predictions/my-encoder/none/s1/factcheck/test-de.tsv").read_text().split()
    assert len(lines) == 20 and set(lines) <= {"supported", "refuted"}
    check = next(text for text in printed if text.startswith("study mine"))
    assert re.search(r"factcheck\s+local", check) and re.search(r"products\s+local", check)


def test_the_sizes_in_the_guide_are_those_that_it_counts(prepared, printed):
    counted = next(text for text in printed if "layers" in text and "wide" in text)
    entry = yaml.safe_load((prepared / "catalog/models/my-encoder.yaml").read_text())
    assert f"{entry['identity']['layers']} layers {entry['identity']['hidden']} wide" in counted
    assert str({key: entry["size"][key] for key in ("parameters", "non_embedding_parameters")}) in counted


def test_a_moved_model_runs_nothing_again_and_a_changed_one_everything(project):
    entry = project / "catalog/models/my-encoder.yaml"
    text, before = entry.read_text(), started(project)
    run = ("-m", "snakemake", "--cores", "2", "--configfile", "studies/mine.yaml")
    (project / "else where").mkdir()
    shutil.copytree(project / "my-encoder", project / "else where" / "mine")  # new time stamps, the same bytes
    entry.write_text(text.replace("folder: my-encoder", f"folder: '{project}/else where/mine'"))
    planned = sh(project, *run, "-n")
    assert "Nothing to be done" in planned, planned
    config = project / "else where" / "mine" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "note": "another byte"}))
    counts = dict(re.findall(r"^(\w+) +(\d+)$", sh(project, *run, "-n"), re.MULTILINE))
    assert counts["fetch_model"] == "1" and counts["train_target"] == "4", counts
    sh(project, *run, "--until", "fetch_model")
    again = [path for path, when in started(project).items() if before.get(path) != when]
    assert [path.parent.name for path in again] == ["fetch_model"]
    entry.write_text(text)


# ---- the studies that are there already
@pytest.mark.parametrize("file", ["config.yaml", "studies/tiny.yaml"])
def test_a_task_with_presets_of_its_own_changes_no_study_that_takes_all(prepared, file):
    config = yaml.safe_load((ROOT / file).read_text())
    before, after = (studies.load(config, file, root) for root in (ROOT, prepared))
    assert list(all_jobs(Specs(after))) == list(all_jobs(Specs(before)))
    assert list(after.mixtures) == list(before.mixtures) and after.targets == before.targets
    new = [notice for notice in after.notices if notice not in before.notices]
    assert new == [f"{task} is not part of `all` here: it has no preset demo." for task in ("factcheck", "products")]
    sh(prepared, "-m", "xstilts", "check", file)


def test_all_takes_in_what_has_the_preset_and_an_unlicensed_task_still_names_its_mixture(prepared, tmp_path):
    root = tmp_path / "project"
    for name in ("catalog", "rules", "my-data"):
        shutil.copytree(prepared / name, root / name)
    entry = yaml.safe_load((root / "catalog/tasks/factcheck.yaml").read_text())
    entry["identity"]["training_task"] = "mnli"
    entry["presets"] = {"demo": {**entry["presets"]["mine"], "dropout": 0.0}}
    (root / "catalog/tasks/extra.yaml").write_text(yaml.safe_dump(entry))
    base = {
        "study": "s",
        "sources": ["local", "hub"],
        "data_root": str(root / "my-data"),
        "languages": ["en", "de"],
        "mixtures": {"mix": {"tasks": "all", "steps": 2}},
        "grid": [{"models": ["tiny"], "intermediates": ["mix"], "targets": "all", "seeds": [1]}],
        "training": {"preset": "demo"},
    }
    study = studies.load(base, "s.yaml", root)
    assert "extra" in study.targets and "factcheck" not in study.targets, "a target counts by its training task"
    assert list(study.mixtures) == ["mix-no-ccg"]
    (tasks,) = [mixture.tasks for mixture in study.mixtures.values()]
    assert "extra" in tasks and not {"factcheck", "ccg"} & {*tasks}
    study = studies.load({**base, "training": {"preset": "mine"}}, "s.yaml", root)
    assert study.targets == ["factcheck", "products"] and study.mixtures["mix"].tasks == ("factcheck",)
    left = "extra is not part of `all` here: its training task mnli has no preset mine."
    assert left in study.notices and not [notice for notice in study.notices if "factcheck" in notice]


def changed(config: dict, key: str, value) -> dict:
    """tiny's config with another value in its block, or of its mixture's tasks, and no overrides."""
    config = {**config, "training": {"preset": "demo"}}
    if key == "mix2":
        return {**config, "mixtures": {"mix2": {**config["mixtures"]["mix2"], "tasks": value}}}
    return {**config, "grid": [{**config["grid"][0], key: value}]}


@pytest.mark.parametrize(
    ("key", "value"),
    [("targets", ["xnli", "factcheck"]), ("intermediates", ["none", "factcheck"]), ("mix2", ["all", "factcheck"])],
)
def test_a_task_that_is_named_needs_the_preset(prepared, key, value):
    config = changed(yaml.safe_load((ROOT / "studies/tiny.yaml").read_text()), key, value)
    sources = {"sources": ["local", "embedded"], "data_root": str(prepared / "my-data")}
    with pytest.raises(UserError, match=r"training\.preset \(of factcheck\): 'demo' is not allowed.*Allowed: mine"):
        studies.load({**config, **sources}, "tiny.yaml", prepared)


def test_a_preset_that_no_task_has_is_still_a_typing_mistake(prepared):
    config = yaml.safe_load((ROOT / "studies/tiny.yaml").read_text())
    with pytest.raises(UserError, match=r"training\.preset \(of \w+\): 'dmeo' is not allowed. Did you mean 'demo'"):
        studies.load({**config, "training": {"preset": "dmeo"}}, "tiny.yaml", prepared)


# ---- mistakes
def broken(prepared: Path, tmp_path: Path) -> Path:
    """A copy to break something in, in which nothing has run."""
    made = {"results", "data", "logs", ".snakemake"}
    root = shutil.copytree(
        prepared, tmp_path / "broken", ignore=lambda folder, names: made if Path(folder) == prepared else ()
    )
    return Path(root)


def test_an_unknown_label_and_a_wrong_field_are_named_by_file_and_line(prepared, tmp_path):
    root = broken(prepared, tmp_path)
    path = root / "my-data/factcheck/en/train.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    run = ("-m", "snakemake", "--cores", "1", "--configfile", "studies/mine.yaml", "--")
    for start, mend in (
        ("a label", lambda number, row: {**row, "verdict": "maybe"} if number == 2 else row),
        ("a field", lambda number, row: {"claim": row["claim"], "evidence": row["evidence"], "label": row["verdict"]}),
    ):
        path.write_text("".join(json.dumps(mend(number, row)) + "\n" for number, row in enumerate(rows)))
        sh(root, *run, "results/mine/examples/factcheck/en/train.jsonl", check=False)
        log = (root / "logs/mine/prepare/factcheck-train.log").read_text()
        assert says(log, start) and "Traceback" not in log, log
    assert not list((root / "results").rglob("*.jsonl"))


def test_a_missing_language_or_model_is_said_before_anything_starts(prepared, tmp_path):
    root = broken(prepared, tmp_path)
    file = root / "my-data/products/de/test.jsonl"
    file.rename(tmp_path / "kept")
    check = ("-m", "xstilts", "check", "studies/mine.yaml")
    output = sh(root, *check, check=False)
    assert says(output, "no file of a language") and "Traceback" not in output, output
    (tmp_path / "kept").rename(file)
    (root / "my-encoder/model.safetensors").rename(root / "my-encoder/pytorch_model.bin")
    output = sh(root, *check, check=False)
    assert "my-encoder: holds no .safetensors file. Pickled weights (pytorch_model.bin) are never read." in output
    (root / "my-encoder").rename(root / "lost")
    output = sh(root, *check, check=False)
    assert says(output, "a folder of a model") and "Traceback" not in output, output
    output = sh(root, "-m", "snakemake", "--cores", "1", "--configfile", "studies/mine.yaml", check=False)
    assert says(output, "a folder of a model") and "Traceback" not in output, output
    assert not (root / "logs").exists()


def test_a_size_that_is_not_the_models_is_refused(prepared, tmp_path, monkeypatch):
    from xstilts.models import folder, local

    monkeypatch.setenv(folder.VARIABLE, json.dumps({"my-encoder": str(prepared / "my-encoder")}))
    with pytest.raises(UserError) as caught:
        local.build({"type": "local"}, {"name": "my-encoder", "layers": 3}, tmp_path)
    assert says(str(caught.value), "a size")
    planned = r"config.json: sha256 is .*; when the study was planned it was 0{64}. Run .* delete work/digests.json"
    with pytest.raises(UserError, match=planned):
        known = {path.name: "0" * 64 for path in folder.files(prepared / "my-encoder", "m")}
        local.build({"type": "local", "files": known}, {"name": "my-encoder"}, tmp_path)
    with pytest.raises(UserError, match=r"model.safetensors: sha256 is .*, expected 1{64} \(source.sha256 of"):
        local.build({"type": "local", "sha256": "1" * 64}, {"name": "my-encoder"}, tmp_path)


def test_a_local_model_is_its_content(tmp_path, monkeypatch):
    from xstilts.models import folder
    from xstilts.specs import text

    root = copy_project(tmp_path / "project")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(folder, "_known", {})
    read, digest = [], folder.digest
    monkeypatch.setattr(folder, "digest", lambda path: read.append(path.name) or digest(path))
    files = {"config.json": "{}", "tokenizer.json": "{}", "model.safetensors": "weights"}
    for place in (root / "beside", tmp_path / "at home"):
        place.mkdir()
        for name, content in files.items():
            (place / name).write_text(content)
    grid = [{"models": ["mine"], "intermediates": ["none"], "targets": ["xnli"], "seeds": [1]}]
    config = {
        "study": "mine",
        "sources": ["embedded"],
        "languages": ["en"],
        "grid": grid,
        "training": {"preset": "demo"},
    }
    entry = yaml.safe_load((root / "catalog/models/tiny.yaml").read_text())

    def specs(**source) -> list[str]:
        entry["identity"]["source"] = {"type": "local", **source}
        (root / "catalog/models/mine.yaml").write_text(yaml.safe_dump(entry))
        jobs = Specs(studies.load(config, "mine.yaml", root))
        return [text(jobs.fetch_model("mine")), text(jobs.target("mine", "none", 1, "mnli"))]

    first = specs(folder="beside")
    assert len(read) == 3
    assert first == specs(folder="~/at home") == specs(folder=str(tmp_path / "at home"))
    assert len(read) == 6 and specs(folder="beside") == first and len(read) == 6, "an unchanged file is read once"
    assert str(tmp_path) not in "".join(first)
    (root / "beside" / "tokenizer.json").write_text("{ }")
    assert not set(first) & set(specs(folder="beside")), "the tokenizer is part of the model"
    with pytest.raises(UserError, match=r"catalog/models/mine.yaml: identity.source: type local needs `folder`"):
        specs()
