"""The section on data checks: what a reviewer looks for in data.csv and pieces.csv, and what needs attention there."""

from __future__ import annotations

from xstilts.analysis.tables import COLUMNS
from xstilts.report import style
from xstilts.report.contents import Contents
from xstilts.report.style import number, plural
from xstilts.report.tables import Cell, Table

# percent; beyond these a number is marked. Any overlap with training data is.
DUPLICATES, MAJORITY, UNKNOWN, CUT = 1.0, 60.0, 0.5, 5.0
SHOWN = 6  # language codes of a task that are listed
WINDOWED = ("tagging", "span_qa")  # kinds that read long inputs in windows and lose nothing
CUT_BY_DESIGN = ("mlm",)  # a line of text is one example, cut at the limit, as in jiant's mlm_simple
RULES = (
    f"Marked: over {DUPLICATES:g} % duplicates, any overlap with training or dev data, a label (tags apart) of over "
    f"{MAJORITY:g} %, over {CUT:g} % of examples cut."
)


def kind(contents: Contents, task: str) -> str:
    """The kind of a task; empty where the spec does not say."""
    known = contents.spec.get("catalog", {}) | contents.spec["targets"]
    return known.get(task, {}).get("kind", "")


def files(contents: Contents) -> dict[str, list[dict]]:
    """Rows of data.csv by task, tasks in the order of the table."""
    found: dict[str, list[dict]] = {}
    for row in contents.tables["data"]:
        found.setdefault(row["task"], []).append(row)
    return found


def share(row: dict, column: str) -> float:
    """A count of data.csv in percent of the file's examples."""
    return 100 * (row[column] or 0) / row["n"]


def name(row: dict) -> str:
    """`test de`: which of a task's files a row is of."""
    return f"{row['split']} {row['language']}"


def summary(contents: Contents) -> Table:
    """One row a task: sizes, the worst file of each finding, marks where it is due."""
    rows = []
    for task, found in files(contents).items():
        known = [row for row in found if row["majority"] is not None]
        majority = max((row["majority"] for row in known), default=0)
        codes = list(dict.fromkeys(row["language"] for row in found))
        sizes = [[row["n"] for row in found if row["split"] == split] for split in ("train", "dev", "test")]
        due = majority > MAJORITY and kind(contents, task) != "tagging"
        conflicts = sum(row["conflicts"] or 0 for row in found)
        rows.append([
            Cell(style.task(task), small=_shortened(codes)),
            " / ".join(_range(values) if values else "–" for values in sizes),
            Cell(number(majority, 0) if known else "–", "lack" if due else "" if known else "none"),
            _count(found, "duplicates", limit=DUPLICATES, more=f"; {conflicts} in conflict" if conflicts else ""),
            _count(found, "overlap_train", "overlap_with", 0), _count(found, "context_train", "context_with", 0),
            _count(found, "overlap_dev", limit=0),
            _range([row["characters_median"] for row in found]), _long(contents, task),
        ])  # fmt: skip
    caption = (
        "Prepared data of each task, ranges over languages. Counts are over all files; below them the file with the "
        "largest share, in percent of its examples. majority = percent of the commonest label, largest of the files "
        "(question answering: no answer; tagging: a tag). duplicates have the input of an earlier example, in conflict "
        "= with another answer. input in training = the whole input is in the training data of the task named; context "
        "in training = its main text (context, premise, sentence) is a text there; input in dev set = of the dev set "
        "by which checkpoints or thresholds are chosen. Compared without case and spacing. characters: median of an "
        "example. long = percent of examples beyond the length limit, largest of files and models: cut, or read in "
        f"windows. {RULES} All columns: `data.csv`."
    )
    columns = ["task", "train / dev / test", "majority", "duplicates", "input in training", "context in training",
               "input in dev set", "characters", "long"]  # fmt: skip
    return Table("data_checks", caption, columns, rows)


def _shortened(codes: list[str]) -> str:
    return " ".join(codes) if len(codes) <= SHOWN else f"{' '.join(codes[: SHOWN - 2])} … ({len(codes)})"


def percent(value: float) -> str:
    """One digit; `<0.1` for less that is not nothing."""
    return "<0.1" if 0 < value < 0.05 else number(value)


def _range(values: list, digits: int = 0) -> str:
    low, high = (f"{value:,.{digits}f}" for value in (min(values), max(values)))
    return low if low == high else f"{low}–{high}"


