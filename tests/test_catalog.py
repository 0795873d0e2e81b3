"""The catalog: every entry is right, a typo says what is wrong, and adding a thing is one file."""

import csv
import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from xstilts import catalog as catalogs
from xstilts import listing, pin, preset_diff
from xstilts import study as studies
from xstilts.__main__ import main
from xstilts.errors import UserError
from xstilts.specs import Specs

ROOT = Path(__file__).resolve().parent.parent
HASH = re.compile(r"\b[0-9a-f]{40}\b")
# XTREME's list lengths (google-research/xtreme, utils and evaluate.py)
LANGUAGES = {
    "xnli": 15, "pawsx": 7, "udpos": 33, "panx": 40, "xquad": 11, "mlqa": 7, "tydiqa": 9, "bucc2018": 4, "tatoeba": 36,
}  # fmt: skip
NINE = ["anli", "ccg", "commonsenseqa", "cosmosqa", "hellaswag", "mnli", "qqp", "squad", "squad_v2"]
TRAINING = {"xnli": "mnli", "xquad": "squad", "mlqa": "squad", "bucc2018": None, "tatoeba": None}
BASE = ["jiant", "xtreme-2020", "xtreme-head", "demo"]


@pytest.fixture(scope="module")
def catalog():
    return catalogs.load()


@pytest.fixture
def copy(tmp_path):
    """A temporary project with this catalog and these schemas."""
    shutil.copytree(ROOT / "catalog", tmp_path / "catalog")
    shutil.copytree(ROOT / "rules" / "schemas", tmp_path / "rules" / "schemas")
    return tmp_path


def files_of(root):
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def edit(root, path, old, new):
    file = root / path
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


# ---- what is there
def test_nine_targets_with_xtremes_languages_and_nine_intermediates(catalog):
    assert {name: len(catalog.task_languages(name)) for name in catalog.targets} == LANGUAGES
    assert catalog.intermediates == NINE
    assert len({code for name in catalog.targets for code in catalog.tasks[name].identity["languages"]}) == 40
    assert len(catalog.languages) == 40
    groups = [catalog.tasks[name].identity["group"] for name in catalog.targets]
    assert groups == ["classification"] * 2 + ["tagging"] * 2 + ["qa"] * 3 + ["retrieval"] * 2


def test_variants_can_be_named_but_are_none_of_the_nine(catalog):
    assert catalog.variants == ["mlm", "mnli_translated"]
    assert not {*catalog.variants} & {*catalog.intermediates, *catalog.targets}
    identity = catalog.tasks["mlm"].identity
    assert (identity["kind"], identity["metrics"], identity["labels"]) == ("mlm", [], [])
    assert catalog.preset("mlm", "jiant", stage="intermediate")["mask_probability"] == 0.15
    listed = listing.list_catalog(catalog)
    assert "\nVariants (2)\n" in listed and re.search(r"\nmlm +mlm +40 +hub", listed)


def test_each_target_is_trained_on_the_published_task(catalog):
    for name in catalog.targets:
        assert catalog.tasks[name].identity["training_task"] == TRAINING.get(name, name)


def test_labels_are_those_of_the_benchmarks(catalog):
    labels = {name: task.identity["labels"] for name, task in catalog.tasks.items()}
    assert labels["xnli"] == labels["mnli"] == labels["anli"] == ["entailment", "neutral", "contradiction"]
    assert labels["pawsx"] == ["0", "1"]
    assert len(labels["udpos"]) == 17 and labels["panx"][0] == "O" and len(labels["panx"]) == 7


def test_label_maps_of_every_part_lead_to_the_tasks_labels(catalog):
    for task in catalog.tasks.values():
        for parts in task.sources.values():
            for part in parts:
                mapped = list(part.get("labels", {}).values())
                if task.identity["kind"] == "choice":
                    assert mapped in ([], [0, 1, 2, 3, 4])
                elif mapped:
                    assert set(mapped) == set(task.identity["labels"]), task.name


def test_languages_say_script_spaces_and_direction(catalog):
    assert sorted(code for code, row in catalog.languages.items() if not row["spaces"]) == ["ja", "my", "th", "zh"]
    rtl = sorted(code for code, row in catalog.languages.items() if row["direction"] == "rtl")
    assert rtl == ["ar", "fa", "he", "ur"]
    assert len({row["iso3"] for row in catalog.languages.values()}) == 40


