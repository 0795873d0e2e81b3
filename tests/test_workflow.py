"""The graph: planned jobs, a whole tiny study, what re-runs and what does not, and what a broken input does."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pandas
import pytest
import yaml

from xstilts.identity import ROOT

COLUMNS = {
    "scores": "model parameters non_embedding_parameters intermediate target language seed metric value n selection "
    "task_version model_revision data_fingerprint",
    "baselines": "target language baseline metric value n",
    "robustness": "model intermediate target language seed attack mode n skipped clean attacked success_rate queries "
    "perturbed similarity broken unreadable ci_low ci_high source success_low success_high "
    "vanished refused timed_out",
    "robustness_changes": "attack mode source model intermediate target language change change_low change_high p "
    "p_holm drop_change drop_low drop_high n_examples n_seeds method",
    "transfer": "attack target source model intermediate n success_rate success_low success_high attacked",
    "comparisons": "model intermediate baseline target language gain ci_low ci_high p p_holm n_examples n_seeds method",
    "scaling": "family target intermediate measure n_sizes slope ci_low ci_high status why",
    "claims": "claim measure published source value ci_low ci_high verdict why",
    "cost": "stage model intermediate target seed device seconds tokens tokens_per_s peak_memory_mb devices "
    "device_hours",
    "retrieval": "model intermediate seed target language split direction layer rule metric value n",
    "data": "task language split n label_balance majority duplicates conflicts overlap_train overlap_with overlap_dev "
    "context_train context_with characters_mean characters_median characters_max",
    "pieces": "model task language split n sampled pieces_mean pieces_p95 pieces_max pieces_per_word unknown "
    "empty_words boundary_first over_length",
}


def copy_project(target: Path) -> Path:
    """The project's files (no results, no store) in a folder of their own."""
    kept = (
        "xstilts",
        "scripts",
        "rules",
        "catalog",
        "studies",
        "profiles",
        "envs",
        "Snakefile",
        "config.yaml",
        "data.dvc",
    )
    target.mkdir(parents=True)
    for name in kept:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, target / name)
    return target


def snakemake(root: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(root)}
    environment.pop("SNAKEMAKE_OUTPUT_CACHE", None)
    result = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "2", *arguments],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert not check or result.returncode == 0, result.stdout[-3000:] + result.stderr[-6000:]
    return result


def planned(root: Path, *arguments: str) -> Counter:
    """Jobs by rule of a dry run (no `all`)."""
    output = snakemake(root, "-n", "--quiet", "rules", *arguments).stdout
    counts = Counter()
    for line in output.splitlines():
        words = line.split()
        if len(words) == 2 and words[1].isdigit() and words[0] not in ("all", "total"):
            counts[words[0]] = int(words[1])
    return counts


