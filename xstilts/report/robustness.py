"""The tables of the section on attacks."""

from __future__ import annotations

from statistics import fmean

from xstilts.analysis.outcomes import ADAPTIVE, SET
from xstilts.report import style
from xstilts.report.contents import Contents
from xstilts.report.shallow import bracket
from xstilts.report.style import number, signed
from xstilts.report.tables import Cell, Table

SHOWN = ("clean", "attacked", "success_rate")
SCORES = (
    "Score under attack, mean over the languages of the target that the attack was put to (what it is not valid for is "
    "listed below) and over seeds; small: score of the same examples before, and success rate, the share in percent of "
    "the initially right examples that were broken. Every model on the same sampled examples of a language; a dash: "
    "not run, or not in all of these languages yet."
)
MOST = 250  # rows of a table that the page shows; a longer one is a file beside it


def overview(contents: Contents) -> Table:
    """Attacks x targets: means over languages, models and intermediates."""
    targets, rows = _targets(contents), []
    for attack in contents.attacks:
        found = [
            [row for cell in contents.cells() if (row := contents.attacked.row(attack, *cell, target))]
            for target in targets
        ]
        if any(found):
            rows.append([attack, *(_cell(_means(some)) for some in found)])
    caption = f"{SCORES} Plain mean over the models and intermediates attacked. Darker: a higher success rate."
    return Table("attacks", caption, ["attack", *map(style.target, targets)], rows)


def by_model(contents: Contents) -> Table:
    """Attacks x targets for each model and intermediate."""
    targets, rows = _targets(contents), []
    for attack in contents.attacks:
        for model, name in contents.cells():
            found = [contents.attacked.row(attack, model, name, target) for target in targets]
            if any(found):
                rows.append([attack, model, contents.label(name), *map(_cell, found)])
    columns = ["attack", "model", "intermediate", *map(style.target, targets)]
    return Table("attacks_models", SCORES, columns, rows, 3)


def _targets(contents: Contents) -> list[str]:
    """Targets that have a row."""
    there = {row["target"] for row in contents.tables["robustness"]}
    return [target for target in contents.targets if target in there]


def _means(rows: list[dict]) -> dict | None:
    """Means of what `_cell` shows."""
    known = {name: [row[name] for row in rows if row[name] is not None] for name in SHOWN}
    return {name: fmean(values) if values else None for name, values in known.items()} if rows else None


def _cell(row: dict | None) -> Cell:
    if row is None:
        return Cell("–", "none")
    rate = row["success_rate"]
    parts = [] if row["clean"] is None else [f"of {number(row['clean'])}"]
    parts += [] if rate is None else [f"{number(rate, 0)} %"]
    return Cell(number(row["attacked"]), "", None if rate is None else rate / 100, small=", ".join(parts))


def full(contents: Contents) -> Table:
    """Each attack on each target: before, under attack, success rate, effort."""
    rows = []
    for attack in contents.attacks:
        for target in contents.targets:
            for model, name in contents.cells():
                row = contents.attacked.row(attack, model, name, target)
                if row:
                    under = Cell(number(row["attacked"]), small=bracket(row["ci_low"], row["ci_high"]))
                    rate = Cell("–", "none")
                    if row["success_rate"] is not None:
                        rate = Cell(number(row["success_rate"]), small=bracket(row["success_low"], row["success_high"]))
                    rows.append([
                        attack, row["mode"], style.target(target), model, contents.label(name, target), str(row["n"]),
                        str(row["skipped"]), number(row["clean"]), under, rate,
                        number(row["queries"]), number(row["vanished"]), number(row["perturbed"], 2),
                        number(row["similarity"], 2), number(row["broken"]), number(row["unreadable"]),
                    ])  # fmt: skip
    caption = (
        "Scores before and under attack, mean over languages and seeds, with 95 % bootstrap intervals over examples "
        "(and seeds, where there are several). success = share of the attacked (initially right) examples that were "
        "broken, in percent; skipped = already wrong, or nothing to change; queries, vanished = candidates "
        "that became the original's tokens and did not count, changed share of units and "
        "similarity (1 − edit distance / length) are means over attacked examples. Of the successful adversaries of "
        "generated data (a dash: of none, or others), in percent: broken = the label no longer follows from the edited "
        "text, so that the model need not be wrong; unreadable = cannot be judged. Mode: adaptive = every model is "
        "attacked with its own outputs; static = a published set, which has no unchanged originals."
    )
    columns = ["attack", "mode", "target", "model", "intermediate", "n", "skipped", "clean", "attacked", "success",
               "queries", "vanished", "changed", "similarity", "broken", "unreadable"]  # fmt: skip
    return Table("robustness", caption, columns, rows, 5)


