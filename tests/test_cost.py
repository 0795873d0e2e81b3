"""What jobs record of their cost, and what `xstilts cost` says of a study before it starts."""

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from xstilts import catalog as catalogs
from xstilts import job
from xstilts import study as studies
from xstilts.__main__ import main
from xstilts.cost import lengths, rates
from xstilts.cost.amounts import documented
from xstilts.cost.page import Asked, cost
from xstilts.errors import UserError
from xstilts.evaluation.timing import Clock
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


def test_peak_is_the_most_of_three_jobs_and_draws_nothing_of_the_trainings_random_numbers(tmp_path, monkeypatch):
    cache, cpu = tmp_path / "work" / "peaks.json", torch.device("cpu")
    before = torch.get_rng_state()
    found = accounting.peak(cpu, "fp32", cache)
    assert 1e9 < found < 1e15 and torch.equal(before, torch.get_rng_state())
    (key,) = json.loads(cache.read_text())
    assert "fp32" in key and f"{torch.get_num_threads()} threads" in key and torch.__version__ in key
    measured = iter([7e9, 5e9, 6e9, 9e9])
    monkeypatch.setattr(accounting, "_measure", lambda device, what: next(measured))
    cache.write_text(json.dumps({key: 1e9}))  # as older versions wrote it: one number, of a busy moment
    assert [accounting.peak(cpu, "fp32", cache) for _ in range(4)] == [7e9] * 4
    assert next(measured) == 6e9, "the fourth asked nobody"
    assert accounting.peak(cpu, "fp32", cache, again=True) == 9e9 == accounting.peak(cpu, "fp32", cache)
    monkeypatch.undo()
    cache.write_text('{"half a file')
    assert accounting.peak(cpu, "fp32", cache) > 1e9


def test_a_copy_is_measured_too(tmp_path):
    assert 1e8 < accounting.peak(torch.device("cpu"), "memory", tmp_path / "peaks.json") < 1e13


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


def recorded(cache, peak, **more):
    """A record of 2 s of steps, 1e7 operations or so, on a device that reaches `peak`."""
    accounting.peak(torch.device("cpu"), "fp32", cache)
    (key,) = (key for key in json.loads(cache.read_text()) if "fp32" in key)
    write_json(cache, {key: [peak] * 3, key.replace("fp32", "memory"): [1e9] * 3})
    return accounting.record(
        config=CONFIG, parameters=1000, trainable="all", precision="fp32", device=torch.device("cpu"), examples=3,
        tokens=1000, squares=5000, seconds=9.0, training_seconds=2.0, devices=2, strategy="ddp", cache=cache, **more,
    )  # fmt: skip


def test_record_holds_what_train_json_promises(tmp_path):
    found = recorded(tmp_path / "peaks.json", 4e6, dev_seconds=1.5, updates=25, optimiser="adamw8bit", lora_rank=4)
    assert found["flops"] == 6 * 1000 * 1000 + 12 * 2 * 8 * 5000 and found["tokens_per_s"] == 500.0
    assert found["flops_per_s"] == found["flops"] / 2 and found["peak_flops_per_s"] == 8e6
    assert found["mfu"] == round(found["flops_per_s"] / 8e6, 4) and "mfu_note" not in found
    assert found["memory_bytes_per_s"] == 2e9 and found["device_memory_mb"] > 100
    assert [found[key] for key in ("dev_seconds", "updates", "optimiser", "lora_rank")] == [1.5, 25, "adamw8bit", 4]
    wanted = {"examples", "squares", "seconds", "training_seconds", "peak_memory_mb", "versions", "device", "devices"}
    assert wanted | {"strategy", "threads", "revision", "processor"} <= set(found)
    json.dumps(found, allow_nan=False)


def test_a_share_of_the_peak_above_one_is_measured_again_or_not_given(tmp_path, monkeypatch):
    cache, measured = tmp_path / "peaks.json", []
    monkeypatch.setattr(accounting, "_measure", lambda device, what: measured.append(what) or 5e6)
    # two devices; the first measurement only fills the file
    assert recorded(cache, 1.8e6)["mfu"] == 0.348 and measured.count("fp32") == 2, "once more, for it was 0.97"
    monkeypatch.setattr(accounting, "_measure", lambda device, what: 1e6)
    found = recorded(tmp_path / "third.json", 1e6)
    assert found["mfu"] is None and "faster than the peak" in found["mfu_note"]


