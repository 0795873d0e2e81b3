"""A sheet of successful attacks for readers to judge, and what their answers say.

What an attack calls a success need not be one: the edited text may mean something else, so that the gold label no
longer holds, or nothing at all. For data that are not generated only readers can say how often.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path

from xstilts.attacks.visible import visible
from xstilts.errors import UserError
from xstilts.files import read_jsonl, write_text
from xstilts.report import examples
from xstilts.schema import read_yaml
from xstilts.text_table import table

COLUMNS = ("id", "attack", "target", "language", "model", "original", "adversarial", "other", "gold", "label_holds",
           "readable", "note")  # fmt: skip
QUESTIONS = ("label_holds", "readable")
ALLOWED = ("yes", "no", "unsure")
ITEMS = 100
SUCCEEDED = '"succeeded"'


def sheet(results: Path, items: int = ITEMS, seed: int = 0) -> str:
    """CSV text of `items` successes of the adaptive attacks below `results`, fewer where there are fewer.

    Attacks take turns, within an attack its languages, within a language its successes in an order hashed from `seed`:
    the same results and seed give the same bytes. Of one example under one attack only one model's text is taken.
    Raises UserError where nothing succeeded.
    """
    chosen = _turns(_strata(Path(results), seed), items)
    if not chosen:
        raise UserError(f"{results}/attacks: no successful attack there. Run the study first: make run STUDY=...")
    known: dict[tuple[str, str], dict[str, dict]] = {}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for place, row in chosen:
        _, model, intermediate, cell, target, language = place
        if (target, language) not in known:
            known[target, language] = _examples(Path(results), target, language)
        names = {"id": f"{'/'.join(place)}/{row['id']}", "attack": place[0], "target": target, "language": language,
                 "model": f"{model}.{intermediate}.{cell}"}  # fmt: skip
        about = names | _texts(row, known[target, language])
        writer.writerow([_safe(about.get(column, "")) for column in COLUMNS])
    return text.getvalue()


def _strata(results: Path, seed: int) -> dict[str, dict[str, list]]:
    """attack -> language -> [(hash, place, row)] of successes, in the order of their hashes."""
    best: dict[tuple, tuple] = {}
    for path in sorted((results / "attacks").glob("*/*/*/s*/*/*.jsonl")):
        place = (*path.relative_to(results / "attacks").parts[:-1], path.stem)
        for row in _successes(path):
            order = hashlib.sha256("\t".join([str(seed), *place, str(row["id"])]).encode()).hexdigest()
            key = (place[0], *place[-2:], row["id"])
            if key not in best or order < best[key][0]:
                best[key] = (order, place, row)
    found: dict[str, dict[str, list]] = {}
    for one in sorted(best.values(), key=lambda one: one[0]):
        found.setdefault(one[1][0], {}).setdefault(one[1][-1], []).append(one)
    return found


def _successes(path: Path) -> Iterator[dict]:
    with open(path, encoding="utf-8") as handle:
        for number, line in enumerate(handle, 1):
            if SUCCEEDED not in line:
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise UserError(f"{path}:{number}: not JSON: {error}") from error
            # rows of a published set have no original: others have checked it
            if row["outcome"] == "succeeded" and row["original"] and row["original"] != row["adversarial"]:
                yield row


def _turns(strata: dict[str, dict[str, list]], items: int) -> list[tuple]:
    """(place, row) of one success after the other: attacks in turn, each time another language."""
    queues = [_rotation(list(languages.values())) for _, languages in sorted(strata.items())]
    found = [one[1:] for one in _rotation([list(queue) for queue in queues])]
    return sorted(found[:items], key=lambda one: (one[0][0], one[0][-1], one[0], str(one[1]["id"])))


def _rotation(lists: list[list]) -> list:
    """First items of all lists, then their second ones ..."""
    longest = max(map(len, lists), default=0)
    return [one[place] for place in range(longest) for one in lists if place < len(one)]


def _examples(results: Path, target: str, language: str) -> dict[str, dict]:
    path = results / "examples" / target / language / "test.jsonl"
    return {str(row["id"]): row for row in read_jsonl(path)} if path.is_file() else {}


def _texts(row: dict, known: dict[str, dict]) -> dict[str, str]:
    """The changed fields before and after, the example's other fields, and its gold label or answer."""
    example, edited = examples.fitting(row, known), examples.changed(row)
    before, after = ({name: visible(pair[place]) for name, pair in edited.items()} for place in (0, 1))
    return {
        "original": _fields(before) if len(before) > 1 else "".join(before.values()),
        "adversarial": _fields(after) if len(after) > 1 else "".join(after.values()),
        "other": _fields(examples.others(row, example)),
        "gold": examples.gold(example, known),
    }


def _fields(texts: dict[str, str]) -> str:
    return "\n".join(f"{name}: {text}" for name, text in texts.items())