def test_tatoeba_and_udpos_use_the_hubs_own_language_names(catalog):
    codes = catalog.tasks["tatoeba"].sources["hub"][0]["codes"]
    assert set(codes) == set(catalog.tasks["tatoeba"].identity["languages"])
    assert [codes[code] for code in ("zh", "fa", "sw", "tl")] == ["cmn", "pes", "swh", "tgl"]
    assert catalog.tasks["udpos"].sources["hub"][0]["config"] == "udpos.{language_name}"
    assert catalog.languages["de"]["name"] == "German"


def test_parameter_counts_follow_from_the_configurations(catalog):
    # millions in all and without word embeddings, computed elsewhere from the same configurations
    sizes = {name: model.size for name, model in catalog.models.items()}
    rounded = {name: (size["parameters"] / 1e6, size["non_embedding_parameters"] / 1e6) for name, size in sizes.items()}
    assert rounded["xlm-r-base"] == pytest.approx((277.5, 85.5), abs=0.051)
    assert rounded["xlm-r-large"] == pytest.approx((558.8, 302.8), abs=0.051)
    assert rounded["xlm-r-xl"] == pytest.approx((3475.9, 2833.7), abs=0.051)
    assert rounded["xlm-r-xxl"] == pytest.approx((10696.0, 9668.3), abs=0.051)
    width, inner = 384, 1536
    block = 4 * (width * width + width) + 2 * width * inner + inner + width + 4 * width
    for layers in (3, 6, 12):
        rest = 514 * width + width + 2 * width + layers * block
        size = sizes[f"me5-small-l{layers}"]
        assert (size["parameters"], size["non_embedding_parameters"]) == (250_037 * width + rest, rest)


def test_claims_and_published_scores_name_their_sources(catalog):
    assert [claim["claim"] for claim in catalog.claims] == list(range(1, 15))
    assert {claim["kind"] for claim in catalog.claims} == {"measurable", "structural", "literature"}
    assert all(claim["text"] and claim["source"] and claim["decided"] for claim in catalog.claims)
    with open(catalog.published_path, encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) > 100 and all(row["source"] and float(row["value"]) for row in rows)
    assert {row["status"] for row in rows} == {"verified", "second-hand", "derived"}
    known = {*catalog.targets, "classification", "tagging", "qa", "retrieval", "xtreme", "xtreme_without_retrieval"}
    assert {row["target"] for row in rows} <= known


# ---- hyper-parameters
# in every source; dropout is the published models' own, restarts of failed runs are ours
SAME = {"adam_epsilon": 1e-8, "max_grad_norm": 1.0, "schedule": "linear", "dropout": 0.1, "restarts": 2}
WINDOWS = {"doc_stride": 128, "max_query_length": 64, "n_best": 20, "max_answer_length": 30}
ALL = {"eval_examples": None, "patience": None}  # every example, never stopped early
# facts/paper.md, section 4a: optimiser, warm-up, looks at English dev; then its table, in the order of COLUMNS
JIANT = {**SAME, "weight_decay": 0.01, "warmup": 0.1, "selection": "english_dev_best", "eval_every": 1000,
         "eval_examples": 500, "patience": 30}  # fmt: skip
JIANT_TABLE = {
    "mnli": (1e-5, 4 * 8, 2, 256), "pawsx": (1e-5, 4 * 8, 5, 256), "udpos": (1e-5, 4 * 8, 10, 256),
    "panx": (1e-5, 4 * 8, 10, 256), "squad": (1e-5, 4 * 4, 2, 384), "tydiqa": (1e-5, 4 * 4, 2, 384),
}  # fmt: skip
# section 4b: one row for every intermediate task
INTERMEDIATE = {**SAME, **ALL, "weight_decay": 0.01, "warmup": 0.1, "selection": "last", "eval_every": None,
                "learning_rate": 1e-5, "batch_size": 4, "epochs": 3, "max_length": 256}  # fmt: skip