def test_cost_files_count_the_whole_job_and_take_rates_over_its_predictions(tmp_path, monkeypatch):
    monkeypatch.setattr(job, "STARTED", time.time() - 100)
    spec = {"stage": "evaluate", "intermediate": "none", "seed": 1, "precision": "bf16", "model": {"name": L6}}
    clock = Clock(spec, "mnli", torch.device("cpu"))
    clock.start -= 50
    clock.lap("xnli", 1000)
    clock.write(tmp_path / "mnli.json")
    found = json.loads((tmp_path / "mnli.json").read_text())
    assert found["startup_seconds"] == pytest.approx(100, abs=2) and found["seconds"] == pytest.approx(150, abs=3)
    assert found["tokens_per_s"] == pytest.approx(20, rel=0.05) and found["precision"] == "bf16"


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
    record |= {"tokens": 20_000, "tokens_per_s": rate, "seconds": 30.0, "training_seconds": 20.0, "dev_seconds": 3.0}
    record |= {"updates": 20, **more}
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
    assert own["tokens_from"] == "measured" and other["hours_from"] == "scaled" and own["updates"] == 100
    sizes = [catalog.models[name].size["non_embedding_parameters"] for name in (L3, L6)]
    assert (other["device_hours"] * 3600 - 7) / (own["device_hours"] * 3600 - 7) == pytest.approx(
        sizes[0] / sizes[1], rel=0.03
    )
    assert found["device"] == "cpu, 1 thread" and "start-up of a training" in text and "measured:" in text
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
    with pytest.raises(UserError, match=r"no measured rate: .* no results/\*/ .*--peak FLOP/S and --mfu SHARE"):
        estimate(root)
    trained(root, L6)
    with pytest.raises(
        UserError, match=r"--device H100: no rate .* Measured on: cpu, 1 thread \(1 jobs\). Read: .*results/demo"
    ):
        estimate(root, Asked(device="H100"))
    with pytest.raises(UserError, match="give both"):
        estimate(root, Asked(peak=1e15))
    for peak, mfu in ((1e15, 40), (float("inf"), 0.4), (float("nan"), 0.4), (-1e15, 0.4), (1e15, float("nan"))):
        with pytest.raises(UserError, match="allowed: a finite peak above 0"):
            estimate(root, Asked(peak=peak, mfu=mfu))
    with pytest.raises(UserError, match="--memory"):
        estimate(root, Asked(memory=float("nan")))
    with pytest.raises(UserError, match="--device: the name is empty"):
        estimate(root, Asked(device=" "))
    text, found = estimate(root, Asked(device="H100", peak=1e15, mfu=0.4))
    assert {one["hours_from"] for one in [*found["rows"], found["total"]]} == {"assumed"}
    hours = row(found, "intermediate")["device_hours"]
    _, less = estimate(root, Asked(device="H100", peak=1e15, mfu=4e-6))
    assert row(less, "intermediate")["device_hours"] > 1000 * hours
    text = " ".join(text.split())
    assert "assumed: 400.0 TFLOP/s" in text and "at 1,000 GB/s (assumed)" in text and "sharded" in text
    text, found = estimate(root, Asked(device="CPU of mine", peak=1e11, mfu=0.5))
    text = " ".join(text.split())
    assert "sharded" not in text and "at 10 GB/s (assumed)" in text, "a name that begins with cpu is one"


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
    assert found["device"] == "cpu EPYC, 2 threads"
    assert row(found, "intermediate")["hours_from"] == "assumed", "of which batch size these were is not known"
    rows[0] |= {"ours_tokens": [21_000, 21_000], "steps": 30, "trainable": "blocks"}
    file.write_text(json.dumps(rows))
    assert row(estimate(root, Asked(rates=[file]))[1], "intermediate")["hours_from"] == "scaled", "its looks at dev"
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


# ---- what a rate is good for
MODELS = catalogs.load().models
NLI = rates.Work("all", "bf16", "adamw", None, None, 1400.0)


