"""One training by several processes: DDP and FSDP give what one process gives; signals, status, claims of GPUs."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import killed_runs as runner
import pytest
import torch
from safetensors.torch import load_file, save_file

from xstilts.errors import UserError
from xstilts.models import fetch, gpus, runtime
from xstilts.training import parallel

ROOT = Path(__file__).resolve().parent.parent
WORKER = ROOT / "tests" / "parallel_worker.py"
PRECISE = {"atol": 2e-5, "rtol": 1e-4}
HALF = {"atol": 1e-3, "rtol": 1e-2}  # bfloat16 has 8 bits; the shares of a batch round otherwise than the whole

# trimmed; a batch of one example, fewer than processes, at the end of each epoch; gradients are clipped
HYPER = {"learning_rate": 1e-2, "weight_decay": 0.1, "adam_epsilon": 1e-3, "warmup": 0.2, "max_grad_norm": 0.5}
HYPER |= {"batch_size": 8, "dropout": 0.0, "eval_every": 8}
MIXTURE = {"hyper": HYPER, "sampling": {"method": "uniform"}}
EXACT = runner.job_spec("mnli", "udpos", steps=16, precision="fp32", **MIXTURE)
HALVED = runner.job_spec("mnli", "udpos", steps=8, precision="bf16", trainable="blocks", **MIXTURE)
LONG = runner.job_spec("mnli", "udpos", steps=48, **{**MIXTURE, "hyper": {**HYPER, "dropout": 0.1}})
LORA = {"trainable": "lora", "lora": {"rank": 4, "alpha": 8, "dropout": 0.0}, "hyper": HYPER | {"max_steps": 10}}
DDP, FSDP = (["--devices", "2", "--strategy", strategy] for strategy in ("ddp", "fsdp"))
PARTS = ["--tokens-per-batch", "96"]  # several a step
JOBS = {  # name: spec, options, kills, model
    "exact, one": (EXACT, PARTS, [], "model"),
    "exact, ddp": (EXACT, [*PARTS, *DDP], [], "model"),
    "exact, fsdp": (EXACT, [*PARTS, *FSDP, "--gradient-checkpointing"], [], "model"),
    "halved, one": (HALVED, [], [], "model"),
    "halved, ddp": (HALVED, DDP, [], "model"),
    "halved, fsdp": (HALVED, FSDP, [], "model"),
    "long, fsdp": (LONG, FSDP, [], "model"),
    **{
        f"lora {precision}, {strategy}": (
            runner.job_spec("mnli", precision=precision, **LORA), options, [], "half"
        )
        for precision in ("fp32", "bf16")
        for strategy, options in (("one", []), ("fsdp", FSDP))
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder with a tiny model, the same stored in float16, and examples."""
    root = tmp_path_factory.mktemp("runs")
    for name in ("model", "half"):
        fetch.fetch({"model": "tiny", "source": {"type": "random"}, "identity": {}}, root / name)
    stored = load_file(root / "half/model.safetensors")
    save_file({name: tensor.half() for name, tensor in stored.items()}, root / "half/model.safetensors")
    runner.write_examples(root / "examples", 41, 12)
    return root


@pytest.fixture(scope="module")
def trained(root):
    """The folder with all `JOBS` done, their processes forked."""
    runner.do([runner.job(root, name, *what) for name, what in JOBS.items()])
    return root


def start(*command, **options) -> subprocess.Popen:
    """Another process with the real launcher in it."""
    environment = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True} | options
    return subprocess.Popen([sys.executable, *map(str, command)], cwd=ROOT, env=environment, **pipes)