# facts/xtreme.md, section 4: no warm-up and no weight decay outside QA; QA keeps the last checkpoint
XTREME = {**SAME, **ALL, "weight_decay": 0.0, "warmup": 0.0, "selection": "english_dev_best"}
XTREME_QA = {**SAME, **ALL, "weight_decay": 1e-4, "warmup_steps": 500, "selection": "last", "eval_every": None}
XTREME_2020 = {
    "mnli": (2e-5, 2 * 16, 5, 128, 100), "pawsx": (2e-5, 2 * 16, 5, 128, 200), "udpos": (2e-5, 2 * 16, 10, 128, 500),
    "panx": (2e-5, 2 * 16, 10, 128, 1000), "squad": (3e-5, 4 * 4, 2, 384), "tydiqa": (3e-5, 4 * 4, 2, 384),
}  # fmt: skip
XTREME_HEAD = {**XTREME_2020, "squad": (3e-5, 4 * 8, 3, 384), "tydiqa": (3e-5, 4 * 8, 3, 384)}
COLUMNS = ("learning_rate", "batch_size", "epochs", "max_length", "eval_every")
# facts/paper.md, sections 4a and 5; facts/xtreme.md, section 5 (blocks 14 and 20 of 24; mBERT: index 7, block 8)
RETRIEVAL = {
    ("tatoeba", "jiant"): {"layer": "14/24", "pooling": "mean", "max_length": 512},
    ("tatoeba", "xtreme-2020"): {"layer": "14/24", "pooling": "mean", "max_length": 512},
    ("tatoeba", "xtreme-head"): {"layer": "14/24", "pooling": "mean", "max_length": 512},
    ("bucc2018", "jiant"): {
        "layer": "14/24", "pooling": "mean", "max_length": 512, "neighbours": 4, "duplicates": "expand"},
    ("bucc2018", "xtreme-2020"): {
        "layer": "20/24", "pooling": "mean", "max_length": 512, "neighbours": 4, "duplicates": "drop"},
    ("bucc2018", "xtreme-head"): {
        "layer": "20/24", "pooling": "cls", "max_length": 512, "neighbours": 4, "duplicates": "drop"},
}  # fmt: skip


def row(table, common, task):
    extra = {"udpos": {"labelled_piece": "first"}, "panx": {"labelled_piece": "first"}}
    windows = WINDOWS if task in ("squad", "tydiqa") else {}
    return {**common, **dict(zip(COLUMNS, table[task], strict=False)), **windows, **extra.get(task, {})}


@pytest.mark.parametrize("task", JIANT_TABLE)
def test_presets_of_targets_are_the_published_settings_to_the_last_key(catalog, task):
    xtreme = XTREME_QA if task in ("squad", "tydiqa") else XTREME
    for model in (None, "xlm-r-large", "xlm-r-base", "mbert"):
        assert catalog.preset(task, "jiant", model=model) == row(JIANT_TABLE, JIANT, task)
        assert catalog.preset(task, "xtreme-2020", model=model) == row(XTREME_2020, xtreme, task)
        head = row(XTREME_HEAD, xtreme, task)
        if (task, model) == ("mnli", "xlm-r-large"):
            head["learning_rate"] = 3e-5  # "HEAD uses 3e-5 for XLM-R large and XLM"
        assert catalog.preset(task, "xtreme-head", model=model) == head


@pytest.mark.parametrize("task", NINE)
@pytest.mark.parametrize("preset", ["jiant", "xtreme-2020", "xtreme-head"])
def test_intermediate_tasks_are_trained_as_the_guide_of_the_released_code_says(catalog, task, preset):
    extra = {"squad": WINDOWS, "squad_v2": WINDOWS, "ccg": {"labelled_piece": "first"}}.get(task, {})
    assert catalog.preset(task, preset, stage="intermediate") == {**INTERMEDIATE, **extra}


@pytest.mark.parametrize(("task", "preset"), RETRIEVAL)
def test_retrieval_presets_are_the_published_settings(catalog, task, preset):
    assert catalog.preset(task, preset, model="xlm-r-large") == RETRIEVAL[task, preset]
    block = "14/24" if preset == "jiant" else 8
    assert catalog.preset(task, preset, model="mbert") == {**RETRIEVAL[task, preset], "layer": block}


