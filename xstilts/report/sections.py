"""The report's tables, each made from `Contents`."""

from __future__ import annotations

from statistics import fmean

from xstilts.analysis import cost as sums
from xstilts.report import failures, shallow, style
from xstilts.report.contents import NONE, Contents
from xstilts.report.shallow import QA, bracket, difference
from xstilts.report.style import number, signed
from xstilts.report.tables import Cell, Table

ANCHORS = "Anchor-free overlap leaves out what needs no knowledge of a language: names and digits."


def grid(contents: Contents) -> Table:
    """Which cells are there: languages x seeds with a score, of those asked for."""
    rows = []
    for model, name in contents.cells():
        row: list = [model, contents.label(name)]
        for target in contents.targets:
            asked = contents.expected(model, name, target)
            codes = contents.spec["targets"][target]["languages"]
            there = sum(len(contents.seeds(model, name, target, code)) for code in codes)
            if not asked:
                row.append(Cell("·", "none"))
            elif there == asked:
                row.append(Cell(f"● {there}", "full"))
            else:
                row.append(Cell(f"○ {there} of {asked}", "lack"))
        rows.append(row)
    caption = (
        "Score files that are there (●, languages × seeds), incomplete or missing (○), or not part of the study (·)."
    )
    return Table("grid", caption, ["model", "intermediate", *map(style.target, contents.targets)], rows, 2)


def scores(contents: Contents) -> Table:
    """Non-English mean and English score of each cell."""
    rows = []
    for model, name in contents.cells():
        row: list = [model, contents.label(name)]
        for target in contents.targets:
            key = (model, name, target)
            spread = contents.spread(*key, "mean_non_en")
            english = contents.score(*key, "en")
            text = number(contents.score(*key, "mean_non_en")) + (f" ± {number(spread)}" if spread is not None else "")
            row.append(Cell(text, small="" if english is None else f"en {number(english)}"))
        rows.append(row)
    without = shallow.strongest(contents)
    rows += [without] if without else []
    caption = (
        "Score, mean over the non-English languages; below it the English score (en) where the target has one. "
        + (f"± standard deviation (n − 1) over {contents.n_seeds} seeds. " if contents.n_seeds > 1 else "One seed. ")
        + f"Last row: the strongest shallow baseline, for retrieval all of them. {ANCHORS} "
    )
    return Table("scores", caption + QA, ["model", "intermediate", *map(style.target, contents.targets)], rows, 2)


def gains(contents: Contents) -> Table:
    """Gain over `none` with interval, on the non-English mean."""
    rows = []
    for model, name in contents.cells():
        if name != NONE:
            found = [contents.gains.get((model, name, target, "mean_non_en")) for target in contents.targets]
            rows.append([model, contents.label(name), *map(difference, found)])
    caption = "Gain over `none` in points on the non-English mean, with paired 95 % bootstrap intervals. " + QA
    return Table("gains", caption, ["model", "intermediate", *map(style.target, contents.targets)], rows, 2)


def languages(contents: Contents, target: str) -> Table:
    """Every language of one target, the non-English mean and the gap to English."""
    codes = sorted(contents.spec["targets"][target]["languages"], key=lambda code: (code != "en", code))
    cells = [pair for pair in contents.cells() if contents.expected(*pair, target)]
    known = [contents.score(*pair, target, code) for pair in cells for code in codes]
    low, high = min(filter(None, known), default=0), max(filter(None, known), default=1)
    rows = []
    for pair in cells:
        values = [contents.score(*pair, target, code) for code in codes]
        shaded = [
            Cell(number(v), "" if v is not None else "none", None if v is None else (v - low) / max(high - low, 1e-9))
            for v in values
        ]
        row = [pair[0], contents.label(pair[1], target), *shaded]
        row.append(number(contents.score(*pair, target, "mean_non_en")))
        rows.append([*row, number(contents.gap(*pair, target))] if "en" in codes else row)
    rows += shallow.by_language(contents, target, codes)
    caption = f"{style.target(target)} by language; darker is higher within this table, non-en = mean without English"
    caption += ", gap = English − non-en. " if "en" in codes else ". "
    caption += "Below: shallow baselines, without any encoder."
    caption += f" {ANCHORS}" if "anchor_free_overlap" in contents.shallow_names(target) else ""
    means = ["non-en", "gap"] if "en" in codes else ["non-en"]
    return Table(f"languages_{target}", caption, ["model", "intermediate", *codes, *means], rows, 2)


def claims(contents: Contents) -> Table:
    """The fourteen claims and what this study says about them."""
    rows, texts = [], {int(entry["claim"]): entry.get("text") for entry in contents.catalog.claims}
    for row in contents.tables["claims"]:
        value = number(row["value"]) if isinstance(row["value"], float) else str(row["value"] or "–")
        if row["ci_low"] is not None:
            value += " " + bracket(row["ci_low"], row["ci_high"])
        css = "verdict " + row["verdict"].replace(" ", "-")
        claim = texts.get(row["claim"]) or row["measure"]
        rows.append([str(row["claim"]), claim, row["published"] or "–", value, Cell(row["verdict"], css),
                     row["why"] or ""])  # fmt: skip
    caption = "The fourteen claims. Value: what this study measures, with a 95 % interval where it is a mean gain."
    return Table("claims", caption, ["#", "claim", "published", "here", "verdict", "why"], rows, prose=True)


