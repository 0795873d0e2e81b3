"""The catalog: every entry is right, a typo says what is wrong, and adding a thing is one file."""

import csv
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from xstilts import catalog as catalogs
from xstilts import pin
from xstilts.errors import UserError

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
def test_every_trained_task_has_the_four_presets_with_a_source(catalog):
    trained = {*NINE, "pawsx", "udpos", "panx", "tydiqa"}
    for name, task in catalog.tasks.items():
        assert [preset for preset in task.presets if not preset.endswith("-intermediate")] == (
            BASE if name in trained else []
        )
        assert all(len(values["source"]) > 20 for values in task.presets.values())


def test_presets_hold_the_published_numbers(catalog):
    xnli = catalog.preset("mnli", "jiant")
    assert (xnli["learning_rate"], xnli["batch_size"], xnli["epochs"], xnli["max_length"]) == (1e-5, 32, 2, 256)
    squad = catalog.preset("squad", "xtreme-head")
    assert (squad["learning_rate"], squad["batch_size"], squad["epochs"], squad["warmup_steps"]) == (3e-5, 32, 3, 500)
    assert squad["selection"] == "last" and squad["doc_stride"] == 128 and "source" not in squad
    assert catalog.preset("panx", "xtreme-2020")["eval_every"] == 1000
    as_intermediate = catalog.preset("mnli", "jiant", stage="intermediate")
    assert (as_intermediate["batch_size"], as_intermediate["epochs"]) == (4, 3)
    assert catalog.preset("qqp", "jiant", stage="intermediate") == catalog.preset("qqp", "jiant")


def test_an_override_takes_the_place_of_its_alternative(catalog):
    changed = catalog.preset("mnli", "jiant", {"max_steps": 7, "warmup_steps": 2})
    assert changed["max_steps"] == 7 and "epochs" not in changed and "warmup" not in changed


def test_unknown_preset_and_hyper_parameter_say_what_exists(catalog):
    with pytest.raises(UserError, match=r"tasks/mnli.yaml: presets: .*'jaint'.*'jiant'.*Allowed: jiant, "):
        catalog.preset("mnli", "jaint")
    with pytest.raises(UserError, match=r"overrides.mnli: unknown hyper-parameter 'learnin_rate'.*'learning_rate'"):
        catalog.preset("mnli", "jiant", {"learnin_rate": 1})
    with pytest.raises(UserError, match=r"no task 'mnil'. Did you mean 'mnli'"):
        catalog.preset("mnil", "jiant")


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
            codes = part.get("languages", task.identity["languages"])
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
    assert config["data"] == {"train": None, "dev": None, "test": None, "seed": 1}
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


# ---- pinning
class Hub:
    """A hub that knows one commit of each id."""

    def __init__(self, files, known=(), fail=None):
        self.files, self.known, self.fail, self.asked = files, known, fail, []

    def _info(self, name, revision, files_metadata):
        self.asked.append((name, revision))
        if self.fail:
            raise self.fail
        if revision not in ("main", "refs/convert/parquet", *self.known):
            raise NotFound()
        sha = revision if revision in self.known else "1" * 40
        siblings = [SimpleNamespace(rfilename=file, lfs=SimpleNamespace(sha256="0" * 64)) for file in self.files]
        return SimpleNamespace(sha=sha, siblings=siblings)

    dataset_info = model_info = _info


class NotFound(Exception):
    response = SimpleNamespace(status_code=404)


def test_pin_confirms_the_candidate_or_takes_the_head(copy):
    entry = catalogs.load(copy)
    candidates = catalogs.read_yaml(entry.candidates_path)["candidates"]
    known, said = candidates["rajpurkar/squad"]["revision"], []
    table = pin.pin(entry, ["squad"], Hub(["plain_text/train.parquet", "README.md"], [known]), said.append)
    assert table["rajpurkar/squad"]["revision"] == known and "confirmed" in said[0]
    assert table["rajpurkar/squad"]["files"] == {"plain_text/train.parquet": "0" * 64}
    table = pin.pin(catalogs.load(copy), ["xlm-r-base"], Hub(["model.safetensors"]), said.append)
    assert table["FacebookAI/xlm-roberta-base"]["revision"] == "1" * 40 and "taking main" in said[1]
    text = (copy / "catalog" / "revisions.lock").read_text(encoding="utf-8")
    assert text.startswith("# Hub revisions") and set(yaml.safe_load(text)) == {
        "rajpurkar/squad",
        "FacebookAI/xlm-roberta-base",
    }
    assert catalogs.load(copy).revisions == table


def test_pin_says_what_to_do_without_a_network_or_parquet(copy):
    entry = catalogs.load(copy)
    with pytest.raises(UserError, match=r"0 of 1 ids pinned. rajpurkar/squad: the hub could not be reached .Conn"):
        pin.pin(entry, ["squad"], Hub([], fail=ConnectionError()), lambda text: None)
    with pytest.raises(UserError, match=r"holds no .parquet file .it has squad.py"):
        pin.pin(entry, ["squad"], Hub(["squad.py"]), lambda text: None)
    with pytest.raises(UserError, match=r"'sqad' is neither a task nor a model"):
        pin.pin(entry, ["sqad"], Hub([]))


def test_the_listing_names_everything(catalog):
    text = pin.list_catalog(catalog)
    for name in [*catalog.tasks, *catalog.models, *catalog.attacks, *catalog.languages]:
        assert re.search(rf"(^|\s){re.escape(name)}(\s|$)", text), name
