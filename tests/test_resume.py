"""Exact resume: states on disk, signals, and killed trainings that end in the bytes of an uninterrupted one."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from xstilts import embedded
from xstilts.errors import UserError
from xstilts.files import write_jsonl
from xstilts.models import fetch
from xstilts.training import state, statefiles
from xstilts.training.interrupts import Interrupts

ROOT = Path(__file__).resolve().parent.parent


# ---- the folder of states
def tensors(number: float) -> dict:
    generator = torch.Generator().manual_seed(int(number))
    return {"weight/a": torch.randn(50, 3, generator=generator), "pending": torch.tensor([number])}


def filled(folder: Path, *steps: int) -> state.States:
    states = state.States(folder)
    for step in steps:
        states.save(tensors(step), {"step": step, "losses": [1 / 3, float(step)]})
    return states


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def edit(path: Path) -> None:
    """Another step, in JSON that is fine."""
    path.write_text(path.read_text().replace('"step": 3', '"step": 9'))


DAMAGES = {
    "a flipped bit": lambda path: flip(path / "rank0.safetensors"),
    "cut short": lambda path: os.truncate(path / "rank0.safetensors", 200),
    "no weights": lambda path: (path / "rank0.safetensors").unlink(),
    "no manifest": lambda path: (path / "manifest.json").unlink(),
    "garbage": lambda path: (path / "manifest.json").write_bytes(b"\xff\x00{"),
    "a list": lambda path: (path / "manifest.json").write_text("[1, 2]"),
    "half a manifest": lambda path: os.truncate(path / "manifest.json", 90),
    "another step": lambda path: edit(path / "manifest.json"),
    "nothing": lambda path: [file.unlink() for file in path.iterdir()],
}


def test_the_newest_state_comes_back_as_it_was_and_the_last_two_are_kept(tmp_path):
    filled(tmp_path / "s", 1, 2, 3)
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == ["000002", "000003"]
    saved = state.States(tmp_path / "s").load()
    assert saved.progress == {"step": 3, "losses": [1 / 3, 3.0]} and saved.same
    assert set(saved.tensors) == {"weight/a", "pending"}
    assert all(torch.equal(saved.tensors[name], tensor) for name, tensor in tensors(3).items())


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_state_is_named_and_the_older_one_used(tmp_path, capfd, damage):
    filled(tmp_path, 1, 2, 3)
    DAMAGES[damage](tmp_path / "000003")
    states = state.States(tmp_path)
    saved = states.load()
    assert saved.progress["step"] == 2 and torch.equal(saved.tensors["weight/a"], tensors(2)["weight/a"])
    told = capfd.readouterr().err
    assert f"{tmp_path}/000003: this state is damaged: " in told
    assert f"{tmp_path}/000002: going on from this older state" in told
    # the damaged one is not one of the two that are kept
    states.save(tensors(4), {"step": 4})
    flip(tmp_path / "000004" / "rank0.safetensors")
    assert state.States(tmp_path).load().progress["step"] == 2


def test_two_damaged_states_mean_a_new_start_and_that_is_said(tmp_path, capfd):
    filled(tmp_path, 1, 2)
    for name in ("000001", "000002"):
        flip(tmp_path / name / "rank0.safetensors")
    states = state.States(tmp_path)
    assert states.load() is None
    told = capfd.readouterr().err
    assert told.count("is damaged") == 2 and f"{tmp_path}: no state is whole, the training starts anew" in told
    states.save(tensors(5), {"step": 5})
    assert state.States(tmp_path).load().progress["step"] == 5


def test_no_state_is_no_news(tmp_path, capfd):
    assert state.States(tmp_path / "absent").load() is None
    assert capfd.readouterr().err == ""


def test_what_a_killed_write_left_is_no_state_and_goes_away(tmp_path, capfd):
    filled(tmp_path, 1)
    (tmp_path / "000002.part").mkdir()
    (tmp_path / "000002.part" / "rank0.safetensors").write_bytes(b"half")
    states = state.States(tmp_path)
    assert states.load().progress["step"] == 1 and capfd.readouterr().err == ""
    states.save(tensors(2), {"step": 2})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000001", "000002"]


def test_a_full_disk_leaves_the_states_of_before(tmp_path):
    code = (
        "import resource, sys, torch; from pathlib import Path; from xstilts.training import state\n"
        "from xstilts.errors import UserError\n"
        "states = state.States(Path(sys.argv[1])); states.save({'weight/a': torch.ones(10)}, {'step': 1})\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        "try: states.save({'weight/a': torch.ones(10_000)}, {'step': 2})\n"
        "except UserError as error: sys.exit(f'{error}')"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 1 and "could not be written" in run.stderr and "run the same command again" in run.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["000001"]
    assert state.States(tmp_path).load().progress["step"] == 1


def test_a_state_is_due_after_two_minutes_but_never_takes_over_five_percent(tmp_path, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(statefiles, "time", SimpleNamespace(monotonic=lambda: now[0]))
    states = state.States(tmp_path)
    write = statefiles.write_tensors

    def slow(*arguments):
        now[0] += 60.0
        write(*arguments)

    for expected in (120.0, 1200.0):
        start = now[0]
        now[0] = start + expected - 1
        assert not states.due()
        now[0] = start + expected + 1
        assert states.due()
        monkeypatch.setattr(statefiles, "write_tensors", slow)
        states.save({"a": torch.ones(1)}, {})


# ---- several ranks
def on_ranks(folder: Path, ranks: int, layout: str, work) -> list:
    """work(states, rank) on `ranks` threads, each with its States; the results by rank."""
    barrier, results = threading.Barrier(ranks, timeout=20), [None] * ranks

    def one(rank: int) -> None:
        results[rank] = work(state.States(folder, rank, ranks, layout, barrier.wait), rank)

    threads = [threading.Thread(target=one, args=(rank,)) for rank in range(ranks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return results


class World(SimpleNamespace):
    """What a state asks of the processes that train together; each holds plain tensors: its rows where sharded."""

    def __init__(self, rank=0, size=1, layout="whole", device="cpu"):
        super().__init__(rank=rank, size=size, layout=layout, device=torch.device(device))

    def local(self, parameter):
        return parameter.data


class Optimiser:
    def __init__(self, model):
        self.parameters, self.state = list(model.parameters()), {}


def cut(whole: torch.Tensor, rank: int, ranks: int) -> torch.Tensor:
    """The rows of a rank, in torch's own words."""
    pieces = list(whole.chunk(ranks)) + [whole[:0]] * ranks
    return pieces[rank].clone()


