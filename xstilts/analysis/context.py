"""What the fourteen claims are checked against."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from xstilts.analysis.comparisons import NONE
from xstilts.analysis.estimates import Estimates

MODEL = "xlm-r-large"  # the paper's only encoder
NINE = ("anli", "mnli", "qqp", "squad_v2", "squad", "hellaswag", "ccg", "cosmosqa", "commonsenseqa")


@dataclass
class Context:
    """What the claims are checked against: the analyse spec, the scores, the choice on English dev among English
    intermediates, the catalog, and train.json of the intermediate trainings."""

    spec: dict
    estimates: Estimates
    choice: dict[tuple[str, str], str]
    tasks: dict[str, dict]  # catalog: task -> identity
    records: dict[tuple[str, str, int], dict] = field(default_factory=dict)  # (model, intermediate, seed) -> train.json

    @property
    def model(self) -> str:
        """The model that measurable claims are read off: XLM-R large, else the study's largest."""
        models = self.spec["models"]
        return MODEL if MODEL in models else max(models, key=lambda name: models[name]["non_embedding_parameters"])

    def whole(self) -> bool:
        """Whether every target of the study has all the languages that XTREME gives it."""
        targets = self.spec["targets"].items()
        return all(set(one["languages"]) == set(self.spec["official_languages"][name]) for name, one in targets)

    def gain(self, intermediate: str, targets) -> np.ndarray | None:
        """Mean gain over targets (each the mean over the study's languages); None where any is missing."""
        gains = [self.estimates.gain(self.model, intermediate, target, "mean")[0] for target in targets]
        return None if not gains or any(gain is None for gain in gains) else np.mean(gains, axis=0)

    def singles(self) -> list[str]:
        """Intermediates of one English task that the study trained this model on; a mixture of one is such a task."""
        return [name for name in self._english() if len(self.spec["intermediates"][name]) == 1]

    def mixtures(self) -> list[str]:
        """Mixtures of several English tasks that the study trained this model on."""
        return [name for name in self._english() if len(self.spec["intermediates"][name]) > 1]

    def _english(self) -> list[str]:
        wanted = english(self.spec, self.tasks)
        return [name for name in self.trained() if name in wanted]

    def trained(self) -> list[str]:
        """Every intermediate that the study trained this model on."""
        names = dict.fromkeys(cell["intermediate"] for cell in self.spec["cells"] if cell["model"] == self.model)
        return [name for name in names if name != NONE]

    def steps(self, intermediate: str) -> list[int]:
        """Numbers of steps of its trainings of this model, one where all seeds have the same."""
        found = [one["steps"] for key, one in self.records.items() if key[:2] == (self.model, intermediate)]
        return sorted(set(found))


def english(spec: dict, tasks: dict[str, dict]) -> list[str]:
    """The study's intermediates without a variant (multilingual text, translations), `none` among them."""
    variants = {name for name, identity in tasks.items() if "variant" in identity["roles"]}
    return [name for name, parts in spec["intermediates"].items() if not variants & set(parts)]