TINY = ("--configfile", "studies/tiny.yaml")


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A copy in which the tiny study has run once."""
    root = copy_project(tmp_path_factory.mktemp("workflow") / "project")
    snakemake(root, *TINY)
    return root


def results(root: Path) -> Path:
    return root / "results" / "tiny"


def started(root: Path) -> dict[Path, float]:
    return {path: path.stat().st_mtime for path in (root / "logs").rglob("*.started")}


def test_default_study_plans_the_jobs_that_its_grid_asks_for():
    jobs = planned(ROOT, "--forceall")
    assert jobs["train_intermediate"] == 4
    assert jobs["train_target"] == 36
    assert sum(count for rule, count in jobs.items() if rule.startswith("evaluate_")) == 36
    assert jobs["retrieve"] == 6
    assert sum(count for rule, count in jobs.items() if rule.startswith("attack_")) == 8
    assert jobs["fetch_model"] == 2
    assert jobs["prepare_train"] == len(
        {
            *["anli", "mnli", "qqp", "squad_v2", "squad", "hellaswag", "ccg", "cosmosqa", "commonsenseqa"],
            "pawsx",
            "udpos",
            "panx",
            "tydiqa",
        }
    )


def test_paper_plans_in_under_thirty_seconds_and_says_what_is_in_the_way():
    start = time.monotonic()
    result = snakemake(ROOT, "--configfile", "studies/paper.yaml", "-n", "--quiet", "rules")
    assert time.monotonic() - start < 30
    assert "not pinned yet: FacebookAI/xlm-roberta-large" in result.stderr
    assert "ccg" in result.stderr
    assert "train_target" in result.stdout


def test_a_real_run_of_an_unpinned_study_is_refused(tmp_path):
    root = copy_project(tmp_path / "project")
    result = snakemake(root, "--configfile", "studies/paper.yaml", check=False)
    assert result.returncode
    assert "xstilts pin" in result.stdout + result.stderr
    assert not (root / "logs").exists()


@pytest.mark.slow
def test_tiny_study_ends_in_its_report_and_tables(project):
    assert (results(project) / "report.html").stat().st_size > 10_000
    for name, columns in COLUMNS.items():
        table = pandas.read_csv(results(project) / f"{name}.csv")
        assert list(table.columns) == columns.split(), name
        assert len(table), name
    scores = pandas.read_csv(results(project) / "scores.csv")
    cells = scores.groupby(["intermediate", "target"]).size()
    assert len(cells) == 2 * 9, "every cell of the grid has scores"
    assert scores["value"].between(0, 100).all()


@pytest.mark.slow
def test_a_static_attack_puts_the_sources_texts_to_the_other_cell_on_the_same_ids(project):
    source = results(project) / "attacks" / "charswap" / "tiny" / "none" / "s1"
    other = results(project) / "transfer" / "charswap" / "tiny.none.s1" / "tiny" / "mix2" / "s1"
    files = sorted(path.relative_to(source) for path in source.rglob("*.jsonl"))
    assert files and files == sorted(path.relative_to(other) for path in other.rglob("*.jsonl"))
    for path in files:
        made, put = ([json.loads(line) for line in (folder / path).open()] for folder in (source, other))
        assert [row["id"] for row in made] == [row["id"] for row in put]
        for before, after in zip(made, put, strict=True):
            assert after["queries"] == 0
            if before["outcome"] != "succeeded":
                assert (after["outcome"], after["why"]) == ("skipped", "source failed")
            elif after["outcome"] != "skipped":
                assert after["adversarial"] == before["adversarial"]
    table = pandas.read_csv(results(project) / "robustness.csv")
    static = table[table["mode"] == "static"]
    assert set(static["intermediate"]) == {"mix2"} and set(static["source"]) == {"tiny.none.s1"}
    assert set(table.query("attack == 'case'")["target"]) == {"xnli"}


@pytest.mark.slow
def test_texts_that_beat_the_source_are_put_to_the_other_cells_model(project, tmp_path):
    """The random model is hardly ever right, so the source's rows are written here: each text is changed to `x`."""
    from xstilts import study as studies
    from xstilts.robustness.transfer import run
    from xstilts.specs import Specs

    config = yaml.safe_load((ROOT / "studies" / "tiny.yaml").read_text())
    study = studies.load(config, "tiny.yaml")
    spec = Specs(study).transfer(*next(iter(study.transfer_cells)))
    for name in ("models", "encoders", "targets", "examples"):
        (tmp_path / name).symlink_to(results(project) / name)
    fields = {"pair": "text_b", "tagging": "tokens", "span_qa": "question", "retrieval": "text"}
    for target, entry in spec["targets"].items():
        for language in entry["languages"]:
            field, path = fields[entry["kind"]], results(project) / "examples" / target / language / "test.jsonl"
            examples = [json.loads(line) for line in path.open()]
            side = "target" if entry["options"].get("mining") == "nearest" else "source"
            rows = [
                {"id": one["id"], "outcome": "succeeded", "perturbed": 1.0, "similarity": 0.0, "original": {},
                 "adversarial": {field: "\t".join("x" for _ in one[field]) if field == "tokens" else "x"}}
                for one in examples
                if one.get("side", side) == side and (one.get("match") or "side" not in one)
            ]  # fmt: skip
            out = tmp_path / "attacks" / "charswap" / "tiny" / "none" / "s1" / target / f"{language}.jsonl"
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run(spec, tmp_path, tmp_path / "out", tmp_path / "cost.json")
    found = {}
    for path in (tmp_path / "out").rglob("*.jsonl"):
        found.setdefault(path.parent.name, []).extend(json.loads(line) for line in path.open())
    assert set(found) == set(spec["targets"])
    outcomes = Counter(row["outcome"] for rows in found.values() for row in rows)
    assert outcomes["skipped"] and outcomes["succeeded"] + outcomes["failed"], outcomes
    for row in found["xnli"]:
        assert row["outcome"] == ("skipped" if row["clean"] < 1 else "succeeded" if row["attacked"] < 1 else "failed")
        assert row["why"] in ("wrong before", "held", "")
    assert {row["attacked"] for row in found["tatoeba"] if row["outcome"] != "skipped"} <= {0.0, 1.0}
    assert json.loads((tmp_path / "cost.json").read_text())["stage"] == "transfer"


@pytest.mark.slow
def test_retrieval_scores_the_encoder_after_intermediate_training(project):
    none, mix2 = (
        [json.loads(line) for line in (results(project) / "retrieval" / "tiny" / name / "s1.jsonl").open()]
        for name in ("none", "mix2")
    )
    where = "target", "language", "split", "direction", "layer"
    plain, trained = ({tuple(row[key] for key in where): row["value"] for row in rows} for rows in (none, mix2))
    assert any(plain[key] != trained[key] for key in plain.keys() & trained.keys())


@pytest.mark.slow
def test_a_second_run_has_nothing_to_do(project):
    assert not planned(project, *TINY)


@pytest.mark.slow
def test_one_deleted_prediction_runs_one_evaluation_and_what_follows(project):
    next((results(project) / "predictions").rglob("xquad/test-de.json")).unlink()
    jobs = planned(project, *TINY)
    assert jobs == Counter({"evaluate_squad": 1, "analyse": 1, "report": 1})
    before = (results(project) / "scores.csv").read_bytes()
    snakemake(project, *TINY)
    assert (results(project) / "scores.csv").read_bytes() == before


