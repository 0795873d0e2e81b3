"""Attack many examples at once: every round puts the next texts of all examples to the victim in one call.

An outcome depends on the example, the attack, the seed and the victim's answers alone: random choices are drawn from
the SHA-256 of seed, example id and unit, so order, sharding and the other examples do not matter.

Goals (`constraints.goals` of an attack, by kind): an example is attacked when its clean score is at least `right`; the
attack has succeeded when the score falls below `below` or, where that is not given, by at least `drop`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from itertools import zip_longest
from random import Random
from typing import Protocol

from xstilts.attacks import outcomes
from xstilts.attacks.constraints import Unit, apply, clusters_whole, editable, most_changes, units
from xstilts.attacks.outcomes import FAILED, SKIPPED, SUCCEEDED, Outcome
from xstilts.attacks.search import SEARCHES, Changes, Found, Search
from xstilts.attacks.segmentation import graphemes
from xstilts.attacks.transforms import TRANSFORMS
from xstilts.errors import UserError


class Victim(Protocol):
    """The model under attack."""

    def __call__(self, examples: list[dict]) -> list[dict]:
        """One result an example: "score" (0-1 quality against the gold, 1 = right), "loss" (higher = further from
        the gold, comparable within one example) and, where F1 is added up over examples, "counts" [correct,
        predicted, gold]. Texts may be empty or hold lone surrogates.
        """

    def same_input(self, before: str, after: str) -> bool:
        """True when the model cannot tell the two texts apart: they become the same tokens."""


def generator(*parts: object) -> Random:
    """A random generator that depends on `parts` alone (SHA-256 of their texts, so equal on every platform)."""
    digest = hashlib.sha256("\t".join(map(str, parts)).encode("utf-8", "backslashreplace")).digest()
    return Random(int.from_bytes(digest, "big"))


def sample(ids: list[str], n: int, seed: int) -> list[str]:
    """`n` of `ids` with the smallest hashes, in the order given: the same for every model, and stable as n grows."""
    chosen = set(sorted(ids, key=lambda id: generator(seed, id).random())[:n])
    return [id for id in ids if id in chosen]


def check(attack: dict, kind: str, where: str = "the attack") -> None:
    """Raise UserError unless the attack's names exist and it is valid for `kind`."""
    for key, known in (("transform", TRANSFORMS), ("search", SEARCHES)):
        if attack[key] not in known:
            raise UserError(f"{where}: {key}: {attack[key]!r} is unknown; allowed: {', '.join(sorted(known))}")
    if kind not in attack["kinds"]:
        raise UserError(f"{where}: kind {kind!r} is not supported; this attack has {', '.join(attack['kinds'])}")


def attack(
    examples: list[dict],
    victim: Victim,
    identity: dict,
    kind: str,
    language: dict,
    seed: int,
) -> list[Outcome]:
    """Attack each example; one `Outcome` each, in order.

    `identity`: an attack's catalog identity. `language`: a row of catalog/languages.yaml; its `script` must be among
    the attack's. An example that cannot be attacked is `skipped` with a reason, never an error.
    """
    fields = identity["fields"].get(kind, [])
    jobs = [_Job(example, fields, clean) for example, clean in zip(examples, victim(examples), strict=True)]
    for job in jobs:
        job.prepare(victim, identity, kind, language, seed)
    active = [job for job in jobs if job.pending]
    while active:
        texts = [apply(job.example, job.units, changes) for job in active for changes in job.pending]
        results = iter(victim(texts))
        for job in active:
            job.advance([next(results) for _ in job.pending])
        active = [job for job in active if job.pending]
    return [job.outcome() for job in jobs]


