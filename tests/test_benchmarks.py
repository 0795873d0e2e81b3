"""The benchmarks' own code: what a stopped one keeps, what rows and tables say, the GPU's path on a tiny model."""

import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest

from benchmarks import gpu, peer, performance, quality, random_weights, sides, store, training
from xstilts.identity import ROOT

TINY = random_weights._shape({**random_weights._XLM_R, "vocab_size": 100}, 2, 32, 2)
TINY_XL = random_weights._shape({**random_weights._XL, "vocab_size": 100}, 2, 32, 2)
SHORT = {"nli": {"mean": 20.0, "sigma": 0.5, "longest": 64, "batch_size": 8}}
TRAINER = all(importlib.util.find_spec(name) for name in ("transformers", "accelerate"))


def run(rate: float, **more) -> dict:
    """What one side of a run gives."""
    found = {"tokens_per_s": rate, "peak_memory_mb": 500, "tokens": 1000, "examples": 64, "device": "cpu", "wall_s": 9}
    return {**found, "training_seconds": 4.0, "seconds": 5.0, "mfu": 0.25, "load_before": 0.1, **more}


# ---- what is kept
def test_a_stopped_benchmark_goes_on_and_a_finished_one_begins_anew(tmp_path):
    calls = []

    def measure(value):
        calls.append(value)
        if value == "dies":
            raise KeyboardInterrupt
        return {"value": value}

    kept = store.Kept("x", "code 1", tmp_path)
    assert kept.get("a", lambda: measure(1)) == {"value": 1}
    with pytest.raises(KeyboardInterrupt):
        kept.get("b", lambda: measure("dies"))
    again = store.Kept("x", "code 1", tmp_path)
    assert again.get("a", lambda: measure(2)) == {"value": 1} and calls == [1, "dies"]
    assert store.Kept("x", "code 2", tmp_path).get("a", lambda: measure(3)) == {"value": 3}  # other code: measured anew
    again.finish()
    assert store.Kept("x", "code 1", tmp_path).get("a", lambda: measure(4)) == {"value": 4}


def test_new_rows_take_the_place_of_the_same_cases(tmp_path):
    old = [{"case": "a", "layers": 3, "v": 1}, {"case": "a", "layers": 6, "v": 1}]
    store.replace("t", old, ("case", "layers"), tmp_path)
    store.replace("t", [{"case": "a", "layers": 6, "v": 2}], ("case", "layers"), tmp_path)
    assert store.rows("t", tmp_path) == [old[0], {"case": "a", "layers": 6, "v": 2}]


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """Both sides replaced: ours has twice Trainer's rate in round 1 and four times in round 2."""
    calls = []

    def side(name, rates):
        def one(what, *_, **__):
            seed = what["seed"]
            calls.append((name, seed))
            return run(rates[seed])

        return one

    monkeypatch.setattr(store, "WORK", tmp_path / "work")
    monkeypatch.setattr(store.Kept.__init__, "__defaults__", (tmp_path / "work",))
    monkeypatch.setattr(sides, "ours", side("ours", {1: 200.0, 2: 440.0}))
    monkeypatch.setattr(sides, "peer", side("peer", {1: 100.0, 2: 110.0}))
    monkeypatch.setattr(sides, "peer_is_there", lambda: True)
    monkeypatch.setattr(training.real, "model", lambda name: tmp_path / name)
    monkeypatch.setattr(training.cases, "peer_folder", lambda name: tmp_path / name)
    task = {**training.cases.task_spec("mnli", max_steps=2)}
    monkeypatch.setattr(training, "prepared", lambda *_, **__: (task, tmp_path, tmp_path / "f.json", {"data": "local"}))
    monkeypatch.setattr(training.Bench, "results", tmp_path)
    return calls


def test_sides_run_in_turn_and_the_ratio_is_the_median_of_neighbours(measured, tmp_path):
    rows = training.training([6], ["nli-default", "nli-fp32-trained-embeddings"])
    assert [name for name, _ in measured] == ["ours", "ours", "peer"] * 2
    assert [seed for _, seed in measured] == [1, 1, 1, 2, 2, 2]
    assert rows == store.rows("training", tmp_path) and len(rows) == 2
    row = rows[0]
    assert (row["case"], row["layers"], row["ratios"], row["ratio"]) == ("nli-default", 6, [2.0, 4.0], 3.0)
    assert (row["ours_tokens_per_s"], row["peer_tokens_per_s"]) == (320.0, 105.0)
    assert row["ours_other_s"] == 5.0 and row["peer_other_s"] == 4.0
    assert row["machine"]["cores"] and row["versions"]["torch"]


def test_without_trainer_only_our_side_is_measured(measured, monkeypatch):
    monkeypatch.setattr(sides, "peer_is_there", lambda: False)
    row = training.training([3], ["nli-default"])[0]
    assert row["ours_tokens_per_s"] == 320.0 and row["peer_tokens_per_s"] is row["ratio"] is None
    assert "| nli-default | 3 | 320 | – | – |" in performance.training([row])


def test_a_change_that_is_refused_is_said_and_left_out(measured, monkeypatch, capsys):
    plain = sides.ours

    def ours(spec, model, folder, threads, device, options, work):
        if "--no-trim" in options:
            raise sides.Failed("exit status 2: unrecognized arguments: --no-trim")
        return plain(spec)

    monkeypatch.setattr(sides, "ours", ours)
    rows = {row["case"]: row for row in training.ablation() if row["piece"] == "ablation"}
    assert "unrecognized arguments" in capsys.readouterr().out
    assert {"default", "fp32", "frozen-embeddings"} <= set(rows) and "no-trimming" not in rows
    assert rows["fp32"]["default_ratio"] == 1.0 and rows["fp32"]["ratio"] == 3.0


