"""A few successful attacks to look at: before and after, changes marked, nothing hidden, nothing interpreted.

The choice is seeded by names: the same results show the same texts, and another attack moves no choice.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from xstilts.analysis import load, outcomes
from xstilts.attacks.segmentation import graphemes
from xstilts.attacks.visible import ADDED, EQUAL, REMOVED, segments, visible
from xstilts.errors import UserError
from xstilts.files import read_jsonl
from xstilts.report import examples, style
from xstilts.report.contents import Contents

SHOWN, EACH = 24, 3  # items in all (at least one an attack), and of one attack
LONGEST = 300  # clusters shown of a field that did not change
AROUND = 60  # clusters shown on each side of a change
TOKEN = re.compile("(⟨[^⟨⟩]{1,8}⟩)")


def gallery(contents: Contents, results: Path) -> list[dict]:
    """[{attack, items: [{target, language, name, direction, model, intermediate, seed, queries, clean, attacked,
    fields: [(field, before, after)], others: [(field, text)], gold}]}]; before, after: see `difference`."""
    names = contents.attacked.made()
    each = min(EACH, max(1, SHOWN // max(len(names), 1)))
    used: dict[str, int] = {}
    found = [{"attack": attack, "items": _items(contents, results, attack, each, used)} for attack in names]
    return [one for one in found if one["items"]]


def _items(contents: Contents, results: Path, attack: str, each: int, used: dict[str, int]) -> list[dict]:
    """Up to `each` successes of an attack, in languages that were shown least and in different targets."""
    places = [
        (run, code)
        for run, codes in outcomes.runs(contents.spec)
        if run.family == (attack, outcomes.ADAPTIVE, "")
        for code in codes
    ]
    items, targets = [], []

    def order(place: tuple) -> tuple:
        run, code = place
        return used.get(code, 0), targets.count(run.target), _hash(attack, *run[1:], code)

    while places and len(items) < each:
        run, code = place = min(places, key=order)
        places.remove(place)
        row = _success(outcomes.file(run, code, results), attack)
        if row:
            known = load.examples(results, run.target, code, "test") or []
            items.append(_item(contents, run, code, row, {str(one["id"]): one for one in known}))
            used[code] = used.get(code, 0) + 1
            targets.append(run.target)
    return items


def _success(path: Path, attack: str) -> dict | None:
    """One success of a file, chosen by a hash; None where there is none."""
    try:
        rows = read_jsonl(path)
    except UserError:  # not there: the page names it as missing
        return None
    rows = [row for row in rows if row["outcome"] == "succeeded" and row.get("original") != row.get("adversarial")]
    return min(rows, key=lambda row: _hash(attack, row["id"])) if rows else None


def _hash(*names: object) -> str:
    return hashlib.sha256("\t".join(map(str, names)).encode("utf-8", "backslashreplace")).hexdigest()


def _item(contents: Contents, run: outcomes.Run, code: str, row: dict, known: dict[str, dict]) -> dict:
    about, example = contents.catalog.languages.get(code, {}), examples.fitting(row, known)
    return {
        "target": style.target(run.target), "language": code, "name": about.get("name", code),
        "direction": about.get("direction", "ltr"), "model": run.model,
        "intermediate": contents.label(run.intermediate, run.target), "seed": run.seed, "queries": row["queries"],
        "clean": style.number(100 * row["clean"], 0), "attacked": style.number(100 * row["attacked"], 0),
        "fields": [(name, *difference(*pair)) for name, pair in examples.changed(row).items()],
        "others": [(name, _short(text)) for name, text in examples.others(row, example).items()],
        "gold": _short(visible(examples.gold(example, known))),
    }  # fmt: skip


def _short(text: str) -> str:
    clusters = graphemes(text)
    return text if len(clusters) <= LONGEST else "".join(clusters[:LONGEST]) + " …"


def difference(before: str, after: str) -> tuple[list, list]:
    """Both texts as lists of (kind, words), long unchanged stretches cut."""
    parts = _cut(segments(before, after))
    return [_pieces(kind, text) for kind, text in parts if kind != ADDED], [
        _pieces(kind, text) for kind, text in parts if kind != REMOVED
    ]


def _pieces(kind: str, text: str) -> tuple[str, list[tuple[bool, str]]]:
    """(kind, [(whether it is the name of a character that cannot be seen, text)])."""
    pieces = [piece for piece in TOKEN.split(visible(text)) if piece]
    return kind, [(TOKEN.fullmatch(piece) is not None, piece) for piece in pieces]


def _cut(parts: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Unchanged stretches shortened to `AROUND` clusters beside each change."""
    found = []
    for index, (kind, text) in enumerate(parts):
        if kind == EQUAL:
            clusters = graphemes(text)
            left, right = AROUND if index else 0, AROUND if index < len(parts) - 1 else 0
            if len(clusters) > left + right + 10:
                ends = "".join(clusters[:left]), "".join(clusters[len(clusters) - right :])
                text = " … ".join(ends).strip(" ") if not all(ends) else " … ".join(ends)
        found.append((kind, text))
    return found
