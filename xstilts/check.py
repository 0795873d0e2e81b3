"""`xstilts check STUDY`: what a study needs and what is missing, before anything starts."""

from __future__ import annotations

from pathlib import Path

import yaml

from xstilts import study as studies
from xstilts.errors import UserError
from xstilts.identity import ROOT
from xstilts.outputs import Outputs
from xstilts.specs import Specs


def load_file(path: str | Path, changes: dict | None = None, root: Path = ROOT) -> studies.Study:
    """Read and check a study file, with `changes` to its top-level keys (as Snakemake's --config).

    Raises UserError for a missing file, broken YAML or a wrong entry.
    """
    try:
        config = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}. Allowed: config.yaml, a file of studies/, or your own.") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not YAML: {error}") from error
    return studies.load({**config, **(changes or {})} if isinstance(config, dict) else config, str(path), root)


def check(path: str | Path, changes: dict | None = None, root: Path = ROOT) -> str:
    """A page of text: size of the grid, trainings, sources and licences, and everything that stands in the way."""
    study = load_file(path, changes, root)
    jobs, files = Specs(study), Outputs(study)
    trainings = sum(len(study.training_tasks(targets)) for targets in study.cells.values())
    intermediates = sum(1 for _, name, _ in study.cells if name != studies.NONE)
    lines = [
        f"study {study.name} ({study.file})",
        f"  {len(study.cells)} cells: models {', '.join(study.models)}; "
        f"intermediates {', '.join(study.intermediates)}; seeds {study.seeds}",
        f"  {intermediates} intermediate and {trainings} target trainings, {len(study.attack_cells)} attack runs",
        "data:",
    ]
    missing = []
    for task in study.data_tasks():
        source, parts = study.source(task)
        documented = study.catalog.tasks[task].documentation.get("licence", "not stated")
        licence = "generated here, MIT" if source == "embedded" else documented
        ids = ", ".join(
            dict.fromkeys(
                str(part.get("id") or part.get("folder") or part.get("generator") or source) for part in parts
            )
        )
        unverified = " [fields unverified]" if any(part.get("status") == "unverified" for part in parts) else ""
        lines.append(f"  {task:15s} {source:9s} {ids}{unverified}; licence: {licence}")
    for task in study.trained_tasks():
        missing += [name for name in files.local_files(jobs.prepare_train(task)) if not Path(name).is_file()]
    for target in study.targets:
        missing += [name for name in files.local_files(jobs.prepare_test(target)) if not Path(name).is_file()]
    lines.append("in the way of a real run:")
    lines += [f"  missing file: {name}" for name in dict.fromkeys(missing)]
    lines += [f"  refused: {message}" for message in study.refused()]
    lines += [f"  not pinned: {name} (python -m xstilts pin)" for name in study.unpinned()]
    lines += [f"  note: {notice}" for notice in study.notices]
    if lines[-1].endswith("run:"):
        lines.append("  nothing")
    return "\n".join(lines)
