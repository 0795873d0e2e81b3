"""Where a study's data and models lie: the user's folders, checked at planning, and what stands in without them."""

from __future__ import annotations

from pathlib import Path

from xstilts.data import ccgbank
from xstilts.errors import UserError
from xstilts.models import folder


def expand(study) -> None:
    """Replace ~ in `data_root` and `licensed`; UserError where a folder that the study names is not there."""
    config = study.config
    for key, block in (("data_root", config), ("ccgbank", config["licensed"])):
        if not block[key]:
            continue
        name = key if block is config else f"licensed.{key}"
        path = folder.expanded(block[key], f"{study.file}: {name}")
        if not (path.is_dir() or (key == "ccgbank" and path.exists())):
            raise UserError(
                f"{study.file}: {name}: {block[key]!r} is not allowed. Allowed: "
                + ("an existing folder (docs/data.md)" if block is config else ccgbank.ALLOWED)
            )
        block[key] = str(path)


def check(study) -> None:
    """Licensed data and local models have the files that their jobs will read. Raises UserError."""
    for task in study.trained_tasks():
        source, parts = study.source(task)
        for part in parts if source == "licensed" else ():
            for split in study.train_splits(task):
                name = part["splits"].get(split)
                name = name["from"] if isinstance(name, dict) else name
                key = part["path_key"]
                try:
                    ccgbank.files(Path(study.config["licensed"][key]), name or split)
                except UserError as error:
                    raise UserError(f"{study.file}: licensed.{key}: {error}") from None
    for name in study.models:
        source = study.catalog.models[name].identity["source"]
        if source["type"] == "local":
            where = f"catalog/models/{name}.yaml"
            folder.files(folder.place(source, study.catalog.root, where), where)


def stand_ins(study) -> list[str]:
    """Notices of generated data in place of real: of licensed data always, of other data where a source was preferred.

    A study on `sources: [embedded]` alone asks for generated data and is told of licensed tasks only.
    """
    found, fallen = [], []
    before = study.config["sources"][: study.config["sources"].index("embedded")] if _generates(study) else []
    for task in study.data_tasks() if _generates(study) else ():
        if study.source(task)[0] != "embedded":
            continue
        entry = study.catalog.tasks[task]
        if "licensed" in entry.sources:
            title, gate = (entry.documentation.get(key, "") for key in ("title", "gate"))
            order = "" if "licensed" in before else "put `licensed` before `embedded` in `sources`, or "
            found.append(
                f"{task} is a generated stand-in and not {title}, which is licensed: its scores say nothing about the "
                f"real task. {gate} Next: {order or 'give its path, or '}leave {task} out."
            )
        elif set(before) & set(entry.sources):
            fallen.append(task)
    if fallen:
        found.append(
            f"generated data stands in for {', '.join(fallen)}, for which no source of {', '.join(before)} can be used "
            f"(data_root: {'given' if study.config['data_root'] else 'not given'}). Scores on it are not XTREME's. "
            "Next: give the data (docs/data.md), or take `embedded` out of `sources`."
        )
    return found


def _generates(study) -> bool:
    return "embedded" in study.config["sources"]