def test_presets_say_where_their_numbers_come_from_and_how_this_pipeline_differs(catalog):
    def source(task, preset):
        return catalog.tasks[task].presets[preset]["source"]

    for task in (*JIANT_TABLE, "tatoeba", "bucc2018"):
        assert "daa5a25" in source(task, "jiant")
        assert "9e562ff" in source(task, "xtreme-2020") and "838c13b" in source(task, "xtreme-head")
    for task in JIANT_TABLE:
        assert "whether the paper used them was not found" in source(task, "jiant")
        assert "seed is random by default" in source(task, "jiant")
    for task in NINE:
        name = "jiant-intermediate" if task in ("mnli", "squad") else "jiant"
        assert "the paper's own schedule was not found" in source(task, name)
    for task in ("udpos", "panx", "ccg"):
        assert "no word is lost" in source(task, "jiant")
    assert "128 - 3 pieces there, 128 - 2 here" in source("udpos", "xtreme-2020")
    assert "whitespace tokens there, by character offsets here" in source("squad", "xtreme-head")
    assert "5 % of it are held out" in source("tydiqa", "xtreme-2020")
    assert "ignored until 2021-10" in source("bucc2018", "xtreme-2020")


def test_every_trained_or_retrieving_task_has_the_four_presets_with_a_source(catalog):
    having = {*NINE, "pawsx", "udpos", "panx", "tydiqa", "tatoeba", "bucc2018"}
    for name in {*NINE, *catalog.targets}:
        task = catalog.tasks[name]
        plain = [preset for preset in task.presets if not preset.endswith("-intermediate")]
        assert sorted(plain) == sorted(BASE if name in having else []), name
    for task in catalog.tasks.values():
        assert all(len(values["source"]) > 20 for values in task.presets.values())


def test_a_run_too_short_to_leave_the_majority_is_not_repeated(catalog):
    for name, task in catalog.tasks.items():
        for preset, hyper in task.presets.items():
            if task.identity["kind"] != "retrieval":
                assert hyper["restarts"] == (0 if preset.startswith("demo") else 2), (name, preset)
            else:
                assert "restarts" not in hyper


def test_an_override_takes_the_place_of_its_alternative(catalog):
    changed = catalog.preset("mnli", "jiant", {"max_steps": 7, "warmup_steps": 2})
    assert changed["max_steps"] == 7 and "epochs" not in changed and "warmup" not in changed


def test_a_study_overrides_what_a_preset_says_for_one_model(catalog):
    chosen = catalog.preset("mnli", "xtreme-head", {"learning_rate": 5e-5}, model="xlm-r-large")
    assert chosen["learning_rate"] == 5e-5 and "models" not in chosen
    assert catalog.preset("tatoeba", "xtreme-head", {"layer": "last"}, model="mbert")["layer"] == "last"


@pytest.mark.parametrize(
    ("task", "preset", "overrides", "message"),
    [
        ("mnli", "jaint", {}, r"tasks/mnli.yaml: presets: .*'jaint'.*'jiant'.*Allowed: jiant, "),
        ("mnil", "jiant", {}, r"no task 'mnil'. Did you mean 'mnli'"),
        ("xnli", "jiant", {}, r"xnli has no preset 'jiant'"),
        ("mnli", "jiant", {"learnin_rate": 1}, r"overrides.mnli: unknown key 'learnin_rate'. Did .* 'learning_rate'"),
        ("mnli", "jiant", {"doc_stride": 64}, r"overrides.mnli: unknown key 'doc_stride'"),
        ("mnli", "jiant", {"models": {}}, r"overrides.mnli: unknown key 'models'"),
        ("mnli", "jiant", {"learning_rate": "1e-4"}, r"mnli.learning_rate: '1e-4' .*write 1.0e-4"),
        ("mnli", "jiant", {"epochs": 2, "max_steps": 9}, r"overrides.mnli: give only one of epochs and max_steps"),
        ("tatoeba", "jiant", {"layer": "lst"}, r"overrides.tatoeba.layer: 'lst' .*`last`"),
        ("tatoeba", "jiant", {"layer": "25/24"}, r"overrides.tatoeba.layer: '25/24' lies beyond the last block"),
        ("tatoeba", "jiant", {"layer": 13}, r"tatoeba.layer: 13 is not allowed: mbert has 12 blocks"),
        ("tatoeba", "jiant", {"neighbours": 4}, r"overrides.tatoeba: unknown key 'neighbours'"),
        ("bucc2018", "jiant", {"pooling": "man"}, r"bucc2018.pooling: 'man' is not allowed. Did you mean 'mean'"),
        ("bucc2018", "jiant", {"learning_rate": 1}, r"overrides.bucc2018: unknown key 'learning_rate'.*Allowed: layer"),
    ],
)  # fmt: skip
def test_a_wrong_preset_or_override_says_what_exists(catalog, task, preset, overrides, message):
    with pytest.raises(UserError, match=message):
        catalog.preset(task, preset, overrides, model="mbert")