def training(seed: int, rank: int = 0, ranks: int = 1, sharded: bool = False):
    """(model, optimiser, pending, best) in the middle of a training; the rows of one rank where it is sharded."""
    generator = torch.Generator().manual_seed(seed)
    draw = [torch.randn(shape, generator=generator) for shape in ((5, 2), (3,)) * 4]
    draw = [cut(one, rank, ranks) for one in draw] if sharded else draw
    model = torch.nn.ParameterDict({"a": torch.nn.Parameter(draw[0]), "b": torch.nn.Parameter(draw[1])})
    optimiser = Optimiser(model)
    for index, parameter in enumerate(optimiser.parameters):
        if not parameter.numel():  # more ranks than rows: nothing to update
            continue
        optimiser.state[parameter] = {
            "step": torch.tensor(7.0), "exp_avg": draw[2 + index], "exp_avg_sq": draw[4 + index]
        }  # fmt: skip
    pending = [torch.tensor(1.0 + rank), torch.tensor(10.0 + rank)]
    return model, optimiser, pending, {"a": draw[6], "b": draw[7]}


def save_all(folder: Path, ranks: int, layout: str, seed: int = 1) -> None:
    def work(states, rank):
        parts = training(seed, rank, ranks, layout == "sharded")
        states.save(state.collect(*parts, World(rank, ranks, layout)), {"step": 7})

    on_ranks(folder, ranks, layout, work)


def restore_all(folder: Path, ranks: int, layout: str) -> list:
    def work(states, rank):
        model, optimiser, _, _ = training(2, rank, ranks, layout == "sharded")
        optimiser.state.clear()
        return model, optimiser, *state.restore(states.load(), model, optimiser, World(rank, ranks, layout))

    return on_ranks(folder, ranks, layout, work)


