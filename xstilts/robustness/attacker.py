"""One attack on one loaded model: victims, what the attack may ask, the part of the examples that is this process's."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from xstilts import files
from xstilts.attacks import engine
from xstilts.attacks.journal import Journal, shard
from xstilts.attacks.outcomes import FAILED, SKIPPED, SUCCEEDED, Outcome, texts
from xstilts.attacks.proposals import Resources
from xstilts.robustness.victims import PredictorVictim, RetrievalVictim

ENGLISH = "en"
STATIC = "static set"  # the `why` of all rows of a published set: no attack was run
EVERY = 10.0  # seconds between lines of progress
# examples that are attacked at once: enough to fill batches of each length, few enough that a kill loses little
IN_FLIGHT = {"pair": 256, "retrieval": 256, "tagging": 128, "span_qa": 64}


@dataclass
class Attacker:
    """One attack on one loaded model (a `models.loading.TaskModel` of `layers` blocks).

    `identity`: the attack's catalog identity; `languages`: rows of catalog/languages.yaml by code, with what the attack
    needs of `alphabet` and `keyboard`; `examples`: how many a language (None: all), sampled by a hash of `seed` and
    their ids, so that every model gets the same. `stand_ins`: a `standins.StandIns`, None where the attack needs none;
    `seconds`: how long an example may take. `given(entry, language, rows)`: the resources that are not models (see
    `Resources`: align, translate, parallel), as a dictionary; `shard`: (i, n), this process's part of the examples.
    """

    model: object
    layers: int
    identity: dict
    languages: dict
    examples: int | None
    seed: int
    precision: str
    pre_norm: bool = False
    stand_ins: object = None
    seconds: float | None = None
    given: Callable[[dict, str, list[dict]], dict] | None = None
    shard: tuple[int, int] = (0, 1)
    work: tuple = field(default=("", None))  # `code` and folder of kept encodings, as `Embedder` has them
    pool: Path | None = None  # where the vectors of a retrieval pool are kept

    def __call__(
        self, rows: list[dict], entry: dict, language: str, journal: Journal | None = None, progress=None
    ) -> tuple[list[Outcome], int]:
        """(outcomes in the order of the examples, tokens put through the model) of one target in one language.

        `entry`: the target's kind, labels, options, hyper and training_task, as in an `attack` spec. `journal`: what it
        holds is not attacked again, what is over is added. `progress(done, total, queries)` is called after each.
        """
        from xstilts.evaluation.predict import inference

        with inference(self.model, self.precision):  # so that the weights are cast once, not for every query
            if entry["kind"] == "retrieval":
                victim, reader = self._retrieval(rows, entry)
                language = ENGLISH if entry["options"]["mining"] == "nearest" else language
                return self._attack(rows, victim, None, entry, language, journal, progress), reader.tokens
            predictor = _predictor(self.model, entry, self.precision)
            victim = _victim(predictor, entry, language)
            return self._attack(rows, victim, predictor, entry, language, journal, progress), predictor.tokens

    def static(self, rows: list[dict], entry: dict, language: str) -> tuple[list[dict], int]:
        """(rows of a published set of adversarial texts, tokens): no search, one prediction an example."""
        rows = chosen(rows, entry, self.examples, self.seed)
        if not rows:
            return [], 0
        fields = self.identity["fields"].get(entry["kind"]) or [
            name for name in ("text_a", "text_b", "tokens", "question", "context", "text") if name in rows[0]
        ]
        found, tokens = results(self.model, entry, rows, language, self.precision)
        return [_static_row(row, fields, result) for row, result in zip(rows, found, strict=True)], tokens

    def _retrieval(self, rows: list[dict], entry: dict) -> tuple[RetrievalVictim, object]:
        pool = sides(rows, entry)[1]
        embedder, embed = _embedder(self.model, entry, self.precision, self.layers, self.pre_norm, self.work)
        mined = entry["options"]["mining"] != "nearest"
        return RetrievalVictim(embed, self.model.tokenizer, pool, mined, self._vectors(embed, pool)), embedder

    def _vectors(self, embed: Callable, pool: list[dict]):
        """The pool's vectors, as kept or made now: a pool is much larger than what is attacked."""
        import numpy as np

        if self.pool is not None and self.pool.is_file():
            return np.load(self.pool, allow_pickle=False)
        vectors = embed([row["text"] for row in pool])
        if self.pool is not None:
            own = self.pool.with_name(f"{self.pool.stem}-{os.getpid()}.npy")  # others may be writing the same
            with files.replacing(own) as part, open(part, "wb") as file:
                np.save(file, vectors)
            os.replace(own, self.pool)
        return vectors

    def _attack(self, rows, victim, predictor, entry, language, journal, progress) -> list[Outcome]:
        kind = entry["kind"]
        attacked = chosen(rows, entry, self.examples, self.seed)
        ids = shard([row["id"] for row in attacked], *self.shard)
        mine, done = set(ids), journal.done() if journal else {}
        found = {id: Outcome(**done[id]) for id in ids if id in done}
        if len(found) < len(ids):
            described = {"code": language, **self.languages[language]}
            file = sides(rows, entry)[0] if kind == "retrieval" else rows
            resources = self._resources(file, predictor, entry, described)
            queries = 0
            for outcome in engine.attack(
                [row for row in attacked if row["id"] in mine], victim, self.identity, kind, described, self.seed,
                resources, options=entry["options"], seconds=self.seconds, in_flight=IN_FLIGHT[kind], done=set(found),
            ):  # fmt: skip
                if journal:
                    journal.add(outcome.row())
                found[outcome.id] = outcome
                queries += outcome.queries
                if progress:
                    progress(len(found), len(ids), queries)
        return [found[id] for id in ids]

    def _resources(self, rows: list[dict], predictor, entry: dict, language: dict) -> Resources:
        """What the attack may ask of models, dictionaries and other texts."""
        given = dict(self.given(entry, language["code"], rows)) if self.given else {}
        if entry["kind"] == "span_qa" and "passages" not in given:
            given["passages"] = list(dict.fromkeys(row["context"] for row in rows))
        if self.stand_ins is None:
            return Resources(**given)
        fields = self.identity["fields"].get(entry["kind"], [])
        return self.stand_ins.resources(self.identity, rows, fields, language, victim=predictor, **given)