def test_jobs_of_one_model_get_that_models_settings(catalog):
    config = catalogs.read_yaml(ROOT / "studies" / "paper.yaml")
    config["grid"] = [{"models": ["mbert", "xlm-r-large"], "targets": ["xnli", "bucc2018", "tatoeba"]}]
    config["training"] = {"preset": "xtreme-head"}
    config["attacks"] = [{"attacks": ["lookalike"], "examples": 5}]
    jobs = Specs(studies.load(config, "study.yaml"))
    layers = {}
    for model in ("mbert", "xlm-r-large"):
        spec = jobs.retrieval(model, "none", 1)
        assert "max_length" not in spec and set(spec["targets"]) == {"bucc2018", "tatoeba"}
        assert spec["targets"]["bucc2018"]["options"] == {"mining": "margin"}
        layers[model] = [target["hyper"]["layer"] for target in spec["targets"].values()]
        attacked = jobs.attack("lookalike", model, "none", 1)["targets"]
        for name in set(attacked) & set(spec["targets"]):
            assert attacked[name]["hyper"] == spec["targets"][name]["hyper"]
        assert jobs.evaluate(model, "none", 1, "mnli")["hyper"] == {"max_length": 128}
    assert layers == {"mbert": [8, 8], "xlm-r-large": ["20/24", "14/24"]}


# ---- catalog diff
PUBLISHED = ["jiant", "xtreme-2020", "xtreme-head"]


def test_diff_shows_exactly_the_keys_that_differ(catalog):
    found = preset_diff.compare(catalog, PUBLISHED)
    assert found["mnli"] == {
        "learning_rate": [1e-5, 2e-5, 2e-5], "learning_rate [xlm-r-large]": [1e-5, 2e-5, 3e-5], "epochs": [2, 5, 5],
        "max_length": [256, 128, 128], "warmup": [0.1, 0, 0], "weight_decay": [0.01, 0, 0],
        "eval_every": [1000, 100, 100], "eval_examples": [500, None, None], "patience": [30, None, None],
    }  # fmt: skip
    assert found["squad"]["warmup_steps"] == [preset_diff.ABSENT, 500, 500]
    assert found["squad"]["batch_size"] == [16, 16, 32] and found["squad"]["epochs"] == [2, 2, 3]
    assert found["tatoeba"] == {"layer [mbert]": ["14/24", 8, 8]}
    assert found["bucc2018"] == {
        "layer": ["14/24", "20/24", "20/24"], "layer [mbert]": ["14/24", 8, 8], "pooling": ["mean", "mean", "cls"],
        "duplicates": ["expand", "drop", "drop"],
    }  # fmt: skip
    assert found["qqp"] == {}
    large = preset_diff.compare(catalog, PUBLISHED, ["mnli", "tatoeba"], model="xlm-r-large")
    assert large["mnli"]["learning_rate"] == [1e-5, 2e-5, 3e-5] and large["tatoeba"] == {}


