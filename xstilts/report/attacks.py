"""What the report knows of a study's attacks: the rows of robustness.csv by cell, stand-ins, what was not run."""

from __future__ import annotations

from statistics import fmean

from xstilts.analysis.outcomes import ADAPTIVE, MEANS, SET, STATIC
from xstilts.analysis.robustness import ALL

KEYS = ("attack", "mode", "source", "model", "intermediate", "target", "language")


class Attacks:
    """One row a cell: of several seeds their mean (seed `all`), else that of the only seed."""

    def __init__(self, spec: dict, tables: dict[str, list[dict]]):
        self.spec = spec
        self.names = list(spec["attacks"])
        found: dict[tuple, dict] = {}
        for row in tables["robustness"]:
            key = tuple(row[name] or "" for name in KEYS)
            if row["seed"] == ALL or key not in found:
                found[key] = row
        self._rows, self._table = found, tables["robustness"]
        self.transfer = tables["transfer"]
        self.changes = tables["robustness_changes"]

    def sets(self) -> list[str]:
        """Attacks that are published sets of texts, not made here."""
        return [name for name in self.names if self.spec["attacks"][name].get("set")]

    def made(self) -> list[str]:
        """Attacks that write their texts here."""
        return [name for name in self.names if name not in self.sets()]

    def row(self, attack: str, model: str, intermediate: str, target: str, language: str = "mean") -> dict | None:
        """The adaptive row of a cell; of a static set its own."""
        mode, source = (STATIC, SET) if attack in self.sets() else (ADAPTIVE, "")
        return self._rows.get((attack, mode, source, model, intermediate, target, language))

    def by_language(self, attack: str) -> dict[str, list[float]]:
        """language -> success rates of an adaptive attack, one a cell and target."""
        found: dict[str, list[float]] = {}
        for (name, mode, *_, language), row in self._rows.items():
            if (name, mode) == (attack, ADAPTIVE) and language not in MEANS and row["success_rate"] is not None:
                found.setdefault(language, []).append(row["success_rate"])
        return found

    def victims(self) -> set[tuple[str, str]]:
        """(model, intermediate) that transferred texts were put to."""
        return {(row["model"], row["intermediate"]) for row in self.transfer}

    def sources(self) -> list[str]:
        """Where transferred texts were made: model.intermediate.s1."""
        return list(dict.fromkeys(row["source"] for row in self.transfer))

    def transferred(self, attack: str, source: str, model: str, intermediate: str) -> dict | None:
        """Means over targets of transfer.csv's success rate and attacked score, and the targets."""
        wanted = (attack, source, model, intermediate)
        rows = [
            row for row in self.transfer
            if (row["attack"], row["source"], row["model"], row["intermediate"]) == wanted
            and row["success_rate"] is not None
        ]  # fmt: skip
        if not rows:
            return None
        means = {name: fmean(row[name] for row in rows) for name in ("success_rate", "attacked")}
        return means | {"targets": [row["target"] for row in rows]}

    def shared(self) -> tuple[list[str], dict[str, list[dict]]]:
        """(targets, attack made here -> its rows of the languages, cells, targets and sample sizes that all of these
        attacks have in common, in one order). Rows are empty where there is nothing in common."""
        found: dict[str, dict[tuple, dict]] = {}
        for (attack, mode, _, *place), row in self._rows.items():
            if mode == ADAPTIVE and place[-1] not in MEANS and row["clean"] is not None:
                found.setdefault(attack, {})[(*place, row["n"])] = row
        common = sorted(set.intersection(*map(set, found.values()))) if found else []
        targets = list(dict.fromkeys(place[2] for place in common))
        return targets, {name: [found[name][place] for place in common] for name in self.made() if name in found}

    def examples(self, static: bool = False) -> list[int]:
        """Fewest and most examples of one language in one file of the attacks made here, or of transferred texts."""
        sizes = [
            row["n"] for row in self._table
            if row["language"] not in MEANS and row["seed"] != ALL and row["source"] != SET
            and (row["mode"] == STATIC) == static
        ]  # fmt: skip
        return sorted({min(sizes), max(sizes)}) if sizes else []

    def stand_ins(self) -> list[str]:
        """A sentence for every attack that asks another model or a dictionary."""
        lines = []
        for attack in self.made():
            cells = [cell for cell in self.spec["attack_cells"] if cell["attack"] == attack]
            own = self.spec["attacks"][attack].get("stand_ins") or {}
            asked = next((cell["stand_ins"] for cell in cells if cell.get("stand_ins")), own)
            least = (self.spec["attacks"][attack].get("constraints") or {}).get("similarity") or {}
            parts = [text for text in (_mlm(asked, cells), _encoder(asked, least), _dictionaries(asked)) if text]
            if parts:
                lines.append(f"`{attack}`: {'; '.join(parts)}.")
        return lines

    def labels(self, attack: str) -> dict | None:
        """Of an attack's successes on generated data, whatever model and language: `successes` (how many), `broken` and
        `unreadable` (percent), and `worst`, (target, language, broken percent). None where none could be judged."""
        counts: dict[tuple[str, str], list[float]] = {}
        for (name, _, source, *_, target, language), row in self._rows.items():
            if name == attack and not source and language not in MEANS and row["broken"] is not None:
                successes = round((row["n"] - row["skipped"]) * row["success_rate"] / 100)
                found = counts.setdefault((target, language), [0, 0.0, 0.0])
                for place, share in enumerate((100, row["broken"], row["unreadable"])):
                    found[place] += successes * share / 100
        if not counts or not sum(found[0] for found in counts.values()):
            return None
        total, broken, unreadable = (sum(found[place] for found in counts.values()) for place in range(3))
        worst = max(counts, key=lambda key: counts[key][1] / max(counts[key][0], 1))
        return {
            "successes": round(total), "broken": 100 * broken / total, "unreadable": 100 * unreadable / total,
            "worst": (*worst, 100 * counts[worst][1] / max(counts[worst][0], 1)),
        }  # fmt: skip


def _mlm(asked: dict, cells: list[dict]) -> str:
    mlm = asked.get("mlm")
    if not mlm:
        return ""
    text = f"words from the masked language model `{mlm['model']}` ({mlm['intermediate']}, seed {mlm.get('seed', 1)})"
    same = mlm["model"] in {cell["model"] for cell in cells}
    return text + (", whose encoder is also one of the models attacked" if same else ", none of the models attacked")


def _encoder(asked: dict, least: dict) -> str:
    encoder = asked.get("encoder")
    if not encoder:
        return ""
    where = ", ".join(f"{key} {encoder[key]}" for key in ("layer", "pooling") if encoder.get(key) is not None)
    text = f"similarity or alignment by the encoder `{encoder['model']}`" + (f" ({where})" if where else "")
    limit = least.get("least")
    return text + (f", cosine at least {limit:g} on its own scale, not that of the paper's encoder" if limit else "")


def _dictionaries(asked: dict) -> str:
    names = asked.get("dictionaries")
    return f"dictionaries: {', '.join(map(str, names))}" if names else ""
