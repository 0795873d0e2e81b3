"""Training: batches, schedules, mixtures, and whole runs of a tiny model on generated text."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from xstilts.data import kinds
from xstilts.errors import UserError
from xstilts.files import write_jsonl
from xstilts.models import checkpoints, fetch, loading
from xstilts.training import dev, loop, mixtures, state, tasks

ROOT = Path(__file__).resolve().parent.parent
HYPER = {
    "learning_rate": 3e-3,
    "batch_size": 8,
    "max_steps": 12,
    "max_length": 64,
    "warmup": 0.1,
    "weight_decay": 0.01,
    "adam_epsilon": 1e-8,
    "max_grad_norm": 1.0,
    "schedule": "linear",
    "selection": "last",
}
QA = {"doc_stride": 16, "max_query_length": 20, "max_answer_length": 10, "n_best": 5}
TASKS = {
    "mnli": {"kind": "pair", "labels": ["yes", "no"], "options": {}},
    "udpos": {"kind": "tagging", "labels": ["NOUN", "VERB"], "options": {"scheme": "flat"}},
    "squad": {"kind": "span_qa", "labels": [], "options": {"no_answer": False, "normalisation": "squad"}},
    "hellaswag": {"kind": "choice", "labels": [], "options": {}},
}


def example(task: str, number: int) -> dict:
    """A row that can be learnt: the answer is a word that occurs in the text."""
    draw = random.Random(f"{task}{number}")
    words = [draw.choice(["cat", "tree", "stone", "river"]) for _ in range(draw.randint(1, 8))]
    identity = {"id": f"{task}-{number}"}
    if task == "mnli":
        label = draw.choice(["yes", "no"])
        return {**identity, "text_a": " ".join(words), "text_b": {"yes": "aaaa", "no": "bbbb"}[label], "label": label}
    if task == "udpos":
        tokens = [draw.choice(["cat", "tree", "runs", "sits"]) for _ in words]
        return {**identity, "tokens": tokens, "tags": ["VERB" if t.endswith("s") else "NOUN" for t in tokens]}
    if task == "squad":
        context = " ".join([*words, "Anna", *words])
        return {
            **identity,
            "context": context,
            "question": "who?",
            "answers": [{"text": "Anna", "start": context.index("Anna")}],
        }
    choices = ["aaaa", "bbbb", "cccc"][: draw.randint(2, 3)]
    draw.shuffle(choices)
    return {**identity, "context": " ".join(words), "question": "", "choices": choices, "label": choices.index("aaaa")}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    out = tmp_path_factory.mktemp("model") / "tiny"
    fetch.fetch({"model": "tiny", "source": {"type": "random"}, "identity": {}}, out)
    return out


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    root = tmp_path_factory.mktemp("examples")
    for task in TASKS:
        rows = [example(task, number) for number in range(60)]
        write_jsonl(root / task / "en/train.jsonl", rows[:40])
        write_jsonl(root / task / "en/dev.jsonl", rows[40:])
    return root


def task(name: str, **hyper) -> dict:
    return {"task": name, **TASKS[name], "hyper": {**HYPER, **(QA if name == "squad" else {}), **hyper}}


def spec(*tasks: dict, **changes) -> dict:
    result = {"stage": "target", "code": "train@1", "model": {"name": "tiny"}, "intermediate": "none", "seed": 1}
    return {**result, "precision": "fp32", "trainable": "all", "tasks": list(tasks), **changes}


def read(out: Path) -> dict:
    return json.loads((out / "train.json").read_text())


# ---- mixtures
def test_sampling_probabilities():
    sizes = [900, 90, 10]
    assert mixtures.probabilities(sizes, {"method": "proportional"}) == pytest.approx([0.9, 0.09, 0.01])
    assert mixtures.probabilities(sizes, {"method": "capped", "cap": 100}) == pytest.approx([0.5, 0.45, 0.05])
    assert mixtures.probabilities(sizes, {"method": "uniform"}) == pytest.approx([1 / 3] * 3)
    roots = [100**0.5, 90**0.5, 10**0.5]
    expected = [root / sum(roots) for root in roots]
    settings = {"method": "temperature", "temperature": 2, "cap": 100}
    assert mixtures.probabilities(sizes, settings) == pytest.approx(expected)
    with pytest.raises(UserError, match="method 'best' is unknown"):
        mixtures.probabilities(sizes, {"method": "best"})
    with pytest.raises(UserError, match="needs `cap`"):
        mixtures.probabilities(sizes, {"method": "capped"})


def test_the_plan_follows_probabilities_and_the_seed():
    sizes, sampling = {"qqp": 900, "mnli": 100}, {"method": "proportional"}
    plan = mixtures.plan(sizes, sampling, 2000, seed=1)
    assert 0.87 < plan.count(0) / 2000 < 0.93
    assert plan == mixtures.plan(sizes, sampling, 2000, seed=1)
    assert plan != mixtures.plan(sizes, sampling, 2000, seed=2)


def test_steps_come_from_epochs_or_max_steps():
    assert mixtures.own_steps(33, {"epochs": 3, "batch_size": 8}) == 15
    assert mixtures.own_steps(33, {"epochs": 0.5, "batch_size": 8}) == 3
    assert mixtures.own_steps(33, {"epochs": 3, "max_steps": 7, "batch_size": 8}) == 7
    with pytest.raises(UserError, match="neither max_steps nor epochs"):
        mixtures.own_steps(33, {"batch_size": 8})


# ---- dev
def test_majority_answers():
    rows = [{"label": label} for label in ("a", "b", "b", "a", "b")]
    assert [p["label"] for p in dev.majority("pair", rows)] == ["b"] * 5
    tags = [{"tags": ["O", "O", "B-PER"]}, {"tags": ["O"]}]
    assert dev.majority("tagging", tags) == [{"tags": ["O"] * 3}, {"tags": ["O"]}]


# ---- whole runs
@pytest.mark.parametrize("name", TASKS)
def test_a_run_learns_and_writes_its_three_files(base, examples, tmp_path, name):
    loop.train(spec(task(name, max_steps=40, learning_rate=1e-2)), base, None, examples, tmp_path, "cpu")
    record = read(tmp_path)
    assert record["losses"][-1] < record["losses"][0]
    assert record["steps"] == 40 and record["target"] == name and record["examples"] > 300
    assert record["tokens"] > 320 * 5 and record["peak_memory_mb"] > 0 and record["versions"]["torch"]
    score = record["dev"][name]
    assert score["n"] == 20 and record["failed"] == (score["value"] <= score["majority"] + 1)
    if name != "squad":
        assert score["value"] > 90 and not record["failed"]
    model = loading.load(base, tmp_path)
    one = task(name)
    again = dev.evaluate(model, one, tasks.read(one, model, examples).dev, "fp32")
    assert again == score


def test_two_runs_are_equal_to_the_byte_and_another_seed_is_not(base, examples, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        job = spec(task("mnli"), task("squad"), stage="intermediate", intermediate="mix", precision="bf16", seed=seed)
        job.update(sampling={"method": "proportional"}, steps=6)
        loop.train(job, base, None, examples, tmp_path / name, "cpu")
    for file in ("model.safetensors", "config.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert (tmp_path / "a/model.safetensors").read_bytes() != (tmp_path / "c/model.safetensors").read_bytes()
    record = read(tmp_path / "a")
    assert record["target"] is None and set(record["dev"]) == {"mnli", "squad"} and record["steps"] == 6


def test_a_target_after_an_intermediate_task_is_one_hop_from_the_base(base, examples, tmp_path):
    first = spec(task("squad"), stage="intermediate", intermediate="squad", trainable="blocks")
    loop.train(first, base, None, examples, tmp_path / "i", "cpu")
    second = spec(task("mnli", max_steps=1, learning_rate=1e-9), intermediate="squad", trainable="blocks")
    loop.train(second, base, tmp_path / "i", examples, tmp_path / "t", "cpu")
    encoder = checkpoints.read_tensors(tmp_path / "i/model.safetensors")
    target = checkpoints.read_tensors(tmp_path / "t/model.safetensors")
    assert encoder and not any(name.startswith(("heads.", "embeddings.")) for name in encoder)
    assert set(encoder) == {name for name in target if not name.startswith("heads.")}
    for name, tensor in encoder.items():
        torch.testing.assert_close(target[name], tensor, atol=1e-5, rtol=0)
    with pytest.raises(UserError, match="intermediate squad: --encoder"):
        loop.train(second, base, None, examples, tmp_path / "x", "cpu")
    # `none` ignores a folder that does not exist (the rule always names one)
    loop.train(spec(task("mnli", max_steps=1)), base, tmp_path / "absent", examples, tmp_path / "n", "cpu")


def test_the_best_step_on_english_dev_is_kept(base, examples, tmp_path, monkeypatch):
    values, kept = iter([50.0, 80.0, 80.0, 60.0]), []

    def evaluate(model, *_):
        kept.append({name: p.detach().clone() for name, p in state.trainable(model).items()})
        return {"metric": "accuracy", "value": next(values), "majority": 50.0, "n": 20}

    monkeypatch.setattr(dev, "evaluate", evaluate)
    job = spec(task("mnli", max_steps=8, selection="english_dev_best", eval_every=2), trainable="blocks")
    loop.train(job, base, None, examples, tmp_path, "cpu")
    record = read(tmp_path)
    assert record["selection"] == "english_dev_best" and record["selected_step"] == 4
    assert record["dev"]["mnli"]["value"] == 80.0
    saved = checkpoints.read_tensors(tmp_path / "model.safetensors")
    name = "encoder.layer.0.output.dense.weight"
    assert torch.equal(saved[name], kept[1]["encoder." + name])
    assert not torch.equal(saved[name], kept[2]["encoder." + name])


@pytest.mark.parametrize(("key", "value"), [("trainable", "heads"), ("precision", "fp16")])
def test_wrong_settings_are_named(base, examples, tmp_path, key, value):
    with pytest.raises(UserError, match=f"{key}: '{value}', allowed"):
        loop.train(spec(task("mnli"), **{key: value}), base, None, examples, tmp_path, "cpu")


def test_a_killed_run_goes_on_to_the_same_bytes(base, examples, tmp_path, killed_at):
    job = spec(task("mnli", selection="english_dev_best", eval_every=3), task("udpos"), stage="intermediate")
    job.update(intermediate="mix", steps=12, sampling={"method": "uniform"})
    loop.train(job, base, None, examples, tmp_path / "whole", "cpu")
    with killed_at(7):
        loop.train(job, base, None, examples, tmp_path / "cut", "cpu", work=tmp_path / "work")
    torch.manual_seed(99)  # what another process would start with
    loop.train(job, base, None, examples, tmp_path / "cut", "cpu", work=tmp_path / "work")
    for file in ("model.safetensors", "config.json"):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "cut" / file).read_bytes()
    ours, theirs = read(tmp_path / "cut"), read(tmp_path / "whole")
    for key in ("losses", "dev", "selected_step", "tokens", "examples"):
        assert ours[key] == theirs[key], key
    assert {path.name for path in (tmp_path / "work").iterdir()} <= {"encodings", "peaks.json"}, "the state is gone"


def test_the_script_stops_on_sigterm_and_says_how_to_go_on(base, examples, tmp_path):
    job = tmp_path / "spec.json"
    job.write_text(json.dumps(spec(task("mnli", max_steps=100_000))))
    command = [sys.executable, "scripts/train.py", "--spec", f"@{job}", "--threads", "1", "--device", "cpu"]
    for option, path in (("model", base), ("examples", examples), ("out", tmp_path / "o"), ("work", tmp_path / "w")):
        command += [f"--{option}", str(path)]
    log = tmp_path / "log"
    with log.open("w") as handle:
        process = subprocess.Popen(command, cwd=ROOT, stdout=handle, stderr=handle)
        deadline = time.time() + 60
        while "step 50/" not in log.read_text() and time.time() < deadline:
            time.sleep(0.1)
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(timeout=30) == 128 + signal.SIGTERM
    assert "the same command goes on from there" in log.read_text()
    assert len(list((tmp_path / "w").glob("*/*/rank0.safetensors"))) == 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_run_on_a_gpu(base, examples, tmp_path):
    job = spec(task("mnli", max_steps=40, learning_rate=1e-2), precision="bf16")
    loop.train(job, base, None, examples, tmp_path, "cuda", work=tmp_path / "work")
    assert read(tmp_path)["dev"]["mnli"]["value"] > 90
    loading.load(base, tmp_path, "cuda")


def test_every_kind_is_covered_here():
    """Masked text, whose inputs change at every step, is in test_variants.py; retrieval trains nothing."""
    assert {one["kind"] for one in TASKS.values()} == set(kinds.KINDS) - {"retrieval", "mlm"}


def test_a_training_on_masked_text_alone_keeps_its_head_and_hands_on_its_encoder(base, examples, tmp_path):
    rows = [{"id": str(number), "text": f"the red fox number {number} sleeps under a tree"} for number in range(40)]
    write_jsonl(tmp_path / "text/mlm/en/train.jsonl", rows)
    masked = {"task": "mlm", "kind": "mlm", "labels": [], "options": {}, "languages": ["en"]}
    masked["hyper"] = {**HYPER, "mask_probability": 0.15, "selection": "last", "max_steps": 4}
    one = spec(masked, stage="intermediate", intermediate="mlm", keep_heads=True)
    loop.train(one, base, None, tmp_path / "text", tmp_path / "mlm")
    loaded = loading.load(base, tmp_path / "mlm")
    assert loaded.head_settings["mlm"]["kind"] == "mlm"
    changed = loaded.heads["mlm"].dense.weight - torch.eye(loaded.config["hidden_size"])
    assert changed.abs().max() > 0  # what was trained, not what a new head begins with
    loop.train(spec(task("mnli"), intermediate="mlm"), base, tmp_path / "mlm", examples, tmp_path / "mnli")
    assert set(loading.load(base, tmp_path / "mnli").heads) == {"mnli"}
