"""What the benchmarks on real data share: where the data lie, and a model fetched as the pipeline does, once."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def data_root(task: str) -> Path | None:
    """The folder of real data (XSTILTS_REAL, else ../shared/real beside the project; layout: docs/data.md), or None
    (said on the screen) where it does not hold `task`."""
    root = Path(os.environ.get("XSTILTS_REAL", ROOT.parent / "shared" / "real"))
    if (root / task).is_dir():
        return root
    print(f"{task}: not measured: no real data at {root}; set XSTILTS_REAL to a folder in the layout of docs/data.md")
    return None


def model(name: str) -> Path:
    """The folder work/models/<name> of a catalog model, fetched where it is not there."""
    from xstilts import catalog
    from xstilts.models import fetch

    folder = ROOT / "work" / "models" / name
    if not (folder / "model.json").is_file():
        identity = catalog.load().models[name].identity
        fetch.fetch({"model": name, "source": identity["source"], "identity": identity}, folder)
    return folder
