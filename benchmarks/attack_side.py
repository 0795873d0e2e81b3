"""Our side of the attack benchmark, in a process of its own: one attack of the catalog on one trained pair classifier.

    python -m benchmarks.attack_side JOB.json

JOB.json: `model` (base model's folder), `checkpoint` (a target training's), `task` (whose head), `target`, `examples`
(JSON lines of normalised examples), `attack`, `threads`, `seed`, `precision`, `out`. `out` gets: seconds (of the attack
alone), queries, `outcomes` [outcome, text_b before, text_b after], and `bound`: the seconds that the same queries take
in bare forward passes of the same model, by tokens a batch: sorted by length, tokenized and collated beforehand.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

BATCHES = (512, 1024, 2048, 4096, 8192, 16384)  # tokens at once that are tried for the bound


def main(job: dict) -> None:
    """Attack, then put the same texts through the model without anything around it."""
    import torch

    torch.set_num_threads(job["threads"])
    from xstilts import catalog, files
    from xstilts.attacks import alphabets, keyboards
    from xstilts.evaluation import predict
    from xstilts.models import loading, runtime
    from xstilts.robustness.attacker import Attacker

    known = catalog.load()
    model = loading.load(Path(job["model"]), Path(job["checkpoint"]), "cpu", runtime.lean(job["precision"]))
    config = files.read_json(Path(job["checkpoint"]) / "config.json")
    hyper = next(one["hyper"] for one in config["spec"]["tasks"] if one["task"] == job["task"])
    entry = {**known.tasks[job["target"]].identity, "training_task": job["task"], "hyper": hyper}
    entry = {"labels": [], **entry}
    identity = known.attacks[job["attack"]].identity
    # TextAttack's recipes have no limits; ours are for passages
    identity = {**identity, "budget": {**identity["budget"], "queries": None, "ranked_units": None}}
    letters = {"code": "en", "alphabet": alphabets.of("en"), "keyboard": keyboards.of("en")}
    languages = {"en": {**known.languages["en"], **letters}}
    rows = files.read_jsonl(Path(job["examples"]))
    asked: list[dict] = []
    plain = predict.Predictor.predict

    def recorded(self, examples, features=None):
        asked.extend(examples)
        return plain(self, examples, features)

    predict.Predictor.predict = recorded
    layers = model.config["num_hidden_layers"]
    attacker = Attacker(model, layers, identity, languages, None, job["seed"], job["precision"])
    _ = model.tokenizer  # read before the clock starts, as the peer's
    plain(predict.Predictor(model, job["task"], "pair", entry["labels"], hyper, entry["options"], job["precision"],
                            stable=True), rows[:32])  # fmt: skip
    start = time.perf_counter()
    outcomes, _ = attacker(rows, entry, "en")
    seconds = time.perf_counter() - start
    found = [[one.outcome, one.original.get("text_b", ""), one.adversarial.get("text_b", "")] for one in outcomes]
    result = {"seconds": seconds, "queries": len(asked), "outcomes": found, "bound": {}}
    kind = predict.kinds.get("pair")
    features = kind.encode(asked, model.tokenizer, entry["labels"], hyper, entry["options"], False)
    with predict.inference(model, job["precision"]):
        for tokens in BATCHES:
            numbers = list(predict.length_batches(features, tokens))
            batches = [kind.collate([features[number] for number in group], model.pad_id) for group in numbers]
            model.logits(job["task"], batches[0])
            began = time.perf_counter()
            for batch in batches:
                model.logits(job["task"], batch)
            result["bound"][tokens] = time.perf_counter() - began
    Path(job["out"]).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
