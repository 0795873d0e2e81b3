"""The sentences about attacks: how strong they were, what they show and what they do not."""

from __future__ import annotations

from statistics import fmean

from xstilts.report import style
from xstilts.report.contents import Contents
from xstilts.report.style import number, plural

FEW = 3.0  # percent of successes whose label broke that need no warning
NAMED = 4  # attacks; of more only the strongest and the weakest are named


def summary(contents: Contents) -> list[str]:
    """What a reader should take away."""
    return [*_strengths(contents), *_changes(contents), *_labels(contents)]


def _strengths(contents: Contents) -> list[str]:
    """Points lost to each attack where all attacks can be compared: in the same cells, targets and languages."""
    targets, rows = contents.attacked.shared()
    if not rows:
        return []
    if not targets:
        return [
            f"The {len(rows)} attacks have no model, intermediate, target and language (and number of examples) in "
            "common, so that they are not ranked."
        ]
    drops = {name: fmean(row["clean"] - row["attacked"] for row in found) for name, found in rows.items()}
    order = sorted(drops, key=lambda name: -drops[name]) if len(drops) > NAMED else list(drops)
    told = []
    for name in [order[0], order[1], order[-1]] if len(order) > NAMED else order:
        known = [row["success_rate"] for row in rows[name] if row["success_rate"] is not None]
        rate = f", breaking {number(fmean(known), 0)} % of what it attacked" if known else ""
        told.append(f"{name} takes {number(drops[name])} points on average{rate}")
    start = "Under attack"
    if len(order) > 1:
        named = ", ".join(style.target(target) for target in contents.targets if target in targets)
        start += f", on what all {len(order)} attacks were run on ({named}), each with its own budget"
    most = "by points lost, the two strongest and the weakest: " * (len(order) > NAMED)
    return [f"{start}: {most}{'; '.join(told)}."]


def _changes(contents: Contents) -> list[str]:
    rows = [row for row in contents.attacked.changes if row["language"] == "mean" and row["mode"] == "adaptive"]
    if not rows:
        return []
    up, down = sum(row["change_low"] > 0 for row in rows), sum(row["change_high"] < 0 for row in rows)
    kept = [row for row in rows if row["drop_change"] is not None]
    less, more = sum(row["drop_low"] > 0 for row in kept), sum(row["drop_high"] < 0 for row in kept)
    return [
        f"Intermediate training raised the score under attack in {up} of {len(rows)} comparisons with `none` and "
        f"lowered it in {down}; less was lost to the attack in {less} and more in {more} (95 % intervals that exclude "
        f"0, not corrected for their number)."
    ]


def _labels(contents: Contents) -> list[str]:
    """One sentence an attack: do its successes keep their labels? Nothing where none could be judged."""
    lines = []
    for attack in contents.attacks:
        found = contents.attacked.labels(attack)
        if not found:
            continue
        target, language, share = found["worst"]
        most = f" (most: {number(share, 0)} % on {style.target(target)}, {language})"
        many = found["broken"] > FEW
        text = f"Of the {found['successes']:,} texts with which {attack} succeeded, {number(found['broken'])} % no "
        text += f"longer have their gold label{most if many else ''}"
        text += ": there the model need not be wrong, and robustness is better than it looks" if many else ""
        lines.append(f"{text}; {number(found['unreadable'])} % could not be judged.")
    return lines


def about(contents: Contents) -> list[str]:
    """Paragraphs before the figures: how to read them. Empty where the study has no attack."""
    attacked = contents.attacked
    if not attacked.names:
        return []
    sizes = attacked.examples()
    n = f" ({' to '.join(f'{size:,}' for size in sizes)} a language)" if sizes else ""
    lines = []
    if attacked.made():
        lines.append(
            f"Each attack was run on a seeded sample of the test examples, the same for every model{n}, and only on "
            "those that the model got right (tagging, question answering: right enough for the attack's goal). Its "
            "search is cut off by a budget of queries, so that an example which held is not shown to be safe: success "
            "rates are lower bounds, attacked scores upper bounds, of what the same changes can do. They are not "
            "comparable with published numbers, whose budgets, samples, stand-in models and languages differ."
        )
    if attacked.sets():
        names = ", ".join(f"`{name}`" for name in attacked.sets())
        lines.append(
            f"{names}: published texts that were made against other models, English where nothing else is said. There "
            "are no unchanged originals beside them, so they have a score and no success rate."
        )
    if attacked.transfer:
        lines.append(
            "Two modes stand apart. Adaptive: every model is attacked with its own outputs, which finds its own weak "
            "places. Transfer: texts made once on a named source are put to the others, which is the same test for "
            "all and a weaker one."
        )
    stand_ins = attacked.stand_ins()
    if stand_ins:
        lines.append(f"Attacks that ask another model or a dictionary, and which one: {' '.join(stand_ins)}")
    return lines


def no_figure(contents: Contents) -> str:
    """What stands in place of the figure of scores before and under attack where there is none."""
    if not contents.attacked.names:
        left_out = contents.spec.get("not_run")
        return (
            "No attack of this study could be run: the reasons are below." if left_out else "This study has no attacks."
        )
    if not contents.attacked.made():
        return "No figure: published sets have no unchanged originals, so there is no score before the attack."
    return "No figure: the attacks have no results yet."


def captions(contents: Contents, rule: str) -> dict[str, str]:
    """What the section's figures show."""
    n = _sizes(contents)
    return {
        "robustness": "Score before (hollow) and under attack (filled), mean over languages; the thick bar is the 95 % "
        f"percentile interval of the attacked score over examples{_seeds(contents)}. Each model is attacked with its "
        f"own outputs, all on the same examples. {n} {_skipped(contents)} {rule}",
        "attack_languages": "Success rate in percent of the attacked (initially right) examples, by attack and "
        "language: plain mean over models, intermediates and the targets of that language. Languages have different "
        "targets and attacks different budgets, so compare within a line with care and between lines not at all. "
        "Hatched: not run, or nothing that could be attacked. No interval is drawn: those of every cell are in "
        f"`robustness.csv`. {n} {rule}",
        "transfer": "Transfer rate in percent: of the texts that beat a source (row: model, intermediate, seed), on "
        "examples that a model (column) had right, how many beat that model too; mean over languages and targets. A "
        "dot: the source itself, which all of them beat; hatched: not "
        f"run, or no such text. Intervals are in `transfer.csv`. {_sizes(contents, static=True)} {rule}",
    }


def _seeds(contents: Contents) -> str:
    return " and seeds" if contents.n_seeds > 1 else ""


def _sizes(contents: Contents, static: bool = False) -> str:
    sizes = contents.attacked.examples(static)
    return f"n = {' to '.join(map(str, sizes)) or 0} examples a language; {plural(contents.n_seeds, 'seed')}."


def _skipped(contents: Contents) -> str:
    rows = [
        row for row in contents.tables["robustness"]
        if row["language"] in contents.languages and row["mode"] == "adaptive" and row["seed"] != "all"
    ]  # fmt: skip
    n, skipped = sum(row["n"] for row in rows), sum(row["skipped"] for row in rows)
    return f"{skipped:,} of {n:,} were skipped (already wrong, or nothing to change) and keep their score."
