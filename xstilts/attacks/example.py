"""One example on its way through an attack: suited or not, its candidates, its search, its outcome."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from itertools import zip_longest

from xstilts.attacks import outcomes
from xstilts.attacks.constraints import Distance, editable, most_changes, token_whole
from xstilts.attacks.goals import Goal
from xstilts.attacks.outcomes import FAILED, SKIPPED, SUCCEEDED, Outcome
from xstilts.attacks.proposals import Draft, Proposal
from xstilts.attacks.search import SEARCHES, Changes, Found, Probe, Search, Task
from xstilts.attacks.segmentation import graphemes
from xstilts.attacks.units import Unit, apply, text_of, units

TRIED = 4  # x budget.ranked_units: so many units are drawn, should the changes of some vanish
_RUN = 64  # code points each side of a change that are looked at: pieces of a tokenizer are shorter

Pairs = list[tuple[str, str]]


@dataclass(frozen=True)
class Setting:
    """What all examples of an attack share. `seconds`: see `engine.attack`."""

    identity: dict
    kind: str
    language: dict
    seed: int
    goal: Goal | None
    stop_words: frozenset[str]
    seconds: float | None = None

    @property
    def fields(self) -> list[str]:
        return self.identity["fields"].get(self.kind, [])


@dataclass
class Example:
    """Made, drafted with its clean result, begun with its candidates, advanced round by round, over.

    `pending`: what the search asks; `allowed`: which of it is put to the victim.
    """

    row: dict
    setting: Setting
    reason: str = ""
    clean: dict = field(default_factory=lambda: {"score": 0.0, "loss": 0.0})
    units: list[Unit] = field(default_factory=list)
    words: int = 0  # units without the proposer's own
    task: Task | None = None
    pending: list[Changes] = field(default_factory=list)
    allowed: list[bool] = field(default_factory=list)
    queries: int = 0
    vanished: int = 0
    refused: int = 0
    spent: float = 0.0  # seconds
    timed_out: bool = False
    cosine: float | None = None
    found: Found | None = None
    _search: Search | None = None
    _distance: Distance | None = None
    _best: Found | None = None

    def __post_init__(self):
        self.reason = _unsuited(self.row, self.setting)

    @property
    def scored(self) -> bool:
        """False where the victim cannot be asked: there is no gold answer to score by."""
        return self.setting.kind != "span_qa" or bool(self.row.get("answers"))

    @property
    def over(self) -> bool:
        return not self.pending

    def draft(self) -> Draft | None:
        """What a proposer is asked; None, with a reason, where the example is not attacked."""
        constraints = self.setting.identity["constraints"]
        if not self.reason and not self.setting.goal.attacked(self.clean):
            self.reason = outcomes.WRONG_BEFORE
        if self.reason:
            return None
        self.units = units(self.row, self.setting.fields, self.setting.language.get("code", ""))
        if constraints.get("max_units") is not None and len(self.units) > constraints["max_units"]:
            self.reason = outcomes.TOO_LONG
            return None
        ranges = {
            number: span
            for number, unit in enumerate(self.units)
            if (span := editable(unit, constraints, self.setting.stop_words))
        }
        draft = Draft(
            self.row, self.setting.kind, self.setting.fields, self.units, ranges, self.setting.language,
            self.setting.seed,
        )  # fmt: skip
        most = self.setting.identity["budget"].get("ranked_units")
        if most is not None and len(ranges) > most * TRIED:
            for number in drawn(draft, self.units, ranges)[most * TRIED :]:
                del ranges[number]
        return draft

    def begin(self, draft: Draft, proposal: Proposal) -> Generator[Pairs, list[bool], None]:
        """Choose the candidates; yields pairs of texts to be sent which of them are the same input for the victim."""
        identity = self.setting.identity
        candidates = yield from self._choose(draft, proposal)
        if not candidates:
            refused = outcomes.REFUSED if self.refused else proposal.why or outcomes.NO_UNIT
            self.reason = outcomes.VANISHED if self.vanished else refused
            return
        constraints, options = identity["constraints"], identity["search"]
        most = most_changes(len(self.units), constraints, identity["budget"])
        self.words, self.units = len(self.units), proposal.units
        if constraints.get("max_distance") is not None:
            self._distance = Distance(self.units)
        self.task = Task(
            candidates, self.clean, self.won, most, identity["budget"], options, draft.rng("search"), self.units
        )
        self._search = SEARCHES[options["name"]](self.task)
        self._send(None)

    def won(self, result: dict) -> bool:
        return self.setting.goal.won(self.clean, result)

    def _choose(self, draft: Draft, proposal: Proposal) -> Generator[Pairs, list[bool], dict[int, list[str]]]:
        """Up to budget.candidates texts of up to budget.ranked_units units, in the units' order.

        Units are drawn at random, field by field in turn, until enough have a candidate that the victim sees; of a
        unit, the first candidates that it sees are taken.
        """
        budget, found = self.setting.identity["budget"], proposal.units
        queue = drawn(draft, found, proposal.texts)[::-1]
        most, each = budget.get("ranked_units") or len(queue), budget.get("candidates")
        waiting: dict[int, list[str]] = {}
        kept: dict[int, list[str]] = {}
        while True:
            while queue and len(waiting) + sum(number not in waiting for number in kept) < most:
                number = queue.pop()
                texts = [text for text in proposal.texts[number] if token_whole(found[number], text)]
                self.refused += len(proposal.texts[number]) - len(texts)
                if texts:
                    waiting[number] = texts[::-1]
            asked: list[tuple[int, str]] = []
            for number, texts in waiting.items():
                wanted = len(texts) if each is None else min(each - len(kept.get(number, ())), len(texts))
                asked += [(number, texts.pop()) for _ in range(wanted)]
            if not asked:
                return dict(sorted(kept.items()))
            around = {number: _around(text_of(self.row, found[number]), found[number]) for number in waiting}
            same = yield [(around[number][1], text.join(around[number][0])) for number, text in asked]
            for (number, text), vanished in zip(asked, same, strict=True):
                self.vanished += vanished
                if not vanished:
                    kept.setdefault(number, []).append(text)
            waiting = {one: texts for one, texts in waiting.items() if texts and len(kept.get(one, ())) != each}

    def pairs(self) -> list[tuple[int, str, str]]:
        """Decide what of `pending` may be asked; returns (index, original, changed) of what similarity decides on."""
        constraints, task = self.setting.identity["constraints"], self.task
        self.allowed = [
            isinstance(changes, Probe)
            or (task.apart(changes) and (not self._distance or self._distance(changes) <= constraints["max_distance"]))
            for changes in self.pending
        ]
        if not constraints.get("similarity"):
            return []
        return [
            (index, *self.compared(changes))
            for index, changes in enumerate(self.pending)
            if self.allowed[index] and not isinstance(changes, Probe)
        ]

    def compared(self, changes: Changes) -> tuple[str, str]:
        """The attacked fields as one text each, before and after: what a similarity encoder is shown."""
        return _joined(self.row, self.setting.fields), _joined(self.changed(changes), self.setting.fields)

    def changed(self, changes: Changes) -> dict:
        return apply(self.row, self.units, changes)

    def asked(self) -> list[dict]:
        """The texts to put to the victim."""
        return [self.changed(changes) for changes, may in zip(self.pending, self.allowed, strict=True) if may]

    def advance(self, results: list[dict], seconds: float) -> None:
        """Give the search its results; `seconds` is the example's share of the round."""
        self.queries += len(results)
        self.refused += len(self.allowed) - len(results)
        self.spent += seconds
        answers = iter(results)
        given = [next(answers) if may else None for may in self.allowed]
        limit = self.setting.seconds
        if limit is not None:
            tried = zip(self.pending, given, strict=True)
            found = [one for one in tried if one[1] is not None and not isinstance(one[0], Probe)]
            best = [self._best] if self._best else [({}, self.clean)]
            self._best = self.task.worst(best + found)
        self._send(given)
        if limit is not None and self.pending and self.spent >= limit:
            self._search.close()
            self.pending, self.found, self.timed_out = [], self._best, True

    def _send(self, results: list[dict | None] | None) -> None:
        try:
            self.pending = self._search.send(results)
        except StopIteration as end:
            self.pending, self.found = [], end.value

    def outcome(self) -> Outcome:
        """What came of it. To be asked once the example is over."""
        changes, result = self.found or ({}, self.clean)
        final = self.changed(changes) if changes else self.row
        name, why = (SUCCEEDED, "") if self.task and self.won(result) else (FAILED, outcomes.HELD)
        if self.timed_out and name == FAILED:
            why = outcomes.TIME
        elif self.task and not self.queries and self.refused:
            why = outcomes.REFUSED
        elif not self.task:
            name, why = FAILED if self.reason in (outcomes.VANISHED, outcomes.REFUSED) else SKIPPED, self.reason
        original, adversarial = (outcomes.texts(row, self.setting.fields) for row in (self.row, final))
        length = sum(len(graphemes(text)) for text in original.values()) if changes else 0
        answers = final.get("answers") if self.setting.kind == "span_qa" else None
        return Outcome(
            id=self.row["id"],
            outcome=name,
            why=why,
            queries=self.queries,
            vanished=self.vanished,
            refused=self.refused,
            perturbed=round(len(changes) / max(self.words, 1), 6),
            similarity=round(outcomes.similarity(self.units, changes, length), 6),
            clean=self.clean["score"],
            attacked=result["score"],
            original=original,
            adversarial=adversarial,
            answers=answers and [{"text": outcomes.escaped(one["text"]), "start": one["start"]} for one in answers],
            cosine=None if self.cosine is None else round(self.cosine, 6),
            clean_counts=self.clean.get("counts"),
            attacked_counts=result.get("counts"),
        )


