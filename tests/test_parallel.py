"""One training by several processes: DDP and FSDP give what one process gives; signals, status, claims of GPUs."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from xstilts.errors import UserError
from xstilts.models import fetch, gpus, runtime
from xstilts.training import parallel

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
import parallel_worker as worker  # noqa: E402

CONFIG = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
PRECISE = {"atol": 2e-5, "rtol": 1e-4}
HALF = {"atol": 1e-3, "rtol": 1e-2}  # bfloat16 has 8 bits; the shares of a batch round otherwise than the whole


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    out = tmp_path_factory.mktemp("model") / "tiny"
    fetch.fetch({"model": "tiny", "source": {"type": "random", "config": CONFIG}, "identity": {}}, out)
    return out


def start(what: str, base: Path, out: Path, device: str = "cpu") -> subprocess.Popen:
    environment = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, worker.__file__, what, device, str(base), str(out)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.fixture(scope="module")
def several(base, tmp_path_factory):
    """The folder of what two processes trained."""
    out = tmp_path_factory.mktemp("several")
    process = start("train", base, out)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert (out / "back").exists()
    return out


@pytest.fixture(scope="module")
def alone(base):
    """case -> what one process trains, made when it is first asked for."""
    made = {}

    def get(case: str) -> dict:
        if case not in made:
            made[case] = worker.train(base, parallel.World(torch.device("cpu")), **worker.CASES[case])
        return made[case]

    return get


@pytest.mark.parametrize("case", worker.CASES)
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_train_what_one_does(several, alone, strategy, case):
    one, two = alone(case), load_file(several / f"{strategy}-{case}.safetensors")
    assert one.keys() == two.keys()
    tolerance = HALF if "precision" in worker.CASES[case] else PRECISE
    moved = 0
    for name, tensor in one.items():
        torch.testing.assert_close(two[name].float(), tensor.float(), **tolerance, msg=lambda m, n=name: f"{n}: {m}")
        moved += name.endswith("query.weight")
    assert moved == 2
    assert one["losses"].shape == (len(worker.STEPS),)
    assert not torch.equal(one["looks"][0], one["looks"][-1])  # it did learn
    if case == "trimmed":
        assert one["encoder.embeddings.word_embeddings.weight"].shape[0] < 60


def test_processes_agree_on_flags_and_sums(several):
    for rank in (0, 1):
        facts = json.loads((several / f"facts-{rank}.json").read_text())
        assert facts == {"any": [True, False], "most": 7, "total": 3.0}


def test_the_status_of_a_failed_process_is_passed_on(base, tmp_path):
    process = start("fail", base, tmp_path)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 3, output
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_reaches_every_process(base, tmp_path, number):
    process = start("wait", base, tmp_path)
    pids = wait_for_two(process, tmp_path)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number, output
    assert [(tmp_path / f"stopped-{rank}").read_text() for rank in (0, 1)] == [str(int(number))] * 2
    assert not any(alive(pid) for pid in pids)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's death signal is Linux's")
def test_nothing_goes_on_when_the_launcher_is_killed(base, tmp_path):
    process = start("wait", base, tmp_path)
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
def test_one_process_loads_nothing_of_the_engines_for_several(base):
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
    first.kill()
    first.communicate()
    fourth = holder(tmp_path)  # the one that waits for two does not keep the free one
    assert fourth.stdout.readline().split() == ["0"]
    second.communicate("\n", timeout=20)
    fourth.communicate("\n", timeout=20)
    assert third.stdout.readline().split() == ["0", "1"]
    third.communicate("\n", timeout=20)


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
def test_two_gpus_train_what_one_does(base, tmp_path):
    process = start("train", base, tmp_path, device="cuda")
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    for case, changes in worker.CASES.items():
        one = worker.train(base, parallel.World(torch.device("cuda:0")), **changes)
        for strategy in ("ddp", "fsdp"):
            two = load_file(tmp_path / f"{strategy}-{case}.safetensors")
            for name, tensor in one.items():
                torch.testing.assert_close(two[name].float(), tensor.float().cpu(), **HALF)