def _count(found: list[dict], column: str, named: str = "", limit: float | None = None, more: str = "") -> Cell:
    """Total over files; below it the file with the largest share (and the task named), marked over `limit` percent."""
    known = [row for row in found if row[column] is not None]
    total = sum(row[column] for row in known)
    if not total:
        return Cell("0", "full") if known else Cell("–", "none")
    worst = max(known, key=lambda row: share(row, column))
    small = f"{percent(share(worst, column))} % {name(worst)}" + (f", {style.task(worst[named])}" if named else "")
    due = limit is not None and share(worst, column) > limit
    return Cell(f"{total:,}", "lack named" if due else "named", small=small + more)


def _worst_length(contents: Contents, task: str) -> dict | None:
    rows = [row for row in contents.tables["pieces"] if row["task"] == task and row["over_length"]]
    return max(rows, key=lambda row: row["over_length"], default=None)


def _cut(contents: Contents, task: str, row: dict | None) -> bool:
    return row is not None and row["over_length"] > CUT and kind(contents, task) not in (*WINDOWED, *CUT_BY_DESIGN)


def _long(contents: Contents, task: str) -> Cell:
    row = _worst_length(contents, task)
    if row is None:
        return Cell("0", "full")
    what = "windows" if kind(contents, task) in WINDOWED else "cut"
    what += " by design" if kind(contents, task) in CUT_BY_DESIGN else ""
    css = "lack named" if _cut(contents, task, row) else "named"
    return Cell(percent(row["over_length"]), css, small=f"{what}, {name(row)}")


def findings(contents: Contents) -> list[str]:
    """One sentence for everything that is marked; empty where nothing is."""
    lines = []
    for task, found in files(contents).items():
        for column, named, limit, what in (
            ("overlap_train", "overlap_with", 0, "occur whole in the training data of {}"),
            ("context_train", "context_with", 0, "have a context, premise or sentence from the training data of {}"),
            ("overlap_dev", "", 0, "occur in the dev set by which choices are made"),
            ("duplicates", "", DUPLICATES, "repeat an earlier one"),
        ):
            due = [row for row in found if share(row, column) > limit]
            if due:
                worst = max(due, key=lambda row: share(row, column))
                what = what.format(style.task(worst[named]) if named else "")
                more = f"; {len(due) - 1} more {'file' if len(due) == 2 else 'files'}" if len(due) > 1 else ""
                lines.append(
                    f"{style.task(task)}, {name(worst)}: {worst[column]:,} of {worst['n']:,} examples "
                    f"({percent(share(worst, column))} %) {what}{more}."
                )
        worst = max(found, key=lambda row: row["majority"] or 0)
        if (worst["majority"] or 0) > MAJORITY and kind(contents, task) != "tagging":
            lines.append(f"{style.task(task)}, {name(worst)}: one label is {number(worst['majority'], 0)} %.")
        row = _worst_length(contents, task)
        if _cut(contents, task, row):
            long = number(row["over_length"])
            lines.append(f"{style.task(task)}, {name(row)}: {long} % of the examples are cut ({row['model']}).")
    for model, codes in unknown(contents).items():
        bad = {code: value for code, value in codes.items() if value > UNKNOWN}
        if bad:
            worst_code = max(bad, key=lambda code: bad[code])
            more = f"; {plural(len(bad) - 1, 'more language')}" if len(bad) > 1 else ""
            lines.append(f"{model}: {number(bad[worst_code], 2)} % of the pieces of {worst_code} are unknown{more}.")
    return lines


# ---- pieces
def groups(contents: Contents, apart: tuple[str, ...] = ("over_length",)) -> dict[str, list[dict]]:
    """Rows of pieces.csv by model; models whose rows are equal but for the columns `apart` are one, `a, b`.

    By default those with the same tokenizer: `over_length` depends on a model's length limits too.
    """
    by_model: dict[str, list[dict]] = {}
    for row in contents.tables["pieces"]:
        by_model.setdefault(row["model"], []).append(row)
    names: dict[tuple, list[str]] = {}
    for model in [name for name in contents.models if name in by_model]:
        same = tuple(tuple(v for k, v in row.items() if k not in ("model", *apart)) for row in by_model[model])
        names.setdefault(same, []).append(model)
    return {", ".join(models): by_model[models[0]] for models in names.values()}


