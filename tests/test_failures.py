"""Failed runs: what counts as one, and how it is repeated, recorded and never dropped."""

import json

import pytest
import torch
from test_training import base, examples, read, spec, task  # noqa: F401 (fixtures)

from xstilts.models.checkpoints import read_tensors
from xstilts.training import dev, failures, loop, run

NONSENSE = 1e-12  # a learning rate that leaves every run where it began


def score(value: float, **more) -> dict:
    return {"metric": "accuracy", "value": value, "majority": 50.0, "n": 20, **more}


# ---- what is a failure
def test_majority_and_collapse_are_failures_in_words():
    assert failures.reason({"mnli": score(51.1)}) is None
    assert failures.reason({}) is None  # masked text has no dev score
    assert failures.reason({"mnli": score(51.0)}) == (
        "English dev of mnli is at the majority (accuracy 51.0, 50.0 for the most frequent answer alone)"
    )
    found = failures.reason({"udpos": score(50.5), "mnli": score(50.0, only="neutral")})
    assert found.startswith("English dev of udpos") or found.startswith("every dev prediction of mnli is neutral")
    assert "; " in found


def test_a_mixture_has_failed_where_none_of_its_tasks_was_learnt():
    mixture = {"udpos": score(90.0), "mnli": score(50.0, only="neutral")}
    assert failures.reason(mixture) is None and failures.at_majority(mixture) == ["mnli"]


def test_dev_scores_say_which_answer_is_the_only_one(base, examples, monkeypatch):  # noqa: F811
    rows = [{"label": label} for label in ("yes", "no", "no")]
    for answers, only in ((["no", "no", "no"], "no"), (["no", "yes", "no"], None)):
        made = [{"label": answer} for answer in answers]
        monkeypatch.setattr(dev.Predictor, "predict", lambda self, examples, features=None, made=made: made)
        found = dev.evaluate(None, task("mnli"), rows, "fp32")
        assert found.get("only") == only and found["majority"] == pytest.approx(66.6667)


def test_seeds_of_attempts_are_decided_and_differ():
    seeds = [failures.derived_seed(7, number) for number in range(4)]
    assert seeds[0] == 7 and len(set(seeds)) == 4
    assert seeds == [failures.derived_seed(7, number) for number in range(4)]
    assert not set(seeds) & {failures.derived_seed(8, number) for number in range(4)}


# ---- repeated
def test_a_failed_run_is_repeated_and_marked(base, examples, tmp_path):  # noqa: F811
    job = spec(task("mnli", learning_rate=NONSENSE, restarts=2, max_steps=3))
    loop.train(job, base, None, examples, tmp_path, "cpu", work=tmp_path / "work")
    record = read(tmp_path)
    assert [attempt["seed"] for attempt in record["attempts"]] == [failures.derived_seed(1, n) for n in range(3)]
    assert all("mnli" in attempt["reason"] and attempt["steps"] == 3 for attempt in record["attempts"])
    assert record["failed"] and record["reason"] == record["attempts"][-1]["reason"]
    assert record["seed"] == 1 and record["tokens"] == sum(attempt["tokens"] for attempt in record["attempts"])


def test_without_restarts_a_failed_run_stands(base, examples, tmp_path):  # noqa: F811
    loop.train(spec(task("mnli", learning_rate=NONSENSE, max_steps=2)), base, None, examples, tmp_path, "cpu")
    record = read(tmp_path)
    assert record["failed"] and len(record["attempts"]) == 1


def fail_once(monkeypatch) -> list[int]:
    """Let the first attempt of the next training look like a collapsed one; returns a list of what was scored."""
    true, calls = dev.evaluate, []

    def evaluate(*arguments, **named):
        calls.append(1)
        return score(50.0, only="no") if len(calls) == 1 else true(*arguments, **named)

    monkeypatch.setattr(dev, "evaluate", evaluate)
    return calls


def test_the_first_attempt_that_does_not_fail_stands(base, examples, tmp_path, monkeypatch):  # noqa: F811
    hyper = {"max_steps": 40, "learning_rate": 1e-2, "restarts": 3}
    fail_once(monkeypatch)
    loop.train(spec(task("mnli", **hyper)), base, None, examples, tmp_path / "a", "cpu", work=tmp_path / "work")
    record = read(tmp_path / "a")
    assert not record["failed"] and record["reason"] is None
    assert [attempt["reason"] is None for attempt in record["attempts"]] == [False, True]
    # it is the run of that seed
    again = spec(task("mnli", **hyper), seed=failures.derived_seed(1, 1))
    loop.train(again, base, None, examples, tmp_path / "b", "cpu")
    ours, theirs = (read_tensors(tmp_path / name / "model.safetensors") for name in "ab")
    assert ours.keys() == theirs.keys() and all(ours[name].equal(theirs[name]) for name in ours)


