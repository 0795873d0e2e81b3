"""The report: complete, self-contained, equal to the byte, honest about what is missing."""

import html
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from types import SimpleNamespace

import analysis_study
import pytest
from analysis_study import XNLI

from xstilts import catalog as catalogs
from xstilts import obligations
from xstilts.analysis import tables
from xstilts.analysis.run import analyse
from xstilts.analysis.shallow import PAIR_METHODS
from xstilts.check.page import load_file
from xstilts.files import write_jsonl
from xstilts.identity import ROOT
from xstilts.report import datachecks, layers, licences, setting, style
from xstilts.report.build import all_tables, report
from xstilts.report.build import page as build_page
from xstilts.report.contents import Contents
from xstilts.report.narrative import mixtures, summary, warnings
from xstilts.report.samples import samples
from xstilts.report.tables import Cell, Table
from xstilts.specs import Specs


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    results = tmp_path_factory.mktemp("demo") / "results"
    spec = analysis_study.spec()
    analysis_study.build(results, spec)
    analysis_study.check(results, spec)
    catalog = analysis_study.catalog(results.parent)
    analyse(spec, results, catalog)
    report(spec, results, catalog)
    return spec, results, catalog


def page(results) -> str:
    return (results / "report.html").read_text(encoding="utf-8")


def outputs(results) -> dict:
    files = [*(results / "figures").iterdir(), *(results / "tables").iterdir(), results / "report.html"]
    return {path.name: path.read_bytes() for path in files}


class Links(HTMLParser):
    """Collects what a page would load and where it links to, and whether its tags balance."""

    VOID = ("meta", "link", "br", "img", "path", "use", "rect", "circle")

    def __init__(self, text: str):
        super().__init__()
        self.loads, self.ids, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        for key, value in attributes:
            if key in ("src", "href", "xlink:href", "data", "action", "poster", "srcset"):
                self.loads.append(value)
            if key == "id":
                self.ids.append(value)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_page_opens_offline_and_holds_together(demo):
    text = page(demo[1])
    links = Links(text)
    assert links.open == []
    assert all(link.startswith("#") or link == "data:," for link in links.loads)
    assert {link[1:] for link in links.loads if link.startswith("#")} <= set(links.ids)
    assert len(links.ids) == len(set(links.ids))
    assert "<script" not in text and "@import" not in text and not re.search(r"url\((?!#)", text)
    assert str(demo[1]) not in text and "/tmp/" not in text and "/home/" not in text


def test_figures_and_tables_are_there_in_both_forms(demo):
    names = set(outputs(demo[1]))
    for figure in ("gains", "size_scores", "size_gains", "robustness", "attack_languages", "baselines", "layers"):
        assert {f"{figure}.svg", f"{figure}.png"} <= names
    for table in ("grid", "scores", "gains", "languages_xnli", "robustness", "baselines", "claims", "cost"):
        assert {f"{table}.md", f"{table}.tex"} <= names


def test_second_report_is_equal_to_the_byte(demo):
    spec, results, catalog = demo
    before = outputs(results)
    report(spec, results, catalog)
    assert outputs(results) == before


def test_demonstration_banner_and_the_encoders_limits(demo):
    text = page(demo[1])
    assert "A demonstration, not evidence" in text and "Expect retrieval to fall" in text and "One seed" in text
    assert warnings(Contents({**demo[0], "demonstration": False}, demo[1], demo[2])) == []


def test_captions_say_n_bar_and_selection(demo):
    captions = re.findall(r"<figcaption.*?</figcaption>", page(demo[1]), re.S)
    assert len(captions) == 7
    for caption in captions:
        assert "n = " in caption and "1 seed" in caption
        assert "interval" in caption or "size_scores" in caption
        assert "English dev" in caption


def test_baselines_published_numbers_claims_and_selection_are_shown(demo):
    text = page(demo[1])
    for words in ("sliding window", "word overlap", "XLM-R large, published", "Text of claim 14.", "English dev score"):
        assert words in text
    assert "31.0" in text and "mT5" not in text  # jiant's Tatoeba, only the paper's encoder


def test_retrieval_scores_stand_beside_both_overlap_baselines(demo):
    for name in ("scores", "languages_tatoeba", "languages_bucc2018", "baselines"):
        text = (demo[1] / "tables" / f"{name}.md").read_text(encoding="utf-8")
        assert "word overlap" in text and "anchor-free overlap" in text, name
    assert "(shallow) | strongest" in (demo[1] / "tables" / "scores.md").read_text(encoding="utf-8")


def test_every_baseline_has_words_for_its_name(demo):
    names = {row["baseline"] for row in Contents(*demo).tables["baselines"]}
    names |= {*PAIR_METHODS, "random_candidate", "no_answer", "choice_only", "choice_overlap"}
    assert {name for name in names if "_" in style.baseline(name)} == set()