def selection(contents: Contents) -> Table:
    """English dev scores, by which checkpoints and the chosen intermediate were selected."""
    tasks = list(dict.fromkeys(task for *_, task in contents.records))
    served = {
        task: [name for name in contents.targets if contents.spec["targets"][name].get("training_task") == task]
        for task in tasks
    }
    rows = []
    for model, name in contents.cells():
        row: list = [model, contents.label(name)]
        for task in tasks:
            records = [record for (m, i, _, t), record in contents.records.items() if (m, i, t) == (model, name, task)]
            dev = [record["dev"][task]["value"] for record in records if task in record.get("dev", {})]
            best = bool(dev) and all(contents.choice.get((model, target)) == name for target in served[task])
            text = number(fmean(dev)) if dev else "–"
            row.append(Cell(text + failures.marks(records), "best" if best else ""))
        rows.append(row)
    labels = [f"{style.task(task)} ({style.RULES.get(_rule(contents, task), _rule(contents, task))})" for task in tasks]
    caption = (
        "English development score of each target training (bold: the intermediate that is called chosen). In the head "
        "how the checkpoint was taken: best = best English dev score during training, last = after the last step."
    )
    return Table("selection", caption, ["model", "intermediate", *labels], rows, 2)


def _rule(contents: Contents, task: str) -> str:
    rules = {record.get("selection", "") for (*_, of), record in contents.records.items() if of == task}
    return " / ".join(sorted(rules))


def data(contents: Contents) -> Table:
    """Source, size and version of the data of each task."""
    spec, rows = contents.spec, []
    sets = spec.get("challenges", {})
    for task, source in spec["sources"].items():
        entry = contents.catalog.tasks.get(task)
        sizes = [
            row["n"]
            for row in contents.tables["scores"]
            if row["target"] == task and row["language"] in contents.languages
        ]
        n = "–" if not sizes else str(min(sizes)) if min(sizes) == max(sizes) else f"{min(sizes)}–{max(sizes)}"
        roles = "target" if task in spec["targets"] else "training"
        if any(task in tasks for tasks in spec["intermediates"].values()):
            roles = "intermediate" if roles == "training" else f"{roles}, intermediate"
        roles = "static set" if task in sets else roles
        known = spec["targets"][task]["languages"] if task in spec["targets"] else sets.get(task)
        known = known or spec["train_languages"][task]
        version = str(entry.identity.get("version", "–")) if entry else "–"
        rows.append([style.task(task), roles, source, version, n, " ".join(known)])
    variants = any(contents.foreign(name) for name in contents.intermediates)
    caption = "Data of each task: where it came from, catalog version, test examples a language; languages of the test "
    caption += "sets of a target, else of the training data (targets are trained in English). "
    caption += f"{'Training data' if variants else 'English training data'} {_cap(spec, 'train')}"
    caption += f"{' a language' if variants else ''}, English dev sets {_cap(spec, 'dev')}."
    return Table("data", caption, ["task", "role", "source", "version", "n test", "languages"], rows, prose=True)


def _cap(spec: dict, split: str) -> str:
    cap = spec.get("data", {}).get(split)
    return "are not capped" if cap is None else f"are capped at {cap:,} examples"


def cost(contents: Contents) -> Table:
    """Time and memory by stage and model, then the sums of cost.csv."""
    groups: dict[tuple[str, str], list[dict]] = {}
    jobs = [row for row in contents.tables["cost"] if not sums.is_sum(row)]
    for row in jobs:
        groups.setdefault((row["stage"], row["model"] or "–"), []).append(row)
    counts = {stage: sum(row["stage"] == stage for row in jobs) for stage, _ in groups} | {sums.TOTAL: len(jobs)}
    found = [(model, len(rows), sums.total(rows, stage)) for (stage, model), rows in groups.items()]
    found += [(sums.ALL, counts[row["stage"]], row) for row in contents.tables["cost"] if sums.is_sum(row)]
    rows = [
        [row["stage"], model, row["device"] or "", str(row["devices"]), str(jobs), f"{row['seconds']:,.0f}",
         f"{row['device_hours']:,.3f}", f"{row['tokens']:,.0f}",
         f"{row['tokens_per_s']:,.0f}" if row["tokens_per_s"] else "–", f"{row['peak_memory_mb']:,.0f}"]
        for model, jobs, row in found
    ]  # fmt: skip
    caption = (
        "What the jobs took, summed by stage and model, by stage, and in all: the only numbers that differ between two "
        "equal runs. Jobs that ran beside each other took less time together; device hours are a job's seconds times "
        "its devices (column devices: the most of one job); tokens are real ones, without padding, and their rate "
        "leaves out start-up."
    )
    columns = [
        "stage",
        "model",
        "device",
        "devices",
        "jobs",
        "seconds",
        "device hours",
        "tokens",
        "tokens/s",
        "peak MB",
    ]
    return Table("cost", caption, columns, rows, 3)


def scaling(contents: Contents) -> Table:
    """Fitted trends with model size, if any."""
    rows = [
        [row["family"], style.target(row["target"]), contents.label(row["intermediate"], row["target"]),
         row["measure"].replace("_", " "), str(row["n_sizes"]),
         f"{signed(row['slope'])} {bracket(row['ci_low'], row['ci_high'])}"]
        for row in contents.tables["scaling"]
        if row["status"] == "fitted"
    ]  # fmt: skip
    caption = "Fitted change in points for ten times the non-embedding parameters, with 95 % bootstrap intervals."
    return Table("scaling", caption, ["family", "target", "intermediate", "measure", "sizes", "slope"], rows, 4)
