"""Every hub part of the catalog, read by the real loading code from a repository of that part's own shape.

The repositories are built from tests/hub_shapes.yaml, which public texts and not the catalog gave; what each task must
read of them is written down here (READS). So a wrong field, label, split, configuration or code in the catalog gives
other examples than are meant, or none: the second half of this file makes such mistakes and sees them found.
"""

import copy
import functools
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import datasets
import hub_repositories
import hub_rows
import numpy as np
import pyarrow.parquet
import pytest
from fake_hub import FakeHub

from xstilts import catalog as catalogs
from xstilts import pin
from xstilts.data.prepare import prepare
from xstilts.errors import UserError
from xstilts.evaluation import metrics, retrieval, search, submission
from xstilts.hub import client, layout, lock
from xstilts.models.fetch import fetch

ROOT = Path(__file__).resolve().parent.parent
CATALOG = catalogs.load(ROOT)
# What each task reads, by XTREME's and the paper's definitions: (repository, configuration in the shapes, our split ->
# the repository's). A configuration of one language is named by the shapes' `names`.
READS = {
    "anli": [
        ("facebook/anli", "plain_text", {"train": "train_r1", "dev": "dev_r1"}),
        ("facebook/anli", "plain_text", {"train": "train_r2", "dev": "dev_r2"}),
        ("facebook/anli", "plain_text", {"train": "train_r3", "dev": "dev_r3"}),
        ("nyu-mll/glue", "mnli", {"train": "train"}),
        ("stanfordnlp/snli", "plain_text", {"train": "train"}),
    ],
    **{f"anli_r{n}": [("facebook/anli", "plain_text", {"test": f"test_r{n}"})] for n in (1, 2, 3)},
    "advglue_mnli": [("AI-secure/adv_glue", "adv_mnli", {"test": "validation"})],
    "advglue_mm": [("AI-secure/adv_glue", "adv_mnli_mismatched", {"test": "validation"})],
    "advglue_qqp": [("AI-secure/adv_glue", "adv_qqp", {"test": "validation"})],
    "mnli": [("nyu-mll/glue", "mnli", {"train": "train", "dev": "validation_matched"})],
    "qqp": [("nyu-mll/glue", "qqp", {"train": "train", "dev": "validation"})],
    "squad": [("rajpurkar/squad", "plain_text", {"train": "train", "dev": "validation"})],
    "squad_v2": [("rajpurkar/squad_v2", "squad_v2", {"train": "train", "dev": "validation"})],
    "hellaswag": [("Rowan/hellaswag", "default", {"train": "train", "dev": "validation"})],
    "cosmosqa": [("allenai/cosmos_qa", "default", {"train": "train", "dev": "validation"})],
    "commonsenseqa": [("tau/commonsense_qa", "default", {"train": "train", "dev": "validation"})],
    "mnli_translated": [("facebook/xnli", "{}", {"train": "train", "dev": "validation"})],
    "mlm": [("wikimedia/wikipedia", "20231101.{}", {"train": "train"})],
    "xnli": [("facebook/xnli", "{}", {"dev": "validation", "test": "test"})],
    "pawsx": [("google-research-datasets/paws-x", "{}", {"train": "train", "dev": "validation", "test": "test"})],
    "udpos": [("google/xtreme", "udpos.{}", {"train": "train", "dev": "validation", "test": "test"})],
    "panx": [("google/xtreme", "PAN-X.{}", {"train": "train", "dev": "validation", "test": "test"})],
    "xquad": [("google/xquad", "xquad.{}", {"test": "validation"})],
    "mlqa": [("google/xtreme", "MLQA.{}.{}", {"dev": "validation", "test": "test"})],
    "tydiqa": [("google-research-datasets/tydiqa", "secondary_task", {"train+dev": "train", "test": "validation"})],
    "bucc2018": [("google/xtreme", "bucc18.{}", {"dev": "validation", "test": "test"})],
    "tatoeba": [("google/xtreme", "tatoeba.{}", {"test": "validation"})],
}
# The nine intermediate tasks and nine targets of the paper; CCG has no hub source, the two variants have one.
INTERMEDIATE = "anli mnli qqp squad squad_v2 hellaswag ccg cosmosqa commonsenseqa"
TARGETS = "xnli pawsx udpos panx xquad mlqa tydiqa bucc2018 tatoeba"
SETS = "advglue_mnli advglue_mm advglue_qqp anli_r1 anli_r2 anli_r3"  # static sets with a hub source


