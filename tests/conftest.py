"""Fixtures that several test files share."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def real_root() -> Path:
    """Folder of real XTREME subsets (XSTILTS_REAL, else ../shared/real beside the project); absent: skip."""
    root = Path(os.environ.get("XSTILTS_REAL", ROOT.parent / "shared" / "real"))
    if not (root / "xnli").is_dir():
        pytest.skip(f"no real data at {root}: set XSTILTS_REAL to a folder in the layout of docs/data.md")
    return root
