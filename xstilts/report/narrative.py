"""The report's sentences: what was run, what was seen, and what each figure shows. Every number is counted here."""

from __future__ import annotations

from xstilts.report import attack_narrative as attacks
from xstilts.report import failures, layers, setting, style
from xstilts.report.contents import Contents
from xstilts.report.style import number, plural, signed

RETRIEVAL = ("bucc2018", "tatoeba")


def size_note(contents: Contents) -> str:
    """`n = 150 test examples a language; 1 seed.`"""
    low, high = contents.items()
    n = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    return f"n = {n} test examples a language; {plural(contents.n_seeds, 'seed')}."


def facts(contents: Contents) -> list[tuple[str, str]]:
    """The tiles under the title: (number, what)."""
    expected = sum(contents.expected(*cell, target) for cell in contents.cells() for target in contents.targets)
    lack = sum(len(one["languages"]) for one in contents.missing() if not one["attack"])
    return [
        (str(len(contents.models)), "model" if len(contents.models) == 1 else "models"),
        (str(len(contents.intermediates)), "starting points, plain model included"),
        (str(len(contents.targets)), "target tasks"),
        (str(len(contents.languages)), "languages"),
        (str(contents.n_seeds), "seed" if contents.n_seeds == 1 else "seeds"),
        (f"{expected - lack} of {expected}", "scores computed"),
    ]


def summary(contents: Contents) -> list[str]:
    """What a reader should take away, in the order of the sections."""
    lines = []
    rows = [
        row for (_, _, target, language), row in contents.gains.items()
        if language == "mean_non_en" and target not in RETRIEVAL
    ]  # fmt: skip
    if rows:
        lines.append("Outside retrieval, " + _balance(rows) + _extremes(contents, rows))
    rows = [
        row for (_, _, target, language), row in contents.gains.items()
        if language == "mean_non_en" and target in RETRIEVAL
    ]  # fmt: skip
    if rows:
        lines.append("On retrieval (BUCC, Tatoeba), " + _balance(rows) + _extremes(contents, rows))
    over = [row for (_, _, language), row in contents.over_baseline.items() if language == "mean_non_en"]
    if over:
        above = sum(row["ci_low"] > 0 for row in over)
        below = [row for row in over if row["ci_low"] <= 0]
        text = f"With the intermediate chosen on English dev, {above} of {len(over)} model and target pairs beat the "
        text += "strongest shallow baseline with an interval that excludes it"
        names = ", ".join(f"{style.target(row['target'])} ({row['model']})" for row in below)
        lines.append(text + (f". Not shown to beat it: {names}." if below else "."))
    lines += attacks.summary(contents)
    lines.append(trend(contents))
    return [*lines, *filter(None, [failures.sentence(contents), setting.note(contents)])]


def _balance(rows: list[dict]) -> str:
    up, down = sum(row["ci_low"] > 0 for row in rows), sum(row["ci_high"] < 0 for row in rows)
    return (
        f"intermediate training raised the non-English mean in {up} of {len(rows)} comparisons with `none`, lowered it "
        f"in {down}, and left {len(rows) - up - down} open (95 % interval includes 0). "
    )


def _extremes(contents: Contents, rows: list[dict]) -> str:
    best, worst = max(rows, key=lambda row: row["gain"]), min(rows, key=lambda row: row["gain"])

    def one(row: dict) -> str:
        where = f"{contents.label(row['intermediate'], row['target'])} on {style.target(row['target'])}, {row['model']}"
        return f"{signed(row['gain'])} ({where})"

    return f"Largest: {one(best)}; smallest: {one(worst)}."


def trend(contents: Contents) -> str:
    """One sentence on the fits: how many were made, or why none."""
    rows = contents.tables["scaling"]
    fitted = [row for row in rows if row["status"] == "fitted"]
    if fitted:
        return f"{len(fitted)} of {len(rows)} trends with model size could be fitted; the others have too few sizes."
    return (
        "No trend with model size is fitted: that takes at least three sizes of one family "
        f"(here {plural(len(contents.models), 'model')}), so the figures show points only."
    )