def assert_close(root: Path, name: str, other: str, tolerance: dict) -> None:
    """Two jobs' losses, dev scores and weights are equal but for rounding."""
    ours, theirs = (json.loads((root / one / "out/train.json").read_text()) for one in (name, other))
    torch.testing.assert_close(torch.tensor(ours["losses"]), torch.tensor(theirs["losses"]), **tolerance)
    for key in ("examples", "tokens", "steps", "failed", "stopped"):
        assert ours[key] == theirs[key], key
    one, two = (load_file(root / file / "out/model.safetensors") for file in (name, other))
    assert one.keys() == two.keys()
    for key, tensor in one.items():
        torch.testing.assert_close(tensor.float(), two[key].float(), **tolerance, msg=lambda m, n=key: f"{n}: {m}")


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_train_what_one_does(trained, strategy):
    assert_close(trained, f"exact, {strategy}", "exact, one", PRECISE)
    assert_close(trained, f"halved, {strategy}", "halved, one", HALF)
    found = load_file(trained / f"exact, {strategy}/out/model.safetensors")
    base = load_file(trained / "model/model.safetensors")
    moved = [float((found[name] - base[name]).abs().max()) for name in found if name.endswith("query.weight")]
    assert len(moved) == 2 and min(moved) > 10 * PRECISE["atol"]
    assert [name for name in found if name.endswith(".touched")]  # trimmed
    record = json.loads((trained / f"exact, {strategy}/out/train.json").read_text())
    assert (record["strategy"], record["devices"]) == (strategy, 2)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_adapters_of_a_sharded_model_stored_in_half_precision(trained, precision):
    assert_close(trained, f"lora {precision}, fsdp", f"lora {precision}, one", HALF if precision == "bf16" else PRECISE)
    found = load_file(trained / f"lora {precision}, fsdp/out/model.safetensors")
    assert max(float(tensor.abs().max()) for name, tensor in found.items() if name.endswith(".lora_b")) > 1e-3


def test_a_sharded_training_stopped_and_gone_on_with_ends_in_the_same_bytes(trained):
    """Started by the real launcher; dropout, so that each process must go on with its own random numbers."""
    job = runner.job(trained, "long, stopped", LONG, FSDP)
    command, statuses = runner.arguments(job), []
    for stop in (True, False):
        with open(job["log"], "a") as log:
            process = start(*command, stdout=log)
        deadline = time.time() + 60
        while stop and "step 4/" not in Path(job["log"]).read_text() and time.time() < deadline:
            time.sleep(0.01)
        if stop:
            process.send_signal(signal.SIGTERM)
        statuses.append(process.wait(120))
    log = Path(job["log"]).read_text()
    assert statuses == [128 + signal.SIGTERM, 0], log
    assert log.count("the same command goes on from there") == 1 and log.count("resuming at step") == 1
    for file in ("model.safetensors", "config.json"):
        ours, theirs = ((trained / name / "out" / file).read_bytes() for name in ("long, stopped", "long, fsdp"))
        assert ours == theirs, file


def test_processes_see_the_same_and_the_status_of_a_failed_one_is_passed_on(root, tmp_path):
    process = start(WORKER, "facts", root / "model", tmp_path)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 3, output
    expected = {"any": [True, False], "most": 7, "total": 3.0, "main's head": True, "rows": True}
    for rank in (0, 1):
        found = json.loads((tmp_path / f"facts-{rank}.json").read_text())
        assert found == {"ddp": expected, "fsdp": expected, "ends in order": True}


def test_ctrl_c_reaches_every_process(root, tmp_path):
    process = start(WORKER, "wait", root / "model", tmp_path)
    pids = wait_for_two(process, tmp_path)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGINT, output
    assert [(tmp_path / f"stopped-{rank}").read_text() for rank in (0, 1)] == [str(int(signal.SIGINT))] * 2
    assert not any(alive(pid) for pid in pids)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's death signal is Linux's")
def test_nothing_goes_on_when_the_launcher_is_killed(root, tmp_path):
    process = start(WORKER, "wait", root / "model", tmp_path)
    pids = wait_for_two(process, tmp_path)
    process.kill()
    process.communicate(timeout=60)
    deadline = time.time() + 10
    while any(alive(pid) for pid in pids) and time.time() < deadline:
        time.sleep(0.05)
    assert not any(alive(pid) for pid in pids)
    assert not (tmp_path / "stopped-0").exists()


