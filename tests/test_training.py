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
from xstilts.training import batching, dev, loop, mixtures, optimisation, state, tasks

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


# ---- batches
def test_an_epoch_has_every_example_once_in_full_batches_of_similar_length():
    draw = random.Random(0)
    lengths = [draw.randint(5, 200) for _ in range(1003)]
    batches = batching.epoch(lengths, 10, "seed")
    assert sorted(index for batch in batches for index in batch) == list(range(1003))
    assert sorted(map(len, batches)) == [3] + [10] * 100
    padded = sum(len(batch) * max(lengths[i] for i in batch) for batch in batches)
    assert padded / sum(lengths) < 1.05
    assert batches == batching.epoch(lengths, 10, "seed") != batching.epoch(lengths, 10, "other")
    widths = [max(lengths[i] for i in batch) for batch in batches]
    assert widths != sorted(widths)  # the order of the batches is shuffled


@pytest.mark.parametrize("name", TASKS)
def test_a_split_batch_has_the_gradient_of_the_whole(base, examples, name):
    model = loading.load(base)
    model.encoder.float()
    one = tasks.read(task(name), model, examples)
    model.add_head(name, one.spec["kind"], len(one.spec["labels"]), 1)

    def gradients(tokens):
        model.zero_grad()
        parts = batching.micro_batches(one.features[:16], tokens)
        for features, weight in parts:
            batch = one.kind.collate(features, model.pad_id)
            (one.kind.loss(model.logits(name, batch), batch) * weight).backward()
        return len(parts), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}

    whole, split = gradients(10**6), gradients(150)
    assert whole[0] == 1 and split[0] >= 3
    for key, value in whole[1].items():
        torch.testing.assert_close(split[1][key], value, atol=1e-6, rtol=1e-4)


# ---- schedule and mixtures
def test_the_schedule_equals_that_of_transformers():
    from transformers import get_linear_schedule_with_warmup

    hyper = {"warmup": 0.1, "schedule": "linear"}
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = get_linear_schedule_with_warmup(optimiser, 3, 30)
    for step in range(30):
        assert optimisation.schedule(hyper, step, 30) == pytest.approx(theirs.get_last_lr()[0])
        optimiser.step()
        theirs.step()
    assert optimisation.schedule({"warmup_steps": 500}, 250, 1000) == 0.5
    with pytest.raises(UserError, match="schedule: 'cosine' is unknown; allowed: linear, constant"):
        optimisation.schedule({"schedule": "cosine"}, 0, 10)


def test_biases_and_norms_are_not_decayed(base):
    model = loading.load(base)
    optimiser = optimisation.adamw(model)
    optimisation.configure(optimiser, HYPER, 6, 12)
    decay = {id(p): group["weight_decay"] for group in optimiser.param_groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        assert decay[id(parameter)] == (0.0 if name.endswith("bias") or "LayerNorm" in name else 0.01), name


def test_adamw_equals_torchs_to_the_bit():
    def parameters():
        generator = torch.Generator().manual_seed(3)
        return [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((7, 5), (5, 3), (9,))]

    ours, theirs = parameters(), parameters()
    own = optimisation.AdamW([{"params": ours[:2], "decayed": True}, {"params": ours[2:], "decayed": False}])
    peer = torch.optim.AdamW([{"params": theirs[:2]}, {"params": theirs[2:]}], betas=(0.9, 0.999), fused=True)
    for step in range(6):
        optimisation.configure(own, HYPER, step, 6)
        for group, settings in zip(peer.param_groups, own.param_groups, strict=True):
            group |= {key: settings[key] for key in ("lr", "eps", "weight_decay")}
        for side in (ours, theirs):
            for number, parameter in enumerate(side):
                if (number, step) not in ((1, 0), (1, 3)):  # a head that other tasks' steps do not use
                    parameter.grad = torch.sin(parameter.detach() * 10 + step)
        for optimiser in (own, peer):
            optimiser.step()
            optimiser.zero_grad()
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert own.state[ours[1]]["step"] == peer.state[theirs[1]]["step"] == 4


def test_training_never_imports_the_compiler_of_torch():
    """torch._dynamo takes 1.1 s to import; torch's own optimisers do so when they are made."""
    code = (
        "import sys, torch; from xstilts.training import loop, optimisation\n"
        "layer = torch.nn.Linear(2, 1); layer(torch.ones(1, 2)).sum().backward()\n"
        "optimiser = optimisation.adamw(layer)\n"
        "torch.nn.utils.clip_grad_norm_(layer.parameters(), 1.0)\n"
        "optimisation.configure(optimiser, {'learning_rate': 0.1}, 0, 2); optimiser.step(); optimiser.zero_grad()\n"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


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
def test_majority_scores_and_failure(examples):
    rows = [{"label": label} for label in ("a", "b", "b", "a", "b")]
    assert [p["label"] for p in dev.majority("pair", rows)] == ["b"] * 5
    tags = [{"tags": ["O", "O", "B-PER"]}, {"tags": ["O"]}]
    assert dev.majority("tagging", tags) == [{"tags": ["O"] * 3}, {"tags": ["O"]}]
    score = {"metric": "accuracy", "majority": 35.0, "n": 100}
    assert dev.failed({"mnli": {**score, "value": 35.9}})
    assert not dev.failed({"mnli": {**score, "value": 41.0}})


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


def test_a_loss_that_is_not_a_number_names_the_steps(base, examples, tmp_path):
    job = spec(task("mnli", learning_rate=float("inf"), warmup=0.0, max_grad_norm=None))
    with pytest.raises(UserError, match=r"tiny on mnli, seed 1: the loss became nan between steps \d+ and \d+ of 12"):
        loop.train(job, base, None, examples, tmp_path, "cpu")
    assert not (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize(("key", "value"), [("trainable", "heads"), ("precision", "fp16")])
def test_wrong_settings_are_named(base, examples, tmp_path, key, value):
    with pytest.raises(UserError, match=f"{key}: '{value}', allowed"):
        loop.train(spec(task("mnli"), **{key: value}), base, None, examples, tmp_path, "cpu")


def test_a_killed_run_goes_on_to_the_same_bytes(base, examples, tmp_path, monkeypatch):
    job = spec(task("mnli", selection="english_dev_best", eval_every=3), task("udpos"), stage="intermediate")
    job.update(intermediate="mix", steps=12, sampling={"method": "uniform"})
    loop.train(job, base, None, examples, tmp_path / "whole", "cpu")
    monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)
    step = loop._Run._step

    def killed(self, task, features, number):
        if number == 7:
            raise KeyboardInterrupt
        return step(self, task, features, number)

    monkeypatch.setattr(loop._Run, "_step", killed)
    with pytest.raises(KeyboardInterrupt):
        loop.train(job, base, None, examples, tmp_path / "cut", "cpu", work=tmp_path / "work")
    torch.manual_seed(99)  # what another process would start with
    monkeypatch.setattr(loop._Run, "_step", step)
    loop.train(job, base, None, examples, tmp_path / "cut", "cpu", work=tmp_path / "work")
    for file in ("model.safetensors", "config.json"):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "cut" / file).read_bytes()
    ours, theirs = read(tmp_path / "cut"), read(tmp_path / "whole")
    for key in ("losses", "dev", "selected_step", "tokens", "examples"):
        assert ours[key] == theirs[key], key
    assert not any((tmp_path / "work").iterdir())


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
    assert len(list((tmp_path / "w").glob("*/state.safetensors"))) == 1


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