def test_baselines_of_intermediate_tasks_stand_beside_their_dev_scores(demo, tmp_path):
    spec, results, catalog = demo
    copy = tmp_path / "results"
    shutil.copytree(results, copy)
    rows = [{"id": str(n), "text_a": "a b", "text_b": "a c", "label": XNLI[n % 3]} for n in range(30)]
    for split in ("train", "dev"):
        write_jsonl(copy / "examples" / "mnli" / "en" / f"{split}.jsonl", rows)
    analyse({**spec, "catalog": {"mnli": {**spec["targets"]["xnli"], "kind": "pair"}}}, copy, catalog)
    report(spec, copy, catalog)
    assert "Shallow baselines of the intermediate tasks" in page(copy) and "majority label 33.3" in page(copy)
    assert "Shallow baselines of the intermediate tasks" not in page(results)
    line = (copy / "tables" / "intermediate_baselines.md").read_text(encoding="utf-8").splitlines()[-1]
    assert line.startswith("| MNLI | accuracy |") and line.endswith("| – | 70.0 |")  # no such training of the smaller


@pytest.mark.parametrize(("broken", "warned"), [(1.0, False), (25.0, True)])
def test_broken_labels_are_said_plainly(demo, tmp_path, broken, warned):
    spec, results, catalog = demo
    copy = tmp_path / "results"
    shutil.copytree(results, copy)
    rows = tables.read("robustness", copy)
    assert not any("gold label" in line for line in summary(Contents(spec, copy, catalog)))
    tables.write("robustness", [{**row, "broken": broken, "unreadable": 2.0} for row in rows], copy)
    report(spec, copy, catalog)
    text = page(copy)
    assert f"{broken} % no longer have their gold label" in text and "2.0 % could not be judged" in text
    assert ("the model need not be wrong, and" in text) == warned
    assert f"| {broken} | 2.0 |" in (copy / "tables" / "robustness.md").read_text(encoding="utf-8")


def test_samples_of_generated_data_are_marked_with_language_and_direction(demo):
    text = page(demo[1])
    assert "Samples of the generated data" in text and '<span lang="de" dir="ltr">' in text
    spec = {**demo[0], "targets": {"xnli": {**demo[0]["targets"]["xnli"], "languages": ["en", "ar"]}}}
    contents = SimpleNamespace(spec=spec, languages=["en", "ar"], catalog=catalogs.load())
    found = samples(contents)
    assert {(one["language"], one["direction"]) for line in found["sentences"] for one in line["others"]} == {
        ("ar", "rtl")
    }
    (task, items), *others = found["items"]
    assert task == "XNLI" and not others and [item[:2] for item in items] == [("en", "ltr"), ("ar", "rtl")]
    local = {name: "local" for name in spec["sources"]}
    assert samples(SimpleNamespace(spec={**spec, "sources": local}, languages=["en"], catalog=None)) is None


def test_no_samples_without_generated_data(demo, tmp_path):
    spec, results, catalog = demo
    copy = tmp_path / "results"
    shutil.copytree(results, copy)
    report({**spec, "sources": {name: "local" for name in spec["sources"]}}, copy, catalog)
    assert "Samples of the generated data" not in page(copy)


def test_missing_cells_are_named(demo, tmp_path):
    spec, results, catalog = demo
    copy = tmp_path / "results"
    shutil.copytree(results, copy)
    shutil.rmtree(copy / "predictions/me5-small-l6/squad")
    (copy / "predictions/me5-small-l3/none/s1/xnli/test-ru.tsv").unlink()
    shutil.rmtree(copy / "attacks/charswap/me5-small-l6/none")
    analyse(spec, copy, catalog)
    report(spec, copy, catalog)
    text = page(copy)
    assert "Nothing is missing" in page(results) and "Nothing is missing" not in text
    assert "me5-small-l3, none, seed 1, XNLI: ru" in text
    assert "attack charswap: me5-small-l6, none, seed 1, UDPOS: en de ru zh" in text
    assert "○ 0 of 4" in text and "○ 3 of 4" in text