class Pinned:
    """Every repository in one style at a commit of its own on the fake hub, pinned in a copy of the catalog."""

    def __init__(self, hub, root: Path, style: str, languages=None):
        self.root = root
        hub_repositories.build(hub, style=style, languages=languages)
        for folder in ("catalog", "rules/schemas"):
            shutil.copytree(ROOT / folder, root / folder)
        self.catalog = catalogs.load(root)
        self.lock = self.catalog.lock_path
        self.rows = pin.pin(self.catalog, list(READS), lambda text: None)

    @functools.cached_property
    def wide(self) -> Path:
        """A lock as if a mistaken catalog had been pinned: with all configurations and files of the repositories."""
        rows = copy.deepcopy(self.rows)
        for name, shape in hub_repositories.shapes().items():
            row = rows[name]
            row["files"] = client.info("dataset", name, row["revision"]).files
            if shape["readme"] == "configs":
                readme = client.read_text("dataset", name, row["revision"], "README.md")
                configs = [table.config for table in hub_repositories.tables(name)]
                row["configs"] = layout.splits(name, readme, row["files"], configs)
        lock.write(self.root / "wide.lock", rows)
        return self.root / "wide.lock"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with FakeHub() as server, pytest.MonkeyPatch.context() as patch:
        for key, value in server.environment(tmp_path_factory.mktemp("hf")).items():
            patch.setenv(key, value)
        yield server


@pytest.fixture(scope="module")
def places(server, tmp_path_factory):
    """Style of the parquet files -> the repositories in it. Only `published` has every language's own files."""

    @functools.cache
    def place(style: str) -> Pinned:
        languages = None if style == "published" else ["en", "de"]
        return Pinned(server, tmp_path_factory.mktemp(style), style, languages)

    return place


@pytest.fixture
def hub(places):
    return places("published")


# ---- what is meant, and what is read
def meant(task: str, split: str, language: str) -> list[dict]:
    """What the rows of a task's split mean, with the fields of normalised examples and ids where there are any."""
    found = []
    for name, config, splits in READS[task]:
        if split not in splits:
            continue
        table = next(
            table
            for table in hub_repositories.tables(name)
            if table.shape["config"] == config and table.language in (language, None)
        )
        found += hub_repositories.meanings(name, table.config, splits[split], language)
    return found


def read(pinned, entry, splits, language: str, rows=None) -> dict[str, list[dict]]:
    """Split -> examples that the prepare job writes for a catalog entry from the hub; `rows`: another lock."""
    identity = entry.identity
    table = pinned.rows
    parts = [{**part, "revision": table[part["id"]]["revision"]} for part in entry.sources["hub"]]
    options = identity["options"]
    if entry.name == "bucc2018":
        options = {"mining": "nearest"}  # pairs as they are, since mining is refused (below)
    spec = {
        "task": entry.name,
        "kind": identity["kind"],
        "labels": identity["labels"],
        "options": options,
        "languages": [language],
        "splits": dict.fromkeys(splits),
        "source": "hub",
        "parts": parts,
        "seed": 1,
    }
    out = pinned.root / "examples"
    prepare(spec, out, pinned.root / "gold", revisions=rows or pinned.lock)
    files = {split: out / entry.name / language / f"{split}.jsonl" for split in splits}
    return {split: [json.loads(line) for line in file.open(encoding="utf-8")] for split, file in files.items()}


def same(entry, examples: list[dict], wanted: list[dict]) -> bool:
    """Whether the examples are those that are meant: texts, labels, spans, order, and ids where the source has ids."""
    kind = entry.identity["kind"]
    if not wanted or len({example["id"] for example in examples}) != len(examples):
        return False
    if kind == "retrieval":
        sides = {side: [row for row in examples if row["side"] == side] for side in ("source", "target")}
        texts = {row["id"]: row["text"] for row in examples}
        pairs = [(row["text"], texts.get(row["match"])) for row in sides["source"]]
        ordered = [row["text"] for row in sides["target"]] == sorted(row["target"] for row in wanted)
        return ordered and pairs == [(row["source"], row["target"]) for row in wanted]
    if kind == "mlm":
        wanted = [{"text": line, "id": f"{row['id']}:{2 * n}"} for row in wanted for n, line in enumerate(row["lines"])]
    if kind == "choice":
        wanted = [{"context": "", "question": "", **row} for row in wanted]
    if len(examples) != len(wanted):
        return False
    for example, row in zip(examples, wanted, strict=True):
        key = example["id"]
        if len(entry.sources["hub"]) > 1:
            key = key.split(":", 1)[1]  # parts that are joined keep their ids apart: glue/train:17
        if {**example, "id": key} != {"id": key, **row}:
            return False
    return True


