"""The tables of a small study on disk."""

import csv
import json
import shutil

import analysis_study
import pytest

from xstilts.analysis import cost, overlap, tables
from xstilts.analysis.run import analyse
from xstilts.evaluation import score

# as design/architecture.md gives them
COLUMNS = {
    "scores": "model,parameters,non_embedding_parameters,intermediate,target,language,seed,metric,value,n,selection,"
    "task_version,model_revision,data_fingerprint",
    "baselines": "target,language,baseline,metric,value,n",
    "retrieval": "model,intermediate,seed,target,language,split,direction,layer,rule,metric,value,n",
    "robustness": "model,intermediate,target,language,seed,attack,mode,n,skipped,clean,attacked,success_rate,queries,"
    "perturbed,similarity,broken,unreadable,ci_low,ci_high,source,success_low,success_high,"
    "vanished,refused,timed_out",
    "robustness_changes": "attack,mode,source,model,intermediate,target,language,change,change_low,change_high,p,"
    "p_holm,drop_change,drop_low,drop_high,n_examples,n_seeds,method",
    "transfer": "attack,target,source,model,intermediate,n,success_rate,success_low,success_high,attacked",
    "comparisons": "model,intermediate,baseline,target,language,gain,ci_low,ci_high,p,p_holm,n_examples,n_seeds,method",
    "scaling": "family,target,intermediate,measure,n_sizes,slope,ci_low,ci_high,status,why",
    "claims": "claim,measure,published,source,value,ci_low,ci_high,verdict,why",
    "cost": "stage,model,intermediate,target,seed,device,seconds,tokens,tokens_per_s,peak_memory_mb,devices,"
    "device_hours",
}


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    results = tmp_path_factory.mktemp("demo") / "results"
    spec = analysis_study.spec()
    analysis_study.build(results, spec)
    analyse(spec, results, analysis_study.catalog(results.parent))
    return spec, results