def test_diff_on_the_command_line_is_an_aligned_table(capsys):
    assert main(["catalog", "diff", *PUBLISHED, "--task", "xnli", "qqp", "--model", "xlm-r-base"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "mnli (trains xnli), xlm-r-base"
    assert lines[1].split() == ["key", *PUBLISHED]
    assert lines[3].split() == ["learning_rate", "1e-05", "2e-05", "2e-05"]
    assert "patience       30     null         null" in lines
    assert [lines[3].index("2e-05"), lines[3].rindex("2e-05")] == [
        lines[1].index("xtreme-2020"),
        lines[1].index("xtreme-head"),
    ]
    assert "No difference: qqp." in lines
    assert main(["catalog", "diff", "jiant", "xtreme-2020", "--task", "squad", "--sources"]) == 0
    text = capsys.readouterr().out
    assert "  xtreme-2020: google-research/xtreme 9e562ff" in text and "–" in text
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["diff", "jiant"], "at least two presets"),
        (["diff", "jaint", "demo"], "no preset 'jaint'|no task has a preset 'jaint'. Did you mean 'jiant'"),
        (["diff", "jiant", "demo", "--task", "mnil"], "no task 'mnil'. Did you mean 'mnli'"),
        (["diff", "jiant", "jiant-intermediate", "--task", "pawsx"], "pawsx has no preset 'jiant-intermediate'"),
        (["diff", "jiant", "demo", "--model", "xlmr-large"], "no model 'xlmr-large'. Did you mean 'xlm-r-large'"),
        (["--task", "mnli"], "catalog diff PRESET PRESET"),
    ],
)
def test_diff_names_what_it_does_not_know(capsys, arguments, message):
    assert main(["catalog", *arguments]) == 1
    assert re.search(message, capsys.readouterr().err)


# ---- sources
def test_the_first_source_in_the_studys_order_is_taken(catalog):
    assert catalog.task_source("xnli", ["local", "hub"])[0] == "local"
    assert catalog.task_source("ccg", ["hub", "embedded"])[0] == "embedded"
    assert len(catalog.task_source("anli", ["hub"])[1]) == 5
    with pytest.raises(UserError, match=r"catalog/tasks/ccg.yaml: sources: .*licensed, embedded.*LDC licence"):
        catalog.task_source("ccg", ["hub", "local"])


def test_generated_examples_carry_the_tasks_labels(catalog):
    embedded = pytest.importorskip("xstilts.embedded")
    for task in catalog.tasks.values():
        if task.name in catalog.challenges:  # others' texts
            continue
        part, labels = task.sources["embedded"][0], set(task.identity["labels"])
        language = "de" if task.identity["kind"] == "retrieval" else "en"
        for split in part["splits"].values():
            rows = embedded.generate(part["generator"], language, split, 5, 1)
            if labels:
                found = {label for row in rows for label in row.get("tags", [row.get("label")])}
                assert found <= labels, (task.name, found - labels)


def test_no_revision_is_written_by_hand(catalog):
    assert catalog.revisions == {}
    for path in [*(ROOT / "catalog" / "tasks").glob("*.yaml"), *(ROOT / "catalog" / "models").glob("*.yaml")]:
        assert not HASH.search(path.read_text(encoding="utf-8")), path
    candidates = catalogs.read_yaml(catalog.candidates_path)
    assert candidates["status"] == "candidate, to be confirmed by xstilts pin"
    assert set(candidates["candidates"]) == set(pin.hub_ids(catalog))
    for row in candidates["candidates"].values():
        assert bool(row["revision"]) == (row["witnesses"] > 0)


@pytest.mark.real
def test_local_parts_fit_the_real_subsets(catalog, real_root):
    for task in catalog.tasks.values():
        for part in task.sources.get("local", []):
            folder = real_root / part["folder"]
            extra = {*catalog.variants, *catalog.challenges}
            if (task.name in extra or "replaces" in part) and not folder.is_dir():
                continue  # the subsets hold what targets and the nine intermediates need
            codes = [code for code in part.get("languages", task.identity["languages"]) if (folder / code).is_dir()]
            codes = [code for code in codes if (task.name, code) != ("udpos", "kk")]  # 31 training sentences, no test
            assert codes, task.name
            for split, name in part["splits"].items():
                name = name["from"] if isinstance(name, dict) else name
                sides = ["_source", "_target", "_gold"] if task.name == "bucc2018" else [""]
                for code in codes if split == "test" else ["zh"] if task.name == "bucc2018" else ["en"]:
                    for side in sides:
                        assert (folder / code / f"{name}{side}.jsonl").is_file(), (task.name, code, name)
            if task.name != "bucc2018":
                with open(folder / codes[0] / f"{name}.jsonl", encoding="utf-8") as handle:
                    row = json.loads(next(handle))
                lists = [[value] if isinstance(value, str) else value for value in part["fields"].values()]
                assert all(field.split(".")[0] in row for fields in lists for field in fields), task.name