def drawn(draft: Draft, found: list[Unit], numbers: Iterable[int]) -> list[int]:
    """Numbers of units in random order, of each attacked field one in turn, so that none is crowded out."""
    by_field: dict[str, list[int]] = {name: [] for name in draft.fields}
    for number in sorted(numbers):
        by_field[found[number].field].append(number)
    for name, members in by_field.items():
        draft.rng(name).shuffle(members)
    return [number for turn in zip_longest(*by_field.values()) for number in turn if number is not None]


def _unsuited(row: dict, setting: Setting) -> str:
    """Why the example cannot be attacked at all, whatever the victim says, or ""."""
    identity, kind = setting.identity, setting.kind
    if kind not in identity["kinds"] or not setting.goal:
        return outcomes.KIND
    if identity["scripts"] != "all" and setting.language["script"] not in identity["scripts"]:
        return outcomes.SCRIPT
    try:
        json.dumps(row, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return outcomes.NOT_UNICODE
    if not any(text.strip() for text in outcomes.texts(row, setting.fields).values()):
        return outcomes.EMPTY
    if kind == "span_qa":
        for answer in row.get("answers") or [{"text": "", "start": -1}]:
            start, text = answer["start"], answer["text"]
            if start < 0 or row["context"][start : start + len(text)] != text:
                return outcomes.NO_ANSWER_SPAN
    return ""


def _around(text: str, unit: Unit) -> tuple[tuple[str, str], str]:
    """((before, after) the unit, all): the stretch without white space around it, `_RUN` code points a side at most.

    White space ends what a tokenizer joins; whether it sees a change inside does not depend on the rest of the text.
    """
    start, end = unit.word.start, unit.word.end
    before, after = text[max(0, start - _RUN) : start], text[end : end + _RUN]
    left = next((place + 1 for place in range(len(before) - 1, -1, -1) if before[place].isspace()), 0)
    right = next((place for place, character in enumerate(after) if character.isspace()), len(after))
    ends = before[left:], after[:right]
    return ends, text[start:end].join(ends)


def _joined(row: dict, fields: list[str]) -> str:
    return "\n".join(" ".join(row[name]) if isinstance(row[name], list) else row[name] for name in fields)
