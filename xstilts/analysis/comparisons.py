"""comparisons.csv: each intermediate against `none`, and the chosen intermediate against the shallow baseline."""

from __future__ import annotations

from statistics import fmean

from xstilts.analysis import bootstrap
from xstilts.analysis.estimates import BASELINE, Estimates

NONE = "none"
MEANS = ("mean", "mean_non_en")


def chosen(spec: dict, records: dict, among: list[str] | None = None) -> dict[tuple[str, str], str]:
    """(model, target) -> the intermediate with the best English dev score, averaged over seeds.

    Ties go to the earlier one in the study. A run marked `failed` does not count. Retrieval has no target training
    and so no English dev score: `none` stands there, for choosing by the test would flatter the result. `among`: the
    intermediates to choose from; all by default.
    """
    result = {}
    for cell in spec["cells"]:
        for target in cell["targets"]:
            result.setdefault((cell["model"], target), NONE)
    for model, target in result:
        task = spec["targets"][target].get("training_task")
        scores: dict[str, list[float]] = {}
        for cell in [cell for cell in spec["cells"] if among is None or cell["intermediate"] in among]:
            record = records.get((cell["model"], cell["intermediate"], cell["seed"], task))
            if cell["model"] == model and target in cell["targets"] and record and not record.get("failed"):
                dev = record.get("dev", {}).get(task)
                if dev:
                    scores.setdefault(cell["intermediate"], []).append(dev["value"])
        if scores:
            result[model, target] = max(scores, key=lambda name: round(fmean(scores[name]), 6))
    return result


def rows(spec: dict, estimates: Estimates, choice: dict, baselines: dict[str, str]) -> list[dict]:
    """Paired differences of task scores (QA: mean of F1 and exact match) in points, with 95 % intervals.

    baselines: target -> name of its shallow baseline. Holm's correction runs over one family a question and kind of
    row: all single languages together, all `mean` rows, all `mean_non_en` rows.
    """
    families: dict[tuple, list[dict]] = {}
    result = []
    for model, intermediate, target in grid(spec):
        if intermediate != NONE:
            for language in [*spec["targets"][target]["languages"], *MEANS]:
                vector, seeds = estimates.gain(model, intermediate, target, language)
                names = {"model": model, "intermediate": intermediate, "baseline": NONE, "target": target}
                _add(result, families, estimates, names | {"language": language}, vector, seeds)
    for (model, target), intermediate in choice.items():
        baseline = baselines.get(target)
        for language in [*spec["targets"][target]["languages"], *MEANS] if baseline else []:
            score = estimates.get(model, intermediate, target, language)
            shallow = estimates.get(BASELINE, baseline, target, language)
            vector = None if score is None or shallow is None else score - shallow
            names = {"model": model, "intermediate": intermediate, "baseline": baseline, "target": target}
            seeds = estimates.seeds(model, intermediate, target, language)
            _add(result, families, estimates, names | {"language": language}, vector, seeds)
    adjust(families)
    return result


def grid(spec: dict) -> list[tuple[str, str, str]]:
    """(model, intermediate, target) of the study in its order, seeds folded together."""
    return list(
        dict.fromkeys(
            (cell["model"], cell["intermediate"], target) for cell in spec["cells"] for target in cell["targets"]
        )
    )


def _add(result: list, families: dict, estimates: Estimates, names: dict, vector, seeds: list[int]) -> None:
    if vector is None:
        return
    row = names | measures(vector, seeds, estimates, names["target"], names["language"])
    kind = names["language"] if names["language"] in MEANS else "language"
    families.setdefault((names["baseline"] == NONE, kind), []).append(row)
    result.append(row)


def measures(vector, seeds: list[int], estimates: Estimates, target: str, language: str) -> dict:
    """A paired difference in points with its 95 % interval, p, what it was taken over, and how."""
    low, high = bootstrap.interval(vector)
    spread = "seeds and examples" if len(seeds) > 1 else "examples only (1 seed)"
    return {
        "gain": float(vector[0]),
        "ci_low": low,
        "ci_high": high,
        "p": bootstrap.p_value(vector),
        "n_examples": estimates.examples(target, language),
        "n_seeds": len(seeds),
        "method": f"paired bootstrap over {spread}; {estimates.samples} samples",
    }


def adjust(families: dict[tuple, list[dict]]) -> None:
    """Give every row its p after Holm's correction over its family, and say so in its `method`."""
    for family in families.values():
        for row, adjusted in zip(family, bootstrap.holm([row["p"] for row in family]), strict=True):
            row["p_holm"] = adjusted
            row["method"] += f"; Holm over {len(family)}"