def warnings(contents: Contents) -> list[str]:
    """Why the numbers are no evidence: shown in the banner. Empty for a full study."""
    spec, lines = contents.spec, []
    if not spec["demonstration"]:
        return lines
    generated = [task for task, source in spec["sources"].items() if source == "embedded"]
    caps = {split: spec.get("data", {}).get(split) for split in ("train", "dev", "test")}
    parts = []
    if generated:
        parts.append(f"the data of {len(generated)} of {len(spec['sources'])} tasks are generated, not the real sets")
    if any(cap is not None for cap in caps.values()):
        cut = ", ".join(f"{split} {cap:,}" for split, cap in caps.items() if cap is not None)
        parts.append(f"sets are cut short (examples a language: {cut})")
    reasons = f" ({'; '.join(parts)})" if parts else ""
    lines.append(
        f"This study shows that the workflow runs and what its report looks like{reasons}. Its numbers say nothing "
        "about the paper, about XTREME or about the encoders: do not cite them."
    )
    if any("me5" in name or "e5" in str(model["family"]) for name, model in spec["models"].items()):
        lines.append(
            "Expect retrieval to fall here. The encoder, multilingual-e5-small, was trained by contrast to put "
            "translations close together, so BUCC and Tatoeba start high: English training has little left to align "
            "and much to undo. The paper's XLM-R large starts at the other end (Tatoeba accuracy 31 without "
            "intermediate training) and gains most there. A loss in this report neither confirms nor contradicts that."
        )
    if contents.n_seeds == 1:
        lines.append(
            "One seed: intervals cover the choice of test examples only, not the luck of a training run, which alone "
            "can move a score by several points."
        )
    return lines


def captions(contents: Contents) -> dict[str, str]:
    """What each figure shows: what a mark and a bar are, n, and how the models were selected."""
    n = size_note(contents)
    interval = f"95 % percentile interval, paired bootstrap over {'seeds and ' if contents.n_seeds > 1 else ''}examples"
    qa = "QA targets: mean of F1 and exact match."
    rule = "Checkpoints were selected on English dev or are the last ones, never on a target language."
    fitted = any(row["status"] == "fitted" for row in contents.tables["scaling"])
    lines = "Grey lines: least-squares fits within a family of" if fitted else "A line would need"
    lines += " at least three sizes."
    again = setting.replication(contents)
    found = {
        "gains": f"Gain over no intermediate training, in points, mean over the non-English languages. Bold with a "
        f"dot: the {interval}, excludes 0. Blue is a gain, orange a loss, hatched a missing cell (or English only); "
        f"the last column is the plain mean over targets, mixing accuracy and F1. {qa} {n} {rule}",
        "size_scores": f"Score against model size, mean over the non-English languages. Colour: model; marker: "
        f"intermediate, set side by side at each size. Small dots: single seeds. {lines} "
        f"{qa} {n} {rule}",
        "size_gains": f"Gain over no intermediate training against model size. Bars: {interval}. {lines} {qa} {n} "
        f"{rule}",
        **attacks.captions(contents, rule),
        "baselines": f"Each model with the intermediate chosen on English dev (marker; retrieval: none), beside the "
        f"strongest shallow baseline. Bars: {interval} of the difference to that baseline, drawn from the baseline. "
        f"Vertical lines: XLM-R large as published, on the full XTREME test sets with English, not on this study's "
        f"data{f'; {again}' if again else ''}. {qa} {n}",
        "layers": layers.caption(contents),
    }
    return {name: f"{text} {setting.note(contents)}".strip() for name, text in found.items()}


def mixtures(contents: Contents) -> list[tuple[str, str]]:
    """(name, what it is made of and how its batches are drawn) of each mixture."""
    training, found = contents.spec.get("training", {}), []
    for name, tasks in training.get("mixtures", {}).items():
        how = _sampling(training.get("sampling", {}).get(name, {}))
        found.append((name, f"{', '.join(map(style.task, tasks))}. {how}".strip()))
    return found


def _sampling(sampling: dict) -> str:
    """How a batch's task is drawn; K and T are named as this study's own, for the paper does not give its."""
    method, cap, temperature = (sampling.get(key) for key in ("method", "cap", "temperature"))
    capped = f"min(n, {cap:,})" if cap else "n"
    texts = {
        "uniform": "Each batch is of one task, all equally likely.",
        "proportional": "Each batch is of one task, drawn in proportion to its n training examples.",
        "capped": f"Each batch is of one task, drawn in proportion to {capped}, n being its training examples.",
        "temperature": f"Each batch is of one task, drawn in proportion to {capped} to the power 1 / "
        f"{temperature or 1:g}, n being its training examples.",
    }
    text = texts.get(method, "")
    if cap or method == "temperature":
        text += " The paper's own cap K and temperature T are not known: these values are this study's choice."
    shares = ", ".join(f"{style.task(task)} {number(100 * p)} %" for task, p in (sampling.get("shares") or {}).items())
    return text + (f" Fixed shares of the batches: {shares}." if shares else "")


def missing(contents: Contents) -> list[str]:
    """One line for each incomplete cell of the grid."""
    return [
        (f"attack {one['attack']}{_made_on(one)}: " if one["attack"] else "")
        + f"{one['model']}, {style.task(one['intermediate'])}, seed {one['seed']}, {style.target(one['target'])}: "
        + " ".join(one["languages"])
        for one in contents.missing()
    ]


def _made_on(one: dict) -> str:
    """Where the texts of a transferred attack come from."""
    return f", texts of {one['source']}" if one["source"] not in ("", "set") else ""