def rate(work=NLI, model=L6, tokens_per_s=1000.0, **more):
    size = MODELS[model].size["non_embedding_parameters"]
    given = {"phase": "train", "kind": "pair", "device": "cpu", "file": "x", "size": size, "weights": size, **more}
    flops = tokens_per_s * rates.operations(MODELS[model], 1, 0, work)
    return rates.Rate(model=model, work=work, tokens_per_s=tokens_per_s, flops_per_s=flops, **given)


def speed(known, work=NLI, model=L6, kind="pair", phase="train"):
    return rates.Rates(known, "cpu").speed(phase, kind, MODELS[model], work)


def per_token(found, work=NLI, model=L6):
    return found.seconds(rates.operations(MODELS[model], 1, 0, work), 1, 1 / work.per_update)


def test_a_small_batch_pays_for_more_updates_and_is_never_measured_by_a_large_one():
    small = replace(NLI, per_update=175.0)
    found = speed([rate(copied=1e9)], small)
    assert found.basis == "scaled" and found.tokens_per_s is None and "another batch size" in found.carried
    weights = MODELS[L6].size["non_embedding_parameters"]
    update = 28 * weights / 1e9  # float32 weights, gradients and moments read, weights and moments written
    assert per_token(found, small) == pytest.approx(1 / 1000 + update * (1 / 175 - 1 / 1400))
    assert speed([rate()], small).basis == "assumed", "nobody measured the memory of this device"
    assert speed([rate()], replace(NLI, per_update=2500.0)).basis == "measured"
    assert speed([rate(replace(NLI, per_update=None))], NLI).basis == "assumed", "an unknown batch is not an equal one"
    # seconds an update = 0.0005 x tokens + 0.2
    few, many = (n / (0.0005 * n + 0.2) for n in (350, 2800))
    known = [rate(replace(NLI, per_update=n), tokens_per_s=one) for n, one in ((350.0, few), (2800.0, many))]
    tiny = replace(NLI, per_update=100.0)
    assert speed(known, tiny).basis == "scaled" and per_token(speed(known, tiny), tiny) == pytest.approx(0.0025)
    both = [rate(tokens_per_s=1000.0), rate(small, tokens_per_s=400.0)]
    assert speed(both, small).tokens_per_s == 400.0 and speed(both, NLI).tokens_per_s == 1000.0


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"optimiser": "adamw8bit"}, "optimiser"),
        ({"trainable": "lora", "rank": 8}, "trainable"),
        ({"precision": "fp32"}, "precision"),
        ({"checkpointing": True}, "gradient checkpointing"),
    ],
)
def test_a_rate_of_other_settings_is_not_measured_for_these(change, name):
    plain = replace(NLI, checkpointing=False)
    found = speed([rate(replace(plain, **change))], plain)
    assert found.basis != "measured" and f"other {name}" in found.carried
    near = speed([rate(replace(plain, **change)), rate(plain, model=L3)], plain)
    assert near.models == (L3,), "the same work of another model is nearer"


def test_how_far_a_models_size_is_carried_is_said():
    found = speed([rate()], model="xlm-r-xxl")
    assert found.basis == "scaled" and any("times smaller" in line for line in found.carried)


def test_the_random_test_model_says_nothing_of_others(root):
    trained(root, "tiny", study="tiny")
    with pytest.raises(UserError, match="no measured rate"):
        estimate(root)
    own = {"grid": [{**STUDY["grid"][0], "models": ["tiny"]}]}
    assert estimate(root, **own)[1]["device"] == "cpu, 1 thread"


def test_start_up_leaves_looks_out_and_older_records_make_hours_scaled(root):
    only = {"grid": [{**STUDY["grid"][0], "models": [L6], "targets": ["xnli"], "intermediates": ["none"]}]}
    trained(root, L6, study="before")
    (root / "results/before/cost").mkdir()
    cost_file = {"stage": "evaluate", "model": L6, "target": "mnli", "device": "cpu", "threads": 1, "tokens": 9000}
    cost_file |= {"tokens_per_s": 3000.0, "seconds": 16.0, "startup_seconds": 13.0, "precision": "bf16"}
    write_json(root / "results/before/cost/mnli.json", cost_file)
    text, found = estimate(root, **only)
    assert "training of me5-small-l6: 7 s, as with me5-small-l6 (measured)" in text
    assert "every other job of me5-small-l6: 13 s" in text and row(found, "target")["hours_from"] == "measured"
    trained(root, L6, study="before", dev_seconds=None)
    text, found = estimate(root, **only)
    assert "training of me5-small-l6: 10 s" in text and row(found, "target")["hours_from"] == "scaled"
    write_json(root / "results/before/cost/mnli.json", {})
    with pytest.raises(UserError, match=r"mnli\.json: model, stage: missing"):
        estimate(root, **only)


