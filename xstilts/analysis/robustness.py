"""robustness.csv: scores before and after an attack, over the same sampled examples for every model."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from xstilts import paths
from xstilts.analysis import bootstrap, generated
from xstilts.analysis.load import inside
from xstilts.files import read_jsonl

Attacked = dict[tuple[str, str, str, int, str, str], dict]


def load(spec: dict, results: Path) -> tuple[Attacked, list[dict]]:
    """(outcomes by attack, model, intermediate, seed, target, language; what is missing).

    An entry holds `clean` and `attacked`, arrays (n, 1) of scores 0-1 or (n, 3) of counts (correct, predicted, gold),
    and the rows' `outcome`, `queries`, `perturbed`, `similarity` and `label` (`generated.Labels`).
    """
    found, missing, labels = {}, [], generated.Labels(spec, results)
    for cell in spec["attack_cells"]:
        names = {key: cell[key] for key in ("attack", "model", "intermediate", "seed")}
        for target in cell["targets"]:
            for language in spec["targets"][target]["languages"]:
                path = inside(results, paths.attack_rows(target, language), **names)
                if path.is_file():
                    rows = read_jsonl(path)
                    entry = _arrays(rows) | {"label": labels(target, language, rows)}
                    found[*names.values(), target, language] = entry
                else:
                    file = path.relative_to(results).as_posix()
                    missing.append({**names, "target": target, "language": language, "file": file})
    return found, missing


def _arrays(rows: list[dict]) -> dict:
    counts = any("clean_counts" in row for row in rows)
    return {
        name: np.array([row.get(f"{name}_counts", [0, 0, 0]) if counts else [row[name]] for row in rows], dtype=float)
        for name in ("clean", "attacked")
    } | {name: [row.get(name) for row in rows] for name in ("outcome", "queries", "perturbed", "similarity")}


class Outcomes:
    """Clean and attacked scores with replicates; the same draw of examples for every cell of a target."""

    def __init__(self, spec: dict, found: Attacked):
        self.languages = {target: identity["languages"] for target, identity in spec["targets"].items()}
        self.vectors: dict[tuple, dict[str, np.ndarray]] = {}
        samples, seed = spec["bootstrap"]["samples"], spec["bootstrap"]["seed"]
        for key, entry in found.items():
            width, rows = entry["clean"].shape[1], len(entry["clean"])
            rng = bootstrap.generator(seed, f"attack/{key[4]}/{rows}")
            sums = bootstrap.resampled_sums(np.hstack([entry["clean"], entry["attacked"]]), samples, rng)
            self.vectors[key] = {
                "clean": bootstrap.score(sums[:, :width], rows),
                "attacked": bootstrap.score(sums[:, width:], rows),
            }

    def get(self, cell: tuple, language: str, measure: str) -> np.ndarray | None:
        """`clean` or `attacked` of (attack, model, intermediate, seed, target) as a vector, or None."""
        codes = self.codes(cell[4], language)
        if not codes or any((*cell, code) not in self.vectors for code in codes):
            return None
        return np.mean([self.vectors[*cell, code][measure] for code in codes], axis=0)

    def codes(self, target: str, language: str) -> list[str]:
        """The languages behind a code, `mean` or `mean_non_en`."""
        if language not in ("mean", "mean_non_en"):
            return [language]
        return [code for code in self.languages[target] if language == "mean" or code != "en"]


def rows(spec: dict, found: Attacked, outcomes: Outcomes) -> list[dict]:
    """Rows a language, then `mean` and `mean_non_en` over the study's languages where all are there.

    clean, attacked: the task's score over all n examples (skipped ones keep their score). success_rate: succeeded /
    (succeeded + failed), the attacks on examples that were right before, in percent. queries, perturbed, similarity:
    means over attacked examples. broken: of the successful adversaries of generated data the share in percent whose
    label does not follow from the edited text any more; unreadable: the share that cannot be judged. ci: 95 %
    percentile interval of `attacked` over examples.
    """
    result = []
    for cell in spec["attack_cells"]:
        names = {key: cell[key] for key in ("attack", "model", "intermediate", "seed")}
        for target in cell["targets"]:
            for language in [*spec["targets"][target]["languages"], "mean", "mean_non_en"]:
                one = (*names.values(), target)
                attacked = outcomes.get(one, language, "attacked")
                if attacked is None:
                    continue
                entries = [found[*one, code] for code in outcomes.codes(target, language)]
                low, high = bootstrap.interval(attacked)
                result.append({
                    **names, "target": target, "language": language, "mode": "adaptive", **_summary(entries),
                    "clean": float(outcomes.get(one, language, "clean")[0]), "attacked": float(attacked[0]),
                    "ci_low": low, "ci_high": high,
                })  # fmt: skip
    return result


def _summary(entries: list[dict]) -> dict:
    """Counts are sums over languages; rates and means are plain means over languages, as scores are."""
    summary = {
        "n": sum(len(one["outcome"]) for one in entries),
        "skipped": sum(one["outcome"].count("skipped") for one in entries),
        "success_rate": _mean(
            [_mean([100.0 * (what == "succeeded") for what in one["outcome"] if what != "skipped"]) for one in entries]
        ),
    }
    for name in ("queries", "perturbed", "similarity"):
        pairs = [list(zip(one["outcome"], one[name], strict=True)) for one in entries]
        summary[name] = _mean([_mean([value for outcome, value in pair if outcome != "skipped"]) for pair in pairs])
    for name, verdicts in (("broken", ["broken"]), ("unreadable", ["unclear", "unreadable"])):
        summary[name] = _mean(
            [_mean([100.0 * (one in verdicts) for one in entry["label"] if one is not None]) for entry in entries]
        )
    return summary


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(sum(known) / len(known)) if known else None