def _safe(text: str) -> str:
    """Text that a spreadsheet takes for a formula gets an apostrophe before it."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") and text != "" else text


# ---- a filled sheet
def shares(path: Path) -> str:
    """What a filled sheet says: of each attack and all the share of `yes` among `yes` and `no`, with Wilson's 95 %
    interval; `unsure`, unfilled and invalid answers are counted apart. Raises UserError for a file that is no sheet."""
    rows = _read(path)
    attacks = [*sorted({row["attack"] for row in rows}), "all"]
    lines = []
    for attack in attacks:
        own = [row for row in rows if attack in (row["attack"], "all")]
        lines.append([attack, str(len(own)), *(_share([row[name] for row in own]) for name in QUESTIONS)])
    empty = sum(any(_answer(row[name]) == "" for name in QUESTIONS) for row in rows)
    wrong = [
        f"row {number}, {name}: {row[name]!r}"
        for number, row in enumerate(rows, 2)
        for name in QUESTIONS
        if _answer(row[name]) not in ("", *ALLOWED)
    ]
    text = table(f"{path}: share of yes", ["attack", "items", *QUESTIONS], lines, count=False)
    text += f"\n{empty} of {len(rows)} rows are not filled in; {len(wrong)} answers are invalid"
    return text + (f" (allowed: {', '.join(ALLOWED)}): {'; '.join(wrong[:10])}" if wrong else ".")


def _read(path: Path) -> list[dict]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as handle:
            start = handle.readline()
            handle.seek(0)
            separator = ";" if start.count(";") > start.count(",") else ","  # as spreadsheets of many locales save it
            reader = csv.DictReader(handle, delimiter=separator)
            lack = [name for name in ("attack", *QUESTIONS) if name not in (reader.fieldnames or [])]
            if lack:
                raise UserError(f"{path}: no hand-check sheet: it lacks the columns {', '.join(lack)}")
            return [{name: row.get(name) or "" for name in COLUMNS} for row in reader]
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}. Write a sheet first: handcheck STUDY --out FILE") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a CSV file in UTF-8: {error}. Save the sheet as CSV (UTF-8).") from error


def _answer(text: str) -> str:
    return text.strip().lower()


def _share(answers: list[str]) -> str:
    """`81.3 % [62.1, 92.1] of 24, 3 unsure`."""
    from xstilts.analysis.bootstrap import wilson

    given = [_answer(text) for text in answers]
    yes, judged, unsure = given.count("yes"), given.count("yes") + given.count("no"), given.count("unsure")
    if not judged:
        return f"nothing judged, {unsure} unsure"
    low, high = wilson(yes, judged)
    return f"{100 * yes / judged:.1f} % [{low:.1f}, {high:.1f}] of {judged}, {unsure} unsure"


def _results(study: str, results: Path | None) -> Path:
    """The results folder of a study file (by the name that it gives itself) or the folder itself."""
    folder = results or Path(study)
    if not results and folder.suffix in (".yaml", ".yml"):
        name = read_yaml(folder).get("study")
        if not name:
            raise UserError(f"{study}: study: missing. Give the results folder with --results")
        folder = Path("results", str(name))
    if not (folder / "attacks").is_dir():
        raise UserError(f"{folder}: no attacks here: run the study first, or give its results folder with --results")
    return folder


def main(argv: list[str] | None = None) -> int:
    """`python -m xstilts handcheck`: write a sheet, or read one that was filled in."""
    parser = argparse.ArgumentParser(prog="python -m xstilts handcheck", description=__doc__.split("\n")[0])
    parser.add_argument("study", nargs="?", help="a study file, or its results folder")
    parser.add_argument("--out", type=Path, help="the sheet to write, .csv; never one that is there")
    parser.add_argument("--read", type=Path, help="a sheet that was filled in: prints the shares")
    parser.add_argument("--results", type=Path, help="results folder (default: results/<study>)")
    parser.add_argument("--items", type=int, default=ITEMS, help=f"how many successes (default: {ITEMS})")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    if options.read:
        print(shares(options.read))
        return 0
    if not options.study or not options.out:
        raise UserError("handcheck: give a study and --out sheet.csv, or --read sheet.csv")
    if options.items < 1:
        raise UserError(f"--items {options.items}: allowed: 1 or more")
    if options.out.exists():
        raise UserError(f"{options.out}: is there already, perhaps filled in. Name another file, or read it: --read")
    text = sheet(_results(options.study, options.results), options.items, options.seed)
    write_text(options.out, "\ufeff" + text)  # spreadsheets read UTF-8 by this mark
    rows = sum(1 for _ in csv.reader(io.StringIO(text))) - 1
    print(f"{options.out}: {rows} items. Fill in {' and '.join(QUESTIONS)} with {', '.join(ALLOWED)}; then --read it.")
    return 0