@pytest.mark.parametrize("before", [(1, "whole"), (2, "whole"), (1, "sharded"), (2, "sharded"), (4, "sharded")])
@pytest.mark.parametrize("after", [(1, "whole"), (3, "whole"), (2, "sharded"), (4, "sharded")])
def test_a_training_goes_on_with_other_devices_than_before(tmp_path, capfd, before, after):
    save_all(tmp_path, *before)
    found = restore_all(tmp_path, *after)
    model, optimiser, _, best = training(1)
    ranks, sharded = after[0], after[1] == "sharded"
    for rank, (ours, its, progress, _, kept) in enumerate(found):
        assert progress == {"step": 7}
        rows = (lambda whole, rank=rank: cut(whole, rank, ranks)) if sharded else lambda whole: whole
        for name in ("a", "b"):
            assert torch.equal(ours[name], rows(model[name].data)) and torch.equal(kept[name], rows(best[name]))
        for mine, theirs in zip(its.parameters, optimiser.parameters, strict=True):
            if not mine.numel():
                continue
            assert its.state[mine]["step"] == 7
            for key in ("exp_avg", "exp_avg_sq"):
                assert torch.equal(its.state[mine][key], rows(optimiser.state[theirs][key]))
    # the ranks' shares of the losses still add up
    expected = torch.stack([torch.stack(training(1, rank)[2]) for rank in range(before[0])]).sum(0)
    assert torch.equal(torch.stack([torch.stack(one[3]) for one in found]).sum(0), expected)
    assert ("dropout goes on with new random numbers" in capfd.readouterr().err) == (before != after)


def test_each_rank_goes_on_with_its_own_random_numbers(tmp_path):
    """Threads share one generator: what matters is which stream is in which rank's file."""
    barrier, streams = threading.Barrier(2, timeout=20), [torch.Generator().manual_seed(n).get_state() for n in (5, 6)]

    def work(states, rank):
        parts = state.collect(*training(1), World(rank, 2))
        states.save(parts | {"random/cpu": streams[rank]}, {})
        barrier.wait()
        return state.States(tmp_path, rank, 2, "whole", barrier.wait).load().tensors["random/cpu"]

    found = on_ranks(tmp_path, 2, "whole", work)
    assert all(map(torch.equal, found, streams))


def test_one_damaged_rank_makes_all_ranks_use_the_older_state(tmp_path):
    for seed in (1, 2):
        save_all(tmp_path, 2, "sharded", seed)
    flip(tmp_path / "000002" / "rank1.safetensors")
    found = on_ranks(tmp_path, 2, "sharded", lambda states, rank: states.load().path.name)
    assert found == ["000001", "000001"]


def test_what_cannot_be_cut_in_rows_is_refused_before_anything_changes(tmp_path):
    """An 8-bit optimiser keeps blocks of 256 numbers and their sizes."""
    model, optimiser, pending, best = training(1)
    for kept in optimiser.state.values():
        kept |= {"exp_avg": torch.ones(20, dtype=torch.uint8), "absmax": torch.ones(2)}
    state.States(tmp_path).save(state.collect(model, optimiser, pending, best, World()), {})
    again, empty, _, _ = training(2)
    state.restore(state.States(tmp_path).load(), again, empty, World())
    assert empty.state[empty.parameters[0]]["exp_avg"].dtype == torch.uint8 and torch.equal(again["a"], model["a"])
    part, empty, _, _ = training(2, 0, 2, True)
    before = part["a"].clone()
    saved = state.States(tmp_path, 0, 2, "sharded").load()
    with pytest.raises(UserError, match=r"cannot be spread over other devices.*or delete"):
        state.restore(saved, part, empty, World(0, 2, "sharded"))
    assert torch.equal(part["a"], before)


def test_the_state_of_another_model_is_refused(tmp_path):
    state.States(tmp_path).save(state.collect(*training(1), World()), {})
    other = torch.nn.ParameterDict({"a": torch.nn.Parameter(torch.ones(4, 2)), "b": torch.nn.Parameter(torch.ones(3))})
    with pytest.raises(UserError, match=r"a is \(5, 2\) in it and \(4, 2\) in the model.*Delete .* to start anew"):
        state.restore(state.States(tmp_path).load(), other, Optimiser(other), World())
    assert (other["b"] == 1).all()