# ---- schemas and messages
def walk(schema, path=""):
    if isinstance(schema, dict):
        for name, sub in schema.get("properties", {}).items():
            yield f"{path}.{name}", sub
        for key, sub in schema.items():
            yield from walk(sub, f"{path}.{key}")
    elif isinstance(schema, list):
        for sub in schema:
            yield from walk(sub, path)


@pytest.mark.parametrize("name", ["task", "model", "attack", "languages", "study"])
def test_every_property_of_a_schema_is_described(name):
    schema = json.loads((ROOT / "rules" / "schemas" / f"{name}.schema.json").read_text(encoding="utf-8"))
    assert not [path for path, sub in walk(schema) if "description" not in sub and "$ref" not in sub]


@pytest.mark.parametrize(
    ("path", "old", "new", "message"),
    [
        ("tasks/xnli", "  kind:", "  knid:", r"tasks/xnli.yaml: identity: unknown key 'knid'. Did you mean 'kind'"),
        ("tasks/xnli", "kind: pair", "kind: pairs", r"identity.kind: 'pairs' is not allowed. Did you mean 'pair'"),
        ("tasks/mnli", "    batch_size: 32\n", "", r"mnli.yaml: presets.jiant: key 'batch_size' is missing"),
        ("tasks/mnli", "    epochs: 2\n", "", r"presets.jiant: give exactly one of epochs and max_steps"),
        ("tasks/xnli", "task: mnli", "task: mnil", r"training_task: no task 'mnil'. Did you mean 'mnli'"),
        ("tasks/xquad", "normalisation:", "normalization:", r"identity.options.*'normalization'.*'normalisation'"),
        ("tasks/panx", "[af, ar,", "[af, xx,", r"tasks/panx.yaml: identity.languages: 'xx' is unknown"),
        ("models/tiny", "type: random", "type: randon", r"models/tiny.yaml: identity.source.type.*'random'"),
        ("tasks/mnli", "xlm-r-large: {", "xlm-r-larg: {", r"presets.xtreme-head.models: .*'xlm-r-larg'.*'xlm-r-large'"),
        (
            "tasks/mnli",
            "{learning_rate: 3",
            "{learn_rate: 3",
            r"models.xlm-r-large: unknown key 'learn_rate'.*'learning_",
        ),
        ("tasks/tatoeba", "{layer: 8}", "{layer: 13}", r"xtreme-2020.models.mbert.layer: 13 .* mbert has 12 blocks"),
        (
            "tasks/tatoeba",
            "{mining: nearest}",
            "{mining: nearest, neighbours: 4}",
            r"options: unknown key 'neighbours'",
        ),
        (
            "tasks/bucc2018",
            "    duplicates: drop\n",
            "",
            r"presets.xtreme-2020: key 'duplicates' is missing .*expand: ",
        ),
        ("tasks/mlm", "    mask_probability: 0.15\n", "", r"presets.jiant: key 'mask_probability' is missing"),
        ("tasks/mlm", "[variant]", "[variant, intermediate]", r"roles: .* a variant has no other role"),
        ("tasks/mlm", "[variant]", "[intermediate]", r"mlm.yaml: identity.roles: .*Expected: \[variant\]: kind mlm"),
        ("tasks/mlm", "batch_size: 4", "batch_size: 4.0", r"presets.jiant.batch_size: 4.0 .*a whole number: write 4"),
        ("tasks/mnli", "learning_rate: 1.0e-5", "learning_rate: .nan", r"learning_rate: nan .*\(a finite number\)"),
        ("tasks/xnli", "[accuracy]", "[]", r"identity.metrics: empty; only kind mlm"),
        ("languages", "script: Latn", "script: latin", r"languages.yaml: af.script: 'latin' does not match"),
        ("tasks/xnli", "sources:", "sources: [", r"xnli.yaml: not YAML"),
    ],
)
def test_a_typo_names_file_key_and_close_match(copy, path, old, new, message):
    edit(copy, f"catalog/{path}.yaml", old, new)
    with pytest.raises(UserError, match=message):
        catalogs.load(copy)