def wait_for_two(process: subprocess.Popen, out: Path) -> list[int]:
    deadline = time.time() + 40
    while not all((out / f"ready-{rank}").exists() for rank in (0, 1)):
        assert process.poll() is None and time.time() < deadline, process.communicate()[0]
        time.sleep(0.05)
    return [int((out / f"ready-{rank}").read_text()) for rank in (0, 1)]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] not in "ZX"
    except FileNotFoundError:
        return False


# ---- one process
def test_one_process_loads_nothing_of_the_engines_for_several():
    code = """
import sys, torch
from xstilts.training import parallel
world = parallel.open_world("one", torch.device("cpu"))
world.prepare(torch.nn.Linear(2, 2), "fp32"), world.any(True), world.barrier(), world.close()
print([name for name in ("torch._dynamo", "torch.distributed.fsdp", "torch.distributed.tensor") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_strategy_of_one_refuses_several_processes(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="WORLD_SIZE=2 processes were started; allowed then: ddp, fsdp"):
        parallel.open_world("one", torch.device("cpu"))


# ---- which GPU
HOLD = """
import sys, time
from pathlib import Path
from xstilts.models import gpus
gpus.WAIT_S = 0.05
print(*gpus.claim(int(sys.argv[2]), ["0", "1"], Path(sys.argv[1])), flush=True)
sys.stdin.readline()
"""


def holder(folder: Path, number: int = 1) -> subprocess.Popen:
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return subprocess.Popen([sys.executable, "-c", HOLD, str(folder), str(number)], cwd=ROOT, **pipes)


def test_jobs_claim_different_gpus_and_a_killed_one_gives_its_gpu_back(tmp_path):
    first = holder(tmp_path)
    assert first.stdout.readline().split() == ["0"]
    second = holder(tmp_path)
    assert second.stdout.readline().split() == ["1"]
    third = holder(tmp_path, 2)  # waits until both are free
    assert "waiting for 2 of the GPUs 0, 1" in third.stderr.readline()
    fourth = holder(tmp_path)  # came later: it may not take one from under the third again and again
    assert "waiting for 1 of the GPUs 0, 1" in fourth.stderr.readline()
    first.kill()
    first.communicate()
    second.communicate("\n", timeout=20)
    assert third.stdout.readline().split() == ["0", "1"]
    assert fourth.poll() is None
    third.communicate("\n", timeout=20)
    assert fourth.stdout.readline().split() == ["0"]
    fourth.communicate("\n", timeout=20)


def test_a_claim_is_kept_and_too_many_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(gpus, "_held", {})
    assert gpus.claim(1, ["2", "5"], tmp_path) == ["2"]
    assert gpus.claim(1, ["2", "5"], tmp_path) == ["2"]
    assert gpus.claim(2, ["2", "5"], tmp_path) == ["2", "5"]
    with pytest.raises(UserError, match="3 GPUs are asked for, this process sees 2: 2, 5"):
        gpus.claim(3, ["2", "5"], tmp_path)
    for handle in gpus._held.values():
        os.close(handle)


def test_auto_takes_a_free_gpu_where_there_are_several(tmp_path, monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    monkeypatch.setattr(gpus, "claim", lambda number: ["6"])
    assert runtime.device() == torch.device("cuda:1")
    assert runtime.device("cuda") == torch.device("cuda")
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert runtime.device() == runtime.device("cuda") == torch.device("cuda:0")


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_two_gpus_train_what_one_does(root):
    for strategy, options in ("one", []), ("ddp", DDP), ("fsdp", FSDP):
        job = runner.job(root, f"GPU {strategy}", EXACT, [*PARTS, *options])
        process = start(*runner.arguments(job, "cuda"))
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
        assert_close(root, f"GPU {strategy}", "GPU one", HALF)
