"""Studies: what a config asks for, and one clear error for what it cannot."""

import copy
import functools
import tempfile
from pathlib import Path

import pytest
import yaml

from xstilts import catalog as catalogs
from xstilts import study as studies
from xstilts.check.page import check, load_file
from xstilts.data.prepare import prepare
from xstilts.errors import UserError
from xstilts.files import write_jsonl
from xstilts.identity import ROOT
from xstilts.outputs import Outputs
from xstilts.specs import Specs, text

STUDIES = ["config.yaml", *sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("studies/*.yaml"))]


def config(name="config.yaml", **changes):
    return {**copy.deepcopy(yaml.safe_load((ROOT / name).read_text())), **changes}


def load(name):
    """Studies on local data are planned against a folder that has every task's folder."""
    value = config(name)
    if "local" in value["sources"] and value.get("data_root", 0) is None:
        value["data_root"] = str(local_folder())
    return studies.load(value, name)


@functools.cache
def local_folder() -> Path:
    root = Path(tempfile.mkdtemp())
    for task in catalogs.load().tasks.values():
        for part in task.sources.get("local", []):
            (root / part["folder"]).mkdir(exist_ok=True)
    return root


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_of_the_repository_loads(name):
    study = load(name)
    assert study.cells and study.targets
    assert all(study.languages(target) for target in study.targets)
    mining = [target for target in study.targets if study.mines(target)]
    if mining and "hub" in study.config["sources"]:
        assert [message for message in study.refused() if "bucc2018" in message and "gold pairs" in message]
        given = studies.load(config(name, data_root=str(shared_task())), name)
        assert not given.refused() and given.languages("bucc2018") == ["de", "fr", "ru", "zh"]
        spec = Specs(given).prepare_test("bucc2018")
        assert spec["source"] == "local" and all(Path(path).is_file() for path in Outputs(given).local_files(spec))


@functools.cache
def shared_task() -> Path:
    """BUCC's pools in the layout of docs/data.md, dev and test of different sizes."""
    root = Path(tempfile.mkdtemp())
    for code in ("de", "fr", "ru", "zh"):
        put_pools(root / "bucc2018_shared_task" / code, {"sample": 3, "training": 6}, code)
    return root


def put_pools(folder: Path, splits: dict[str, int], code: str):
    """Pools with `pairs` gold pairs and as many distractors a side."""
    for split, pairs in splits.items():
        for side, language in (("source", code), ("target", "en")):
            rows = [{"id": f"{language}-{i}", "sentence": f"{split} {language} {i}"} for i in range(2 * pairs)]
            write_jsonl(folder / f"{split}_{side}.jsonl", rows)
        gold = [{"source_id": f"{code}-{i}", "target_id": f"en-{i}"} for i in range(pairs)]
        write_jsonl(folder / f"{split}_gold.jsonl", gold)


def bucc(root: Path, **changes):
    grid = [{"models": ["tiny"], "intermediates": ["none"], "targets": ["bucc2018"], "seeds": [1]}]
    return config(sources=["local", "hub"], languages="all", data_root=str(root), grid=grid, attacks=[], **changes)


def test_the_pools_of_the_shared_task_take_the_place_of_the_small_ones(tmp_path):
    put_pools(tmp_path / "bucc2018" / "zh", {"validation": 40}, "zh")
    with pytest.raises(UserError, match=r"bucc2018.*'de' is not allowed.*Allowed: zh"):
        studies.load(bucc(tmp_path), "config.yaml")
    study = studies.load(bucc(tmp_path, target_languages={"bucc2018": ["zh"]}), "config.yaml")
    assert [part["folder"] for part in Specs(study).prepare_test("bucc2018")["parts"]] == ["bucc2018"]
    for code in ("de", "fr", "ru", "zh"):
        put_pools(tmp_path / "bucc2018_shared_task" / code, {"sample": 3, "training": 6}, code)
    spec = Specs(studies.load(bucc(tmp_path), "config.yaml")).prepare_test("bucc2018")
    assert [part["folder"] for part in spec["parts"]] == ["bucc2018_shared_task"]
    found = prepare(spec, tmp_path / "examples", tmp_path / "gold", tmp_path)
    sizes = {(code, split): n for code in ("de", "fr", "ru", "zh") for split, n in (("dev", 12), ("test", 24))}
    assert {key: counts["examples"] for key, counts in found.items()} == sizes


def test_mining_from_the_hub_is_in_the_way_and_refused_at_the_start(tmp_path):
    from test_workflow import copy_project, snakemake

    (tmp_path / "empty").mkdir()
    root, given = copy_project(tmp_path / "project"), bucc(tmp_path / "empty")
    path = root / "hub.yaml"
    path.write_text(yaml.safe_dump(given))
    page = check(path, root=root)
    assert "bucc2018" in page.split("In the way of a run:")[1] and "bucc2018_shared_task" in page
    assert "gold pairs" in snakemake(root, "-n", "--quiet", "rules", "--configfile", "hub.yaml").stderr
    run = snakemake(root, "--configfile", "hub.yaml", check=False)
    assert run.returncode and "bucc2018_shared_task" in run.stdout + run.stderr
    assert not list(root.glob("logs/**/*.log")), "nothing has begun"