def test_a_kill_in_the_second_attempt_ends_in_the_same_bytes(base, examples, tmp_path, monkeypatch):  # noqa: F811
    job = spec(task("mnli", max_steps=8, learning_rate=1e-2, restarts=1))
    with monkeypatch.context() as patched:
        fail_once(patched)
        loop.train(job, base, None, examples, tmp_path / "whole", "cpu")
    monkeypatch.setattr("xstilts.training.state.States.due", lambda self: True)
    step, taken = run.Run._step, []

    def killed(self, item, number):
        taken.append(self.seed)
        if self.seed != 1 and number == 5:
            raise KeyboardInterrupt
        return step(self, item, number)

    fail_once(monkeypatch)
    with monkeypatch.context() as patched:
        patched.setattr(run.Run, "_step", killed)
        with pytest.raises(KeyboardInterrupt):
            loop.train(job, base, None, examples, tmp_path / "cut", "cpu", work=tmp_path / "work")
    del taken[:]
    loop.train(job, base, None, examples, tmp_path / "cut", "cpu", work=tmp_path / "work")
    for file in ("model.safetensors", "config.json"):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "cut" / file).read_bytes()
    ours, theirs = (read(tmp_path / name)["attempts"] for name in ("cut", "whole"))
    assert [a["seed"] for a in ours] == [a["seed"] for a in theirs] and ours[0]["reason"] == theirs[0]["reason"]


def test_a_loss_that_is_no_number_leaves_the_weights_of_the_start(base, examples, tmp_path):  # noqa: F811
    hyper = {"learning_rate": float("inf"), "warmup": 0.0, "max_grad_norm": None, "restarts": 1}
    loop.train(spec(task("mnli", **hyper), trainable="blocks"), base, None, examples, tmp_path, "cpu")
    record = read(tmp_path)
    assert record["failed"] and [attempt["seed"] for attempt in record["attempts"]] == [1, failures.derived_seed(1, 1)]
    assert all("the loss became nan between steps" in attempt["reason"] for attempt in record["attempts"])
    tensors = read_tensors(tmp_path / "model.safetensors")
    assert {name.split(".")[0] for name in tensors} == {"heads"}, "the encoder is that of the base"
    assert all(bool(tensor.isfinite().all()) for tensor in tensors.values())


def test_best_weights_of_before_are_kept(base, examples, tmp_path, monkeypatch):  # noqa: F811
    step = run.Run._step

    def breaks(self, item, number):
        if number == 6:
            with torch.no_grad():
                next(iter(self.model.heads.parameters())).fill_(float("nan"))
        return step(self, item, number)

    monkeypatch.setattr(run.Run, "_step", breaks)
    hyper = {"max_steps": 40, "learning_rate": 1e-2, "selection": "english_dev_best", "eval_every": 2, "restarts": 0}
    loop.train(spec(task("mnli", **hyper)), base, None, examples, tmp_path, "cpu")
    record = read(tmp_path)
    assert record["failed"] and "nan between steps" in record["reason"] and 0 < record["selected_step"] <= 6
    assert all(bool(tensor.isfinite().all()) for tensor in read_tensors(tmp_path / "model.safetensors").values())


def test_weights_that_the_last_step_broke_are_seen_without_dev_data(base, examples, tmp_path, monkeypatch):  # noqa: F811
    step = run.Run._step

    def breaks(self, item, number):
        loss = step(self, item, number)
        if number == 2:
            with torch.no_grad():
                next(iter(self.model.encoder.parameters())).view(-1)[0] = float("inf")
        return loss

    monkeypatch.setattr(run.Run, "_step", breaks)
    monkeypatch.setattr(dev, "evaluate", lambda *_: score(80.0))
    loop.train(spec(task("mnli", max_steps=3, restarts=0)), base, None, examples, tmp_path, "cpu")
    assert read(tmp_path)["reason"] == "weights became no numbers in the last of 3 steps"


def test_a_failure_reads_as_json(base, examples, tmp_path):  # noqa: F811
    loop.train(spec(task("squad", learning_rate=NONSENSE, max_steps=1)), base, None, examples, tmp_path, "cpu")
    assert json.loads((tmp_path / "train.json").read_text())["attempts"][0]["dev"]["squad"]["n"] == 20