def splits_of(task: str) -> list[str]:
    return sorted({split for _, _, there in READS[task] for split in there})


def faults(pinned, entry, language: str, rows=None, splits=None) -> list[str]:
    """Our splits whose examples are not those that are meant; a refusal counts as one."""
    bad = []
    for split in splits or splits_of(entry.name):
        try:
            found = read(pinned, entry, split.split("+"), language, rows)
        except UserError as error:
            bad.append(f"{split}: {error}")
            continue
        examples = [example for part in split.split("+") for example in found[part]]
        wanted = meant(entry.name, split, language)
        if "+" in split:  # held out by a hash of the id: the two halves are all rows
            examples.sort(key=lambda example: example["id"])
            wanted.sort(key=lambda row: row["id"])
            bad += [f"{part}: empty" for part in split.split("+") if not found[part]]
        if not same(entry, examples, wanted):
            bad.append(split)
    return bad


# ---- the catalog as it is
def test_the_papers_eighteen_tasks_are_there_with_a_hub_source_or_a_reason():
    with_hub = {name for name, entry in CATALOG.tasks.items() if "hub" in entry.sources}
    tasks = {*INTERMEDIATE.split(), *TARGETS.split(), "mlm", "mnli_translated"} - {"ccg"}
    assert with_hub == {*tasks, *SETS.split()} == {*READS}
    assert {*SETS.split()} <= {*CATALOG.challenges}
    assert sorted(CATALOG.intermediates) == sorted(INTERMEDIATE.split())
    assert set(CATALOG.targets) == set(TARGETS.split())
    assert "LDC" in CATALOG.tasks["ccg"].documentation["gate"]
    named = {part["id"] for name in with_hub for part in CATALOG.tasks[name].sources["hub"]}
    assert named == set(hub_repositories.shapes())


def test_a_part_is_verified_only_if_its_repository_is():
    shapes = hub_repositories.shapes()
    pairs = [(entry.name, part) for entry in CATALOG.tasks.values() for part in entry.sources.get("hub", [])]
    weaker = {(name, part["id"]) for name, part in pairs if part["status"] != shapes[part["id"]]["status"]}
    # its fields are as xnli's; that its train rows are translations of MNLI's is what nobody has read
    assert weaker == {("mnli_translated", "facebook/xnli")}
    assert CATALOG.tasks["mnli_translated"].sources["hub"][0]["status"] == "unverified"
    assert all(shape["unverified"] for shape in shapes.values() if shape["status"] == "unverified")


def test_folders_of_a_fetched_study_are_shared_only_by_equal_configurations():
    owners = {}
    for entry in CATALOG.tasks.values():
        for part in entry.sources.get("hub", []):
            assert owners.setdefault(part["folder"], (part["id"], part["config"])) == (part["id"], part["config"])
            assert not part.get("filter") or entry.name == "tydiqa"


def test_documented_sizes_are_those_of_the_shapes():
    """The catalog's megabytes: the published bytes of the splits that are read, a target's train in English alone."""
    english = {(task, "train") for task in TARGETS.split()} | {("mnli_translated", "dev")}
    for task, reads in READS.items():
        entry = CATALOG.tasks[task]
        for part, (name, config, splits) in zip(entry.sources["hub"], reads, strict=True):
            total = 0
            for shape in hub_repositories.shapes()[name]["tables"]:
                for split, there in splits.items():
                    held = shape["bytes"].get(there, 0) if shape["config"] == config else 0
                    if not isinstance(held, dict):
                        held = {"en" if shape.get("mixed") else shape["languages"][0]: held}
                    codes = ["en"] if (task, split) in english else entry.identity["languages"]
                    total += sum(held.get(code) or 0 for code in codes)
            assert part["megabytes"] == (pytest.approx(total / 1e6, abs=0.06) if total else None), (task, total / 1e6)


