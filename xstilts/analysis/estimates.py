"""Scores of all cells together with their bootstrap replicates, resampled so that every comparison is paired."""

from __future__ import annotations

import numpy as np

from xstilts.analysis import bootstrap
from xstilts.analysis.load import Metrics, task_score

BASELINE = "(baseline)"  # the model name under which shallow baselines are kept: (BASELINE, baseline name)


class Estimates:
    """Task scores 0-100 as vectors (samples + 1,): the observed value, then its bootstrap replicates.

    Two sources of spread are resampled, crossed: seeds, and test examples (Salevae, Ataman & Lignos, arXiv
    2509.22612). One draw of rows serves all models, intermediates and seeds of a target, and all its languages that
    have as many rows: differences are then paired by example, and for parallel test sets (XNLI, PAWS-X, XQuAD) also
    by translation. With one seed the intervals hold test-set noise only.
    """

    def __init__(
        self,
        spec: dict,
        metrics: dict[tuple[str, str, int, str, str], Metrics],
        given: dict[tuple[str, str, str], list[str]] | None = None,
        empty: float = 0.0,
    ):
        """given: languages of those cells (model, intermediate, target) that have others than their target has. empty:
        the score of a draw in which nothing is predicted and nothing is gold."""
        self.given = given or {}
        self.languages = {target: identity["languages"] for target, identity in spec["targets"].items()}
        self.samples, self.seed = spec["bootstrap"]["samples"], spec["bootstrap"]["seed"]
        self._values: dict[tuple[str, str, str, str], dict[int, np.ndarray]] = {}
        self.sizes: dict[tuple[str, str], int] = {}
        for (target, rows), group in self._groups(metrics).items():
            arrays = [array for _, array in group]
            rng = bootstrap.generator(self.seed, f"{target}/{rows}")
            sums = bootstrap.resampled_sums(np.hstack(arrays), self.samples, rng)
            edge = 0
            for (model, intermediate, seed, _, language), array in group:
                width = array.shape[1]
                values = bootstrap.score(sums[:, edge : edge + width], rows, empty)
                self._values.setdefault((model, intermediate, target, language), {})[seed] = values
                self.sizes[target, language] = rows
                edge += width

    @staticmethod
    def _groups(metrics: dict) -> dict:
        groups: dict[tuple[str, int], list] = {}
        for key, arrays in metrics.items():
            array = np.asarray(task_score(arrays), dtype=float)
            groups.setdefault((key[3], len(array)), []).append((key, array))
        return groups

    def seeds(self, model: str, intermediate: str, target: str, language: str) -> list[int]:
        """Seeds that have a score; for `mean` and `mean_non_en`, those that have one in every language."""
        parts = self.codes(model, intermediate, target, language)
        sets = [set(self._values.get((model, intermediate, target, code), {})) for code in parts]
        return sorted(set.intersection(*sets)) if sets else []

    def get(self, model: str, intermediate: str, target: str, language: str, seeds: list[int] | None = None):
        """The mean over seeds as a vector (samples + 1,), or None where any part of it is missing.

        language: a code, `mean` (over the study's languages) or `mean_non_en`. Cells with the same seeds share the
        draws of seeds, so their differences are paired by seed too.
        """
        seeds = self.seeds(model, intermediate, target, language) if seeds is None else seeds
        if not seeds:
            return None
        parts = self.codes(model, intermediate, target, language)
        by_seed = [
            np.mean([self._values[model, intermediate, target, code][seed] for code in parts], axis=0) for seed in seeds
        ]
        return (self.weights(seeds) * np.stack(by_seed, axis=1)).sum(axis=1)

    def weights(self, seeds: list[int]) -> np.ndarray:
        """Weights (samples + 1, seeds) of the draws of these seeds: the same for every cell that has them."""
        rng = bootstrap.generator(self.seed, f"seeds/{','.join(map(str, seeds))}")
        return bootstrap.seed_weights(len(seeds), self.samples, rng)

    def gain(self, model: str, intermediate: str, target: str, language: str, baseline: str = "none"):
        """(difference vector, common seeds) of an intermediate minus `baseline`; (None, []) where one is missing, or
        is a mean over other languages."""
        parts = [set(self.codes(model, name, target, language)) for name in (intermediate, baseline)]
        seeds = sorted(
            set(self.seeds(model, intermediate, target, language)) & set(self.seeds(model, baseline, target, language))
        )
        if not seeds or parts[0] != parts[1]:
            return None, []
        pair = [self.get(model, name, target, language, seeds) for name in (intermediate, baseline)]
        return pair[0] - pair[1], seeds

    def examples(self, target: str, language: str) -> int:
        """Number of test examples behind a score; the sum over languages for means."""
        return sum(self.sizes.get((target, code), 0) for code in _behind(language, self.languages[target]))

    def codes(self, model: str, intermediate: str, target: str, language: str) -> list[str]:
        """The languages of a cell behind a code, `mean` or `mean_non_en`."""
        return _behind(language, self.given.get((model, intermediate, target), self.languages[target]))


def _behind(language: str, codes: list[str]) -> list[str]:
    if language == "mean":
        return codes
    return [code for code in codes if code != "en"] if language == "mean_non_en" else [language]
