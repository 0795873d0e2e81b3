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
    score under adaptive attacks, plain mean over those that every attacked size of the family has in the same languages
    (`why` names them; what ran on nothing but sources of static texts does not count); `robustness_change` = attacked
    minus attacked of `none`, paired by example and seed. slope: points per tenfold non-embedding parameters, least
    squares within one family, 95 % interval by bootstrap.
    """
    families = list(dict.fromkeys(model["family"] for model in spec["models"].values()))
    intermediates = list(dict.fromkeys(cell["intermediate"] for cell in spec["cells"]))
    attacked = _Attacked(spec, outcomes)
    result = []
    for family in families:
        for target in spec["targets"]:
            for intermediate in intermediates:
                for measure in MEASURES:
                    points, attacks = _points(spec, family, target, intermediate, measure, estimates, attacked)
                    names = {"family": family, "target": target, "intermediate": intermediate, "measure": measure}
                    fit = _fit(points, intermediate, measure)
                    if attacks and (fit["status"] == "fitted" or not points):
                        fit["why"] += attacks
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


def _points(spec, family, target, intermediate, measure, estimates, attacked) -> tuple[dict[int, np.ndarray], str]:
    """(non-embedding parameters -> vector (samples + 1,), smallest first; a remark on attacks).

    Equal sizes: the first of the study.
    """
    sizes = {model: about for model, about in spec["models"].items() if about["family"] == family}
    if measure == "score":
        found, about = {model: estimates.get(model, intermediate, target, LANGUAGE) for model in sizes}, ""
    elif measure == "gain":
        found, about = {model: estimates.gain(model, intermediate, target, LANGUAGE)[0] for model in sizes}, ""
    else:
        found, about = attacked.means(measure, list(sizes), intermediate, target)
    points = {}
    for model, vector in found.items():
        if vector is not None:
            points.setdefault(sizes[model]["non_embedding_parameters"], vector)
    return dict(sorted(points.items())), about


class _Attacked:
    """`attacked` and `robustness_change` of every cell that was attacked adaptively."""

    def __init__(self, spec: dict, outcomes: Outcomes):
        # (measure, intermediate, target) -> model -> (attack, languages) -> vector
        self._vectors: dict[tuple, dict[str, dict[tuple, np.ndarray]]] = {}
        for family in outcomes.families:
            if family.mode != ADAPTIVE or _source_only(spec, family.attack):
                continue
            measured = outcomes.measured(family).attacked
            for model, intermediate, target in outcomes.cells[family]:
                cell = (model, intermediate, target, LANGUAGE)
                made = family.attack, tuple(sorted(measured.codes(*cell)))
                for measure, vector in zip(MEASURES[2:], (measured.get(*cell), measured.gain(*cell)[0]), strict=True):
                    if vector is not None and made[1]:
                        models = self._vectors.setdefault((measure, intermediate, target), {})
                        models.setdefault(model, {})[made] = vector

    def means(self, measure: str, models: list[str], intermediate: str, target: str) -> tuple[dict, str]:
        """(model -> mean over the attacks that every attacked one of `models` has in the same languages, a remark)."""
        known = self._vectors.get((measure, intermediate, target), {})
        known = {model: known[model] for model in models if model in known}
        if not known:
            return {}, ""
        shared = [made for made in next(iter(known.values())) if all(made in found for found in known.values())]
        if not shared:
            return {}, f"; no attack was run on all attacked sizes ({', '.join(known)}) in the same languages"
        means = {model: np.mean([found[made] for made in shared], axis=0) for model, found in known.items()}
        return means, f"; mean over attacks: {', '.join(attack for attack, _ in shared)}"


def _source_only(spec: dict, attack: str) -> bool:
    """Whether an attack ran on nothing but the cells whose texts were put to others (static mode)."""
    sources = {cell["source"] for cell in spec.get("transfer_cells", []) if cell["attack"] == attack}
    cells = [cell for cell in spec.get("attack_cells", []) if cell["attack"] == attack]
    return bool(sources) and all("{model}.{intermediate}.s{seed}".format(**cell) in sources for cell in cells)