def test_tensors_that_share_memory_are_saved(tmp_path):
    model, optimiser, pending, best = training(1)
    book = torch.arange(256.0)
    for kept in optimiser.state.values():
        kept["book"] = book
    state.States(tmp_path).save(state.collect(model, optimiser, pending, best, World()), {})
    again, empty, _, _ = training(2)
    state.restore(state.States(tmp_path).load(), again, empty, World())
    assert all(torch.equal(kept["book"], book) for kept in empty.state.values())


@pytest.mark.parametrize(
    "device",
    ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, pytest.mark.skipif("not torch.cuda.is_available()")])],
)
def test_dropout_goes_on_where_it_was(tmp_path, device):
    def dropped():
        return torch.nn.functional.dropout(torch.ones(64, device=device), 0.5)

    model, optimiser, pending, best = training(1)
    model.to(device)
    world = World(device=device)
    dropped()
    state.States(tmp_path).save(state.collect(model, optimiser, pending, best, world), {})
    expected = dropped()
    torch.manual_seed(99)
    state.restore(state.States(tmp_path).load(), model, Optimiser(model), world)
    assert torch.equal(dropped(), expected)


# ---- signals
def test_signals_are_noted_and_the_handlers_of_before_come_back():
    seen = []
    before = signal.signal(signal.SIGTERM, lambda *_: seen.append("outer"))
    try:
        with Interrupts() as interrupts:
            assert interrupts.stop is None
            os.kill(os.getpid(), signal.SIGTERM)
            assert interrupts.stop == signal.SIGTERM and not seen
        os.kill(os.getpid(), signal.SIGTERM)
        assert seen == ["outer"]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_second_ctrl_c_stops_at_once_but_one_that_comes_twice_does_not(monkeypatch, capfd):
    from xstilts.training import interrupts as module

    now = [50.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    with Interrupts() as interrupts:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)  # the launcher passes on what the terminal gave everybody
        assert interrupts.stop == signal.SIGINT
        now[0] += 2
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert capfd.readouterr().err.count("stopping after this step") == 1


def test_outside_the_main_thread_signals_are_left_alone():
    def work():
        with Interrupts() as interrupts:
            found.append((interrupts.stop, signal.getsignal(signal.SIGTERM)))

    found, before = [], signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(None, before)]


# ---- whole runs, killed
TERM, INT, KILL = int(signal.SIGTERM), int(signal.SIGINT), int(signal.SIGKILL)
HYPER = {"learning_rate": 3e-3, "batch_size": 4, "max_length": 48, "warmup": 0.1, "weight_decay": 0.01}
HYPER |= {"adam_epsilon": 1e-8, "max_grad_norm": 1.0, "schedule": "linear", "selection": "english_dev_best"}
HYPER |= {"eval_every": 25, "dropout": 0.1, "max_steps": 40}
TAGS = ["ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM"]
TAGS += ["PART", "PRON", "PROPN", "PUNCT", "SCONJ", "SYM", "VERB", "X"]
KINDS = {
    "mnli": {"kind": "pair", "labels": ["entailment", "neutral", "contradiction"], "options": {}},
    "udpos": {"kind": "tagging", "labels": TAGS, "options": {"scheme": "flat"}},
    "mlm": {"kind": "mlm", "labels": [], "options": {}, "languages": ["en"]},
}


def job_spec(*names: str, hyper=None, **changes) -> dict:
    tasks = [{"task": n, **KINDS[n], "hyper": {**HYPER, "mask_probability": 0.15, **(hyper or {})}} for n in names]
    result = {"stage": "intermediate", "code": "train@1", "model": {"name": "tiny"}, "intermediate": "mix", "seed": 1}
    return {**result, "precision": "bf16", "trainable": "all", "tasks": tasks, **changes}


