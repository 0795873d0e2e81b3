"""A toy task, model, attack and language each touch one file, join a study, and re-run nothing that is there."""

import re

import pytest
import yaml
from test_study import all_jobs
from test_workflow import copy_project, planned

from xstilts import catalog as catalogs
from xstilts import study as studies
from xstilts.errors import UserError
from xstilts.identity import ROOT
from xstilts.specs import Specs

TASK = """
identity:
  version: 1
  kind: pair
  roles: [target]
  group: classification
  metrics: [accuracy]
  labels: [entailment, neutral, contradiction]
  languages: [en, de]
  training_task: mnli
sources:
  embedded:
    - {generator: xnli, splits: {test: test}}
documentation: {title: Toy NLI, licence: MIT, citation: none}
"""


def add_toys(root):
    """Four files; returns their paths. Nothing else is touched."""
    model = (root / "catalog/models/tiny.yaml").read_text().replace("seed: 0", "seed: 7")
    attack = (root / "catalog/attacks/charswap.yaml").read_text().replace("version: 1", "version: 2")
    words = re.sub(r"(?s)^language:.*?(?=^nouns:)", "", (root / "catalog/lexicons/en.yaml").read_text(), flags=re.M)
    words = words.replace("[teacher, teachers,", "[tutor, tutors,")
    row = "{name: Toyish, iso3: toy, script: Latn, family: none, spaces: false, direction: ltr}"
    language = f"language: {row}\ntargets: [xnli, toynli]\ngrammar: en\n{words}"
    files = {
        "catalog/tasks/toynli.yaml": TASK,
        "catalog/models/toy.yaml": model,
        "catalog/attacks/toyswap.yaml": attack,
        "catalog/lexicons/toy.yaml": language,
    }
    for name, content in files.items():
        (root / name).write_text(content)
    return [root / name for name in files]


def test_four_new_files_make_a_study_of_new_things(tmp_path):
    root = copy_project(tmp_path / "project")
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    added = add_toys(root)
    after = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    assert {path for path in after if before.get(path) != after[path]} == set(added)
    study = {
        "study": "toys",
        "sources": ["embedded"],
        "languages": ["en", "toy"],
        "data": {"train": 20, "dev": 10, "test": 10},
        "grid": [{"models": ["toy"], "intermediates": ["none"], "targets": ["xnli", "toynli"], "seeds": [1]}],
        "training": {"preset": "demo"},
        "attacks": [{"attacks": ["toyswap"], "examples": 2}],
    }
    (root / "toys.yaml").write_text(yaml.safe_dump(study))
    jobs = planned(root, "--configfile", "toys.yaml")
    assert jobs["train_target"] == 1 and jobs["attack_toyswap_0"] == 1 and jobs["prepare_toynli"] == 1
    loaded = studies.load(study, "toys.yaml", root)
    assert loaded.languages("toynli") == ["en", "toy"] and loaded.languages("xnli") == ["en", "toy"]


def test_new_things_change_no_job_that_does_not_use_them(tmp_path):
    root = copy_project(tmp_path / "project")
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["grid"] = [{**block, "targets": ["xnli", "udpos", "tatoeba"]} for block in config["grid"]]

    def jobs():
        return [identity for _, identity in all_jobs(Specs(studies.load(config, "config.yaml", root)))]

    before = jobs()
    add_toys(root)
    assert jobs() == before


def test_a_retrieval_task_is_one_file(tmp_path):
    root = copy_project(tmp_path / "project")
    for name, copied in (("flores", "tatoeba"), ("newsmine", "bucc2018")):
        (root / f"catalog/tasks/{name}.yaml").write_text((root / f"catalog/tasks/{copied}.yaml").read_text())
    study = yaml.safe_load((ROOT / "studies/tiny.yaml").read_text())
    grid = [{"models": ["tiny"], "intermediates": ["none"], "targets": ["flores", "newsmine"], "seeds": [1]}]
    changes = {"grid": grid, "training": {"preset": "demo"}, "attacks": study["attacks"][:1]}
    (root / "flores.yaml").write_text(yaml.safe_dump({**study, **changes}))
    jobs = planned(root, "--configfile", "flores.yaml")
    assert jobs["retrieve"] == jobs["prepare_flores"] == jobs["prepare_newsmine"] == jobs["check_data"] == 1
    specs = Specs(studies.load(yaml.safe_load((root / "flores.yaml").read_text()), "flores.yaml", root))
    assert list(specs.retrieval("tiny", "none", 1)["targets"]) == ["flores", "newsmine"]
    assert set(specs.prepare_test("newsmine")["splits"]) == {"dev", "test"}


def test_a_part_takes_the_place_of_a_folder_that_its_task_has(tmp_path):
    root = copy_project(tmp_path / "project")
    path = root / "catalog/tasks/bucc2018.yaml"
    path.write_text(path.read_text().replace("replaces: bucc2018", "replaces: bucc2017"))
    with pytest.raises(UserError, match=r"bucc2018\.yaml: sources\.local: replaces: .*bucc2017.*bucc2018"):
        catalogs.load(root)


def test_a_language_generates_from_its_own_file(tmp_path):
    from xstilts.embedded import lexicon
    from xstilts.embedded.grammar import Grammar

    root = copy_project(tmp_path / "project")
    add_toys(root)
    toy = lexicon.load("toy", root / "catalog" / "lexicons")
    assert toy.words["nouns"]["teacher"] != lexicon.load("en").words["nouns"]["teacher"]
    assert Grammar(toy)