def changes(contents: Contents) -> Table:
    """What intermediate training changes under attack, paired with none: means over languages."""
    rows = []
    found = [row for row in contents.attacked.changes if row["language"] == "mean" and not _transferred(row)]
    for row in sorted(found, key=lambda row: contents.targets.index(row["target"])):
        drop = Cell("–", "none")
        if row["drop_change"] is not None:
            drop = _difference(row["drop_change"], row["drop_low"], row["drop_high"])
        change = _difference(row["change"], row["change_low"], row["change_high"])
        p = "< 0.001" if row["p_holm"] < 0.001 else f"{row['p_holm']:.3f}"
        rows.append([style.target(row["target"]), row["attack"], row["model"],
                     contents.label(row["intermediate"], row["target"]), change, p, drop])  # fmt: skip
    caption = (
        "Score under attack after an intermediate training minus that without one (`none`), in points, mean over "
        "languages, with paired 95 % bootstrap intervals over the same examples and seeds; p after Holm's correction "
        "over all rows of their mode. Last column: the same of the loss (attacked − clean), which leaves out what the "
        "training changes on unattacked text; published sets have none. Every language, and transferred texts: "
        "`robustness_changes.csv`."
    )
    columns = ["target", "attack", "model", "intermediate", "change", "p (Holm)", "change of the loss"]
    return Table("robustness_changes", caption, columns, rows, 4)


def _transferred(row: dict) -> bool:
    """Whether a row is of texts that were made on one model and put to another."""
    return row["mode"] != ADAPTIVE and row["source"] != SET


def _difference(value: float, low: float, high: float) -> Cell:
    css = "up" if low > 0 else "down" if high < 0 else ""
    return Cell(signed(value), css, small=bracket(low, high))


def transfer(contents: Contents) -> Table:
    """Texts made on one model, put to others: transfer rate a target."""
    attacked, rows = contents.attacked, []
    there = {row["target"] for row in attacked.transfer}
    targets = [target for target in contents.targets if target in there]
    by_cell = {
        (row["attack"], row["source"], row["model"], row["intermediate"], row["target"]): row
        for row in attacked.transfer
    }
    for attack in attacked.made():
        for source in attacked.sources():
            for victim in [cell for cell in contents.cells() if cell in attacked.victims()]:
                found = [by_cell.get((attack, source, *victim, target)) for target in targets]
                if any(found):
                    rows.append([attack, source, victim[0], contents.label(victim[1]), *map(_rate, found)])
    caption = (
        "Static: texts made once on the source (model.intermediate.seed) and put to other models. Large: transfer "
        "rate, the share in percent of the texts that beat the source (of examples that the victim had right) which "
        "beat the victim too, mean over languages; below its 95 % interval. Not to be mixed with adaptive success "
        "rates, which stand in the other tables."
    )
    columns = ["attack", "source", "model", "intermediate", *map(style.target, targets)]
    return Table("transfer", caption, columns, rows, 4)


def _rate(row: dict | None) -> Cell:
    if row is None or row["success_rate"] is None:
        return Cell("–", "none")
    return Cell(number(row["success_rate"]), small=bracket(row["success_low"], row["success_high"]))


def not_run(contents: Contents) -> Table:
    """What attacks were not run on, and why; rows of equal attack, cells, languages and reason share one."""
    groups: dict[tuple, list[str]] = {}
    for one in contents.spec.get("not_run", []):
        target, codes = one.get("target"), one.get("languages") or []
        whole = target in contents.spec["targets"] and set(codes) >= set(contents.spec["targets"][target]["languages"])
        name = one.get("intermediate")
        cell = ", ".join(filter(None, [one.get("model"), contents.label(name) if name else ""]))
        key = (one["attack"], cell or "all", "all" if whole or not codes else " ".join(codes), one["why"])
        groups.setdefault(key, []).append(style.target(target) if target else "all")
    rows = [[attack, cell, ", ".join(dict.fromkeys(found)), *rest] for (attack, cell, *rest), found in groups.items()]
    columns = ["attack", "models, intermediates", "targets", "languages", "why"]
    if all(row[1] == "all" for row in rows):
        columns, rows = [columns[0], *columns[2:]], [[row[0], *row[2:]] for row in rows]
    caption = "What of the attacks the study leaves out, and why."
    return Table("not_run", caption, columns, rows, prose=True)


def all_tables(contents: Contents) -> list[Table]:
    """Every table of the section."""
    return [one(contents) for one in (overview, by_model, full, changes, transfer, not_run)]
