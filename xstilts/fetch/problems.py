"""What `fetch` cannot bring, and the way out of each."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from xstilts import mixing
from xstilts.fetch import plan


class Problems(NamedTuple):
    """What `fetch` cannot bring, each a sentence with the way out, by what stands in the way."""

    unpinned: list[str]  # needs `xstilts pin`: no revision, or a lock that lacks what is needed now
    pools: list[str]  # mining whose pools no archive here has
    own: list[str]  # the user's own files, which are not copied
    left_out: list[str]  # no part of the study: none of its sources can be used

    @property
    def all(self) -> list[str]:
        return [*self.unpinned, *self.pools, *self.own, *self.left_out]


def problems(study, to: Path | None = None) -> Problems:
    """What `fetch` cannot bring; own files that are in the folder `to` already are not said."""
    return Problems(plan.collect(study)[1], _unreachable_pools(study), _own(study, to), _left_out(study))


def _unreachable_pools(study) -> list[str]:
    tasks = [task for task in study.targets if study.mines(task) and study.source(task)[0] == "hub"]
    return [f"{task}: {why}, or leave it out" for task in tasks if (why := plan.archives_refused(study, task))]


def _own(study, to: Path | None) -> list[str]:
    """Files of the user's own that the study reads: `fetch` does not copy them."""
    found, root = [], study.config["data_root"]
    fetched = {item.path.split("/")[0] for item in plan.pools(study)}
    for task in study.data_tasks():
        source, used = study.source(task)
        if source == "licensed":
            path = study.config["licensed"]["ccgbank"]
            found.append(
                f"{task}: your licensed copy {path} is not copied. Next: copy it yourself and, where its path differs "
                "there, give it with --config licensed='{ccgbank: PATH}'"
            )
        elif source == "local" and not (to and Path(root).resolve() == to.resolve()):
            folders = ", ".join(str(Path(root, part["folder"])) for part in used if part["folder"] not in fetched)
            if folders:
                found.append(f"{task}: your own data is not copied. Next: copy {folders} into the fetched folder")
    for model in study.models:
        source = study.catalog.models[model].identity["source"]
        if source["type"] == "local":
            found.append(f"model {model}: your own folder {source.get('folder')} is not copied. Next: copy it yourself")
    return found


def _left_out(study) -> list[str]:
    """Tasks that the grid asks for and that no source in use has (their cells are left out of the study)."""
    asked = [name for block in study.config["grid"] for name in block["intermediates"]]
    mixed = [study.config["mixtures"][name]["tasks"] for name in asked if name in study.config["mixtures"]]
    asked += [one for tasks in mixed for one in ([tasks] if isinstance(tasks, str) else tasks)]
    if "all" in asked:
        asked += mixing.of_all(study, study.catalog.intermediates)
    used = study.data_tasks()
    lost = [task for task in dict.fromkeys(asked) if task in study.catalog.tasks and task not in used]
    return [
        f"{task}: left out of this study, none of its sources ({', '.join(study.catalog.tasks[task].sources)}) can be "
        f"used. {study.catalog.tasks[task].documentation.get('gate', '')}".strip()
        for task in lost
    ]
