"""How trainings and runs are started: how many devices, which threads, what is said when it cannot be."""

import argparse
import os
import signal
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from xstilts import environment, job
from xstilts import launch as runs
from xstilts.errors import UserError
from xstilts.training import launch, loop, memory, parallel
from xstilts.training.settings import Settings

SPEC = {"model": {"name": "no-such-model"}, "trainable": "all", "precision": "bf16"}
SPEC |= {"tasks": [{"kind": "pair", "hyper": {"max_length": 128, "batch_size": 32}}]}


@pytest.fixture
def arguments(monkeypatch, tmp_path):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    names = (
        "model encoder examples out work tokens_per_batch strategy devices gradient_checkpointing compile prefetch trim"
    )
    return argparse.Namespace(spec=SPEC, device="cpu", **dict.fromkeys(names.split()))


@pytest.mark.parametrize("rows_help", [True, False])
def test_texts_are_read_before_several_devices_are_taken(arguments, monkeypatch, rows_help):
    asked, started = [], []

    def plan_of(spec, model, settings, device, rows=None):
        asked.append(rows)
        if rows is None or not rows_help:
            raise memory.TooLarge(f"too large with rows {rows}")
        return SimpleNamespace(size=1)

    monkeypatch.setattr(loop, "plan_of", plan_of)
    monkeypatch.setattr(loop, "rows_of", lambda spec, model, examples, work: 1000)
    monkeypatch.setattr(loop, "train", lambda *given: started.append(given[6]))
    if rows_help:
        launch.train(arguments)
        assert started == [Settings()]
    else:
        with pytest.raises(UserError, match="too large with rows 1000"):
            launch.train(arguments)
    assert asked == [None, 1000]
    asked.clear()
    arguments.trim = False  # then texts cannot help
    with pytest.raises(UserError, match="too large with rows None"):
        launch.train(arguments)
    assert asked == [None]


def test_one_named_gpu_is_not_several(arguments, monkeypatch):
    arguments.device = "cuda:1"
    assert launch._one_gpu(arguments, Settings()).devices == 1
    arguments.devices = 2
    with pytest.raises(UserError, match=r"--device cuda:1 is one GPU, but devices: 2 .*--device cuda with several"):
        launch.train(arguments)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    arguments.devices = None
    with pytest.raises(UserError, match="but 2 processes were started"):
        launch.train(arguments)


def test_threads_are_divided_among_processes(monkeypatch):
    for name in job.THREADS:
        monkeypatch.setenv(name, "4")
    monkeypatch.delenv("RANK", raising=False)
    parallel._share_threads(2)
    assert [os.environ[name] for name in job.THREADS] == ["2"] * 4
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")  # as in a process that the launcher started with the same --threads 4
    job.run(SimpleNamespace(threads=4, started=None), lambda: None)
    assert [os.environ[name] for name in job.THREADS] == ["2"] * 4
    monkeypatch.delenv("OMP_NUM_THREADS")
    parallel._share_threads(10_000)
    assert os.environ["OMP_NUM_THREADS"] == "1"


def test_the_workflow_says_what_it_booked(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    environment.prepare({"study": "s", "data_root": None, "licensed": {"ccgbank": None}}, tmp_path)
    assert os.environ["XSTILTS_GPUS"] == "1"


def test_a_model_of_the_machines_gpus_is_spread_or_refused(monkeypatch):
    """The same plan by hand and in a workflow, whose rules book one GPU where `runtime` names no number."""
    size = SimpleNamespace(total_memory=75 * 2**30)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: size)
    monkeypatch.delenv("XSTILTS_GPUS", raising=False)
    assert [len(memory.machine("cuda").devices), memory.machine("cuda").booked] == [4, None]
    machine = replace(memory.machine("cuda"), host=None)
    assert list(memory._strategies(machine, Settings())) == [("one", 1), ("fsdp", 4)]
    assert list(memory._strategies(replace(machine, booked=1), Settings())) == [("one", 1)]
    assert list(memory._strategies(replace(machine, booked=1), Settings(devices=2))) == [("ddp", 2), ("fsdp", 2)]


# ---- make run
def test_slurm_without_its_plugin_names_it(tmp_path):
    (tmp_path / "study.yaml").write_text("study: s\n")
    for given in (["--workflow-profile", "slurm"], ["--workflow-profile=profiles/slurm"], ["--executor", "slurm"]):
        with pytest.raises(UserError, match="pip install snakemake-executor-plugin-slurm"):
            runs.run("study.yaml", given, tmp_path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, None])
def test_the_last_words_of_a_run(tmp_path, capfd, number):
    (tmp_path / "study.yaml").write_text("study: s\n")
    (tmp_path / "work").mkdir()
    kill = f"os.kill(os.getppid(), {int(number)})\ntime.sleep(1)" if number else ""
    fake = f"import os, signal, sys, time\nsignal.signal(15, lambda *_: sys.exit(3))\n{kill}\nsys.exit(1)\n"
    (tmp_path / "snakemake.py").write_text(fake)
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert runs.run("study.yaml", [], tmp_path) == (3 if number == signal.SIGTERM else 1)
    finally:
        signal.signal(signal.SIGTERM, before)
    said = capfd.readouterr().err
    assert ("interrupted. Finished results are kept, and trainings go on" in said) == (number is not None)
    assert ("mend what the message says" in said) == (number is None)