def test_a_cap_on_text_is_no_demonstration_and_other_caps_are_not_for_text():
    variants = load("studies/variants.yaml")
    assert not variants.demonstration
    assert Specs(variants).prepare_train("mlm")["splits"] == {"train": 50_000}
    assert Specs(variants).prepare_train("mnli")["splits"]["train"] is None
    capped = studies.load(config("studies/variants.yaml", data={"train": 7, "text": 9}), "variants.yaml")
    assert capped.demonstration
    assert [Specs(capped).prepare_train(task)["splits"]["train"] for task in ("mnli", "mlm")] == [7, 9]
    capped = studies.load(config("studies/variants.yaml", data={"train": 7}), "variants.yaml")
    assert Specs(capped).prepare_train("mlm")["splits"] == {"train": 7}, "without `text`, `train` is for text too"


def test_demo_is_the_grid_that_the_readme_promises():
    study = load("config.yaml")
    assert set(study.cells) == {
        *(("me5-small-l6", name, 1) for name in ("none", "squad", "mnli", "mix9")),
        *(("me5-small-l3", name, 1) for name in ("none", "mix9")),
    }
    assert len(study.targets) == 9
    assert len(study.training_tasks(study.targets)) == 6
    assert len(study.intermediate_tasks("mix9")) == 9
    assert len(study.attack_cells) == 2 * 4
    assert study.demonstration


def test_xquad_and_mlqa_share_squads_training():
    study = load("config.yaml")
    assert study.served("squad") == ["xquad", "mlqa"]
    assert study.training_task("tatoeba") is None


def test_paper_lists_what_is_unpinned_and_drops_what_is_unlicensed():
    study = load("studies/paper.yaml")
    assert "FacebookAI/xlm-roberta-large" in study.unpinned()
    assert not any(name == "ccg" for _, name, _ in study.cells)
    assert any(name.endswith("-no-ccg") for _, name, _ in study.cells), "a mixture without CCG is named so"
    assert any("ccg" in notice for notice in study.notices)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"studdy": "x"}, ["config.yaml", "studdy", "study"]),
        ({"languages": ["en", "xx"]}, ["config.yaml", "languages", "xx", "Allowed"]),
        ({"target_languages": {"pawsx": ["ru"]}}, ["target_languages.pawsx", "ru", "Allowed"]),
        ({"target_languages": {"pawz": ["en"]}}, ["target_languages", "pawz", "pawsx"]),
        ({"sources": ["internet"]}, ["sources", "internet", "hub"]),
        ({"data": {"train": 0}}, ["data", "train", "0"]),
        ({"data_root": "/no/such/folder"}, ["data_root", "/no/such/folder", "existing folder"]),
        ({"grid": []}, ["grid"]),
        ({"training": {"precision": "fp8"}}, ["precision", "fp8", "bf16"]),
        ({"training": {"preset": "demos"}}, ["config.yaml", "training.preset", "demos", "demo"]),
        ({"training": {"preset": "demo", "overrides": {"xnli": {}}}}, ["overrides", "xnli", "trained as mnli"]),
        ({"training": {"preset": "demo", "overrides": {"mnli": {"lr": 1}}}}, ["overrides", "lr", "learning_rate"]),
        ({"languages": ["en", "fr"]}, ["languages", "embedded", "fr"]),
        ({"mixtures": {"mix9": {"tasks": "all", "sampling": "capped"}}}, ["mixtures.mix9.cap", "needs it"]),
        ({"attacks": [{"attacks": ["charswap"], "seeds": [7], "examples": 2}]}, ["attacks[0].seeds", "7"]),
        ({"sources": ["local"], "data_root": None}, ["config.yaml", "sources", "data_root"]),
    ],
)
def test_a_wrong_config_is_one_error_that_names_key_value_and_what_is_allowed(change, words):
    with pytest.raises(UserError) as caught:
        study = studies.load(config(**change), "config.yaml")
        Specs(study).target("me5-small-l6", "none", 1, "mnli")
    for word in words:
        assert word in str(caught.value), (word, str(caught.value))


@pytest.mark.parametrize(
    ("key", "value", "close"),
    [
        ("models", ["me5-small-16"], "me5-small-l6"),
        ("intermediates", ["squat"], "squad"),
        ("targets", ["xnly"], "xnli"),
    ],
)
def test_an_unknown_name_in_the_grid_is_named_with_the_closest_one(key, value, close):
    block = {"models": ["tiny"], "intermediates": ["none"], "targets": "all", "seeds": [1], key: value}
    with pytest.raises(UserError) as caught:
        studies.load(config(grid=[block], attacks=[]), "config.yaml")
    assert value[0] in str(caught.value) and close in str(caught.value) and f"grid[0].{key}" in str(caught.value)


