"""The report's tables and rows of shallow baselines: what a score is worth."""

from __future__ import annotations

from statistics import fmean

from xstilts.report import setting, style
from xstilts.report.contents import Contents
from xstilts.report.style import number, signed
from xstilts.report.tables import Cell, Table

QA = "QA targets: mean of F1 and exact match."
SHALLOW = "(shallow)"  # stands in the column of models


def bracket(low: float, high: float) -> str:
    """`[−0.3, 2.8]`."""
    return f"[{number(low)}, {number(high)}]"


def difference(row: dict | None) -> Cell:
    """A gain with its interval below, marked up or down where the interval excludes 0; a dash for nothing."""
    if row is None:
        return Cell("–", "none")
    css = "up" if row["ci_low"] > 0 else "down" if row["ci_high"] < 0 else ""
    return Cell(signed(row["gain"]), css, small=bracket(row["ci_low"], row["ci_high"]))


def listed(values: dict[str, float]) -> str:
    """`word overlap 12.3, anchor-free overlap 1.0`, strongest first."""
    ranked = sorted(values.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{style.baseline(name)} {number(value)}" for name, value in ranked)


def strongest(contents: Contents) -> list | None:
    """A row under the scores: the strongest baseline of each target; for retrieval all. None where there is none."""
    row: list = [SHALLOW, "strongest"]
    for target in contents.targets:
        values = contents.shallow(target, "mean_non_en")
        if not values:
            row.append(Cell("–", "none"))
            continue
        best = max(values, key=lambda name: values[name])
        others = {name: value for name, value in values.items() if name != best}
        retrieval = contents.spec["targets"][target]["kind"] == "retrieval"
        small = style.baseline(best) + (f"; {listed(others)}" if retrieval and others else "")
        row.append(Cell(number(values[best]), "named", small=small))
    return row if any(cell.text != "–" for cell in row[2:]) else None


def by_language(contents: Contents, target: str, codes: list[str]) -> list[list]:
    """A row for each baseline of a target under its languages: values, the non-English mean, the gap to English."""
    rows = []
    for name in contents.shallow_names(target):
        values = [contents.shallow(target, code).get(name) for code in codes]
        mean = contents.shallow(target, "mean_non_en").get(name)
        row = [SHALLOW, style.baseline(name), *(Cell(number(v), "none" if v is None else "") for v in values)]
        row.append(number(mean))
        if "en" in codes:
            english = values[codes.index("en")]
            row.append(number(None if english is None or mean is None else english - mean))
        rows.append(row)
    return rows


def baselines(contents: Contents) -> Table:
    """Shallow baselines, the chosen intermediate against the strongest of them, and published numbers."""
    published = contents.published_scores()
    rows = []
    for target in contents.targets:
        row: list = [style.target(target), listed(contents.shallow(target, "mean_non_en")) or "–"]
        for model in contents.models:
            name = contents.choice.get((model, target))
            score = contents.score(model, name, target, "mean_non_en") if name else None
            over = difference(contents.over_baseline.get((model, target, "mean_non_en")))
            small = f"{contents.label(name, target)}, {over.text} {over.small}" if name else ""
            row.append(Cell("–", "none") if score is None else Cell(number(score), over.css, small=small))
        known = published.get(target, {})
        rows.append([*row, number(known.get("none")), number(known.get("best"))])
    caption = (
        "Mean over the non-English languages. Each model with the intermediate chosen on English dev (retrieval: "
        "none); below it the difference to the strongest shallow baseline with its paired 95 % interval, in colour "
        "where that excludes 0. Published: XLM-R large on the full XTREME test sets, English included, plain and with "
        "the best intermediate per target (X-STILTs)"
    )
    again = setting.replication(contents)
    caption += f"; {again}. " if again else ". "
    columns = ["target", "shallow baselines", *contents.models, "published: XLM-R large", "published: X-STILTs"]
    return Table("baselines", caption + QA, columns, rows, 2)


def intermediates(contents: Contents) -> Table:
    """Shallow baselines of the intermediate tasks' English dev sets beside what the models reach there."""
    tasks = [task for task in style.intermediates(contents.shallow_tasks()) if task not in contents.spec["targets"]]
    rows = []
    for task in tasks:
        metric = "f1" if any(row["metric"] == "f1" for row in contents.shallow_rows(task)) else "accuracy"
        row: list = [style.task(task), metric, listed(contents.shallow(task, "en", metric))]
        rows.append([*row, *(_trained(contents, model, task) for model in contents.models)])
    caption = (
        "Shallow baselines on the English dev sets of the intermediate tasks. Beside them what the intermediate "
        "trainings reach on the same sets, mean over seeds: the task's own training, or else, as the second line "
        "says, those mixtures that hold it. How much of such a score needs no encoder?"
    )
    return Table("intermediate_baselines", caption, ["task", "metric", "shallow baselines", *contents.models], rows, 3)


def _trained(contents: Contents, model: str, task: str) -> Cell:
    """Mean dev score of a task over the seeds of its own intermediate training, else of the mixtures'."""
    values: dict[str, list[float]] = {}
    for (name, intermediate, _), record in contents.intermediate_records.items():
        if name == model and task in record.get("dev", {}):
            values.setdefault(intermediate, []).append(record["dev"][task]["value"])
    if not values:
        return Cell("–", "none")
    names = [task] if task in values else sorted(values)
    mean = fmean(value for name in names for value in values[name])
    return Cell(number(mean), small="" if names == [task] else ", ".join(names))
