"""The numbered `Next:` of `xstilts check`: exact commands, in order, from what a study lacks to its run."""

from __future__ import annotations

import json
import shlex
import textwrap
from collections.abc import Iterator

from xstilts.check import needs
from xstilts.check.needs import Need
from xstilts.fetch.problems import problems
from xstilts.study import Study

FOLDER = "DIR"  # where the user has named no data_root yet


def text(study: Study, rows: list[Need], changes: dict, width: int) -> str:
    """`Next:` and its steps: a command on a line of its own, below it why and what to mind."""
    lines = ["Next:"]
    for number, (command, why) in enumerate(steps(study, rows, changes), 1):
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
    """(command, what to know about it) in order; where no command can do a step, words take its place."""
    file, folder = shlex.quote(study.file), study.config["data_root"] or FOLDER
    given = {key: value for key, value in changes.items() if key != "data_root"}
    absent = [need for need in rows if not need.here and need.source in ("hub", "wheel")]
    pools = [need.name for need in rows if not need.here and need.name in study.targets and study.mines(need.name)]
    own = [need for need in rows if need.absent and need.name not in pools]
    todo = False  # something that only the user can do comes before the run
    stale = bool(study.unpinned() or problems(study).unpinned)
    if stale:
        yield (
            f"python -m xstilts pin {file}{_config(changes, ' --config ')}",
            "Needs network. Writes commits, sizes and digests into catalog/revisions.lock; commit that file. Where "
            "another machine has pinned already, copy its catalog/revisions.lock instead.",
        )
    if absent or pools:
        size, unknown, about = needs.total([*absent, *(need for need in rows if need.name in pools)])
        amounts = [f"{'about ' if about else ''}{needs.words(size)}"] if size else []
        amounts += [f"{', '.join(unknown)} of unknown size"] if unknown else []
        why = f"Needs network. Brings {' and '.join(amounts)}; the same command goes on where it was stopped."
        why += f" {FOLDER}: any folder with room for it." if folder == FOLDER else ""
        why += "" if pools else " Not needed where the run itself has network: its jobs download what is missing."
        yield f"python -m xstilts fetch {file} --to {shlex.quote(folder)}{_config(given, ' --config ')}", why
    for task in pools:
        todo = True
        yield _pools(study, task, folder)
    if own:
        todo = True
        names = ", ".join(need.name for need in own)
        yield f"put the missing files of {names} in place", "Their names stand above; layout and fields: docs/data.md."
    for task in _licensed(study):
        yield (
            f"optional: write `licensed: {{{task[1]}: PATH}}` into {study.file}",
            f"Without it {task[0]} is left out. PATH: your licensed copy (docs/data.md).",
        )
    if absent or pools or own:
        use = {**given, "data_root": folder}
        if todo or stale:
            yield (
                f"python -m xstilts check {file}{_config(use, ' --config ')}",
                "Nothing should be in the way any more.",
            )
        given = use
    elif study.config["data_root"] and "data_root" in changes:
        given = {**given, "data_root": folder}
    offline = "HF_HUB_OFFLINE=1 " if any(need.source == "hub" for need in rows) else ""
    arguments = _config(given, "--config ")
    why = f"The report: results/{study.name}/report.html."
    why += " HF_HUB_OFFLINE=1: no job asks the network." if offline else ""
    yield f"{offline}make run STUDY={file}" + (f" ARGS={shlex.quote(arguments)}" if arguments else ""), why


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
    return [one for task in tasks for one in (study.catalog.intermediates if task == "all" else [task])]


def _config(changes: dict, before: str) -> str:
    """`--config key=value ...` for a shell; nothing without changes."""
    shown = (
        f"{key}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for key, value in changes.items()
    )
    return before + " ".join(map(shlex.quote, shown)) if changes else ""
