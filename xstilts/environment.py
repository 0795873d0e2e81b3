"""What the jobs of a run inherit, set when the workflow is read."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from xstilts.errors import UserError
from xstilts.identity import ROOT


def prepare(config: dict, root: Path = ROOT) -> None:
    """What jobs inherit: the artifact store as Snakemake's cache, this interpreter first on PATH, folders, GPUs.

    Paths of data go by the environment and not by the shell line, whose text enters the hash of a cached rule. The
    store must exist and be writable before any job: Snakemake 9.27.1 deletes finished outputs when it cannot store
    them (measured).
    """
    store = root / "data"
    try:
        store.mkdir(exist_ok=True)
    except OSError as error:
        raise UserError(f"{store}: the artifact store cannot be made ({error.strerror})") from error
    if not os.access(store, os.W_OK | os.X_OK):
        raise UserError(f"{store}: the artifact store is not writable. Try: chmod u+rwx data")
    os.environ["SNAKEMAKE_OUTPUT_CACHE"] = str(store)
    _drop_dangling_links(root / "results" / config["study"])
    os.environ["XSTILTS_GPUS"] = "1"  # that a training may take where its model names none: what rules book (`gpus`)
    os.environ["XSTILTS_DATA_ROOT"] = config["data_root"] or ""
    os.environ["XSTILTS_LICENSED"] = config["licensed"]["ccgbank"] or ""
    folder = str(Path(sys.executable).parent)
    if os.environ.get("PATH", "").split(os.pathsep)[0] != folder:
        os.environ["PATH"] = folder + os.pathsep + os.environ.get("PATH", "")


def _drop_dangling_links(results: Path) -> None:
    """Delete links to store entries that are gone: Snakemake takes a dangling link for a finished output (measured)."""
    for folder in ("examples", "gold", "models", "encoders", "targets"):
        for path in (results / folder).rglob("*"):
            if path.is_symlink() and not path.exists():
                print(f"note: {path} pointed to a missing entry of data/; it is made again", file=sys.stderr)
                path.unlink()
