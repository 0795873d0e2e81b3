"""What jobs record of their cost, and what `xstilts cost` says of a study before it starts."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from xstilts import catalog as catalogs
from xstilts import study as studies
from xstilts.__main__ import main
from xstilts.cost import lengths
from xstilts.cost.amounts import documented
from xstilts.cost.page import Asked, cost
from xstilts.errors import UserError
from xstilts.files import write_json
from xstilts.identity import ROOT
from xstilts.specs import Specs
from xstilts.training import accounting

L6, L3 = "me5-small-l6", "me5-small-l3"
STUDY = {
    "study": "demo",
    "description": "for tests",
    "sources": ["embedded"],
    "languages": ["en", "de"],
    "data": {"train": 64, "dev": 32, "test": 50, "seed": 1},
    "grid": [{"models": [L6, L3], "intermediates": ["none", "mnli"], "targets": ["xnli", "udpos"], "seeds": [1]}],
    "training": {"preset": "demo", "precision": "bf16", "trainable": "blocks"},
}
CONFIG = {"num_hidden_layers": 2, "hidden_size": 8}


# ---- accounting
def test_operations_are_palms_and_lora_saves_the_gradients_of_frozen_matrices():
    assert accounting.flops(CONFIG, 1000, 10, 60) == 6 * 1000 * 10 + 12 * 2 * 8 * 60
    assert accounting.flops(CONFIG, 1000, 10, 60, "blocks") == accounting.flops(CONFIG, 1000, 10, 60)
    assert accounting.flops(CONFIG, 1000, 10, 60, "lora", 50) == (4 * 1000 + 6 * 50) * 10 + 12 * 2 * 8 * 60
    assert accounting.flops(CONFIG, 1000, 10, 60, "none") * 3 == accounting.flops(CONFIG, 1000, 10, 60)


def test_peak_is_measured_once_and_draws_nothing_of_the_trainings_random_numbers(tmp_path):
    cache, cpu = tmp_path / "work" / "peaks.json", torch.device("cpu")
    before = torch.get_rng_state()
    found = accounting.peak(cpu, "fp32", cache)
    assert 1e9 < found < 1e15 and torch.equal(before, torch.get_rng_state())
    (key,) = json.loads(cache.read_text())
    assert "fp32" in key and f"{torch.get_num_threads()} threads" in key and torch.__version__ in key
    cache.write_text(json.dumps({key: 123.0}))
    assert accounting.peak(cpu, "fp32", cache) == 123.0
    cache.write_text('{"half a file')
    assert accounting.peak(cpu, "fp32", cache) > 1e9


def test_revision_names_the_commit_and_says_where_the_tree_is_dirty(tmp_path):
    assert accounting.revision(tmp_path) is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    (tmp_path / "file").write_text("one")
    for command in (["init", "-q"], ["add", "file"], ["commit", "-qm", "first"]):
        subprocess.run([*git, *command], check=True, capture_output=True)
    clean = accounting.revision(tmp_path)
    assert len(clean["commit"]) == 40 and clean["dirty"] is False
    (tmp_path / "file").write_text("two")
    assert accounting.revision(tmp_path) == {**clean, "dirty": True}
    (tmp_path / "inside").mkdir()
    assert accounting.revision(tmp_path / "inside") is None, "somebody else's repository"


def test_record_holds_what_train_json_promises(tmp_path):
    cache = tmp_path / "peaks.json"
    accounting.peak(torch.device("cpu"), "fp32", cache)
    write_json(cache, dict.fromkeys(json.loads(cache.read_text()), 4e6))
    found = accounting.record(
        config=CONFIG, parameters=1000, trainable="all", precision="fp32", device=torch.device("cpu"), examples=3,
        tokens=1000, squares=5000, seconds=9.0, training_seconds=2.0, devices=2, strategy="ddp", cache=cache,
    )  # fmt: skip
    assert found["flops"] == 6 * 1000 * 1000 + 12 * 2 * 8 * 5000 and found["tokens_per_s"] == 500.0
    assert found["flops_per_s"] == found["flops"] / 2 and found["peak_flops_per_s"] == 8e6
    assert found["mfu"] == round(found["flops_per_s"] / 8e6, 4)
    wanted = {"examples", "squares", "seconds", "training_seconds", "peak_memory_mb", "versions", "device", "devices"}
    assert wanted | {"strategy", "threads", "revision", "processor"} <= set(found)
    json.dumps(found, allow_nan=False)


# ---- the estimate
@pytest.fixture
def root(tmp_path):
    """A project folder with this catalog, its study file, and no results."""
    for name in ("catalog", "rules"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(STUDY))
    return tmp_path


def trained(root, model, task="mnli", name="none", rate=1000.0, study="demo", **more):
    """Leave what a finished target training (`name` its intermediate) leaves."""
    loaded = studies.load(STUDY, "study.yaml")
    folder = root / "results" / study / "targets" / model / name / "s1" / task
    record = {"stage": "target", "model": model, "target": task, "seed": 1, "device": "cpu", "threads": 1}
    record |= {"tokens": 20_000, "tokens_per_s": rate, "seconds": 27.0, "training_seconds": 20.0, **more}
    write_json(folder / "train.json", record)
    write_json(folder / "config.json", {"spec": Specs(loaded).target(model, name, 1, task)})
    (folder / "model.safetensors").write_bytes(b"x" * 5000)
    return folder


def estimate(root, asked=None, **changes):
    text = cost(root / "study.yaml", changes, asked or Asked(), root / "out.json", root)
    return text, json.loads((root / "out.json").read_text())


def row(found, stage, model=L6):
    return next(one for one in found["rows"] if (one["stage"], one["model"]) == (stage, model))


def test_same_model_and_work_is_measured_another_model_is_scaled_by_operations(root):
    trained(root, L6, study="before")
    text, found = estimate(root, **{"grid": [{**STUDY["grid"][0], "targets": ["xnli"], "intermediates": ["none"]}]})
    own, other = row(found, "target"), row(found, "target", L3)
    # 100 steps of 32 pairs, and one look at 32 dev examples by a rate of training: a third of the operations
    length = lengths.of("mnli", "pair", "train", 128, "embedded", {})
    catalog = catalogs.load()
    steps = 3200 * length.tokens / 1000.0
    assert own["tokens"] == pytest.approx((3200 + 32) * length.tokens, abs=1)
    assert own["device_hours"] * 3600 == pytest.approx(steps * (1 + 0.01 / 3) + 7.0, rel=0.01)
    assert own["tokens_from"] == "measured" and other["hours_from"] == "scaled"
    sizes = [catalog.models[name].size["non_embedding_parameters"] for name in (L3, L6)]
    assert (other["device_hours"] * 3600 - 7) / (own["device_hours"] * 3600 - 7) == pytest.approx(
        sizes[0] / sizes[1], rel=0.03
    )
    assert found["device"] == "cpu, 1 thread" and "start-up of each job" in text and "measured:" in text
    total = sum(one["device_hours"] for one in found["rows"])
    assert found["total"]["device_hours"] == pytest.approx(total, abs=1e-4)


def test_what_is_done_is_subtracted_and_what_was_made_with_other_settings_is_not(root):
    trained(root, L6)
    _, found = estimate(root)
    assert (row(found, "target")["jobs"], row(found, "target")["done"]) == (4, 1)
    before = row(found, "target")["tokens"]
    folder = trained(root, L6, "udpos")
    _, found = estimate(root)
    assert row(found, "target")["done"] == 2 and row(found, "target")["tokens"] < before
    assert row(found, "evaluate")["done"] == 0
    for code in ("en", "de"):
        path = root / "results/demo/predictions" / L6 / "none/s1/udpos" / f"test-{code}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("NOUN\n\n")
    assert row(estimate(root)[1], "evaluate")["done"] == 1
    spec = json.loads((folder / "config.json").read_text())["spec"]
    spec["tasks"][0]["hyper"]["learning_rate"] *= 2
    write_json(folder / "config.json", {"spec": spec})
    found = estimate(root)[1]
    assert row(found, "target")["done"] == 1 and row(found, "evaluate")["done"] == 0, "its predictions are stale too"


def test_prepared_examples_are_counted_instead_of_the_studys_caps(root):
    trained(root, L6, study="before")
    before = row(estimate(root)[1], "evaluate")["tokens"]
    path = root / "results/demo/examples/udpos/de/test.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text("{}\n" * 1000)
    length = lengths.of("udpos", "tagging", "test", 128, "embedded", {})
    # two jobs (with and without the intermediate) read 950 examples more
    assert row(estimate(root)[1], "evaluate")["tokens"] - before == pytest.approx(2 * 950 * length.tokens, abs=2)


def test_nothing_measured_is_refused_and_an_assumption_is_called_one(root):
    with pytest.raises(UserError, match=r"no measured rate: .*--peak FLOP/S and --mfu SHARE"):
        estimate(root)
    trained(root, L6)
    with pytest.raises(UserError, match=r"--device H100: no rate .* Measured on: cpu, 1 thread \(1 jobs\)"):
        estimate(root, Asked(device="H100"))
    with pytest.raises(UserError, match="give both"):
        estimate(root, Asked(peak=1e15))
    with pytest.raises(UserError, match="allowed: a peak above 0"):
        estimate(root, Asked(peak=1e15, mfu=40))
    text, found = estimate(root, Asked(device="H100", peak=1e15, mfu=0.4))
    assert {one["hours_from"] for one in [*found["rows"], found["total"]]} == {"assumed"}
    hours = row(found, "intermediate")["device_hours"]
    _, twice = estimate(root, Asked(device="H100", peak=1e15, mfu=0.2))
    assert row(twice, "intermediate")["device_hours"] == pytest.approx(2 * hours, abs=2e-5)
    assert "assumed: 400.0 TFLOP/s" in text


def test_new_records_name_the_processor_and_count_their_own_squares(root):
    trained(root, L6, study="before", processor="EPYC", squares=20_000 * 40, devices=2, precision="bf16")
    _, found = estimate(root, Asked(device="epyc"))
    assert found["device"] == "cpu EPYC, 1 thread"
    slow = row(found, "target")["device_hours"]
    trained(root, L6, study="before", processor="EPYC", squares=20_000 * 40, precision="bf16")
    assert row(estimate(root)[1], "target")["device_hours"] < slow, "a rate of two devices is half of it on one"


def test_benchmark_rows_and_broken_rates(root):
    rows = [
        {"case": "nli-default", "layers": 6, "ours_tokens_per_s": 4000.0, "device": "cpu", "threads": 2,
         "machine": {"processor": "EPYC"}},
        {"case": "no buckets", "layers": 6, "ours_tokens_per_s": 1.0, "device": "cpu", "threads": 2, "machine": {}},
    ]  # fmt: skip
    file = root / "training.json"
    file.write_text(json.dumps(rows))
    _, found = estimate(root, Asked(rates=[file]))
    assert found["device"] == "cpu EPYC, 2 threads" and row(found, "target")["hours_from"] == "scaled"
    file.write_text("[1, 2")
    with pytest.raises(UserError, match=r"training\.json"):
        estimate(root, Asked(rates=[file]))
    with pytest.raises(UserError, match="--rates"):
        estimate(root, Asked(rates=[root / "nothing"]))


def test_disk_goes_by_earlier_checkpoints_and_memory_is_there_for_every_model(root):
    trained(root, L6, study="before")
    text, found = estimate(root)
    parts = {part["name"]: part for part in found["disk"]}
    own, other = (parts[f"5 checkpoints of {model}"] for model in (L6, L3))
    assert (own["size"], own["basis"]) == (5 * 5000, "measured")
    size = catalogs.load().models[L3].size["non_embedding_parameters"]
    assert (other["size"], other["basis"]) == (5 * 4 * size, "scaled"), "word embeddings are frozen and not stored"
    assert [one["model"] for one in found["memory"]] == [L6, L3]
    assert found["memory"][0]["planned"] > found["memory"][0]["least"] > 0
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize(
    "study", ["config.yaml", "studies/paper.yaml", "studies/scaling.yaml", "studies/variants.yaml"]
)
def test_every_study_can_be_estimated_unpinned_and_without_data(study, capsys):
    assert main(["cost", str(ROOT / study), "--device", "a GPU", "--peak", "4e14", "--mfu", "0.4"]) == 0
    out = capsys.readouterr().out
    assert "device hours" in out and "GiB a device" in out and max(map(len, out.splitlines())) <= 120
    if "paper" in study:
        assert "not known: bucc2018" in out and "for anli was not measured" in out


def test_estimating_loads_no_torch_and_says_errors_without_a_traceback(root):
    trained(root, L6)
    code = "import sys; from xstilts.__main__ import main; print(main(sys.argv[1:]), 'torch' in sys.modules)"
    command = ["cost", str(ROOT / "config.yaml"), "--rates", str(root / "results/demo")]
    done = subprocess.run([sys.executable, "-c", code, *command], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("0 False")
    assert (
        main(["cost", str(ROOT / "config.yaml"), "--device", "none such", "--rates", str(root / "results/demo")]) == 1
    )


# ---- where the numbers are from
def test_catalog_sizes_are_read_as_they_are_written():
    sizes = {"train": "392,702 (x)", "dev": "46 to 19,233 a language; none for kk", "test": "ar 921, bn 113, en 440"}
    assert documented(sizes, "train", "en") == (392_702, False)
    assert documented(sizes, "dev", "de") == (19_233, True)
    assert documented(sizes, "test", "bn") == (113, False) and documented(sizes, "test", "de") == (None, False)
    assert documented({"dev": "10,000, 1,000 or 100 a language", "test": "as dev"}, "test", "sw") == (10_000, True)
    assert documented({"dev": "1,000 + 1,000 + 1,200"}, "dev", "en") == (3200, False)
    assert documented({"test": "1,000 a language except sw 390"}, "test", "sw") == (390, False)
    assert documented({"train": "about 38,015 (recalled)"}, "train", "en") == (38_015, True)
    assert documented({}, "train", "en") == (None, False)


def test_lengths_are_measured_for_what_is_there_and_assumed_for_the_rest():
    catalog = catalogs.load()
    kinds = lengths.kinds(catalog)
    real = lengths.of("mnli", "pair", "train", 256, "hub", kinds)
    assert real.basis == "measured" and 35 < real.tokens < 60 and real.squares >= real.tokens**2
    assert lengths.of("mnli", "pair", "train", 200, "hub", kinds).basis == "scaled"
    assumed = lengths.of("anli", "pair", "train", 256, "hub", kinds)
    assert assumed.basis == "assumed" and "anli was not measured" in assumed.why
    windows = lengths.of("squad", "span_qa", "train", 384, "hub", kinds)
    assert windows.features > 1 and windows.tokens / windows.features <= 384
    assert lengths.of("own", "no such kind", "train", 128, "local", kinds) is None
    assert {one.name for one in Path(lengths.TABLE).parent.iterdir()} >= {"lengths.csv", "measure.py"}
