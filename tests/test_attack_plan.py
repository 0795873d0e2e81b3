"""Which attacks a study runs, what it leaves out and says, and what their jobs are told: planning alone."""

import copy
import json
import shutil

import pytest
import yaml
from test_study import all_jobs
from test_workflow import copy_project, planned, snakemake

from xstilts import study as studies
from xstilts.check.page import check
from xstilts.cost import estimate
from xstilts.cost.amounts import Amounts
from xstilts.errors import UserError
from xstilts.identity import ROOT
from xstilts.outputs import Outputs
from xstilts.specs import Specs

SEARCHED = {
    "version": 1,
    "transform": ["swap"],
    "search": {"name": "greedy_trial"},
    "constraints": {"min_length": 2},
    "goals": {"pair": {"right": 1.0, "below": 1.0}},
    "budget": {"queries": 5, "ranked_units": 2, "changes": 1, "candidates": 2},
    "kinds": ["pair", "tagging", "span_qa", "retrieval"],
}
STUDY = {
    "study": "plan",
    "sources": ["embedded"],
    "languages": ["en", "de", "ru", "zh"],
    "data": {"train": 20, "dev": 10, "test": 10},
    "grid": [{"models": ["tiny"], "intermediates": ["none", "mnli"], "targets": ["xnli", "udpos", "tatoeba"],
              "seeds": [1]}],
    "training": {"preset": "demo"},
}  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A copy of catalog and schemas, with attacks of every sort."""
    folder = tmp_path_factory.mktemp("plan")
    for name in ("catalog", "rules"):
        shutil.copytree(ROOT / name, folder / name)
    put(folder, "plain")
    put(folder, "pairs", kinds=["pair"])
    put(folder, "latin", scripts=["Latn"])
    put(folder, "letters", transform=["swap", "insert"])
    put(folder, "typing", transform=["key"])
    put(folder, "masked", transform=["fills"], stand_ins={"mlm": {"model": "tiny"}})
    put(folder, "mixed", transform=["dictionary"], stand_ins={"dictionaries": ["local", "embedded"]})
    put(folder, "after", never_after=["mnli"])
    return folder


def put(root, name, **changes):
    identity = {key: value for key, value in {**copy.deepcopy(SEARCHED), **changes}.items() if value is not None}
    entry = {"identity": identity, "documentation": {"title": name, "source": "a test"}}
    (root / "catalog" / "attacks" / f"{name}.yaml").write_text(yaml.safe_dump(entry))


def load(root, *blocks, **changes):
    return studies.load({**copy.deepcopy(STUDY), **changes, "attacks": list(blocks)}, "plan.yaml", root)


def about(study, attack):
    return [notice for notice in study.notices if f"attack {attack} " in notice]


# ---- what an attack is valid for
def test_a_kind_or_script_that_an_attack_is_not_valid_for_is_left_out_with_one_notice(root):
    study = load(root, {"attacks": ["plain", "pairs", "latin"], "intermediates": ["none"], "examples": 3})
    cell = ("tiny", "none", 1)
    assert study.attack_cells["plain", *cell]["targets"] == ["xnli", "udpos", "tatoeba"] and not about(study, "plain")
    assert set(study.attack_cells["pairs", *cell]["languages"]["xnli"]) == {"en", "de", "ru", "zh"}
    latin = study.attack_cells["latin", *cell]["languages"]
    assert set(latin["xnli"]) == {"en", "de"}
    assert set(latin["tatoeba"]) == {"de", "ru", "zh"}, "its queries are English, whatever the pool's language"
    assert len(about(study, "pairs")) == len(about(study, "latin")) == 1
    assert "udpos" in about(study, "pairs")[0] and "kind pair" in about(study, "pairs")[0]
    assert {
        "attack": "pairs",
        "target": "udpos",
        "languages": [],
        "why": "it attacks tasks of kind pair",
    } in study.not_run
    assert [row["languages"] for row in study.not_run if (row["attack"], row["target"]) == ("latin", "xnli")] == [
        ["ru", "zh"]
    ]
    files = Outputs(study).attack_files(("latin", *cell))
    assert set(files) == {"xnli_de", "xnli_en", "udpos_de", "udpos_en", "tatoeba_de", "tatoeba_ru", "tatoeba_zh"}
    assert Specs(study).analyse()["not_run"] == study.not_run


def test_an_attack_without_any_valid_target_is_said_and_the_study_goes_on(root):
    study = load(root, {"attacks": ["pairs"], "targets": ["udpos"], "examples": 3}, {"attacks": ["plain"]})
    assert set(study.attacks) == {"plain"} and "attacks[0]" in about(study, "pairs")[0]


def test_a_block_attacks_the_languages_that_it_names(root):
    study = load(root, {"attacks": ["plain"], "languages": ["de"], "examples": 3})
    assert study.attack_cells["plain", "tiny", "none", 1]["languages"]["udpos"] == ["de"]
    spec = Specs(study).attack("plain", "tiny", "none", 1)
    assert spec["targets"]["xnli"]["languages"] == ["de"] and set(spec["languages"]) == {"de", "en"}
    with pytest.raises(UserError, match=r"plan.yaml: attacks\[0\].languages: 'fr'.*Allowed: .*de"):
        load(root, {"attacks": ["plain"], "languages": ["fr"]})


def test_only_attacks_that_draw_letters_or_keys_are_told_the_alphabet_or_keyboard(root):
    jobs = Specs(load(root, {"attacks": ["plain", "letters", "typing"], "examples": 3}))
    rows = {name: jobs.attack(name, "tiny", "none", 1)["languages"]["ru"] for name in ("plain", "letters", "typing")}
    assert rows["plain"]["code"] == "ru" and not {"alphabet", "keyboard"} & set(rows["plain"])
    assert "ж" in rows["letters"]["alphabet"] and "keyboard" not in rows["letters"]
    assert rows["typing"]["keyboard"]["й"] and "alphabet" not in rows["typing"]


def test_a_language_without_a_keyboard_is_left_out_of_an_attack_that_only_types(root):
    study = load(root, {"attacks": ["typing"], "targets": ["xnli"], "intermediates": ["none"], "examples": 3})
    assert set(study.attack_cells["typing", "tiny", "none", 1]["languages"]["xnli"]) == {"en", "de", "ru"}
    assert "no keyboard" in about(study, "typing")[0] and "zh" in about(study, "typing")[0]


# ---- stand-ins
def test_a_masked_language_model_that_the_grid_lacks_is_trained_for_the_attack(root):
    study = load(root, {"attacks": ["masked"], "targets": ["xnli"], "examples": 3})
    assert study.stand_in_cells == [("tiny", "mlm", 1)] and ("tiny", "mlm", 1) in study.encoders
    assert "mlm" in study.trained_tasks() and study.intermediates == ["none", "mnli"]
    spec = Specs(study).attack("masked", "tiny", "none", 1)
    assert spec["stand_ins"]["mlm"]["model"]["name"] == "tiny" and spec["stand_ins"]["mlm"]["intermediate"] == "mlm"
    grid = [{**STUDY["grid"][0], "intermediates": ["none", "mlm"]}]
    study = load(root, {"attacks": ["masked"], "targets": ["xnli"], "examples": 3}, grid=grid)
    assert not study.stand_in_cells
    assert ("masked", "tiny", "mlm", 1) not in study.attack_cells, "never the victim itself"
    assert "never on tiny with mlm" in about(study, "masked")[0]
    own = {"attacks": ["masked"], "targets": ["xnli"], "examples": 3, "stand_ins": {"mlm": {"own": True}}}
    assert ("masked", "tiny", "mlm", 1) in load(root, own, grid=grid).attack_cells


def test_a_stand_in_model_outside_the_grid_is_fetched_and_its_licence_listed(root):
    block = {"attacks": ["masked"], "targets": ["xnli"], "stand_ins": {"mlm": {"model": "me5-small-l3"}}}
    study = load(root, block)
    assert study.grid_models == ["tiny"] and study.models == ["tiny", "me5-small-l3"]
    assert study.stand_in_cells == [("me5-small-l3", "mlm", 1)]
    assert set(Specs(study).analyse()["models"]) == {"tiny"}, "no cell of the tables"
    with pytest.raises(UserError, match=r"attacks\[0\].stand_ins.mlm.model: 'tinny'.*Did you mean 'tiny'"):
        load(root, {**block, "stand_ins": {"mlm": {"model": "tinny"}}})


def test_without_text_for_its_stand_in_an_attack_is_not_run(root, tmp_path):
    for task in ("xnli", "mnli", "udpos"):
        (tmp_path / task).mkdir()
    grid = [{**STUDY["grid"][0], "targets": ["xnli"]}]
    study = load(root, {"attacks": ["masked"]}, sources=["local"], data_root=str(tmp_path), grid=grid)
    assert not study.attack_cells and "no text for task mlm" in about(study, "masked")[0]
    assert str(tmp_path) not in json.dumps(study.not_run), "notices are in specs, which hold no path"


def test_dictionaries_are_named_by_content_and_found_without_a_path_in_the_spec(root, tmp_path):
    block = {"attacks": ["mixed"], "targets": ["xnli"], "intermediates": ["none"], "examples": 3}
    spec = Specs(load(root, block)).attack("mixed", "tiny", "none", 1)
    assert {row["source"] for row in spec["dictionaries"].values()} == {"embedded"}
    assert spec["targets"]["xnli"]["parallel"] == spec["targets"]["xnli"]["languages"]
    (tmp_path / "dict_muse").mkdir()
    (tmp_path / "dict_muse" / "en-de.txt").write_text("dog Hund\n", encoding="utf-8")
    found = Specs(load(root, block, data_root=str(tmp_path))).attack("mixed", "tiny", "none", 1)["dictionaries"]
    assert found["en-de"]["source"] == "local" and found["en-de"]["file"] == "dict_muse/en-de.txt"
    assert str(tmp_path) not in json.dumps(found)
    for task in ("xnli", "mnli"):
        (tmp_path / task).mkdir()
    grid = [{**STUDY["grid"][0], "targets": ["xnli"], "intermediates": ["none"]}]
    local = load(root, block, sources=["local"], data_root=str(tmp_path), grid=grid)
    assert set(local.attack_cells["mixed", "tiny", "none", 1]["languages"]["xnli"]) == {"en", "de"}
    assert "no dictionary" in about(local, "mixed")[0]


# ---- static sets
def sets(root, tmp_path, **changes):
    rows = [{"idx": 0, "premise": "a b", "hypothesis": "c", "label": 1}]
    for folder, name in (("adv_glue", "adv_mnli"), ("snli_cad", "validation_revised")):
        (tmp_path / folder / "en").mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "en" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    names = ["advglue_mnli", "snli_cad", "anli_r1"]
    more = {"sources": ["embedded", "local"], "data_root": str(tmp_path), **changes}
    return load(root, {"attacks": names, "examples": 9}, **more)


def test_a_static_set_is_prepared_and_put_to_the_model_that_it_is_made_for(root, tmp_path):
    study = sets(root, tmp_path)
    assert study.challenges == ["advglue_mnli", "snli_cad"] and study.tests[:3] == study.targets
    assert study.attack_cells["advglue_mnli", "tiny", "mnli", 1]["languages"] == {"xnli": ["en"]}
    assert "no source of task anli_r1" in about(study, "anli_r1")[0] and not about(study, "advglue_mnli")
    spec = Specs(study).prepare_test("advglue_mnli")
    assert spec["languages"] == ["en"] and spec["source"] == "local"
    assert Outputs(study).local_files(spec) == [str(tmp_path / "adv_glue" / "en" / "adv_mnli.jsonl")]
    assert not {*study.challenges} & {*study.trained_tasks(), *study.targets, *study.catalog.intermediates}
    table = Specs(study).analyse()
    assert not {*study.challenges} & {*table["targets"], *table["official_languages"]}


def test_a_set_keeps_to_the_blocks_languages_and_says_what_it_is_in(root, tmp_path):
    sets(root, tmp_path)  # the files
    more = {"sources": ["embedded", "local"], "data_root": str(tmp_path)}
    study = load(root, {"attacks": ["advglue_mnli"], "languages": ["de"]}, **more)
    assert not study.attack_cells and "its set is in en, for xnli" in about(study, "advglue_mnli")[0]
    study = load(root, {"attacks": ["advglue_mnli"], "languages": ["en", "de"]}, **more)
    assert study.attack_cells["advglue_mnli", "tiny", "none", 1]["languages"] == {"xnli": ["en"]}
    study = load(root, {"attacks": ["advglue_mnli"]}, **more, languages=["de"])
    assert not study.attack_cells and "its set is in en, for xnli" in about(study, "advglue_mnli")[0]


def test_static_sets_are_among_the_data_that_is_checked(root, tmp_path):
    spec = Specs(sets(root, tmp_path)).check_data()
    (row,) = [row for row in spec["data"] if row["task"] == "advglue_mnli"]
    assert row["files"] == [["en", "test"]] and row["training_task"] == "mnli", "its overlap is with that training"
    assert spec["lengths"]["tiny"]["advglue_mnli"] == spec["lengths"]["tiny"]["xnli"]


def test_a_set_never_tests_a_model_whose_training_has_seen_it(root, tmp_path):
    mixtures = {"mix": {"tasks": ["anli", "squad"], "steps": 5}}
    grid = [{**STUDY["grid"][0], "intermediates": ["none", "anli", "mix"]}]
    study = sets(root, tmp_path, grid=grid, mixtures=mixtures)
    assert [cell[2] for cell in study.attack_cells if cell[0] == "snli_cad"] == ["none"]
    assert [cell[2] for cell in study.attack_cells if cell[0] == "advglue_mnli"] == ["none", "anli", "mix"]
    (notice,) = about(study, "snli_cad")
    assert "never after anli" in notice and "never after mix" in notice


def test_a_set_without_a_search_and_a_search_without_a_set_are_checked(root, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(root, folder)
    put(folder, "both", set={"task": "advglue_mnli"})
    with pytest.raises(UserError, match=r"both.yaml: identity.transform: not allowed beside `set`"):
        load(folder)
    put(folder, "both", budget=None)
    with pytest.raises(UserError, match=r"both.yaml: identity: key 'budget' is missing"):
        load(folder)
    put(folder, "both", goals={"pair": {"right": 1.0}})
    with pytest.raises(UserError, match=r"both.yaml: identity.goals.pair: .*one of `below`, `drop`, `lost`"):
        load(folder)
    put(
        folder, "both", **dict.fromkeys(("transform", "search", "constraints", "goals", "budget")), set={"task": "xnli"}
    )
    with pytest.raises(UserError, match=r"both.yaml: identity.set.task: 'xnli' is unknown.*advglue_mnli"):
        load(folder)


# ---- static attacks
STATIC = {"attacks": ["plain"], "mode": "static", "sources": [{"model": "tiny", "intermediate": "none"}], "examples": 3}


def test_a_static_attack_is_made_once_on_its_source_and_put_to_all_other_cells(root):
    grid = [{**STUDY["grid"][0], "seeds": [1, 2]}]
    study = load(root, STATIC, grid=grid)
    assert list(study.attack_cells) == [("plain", "tiny", "none", 1)]
    assert list(study.transfer_cells) == [
        ("plain", "tiny.none.s1", "tiny", name, seed) for name, seed in (("none", 2), ("mnli", 1), ("mnli", 2))
    ]
    key = ("plain", "tiny.none.s1", "tiny", "mnli", 1)
    files = Outputs(study).transfer_files(key)
    assert files["xnli_de"] == "results/{study}/transfer/plain/tiny.none.s1/tiny/mnli/s1/xnli/de.jsonl"
    read = "results/{study}/attacks/plain/tiny/none/s1/xnli/de.jsonl"
    assert read in Outputs(study).made_on_source(key)
    spec, other = (Specs(one).transfer(*key) for one in (study, load(root, {**STATIC, "examples": 4}, grid=grid)))
    assert spec["source"] == {"model": "tiny", "intermediate": "none", "seed": 1} and spec["stage"] == "transfer"
    assert spec["made_by"] != other["made_by"], "other texts are another job"
    cell = Specs(study).analyse()["transfer_cells"][0]
    assert cell["source"] == "tiny.none.s1" and cell["languages"]["xnli"]


def test_an_attack_in_several_blocks_is_one_job_a_cell(root):
    adaptive = {"attacks": ["plain"], "targets": ["xnli"], "examples": 3}
    study = load(root, STATIC, adaptive)
    assert len(study.attack_cells) == 2
    assert study.attack_cells["plain", "tiny", "none", 1]["targets"] == ["xnli", "udpos", "tatoeba"]
    assert study.attack_cells["plain", "tiny", "mnli", 1]["targets"] == ["xnli"]
    with pytest.raises(UserError, match=r"attacks\[0\].examples \(of plain\): 3 .*Allowed: 7, as in attacks\[1\]"):
        load(root, STATIC, {**adaptive, "examples": 7})


@pytest.mark.parametrize(
    ("key", "one", "other"),
    [("examples", 3, 4), ("seconds", None, 2), ("languages", ["de"], ["en", "de"]),
     ("stand_ins", {}, {"mlm": {"seed": 2}})],
)  # fmt: skip
def test_cells_of_one_attack_hold_the_same_examples_whatever_block_they_are_of(root, key, one, other):
    base = {"attacks": ["masked" if key == "stand_ins" else "plain"], "targets": ["xnli"], "examples": 3}
    base[key] = one
    on = ({**base, "intermediates": ["none"]}, {**base, "intermediates": ["mnli"]})
    assert len(load(root, *on).attack_cells) == 2
    for first, second in (({}, {key: other}), ({key: other}, {})):
        with pytest.raises(UserError, match=rf"attacks\[[01]\]\.{key} \(of .*attacks\[[01]\]") as caught:
            load(root, {**on[0], **first}, {**on[1], **second})
        assert "attacks[0]" in str(caught.value) and "attacks[1]" in str(caught.value)
    static = {**base, "mode": "static", "sources": STATIC["sources"], key: other}
    with pytest.raises(UserError, match=rf"attacks\[[01]\]\.{key} \(of .*attacks\[[01]\]"):
        load(root, static, base)


def test_two_blocks_may_give_the_same_cells_other_targets_and_languages(root):
    blocks = [{"attacks": ["plain"], "targets": ["xnli"], "languages": [code]} for code in ("en", "de")]
    blocks.append({"attacks": ["plain"], "targets": ["udpos"], "intermediates": ["none"]})
    study = load(root, *blocks)
    assert study.attack_cells["plain", "tiny", "none", 1]["languages"]["xnli"] == ["de", "en"]
    assert study.attack_cells["plain", "tiny", "mnli", 1]["targets"] == ["xnli"]


# ---- blocks without effect
@pytest.mark.parametrize(
    ("block", "words"),
    [
        ({"attacks": ["plain"], "models": ["tiny"], "intermediates": ["mnli"], "targets": ["udpos"]}, "no cell of the"),
        ({"attacks": ["plain"], "intermediates": ["mnli"], "seeds": [2]}, "no cell of the grid has what attacks[0] na"),
        ({"attacks": ["plain"], "targets": ["tatoeba"], "languages": ["en"]}, "on tatoeba: attacks[0].languages has"),
        ({**STATIC, "intermediates": ["none"], "seeds": [1]}, "no cell beside the source tiny.none.s1"),
    ],
)
def test_a_block_that_adds_nothing_says_so(root, block, words):
    grid = [{**STUDY["grid"][0], "intermediates": ["none"], "seeds": [1, 2]},
            {**STUDY["grid"][0], "intermediates": ["mnli"], "targets": ["xnli"]}]  # fmt: skip
    study = load(root, block, grid=grid)
    assert not study.attack_cells and not study.transfer_cells and words in about(study, "plain")[0]


def test_a_notice_reads_as_a_sentence_and_names_the_cell(root):
    mixtures = {"mix": {"tasks": ["mnli", "squad"], "steps": 5}}
    grid = [{**STUDY["grid"][0], "intermediates": ["none", "mnli", "mix"]}]
    study = load(root, {"attacks": ["after"], "targets": ["xnli"]}, grid=grid, mixtures=mixtures)
    (notice,) = about(study, "after")
    assert "is not run on tiny after mnli: never after mnli" in notice and "; on tiny after mix: " in notice
    rows = [row for row in study.not_run if row["attack"] == "after"]
    assert [(row["model"], row["intermediate"]) for row in rows] == [("tiny", "mnli"), ("tiny", "mix")]
    study = load(root, {"attacks": ["pairs"], "targets": ["udpos"]})
    (notice,) = about(study, "pairs")
    assert notice.startswith("attack pairs is not run on udpos: ") and ";:" not in notice and notice.endswith("for it.")


# ---- a stand-in that a study changes
@pytest.mark.parametrize(
    ("attack", "changes", "words"),
    [
        ("plain", {"mlm": {"seed": 2}}, ["attacks[0].stand_ins.mlm", "no stand-in to change"]),
        ("masked", {"encoder": {"layer": 1}}, ["attacks[0].stand_ins.encoder", "has: mlm"]),
        ("near", {"encoder": {"model": "tinny"}}, ["stand_ins.encoder.model: 'tinny'", "Did you mean 'tiny'"]),
        ("near", {"encoder": {"layer": 3}}, ["stand_ins.encoder.layer: 3", "0 to 2", "tiny"]),
        ("near", {"encoder": {"layer": "3/2"}}, ["stand_ins.encoder.layer: '3/2'", "fraction up to 1"]),
        (
            "near",
            {"encoder": {"model": "me5-small-l3"}},
            ["stand_ins.encoder.least", "similarity.least, options.least"],
        ),
        ("near", {"encoder": {"least": 2}}, ["stand_ins.encoder.least", "2"]),
        ("aligned", {"encoder": {"least": 0.5}}, ["stand_ins.encoder.least", "no attack of the block compares"]),
    ],
)
def test_what_a_study_changes_of_a_stand_in_is_checked(compared, attack, changes, words):
    with pytest.raises(UserError) as caught:
        load(compared, {"attacks": [attack], "targets": ["xnli"], "stand_ins": changes})
    for word in ["plan.yaml", *words]:
        assert word in str(caught.value), (word, str(caught.value))


def test_another_encoder_has_a_threshold_of_its_own(compared):
    change = {"encoder": {"model": "me5-small-l3", "layer": 3, "least": 0.6}}
    study = load(compared, {"attacks": ["near", "aligned"], "targets": ["xnli"], "stand_ins": change})
    found = Specs(study).attack("near", "tiny", "none", 1)
    assert found["attack"]["constraints"]["similarity"] == {"least": 0.6} and found["attack"]["options"]["least"] == 0.6
    assert found["stand_ins"]["encoder"]["model"]["name"] == "me5-small-l3"
    assert "least" not in found["stand_ins"]["encoder"]
    own = Specs(load(compared, {"attacks": ["near"], "targets": ["xnli"]})).attack("near", "tiny", "none", 1)
    assert own["attack"]["constraints"]["similarity"] == {"least": 0.9} and own["attack"]["options"]["least"] == 0.8
    other = {"encoder": {"model": "me5-small-l3"}}  # no cosine is compared: none is asked for
    assert load(compared, {"attacks": ["aligned"], "targets": ["xnli"], "stand_ins": other}).attack_cells


@pytest.fixture(scope="module")
def compared(root, tmp_path_factory):
    """As `root`, with attacks that ask a similarity encoder."""
    folder = tmp_path_factory.mktemp("compared") / "root"
    shutil.copytree(root, folder)
    encoder = {"encoder": {"model": "tiny", "layer": "last", "pooling": "mean", "max_length": 64}}
    put(folder, "near", transform=["neighbours"], options={"least": 0.8}, stand_ins=encoder,
        constraints={**SEARCHED["constraints"], "similarity": {"least": 0.9}})  # fmt: skip
    put(folder, "aligned", transform=["phrases"], stand_ins=encoder)
    return folder


# ---- what a job reads
def test_an_attack_reads_its_own_languages_and_those_that_it_mixes_in(root, tmp_path):
    blocks = [{"attacks": ["plain"], "targets": ["xnli"], "languages": ["de"]},
              {"attacks": ["mixed"], "targets": ["xnli"], "languages": ["de"]}]  # fmt: skip

    def read(attack, *codes):
        study = load(root, *blocks, languages=list(codes))
        return Outputs(study).attack_examples(attack, study.attack_cells[attack, "tiny", "none", 1])

    alone = ["results/{study}/examples/xnli/de/test.jsonl"]
    assert read("plain", "en", "de") == read("plain", "en", "de", "ru") == alone
    assert {path.split("/")[4] for path in read("mixed", "en", "de", "ru")} == {"en", "de", "ru"}
    study = load(root, {**STATIC, "targets": ["tatoeba"], "languages": ["zh"]})
    (key,) = study.transfer_cells
    files = Outputs(study).attack_examples("plain", study.transfer_cells[key])
    assert files == ["results/{study}/examples/tatoeba/zh/test.jsonl"]
    study = sets(root, tmp_path)
    files = Outputs(study).attack_examples("snli_cad", study.attack_cells["snli_cad", "tiny", "none", 1])
    assert files == ["results/{study}/examples/snli_cad/en/test.jsonl"]


def test_adding_a_language_does_not_change_the_job_of_an_attack_on_another(root):
    block = {"attacks": ["plain"], "targets": ["xnli"], "languages": ["de"]}
    few, many = (Specs(load(root, block, languages=codes)) for codes in (["en", "de"], ["en", "de", "ru"]))
    assert few.attack("plain", "tiny", "none", 1) == many.attack("plain", "tiny", "none", 1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sources": []}, ["attacks[0].sources", "one or more cells", "tiny.none.s1"]),
        ({"sources": [{"model": "tiny", "intermediate": "squad"}]}, ["attacks[0].sources[0]", "tiny.squad.s1"]),
        ({"sources": [{"model": "tiny", "intermediate": "none", "seed": 4}]}, ["tiny.none.s4", "tiny.none.s1"]),
        ({"mode": "adaptive"}, ["attacks[0].sources", "mode: static"]),
        ({"mode": "fixed"}, ["attacks.0.mode", "'fixed'", "static"]),
        ({"attacks": ["advglue_mnli"]}, ["attacks[0].attacks", "static set already"]),
        ({"seconds": 0}, ["attacks.0.seconds", "0"]),
    ],
)
def test_a_wrong_static_block_is_one_error_that_says_what_is_allowed(root, change, words):
    with pytest.raises(UserError) as caught:
        load(root, {**STATIC, **change})
    for word in ["plan.yaml", *words]:
        assert word in str(caught.value), (word, str(caught.value))


# ---- the pages about a study, and its graph
def test_cost_and_check_know_sets_stand_ins_and_transfers(root, tmp_path):
    study = sets(root, tmp_path)
    amounts = Amounts(study, tmp_path)
    found = amounts.attack(("advglue_mnli", "tiny", "none", 1), {})
    assert found.examples == 1 and not found.unknown and found.read > 0
    put(root, "endless", budget={**SEARCHED["budget"], "queries": None})
    study = load(root, {"attacks": ["endless", "masked"], "examples": 3}, STATIC)
    jobs = estimate.jobs(study, Amounts(study, tmp_path), {}, tmp_path)
    stages = [job.stage for job in jobs]
    assert stages.count("transfer") == 1 and stages.count("attack") == 5 and stages.count("intermediate") == 2
    by_name = {job.key[0]: job.amount for job in jobs if job.stage in ("attack", "transfer")}
    assert "no limit of queries" in by_name["endless"].unknown and "stand-ins" in by_name["masked"].unknown
    transferred = next(job.amount for job in jobs if job.stage == "transfer")
    assert transferred.most and transferred.read > 0 and not transferred.unknown
    measured = Amounts(study, tmp_path).attack(
        ("endless", "tiny", "none", 1), {("endless", kind): 4.0 for kind in ("pair", "tagging", "retrieval")}
    )
    assert not measured.unknown and measured.read > 0
    (root / "plan.yaml").write_text(yaml.safe_dump({**STUDY, "attacks": [{"attacks": ["masked"]}, STATIC]}))
    page = check(root / "plan.yaml", root=root)
    assert "1 transfer" in page and "mlm on tiny, seed 1" in page


def test_jobs_of_attacks_and_transfers_never_share_an_identity(root):
    grid = [{**STUDY["grid"][0], "seeds": [1, 2]}]
    two = {**STATIC, "sources": [*STATIC["sources"], {"model": "tiny", "intermediate": "mnli"}]}
    study = load(root, two, {"attacks": ["pairs", "letters", "masked"], "examples": 3}, grid=grid)
    jobs = list(all_jobs(Specs(study)))
    assert len({identity for _, identity in jobs}) == len(jobs)


def test_the_graph_has_one_job_a_transfer_and_trains_what_an_attack_asks(root, tmp_path):
    project = copy_project(tmp_path / "project")
    shutil.copytree(root / "catalog" / "attacks", project / "catalog" / "attacks", dirs_exist_ok=True)
    grid = [{**STUDY["grid"][0], "targets": ["xnli", "tatoeba"]}]
    blocks = [{"attacks": ["masked"], "targets": ["xnli"], "examples": 3,
               "stand_ins": {"mlm": {"model": "me5-small-l3"}}}, STATIC]  # fmt: skip
    (project / "plan.yaml").write_text(yaml.safe_dump({**STUDY, "grid": grid, "attacks": blocks}))
    jobs = planned(project, "--configfile", "plan.yaml")
    assert jobs["transfer_plain_0"] == 1 and jobs["attack_plain_2"] == 1
    assert jobs["prepare_train_mlm"] == 1 and jobs["train_intermediate"] == 2 and jobs["fetch_model"] == 2
    only = snakemake(project, "transfers", "-n", "--quiet", "rules", "--configfile", "plan.yaml").stdout
    assert "transfer_plain_0" in only and "attack_masked" not in only
