"""Sharing the artifact store through DVC with a folder as remote."""

import subprocess
import sys

import pytest

from xstilts import share
from xstilts.errors import UserError
from xstilts.identity import ROOT

HASHES = ["a" * 64, "b" * 64, "c" * 64]


def dvc(root, *arguments):
    subprocess.run([sys.executable, "-m", "dvc", *arguments, "--quiet"], cwd=root, check=True, capture_output=True)


@pytest.fixture
def clones(tmp_path):
    """Two clones of one repository with a folder remote."""
    origin = tmp_path / "one"
    origin.mkdir()
    subprocess.run(["git", "init", "-q"], cwd=origin, check=True)
    (origin / ".dvc").mkdir()
    for name in (".dvc/config", ".dvc/.gitignore", ".gitignore", "data.dvc"):
        (origin / name).write_bytes((ROOT / name).read_bytes())
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", "add", "-A"], cwd=origin, check=True)
    subprocess.run(["git", *identity, "commit", "-qm", "start"], cwd=origin, check=True)
    other = tmp_path / "two"
    subprocess.run(["git", "clone", "-q", str(origin), str(other)], check=True)
    for root in (origin, other):
        dvc(root, "remote", "add", "--local", "-d", "store", str(tmp_path / "remote"))
        (root / "data").mkdir(exist_ok=True)
    return origin, other


def put(root, entry, text):
    for name in ("model.safetensors", "config.json"):
        (root / "data" / f"{entry}_{name}").write_text(f"{text} {name}")


def names(root):
    return {path.name for path in (root / "data").iterdir()}


def test_pull_takes_the_union_and_loses_nothing_local(clones):
    one, two = clones
    put(one, HASHES[0], "first")
    assert "git add data.dvc" in share.push(one)
    put(two, HASHES[1], "second")
    (two / "data.dvc").write_bytes((one / "data.dvc").read_bytes())
    text = share.pull(two)
    assert "2 new files" in text
    assert len(names(two)) == 4
    assert (two / "data" / f"{HASHES[0]}_model.safetensors").read_text() == "first model.safetensors"
    assert (two / "data" / f"{HASHES[1]}_model.safetensors").read_text() == "second model.safetensors"
    share.push(two)
    (one / "data.dvc").write_bytes((two / "data.dvc").read_bytes())
    share.pull(one)
    assert names(one) == names(two)


def test_pull_again_changes_nothing(clones):
    one, two = clones
    put(one, HASHES[0], "first")
    share.push(one)
    (two / "data.dvc").write_bytes((one / "data.dvc").read_bytes())
    share.pull(two)
    pointer = (two / "data.dvc").read_bytes()
    assert "0 new files" in share.pull(two)
    assert (two / "data.dvc").read_bytes() == pointer == (one / "data.dvc").read_bytes()


def test_without_a_remote_the_message_says_what_to_configure(tmp_path, clones):
    one, _ = clones
    (one / ".dvc" / "config.local").unlink()
    for action in (share.push, share.pull):
        with pytest.raises(UserError, match="dvc remote add"):
            action(one)
    assert "no default remote" in share.status(one)


def test_status_counts_what_is_where(clones):
    one, _two = clones
    put(one, HASHES[0], "first")
    share.push(one)
    put(one, HASHES[1], "new")
    text = share.status(one)
    assert "here, not in the pointer: 2" in text and "in the pointer, not here: 0" in text


def test_drop_deletes_the_entry_behind_an_output_and_nothing_else(clones):
    one, _ = clones
    put(one, HASHES[0], "first")
    put(one, HASHES[1], "second")
    output = one / "results" / "model.safetensors"
    output.parent.mkdir()
    output.symlink_to(one / "data" / f"{HASHES[0]}_model.safetensors")
    share.drop(["results/model.safetensors"], one)
    assert names(one) == {f"{HASHES[1]}_model.safetensors", f"{HASHES[1]}_config.json"}
    with pytest.raises(UserError, match="no link into the artifact store"):
        share.drop(["data.dvc"], one)
    assert len(names(one)) == 2


def test_a_missing_remote_folder_is_an_error_and_keeps_the_store(clones, tmp_path):
    one, two = clones
    put(one, HASHES[0], "first")
    share.push(one)
    put(two, HASHES[1], "second")
    (two / "data.dvc").write_bytes((one / "data.dvc").read_bytes())
    (tmp_path / "remote").rename(tmp_path / "gone")
    with pytest.raises(UserError, match="remote 'store' lacks"):
        share.pull(two)
    assert len(names(two)) == 2
    assert (two / "data.dvc").read_bytes() == (one / "data.dvc").read_bytes()