def rows(results, name):
    with open(results / f"{name}.csv", encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_are_the_contracts(demo, name):
    assert (demo[1] / f"{name}.csv").read_text(encoding="utf-8").splitlines()[0] == COLUMNS[name]
    assert rows(demo[1], name) or name == "transfer"  # the study has none


def test_equal_results_give_equal_bytes(demo):
    spec, results = demo
    before = {name: (results / f"{name}.csv").read_bytes() for name in COLUMNS}
    analyse(spec, results, analysis_study.catalog(results.parent))
    assert {name: (results / f"{name}.csv").read_bytes() for name in COLUMNS} == before


def test_timings_are_in_cost_alone(demo):
    for name in set(COLUMNS) - {"cost"}:
        assert not {"seconds", "tokens_per_s", "device"} & set(tables.COLUMNS[name])


def test_scores_of_every_cell_and_language(demo):
    spec, results = demo
    table = rows(results, "scores")
    for cell in spec["cells"]:
        for target, identity in spec["targets"].items():
            found = {
                (row["language"], row["metric"])
                for row in table
                if (row["model"], row["intermediate"], row["target"]) == (cell["model"], cell["intermediate"], target)
            }
            metrics = {"span_qa": ["exact_match", "f1"], "tagging": ["f1"], "pair": ["accuracy"]}
            metrics = metrics.get(identity["kind"], ["f1" if target == "bucc2018" else "accuracy"])
            assert found == {(c, m) for c in [*identity["languages"], "mean", "mean_non_en"] for m in metrics}
    assert {row["selection"] for row in table if row["target"] == "tatoeba"} == {"none"}
    assert {row["selection"] for row in table if row["target"] == "xquad"} == {"last"}
    assert all(row["model_revision"] == "0123456789ab" and len(row["data_fingerprint"]) == 12 for row in table)


def test_mean_is_over_all_languages_and_english_is_left_out_of_the_other(demo):
    table = rows(demo[1], "scores")
    cell = [
        row for row in table
        if (row["model"], row["intermediate"], row["target"]) == ("me5-small-l6", "none", "xnli")
    ]  # fmt: skip
    values = {row["language"]: float(row["value"]) for row in cell}
    assert values["mean"] == pytest.approx(sum(values[c] for c in ("en", "de", "ru", "zh")) / 4, abs=0.01)
    assert values["mean_non_en"] == pytest.approx(sum(values[c] for c in ("de", "ru", "zh")) / 3, abs=0.01)


@pytest.mark.parametrize(("demonstration", "whole"), [(True, True), (False, False), (False, True)])
def test_official_only_when_complete_and_real(demo, tmp_path, demonstration, whole):
    spec, results = demo
    spec = {**spec, "demonstration": demonstration}
    if whole:
        spec["official_languages"] = {name: one["languages"] for name, one in spec["targets"].items()}
    copy = tmp_path / "results"
    shutil.copytree(results, copy)
    if whole and not demonstration:  # one cell incomplete: no group rows from it
        (copy / "predictions/me5-small-l3/none/s1/xnli/test-de.tsv").unlink()
    analyse(spec, copy, analysis_study.catalog(tmp_path))
    official = [row for row in rows(copy, "scores") if row["language"] == "official"]
    if demonstration or not whole:
        assert official == []
        return
    full = {row["target"] for row in official if (row["model"], row["intermediate"]) == ("me5-small-l6", "none")}
    assert full == {*spec["targets"], "classification", "tagging", "qa", "retrieval", "xtreme"}
    partial = {row["target"] for row in official if (row["model"], row["intermediate"]) == ("me5-small-l3", "none")}
    assert not partial & {"xnli", "classification", "xtreme"} and {"tagging", "qa"} <= partial
    cell = [row for row in official if (row["model"], row["intermediate"]) == ("me5-small-l6", "none")]
    value = {row["target"]: float(row["value"]) for row in cell if row["metric"] == "mean"}
    tasks = {}
    for row in cell:
        if row["target"] in spec["targets"]:
            tasks.setdefault(row["target"], []).append(float(row["value"]))
    means = {name: sum(found) / len(found) for name, found in tasks.items()}
    assert value["xtreme"] == pytest.approx(sum(means.values()) / 9, abs=0.01)
    assert value["retrieval"] == pytest.approx((means["bucc2018"] + means["tatoeba"]) / 2, abs=0.01)


def test_scores_are_those_of_the_official_scorer_to_the_last_digit(demo, tmp_path, monkeypatch):
    """`xstilts score` of a cell's prediction files gives every number of scores.csv, means and groups included."""
    spec, results = demo
    whole = {**spec, "demonstration": False,
             "official_languages": {name: one["languages"] for name, one in spec["targets"].items()}}  # fmt: skip
    copy = tmp_path / "results"
    shutil.copytree(results, copy)
    analyse(whole, copy, analysis_study.catalog(tmp_path))
    # XTREME's lists cut to those of the study, in XTREME's order
    cut = {task: tuple(code for code in codes if code in whole["official_languages"][task])
           for task, codes in score.LANGUAGES.items()}  # fmt: skip
    monkeypatch.setattr(score, "LANGUAGES", cut)
    table = rows(copy, "scores")
    checked = 0
    for cell in spec["cells"]:
        folder = f"{cell['model']}/{cell['intermediate']}/s{cell['seed']}"
        official = score.score_folder(copy / "predictions" / folder, copy / "gold", partial=True)
        official["xtreme"] = official.pop("all_task")
        for row in table:
            if (row["model"], row["intermediate"]) != (cell["model"], cell["intermediate"]):
                continue
            found = official[row["target"]]
            if row["metric"] != "mean" and row["language"] not in ("mean", "official"):
                found = found[row["metric"]].get(row["language"])
            elif row["metric"] != "mean":
                found = found[f"avg_{row['metric']}"]
            if row["language"] != "mean_non_en":
                assert float(row["value"]) == found, row
                checked += 1
    languages = sum(len(one["languages"]) * len(one["metrics"]) for one in spec["targets"].values())
    means = 2 * sum(len(one["metrics"]) for one in spec["targets"].values())
    assert checked == len(spec["cells"]) * (languages + means + 5)


def test_a_missing_cell_leaves_its_rows_out(demo, tmp_path):
    spec, results = demo
    copy = tmp_path / "results"
    shutil.copytree(results, copy)
    (copy / "predictions/me5-small-l6/squad/s1/xnli/test-de.tsv").unlink()
    shutil.rmtree(copy / "attacks/charswap/me5-small-l6/none/s1/xnli")
    shutil.rmtree(copy / "targets/me5-small-l3/none")
    analyse(spec, copy, analysis_study.catalog(tmp_path))
    gone = [r for r in rows(copy, "comparisons") if (r["intermediate"], r["target"]) == ("squad", "xnli")]
    assert {row["language"] for row in gone if row["baseline"] == "none"} == {"en", "ru", "zh"}
    attacked = {(r["attack"], r["model"], r["intermediate"], r["target"]) for r in rows(copy, "robustness")}
    assert ("charswap", "me5-small-l6", "none", "xnli") not in attacked
    assert ("lookalike", "me5-small-l6", "none", "xnli") in attacked


def test_retrieval_by_layer_has_every_row_and_means_over_languages(demo):
    spec, results = demo
    table = rows(results, "retrieval")
    one = [r for r in table if (r["model"], r["intermediate"], r["target"]) == ("me5-small-l6", "mnli", "tatoeba")]
    assert {(r["split"], r["rule"]) for r in one} == {("dev", "sweep"), ("test", "preset"), ("test", "dev")}
    assert {r["direction"] for r in one} == {"en-xx", "xx-en"}
    preset = {r["language"]: float(r["value"]) for r in one if (r["rule"], r["direction"]) == ("preset", "en-xx")}
    assert preset == {"de": 52.0, "ru": 53.0, "zh": 54.0, "mean": 53.0}
    # 2 + 1 directions, 7 layers swept and 2 tests, 3 languages and their mean
    assert len(table) == len(spec["cells"]) * 3 * (7 + 2) * 4


def test_comparisons_are_paired_with_none_and_with_the_named_baseline(demo):
    results = demo[1]
    table = rows(results, "comparisons")
    gains = [row for row in table if row["baseline"] == "none"]
    assert {row["intermediate"] for row in gains} == {"squad", "mnli", "all9"}
    scores = {
        (r["model"], r["intermediate"], r["target"], r["language"]): float(r["value"])
        for r in rows(results, "scores")
        if r["metric"] == "accuracy" or r["target"] in ("udpos", "panx", "bucc2018")
    }
    for row in gains:
        if row["target"] in ("xnli", "udpos", "tatoeba"):
            key = row["target"], row["language"]
            difference = scores[row["model"], row["intermediate"], *key] - scores[row["model"], "none", *key]
            assert float(row["gain"]) == pytest.approx(difference, abs=0.011)
        assert float(row["ci_low"]) <= float(row["gain"]) <= float(row["ci_high"])
        assert float(row["p_holm"]) >= float(row["p"]) and "1 seed" in row["method"]
    named = {row["target"]: row["baseline"] for row in table if row["baseline"] != "none"}
    assert named["tatoeba"] == "word_overlap" and named["xquad"] in ("sliding_window", "random_span")
    chosen = {(r["model"], r["target"]): r["intermediate"] for r in table if r["baseline"] != "none"}
    assert chosen["me5-small-l6", "xnli"] == "all9" and chosen["me5-small-l6", "tatoeba"] == "none"


def test_scaling_always_has_a_row_and_refuses_below_three_sizes(demo, tmp_path):
    spec, results = demo
    table = rows(results, "scaling")
    assert len(table) == 9 * 4 * 4 and {row["status"] for row in table} == {"refused"}
    assert all(row["why"] and not row["slope"] for row in table)
    models = {**spec["models"]}
    models["me5-small-l12"] = {"parameters": 117_500_000, "non_embedding_parameters": 21_500_000, "family": "me5"}
    models["other"] = {"parameters": 5, "non_embedding_parameters": 4, "family": "another"}
    cells = [*analysis_study.CELLS, ("me5-small-l12", "none"), ("me5-small-l12", "all9")]
    spec = analysis_study.spec(models=models, cells=cells)
    analysis_study.build(tmp_path, spec, items=20)
    analyse(spec, tmp_path, analysis_study.catalog(tmp_path))
    table = {(r["family"], r["target"], r["intermediate"], r["measure"]): r for r in rows(tmp_path, "scaling")}
    assert len(table) == 2 * 9 * 4 * 4
    fitted = table["me5", "xnli", "all9", "gain"]
    assert fitted["status"] == "fitted" and float(fitted["ci_low"]) <= float(fitted["slope"]) <= float(
        fitted["ci_high"]
    )
    assert table["me5", "xnli", "mnli", "score"]["status"] == "refused"
    assert table["me5", "xnli", "all9", "attacked"]["n_sizes"] == "2"
    assert table["another", "xnli", "none", "score"]["status"] == "refused"


def test_claims_never_hold_on_a_demonstration(demo):
    table = {int(row["claim"]): row for row in rows(demo[1], "claims")}
    assert list(table) == list(range(1, 15))
    assert {table[number]["verdict"] for number in range(1, 8)} <= {"undecided", "not run"}
    assert all("demonstration" in table[number]["why"] for number in (1, 2, 3, 4, 5))
    assert {table[number]["verdict"] for number in range(8, 15)} == {"undecided"}
    assert table[7]["verdict"] == "not run"


def test_what_a_study_leaves_out_is_not_run(tmp_path):
    spec = analysis_study.spec(cells=[("me5-small-l6", "none"), ("me5-small-l6", "all9")])
    spec["intermediates"] = {"none": [], "all9": spec["intermediates"]["all9"]}
    analyse(spec, tmp_path, analysis_study.catalog(tmp_path))
    table = {int(row["claim"]): row["verdict"] for row in rows(tmp_path, "claims")}
    assert table[12] == "not run" and table[9] == "undecided" and table[3] == "not run"


def test_claims_need_the_papers_encoder_and_all_languages(demo, tmp_path):
    spec, results = demo
    analyse({**spec, "demonstration": False}, results, analysis_study.catalog(tmp_path))
    table = {int(row["claim"]): row for row in rows(results, "claims")}
    assert {table[number]["verdict"] for number in range(1, 8)} <= {"undecided", "not run"}
    assert {table[number]["verdict"] for number in range(8, 15)} == {"holds"}
    assert "not on xlm-r-large" in table[3]["why"]
    models = {"xlm-r-large": {"parameters": 559_000_000, "non_embedding_parameters": 303_000_000, "family": "xlm-r"}}
    cells = [("xlm-r-large", name) for name in ("none", "squad", "mnli", "all9")]
    real = analysis_study.spec(models=models, cells=cells, demonstration=False)
    analysis_study.build(tmp_path, real, items=60)
    analyse(real, tmp_path, analysis_study.catalog(tmp_path))
    assert "not every language" in {int(r["claim"]): r for r in rows(tmp_path, "claims")}[3]["why"]
    real["official_languages"] = {name: one["languages"] for name, one in real["targets"].items()}
    analyse(real, tmp_path, analysis_study.catalog(tmp_path))
    assert {int(r["claim"]): r for r in rows(tmp_path, "claims")}[3]["verdict"] == "fails"  # made up to fall


def test_robustness_counts_and_f1_from_counts(demo):
    table = rows(demo[1], "robustness")
    one = next(r for r in table if (r["target"], r["language"], r["attack"]) == ("udpos", "de", "charswap"))
    assert one["mode"] == "adaptive" and int(one["n"]) == 30 and 0 < int(one["skipped"]) < 30
    assert float(one["ci_low"]) <= float(one["attacked"]) <= float(one["ci_high"]) <= 100
    assert float(one["attacked"]) <= float(one["clean"]) <= 75  # at most 6 of 8 chunks right in every sentence
    assert {"mean", "mean_non_en"} <= {row["language"] for row in table}
    assert {(row["broken"], row["unreadable"]) for row in table} == {("", "")}  # texts that no generator wrote


def test_word_lists_and_gazetteer():
    train = [
        {"tokens": ["Anna", "saw", "New", "York"], "tags": ["B-PER", "O", "B-LOC", "I-LOC"]},
        {"tokens": ["New", "York"], "tags": ["B-LOC", "I-LOC"]},
    ]
    names = overlap.gazetteer(train)
    assert names == {("Anna",): "PER", ("New", "York"): "LOC"}
    assert overlap.find_entities(["In", "New", "York", "Anna"], names) == ["O", "B-LOC", "I-LOC", "B-PER"]
    assert overlap.word_tags([{"tokens": ["The", "the", "run"], "tags": ["DET", "DET", "VERB"]}])["the"] == "DET"


def test_span_guesses_are_spans_of_the_context():
    context = "Das Haus wurde 1912 in Berlin gebaut. Anna kaufte es."
    assert overlap.random_span("q1", context, "") in context
    assert overlap.random_span("q1", context, "") == overlap.random_span("q1", context, "?")
    assert overlap.sliding_window("q", context, "Wann wurde das Haus gebaut?") in context
    assert overlap.sliding_window("q", "他在北京买了书", "他在哪里买了书？") in "他在北京买了书"
    assert overlap.sliding_window("q", "", "who?") == "" == overlap.random_span("q", "", "who?")


def test_word_overlap_retrieval():
    rows = [
        {"id": "de-0", "side": "source", "text": "Anna war 1912 in Paris", "match": "en-1"},
        {"id": "de-1", "side": "source", "text": "Berlin", "match": "en-0"},
        {"id": "de-2", "side": "source", "text": "nichts davon", "match": None},
        {"id": "en-0", "side": "target", "text": "in Berlin", "match": "de-1"},
        {"id": "en-1", "side": "target", "text": "Anna, Paris, 1912.", "match": "de-0"},
    ]
    assert overlap.nearest(rows) == [1, 0]
    assert overlap.mine(rows, rows) == [("de-0", "en-1"), ("de-1", "en-0")]
    assert overlap.tokens("Köln 書を12 हिन्दी") == ["köln", "書", "を", "12", "हिन्दी"]


def test_the_papers_alternatives_are_compared_with_the_same_english_training(tmp_path):
    spec = analysis_study.variants()
    analysis_study.build(tmp_path, spec, items=30)
    analyse(spec, tmp_path, analysis_study.catalog(tmp_path))
    claim = {int(row["claim"]): row for row in rows(tmp_path, "claims")}[6]
    assert "mlm" in claim["why"] and "mnli_translated" in claim["why"] and "(1 pair)" in claim["why"]
    assert claim["verdict"] == "undecided" and claim["value"] != "" and "steps" not in claim["why"]
    path = tmp_path / "encoders/me5-small-l6/mnli-mlm/s1/train.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "steps": 125}))
    analyse(spec, tmp_path, analysis_study.catalog(tmp_path))
    claim = {int(row["claim"]): row for row in rows(tmp_path, "claims")}[6]
    assert "numbers of steps differ: mnli 100, mnli-mlm 125" in claim["why"]
    # a mixture with masked text whose English counterpart is not in the study was run all the same
    spec["intermediates"]["squad-mlm"] = ["squad", "mlm"]
    alone = {**spec, "intermediates": {**spec["intermediates"], "mnli-mlm": ["squad", "mlm"]}}
    analyse(alone, tmp_path, analysis_study.catalog(tmp_path))
    claim = {int(row["claim"]): row for row in rows(tmp_path, "claims")}[6]
    assert "mnli-mlm: the same in English was not trained" in claim["why"] and "mlm not run" not in claim["why"]
    spec["intermediates"].pop("mnli")
    spec["cells"] = [cell for cell in spec["cells"] if cell["intermediate"] != "mnli"]
    analyse(spec, tmp_path, analysis_study.catalog(tmp_path))
    claim = {int(row["claim"]): row for row in rows(tmp_path, "claims")}[6]
    assert claim["verdict"] == "not run" and "the same without" in claim["why"]


def test_the_best_intermediate_of_the_claim_is_an_english_one(tmp_path):
    spec = analysis_study.variants()
    spec["targets"].pop("bucc2018"), spec["targets"].pop("tatoeba")
    for cell in spec["cells"]:
        cell["targets"] = list(spec["targets"])
    spec["attack_cells"] = []
    analysis_study.build(tmp_path, spec, items=20)
    for intermediate, value in (("none", 10.0), ("mnli", 20.0), ("mnli-mlm", 30.0), ("mnli_translated", 40.0)):
        for path in tmp_path.glob(f"targets/me5-small-l6/{intermediate}/s1/*/train.json"):
            record = json.loads(path.read_text())
            record["dev"][path.parent.name]["value"] = value
            path.write_text(json.dumps(record))
    analyse(spec, tmp_path, analysis_study.catalog(tmp_path))
    claim = {int(row["claim"]): row for row in rows(tmp_path, "claims")}[5]
    table = rows(tmp_path, "comparisons")
    gains = {row["target"]: float(row["gain"]) for row in table
             if (row["intermediate"], row["baseline"], row["language"]) == ("mnli", "none", "mean")}  # fmt: skip
    assert float(claim["value"]) == pytest.approx(sum(gains.values()) / 7, abs=0.02) and "English" in claim["why"]
    # the report's choice is among all
    assert {row["intermediate"] for row in table if row["baseline"] != "none"} == {"mnli_translated"}


def test_a_mixture_of_one_task_is_that_task(tmp_path):
    spec = analysis_study.spec(cells=[("me5-small-l6", name) for name in ("none", "squad", "alone")])
    spec["intermediates"] = {"none": [], "squad": ["squad"], "alone": ["mnli"]}
    spec["attack_cells"] = []
    analysis_study.build(tmp_path, spec, items=20)
    analyse(spec, tmp_path, analysis_study.catalog(tmp_path))
    claims = {int(row["claim"]): row for row in rows(tmp_path, "claims")}
    assert claims[2]["verdict"] == "not run" and "needs a mixture" in claims[2]["why"]
    assert "single tasks 2, mixtures 0" in claims[12]["why"] and "of 2 intermediates" in claims[4]["why"]


def test_cost_has_a_row_a_job_then_sums_of_each_stage_and_of_everything(demo):
    table = rows(demo[1], "cost")
    jobs = [row for row in table if row["model"] != "all"]
    assert table[: len(jobs)] == jobs, "sums come last"
    sums = {row["stage"]: row for row in table[len(jobs) :]}
    assert list(sums) == ["intermediate", "target", "evaluate", "total"]
    for stage, row in sums.items():
        own = [job for job in jobs if stage in (job["stage"], "total")]
        assert float(row["seconds"]) == pytest.approx(sum(float(job["seconds"]) for job in own))
        assert int(row["tokens"]) == sum(int(job["tokens"]) for job in own) > 0
        assert float(row["device_hours"]) == pytest.approx(float(row["seconds"]) / 3600, abs=1e-4)
        assert row["peak_memory_mb"] == max((job["peak_memory_mb"] for job in own), key=float)
    assert sums["total"]["tokens_per_s"] == "" and float(sums["target"]["tokens_per_s"]) > 0


def test_hours_of_several_devices_are_counted_for_each_of_them(tmp_path):
    spec = analysis_study.spec()
    analysis_study.build(tmp_path, spec, items=20)
    (path, *_) = sorted((tmp_path / "targets").rglob("train.json"))
    path.write_text(json.dumps({**json.loads(path.read_text()), "devices": 8, "seconds": 3600.0}))
    several = [row for row in cost.rows(spec, tmp_path) if row["devices"] == 8]
    assert [row["device_hours"] for row in several if row["model"] != "all"] == [8.0]
    assert [row["stage"] for row in several if row["model"] == "all"] == ["target", "total"], "the most of one job"
    assert all(row["device_hours"] > 8 for row in several if row["model"] == "all")
