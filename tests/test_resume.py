"""Exact resume: states on disk, signals, and killed trainings that end in the bytes of an uninterrupted one."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from itertools import permutations
from pathlib import Path
from types import SimpleNamespace

import killed_runs as runner
import pytest
import torch
from safetensors.torch import load_file

from xstilts.errors import UserError
from xstilts.models import fetch
from xstilts.training import dev, state, statefiles, statelock
from xstilts.training.interrupts import Interrupts, Stop

ROOT = Path(__file__).resolve().parent.parent


# ---- the folder of states
def tensors(number: float) -> dict:
    generator = torch.Generator().manual_seed(int(number))
    return {"weight/a": torch.randn(50, 3, generator=generator), "pending": torch.tensor([number])}


def filled(folder: Path, *steps: int) -> state.States:
    states = state.States(folder)
    for step in steps:
        states.save(lambda step=step: tensors(step), {"step": step, "losses": [1 / 3, float(step)]})
    return states


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != statelock.LOCK)


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
    assert names(tmp_path / "s") == ["000002", "000003"]
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
    states.save(lambda: tensors(4), {"step": 4})
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
    states.save(lambda: tensors(5), {"step": 5})
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
    states.save(lambda: tensors(2), {"step": 2})
    assert names(tmp_path) == ["000001", "000002"]


def test_a_full_disk_leaves_the_states_of_before(tmp_path):
    code = (
        "import resource, sys, torch; from pathlib import Path; from xstilts.training import state\n"
        "from xstilts.errors import UserError\n"
        "states = state.States(Path(sys.argv[1])); states.save(lambda: {'weight/a': torch.ones(10)}, {'step': 1})\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        "try: states.save(lambda: {'weight/a': torch.ones(10_000)}, {'step': 2})\n"
        "except UserError as error: sys.exit(f'{error}')"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 1 and "could not be written" in run.stderr and "run the same command again" in run.stderr
    assert names(tmp_path) == ["000001"]
    assert state.States(tmp_path).load().progress["step"] == 1


def test_a_disk_that_cannot_be_written_to_is_named(tmp_path, monkeypatch):
    states = filled(tmp_path, 1)

    def refuse(*_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(statefiles.os, "replace", refuse)
    with pytest.raises(UserError, match=r"(?s)could not be written \(Read-only file system\).*run the same command"):
        states.save(lambda: tensors(2), {"step": 2})
    monkeypatch.undo()
    assert names(tmp_path) == ["000001"]
    monkeypatch.setattr(statelock.os, "open", refuse)
    with pytest.raises(UserError, match=r"(?s)could not be written \(Read-only file system\).*--work"):
        state.States(tmp_path).load()


def test_a_state_is_due_after_two_minutes_but_never_takes_over_five_percent(tmp_path, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(statefiles, "time", SimpleNamespace(monotonic=lambda: now[0]))
    states = state.States(tmp_path)
    write = statefiles.write_tensors

    def slow(*arguments):
        now[0] += 40.0
        write(*arguments)

    def collect():  # from a GPU, say: that counts as well
        now[0] += 20.0
        return {"a": torch.ones(1)}

    for expected in (120.0, 1200.0):
        start = now[0]
        now[0] = start + expected - 1
        assert not states.due()
        now[0] = start + expected + 1
        assert states.due()
        monkeypatch.setattr(statefiles, "write_tensors", slow)
        states.save(collect, {})


# ---- one process at a time
HOLD = """
import sys
from pathlib import Path
from xstilts.training import statelock
statelock.claim(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that is at the training of `tmp_path`/s."""
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "s")], cwd=ROOT, **pipes)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_process_of_one_training_is_refused(tmp_path, monkeypatch, capfd, holder):
    monkeypatch.setattr(statelock, "WAIT", 0.3)
    part = tmp_path / "s" / "000001.part"
    part.mkdir()  # what the other one is writing is left alone
    with pytest.raises(UserError, match=rf"process {holder.pid} on .* is at this training.*run the same command again"):
        state.States(tmp_path / "s").load()
    assert part.is_dir()
    assert f"waiting 0 s for process {holder.pid} on" in capfd.readouterr().err
    holder.kill()
    assert state.States(tmp_path / "s").load() is None


def test_a_job_waits_for_its_dying_predecessor(tmp_path, holder):
    wait = threading.Timer(0.4, holder.kill)
    wait.start()
    start = time.monotonic()
    assert state.States(tmp_path / "s").load() is None
    assert 0.3 < time.monotonic() - start < 20
    wait.join()


def test_the_folder_of_a_finished_training_is_free(tmp_path):
    states = state.States(tmp_path / "s")
    states.load()
    states.clear()
    assert not (tmp_path / "s").exists()
    run = subprocess.run([sys.executable, "-c", HOLD, str(tmp_path / "s")], cwd=ROOT, stdin=subprocess.DEVNULL)
    assert run.returncode == 0


def test_states_that_nobody_went_on_with_for_a_month_are_deleted(tmp_path):
    old = time.time() - 31 * 86_400
    for name, age in {"a" * 32: old, "b" * 32: time.time(), "c" * 32: old, "encodings": old, "0" * 31: old}.items():
        filled(tmp_path / name, 1)
        os.utime(tmp_path / name, (age, age))
    state.States(tmp_path / ("c" * 32)).load()  # gone on with after a long time
    assert len(names(tmp_path)) == 5
    state.States(tmp_path / ("d" * 32)).load()
    assert names(tmp_path) == ["0" * 31, "b" * 32, "c" * 32, "d" * 32, "encodings"]


# ---- several ranks
def on_ranks(folder: Path, ranks: int, layout: str, work) -> list:
    """work(states, rank) on `ranks` threads, each with its States; the results, or what was raised, by rank."""
    barrier, results, numbers = threading.Barrier(ranks, timeout=20), [None] * ranks, [0] * ranks

    def one(rank: int) -> None:
        def agree(number: int) -> int:
            numbers[rank] = number
            barrier.wait()
            most = max(numbers)
            barrier.wait()
            return most

        try:
            results[rank] = work(state.States(folder, rank, ranks, layout, barrier.wait, agree), rank)
        except (Exception, SystemExit) as error:
            results[rank] = error

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
        states.save(lambda: state.collect(*parts, World(rank, ranks, layout)), {"step": 7})

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
    streams = [torch.Generator().manual_seed(n).get_state() for n in (5, 6)]

    def work(states, rank):
        parts = state.collect(*training(1), World(rank, 2))
        states.save(lambda: parts | {"random/cpu": streams[rank]}, {})
        return states.load().tensors["random/cpu"]

    found = on_ranks(tmp_path, 2, "whole", work)
    assert all(map(torch.equal, found, streams))


def loaded(folder: Path) -> list[str]:
    """The name of the state that each of two sharded ranks goes on from."""
    return on_ranks(folder, 2, "sharded", lambda states, rank: states.load().path.name)


def test_one_damaged_rank_makes_all_ranks_use_the_older_state(tmp_path):
    for seed in (1, 2):
        save_all(tmp_path, 2, "sharded", seed)
    flip(tmp_path / "000002" / "rank1.safetensors")
    assert loaded(tmp_path) == ["000001", "000001"]


def test_what_could_not_be_read_once_is_whole_the_next_time(tmp_path, monkeypatch, capfd):
    for seed in (1, 2):
        save_all(tmp_path, 2, "sharded", seed)
    before, check = sorted(tmp_path.rglob("*")), statefiles.sha256

    def broken(part: str):
        def read(path):
            if part in str(path):
                raise OSError(errno.ESTALE, "Stale file handle")
            return check(path)

        monkeypatch.setattr(statefiles, "sha256", read)

    broken("000002/rank1")
    assert loaded(tmp_path) == ["000001", "000001"]
    assert capfd.readouterr().err.count("000002: this state could not be read: ") == 1
    broken("rank1")  # of all states: no reason to start anew
    errors = on_ranks(tmp_path, 2, "sharded", lambda states, rank: states.load())
    assert isinstance(errors[0], SystemExit) and errors[0].code == 1
    assert isinstance(errors[1], UserError) and "no state could be read ([Errno" in str(errors[1])
    monkeypatch.undo()
    assert loaded(tmp_path) == ["000002", "000002"]
    assert sorted(path for path in tmp_path.rglob("*") if path.name != statelock.LOCK) == before


@pytest.mark.parametrize("where", ["write", "collect"])
def test_a_state_that_one_rank_could_not_write_ends_all_with_its_words(tmp_path, monkeypatch, where):
    save_all(tmp_path, 3, "sharded")
    write = statefiles.write_tensors

    def full(path, tensors):
        if path.name != "rank0.safetensors":
            raise UserError(f"{path.name}: could not be written")
        write(path, tensors)

    def collect(rank: int) -> dict:
        if where == "collect" and rank == 1:
            raise MemoryError("rank 1")
        return {"weight/a": torch.ones(1)}

    if where == "write":
        monkeypatch.setattr(statefiles, "write_tensors", full)
    work = lambda states, rank: states.save(lambda: collect(rank), {})  # noqa: E731
    found = on_ranks(tmp_path, 3, "sharded", work)
    assert [getattr(error, "code", None) for error in found] == [1, None, 1]
    assert str(found[1]) == {"write": "rank1.safetensors: could not be written", "collect": "rank 1"}[where]
    assert names(tmp_path) == ["000001"]


def test_what_cannot_be_cut_in_rows_is_refused_before_anything_changes(tmp_path):
    """An 8-bit optimiser keeps blocks of 256 numbers and their sizes."""
    model, optimiser, pending, best = training(1)
    for kept in optimiser.state.values():
        kept |= {"exp_avg": torch.ones(20, dtype=torch.uint8), "absmax": torch.ones(2)}
    state.States(tmp_path).save(lambda: state.collect(model, optimiser, pending, best, World()), {})
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
    state.States(tmp_path).save(lambda: state.collect(*training(1), World()), {})
    other = torch.nn.ParameterDict({"a": torch.nn.Parameter(torch.ones(4, 2)), "b": torch.nn.Parameter(torch.ones(3))})
    with pytest.raises(UserError, match=r"a is \(5, 2\) in it and \(4, 2\) in the model.*Delete .* to start anew"):
        state.restore(state.States(tmp_path).load(), other, Optimiser(other), World())
    assert (other["b"] == 1).all()


def test_tensors_that_share_memory_are_saved(tmp_path):
    model, optimiser, pending, best = training(1)
    book = torch.arange(256.0)
    for kept in optimiser.state.values():
        kept["book"] = book
    state.States(tmp_path).save(lambda: state.collect(model, optimiser, pending, best, World()), {})
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
    state.States(tmp_path).save(lambda: state.collect(model, optimiser, pending, best, world), {})
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


def test_long_work_is_given_up_at_the_first_signal(capfd):
    before, done = signal.signal(signal.SIGTERM, lambda *_: None), []
    try:
        with Interrupts() as interrupts:
            with interrupts.raising():
                done.append("whole")
            with pytest.raises(Stop), interrupts.raising():
                os.kill(os.getpid(), signal.SIGTERM)
                done.append("too much")
            assert interrupts.stop == signal.SIGTERM
            os.kill(os.getpid(), signal.SIGTERM)  # nothing to give up any more
            with pytest.raises(Stop), interrupts.raising():
                done.append("begun although it was told to stop")
        with Interrupts() as interrupts:
            with interrupts.raising():
                pass
            os.kill(os.getpid(), signal.SIGTERM)  # outside: between two steps
            done.append(interrupts.stop)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert done == ["whole", signal.SIGTERM]


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
MIXTURE = runner.job_spec("mnli", "udpos", "mlm", steps=70, sampling={"method": "uniform"})
# trimmed, and scored on so few examples, with so low a rate, that the best look ties with later ones
PLATEAU = {"eval_every": 3, "eval_examples": 7, "patience": 12, "learning_rate": 1e-4}
THREE = runner.job_spec("mnli", "udpos", "qqp", steps=90, sampling={"method": "uniform"}, hyper=PLATEAU)
# the rate is too low to leave the majority
FAILING = runner.job_spec(
    "mnli", stage="target", intermediate="none", hyper={"max_steps": 25, "learning_rate": 1e-12, "restarts": 1}
)
SIGNALS = (TERM, INT, KILL)
EIGHT = [[SIGNALS[n % 3], "state" if n % 2 else "step", "none", 3] for n in range(6)]
EIGHT += [[KILL, "checkpoint", "none", 1], [TERM, "checkpoint", "none", 1]]  # told to stop then, it comes to its end
# the first look is given up twice
TWELVE = [[SIGNALS[n % 3], ("look", "step", "look", "state")[n // 3], "none", 1 if n < 2 else 6] for n in range(12)]
DAMAGED = [[TERM, "step", "none", 3], [INT, "step", "newest", 3], [KILL, "step", "all", 3], [TERM, "step", "none", 3]]
FAILED = [[(KILL, TERM)[n % 2], "state", "none", 3] for n in range(8)]
JOBS = {  # name: spec, options, kills
    "mixture": (MIXTURE, [], []),
    "mixture, killed": (MIXTURE, [], EIGHT),
    "three": (THREE, [], []),
    "three, prepared ahead": (THREE, ["--prefetch", "4"], []),
    "three, killed": (THREE, ["--prefetch", "4"], TWELVE),
    "damaged": (MIXTURE, [], DAMAGED),
    "failing": (FAILING, [], []),
    "failing, killed": (FAILING, [], FAILED),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """All jobs, done: (folder, {name: exit statuses})."""
    root = tmp_path_factory.mktemp("runs")
    fetch.fetch({"model": "tiny", "source": {"type": "random"}, "identity": {}}, root / "model")
    runner.write_examples(root / "examples", 40, 12)
    return root, runner.do([runner.job(root, name, *what) for name, what in JOBS.items()])


def assert_equal_ends(root: Path, name: str, whole: str) -> None:
    """The same result to the byte, and the same record but for times."""
    for file in ("model.safetensors", "config.json"):
        assert (root / name / "out" / file).read_bytes() == (root / whole / "out" / file).read_bytes(), file
    ours, theirs = (json.loads((root / one / "out/train.json").read_text()) for one in (name, whole))
    for record in (ours, theirs):
        for attempt in record["attempts"]:
            for key in [key for key in attempt if key.endswith("seconds")]:
                attempt.pop(key)
    for key in ("losses", "dev", "selected_step", "tokens", "examples", "steps", "stopped", "failed", "attempts"):
        assert ours[key] == theirs[key], key
    left = [path.name for path in (root / name / "work").iterdir()]
    assert [one for one in left if one not in ("encodings", "peaks.json", "gpus")] == [], "states of a finished run"


def assert_killed(log: str, statuses: list[int], kills: list) -> None:
    """Each run died of its kill, or stopped because of it and said so; each but the first went on."""
    assert statuses[: len(kills)] == [-KILL if number == KILL else 128 + number for number, *_ in kills]
    told = sum(number != KILL for number, *_ in kills)
    assert log.count("the same command goes on from there") == told
    assert log.count("resuming at step") == len(statuses) - 1 and "damaged" not in log


def test_twenty_kills_at_random_moments_end_in_the_bytes_of_an_uninterrupted_run(runs):
    root, statuses = runs
    assert statuses["mixture"] == [0]
    assert statuses["mixture, killed"][6:] == [-KILL, 0]
    assert_killed((root / "mixture, killed" / "log").read_text(), statuses["mixture, killed"], EIGHT[:6])
    assert_equal_ends(root, "mixture, killed", "mixture")
    assert statuses["three, killed"][12:] == [0]
    log = (root / "three, killed" / "log").read_text()
    assert_killed(log, statuses["three, killed"], TWELVE)
    assert log.count("stopped at step 3:") == 2
    assert_equal_ends(root, "three, killed", "three")


def test_of_equal_looks_the_first_counts_and_patience_ends_it(runs):
    """What the killed runs must bring out, too: ties, an end before the last step, rows that no batch touched."""
    root, _ = runs
    record = json.loads((root / "three/out/train.json").read_text())
    looks = [line for line in (root / "three/log").read_text().splitlines() if "  dev {" in line]
    means = [dev.mean(json.loads(line.split("  dev ")[1])) for line in looks]
    best = means.index(max(means))
    assert len(record["dev"]) == 3 and record["selected_step"] == 3 * (best + 1)
    assert means.count(max(means)) > 1
    assert record["stopped"]["step"] == record["selected_step"] + 3 * 12 < record["steps"]
    tensors = load_file(root / "three/out/model.safetensors")
    decay = [tensor for name, tensor in tensors.items() if name.endswith(".decay")]
    assert len(decay) == 1 and 0 < float(decay[0]) < 1


def test_a_tie_is_a_tie_whatever_the_order_of_the_tasks():
    """A state comes back with its tasks sorted by name."""
    values = {"mnli": 57.1429, "udpos": 68.8889, "qqp": 85.7143}  # a plain sum has two results
    means = {dev.mean({name: {"value": values[name]} for name in order}) for order in permutations(values)}
    assert len(means) == 1


def test_batches_prepared_ahead_change_nothing(runs):
    root, _ = runs
    assert_equal_ends(root, "three, prepared ahead", "three")


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
