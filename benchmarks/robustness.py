"""The tables of docs/robustness.md: what a robustness study found -> benchmarks/results/robustness.json.

    python -m benchmarks.robustness STUDY.yaml RESULTS DATA_ROOT     # read a finished study's tables, rewrite the docs

Rows have a `piece`: cell (robustness.csv), change (robustness_changes.csv), transfer (transfer.csv), not run (the
plan's notices). Nothing is computed here but plain means over targets.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from benchmarks import store
from benchmarks.grids import grid

FILES = {"cell": "robustness", "change": "robustness_changes", "transfer": "transfer"}
KEPT = {
    "cell": "attack mode source model intermediate target language n clean attacked success_rate",
    "change": "attack mode source model intermediate target language change change_low change_high p_holm n_examples",
    "transfer": "attack target source model intermediate n success_rate",
}

TARGETS = ("xnli", "pawsx", "udpos", "panx", "xquad", "mlqa", "tydiqa", "bucc2018", "tatoeba")


def collect(config: Path, results: Path, data_root: str) -> list[dict]:
    """The rows of a finished study."""
    from xstilts import study
    from xstilts.schema import read_yaml

    rows = []
    for piece, name in FILES.items():
        with open(results / f"{name}.csv", encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if piece == "cell" and row["mode"] == "static" and row["source"] != "set":
                    continue  # transferred texts: transfer.csv sums them up
                if piece == "change" and row["language"] != "mean":
                    continue
                rows.append({"piece": piece} | {key: _value(row[key]) for key in KEPT[piece].split()})
    planned = study.load({**read_yaml(config), "data_root": data_root}, str(config))
    return rows + [{"piece": "not run", **row} for row in planned.not_run]


def _value(text: str):
    try:
        return round(float(text), 2)
    except ValueError:
        return text or None


def _of(rows: Sequence[dict], piece: str, **names) -> list[dict]:
    return [row for row in rows if row["piece"] == piece and all(row.get(key) == value for key, value in names.items())]


def _models(rows: Sequence[dict]) -> list[str]:
    return sorted({row["model"] for row in _of(rows, "cell")})


def _score(row: dict | None) -> str | None:
    """Score before and under attack, share of attacks that succeeded."""
    if row is None:
        return None
    rate = "–" if row["success_rate"] is None else f"{row['success_rate']:.0f} %"
    return f"{row['clean']:.0f} → {row['attacked']:.0f} ({rate})"


def by_target(rows: Sequence[dict]) -> str:
    """Attacks x targets, means over languages, for each plain model."""
    parts = []
    for model in _models(rows):
        own = _of(rows, "cell", mode="adaptive", model=model, intermediate="none", language="mean")
        found = {(row["attack"], row["target"]): row for row in own}
        lines = [
            [attack, *(_score(found.get((attack, target))) for target in TARGETS)]
            for attack in dict.fromkeys(row["attack"] for row in own)
        ]
        parts.append(f"`{model}`, no intermediate training:\n\n{grid(['attack', *TARGETS], lines)}\n")
    return "".join(parts)


def by_language(rows: Sequence[dict]) -> str:
    """Attacks x languages of each target, for the largest plain model."""
    parts, model = [], _models(rows)[-1] if _models(rows) else None
    for target in TARGETS:
        own = _of(rows, "cell", mode="adaptive", model=model, intermediate="none", target=target)
        own = [row for row in own if not row["language"].startswith("mean")]
        codes = list(dict.fromkeys(row["language"] for row in own))
        found = {(row["attack"], row["language"]): row for row in own}
        lines = [
            [attack, *(_score(found.get((attack, code))) for code in codes)]
            for attack in dict.fromkeys(row["attack"] for row in own)
        ]
        if lines:
            parts.append(f"{target} (`{model}`):\n\n{grid(['attack', *codes], lines)}\n")
    return "".join(parts)


def transfer(rows: Sequence[dict]) -> str:
    """Sources x victims of each static attack: share of the source's successes that beat the victim, plain means over
    targets."""
    own = _of(rows, "transfer")
    victims = list(dict.fromkeys((row["model"], row["intermediate"]) for row in own))
    lines = []
    for attack, source in dict.fromkeys((row["attack"], row["source"]) for row in own):
        line = [attack, source]
        for model, intermediate in victims:
            names = {"attack": attack, "source": source, "model": model, "intermediate": intermediate}
            rates = [row["success_rate"] for row in _of(own, "transfer", **names) if row["success_rate"] is not None]
            tried = sum(row["n"] for row in _of(own, "transfer", **names))
            line.append(f"{fmean(rates):.0f} % ({tried:.0f})" if rates else None)
        lines.append(line)
    header = ["attack", "made on", *(f"{model}, {intermediate}" for model, intermediate in victims)]
    return grid(header, lines) if lines else ""


def changes(rows: Sequence[dict]) -> str:
    """What the intermediate training changes, means over languages: points of the attacked score, 95 % interval."""
    own = _of(rows, "change", mode="adaptive", language="mean")
    lines = []
    for attack, model, name in dict.fromkeys((row["attack"], row["model"], row["intermediate"]) for row in own):
        found = {row["target"]: row for row in own if (row["attack"], row["model"], row["intermediate"]) == (
            attack, model, name)}  # fmt: skip
        line = [attack, model, name]
        for target in TARGETS:
            row = found.get(target)
            text = row and f"{row['change']:+.0f} [{row['change_low']:+.0f}, {row['change_high']:+.0f}]"
            line.append(text and text + ("*" if row["p_holm"] is not None and row["p_holm"] < 0.05 else ""))
        lines.append(line)
    return grid(["attack", "model", "after", *TARGETS], lines) if lines else ""


def sets(rows: Sequence[dict]) -> str:
    """Scores on published adversarial sets."""
    own = [row for row in _of(rows, "cell", source="set") if row["language"] == "en"]
    cells = list(dict.fromkeys((row["model"], row["intermediate"]) for row in own))
    lines = []
    for attack, target in dict.fromkeys((row["attack"], row["target"]) for row in own):
        found = {(row["model"], row["intermediate"]): row for row in own if row["attack"] == attack}
        number = next(iter(found.values()))["n"]
        lines.append([attack, target, int(number), *(f"{found[cell]['attacked']:.0f}" for cell in cells)])
    header = ["set", "model of", "n", *(f"{model}, {intermediate}" for model, intermediate in cells)]
    return grid(header, lines) if lines else ""


def not_run(rows: Sequence[dict]) -> str:
    """What was left out, and why."""
    lines: dict[tuple, list] = {}
    for row in _of(rows, "not run"):
        where = [row["target"]] if row.get("target") else []
        codes = " ".join(row.get("languages") or [])
        lines.setdefault((row["attack"], row["why"]), []).append(" ".join([*where, f"({codes})" if codes else ""]))
    found = [[attack, ", ".join(one.strip() for one in where if one.strip()) or "all", why]
             for (attack, why), where in lines.items()]  # fmt: skip
    return grid(["attack", "on", "why"], found) if found else ""


def main() -> None:
    """Collect a study and rewrite the document."""
    from benchmarks import performance

    if len(sys.argv) != 4:
        sys.exit(__doc__)
    rows = collect(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
    store.write(store.RESULTS / "robustness.json", {"machine": store.machine(), "rows": rows})
    performance.main()


if __name__ == "__main__":
    main()