def _mean(rows: list[dict], column: str) -> float | None:
    """Mean over files: of what is per word weighted by their words, else by their pieces (those of the sample)."""
    known = [row for row in rows if row[column] is not None]
    pieces_ = [row["pieces_mean"] * row["sampled"] for row in known]
    if column in ("pieces_per_word", "boundary_first"):
        words = [n / row["pieces_per_word"] for n, row in zip(pieces_, known, strict=True)]
        if column == "pieces_per_word":
            return sum(pieces_) / sum(words) if words else None
        pieces_ = words
    total = sum(pieces_)
    return sum(row[column] * weight for row, weight in zip(known, pieces_, strict=True)) / total if total else None


def unknown(contents: Contents) -> dict[str, dict[str, float]]:
    """models -> language -> percent of unknown pieces over all its files."""
    return {
        models: {code: _mean(found, "unknown") or 0.0 for code, found in _by_language(rows).items()}
        for models, rows in groups(contents).items()
    }


def _by_language(rows: list[dict]) -> dict[str, list[dict]]:
    found: dict[str, list[dict]] = {}
    for row in sorted(rows, key=lambda row: (row["language"] != "en", row["language"])):
        found.setdefault(row["language"], []).append(row)
    return found


def pieces(contents: Contents) -> Table:
    """Languages x models: unknown pieces, pieces a word, words that begin with a bare boundary."""
    by_model = {models: _by_language(rows) for models, rows in groups(contents).items()}
    codes = sorted({code for one in by_model.values() for code in one}, key=lambda code: (code != "en", code))
    rows = []
    for code in codes:
        row: list = [code]
        for one in by_model.values():
            found = one.get(code, [])
            share_ = _mean(found, "unknown")
            shade = None if share_ is None else min(share_ / UNKNOWN, 1.0)
            due = share_ is not None and share_ > UNKNOWN
            row.append(Cell(number(share_, 3), "lack" if due else "", None if due else shade))
            row += [number(_mean(found, "pieces_per_word"), 2), number(_mean(found, "boundary_first"), 0)]
        rows.append(row)
    several = len(by_model) > 1
    columns = ["language"]
    for models in by_model:
        head = f"{models}: " if several else ""
        columns += [f"{head}unknown %", f"{head}pieces a word", f"{head}bare boundary first %"]
    caption = (
        "What the tokenizers make of each language, over all its files. unknown = percent of the pieces that are the "
        f"unknown token (shaded, marked over {UNKNOWN:g} %); pieces a word = words by white space, in tagging as given "
        "(a dash: written without spaces); bare boundary first = percent of tagged words whose first piece is the word "
        "boundary alone, on which no label should sit. All columns: `pieces.csv`."
    )
    if not several:
        caption = f"Of {next(iter(by_model), 'no model')}. {caption}"
    return Table("pieces", caption, columns, rows, 1)


# ---- everything
def all_data(contents: Contents) -> Table:
    """data.csv as it is."""
    return _whole("data_all", "data", contents.tables["data"], "All columns of `data.csv`, a row a file.")


def all_pieces(contents: Contents) -> Table:
    """pieces.csv, models that share a tokenizer and its rows joined."""
    rows = [{**row, "model": models} for models, found in groups(contents, ()).items() for row in found]
    about = "All columns of `pieces.csv`, a row a file; models with the same tokenizer and length limits in one row. "
    about += "sampled = examples that were measured, at most 2,000."
    return _whole("pieces_all", "pieces", rows, about)


def _whole(name: str, table: str, rows: list[dict], caption: str) -> Table:
    text = {"task", "language", "split", "label_balance", "overlap_with", "context_with", "model"}
    columns = sorted(COLUMNS[table], key=lambda column: column not in ("model", "task", "language", "split"))

    def shown(column: str, value) -> str:
        if value is None:
            return "–"
        if column in ("overlap_with", "context_with", "task"):
            return style.task(str(value))
        digits = {"unknown": 3, "pieces_per_word": 2}.get(column, 1)
        return str(value) if column in text or isinstance(value, int) else number(value, digits)

    cells = [[shown(column, row[column]) for column in columns] for row in rows]
    return Table(name, caption, [column.replace("_", " ") for column in columns], cells, 4 if table == "pieces" else 3)