def test_a_study_config_is_checked_and_filled():
    config = catalogs.validate({"study": "s", "grid": [{"models": ["tiny"]}]}, "study", "s.yaml")
    assert config["grid"][0] == {"models": ["tiny"], "intermediates": ["none"], "targets": "all", "seeds": [1]}
    assert config["training"]["preset"] == "jiant" and config["bootstrap"] == {"samples": 1000, "seed": 0}
    assert config["data"] == {"train": None, "dev": None, "test": None, "text": None, "seed": 1}
    assert config["licensed"] == {"ccgbank": None} and config["data_root"] is None
    with pytest.raises(UserError, match=r"s.yaml: grid.0: unknown key 'model'. Did you mean 'models'"):
        catalogs.validate({"study": "s", "grid": [{"model": ["tiny"]}]}, "study", "s.yaml")
    with pytest.raises(UserError, match=r"s.yaml: training.precision: 'fp16' is not allowed.*bf16, fp32"):
        catalogs.validate({**config, "training": {"precision": "fp16"}}, "study", "s.yaml")


@pytest.mark.parametrize("path", sorted((ROOT / "studies").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_study_fits_the_schema(path):
    catalogs.validate(catalogs.read_yaml(path), "study", path)


# ---- one file each
def guide_example(title):
    """The YAML block under a heading of docs/adding.md."""
    text = (ROOT / "docs" / "adding.md").read_text(encoding="utf-8")
    section = text.split(f"## {title}\n", 1)[1]
    return section.split("```yaml\n", 1)[1].split("```", 1)[0]


@pytest.mark.parametrize(
    ("title", "path"),
    [
        ("A task", "catalog/tasks/scitail.yaml"),
        ("A model", "catalog/models/my-encoder.yaml"),
        ("An attack", "catalog/attacks/charswap-strong.yaml"),
    ],
)
def test_the_guides_example_is_one_file_that_loads(copy, title, path):
    before = files_of(copy)
    (copy / path).write_text(guide_example(title), encoding="utf-8")
    after = catalogs.load(copy)
    name = Path(path).stem
    assert name in {**after.tasks, **after.models, **after.attacks}
    changed = {file for file, content in files_of(copy).items() if before.get(file) != content}
    assert changed == {copy / path}
    if title == "A task":
        assert name in after.intermediates and after.preset(name, "demo")["max_steps"] == 80


def test_the_guides_presets_are_those_of_the_catalog(catalog):
    text = (ROOT / "docs" / "adding.md").read_text(encoding="utf-8").split("### Presets\n", 1)[1]
    models, retrieval = (yaml.safe_load(block.split("```", 1)[0]) for block in text.split("```yaml\n")[1:3])
    head = catalog.tasks["mnli"].presets["xtreme-head"]
    assert models["xtreme-head"] == {key: head[key] for key in ("learning_rate", "models")}
    guide = retrieval["presets"]["jiant"]
    del guide["source"]
    assert guide == catalog.preset("bucc2018", "jiant")


def test_a_language_is_one_row_or_one_lexicon(copy):
    row = "is: {name: Icelandic, iso3: isl, script: Latn, family: Indo-European}\n"
    edit(copy, "catalog/languages.yaml", "af: {", row + "af: {")
    assert catalogs.load(copy).languages["is"]["spaces"] is True
    (copy / "catalog" / "lexicons" / "fo.yaml").write_text(guide_example("A language"), encoding="utf-8")
    after = catalogs.load(copy)
    assert after.languages["fo"]["name"] == "Faroese"
    assert after.task_languages("xnli")[-1] == "fo" and "fo" not in after.task_languages("udpos")
    assert "fo" not in after.tasks["xnli"].identity["languages"]  # XTREME's own list stays as it is
    (copy / "catalog" / "lexicons" / "xx.yaml").write_text("grammar: en\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"lexicons/xx.yaml: language: .*no row 'xx'"):
        catalogs.load(copy)


def test_the_listing_names_everything(catalog):
    text = listing.list_catalog(catalog)
    for name in [*catalog.tasks, *catalog.models, *catalog.attacks, *catalog.languages]:
        assert re.search(rf"(^|\s){re.escape(name)}(\s|$)", text), name