def test_hours_are_no_better_than_their_tokens_and_lacking_parts_bound_nothing(root):
    trained(root, L6, study="before")
    targets = {"grid": [{**STUDY["grid"][0], "targets": ["tatoeba", "bucc2018"], "intermediates": ["none"]}]}
    text, found = estimate(root, sources=["hub"], data={}, **targets)
    found = row(found, "retrieval")
    assert found["not_known"] == 1 and not found["at_most"] and "+ 1 not known" in text
    text, found = estimate(root, attacks=[{"attacks": ["charswap"], "examples": 5}])
    attack = row(found, "attack")
    assert attack["tokens_from"] == attack["hours_from"] == "assumed" and not attack["at_most"]


def test_models_that_do_not_fit_the_device_are_named(root):
    changes = {"grid": [{**STUDY["grid"][0], "models": [L3, "xlm-r-xxl"]}]}
    gpu = Asked(device="some GPU", peak=4e14, mfu=0.4)
    text, found = estimate(root, replace(gpu, memory=80.0), **changes)
    assert [one["fits"] for one in found["memory"]] == ["planned", "sharded"] and "over 8" in text
    assert [one["fits"] for one in estimate(root, gpu, **changes)[1]["memory"]] == [None, None]
    trained(root, L3, study="before", device_memory_mb=8 * 1024)
    text, found = estimate(root, **changes)
    assert [one["fits"] for one in found["memory"]] == ["planned", "no"] and "has 8.0 GiB" in text
    assert "sharded" not in text, "a CPU shards nothing"


def test_older_records_without_a_processor_are_the_only_one_that_is_named(root):
    trained(root, L6, study="before")
    trained(root, L3, study="before", processor="EPYC")
    assert estimate(root)[1]["device"] == "cpu EPYC, 1 thread"
    trained(root, L3, "udpos", study="before", processor="Xeon")
    with pytest.raises(UserError, match=r"cpu, 1 thread \(1 jobs\)"):
        estimate(root, Asked(device="H100"))


def test_a_finished_study_prints_no_tables(root):
    only = {"models": [L6], "targets": ["xnli"], "intermediates": ["none"], "seeds": [1]}
    trained(root, L6)
    for code in ("en", "de"):
        path = root / "results/demo/predictions" / L6 / "none/s1/xnli" / f"test-{code}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    text, found = estimate(root, grid=[only])
    assert "All 2 jobs are done" in text and "device hours" not in text and found["total"]["device_hours"] == 0


def test_json_goes_into_a_folder_that_is_there_or_nowhere(root):
    trained(root, L6)
    with pytest.raises(UserError, match=r"--json .*mkdir -p"):
        cost(root / "study.yaml", {}, Asked(), root / "no" / "out.json", root)
    assert not (root / "no").exists()


def test_masked_text_is_assumed_to_fill_its_lines():
    found = lengths.of("mlm", "mlm", "train", 128, "hub", lengths.kinds(catalogs.load()))
    assert (found.tokens, found.basis) == (128, "assumed") and "as long as max_length" in found.why


@pytest.mark.parametrize(
    "study",
    ["config.yaml", *(f"studies/{name}.yaml" for name in ("paper", "scaling", "variants", "robustness", "smoke"))],
)
def test_every_study_can_be_estimated_unpinned_and_without_data(study, capsys):
    assert main(["cost", str(ROOT / study), "--device", "a GPU", "--peak", "4e14", "--mfu", "0.4"]) == 0
    out = capsys.readouterr().out
    assert "device hours" in out and "GiB a device" in out and max(map(len, out.splitlines())) <= 120
    assert ("--config data_root=DIR" in out) == ("robustness" in study or "smoke" in study)
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
