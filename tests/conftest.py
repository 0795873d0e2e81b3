"""Fixtures that several test files share."""

import os
from contextlib import contextmanager
from pathlib import Path

import pytest
from fake_hub import FakeHub

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def real_root() -> Path:
    """Folder of real XTREME subsets (XSTILTS_REAL, else ../shared/real beside the project); absent: skip."""
    root = Path(os.environ.get("XSTILTS_REAL", ROOT.parent / "shared" / "real"))
    if not (root / "xnli").is_dir():
        pytest.skip(f"no real data at {root}: set XSTILTS_REAL to a folder in the layout of docs/data.md")
    return root


@pytest.fixture
def killed_at(monkeypatch):
    """A context manager: trainings in it keep a state after every step and are killed before step `number`."""
    from xstilts.training import run, state

    @contextmanager
    def killed(number: int):
        step = run.Run._step

        def _step(self, item, now):
            if now == number:
                raise KeyboardInterrupt
            return step(self, item, now)

        with monkeypatch.context() as patched:
            patched.setattr(run.Run, "_step", _step)
            patched.setattr(state.States, "due", lambda self: True)
            with pytest.raises(KeyboardInterrupt):
                yield

    return killed


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A local hub, and this process (with those that it starts) set to use it with a cache in `tmp_path/hf`."""
    from huggingface_hub import constants

    # read from the environment when the library is imported, maybe long before this test
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with FakeHub() as server:
        for key, value in server.environment(tmp_path / "hf").items():
            monkeypatch.setenv(key, value)
        yield server