@dataclass
class _Job:
    """One example on its way: prepared (or skipped), then advanced round by round."""

    example: dict
    fields: list[str]
    clean: dict
    reason: str = ""
    units: list[Unit] = ()
    pending: list[Changes] = ()
    search: Search | None = None
    found: Found | None = None
    goal: dict | None = None
    queries: int = 0
    vanished: int = 0

    def prepare(self, victim: Victim, identity: dict, kind: str, language: dict, seed: int) -> None:
        constraints, budget = identity["constraints"], identity["budget"]
        self.reason = self._unsuited(identity, kind, language)
        if self.reason:
            return
        self.goal = constraints["goals"][kind]
        if self.clean["score"] < self.goal["right"]:
            self.reason = outcomes.WRONG_BEFORE
            return
        self.units = units(self.example, self.fields)
        if len(self.units) > constraints["max_units"]:
            self.reason = outcomes.TOO_LONG
            return
        ranges = {i: span for i, unit in enumerate(self.units) if (span := editable(unit, constraints))}
        proposed = self._propose(victim, identity, ranges, seed)
        if not proposed:
            self.reason = outcomes.VANISHED if self.vanished else outcomes.NO_UNIT
            return
        most = most_changes(len(self.units), constraints, budget)
        self.search = SEARCHES[identity["search"]](proposed, self.clean, self._won, most, budget)
        self.pending = next(self.search)

    def _unsuited(self, identity: dict, kind: str, language: dict) -> str:
        """Why the example cannot be attacked at all, or ""."""
        if kind not in identity["kinds"]:
            return outcomes.KIND
        if identity["scripts"] != "all" and language["script"] not in identity["scripts"]:
            return outcomes.SCRIPT
        try:
            json.dumps(self.example, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            return outcomes.NOT_UNICODE
        if not any(text.strip() for text in outcomes.texts(self.example, self.fields).values()):
            return outcomes.EMPTY
        for answer in self.example.get("answers", []):
            if self.example["context"][answer["start"] : answer["start"] + len(answer["text"])] != answer["text"]:
                return outcomes.NO_ANSWER_SPAN
        return ""

    def _won(self, result: dict) -> bool:
        """The goal: the score falls below `below`, or by `drop` or more."""
        if "below" in self.goal:
            return result["score"] < self.goal["below"]
        return result["score"] <= self.clean["score"] - self.goal["drop"] + 1e-9

    def _propose(self, victim: Victim, identity: dict, ranges: dict, seed: int) -> dict[int, list[str]]:
        """Candidates of up to `ranked_units` units, in text order; a field has no more than its share while others do.

        Units are drawn at random, field by field in turn, until enough of them have a candidate that the victim sees.
        """
        drawn: dict[str, list[int]] = {name: [] for name in self.fields}
        for index in ranges:
            drawn[self.units[index].field].append(index)
        for name, indices in drawn.items():
            generator(seed, self.example["id"], name).shuffle(indices)
        turns = zip_longest(*drawn.values())
        order = [index for turn in turns for index in turn if index is not None]
        budget, proposed = identity["budget"], {}
        for index in order[: budget["ranked_units"] * 4]:
            if len(proposed) == budget["ranked_units"]:
                break
            texts = self._candidates(victim, identity, index, ranges[index], seed)
            if texts:
                proposed[index] = texts
        return dict(sorted(proposed.items()))

    def _candidates(self, victim: Victim, identity: dict, index: int, span: tuple[int, int], seed: int) -> list[str]:
        unit, kept = self.units[index], []
        value = self.example[unit.field]
        text = value if unit.token is None else value[unit.token]
        rng = generator(seed, self.example["id"], index)
        for clusters in TRANSFORMS[identity["transform"]](unit.word.clusters, *span, rng):
            if len(kept) == identity["budget"]["candidates"]:
                break
            if not clusters_whole(unit, clusters, text):
                continue
            new = "".join(clusters)
            if victim.same_input(text, text[: unit.word.start] + new + text[unit.word.end :]):
                self.vanished += 1
                continue
            kept.append(new)
        return kept

    def advance(self, results: list[dict]) -> None:
        self.queries += len(results)
        try:
            self.pending = self.search.send(results)
        except StopIteration as end:
            self.pending, self.found = [], end.value

    def outcome(self) -> Outcome:
        changes, result = self.found or ({}, self.clean)
        final = apply(self.example, list(self.units), changes) if changes else self.example
        if self.search:
            name, why = (SUCCEEDED, "") if self._won(result) else (FAILED, outcomes.HELD)
        else:
            name, why = FAILED if self.reason == outcomes.VANISHED else SKIPPED, self.reason
        original, adversarial = outcomes.texts(self.example, self.fields), outcomes.texts(final, self.fields)
        length = sum(len(graphemes(text)) for text in original.values()) if changes else 0
        return Outcome(
            id=self.example["id"],
            outcome=name,
            why=why,
            queries=self.queries,
            vanished=self.vanished,
            perturbed=round(len(changes) / max(len(self.units), 1), 6),
            similarity=round(outcomes.similarity(list(self.units), changes, length), 6),
            clean=self.clean["score"],
            attacked=result["score"],
            original=original,
            adversarial=adversarial,
            clean_counts=self.clean.get("counts"),
            attacked_counts=result.get("counts"),
        )