def edit_record(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_failed_and_restarted_trainings_are_named_with_seed_reason_and_attempts(demo, tmp_path):
    spec, results, catalog = demo
    before, tables_before = undrawn(spec, results, catalog)
    assert "No training failed" in before and not tables_before["failures"].rows
    copy = tmp_path / "results"
    shutil.copytree(results, copy)
    nan, flat = "the loss became nan between steps 50 and 100", "every dev prediction of mnli is neutral"
    tries = [{"seed": seed, "steps": 100, "reason": flat, "dev": {}, "losses_last": [1.1]} for seed in (1, 77, 88)]
    target = copy / "targets/me5-small-l6/mnli/s1/mnli/train.json"
    edit_record(target, failed=True, reason=flat, attempts=tries)
    tries = [{"seed": 1, "steps": 100, "reason": nan}, {"seed": 99, "steps": 120, "reason": None}]
    edit_record(copy / "encoders/me5-small-l3/all9/s1/train.json", failed=False, reason=None, attempts=tries)
    edit_record(copy / "targets/me5-small-l3/none/s1/udpos/train.json", failed=True)  # as it was recorded once
    text, found = undrawn(spec, copy, catalog)
    rows = {tuple(map(str, row[:4])): (str(row[4]), str(row[5]), row[6]) for row in found["failures"].rows}
    assert set(rows) == {
        ("target", "me5-small-l6", "MNLI", "MNLI"),
        ("target", "me5-small-l3", "none", "UDPOS"),
        ("intermediate", "me5-small-l3", "all9", " + ".join(map(style.task, spec["intermediates"]["all9"]))),
    }
    seed, outcome, told = rows["target", "me5-small-l6", "MNLI", "MNLI"]
    assert (seed, outcome) == ("1", "failed") and told.count(flat) == 3 and "(seed 77)" in told
    seed, outcome, told = next(row for key, row in rows.items() if key[0] == "intermediate")
    assert outcome == "attempt 2 stands" and nan in told and told.endswith("did not fail in 120 steps (seed 99)")
    page_text = plain(text)
    assert "No training failed" not in text and "Failed and restarted trainings (3)" in text
    assert "2 of 40 trainings failed: their scores are in every table" in page_text
    assert "1 of 40 trainings failed at first and did not with another seed" in page_text
    cells = [str(cell) for row in found["selection"].rows for cell in row]
    assert sum("1 failed" in cell for cell in cells) == 2
    score = next(row for row in found["scores"].rows if str(row[0]) == "me5-small-l6" and str(row[1]) == "MNLI")
    assert "–" not in [str(cell) for cell in score], "a failed run's scores stay in the tables"


def test_the_method_of_training_is_named():
    def shown(**training):
        return setting.trainable(SimpleNamespace(spec={"training": training}))

    lora = {"rank": 8, "alpha": 16, "dropout": 0.0}
    assert shown(trainable="blocks", lora=lora, optimiser="adamw") == "blocks"
    assert shown(trainable="lora", lora=lora) == "lora (rank 8, alpha 16, dropout 0)"
    assert shown(trainable="all", optimiser="adamw8bit") == "all, 8-bit AdamW"


def test_a_study_with_nothing_but_a_grid_still_reports(tmp_path):
    spec, catalog = analysis_study.spec(), analysis_study.catalog(tmp_path)
    results = tmp_path / "results"
    results.mkdir()
    analysis_study.check(results, spec)
    analyse(spec, results, catalog)
    report(spec, results, catalog)
    assert "0 of 180" in page(results) and not (results / "figures").exists()


def test_one_model_one_seed_without_attacks(tmp_path):
    models = {"tiny": {"parameters": 90_000, "non_embedding_parameters": 20_000, "family": "tiny"}}
    spec = analysis_study.spec(models=models, cells=[("tiny", "none"), ("tiny", "mnli")], samples=20)
    analysis_study.build(tmp_path, spec, items=5)
    analysis_study.check(tmp_path, spec)
    catalog = analysis_study.catalog(tmp_path)
    analyse(spec, tmp_path, catalog)
    report(spec, tmp_path, catalog)
    assert "Expect retrieval to fall" not in page(tmp_path) and "1 model" in page(tmp_path)


def undrawn(spec, results, catalog) -> tuple[str, dict]:
    """(page, tables) without its figures, which take most of the time."""
    contents = Contents(spec, results, catalog)
    found = all_tables(contents)
    return build_page(contents, {}, found), found


def section(text: str, name: str) -> str:
    """One section of a page."""
    return re.search(rf'<h2 id="{name}">.*?(?=<h2 id|<footer)', text, re.S).group()


def test_retrieval_by_layer_shows_both_layers_and_directions(demo, tmp_path):
    spec, results, catalog = demo
    text = section(page(results), "layers")
    assert "never on test" in text and "BUCC’s dev pools serve it" in text and 'id="figure-layers"' in text
    lines = (results / "tables" / "layers.md").read_text(encoding="utf-8").splitlines()
    assert "| Tatoeba | me5-small-l6 | MNLI | 4 | 53.0 | 58.0 | 3 | 63.0 | 68.0 | +10.0 |" in lines
    assert "| BUCC | me5-small-l3 | none | 4 | 53.0 | – | 3 | 63.0 | – | +10.0 |" in lines
    copy = tmp_path / "results"
    shutil.copytree(results, copy)
    preset = [row for row in tables.read("retrieval", copy) if row["rule"] == "preset"]
    tables.write("retrieval", preset, copy)
    text = section(undrawn(spec, copy, catalog)[0], "layers")
    assert "nothing to choose another layer on" in text and "never on test" not in text
    tables.write("retrieval", [], copy)
    text, _ = undrawn(spec, copy, catalog)
    assert '"#layers"' not in text and "Retrieval by layer" not in text
    assert layers.figure(Contents(spec, copy, catalog)) is None


def test_layers_that_seeds_choose_differently_are_both_named(demo, tmp_path):
    spec, results, catalog = demo
    copy = tmp_path / "results"
    shutil.copytree(results, copy)
    rows = tables.read("retrieval", copy)
    other = [{**row, "seed": 2, "layer": 5 if row["rule"] == "dev" else row["layer"], "value": row["value"] + 1}
             for row in rows]  # fmt: skip
    tables.write("retrieval", rows + other, copy)
    line = "| BUCC | me5-small-l3 | none | 4 | 53.5 | – | 3, 5 | 63.5 | – | +10.0 |"
    assert line in layers.table(Contents(spec, copy, catalog)).markdown().splitlines()


HUB = {
    "xnli": ("hub", [{"id": "facebook/xnli", "revision": "b8dd5d7af51114dbda02c0e3f6133f332186418e"}]),
    "bucc2018": ("local", [{"folder": "bucc2018_shared_task"}]),
    "ccg": ("licensed", [{"path_key": "ccgbank"}]),
    "tatoeba": ("embedded", [{"generator": "tatoeba"}]),
}  # fmt: skip
XLMR = {"type": "hub", "id": "FacebookAI/xlm-roberta-base", "revision": "e73636d4f797dec63c3081bb6ed5c7b0bb3f2089"}


def test_licences_and_citations_of_everything_used_are_listed(demo):
    spec, results, _ = demo
    spec = {
        **spec,
        "sources": {task: source for task, (source, _) in HUB.items()},
        "origins": {task: parts for task, (_, parts) in HUB.items()},
        "revisions": {"data": {}, "models": {**spec["revisions"]["models"], "me5-small-l6": XLMR}},
    }
    contents = Contents(spec, results, catalogs.load())
    rows = {
        name: [str(cell) for cell in row[2:]] for row in licences.table(contents).rows for name in row[1].split(", ")
    }
    assert rows["XNLI"][0] == "facebook/xnli b8dd5d7af511"
    assert rows["XNLI"][1].startswith("CC BY-NC 4.0") and "non-commercial use only" in rows["XNLI"][1]
    assert "Conneau et al. 2018" in rows["XNLI"][2] and "https://github.com/facebookresearch/XNLI" in rows["XNLI"][2]
    assert rows["BUCC"][0] == "files of data_root: bucc2018_shared_task", "put there by the user or by a fetch"
    assert rows["CCG"][0] == "your own licensed copy: ccgbank" and "LDC" in rows["CCG"][1]
    assert rows["Tatoeba"] == ["this project", "generated here, MIT", "only imitates the data set of its name"]
    assert rows["me5-small-l6"][0] == "FacebookAI/xlm-roberta-base e73636d4f797"
    assert rows["charswap"][1].startswith("MIT") and "1905.11268" in rows["charswap"][2]
    assert "Richardson et al. 2013" in rows["sliding window"][2] and "McCoy" in rows["overlap counts"][2]
    assert rows["majority label"][0] == "this project"
    assert len(rows) == 4 + 2 + 2 + len({row["baseline"] for row in contents.tables["baselines"]})
    asks = dict(licences.groups(contents))
    assert asks["non-commercial use only"] == "XNLI"
    assert "CCG" in asks["an agreement or terms of service that you must have accepted"]
    found = all_tables(contents)
    text = plain(section(build_page(contents, {}, found), "licences"))
    assert (
        "Non-commercial use only" in text
        and "Nothing that this study used" not in text
        and "https://github.com/facebookresearch/XNLI" in text
    )


def test_the_studys_spec_says_where_its_data_is_from():
    origins = Specs(load_file(ROOT / "studies" / "paper.yaml")).report()["origins"]
    assert [part["id"] for part in origins["anli"]] == ["facebook/anli"] * 3 + ["nyu-mll/glue", "stanfordnlp/snli"]
    assert set(origins["xnli"][0]) == {"id", "revision"}


def test_generated_data_is_listed_as_ours_and_never_under_the_originals_licence(demo):
    spec, results, _ = demo
    contents = Contents(spec, results, catalogs.load())
    rows = [[str(cell) for cell in row] for row in licences.table(contents).rows if str(row[0]) == "data"]
    assert len(rows) == 1 and len(rows[0][1].split(", ")) == len(spec["sources"]), "one row for all"
    assert rows[0][3:] == ["generated here, MIT", "only imitates the data set of its name"]
    assert licences.groups(contents) == []
    assert "is for non-commercial use only" in plain(section(page(results), "licences"))


def test_licence_words_are_found_in_every_catalog_entry_that_has_them():
    catalog = catalogs.load()
    sources = {name: (next(iter(task.sources)), []) for name, task in catalog.tasks.items()}
    models = {name: model.identity["source"] for name, model in catalog.models.items()}
    asks = obligations.groups([*obligations.tasks(catalog, sources), *obligations.models(catalog, models)])
    strict, alike, agreed, silent, recalled = asks.values()
    assert {"mminilmv2-l6", "mminilmv2-l12"} <= set(recalled)
    assert {"anli", "anli_r1", "anli_r2", "anli_r3", "qqp", "udpos", "xnli", "mnli_translated"} == set(strict)
    assert {"squad", "squad_v2", "xquad", "mlqa", "panx", "udpos", "anli", "mnli"} <= set(alike) and "xnli" not in alike
    assert {"qqp", "ccg"} == set(agreed) and {"bucc2018", "panx", "mminilmv2-l6", "mminilmv2-l12"} <= set(silent)
    free = {"hellaswag", "commonsenseqa", "tatoeba", "pawsx", "xlm-r-large", "mbert"}
    assert not free & {name for names in asks.values() for name in names}


@pytest.mark.parametrize(
    ("licence", "found"),
    [
        ("CC BY-NC-SA 4.0", [0, 1]),
        ("for non-commercial use", [0]),
        ("some CC BY-SA 3.0", [1]),
        ("an LDC User Agreement", [2]),
        ("the host's terms of service", [2]),
        ("none stated in the upload", [3]),
        ("", [3]),
        ("MIT (recalled, not read)", [4]),
        ("Apache 2.0", []),
        ("CC BY 4.0", []),
    ],
)
def test_what_a_licence_asks_for_is_found_by_its_words(licence, found):
    one = obligations.Obligation("data", "x", "hub", "", licence or obligations.NOT_STATED, "", "")
    assert obligations.groups([one]) == {list(obligations.GROUPS)[place]: ["x"] for place in found}


def test_stand_ins_are_shown_as_such_and_only_they(demo):
    spec, results, _ = demo
    places = {"anli": ["snli_cad", "mnli", "snli"], "mlqa": ["mlqa"], "xquad": ["xquad"]}
    origins = {task: [{"folder": name} for name in names] for task, names in places.items()}
    own = {**spec, "sources": dict.fromkeys(places, "local"), "origins": origins}
    rows = {row[1]: str(row[2]) for row in licences.table(Contents(own, results, catalogs.load())).rows}
    assert rows["ANLI+"].startswith("files of data_root: snli_cad, mnli, snli (STAND-IN for ANLI's rounds")
    assert "(STAND-IN: validation in place of test" in rows["MLQA"] and rows["XQuAD"] == "files of data_root: xquad"
    official = {**origins, "anli": [{"folder": "anli"}], "mlqa": [{"folder": "mlqa_official"}]}
    found = licences.table(Contents({**own, "origins": official}, results, catalogs.load()))
    assert "STAND-IN" not in found.markdown()


@pytest.mark.parametrize(
    ("shards", "shown"),
    [
        (["model.safetensors"], "your own folder model.safetensors abababababab"),
        (["a.safetensors", "b.safetensors"], "your own folder a.safetensors abababababab and 1 more"),
    ],
)
def test_a_local_model_is_listed_with_the_digest_of_its_weights(demo, shards, shown):
    spec, results, _ = demo
    files = {"config.json": "1" * 64, "tokenizer.json": "2" * 64, **dict.fromkeys(shards, "ab" * 32)}
    models = {**spec["revisions"]["models"], "me5-small-l6": {"type": "local", "files": files}}
    contents = Contents({**spec, "revisions": {"data": {}, "models": models}}, results, catalogs.load())
    assert shown in [str(row[2]) for row in licences.table(contents).rows]


CLEAN = {
    "task": "xnli", "language": "de", "split": "test", "n": 1000, "label_balance": "a 60, b 40", "majority": 60.0,
    "duplicates": 10, "conflicts": 0, "overlap_train": 0, "overlap_dev": 0, "context_train": 0,
    "characters_mean": 50.0, "characters_median": 49, "characters_max": 99,
}  # fmt: skip
PIECES = {
    "model": "me5-small-l6", "task": "xnli", "language": "de", "split": "test", "n": 1000, "sampled": 1000,
    "pieces_mean": 20.0, "pieces_p95": 40, "pieces_max": 80, "pieces_per_word": 1.5, "unknown": 0.5,
    "over_length": 5.0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("data", "pieces", "finding"),
    [
        ({}, {}, None),  # at the limits: nothing is marked
        ({"duplicates": 11}, {}, "XNLI, test de: 11 of 1,000 examples (1.1 %) repeat an earlier one."),
        ({"majority": 60.5}, {}, "XNLI, test de: one label is 60 %."),
        ({"overlap_train": 1, "overlap_with": "mnli"}, {}, "(0.1 %) occur whole in the training data of MNLI."),
        ({"context_train": 30, "context_with": "squad"}, {}, "or sentence from the training data of SQuAD v1.1."),
        ({"overlap_dev": 2}, {}, "2 of 1,000 examples (0.2 %) occur in the dev set by which choices are made."),
        ({}, {"over_length": 5.1}, "XNLI, test de: 5.1 % of the examples are cut (me5-small-l6)."),
        ({}, {"unknown": 0.6}, "me5-small-l6: 0.60 % of the pieces of de are unknown."),
        ({"task": "mlm"}, {"task": "mlm", "over_length": 60.0}, None),  # cutting is its protocol
        ({"task": "xquad"}, {"task": "xquad", "over_length": 60.0}, None),  # windows lose nothing
        ({"task": "panx", "majority": 80.0}, {"task": "panx"}, None),  # O is no answer to guess
    ],
)  # fmt: skip
def test_data_checks_mark_what_is_due_and_nothing_else(demo, data, pieces, finding):
    contents = Contents({**demo[0], "catalog": {"mlm": {"kind": "mlm"}}}, *demo[1:])
    clean = {**CLEAN, "language": "en", "task": data.get("task", "xnli")}
    for name, rows in (("data", [clean, {**CLEAN, **data}]), ("pieces", [{**PIECES, **pieces}])):
        contents.tables[name] = [dict.fromkeys(tables.COLUMNS[name]) | row for row in rows]
    lines = datachecks.findings(contents)
    cells = [cell for table in (datachecks.summary, datachecks.pieces) for row in table(contents).rows for cell in row]
    marked = [cell for cell in cells if "lack" in getattr(cell, "css", "")]
    if finding is None:
        assert lines == [] and marked == []
    else:
        assert len(lines) == len(marked) == 1 and lines[0].endswith(finding)


def test_data_checks_say_what_was_counted(demo, tmp_path):
    spec, results, catalog = demo
    copy = tmp_path / "results"
    shutil.copytree(results, copy)
    two = {**CLEAN, "language": "ru", "n": 500, "duplicates": 100, "conflicts": 7, "characters_median": 30}
    tables.write("data", [CLEAN, two], copy)
    same = [{**PIECES, "model": model, "language": code, "unknown": share}
            for model in ("me5-small-l3", "me5-small-l6") for code, share in (("de", 0.1), ("ru", 2.0))]  # fmt: skip
    tables.write("pieces", same, copy)
    text, found = undrawn(spec, copy, catalog)
    text = section(text, "checks")
    assert "What needs attention before a score is read (2)" in text
    assert "XNLI, test ru: 100 of 500 examples (20.0 %) repeat an earlier one." in text
    assert "me5-small-l3, me5-small-l6: 2.00 % of the pieces of ru are unknown." in text  # one tokenizer, one row
    row = "| XNLI de ru | – / – / 500–1,000 | 60 | 110 20.0 % test ru; 7 in conflict | 0 | 0 | 0 | 30–49 | "
    assert found["data_checks"].markdown().splitlines()[-1] == row + "5.0 cut, test de |"
    assert "| ru | 2.000 | 1.50 | – |" in found["pieces"].markdown()
    assert text.count("<details>") == 2
    tables.write("data", [CLEAN], copy)
    tables.write("pieces", [PIECES], copy)
    text = section(undrawn(spec, copy, catalog)[0], "checks")
    assert "Nothing needs attention" in text and "needs attention before" not in text and "lack" not in text


def test_pieces_are_weighted_by_what_they_are_counted_by(demo):
    contents = Contents(*demo)
    empty = dict.fromkeys(tables.COLUMNS["pieces"])
    # 100 words of 10 pieces, none bare; 100 words of 1 piece, all bare
    long = {**PIECES, "task": "panx", "sampled": 10, "pieces_mean": 100.0, "pieces_per_word": 10.0}
    short = {**PIECES, "task": "udpos", "sampled": 10, "pieces_mean": 10.0, "pieces_per_word": 1.0}
    rows = [empty | long | {"boundary_first": 0.0}, empty | short | {"boundary_first": 100.0}]
    other = [{**row, "model": "me5-small-l3", "over_length": 70.0} for row in rows]
    contents.tables["pieces"] = other + rows
    assert [str(cell) for cell in datachecks.pieces(contents).rows[0][2:]] == ["5.50", "50"]
    # one tokenizer, two length limits: each model's own share of long examples
    lines = datachecks.all_pieces(contents).markdown().splitlines()
    assert sum("me5-small-l6" in line for line in lines) == 2 and sum("| 70.0 |" in line for line in lines) == 2
    assert not any("me5-small-l3, me5-small-l6" in line for line in lines)
    strange = [{**row, "language": code, "unknown": 9.0} for row in rows for code in ("de", "ru")]
    contents.tables["pieces"] = strange
    assert any("are unknown; 1 more language." in line for line in datachecks.findings(contents))


def test_mixtures_say_how_batches_are_drawn_and_what_the_paper_does_not(demo):
    spec, results, catalog = demo

    def said(sampling):
        training = {**spec["training"], "mixtures": {"mix": ["mnli", "mlm"]}, "sampling": {"mix": sampling}}
        ((_, text),) = mixtures(Contents({**spec, "training": training}, results, catalog))
        return text

    assert "are not known" not in said({"method": "proportional"}) + said({"method": "uniform"})
    assert "min(n, 1,000)" in said({"method": "capped", "cap": 1000}) and "are not known" in said(
        {"method": "capped", "cap": 1000}
    )
    text = said({"method": "temperature", "temperature": 2.0, "shares": {"mlm": 0.2}})
    assert "n to the power 1 / 2" in text and "are not known" in text and "mlm 20.0 %" in text


def plain(text: str) -> str:
    """The words of a page without its marks."""
    return html.unescape(re.sub("<[^>]+>", "", text))


@pytest.fixture(scope="module")
def varied(tmp_path_factory):
    results = tmp_path_factory.mktemp("variants") / "results"
    spec = analysis_study.variants(samples=20)
    analysis_study.build(results, spec, items=10)
    analysis_study.check(results, spec)
    catalog = analysis_study.catalog(results.parent)
    analyse(spec, results, catalog)
    return spec, results, catalog


def test_what_read_test_languages_is_not_called_zero_shot(varied, demo):
    text, found = undrawn(*varied)
    text = plain(text)
    for words in (
        "plain, after English training on MNLI, and after training that read other languages too, on "
        "mnli_translated † or the mixture mnli-mlm †, fine-tuned on the English training data of 6 tasks and tested on "
        "9 target tasks in English and 3 other languages whose training data they never saw, but where marked †.",
        "Variants read other languages in phase two: mnli-mlm de; mnli_translated de zh.",
        "but where marked †: that is not zero-shot transfer",
        "Transfer is zero-shot but after mnli-mlm † and mnli_translated †",
        "† Intermediate training read test languages besides English, so this is not zero-shot: mnli-mlm de; "
        "mnli_translated de zh.",
    ):
        assert words in text, words
    assert "zero-shot throughout" not in text
    for name in ("grid", "scores", "gains", "languages_xnli", "selection", "layers"):
        lines = found[name].markdown().splitlines()
        assert any("| mnli_translated † |" in line for line in lines) and "not zero-shot" in lines[0], name
        assert not any("MNLI †" in line or "none †" in line for line in lines), name
    assert not any("†" in line for line in found["languages_tydiqa"].markdown().splitlines())  # tested in en and ru
    rows = {line.split(" | ")[0]: line for line in found["data"].markdown().splitlines()}
    assert "| en de zh |" in rows["| mnli_translated"] and "| en de |" in rows["| mlm"] and "| en |" in rows["| MNLI"]
    assert "Training data are capped at 2,000 examples a language, English" in found["data"].caption
    text = plain(page(demo[1]))
    assert "†" not in text and "Transfer is zero-shot throughout" in text
    assert "English training data are capped at 2,000 examples, English dev sets are capped at 200 examples." in text


def test_variants_that_read_no_test_language_need_no_mark(varied):
    spec, results, catalog = varied
    text = undrawn(
        {**spec, "train_languages": {name: ["en", "sw"] for name in spec["train_languages"]}}, results, catalog
    )
    assert "†" not in text[0] and "after training that read other languages too" in text[0]


def only(spec: dict, *targets: str) -> dict:
    """The study with these targets alone."""
    cells = [{**cell, "targets": list(targets)} for cell in spec["cells"]]
    return {**spec, "targets": {name: spec["targets"][name] for name in targets}, "cells": cells, "attack_cells": []}


def test_the_sentence_under_the_title_counts_training_tasks_not_targets(demo):
    spec, results, catalog = demo
    text = setting.lead(Contents(only(spec, "xquad", "mlqa", "tatoeba"), results, catalog))
    assert "fine-tuned on the English training data of 1 task and tested on 3 target tasks in English and 3" in text
    text = setting.lead(Contents(only(spec, "tatoeba"), results, catalog))
    assert "fine-tuned" not in text and "tested on 1 target task in 3 other languages" in text


def test_retrieval_sentences_are_the_resolved_settings(demo):
    spec, results, catalog = demo
    text = plain(undrawn(*demo)[0])
    assert "BUCC and Tatoeba take the layer at depth 14/24, mean over all tokens, at most 512 tokens" in text
    assert "These are the values of preset demo, fixed beforehand" in text
    assert "for retrieval jiant's replication, at layer 14 of 24 (BUCC on its dev pools)." in text
    assert "BUCC's threshold" in text and "Those of preset demo." in text
    deep = {"layer": "20/24", "pooling": "cls", "max_length": 512}
    retrieval = {model: {**one, "bucc2018": deep} for model, one in spec["retrieval"].items()}
    retrieval["me5-small-l3"] = {**retrieval["me5-small-l3"], "tatoeba": {**deep, "layer": 2, "pooling": "mean"}}
    training = {**spec["training"], "overrides": {"tatoeba": {"layer": 2}, "mnli": {"max_steps": 6}}}
    text = plain(undrawn({**spec, "retrieval": retrieval, "training": training}, results, catalog)[0])
    assert "BUCC takes the layer at depth 20/24, vector of the first token, at most 512 tokens" in text
    assert "Tatoeba takes layer 2, mean over all tokens, at most 512 tokens (me5-small-l3); the layer at depth" in text
    assert "at layer 14 of 24, not this study's setting for BUCC and Tatoeba" in text
    assert "For BUCC these are the values of preset demo" in text and "For Tatoeba the study overrides" in text
    assert "what the study sets itself (training.overrides): Tatoeba: layer 2; MNLI: max_steps 6." in text
    contents = Contents(only(spec, "xnli"), results, catalog)
    assert setting.layer_rule(contents) == setting.replication(contents) == "" and "data:" not in setting.phases(
        contents
    )


def test_the_page_names_everything_that_it_was_made_of(demo):
    text = plain(section(page(demo[1]), "reproduce"))
    assert "twelve tables" in text and "train.json" in text and "published.csv" in text and "samples are made" in text


def test_latex_is_escaped():
    table = Table("t", "50 % of `none`", ["a_b", "x"], [["me5_small & co", Cell("−1.0", small="[−2.0, 0.1]")]])
    text = table.latex()
    assert r"50 \% of \texttt{none}" in text and r"me5\_small \& co & $-$1.0 [$-$2.0, 0.1]" in text
    assert "| me5_small & co | −1.0 [−2.0, 0.1] |" in table.markdown()
    assert r"\begin{tabular}{lr}" in text and text.startswith("% needs \\usepackage{booktabs}\n")


def test_prose_has_paragraph_columns_that_fit_the_line_and_each_row_one_line():
    cite = Cell("A paper " * 9, small="https://x.org/a_b#c~d")
    table = Table("t", "c", ["what", "licence", "cite"], [["data", "CC BY\n\n  4.0: " + "w " * 30, cite]], prose=True)
    text = table.latex()
    widths = [float(width) for width in re.findall(r"p\{([\d.]+)\\linewidth\}", text)]
    assert re.search(r"\\begin\{tabular\}\{l>\{\\raggedright\\arraybackslash\}p\{", text) and len(widths) == 2
    assert 0.5 <= sum(widths) <= 0.95
    assert text.startswith("% needs \\usepackage{booktabs,array,url}\n") and r"\url{https://x.org/a_b#c~d} \\" in text
    assert [row for row in table.markdown().splitlines() if row.startswith("| data | CC BY 4.0: w")]
    assert len(table.markdown().splitlines()) == 5 and "CC BY 4.0: w" in text


def test_neither_part_imports_torch():
    code = "import sys, xstilts.analysis.run, xstilts.report.build, xstilts.report.figures; "
    code += "print([m for m in ('torch', 'transformers', 'snakemake', 'pandas') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_targets_stand_in_xtremes_order_whatever_order_a_spec_has(demo):
    spec, results, _ = demo
    spec = json.loads(json.dumps(spec, sort_keys=True))
    catalog = catalogs.load()
    wanted = [name for name in catalog.targets if name in spec["targets"]]
    assert Contents(spec, results, catalog).targets == wanted and wanted != list(spec["targets"])
