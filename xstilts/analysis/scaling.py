"""scaling.csv: how a score, its gain and its robustness change with model size, or why that cannot be said."""

from __future__ import annotations

import numpy as np

from xstilts.analysis import bootstrap
from xstilts.analysis.comparisons import NONE
from xstilts.analysis.estimates import Estimates
from xstilts.analysis.robustness import Outcomes

MEASURES = ("score", "gain", "attacked", "robustness_change")
LEAST = 3  # sizes: two points always lie on a line
LANGUAGE = "mean_non_en"


def rows(spec: dict, estimates: Estimates, outcomes: Outcomes) -> list[dict]:
    """A row a family, target, intermediate and measure, fitted or refused.

    Measures are means over the non-English languages: `score`; `gain` = score minus that of `none`; `attacked` =
    score under attack, mean over attacks; `robustness_change` = attacked minus attacked of `none`. slope: points per
    tenfold non-embedding parameters, least squares within one family, 95 % interval by bootstrap.
    """
    families = list(dict.fromkeys(model["family"] for model in spec["models"].values()))
    intermediates = list(dict.fromkeys(cell["intermediate"] for cell in spec["cells"]))
    result = []
    for family in families:
        for target in spec["targets"]:
            for intermediate in intermediates:
                for measure in MEASURES:
                    points = _points(spec, family, target, intermediate, measure, estimates, outcomes)
                    names = {"family": family, "target": target, "intermediate": intermediate, "measure": measure}
                    result.append({**names, "n_sizes": len(points), **_fit(points, intermediate, measure)})
    return result


def _fit(points: dict[int, np.ndarray], intermediate: str, measure: str) -> dict:
    if intermediate == NONE and measure in ("gain", "robustness_change"):
        return {"status": "refused", "why": "`none` is what the others are compared with"}
    if len(points) < LEAST:
        sizes = {0: "no size has", 1: "only 1 size has", 2: "only 2 sizes have"}[len(points)]
        return {"status": "refused", "why": f"{sizes} this measure; a trend needs at least {LEAST}"}
    slope = bootstrap.slopes(np.log10(np.array(list(points), dtype=float)), np.stack(list(points.values())))
    low, high = bootstrap.interval(slope)
    why = "least squares on log10 of non-embedding parameters; slope in points per tenfold size"
    return {"slope": float(slope[0]), "ci_low": low, "ci_high": high, "status": "fitted", "why": why}


def _points(spec, family, target, intermediate, measure, estimates, outcomes) -> dict[int, np.ndarray]:
    """Non-embedding parameters -> vector (samples + 1,), smallest first; equal sizes: the first of the study."""
    points = {}
    for model, about in spec["models"].items():
        if about["family"] != family:
            continue
        if measure == "score":
            vector = estimates.get(model, intermediate, target, LANGUAGE)
        elif measure == "gain":
            vector = estimates.gain(model, intermediate, target, LANGUAGE)[0]
        else:
            vector = _attacked(spec, model, intermediate, target, outcomes)
            if measure == "robustness_change" and vector is not None:
                before = _attacked(spec, model, NONE, target, outcomes)
                vector = None if before is None else vector - before
        if vector is not None:
            points.setdefault(about["non_embedding_parameters"], vector)
    return dict(sorted(points.items()))


def _attacked(spec: dict, model: str, intermediate: str, target: str, outcomes: Outcomes) -> np.ndarray | None:
    """Mean over attacks of the mean over seeds; None unless every attack of the study has a result."""
    means = []
    for attack in spec["attacks"]:
        cells = [
            (attack, model, intermediate, cell["seed"], target)
            for cell in spec["attack_cells"]
            if (cell["attack"], cell["model"], cell["intermediate"]) == (attack, model, intermediate)
        ]
        vectors = [outcomes.get(cell, LANGUAGE, "attacked") for cell in cells]
        vectors = [vector for vector in vectors if vector is not None]
        if not vectors:
            return None
        means.append(np.mean(vectors, axis=0))
    return np.mean(means, axis=0) if means else None
