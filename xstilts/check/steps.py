"""The numbered `Next:` of `xstilts check`: exact commands, in order, from what a study lacks to its run."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterator

from xstilts import mixing
from xstilts.check import needs
from xstilts.check.needs import Need
from xstilts.fetch.problems import problems
from xstilts.study import Study, options

FOLDER = "DIR"  # where the user has named no data_root yet


def text(study: Study, rows: list[Need], changes: dict, width: int) -> str:
    """`Next:` and its steps: a command on a line of its own, below it why and what to mind."""
    lines, number = ["Next:"], 0
    for command, why in steps(study, rows, changes):
        if not command:
            lines += ["", f"  Where the run has no network, in place of step {number}:"]
            continue
        number += 1
        lines.append(f"  {number}. {command}")
        lines += textwrap.wrap(
            why,
            width,
            initial_indent=" " * 5,
            subsequent_indent=" " * 5,
            break_long_words=False,
            break_on_hyphens=False,
        )
    return "\n".join(lines)


def steps(study: Study, rows: list[Need], changes: dict) -> Iterator[tuple[str, str]]:
    """(command, what to know about it) in order; where no command can do a step, words take its place.

    An empty command: the steps after it are for a run without network, in place of the step before it.
    """
    file, folder = shlex.quote(study.file), study.config["data_root"] or FOLDER
    given = {key: value for key, value in changes.items() if key != "data_root"}
    if order := _order(study):
        yield from _other_order(study, order, changes)
        return
    left = [need for need in rows if not need.here and (need.source in ("hub", "wheel") or _mined(study, need))]
    pools = [need.name for need in left if _mined(study, need)]
    own = [need for need in rows if need.absent and need.name not in pools]
    if study.unpinned() or problems(study).unpinned:
        yield (
            f"python -m xstilts pin {file}{options(changes)}",
            "Needs network. Writes commits, sizes and digests into catalog/revisions.lock; commit that file. Where "
            "another machine has pinned already, copy its catalog/revisions.lock instead.",
        )
    fetch = f"python -m xstilts fetch {file} --to {shlex.quote(folder)}{options(given)}"
    brings = f"Needs network. Brings {needs.amount(left)}; the same command goes on where it was stopped."
    brings += f" {FOLDER}: any folder with room for it." if folder == FOLDER else ""
    if pools:
        yield fetch, brings
    for task in pools:
        yield _pools(study, task, folder)
    if own:
        names = ", ".join(need.name for need in own)
        yield f"put the missing files of {names} in place", "Their names stand above; layout and fields: docs/data.md."
    for task in _licensed(study):
        yield (
            f"optional: write `licensed: {{{task[1]}: PATH}}` into {study.file}",
            f"Without it {task[0]} is left out. PATH: your licensed copy (docs/data.md).",
        )
    at = {"data_root": folder}
    here = {**given, **at} if "data_root" in changes else given
    there = {**given, **at} if "data_root" in changes or folder == FOLDER else given
    if pools or own:
        use = there if pools else here
        yield f"python -m xstilts check {file}{options(use)}", "Nothing should be in the way any more."
    report = f"The report: results/{study.name}/report.html."
    offline = "HF_HUB_OFFLINE=1 " if any(need.source == "hub" for need in rows) else ""
    no_network = " HF_HUB_OFFLINE=1: no job asks the network." if offline else ""
    if pools or not left:
        yield _run(file, there if pools else here, offline), report + no_network
        return
    yield _run(file, here), f"Its jobs download what is missing: {needs.amount(left)}. {report}"
    yield "", ""
    yield fetch, brings
    yield _run(file, there, offline), report + no_network


def _run(file: str, changes: dict, offline: str = "") -> str:
    arguments = options(changes, "--config ")
    return f"{offline}make run STUDY={file}" + (f" ARGS={shlex.quote(arguments)}" if arguments else "")


# ---- pools of mining
def _mined(study: Study, need: Need) -> bool:
    return need.name in study.targets and study.mines(need.name)


def _order(study: Study) -> list[str]:
    """The study's sources with `local` before `hub`, where mining cannot read its pools without that; else nothing."""
    order = study.config["sources"]
    for task in filter(study.mines, study.targets):
        before = order[: order.index("hub")] if study.source(task)[0] == "hub" else ["local"]
        if "local" not in before and study.catalog.tasks[task].sources.get("local"):
            return list(dict.fromkeys([*before, "local", *order]))
    return []


def _other_order(study: Study, order: list[str], changes: dict) -> Iterator[tuple[str, str]]:
    """What to do where no pools can be read: all that follows depends on it."""
    tasks = ", ".join(task for task in study.targets if study.mines(task) and study.source(task)[0] == "hub")
    yield (
        f"{tasks}: write `sources: [{', '.join(order)}]`, or leave {tasks} out of `targets`, in {study.file}",
        f"Its pools are source `local`, which sources: [{', '.join(study.config['sources'])}] does not read before "
        "`hub`; the hub has gold pairs alone.",
    )
    use = {key: order if key == "sources" else value for key, value in changes.items()}
    yield (
        f"python -m xstilts check {shlex.quote(study.file)}{options(use)}",
        "Says what to do then.",
    )


def _pools(study: Study, task: str, folder: str) -> tuple[str, str]:
    """Where the pools of a mining task can come from."""
    local = study.catalog.tasks[task].sources.get("local", [])
    part = next((part for part in local if part.get("archives")), local[-1] if local else {})
    names = sorted({name["from"] if isinstance(name, dict) else name for name in part.get("splits", {}).values()})
    codes = study.languages(task)
    place = f"{folder}/{part.get('folder', task)}/{codes[0] if len(codes) == 1 else '<' + ', '.join(codes) + '>'}/"
    place += f"{{{','.join(names)}}}_{{source,target,gold}}.jsonl"
    hosts = [archive["url"].split("/")[2] for archive in part.get("archives", [])]
    asked = f"The step before asks {hosts[0]}, which may be gone. If it is, put" if hosts else "Put"
    why = f"{asked} a copy from elsewhere at {place} (docs/data.md), or leave {task} out of `targets` in {study.file}."
    return f"{task}: see that its pools are there", why


def _licensed(study: Study) -> list[tuple[str, str]]:
    """(task, key of `licensed`) of the tasks that the grid asks for and that only a licensed copy would bring in."""
    config = study.config
    asked = [name for block in config["grid"] for name in block["intermediates"]]
    asked += [task for name in asked if name in config["mixtures"] for task in _mixed(study, name)]
    return [
        (task, part["path_key"])
        for task in dict.fromkeys(asked)
        if task in study.catalog.tasks and task not in study.data_tasks() and "licensed" in config["sources"]
        for part in study.catalog.tasks[task].sources.get("licensed", [])[:1]
    ]


def _mixed(study: Study, name: str) -> list[str]:
    tasks = study.config["mixtures"][name]["tasks"]
    tasks = [tasks] if isinstance(tasks, str) else tasks
    return [
        one
        for task in tasks
        for one in (mixing.of_all(study, study.catalog.intermediates) if task == "all" else [task])
    ]