# ---- quality
def test_a_worse_score_is_significant_and_an_equal_one_is_not():
    draw = np.random.default_rng(1)
    right = {seed: draw.random((800, 1)) < 0.7 for seed in (1, 2, 3)}
    worse = {seed: table & (draw.random((800, 1)) < 0.9) for seed, table in right.items()}
    plain = {("plain", seed): table.astype(int) for seed, table in right.items()}
    scores, same = quality.compare(plain | {("fast", seed): right[seed].astype(int) for seed in right}, [1, 2, 3])
    assert same["difference"] == 0 and not same["significant"] and 65 < scores["fast"][0] < 75
    _, found = quality.compare(plain | {("fast", seed): worse[seed].astype(int) for seed in right}, [1, 2, 3])
    assert found["significant"] and found["ci_low"] < found["difference"] < found["ci_high"] < 0


# ---- the document
def test_the_document_shows_what_the_results_hold():
    texts = [document.read_text(encoding="utf-8") for document in performance.DOCUMENTS]
    assert {match[2] for text in texts for match in performance.PART.finditer(text)} == set(performance.TABLES)
    assert [performance.render(text) for text in texts] == texts, "run: python -m benchmarks.performance"


def test_a_table_without_results_names_the_command(tmp_path):
    text = performance.render("<!-- table: gpu -->\nold\n<!-- end -->\nkept\n", tmp_path)
    assert text == "<!-- table: gpu -->\nNot measured yet: `make bench-gpu`.\n<!-- end -->\nkept\n"


# ---- the sides
def test_the_memory_of_a_side_is_its_own(tmp_path):
    """Linux hands the peak of a process on to what it starts: a benchmark that holds much would measure itself."""
    code = (
        "import sys; sys.path.insert(0, '.'); held = bytearray(400 << 20); from benchmarks import sides\n"
        "child = 'import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=open(%r, %r))'\n"
        f"sides.run([sys.executable, '-c', child % ({str(tmp_path / 'peak')!r}, 'w')], 1)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    peak = int((tmp_path / "peak").read_text()) * (1 if sys.platform == "darwin" else 1024)
    assert peak < 200 << 20


# ---- the peer and the GPU benchmark
def test_the_peer_pads_everything_and_learns_nothing_from_padding():
    tagged = peer.padded({"input_ids": [0, 7, 2], "labels": [-100, 4, -100]}, 5, 1)
    assert tagged["input_ids"] == [0, 7, 2, 1, 1] and tagged["attention_mask"] == [1, 1, 1, 0, 0]
    assert tagged["labels"] == [-100, 4, -100, -100, -100]
    assert peer.padded({"input_ids": [0], "start": 1, "end": 2}, 1, 1)["end_positions"] == 2


def test_random_texts_have_the_lengths_that_are_asked_for():
    from xstilts.data.kinds import pair
    from xstilts.models.tokenizers import characters

    rows = gpu.texts(gpu.WORKLOADS["nli"], 1500)
    hyper = {"max_length": 512}
    lengths = [len(one["input_ids"]) for one in pair.encode(rows, characters(), gpu.LABELS, hyper, {}, True)]
    assert min(lengths) >= 8 and max(lengths) <= 128
    assert 33 < sum(lengths) / len(lengths) < 37


def test_the_gpu_benchmark_runs_on_a_cpu_with_tiny_models(tmp_path):
    models = {"tiny": {"config": TINY, "steps": 2}}
    models["tiny-xl"] = {"config": TINY_XL, "steps": 2, "dtype": "bfloat16", "checkpointing": True}
    rows = gpu.gpu(models, SHORT, "cpu", tmp_path, tmp_path / "work", 64)
    assert [row["case"] for row in rows] == ["tiny-nli", "tiny-xl-nli"] and rows == store.rows("gpu", tmp_path)
    for row in rows:
        assert not row["failed"], row["failed"]
        assert row["ours_tokens_per_s"] > 0 and row["peak_flops_per_s"] > 0 and row["ours_peak_mb"] > 0
        assert (row["ratio"] > 0) if TRAINER else (row["peer_tokens_per_s"] is None)
    assert not (tmp_path / "work" / "tiny").exists()  # a model of 20 GB does not stay
    assert "tiny-xl-nli" in performance.gpu(rows)


def test_a_side_that_fails_has_its_reason_in_the_row(tmp_path):
    models = {"tiny": {"config": TINY, "steps": 2, "trainable": "nothing"}}
    row = gpu.gpu(models, SHORT, "cpu", tmp_path, tmp_path / "work", 16)[0]
    assert row["ours_tokens_per_s"] is None and "nothing" in row["failed"]["ours"]


def test_the_gpu_benchmark_needs_no_workflow_engine():
    code = (
        "import sys, benchmarks.gpu, benchmarks.__main__; print(sorted({'jsonschema', 'snakemake'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_an_unknown_benchmark_is_one_line_that_lists_the_known():
    found = subprocess.run([sys.executable, "-m", "benchmarks", "trainig"], cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 1 and "'trainig'" in found.stderr and "ablation" in found.stderr
    assert len(found.stderr.splitlines()) == 1


def test_stored_training_rows_say_what_they_belong_to():
    for row in store.rows("training"):
        assert {"case", "layers", "ours_tokens_per_s", "peer_tokens_per_s", "ratio", "machine", "versions"} <= set(row)
        assert json.dumps(row) and row["piece"] in ("training", "ablation", "memory")