@pytest.mark.parametrize("task", READS)
def test_every_language_part_and_split_gives_what_its_rows_mean(hub, task):
    """Of targets: test in all languages, train and dev in English and, for XTREME's translate-train, in German."""
    entry = hub.catalog.tasks[task]
    for language in entry.identity["languages"]:
        wanted = splits_of(task)
        if task in TARGETS.split() and language not in ("en", "de"):
            wanted = [split for split in wanted if split == "test"]
        assert faults(hub, entry, language, splits=wanted) == [], (task, language)


@pytest.mark.parametrize("style", ["today", "bare"])
@pytest.mark.parametrize("task", READS)
def test_files_that_declare_their_classes_otherwise_or_not_at_all_give_the_same(places, style, task):
    place = places(style)
    codes = place.catalog.tasks[task].identity["languages"]
    assert faults(place, place.catalog.tasks[task], "en" if "en" in codes else "de") == []


def test_only_rows_without_a_label_are_dropped(hub):
    shape = hub_repositories.shapes()["stanfordnlp/snli"]["tables"][0]
    rows = hub_rows.rows(shape, "plain_text", "train", "en", 6)
    unlabelled = [row for row in rows if row.meaning is None]
    assert unlabelled and all(row.raw["label"] == -1 for row in unlabelled)
    found = read(hub, hub.catalog.tasks["anli"], ["train"], "en")["train"]
    assert len([row for row in found if row["id"].startswith("snli/")]) == len(rows) - len(unlabelled)


def test_gold_pairs_are_never_mined_and_the_error_says_the_way_out(hub):
    entry = hub.catalog.tasks["bucc2018"]
    part = {**entry.sources["hub"][0], "revision": hub.rows["google/xtreme"]["revision"]}
    spec = {
        "task": "bucc2018", "kind": "retrieval", "labels": [], "options": {"mining": "margin"}, "languages": ["de"],
        "splits": {"test": None}, "source": "hub", "parts": [part], "seed": 1,
    }  # fmt: skip
    with pytest.raises(UserError, match=r"gold pairs only.*shared task.*docs/data.md"):
        prepare(spec, hub.root / "no", hub.root / "no", revisions=hub.lock)
    assert not (hub.root / "no").exists()
    shape = next(t.shape for t in hub_repositories.tables("google/xtreme") if t.config == "bucc18.de")
    raw = hub_rows.rows(shape, "bucc18.de", "test", "de", 1)[0].raw
    assert [raw[part["fields"][key]][:3] for key in ("source_id", "target_id")] == ["de-", "en-"]
    archives = entry.sources["local"][1]["archives"]
    assert [archive["url"].format(language="de", split="sample") for archive in archives] == [
        "https://comparable.limsi.fr/bucc2018/bucc2018-de-en.sample-gold.tar.bz2"
    ]
    assert "If it is gone" in archives[0]["notes"]


@pytest.mark.parametrize(("language", "split", "there"), [("kk", "dev", "train, test"), ("yo", "train", "test")])
def test_a_split_that_one_language_lacks_is_an_error_with_what_is_there(hub, language, split, there):
    with pytest.raises(UserError, match=rf"udpos: google/xtreme .* configuration 'udpos\..*' with a split .*{there}"):
        read(hub, hub.catalog.tasks["udpos"], [split], language)


# ---- mistakes in the catalog
def names_in(features: dict, prefix="") -> list[str]:
    """Field names of a table, with the inner ones as dotted paths."""
    found = []
    for name, feature in features.items():
        found += [prefix + name]
        if isinstance(feature, dict) and "lists" in feature:
            found += names_in(feature["lists"], f"{prefix}{name}.")
    return found