def test_a_missing_or_broken_study_file_says_so(tmp_path):
    with pytest.raises(UserError, match="no-study"):
        load_file(tmp_path / "no-study.yaml")
    (tmp_path / "broken.yaml").write_text("grid: [")
    with pytest.raises(UserError, match="not YAML"):
        load_file(tmp_path / "broken.yaml")


def all_jobs(jobs: Specs):
    """(what the job makes, its identity) of every job of a study; the study's name is no part of either."""
    study = jobs.study
    for model in study.models:
        yield ("models", model), text(jobs.fetch_model(model))
    for task in study.trained_tasks():
        yield ("train data", task, *study.train_languages(task)), text(jobs.prepare_train(task))
    for target in study.tests:
        yield ("test data", target, *study.languages(target)), text(jobs.prepare_test(target))
    for cell in study.encoders:
        mixture = study.mixtures.get(cell[1])
        languages = [study.train_languages(task) for task in study.intermediate_tasks(cell[1])]
        yield ("encoder", *cell, mixture or cell[1], languages), text(jobs.intermediate(*cell))
    for cell, targets in study.cells.items():
        for task in study.training_tasks(targets):
            yield ("target", *cell, task, study.intermediate_tasks(cell[1])), text(jobs.target(*cell, task))
            yield ("predictions", *cell, task), text(jobs.evaluate(*cell, task))
        if set(targets) & set(study.retrieval_targets):
            yield ("retrieval", *cell), text(jobs.retrieval(*cell))
    for cell in study.attack_cells:
        yield ("attack", *cell), text(jobs.attack(*cell))
    for cell in study.transfer_cells:
        yield ("transfer", *cell), text(jobs.transfer(*cell))
    train = [(task, study.train_languages(task)) for task in study.trained_tasks()]
    test = [(target, study.languages(target)) for target in study.targets]
    yield ("checks", *study.models, train, test), text(jobs.check_data())


def test_jobs_of_different_meaning_never_share_an_identity():
    """Snakemake's cache knows params, not wildcards: measured, a rule without them served one entry for four."""
    meaning = {}
    for name in STUDIES:
        for job, identity in all_jobs(Specs(load(name))):
            assert meaning.setdefault(identity, job) == job, f"{name}: {job} and {meaning[identity]} share an identity"


def test_identity_ignores_key_order_notes_and_paths(tmp_path):
    plain = Specs(studies.load(config(), "config.yaml"))
    shuffled = dict(reversed(list(config().items())))
    other = Specs(studies.load({**shuffled, "study": "elsewhere", "description": "other words"}, "x.yaml"))
    cell = ("me5-small-l6", "mix9", 1)
    assert text(plain.target(*cell, "mnli")) == text(other.target(*cell, "mnli"))
    assert text(plain.prepare_test("xnli")) == text(other.prepare_test("xnli"))


def test_a_changed_learning_rate_changes_its_branch_alone():
    before = Specs(studies.load(config(), "config.yaml"))
    training = {**config()["training"], "overrides": {"udpos": {"learning_rate": 3.0e-4}}}
    after = Specs(studies.load(config(training=training), "config.yaml"))
    cell = ("me5-small-l6", "none", 1)
    assert text(before.target(*cell, "udpos")) != text(after.target(*cell, "udpos"))
    for task in ("mnli", "pawsx", "panx", "squad", "tydiqa"):
        assert text(before.target(*cell, task)) == text(after.target(*cell, task))
    assert text(before.prepare_train("udpos")) == text(after.prepare_train("udpos"))


def test_another_language_leaves_every_training_as_it_is():
    before = Specs(studies.load(config(languages=["en", "de"]), "config.yaml"))
    after = Specs(studies.load(config(languages=["en", "de", "ru"]), "config.yaml"))
    cell = ("me5-small-l6", "mnli", 1)
    for task in ("mnli", "udpos"):
        assert text(before.target(*cell, task)) == text(after.target(*cell, task))
    assert text(before.prepare_test("xnli")) != text(after.prepare_test("xnli"))


def test_another_language_is_one_more_to_train_a_variant_on_that_names_none():
    grid = [{"models": ["tiny"], "intermediates": ["mlm"], "targets": ["xnli"], "seeds": [1]}]

    def training(languages, **own):
        study = studies.load(config(grid=grid, attacks=[], languages=languages, target_languages=own), "config.yaml")
        return text(Specs(study).intermediate("tiny", "mlm", 1))

    assert training(["en", "de"]) != training(["en", "de", "ru"])
    assert training(["en", "de"], mlm=["de"]) == training(["en", "de", "ru"], mlm=["de"])