def results(
    model, entry: dict, rows: list[dict], language: str, precision: str, *, examples: list[dict] | None = None,
    layers: int | None = None, pre_norm: bool = False,
) -> tuple[list[dict], int]:  # fmt: skip
    """(score, loss and counts of each of `rows`, tokens): a text's result is equal to the bit whatever the others are.

    `rows`: examples of the target `entry`, adversarial texts put in. Retrieval also needs `examples`, the file's rows
    that the pool is taken of, and the model's `layers` and `pre_norm`.
    """
    from xstilts.evaluation.predict import inference

    with inference(model, precision):
        if entry["kind"] != "retrieval":
            predictor = _predictor(model, entry, precision)
            return _victim(predictor, entry, language)(rows), predictor.tokens
        embedder, embed = _embedder(model, entry, precision, layers, pre_norm)
        mined = entry["options"]["mining"] != "nearest"
        victim = RetrievalVictim(embed, model.tokenizer, sides(examples, entry)[1], counts=mined)
        return victim(rows), embedder.tokens


def chosen(rows: list[dict], entry: dict, examples: int | None, seed: int) -> list[dict]:
    """The rows that are attacked, by all processes together: `examples` of them (None: all), queries in retrieval."""
    rows = sides(rows, entry)[0] if entry["kind"] == "retrieval" else rows
    if examples is None:
        return rows
    ids = set(engine.sample([row["id"] for row in rows], examples, seed))
    return [row for row in rows if row["id"] in ids]