def mutations(task: str):
    """(label, number of the part, key, its wrong value) of every mistake that is made in a task's entry."""
    entry = CATALOG.tasks[task]
    for number, (part, (name, config, _)) in enumerate(zip(entry.sources["hub"], READS[task], strict=True)):
        shape = next(shape for shape in hub_repositories.shapes()[name]["tables"] if shape["config"] == config)
        fields, labels = part["fields"], part.get("labels", {})
        for key, value in fields.items():
            if task == "bucc2018" and key.endswith("_id"):
                continue  # the ids of gold pairs serve mining alone, which is refused
            there = [value] if isinstance(value, str) else value
            for other in [*names_in(shape["features"]), "no_such_field"]:
                if other not in there:
                    yield f"{key}={other}", number, "fields", {**fields, key: other}
            if isinstance(value, list):
                yield f"{key} reversed", number, "fields", {**fields, key: value[::-1]}
        for key in labels:
            other = next(k for k in labels if labels[k] != labels[key] and k.isdigit() == key.isdigit())
            wrong = {**labels, key: labels[other], other: labels[key]}
            yield f"labels {key}<->{other}", number, "labels", wrong
        if labels:
            yield "no labels", number, "labels", {}
        for split, value in part["splits"].items():
            for other in shape["rows"]:
                if isinstance(value, dict):
                    if other != value["from"]:
                        yield f"{split}<-{other}", number, "splits", {**part["splits"], split: {**value, "from": other}}
                elif other != value:
                    yield f"{split}<-{other}", number, "splits", {**part["splits"], split: other}
        for table in hub_repositories.tables(name):
            if table.shape["config"] != config or table.language == "fr":
                yield f"config {table.config}", number, "config", table.config
        yield "config nowhere", number, "config", part["config"] + "x"
        for key, wrong in {"drop_labels": [], "filter": None, "codes": {}}.items():
            if key in part:
                yield f"no {key}", number, key, wrong
        if "filter" in part:
            for prefix in ("{language}-", "{language_name}-1"):
                yield f"prefix {prefix}", number, "filter", {**part["filter"], "prefix": prefix}
            yield "filter by title", number, "filter", {**part["filter"], "field": "title"}
        if "codes" in part:
            codes = part["codes"]
            yield "codes de<->fr", number, "codes", {**codes, "de": codes["fr"], "fr": codes["de"]}


def equivalent(task: str, label: str, style: str) -> bool:
    """Mistakes that cannot show in a style: class numbers are not used where files name their classes."""
    if label == "no labels":
        letters_or_digits = task in ("commonsenseqa", "pawsx")  # read as they are
        return letters_or_digits or task.endswith("qqp") == (style == "bare")
    if label.startswith("labels ") and task != "commonsenseqa":
        return label.split()[1].split("<")[0].isdigit() == (style == "published")
    return False


def spoiled(entry, number: int, key: str, wrong):
    """A copy of a catalog entry with one wrong value in one hub part."""
    sources = copy.deepcopy(entry.sources)
    sources["hub"][number][key] = wrong
    if wrong is None:
        del sources["hub"][number][key]
    return replace(entry, sources=sources)


@pytest.mark.parametrize(
    ("style", "task"),
    [("published", task) for task in READS]
    + [("bare", task) for task in READS if any("labels" in part for part in CATALOG.tasks[task].sources["hub"])],
)
def test_every_mistake_in_an_entry_is_found(places, style, task):
    place = places(style)
    entry = place.catalog.tasks[task]
    codes = entry.identity["languages"]
    language = "de" if "de" in codes else "en"
    assert faults(place, entry, language, place.wide) == []
    missed, made = [], 0
    for label, number, key, wrong in mutations(task):
        if equivalent(task, label, style) or (style == "bare" and key != "labels"):
            continue
        made += 1
        if not faults(place, spoiled(entry, number, key, wrong), language, place.wide):
            missed.append(f"{entry.sources['hub'][number]['id']}: {label}")
    assert missed == []
    assert made > 5 or style == "bare"


def test_wrong_files_are_found_when_they_are_pinned(hub):
    """`files:` are read by `pin`: exchanged splits reach the lock, and the rows are other rows."""
    entry = hub.catalog.tasks["cosmosqa"]
    files = entry.sources["hub"][0]["files"]
    for wrong in (
        {"train": files["validation"], "validation": files["train"]},
        {**files, "validation": "default/test/0000.parquet"},
        {**files, "validation": "default/dev/0000.parquet"},
    ):
        other = copy.copy(hub)
        other.root = hub.root / "wrong"
        shutil.copytree(hub.root / "catalog", other.root / "catalog", dirs_exist_ok=True)
        tasks = {**hub.catalog.tasks, "cosmosqa": spoiled(entry, 0, "files", wrong)}
        mistaken = replace(hub.catalog, root=other.root, tasks=tasks)
        mistaken.lock_path.write_text("")
        try:
            pin.pin(mistaken, ["cosmosqa"], lambda text: None)
        except UserError as error:
            assert "no file default/dev/0000.parquet" in str(error)
            continue
        assert faults(other, entry, "en", mistaken.lock_path) != []


