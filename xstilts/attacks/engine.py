"""Attack many examples at once: every round puts the next texts of all active examples to the victim in one call.

An outcome depends on the example, the attack, the seed and the answers of the victim and the stand-ins alone: random
choices are drawn from the SHA-256 of seed, example id and unit, so order, sharding, the number of examples in flight
and the other examples do not matter. (`seconds` alone depends on the machine.)
"""

from __future__ import annotations

import time
from collections.abc import Container, Iterable, Iterator
from itertools import islice
from typing import Protocol

from xstilts.attacks import candidates, goals
from xstilts.attacks.constraints import budget, stop_words
from xstilts.attacks.example import Example, Setting
from xstilts.attacks.outcomes import Outcome
from xstilts.attacks.proposals import Proposer, Resources, generator
from xstilts.attacks.search import SEARCHES
from xstilts.attacks.search.ranking import BY
from xstilts.attacks.segmentation import SCRIPTS
from xstilts.attacks.transforms import TRANSFORMS
from xstilts.errors import UserError

# ISO 15924 codes of more than one script, beside those that a letter has
_MIXED = ("Jpan", "Kore", "Hans", "Hant")


class Victim(Protocol):
    """The model under attack."""

    def __call__(self, examples: list[dict]) -> list[dict]:
        """One result an example: "score" (0-1 quality against the gold, 1 = right), "loss" (higher = further from
        the gold, comparable within one example) and, where F1 is added up over examples, "counts" [correct,
        predicted, gold]. Texts may be empty or hold lone surrogates.
        """

    def same_inputs(self, pairs: list[tuple[str, str]]) -> list[bool]:
        """For each (before, after) True when the model cannot tell the two apart: they become the same tokens."""


def sample(ids: list[str], n: int, seed: int) -> list[str]:
    """`n` of `ids` with the smallest hashes, in the order given: the same for every model, and stable as n grows."""
    chosen = set(sorted(ids, key=lambda id: generator(seed, id).random())[:n])
    return [id for id in ids if id in chosen]


def check(
    identity: dict, kind: str, where: str = "the attack", *, options: dict | None = None, language: dict | None = None
) -> None:
    """Raise UserError unless the attack's names exist and it is valid for `kind`, with these options of a task and for
    this language (a row of catalog/languages.yaml) where they are given. A static set is checked for its kind alone.
    """

    def refuse(key: str, value: object, allowed: Iterable[str]) -> None:
        raise UserError(f"{where}: {key}: {value!r} is unknown; allowed: {', '.join(sorted(allowed))}")

    if kind not in identity["kinds"]:
        raise UserError(f"{where}: kind {kind!r} is not supported; this attack has {', '.join(identity['kinds'])}")
    if not identity.get("set"):
        names = identity["transform"]
        for name in names:
            if name not in TRANSFORMS and name not in candidates.NEEDS:
                refuse("transform", name, {*TRANSFORMS, *candidates.NEEDS})
        alone = [name for name in names if name in candidates.NEEDS]
        if not names or (alone and len(names) > 1):
            raise UserError(f"{where}: transform: {names}; allowed: one or more of {', '.join(sorted(TRANSFORMS))}, or "
                            f"one alone of {', '.join(candidates.NEEDS)}")  # fmt: skip
        search = identity["search"]
        if search["name"] not in SEARCHES:
            refuse("search.name", search["name"], SEARCHES)
        if search["name"] == "ranked" and search.get("by", BY[0]) not in BY:
            refuse("search.by", search["by"], BY)
        if search["name"] == "beam" and not search.get("width"):
            raise UserError(f"{where}: search.width: a beam needs one, such as 10")
        if goals.name(identity["goals"], kind, options or {}) not in identity["goals"] and not (
            options is None and kind == "tagging" and "entity" in identity["goals"]
        ):
            raise UserError(f"{where}: goals: none for {kind}; this attack has {', '.join(identity['goals'])}")
    if identity["scripts"] == "all":
        return
    for script in identity["scripts"]:
        if script not in SCRIPTS and script not in _MIXED:
            refuse("scripts", script, (*SCRIPTS, *_MIXED))
    if language and language["script"] not in identity["scripts"]:
        name = f"{language.get('name', 'this language')} ({language['script']})"
        raise UserError(f"{where}: not for {name}; its scripts: {', '.join(identity['scripts'])}")