MIXTURE = job_spec("mnli", "udpos", "mlm", steps=70, sampling={"method": "uniform"})
# no word embedding of masked text can be trimmed; here they are, and the rate is too low to leave the majority
FAILING = job_spec(
    "mnli", stage="target", intermediate="none", hyper={"max_steps": 25, "learning_rate": 1e-12, "restarts": 1}
)
TWENTY = [[(TERM, INT, KILL)[n % 3], "state" if n % 2 else "step", "none"] for n in range(17)]
TWENTY += [[number, "checkpoint", "none"] for number in (KILL, TERM, INT)]
DAMAGED = [[TERM, "step", "none"], [INT, "step", "newest"], [KILL, "step", "all"], [TERM, "step", "none"]]
JOBS = {
    "mixture": (MIXTURE, []),
    "twenty kills": (MIXTURE, TWENTY),
    "damaged": (MIXTURE, DAMAGED),
    "failing": (FAILING, []),
    "failing, killed": (FAILING, [[(KILL, TERM)[n % 2], "state", "none"] for n in range(8)]),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """All jobs, done: (folder, {name: exit statuses})."""
    root = tmp_path_factory.mktemp("runs")
    fetch.fetch({"model": "tiny", "source": {"type": "random"}, "identity": {}}, root / "model")
    for task in KINDS:
        name = "text" if task == "mlm" else task
        write_jsonl(root / f"examples/{task}/en/train.jsonl", embedded.generate(name, "en", "train", 40, 1))
        if task != "mlm":
            write_jsonl(root / f"examples/{task}/en/dev.jsonl", embedded.generate(name, "en", "dev", 12, 1))
    jobs = []
    for name, (spec, kills) in JOBS.items():
        folder = root / name
        folder.mkdir()
        (folder / "spec.json").write_text(json.dumps(spec))
        paths = {"out": folder / "out", "work": folder / "work", "log": folder / "log", "spec": folder / "spec.json"}
        paths |= {"model": root / "model", "examples": root / "examples"}
        jobs.append({"name": name, "kills": kills, "seed": 7, **{key: str(path) for key, path in paths.items()}})
    command = [sys.executable, str(ROOT / "tests" / "killed_runs.py"), json.dumps(jobs)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    statuses = json.loads(done.stdout)
    for name, found in statuses.items():
        assert found[-1] == 0, (root / name / "log").read_text()[-3000:]
    return root, statuses


def assert_equal_ends(root: Path, name: str, whole: str) -> None:
    """The same result to the byte, and the same record but for times."""
    for file in ("model.safetensors", "config.json"):
        assert (root / name / "out" / file).read_bytes() == (root / whole / "out" / file).read_bytes(), file
    ours, theirs = (json.loads((root / one / "out/train.json").read_text()) for one in (name, whole))
    for record in (ours, theirs):
        for attempt in record["attempts"]:
            attempt.pop("training_seconds")
    for key in ("losses", "dev", "selected_step", "tokens", "examples", "steps", "stopped", "failed", "attempts"):
        assert ours[key] == theirs[key], key
    left = [path.name for path in (root / name / "work").iterdir()]
    assert [one for one in left if one not in ("encodings", "peaks.json", "gpus")] == [], "states of a finished run"


def test_twenty_kills_at_random_moments_end_in_the_bytes_of_an_uninterrupted_run(runs):
    root, statuses = runs
    assert statuses["mixture"] == [0]
    expected = [{TERM: 128 + TERM, INT: 128 + INT, KILL: -KILL}[number] for number, _, _ in TWENTY[:17]]
    found = statuses["twenty kills"]
    assert found[:17] == expected and found[17] == -KILL and all(found[:20]) and found[20:] == [0]
    log = (root / "twenty kills" / "log").read_text()
    assert log.count("resuming at step") == 20 and "damaged" not in log
    assert log.count("the same command goes on from there") == expected.count(128 + TERM) + expected.count(128 + INT)
    assert_equal_ends(root, "twenty kills", "mixture")


def test_damaged_states_end_in_the_same_bytes_too(runs):
    root, statuses = runs
    assert statuses["damaged"] == [128 + TERM, 128 + INT, -KILL, 128 + TERM, 0]
    log = (root / "damaged" / "log").read_text()
    assert "going on from this older state" in log and "no state is whole, the training starts anew" in log
    assert log.count("resuming at step") == 3
    assert_equal_ends(root, "damaged", "mixture")


def test_kills_between_the_attempts_of_a_failing_run(runs):
    root, statuses = runs
    assert statuses["failing"] == [0] and len(statuses["failing, killed"]) == 9
    assert_equal_ends(root, "failing, killed", "failing")
    record = json.loads((root / "failing, killed/out/train.json").read_text())
    assert record["failed"] and len(record["attempts"]) == 2
    assert record["attempts"][0]["seed"] != record["attempts"][1]["seed"]