@pytest.mark.slow
def test_a_comment_reruns_nothing_and_a_learning_rate_its_branch(project):
    loop = project / "xstilts" / "training" / "loop.py"
    original = loop.read_text()
    loop.write_text(original + "\n# a remark\n")
    assert not planned(project, *TINY)
    loop.write_text(original)
    study = yaml.safe_load((project / "studies" / "tiny.yaml").read_text())
    study["training"]["overrides"]["udpos"]["learning_rate"] = 3.0e-4
    (project / "studies" / "changed.yaml").write_text(yaml.safe_dump(study))
    jobs = planned(project, "--configfile", "studies/changed.yaml")
    attacked = {"attack_charswap_0": 1, "transfer_charswap_0": 1}  # and not the attack on XNLI alone
    assert jobs == Counter({"train_target": 2, "evaluate_udpos": 2, **attacked, "analyse": 1, "report": 1})


@pytest.mark.slow
def test_the_store_serves_a_fresh_copy_without_one_training(project, tmp_path):
    root = copy_project(tmp_path / "elsewhere")
    shutil.copytree(project / "data", root / "data")
    snakemake(root, *TINY)
    assert not started(root), "adoption leaves no start marker"
    for name in set(COLUMNS) - {"cost"}:
        assert (results(root) / f"{name}.csv").read_bytes() == (results(project) / f"{name}.csv").read_bytes(), name


@pytest.mark.slow
def test_a_store_entry_with_a_file_missing_is_made_again_and_the_others_kept(project):
    link = next((results(project) / "targets").rglob("pawsx/config.json"))
    entry = Path(os.path.realpath(link))
    siblings = {path: path.read_bytes() for path in entry.parent.glob(entry.name.split("_")[0] + "*")}
    entry.unlink()
    before = started(project)
    snakemake(project, *TINY)
    assert entry.is_file() and link.resolve() == entry
    assert json.loads(entry.read_text()) == json.loads(siblings[entry])
    again = [path for path, when in started(project).items() if before.get(path) != when]
    assert len(again) == 1 and "pawsx" in str(again[0])


def command(root: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "xstilts", *arguments], cwd=root, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_the_score_command_gives_the_scores_of_the_tables(project, tmp_path):
    cell = "results/tiny/predictions/tiny/none/s1"
    result = command(
        project, "score", cell, "--gold", "results/tiny/gold", "--json", str(tmp_path / "s.json"), "--partial"
    )
    assert result.returncode == 0, result.stderr
    official = json.loads((tmp_path / "s.json").read_text())
    scores = pandas.read_csv(results(project) / "scores.csv").query(
        "intermediate == 'none' and language in ['en', 'de']"
    )
    assert len(scores) == sum(
        len(values) for task in official.values() for name, values in task.items()
        if name in ("accuracy", "f1", "exact_match")
    )  # fmt: skip
    for row in scores.itertuples():
        assert official[row.target][row.metric][row.language] == row.value


@pytest.mark.slow
def test_a_checkpoint_is_exported_as_a_whole_folder(project, tmp_path):
    result = command(project, "export", "results/tiny/targets/tiny/mix2/s1/mnli", "--out", str(tmp_path / "out"))
    assert result.returncode == 0, result.stderr
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= files


@pytest.mark.slow
def test_outputs_are_replaced_not_written_through_into_the_store(project):
    """Measured before: writing through an output link destroyed the stored entry."""
    link = next((results(project) / "examples" / "xnli" / "en").glob("test.jsonl"))
    entry = Path(os.path.realpath(link))
    before = entry.read_bytes()
    from xstilts.files import write_text

    write_text(link, "other\n")
    assert entry.read_bytes() == before
    link.unlink()
    link.symlink_to(entry)


@pytest.mark.slow
def test_a_file_that_cannot_be_written_is_one_error_and_earlier_results_stay(project, tmp_path):
    root = copy_project(tmp_path / "full")
    snake = f"{sys.executable} -m snakemake --cores 1 --configfile studies/tiny.yaml"
    command = f"ulimit -f 20; exec {snake} -- results/tiny/models/tiny/model.safetensors"
    result = subprocess.run(
        ["bash", "-c", command],
        cwd=root,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
        check=False,
    )
    assert result.returncode
    log = (root / "logs" / "tiny" / "fetch_model" / "tiny.log").read_text()
    assert "model.safetensors" in log and "ulimit" in log and "Traceback" not in log
    assert not list(root.rglob("*.part"))


def test_a_typo_in_the_config_is_one_error_before_the_graph_is_built(tmp_path):
    study = yaml.safe_load((ROOT / "studies" / "tiny.yaml").read_text())
    study["traning"] = study.pop("training")
    path = tmp_path / "typo.yaml"
    path.write_text(yaml.safe_dump(study))
    result = snakemake(ROOT, "--configfile", str(path), "-n", check=False)
    message = result.stdout + result.stderr
    assert result.returncode and "traning" in message and "training" in message and "typo.yaml" in message
    assert "Traceback" not in message