# ---- the order of Tatoeba
def test_the_corpus_order_and_xtremes_order_give_the_same_task_and_score(hub, tmp_path):
    """The hub keeps the corpus's order, XTREME sorts the English side: same pairs, same gold, same accuracy."""
    entry = hub.catalog.tasks["tatoeba"]
    read(hub, entry, ["test"], "de")
    pairs = [(row["source"], row["target"]) for row in meant("tatoeba", "test", "de")]
    assert [target for _, target in pairs] != sorted(target for _, target in pairs)
    sorted_root = tmp_path / "data" / "tatoeba" / "de" / "test.jsonl"
    sorted_root.parent.mkdir(parents=True)
    with sorted_root.open("w", encoding="utf-8") as handle:
        for source, target in sorted(pairs, key=lambda pair: pair[1]):
            handle.write(json.dumps({"source_sentence": source, "target_sentence": target}) + "\n")
    spec = {
        "task": "tatoeba", "kind": "retrieval", "labels": [], "options": {"mining": "nearest"}, "languages": ["de"],
        "splits": {"test": None}, "source": "local", "parts": entry.sources["local"], "seed": 1,
    }  # fmt: skip
    prepare(spec, tmp_path / "examples", tmp_path / "gold", data_root=tmp_path / "data")
    vectors = {text: np.random.default_rng(n).normal(size=4) for n, pair in enumerate(pairs) for text in pair}
    noise = np.random.default_rng(0)
    vectors |= {target: vectors[source] + noise.normal(size=4) for source, target in pairs}
    scores, english = [], []
    for root in (hub.root, tmp_path):
        pool = retrieval.read(root / "examples" / "tatoeba" / "de" / "test.jsonl", mining=False)
        sides = [np.array([vectors[text] for text in texts], np.float32) for texts in pool.texts]
        sides = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in sides]
        found = retrieval.nearest(pool, search.both_directions(*sides, 1))[0]
        gold = submission.read_labels(root / "gold" / "tatoeba" / "test-de.tsv")
        english.append([row["text"] for row in pool.target])
        scores.append(metrics.score("retrieval", {"mining": "nearest"}, "de", gold, [str(index) for index in found]))
        by_gold = [(pool.source[int(index)]["text"], row["text"]) for index, row in zip(gold, pool.target, strict=True)]
        assert sorted(by_gold) == sorted(pairs)
    assert english[0] == english[1] == sorted(english[0])
    assert scores[0] == scores[1] and 0 < scores[0]["accuracy"] < 100


# ---- the repositories themselves
@pytest.mark.parametrize("style", ["published", "today"])
def test_the_built_files_are_what_datasets_itself_reads(style):
    """Both ways of describing columns mean the same features to `datasets`."""
    for name, config in [("nyu-mll/glue", "qqp"), ("google/xtreme", "PAN-X.de"), ("rajpurkar/squad", "plain_text")]:
        table = next(table for table in hub_repositories.tables(name) if table.config == config)
        file = hub_repositories.parquet(name, config, "train", 3, style)
        found = datasets.Features.from_arrow_schema(pyarrow.parquet.read_schema(io.BytesIO(file)))
        assert set(found) == set(table.shape["features"])
        for key, told in table.shape["features"].items():
            inner = told.get("list", told) if isinstance(told, dict) else told
            feature = found[key].feature if told != inner else found[key]
            if "classes" in inner:
                assert feature.names == inner["classes"]
            elif "lists" in inner:
                assert {field: value.feature.dtype for field, value in feature.items()} == inner["lists"]
            else:
                assert feature.dtype == inner


def test_a_tiny_model_is_pinned_and_fetched(server, tmp_path):
    for folder in ("catalog", "rules/schemas"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    revision = hub_repositories.tiny_model(server, "FacebookAI/xlm-roberta-base")
    catalog = catalogs.load(tmp_path)
    rows = pin.pin(catalog, ["xlm-r-base"], lambda text: None)
    assert sorted(rows["FacebookAI/xlm-roberta-base"]["files"]) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    source = {**catalog.models["xlm-r-base"].identity["source"], "revision": revision}
    fetch({"model": "xlm-r-base", "source": source}, tmp_path / "model", revisions=catalog.lock_path)
    record = json.loads((tmp_path / "model" / "model.json").read_text())
    assert record["revision"] == revision and record["parameters"] > 0