def sides(rows: list[dict], entry: dict) -> tuple[list[dict], list[dict]]:
    """(queries with a partner, the pool): Tatoeba (`mining: nearest`) asks in English, BUCC the other way round."""
    side = "target" if entry["options"]["mining"] == "nearest" else "source"
    pool = [row for row in rows if row["side"] != side]
    partners = {row["id"] for row in pool}
    return [row for row in rows if row["side"] == side and row["match"] in partners], pool


def _predictor(model, entry: dict, precision: str):
    from xstilts.evaluation.predict import Predictor

    kind, labels, hyper, options = (entry[key] for key in ("kind", "labels", "hyper", "options"))
    return Predictor(model, entry["training_task"], kind, labels, hyper, options, precision, stable=True)


def _victim(predictor, entry: dict, language: str) -> PredictorVictim:
    tokenizer = predictor.model.tokenizer
    return PredictorVictim(predictor.predict, tokenizer, entry["kind"], entry["labels"], entry["options"], language)


def _embedder(model, entry: dict, precision: str, layers: int, pre_norm: bool, work: tuple = ("", None)):
    """(an `Embedder`, texts -> their vectors at the layer that the target's preset names)."""
    from xstilts.evaluation.embedding import Embedder, layer_at

    hyper = entry["hyper"]
    layer = layer_at(hyper["layer"], layers)
    embedder = Embedder(model, hyper["pooling"], hyper["max_length"], precision, pre_norm, stable=True)

    def embed(asked: list[str]):
        if len(asked) > 1000 and work[1] is not None:  # the pool: kept for other processes and attacks
            embedder.code, embedder.work = work
        try:
            return embedder.embed(asked, [layer])[layer]
        finally:
            embedder.code, embedder.work = "", None

    return embedder, embed


def _static_row(row: dict, fields: list[str], result: dict) -> dict:
    outcome = FAILED if result["score"] >= 1 else SUCCEEDED
    found = {"id": row["id"], "outcome": outcome, "why": STATIC, "queries": 0, "clean": None}
    found |= {"attacked": result["score"], "original": {}, "adversarial": texts(row, fields)}
    return found | ({"attacked_counts": result["counts"]} if "counts" in result else {})


def summary(outcomes: list[Outcome]) -> str:
    """One line for a log: outcomes, success rate (succeeded / attacked), queries, vanished candidates, reasons."""
    count = Counter(one.outcome for one in outcomes)
    attacked = count[SUCCEEDED] + count[FAILED]
    parts = [f"{count[name]} {name}" for name in (SUCCEEDED, FAILED, SKIPPED)]
    parts.append(f"success {100 * count[SUCCEEDED] / attacked:.0f} %" if attacked else "none attacked")
    parts.append(f"{sum(one.queries for one in outcomes)} queries")
    parts.append(f"{sum(one.vanished for one in outcomes)} candidates vanished")
    reasons = Counter(one.why for one in outcomes if one.outcome == SKIPPED)
    return ", ".join(parts + [f"skipped as {why}: {number}" for why, number in sorted(reasons.items())])


class Progress:
    """Prints a line every ten seconds: how far, how fast, how long still."""

    def __init__(self, name: str, clock: Callable[[], float] = time.perf_counter):
        self._name, self._clock = name, clock
        self._began = self._last = clock()
        self._first: int | None = None

    def __call__(self, done: int, total: int, queries: int) -> None:
        """`done` of `total` examples are over, by `queries` queries since this process began."""
        now = self._clock()
        self._first = done - 1 if self._first is None else self._first
        if now - self._last < EVERY or done == total:
            return
        self._last, spent = now, now - self._began
        left = spent / max(done - self._first, 1) * (total - done)
        rate = queries / max(spent, 1e-9)
        print(f"{self._name}: {done} of {total} examples, {rate:.0f} queries/s, about {left:.0f} s left", flush=True)
