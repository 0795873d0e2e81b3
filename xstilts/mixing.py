"""Which tasks join a study: what `all` takes in, what can be used here, and what its mixtures are made of.

`study` is an `xstilts.study.Study`; xstilts/grid.py asks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from xstilts import findings, presets
from xstilts.errors import UserError
from xstilts.findings import unique

NONE = "none"
ALL = "all"
# what only some samplings use: there it is needed (True) or may be left out
SAMPLING_KEYS = {"capped": {"cap": True}, "temperature": {"temperature": True, "cap": False}}
LEAST_REST = 0.01  # of the probability, for a mixture's tasks without a share: its steps grow with 1 / rest


@dataclass(frozen=True)
class Mixture:
    """Several intermediate tasks trained as one: the tasks and how batches are drawn from them."""

    tasks: tuple[str, ...]
    sampling: dict
    steps: int | None


def of_all(study, tasks: Iterable[str]) -> list[str]:
    """What `all` takes of `tasks`: those with the study's preset, a target by its training task's.

    A task of the user's own with other presets so changes no study that does not name it. Where no task has the preset
    all stay: then the preset is what is wrong, and `grid.check` says so.
    """
    tasks, name, catalog = list(tasks), study.config["training"]["preset"], study.catalog
    return [task for task in tasks if name in presets.choices(catalog.tasks[_trained_as(study, task)])] or tasks


def say_left_out(study, tasks: Iterable[str], named: Iterable[str] = ()) -> None:
    """A notice, once, for each of `tasks` that `all` leaves out and that is not `named` beside it."""
    tasks = list(tasks)
    for task in tasks:
        if task in [*of_all(study, tasks), *named]:
            continue
        trained = _trained_as(study, task)
        owner = "it" if trained == task else f"its training task {trained}"
        notice = f"{task} is not part of `all` here: {owner} has no preset {study.config['training']['preset']}."
        if notice not in study.notices:
            study.notices.append(notice)


def _trained_as(study, task: str) -> str:
    return study.catalog.tasks[task].identity["training_task"] or task


def available(study, task: str) -> bool:
    """Whether a source of a task can be used here; if not, a notice says why."""
    try:
        study.source(task)
    except UserError as error:
        paths = f"{study.file}: sources: {study.config['sources']} (data_root: {study.config['data_root']}): "
        notice = f"{task} is left out: {str(error).removeprefix(paths)}"  # notices are in specs, which hold no path
        if notice not in study.notices:
            study.notices.append(notice)
        return False
    return True


def tasks_of(study, name: str, mixture: dict) -> list[str]:
    """The tasks that a mixture asks for; an error where its settings mean nothing."""
    catalog, at = study.catalog, f"mixtures.{name}"
    if name == NONE or name in catalog.tasks:
        raise findings.error(study, at, name, "any name that is neither `none` nor a task of the catalog")
    keys = SAMPLING_KEYS.get(mixture["sampling"], {})
    for key in ("cap", "temperature"):
        if keys.get(key) and mixture[key] is None:
            raise findings.error(study, f"{at}.{key}", None, f"a number: sampling {mixture['sampling']} needs it")
        if key not in keys and mixture[key] is not None:
            users = " and ".join(method for method, used in SAMPLING_KEYS.items() if key in used)
            raise findings.error(study, f"{at}.{key}", mixture[key], f"null: only sampling {users} can have it")
    asked = _asked(mixture)
    findings.known(study, f"{at}.tasks", asked, [ALL, *catalog.intermediates, *catalog.variants])
    every = of_all(study, catalog.intermediates)
    tasks = unique(task for item in asked for task in (every if item == ALL else [item]))
    shares = mixture["shares"]
    findings.known(study, f"{at}.shares", list(shares), tasks)
    # 0.7 + 0.2 + 0.1 is not quite 1
    if round(1 - math.fsum(shares.values()), 9) < LEAST_REST:
        allowed = f"shares that add up to at most {1 - LEAST_REST}: the other tasks have the rest"
        raise findings.error(study, f"{at}.shares", shares, allowed)
    _shares(study, name, shares, tasks, [])
    return tasks


def _asked(mixture: dict) -> list[str]:
    return [ALL] if mixture["tasks"] == ALL else mixture["tasks"]


def _shares(study, name: str, shares: dict, tasks: list[str], missing: list[str]) -> dict:
    """The fixed shares of the tasks that are there to be trained; one of these has none."""
    kept = {task: share for task, share in shares.items() if task not in missing}
    if kept and len(kept) == len(tasks) - len(missing):
        allowed = "at least one task of the mixture without a share, which has the rest"
        lost = f" (no source of {', '.join(missing)} can be used here: see `sources`)" if missing else ""
        raise findings.error(study, f"mixtures.{name}.shares", shares, allowed + lost)
    return kept


def add(study, name: str, mixture: dict, tasks: list[str]) -> None:
    """Add a mixture of the tasks that can be used, by a name that says which could not; without any, none is added."""
    if ALL in _asked(mixture):
        say_left_out(study, study.catalog.intermediates, _asked(mixture))
    missing = [task for task in tasks if not available(study, task)]
    if missing == tasks:
        study.notices.append(f"mixture {name} is left out: none of its tasks can be used.")
        return
    new = "-no-".join([name, *missing])
    if new != name and new in {*study.config["mixtures"], *study.mixtures, *study.catalog.tasks}:
        raise UserError(
            f"{study.file}: mixtures.{name}: without {', '.join(missing)}, of which no source can be used here, it is "
            f"named {new}, and that name is taken. Next: give one of the two another name."
        )
    if missing:
        study.notices.append(f"mixture {name} is trained without {', '.join(missing)} and named {new}.")
    sampling = {"method": mixture["sampling"]}
    sampling |= {key: mixture[key] for key in ("cap", "temperature") if mixture[key] is not None}
    shares = _shares(study, name, mixture["shares"], tasks, missing)
    # numbers that the paper must have had and nobody could find
    own = [f"{key} {value}" for key, value in sampling.items() if key != "method"]
    own += [f"share of {task} {share}" for task, share in shares.items()]
    if own:
        about = "this study's choice; the paper's K, T and mixing rates are not confirmed."
        study.notices.append(f"mixture {new}: {', '.join(own)}: {about}")
    study.renamed[name] = new
    kept = tuple(task for task in tasks if task not in missing)
    study.mixtures[new] = Mixture(kept, {**sampling, **({"shares": shares} if shares else {})}, mixture["steps"])
