"""The peer of the attack benchmark: TextAttack's own recipes, in an environment of their own (envs/textattack.txt).

    PYTHON_OF_THAT_ENVIRONMENT benchmarks/textattack_side.py JOB.json

JOB.json: `model` (a Hugging Face folder of a pair classifier), `examples` (JSON list of [text_a, text_b, class]),
`attack` (deepwordbug or pruthi), `stop_words` (list), `threads`, `seed`, `max_length`, `scratch`, `out`. The recipe is
taken as it is; the one constraint added says that the first text stays as it is (as ours). `out` gets: seconds (of the
attacks alone), queries, and a list `outcomes` of [outcome, text_b before, text_b after]. Nothing here is of this
project: the environment has neither xstilts nor its packages.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from pathlib import Path
from unittest.mock import MagicMock

# imported by TextAttack's __init__ for recipes that are not used here
for name in (
    "flair",
    "flair.data",
    "flair.models",
    "flair.datasets",
    "OpenHowNet",
    "tensorflow_hub",
    "bert_score",
    "langdetect",
):
    sys.modules[name] = MagicMock()


def main(job: dict) -> None:
    """Run one recipe over the examples."""
    words = Path(job["scratch"]) / "corpora" / "stopwords"  # where NLTK looks
    words.mkdir(parents=True, exist_ok=True)
    (words / "english").write_text("\n".join(job["stop_words"]) + "\n", encoding="utf-8")
    os.environ["NLTK_DATA"] = str(job["scratch"])
    os.environ["TA_CACHE_DIR"] = str(Path(job["scratch"]) / "cache")

    import numpy as np
    import torch

    torch.set_num_threads(job["threads"])
    random.seed(job["seed"])
    np.random.seed(job["seed"])
    torch.manual_seed(job["seed"])
    import textattack
    from textattack.attack_recipes import DeepWordBugGao2018, Pruthi2019
    from textattack.constraints.pre_transformation import InputColumnModification
    from textattack.models.wrappers import ModelWrapper
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(job["model"]).eval()
    tokenizer = AutoTokenizer.from_pretrained(job["model"])

    class Wrapper(ModelWrapper):
        """Pairs of texts -> probabilities, padded to the longest of a batch (TextAttack's own: 32 a batch)."""

        def __init__(self):
            self.model, self.queries = model, 0

        def __call__(self, pairs):
            self.queries += len(pairs)
            texts = [list(pair) for pair in pairs]
            encoded = tokenizer(
                [a for a, _ in texts],
                [b for _, b in texts],
                padding=True,
                truncation=True,
                max_length=job["max_length"],
                return_tensors="pt",
            )
            with torch.inference_mode():
                return torch.softmax(model(**encoded).logits, -1)

    wrapper = Wrapper()
    attack = {"deepwordbug": DeepWordBugGao2018, "pruthi": Pruthi2019}[job["attack"]].build(wrapper)
    attack.pre_transformation_constraints.append(InputColumnModification(["text_a", "text_b"], {"text_a"}))
    rows = [((a, b), label) for a, b, label in json.loads(Path(job["examples"]).read_text(encoding="utf-8"))]
    dataset = textattack.datasets.Dataset(rows, input_columns=["text_a", "text_b"])
    start, outcomes = time.perf_counter(), []
    for example, label in dataset:
        found = attack.attack(example, label)
        kind = type(found).__name__.replace("AttackResult", "").lower()  # successful, failed, skipped
        texts = [one.attacked_text._text_input["text_b"] for one in (found.original_result, found.perturbed_result)]
        outcomes.append([{"successful": "succeeded"}.get(kind, kind), *texts])
    seconds = time.perf_counter() - start
    result = {"seconds": seconds, "queries": wrapper.queries, "outcomes": outcomes}
    Path(job["out"]).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
