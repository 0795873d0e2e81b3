"""Tagging tasks: universal parts of speech (udpos), names in IOB2 (panx), English supertags (ccg)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from xstilts.embedded import ccg, meaning
from xstilts.embedded.grammar import Token, grammar
from xstilts.embedded.lexicon import concepts
from xstilts.embedded.meaning import NP, Clause
from xstilts.embedded.rng import Rng
from xstilts.embedded.sampling import Sampler, distinct


def _sentence(s: Sampler, draw=None) -> tuple:
    clause = s.own(draw or s.clause)
    template = "fronted" if clause.time and s.rng.chance(0.3) else "statement"
    return clause, (clause, template)


def _rows(split: str, items: Iterator, language: str, tag) -> Iterator[dict]:
    g = grammar(language)
    for i, (clause, template) in enumerate(items):
        tokens, tags = tag(g, g.clause(clause, template), clause, template)
        yield {"id": f"{split}-{i}", "tokens": tokens, "tags": tags}


def udpos(language: str, split: str, n: int | None, seed: int) -> Iterator[dict]:
    """Words and their UPOS; punctuation is a word."""
    s = Sampler(Rng("udpos", split, seed), split)
    items = distinct(n, lambda i: _sentence(s), "udpos", split)
    return _rows(split, items, language, lambda g, ts, c, t: ([x.text for x in ts], [x.upos for x in ts]))


def supertagging(language: str, split: str, n: int | None, seed: int) -> Iterator[dict]:
    """English words and their categories (see `xstilts.embedded.ccg`)."""
    s = Sampler(Rng("ccg", split, seed), split)
    items = distinct(n, lambda i: _sentence(s), "ccg", split)

    def tag(g, tokens, clause, template):
        return [x.text for x in tokens], ccg.tags(tokens, clause, template == "fronted")

    return _rows(split, items, language, tag)


@cache
def held_out() -> frozenset[str]:
    """Names that panx shows in test only: every third first name, surname, city and organisation."""
    table = concepts()
    groups = (list(table["first_names"]), table["surnames"], meaning.places("city"), table["organisations"])
    return frozenset(key for group in groups for i, key in enumerate(group) if i % 3 == 2)


def names_in(clause: Clause) -> set[str]:
    """Concepts of all names in a clause."""
    found = {clause.place} if clause.place in set(meaning.places("city")) | set(concepts()["organisations"]) else set()
    stack = [clause.subj, clause.obj, clause.to]
    if clause.that is not None:
        found |= names_in(clause.that)
    while stack:
        np = stack.pop()
        if np is None:
            continue
        if np.kind == "and":
            stack += [np.head, np.adj]
        elif np.kind in ("person", "org"):
            found |= {np.head} | ({np.adj} if np.adj else set())
    return found


def _named(s: Sampler, i: int):
    """A sentence with a name, in test every second time an unseen one; one sentence in ten has none."""

    def draw() -> Clause:
        kind = s.rng.random()
        if kind < 0.25:
            return s.verb_clause(pred="work", place=s.rng.choice(s.organisations))
        if kind < 0.4:
            return s.verb_clause(
                pred=s.rng.choice(("buy", "sell")), subj=NP("org", None, s.rng.choice(s.organisations))
            )
        if kind < 0.55:
            return s.verb_clause(pred=s.rng.choice(("visit", "greet", "seek")))
        return s.clause()

    clause, item = _sentence(s, draw)
    names = names_in(clause)
    if bool(names) != (i % 10 != 0):
        return None
    unseen = bool(names & held_out())
    if unseen and s.split != "test":
        return None
    if not unseen and s.split == "test" and names and i % 2:
        return None
    return clause, item


def iob2(tokens: list[Token]) -> list[str]:
    """B- at the first token of each name, I- inside."""
    tags, previous = [], ("", "")
    for token in tokens:
        here = (token.entity, token.path)
        tags.append(("I-" if here == previous else "B-") + token.entity if token.entity else "O")
        previous = here
    return tags


def panx(language: str, split: str, n: int | None, seed: int) -> Iterator[dict]:
    """Words (Chinese: characters, as in PAN-X) and IOB2 tags of PER, LOC and ORG."""
    s = Sampler(Rng("panx", split, seed), split)
    items = distinct(n, lambda i: _named(s, i), "panx", split)

    def tag(g, tokens, clause, template):
        if g.rules.get("tagging_units") == "characters":
            tokens = [token._replace(text=char) for token in tokens for char in token.text]
        return [x.text for x in tokens], iob2(tokens)

    return _rows(split, items, language, tag)


GENERATORS = {"udpos": udpos, "panx": panx, "ccg": supertagging}