def attack(
    examples: Iterable[dict],
    victim: Victim,
    identity: dict,
    kind: str,
    language: dict,
    seed: int,
    resources: Resources | None = None,
    *,
    options: dict | None = None,
    seconds: float | None = None,
    in_flight: int = 64,
    done: Container[str] = (),
) -> Iterator[Outcome]:
    """Attack each example; one `Outcome` each, in the order in which they are over.

    `identity`: an attack's catalog identity. `language`: a row of catalog/languages.yaml with its code, alphabet and
    keyboard; its `script` must be among the attack's. `options`: the task's. At most `in_flight` examples are active,
    one that is over makes room for the next. `seconds`: how long one example may take, counted as its share of the
    rounds' time by the texts that it asks about, refused ones too; one that takes longer fails with the worst text
    found. Ids in `done` are left out. An example that cannot be attacked is `skipped` with a reason, never an error;
    exceptions of the victim, of a proposer or a stand-in are not caught.
    """
    resources, constraints = resources or Resources(), identity["constraints"]
    identity = {**identity, "budget": budget(identity, kind)}
    code = language.get("code", "")
    goal = goals.goal(identity, kind, options or {})
    setting = Setting(identity, kind, language, seed, goal, stop_words(constraints, code), seconds)
    propose = candidates.build(identity, resources)
    waiting = (row for row in examples if row["id"] not in done)
    active: list[Example] = []
    while True:
        fresh = [Example(row, setting) for row in islice(waiting, max(in_flight, 1) - len(active))]
        if not active and not fresh:
            return
        began = time.perf_counter()
        _constrain(active, resources)
        results = _query(active, fresh, victim)
        # what a constraint refused took time too: the similarity encoder's
        work = sum(len(example.pending) for example in active) + sum(map(len, results[len(active) :]))
        share = (time.perf_counter() - began) / max(work, 1)
        for example, found in zip(active, results, strict=False):
            example.advance(found, share * len(example.pending))
        _prepare(fresh, propose, victim)
        active += fresh
        over = [example for example in active if example.over]
        active = [example for example in active if not example.over]
        _cosines(over, resources)
        for example in over:
            yield example.outcome()


def _constrain(active: list[Example], resources: Resources) -> None:
    """Decide which pending changes may be asked: `Example.allowed`; the similarity encoder is asked once for all."""
    places, pairs = [], []
    for example in active:
        for index, before, after in example.pairs():
            places.append((example, index))
            pairs.append((before, after))
    if pairs:
        for (example, index), cosine in zip(places, resources.similarity(pairs), strict=True):
            example.allowed[index] = cosine >= example.setting.identity["constraints"]["similarity"]["least"]


def _query(active: list[Example], fresh: list[Example], victim: Victim) -> list[list[dict]]:
    """Results of what is asked of each active example; the fresh ones get their clean result in the same call."""
    asked = [example.asked() for example in active] + [[one.row] if one.scored else [] for one in fresh]
    texts = [text for group in asked for text in group]
    answers = iter(victim(texts) if texts else ())
    results = [[next(answers) for _ in group] for group in asked]
    for example, found in zip(fresh, results[len(active) :], strict=True):
        example.clean = found[0] if found else example.clean
    return results


def _prepare(fresh: list[Example], propose: Proposer, victim: Victim) -> None:
    """Candidates and first questions of fresh examples: one call of the proposer, and one of `same_inputs` unless
    changes vanish and others take their place."""
    drafts = [(example, draft) for example in fresh if (draft := example.draft())]
    proposals = propose([draft for _, draft in drafts]) if drafts else []
    choices = [example.begin(draft, found) for (example, draft), found in zip(drafts, proposals, strict=True)]
    pending = [(choice, pairs) for choice in choices if (pairs := next(choice, None)) is not None]
    while pending:
        verdicts = iter(victim.same_inputs([pair for _, pairs in pending for pair in pairs]))
        going = []
        for choice, pairs in pending:
            try:
                going.append((choice, choice.send([next(verdicts) for _ in pairs])))
            except StopIteration:
                pass
        pending = going


def _cosines(over: list[Example], resources: Resources) -> None:
    """Cosine of each final text with its original, where there is a similarity encoder."""
    changed = [example for example in over if example.found and example.found[0]]
    if resources.similarity is None or not changed:
        return
    cosines = resources.similarity([example.compared(example.found[0]) for example in changed])
    for example, cosine in zip(changed, cosines, strict=True):
        example.cosine = float(cosine)
