"""scaling.csv: how a score, its gain and its robustness change with model size, or why that cannot be said."""

from __future__ import annotations

import numpy as np

from xstilts.analysis import bootstrap
from xstilts.analysis.comparisons import NONE
from xstilts.analysis.estimates import Estimates
from xstilts.analysis.outcomes import ADAPTIVE, Outcomes

MEASURES = ("score", "gain", "attacked", "robustness_change")
LEAST = 3  # sizes: two points always lie on a line
LANGUAGE = "mean_non_en"


def rows(spec: dict, estimates: Estimates, outcomes: Outcomes) -> list[dict]:
    """A row a family, target, intermediate and measure, fitted or refused.

    Measures are means over the non-English languages: `score`; `gain` = score minus that of `none`; `attacked` =
    score under the study's adaptive attacks of the target, plain mean over them (`why` names them), a size counts where
    it has all of them; `robustness_change` = attacked minus attacked of `none`, paired by example and seed. slope:
    points per tenfold non-embedding parameters, least squares within one family, 95 % interval by bootstrap.
    """
    families = list(dict.fromkeys(model["family"] for model in spec["models"].values()))
    intermediates = list(dict.fromkeys(cell["intermediate"] for cell in spec["cells"]))
    attacked = _Attacked(outcomes)
    result = []
    for family in families:
        for target in spec["targets"]:
            for intermediate in intermediates:
                for measure in MEASURES:
                    points = _points(spec, family, target, intermediate, measure, estimates, attacked)
                    names = {"family": family, "target": target, "intermediate": intermediate, "measure": measure}
                    fit = _fit(points, intermediate, measure)
                    if fit["status"] == "fitted" and measure in ("attacked", "robustness_change"):
                        fit["why"] += f"; mean over attacks: {', '.join(attacked.attacks[target])}"
                    result.append({**names, "n_sizes": len(points), **fit})
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


def _points(spec, family, target, intermediate, measure, estimates, attacked) -> dict[int, np.ndarray]:
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
            vector = attacked.mean(measure, model, intermediate, target)
        if vector is not None:
            points.setdefault(about["non_embedding_parameters"], vector)
    return dict(sorted(points.items()))


class _Attacked:
    """`attacked` and `robustness_change` of every cell, mean over the adaptive attacks of its target."""

    def __init__(self, outcomes: Outcomes):
        self.attacks: dict[str, list[str]] = {}  # target -> attacks that have languages other than English
        self._vectors: dict[tuple, np.ndarray] = {}
        for family in outcomes.families:
            if family.mode != ADAPTIVE:
                continue
            for target, codes in outcomes.languages[family].items():
                if any(code != "en" for code in codes):
                    self.attacks.setdefault(target, []).append(family.attack)
            measured = outcomes.measured(family).attacked
            for cell in outcomes.cells[family]:
                key = (family.attack, *cell)
                self._vectors["attacked", *key] = measured.get(*cell, LANGUAGE)
                self._vectors["robustness_change", *key] = measured.gain(*cell, LANGUAGE)[0]

    def mean(self, measure: str, model: str, intermediate: str, target: str) -> np.ndarray | None:
        """Mean over attacks; None unless every attack of the target has a result."""
        keys = [(measure, attack, model, intermediate, target) for attack in self.attacks.get(target, [])]
        vectors = [self._vectors.get(key) for key in keys]
        return None if not vectors or any(vector is None for vector in vectors) else np.mean(vectors, axis=0)
