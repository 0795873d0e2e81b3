"""Everyday knowledge as contrast sets, and commonsenseqa: questions without context (English).

A contrast set is some traits with one owner each, such that no trait could be another's owner's. Any of them can be the
one that is asked about, by equal chance; so the choices alone never say which is right.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import yaml

from xstilts.embedded import lexicon, meaning
from xstilts.embedded.grammar import Grammar, grammar
from xstilts.embedded.meaning import noun
from xstilts.embedded.rng import Rng
from xstilts.embedded.sampling import distinct

EVERYDAY = Path(lexicon.__file__).with_name("everyday.yaml")
CHOICES = 5
# Questions that name a trait and ask for the owner; that name the owner and ask for the trait.
OWNER = {
    "things": ("What would a person {}?", "Which of these would you {}?", "What can one {}?"),
    "places": ("Where do people usually {}?", "Where would you expect somebody to {}?"),
    "roles": ("Who {}?", "Who usually {}?", "Which of these {}?"),
    "animals": ("Which animal {}?", "Which of these animals {}?"),
    "kinds": ("Which of these is {}?", "What could be called {}?"),
    "opposites": ("What is the opposite of {}?", "Which word means the contrary of {}?"),
    "cities": ("Which city is {}?", "Which of these cities is {}?"),
}
TRAIT = {
    "things": ("What would a person do with {}?", "What does one usually do with {}?"),
    "places": ("What do people usually do {}?", "What would you expect somebody to do {}?"),
    "roles": ("What does {} do?", "What would you expect {} to do?"),
    "animals": ("What does {} do?", "What would you expect {} to do?"),
    "states": ("What would a person who is {} do?", "What does somebody do who is {}?"),
    "kinds": ("What is {}?", "What could one call {}?"),
    "cities": ("Where is {}?", "Where would you look for {}?"),
}
ASKED = (*((group, "owner") for group in OWNER), *((group, "trait") for group in TRAIT))


class Trait(NamedTuple):
    """Something that is true of its owners (`of`), and perhaps of some more (`possible` has both)."""

    key: str
    of: tuple[str, ...]
    possible: frozenset[str]
    does: tuple[str, ...]
    ask: tuple[str, ...]


@cache
def everyday() -> dict:
    """The knowledge of everyday.yaml."""
    return yaml.safe_load(EVERYDAY.read_text(encoding="utf-8"))


@cache
def traits(group: str) -> tuple[Trait, ...]:
    """All traits of a group: of everyday.yaml, or cities (where they are), or opposites (of what)."""
    if group == "cities":
        places = lexicon.concepts()["places"]
        inside = {key: [city for city in places if places[city].get("in") == key] for key in meaning.places("country")}
        return tuple(_trait(key, {"of": of}) for key, of in inside.items())
    if group == "opposites":
        words: dict[str, list[str]] = {}
        for pair in everyday()["opposites"]:
            for word, other in (pair, pair[::-1]):
                words.setdefault(word, []).append(other)
        return tuple(_trait(word, {"of": of, "also": [word]}) for word, of in words.items())
    return tuple(_trait(key, value) for key, value in everyday()[group].items())


def _trait(key: str, value: dict) -> Trait:
    named = [tuple(leaf for name in value.get(part, ()) for leaf in meaning.leaves(name)) for part in ("of", "also")]
    return Trait(key, named[0], frozenset(named[0] + named[1]), *(tuple(value.get(x, ())) for x in ("does", "ask")))


def contrast(rng: Rng, known: tuple[Trait, ...], size: int) -> list[tuple[Trait, str]] | None:
    """`size` traits, each with an owner of whom none of the others could be true; None: draw again."""
    picks = [(trait, rng.choice(trait.of)) for trait in rng.sample(known, size)]
    for trait, _ in picks:
        if sum(owner in trait.possible for _, owner in picks) > 1:
            return None
    return picks


def said(text: str, third: bool) -> str:
    """ "eat/eats it" in one of its two forms."""
    return " ".join(word.split("/")[-1 if third else 0] for word in text.split())


def _question(g: Grammar, rng: Rng, group: str, wanted: str, picks: list) -> tuple[str, list[str]]:
    """Words of a question about the first of a contrast set, and all choices, the right one first."""
    third = group in ("roles", "animals")
    if wanted == "owner":
        trait = picks[0][0]
        if group == "cities":
            about = g.text(g.place(trait.key))
        else:
            about = said(rng.choice(trait.ask or trait.does or (trait.key,)), third)
        return rng.choice(OWNER[group]).format(about), [_owner(g, group, owner) for _, owner in picks]
    about = _owner(g, group, picks[0][1])
    if group == "cities":
        answers = [g.text(g.place(trait.key)) for trait, _ in picks]
    else:
        answers = [said(rng.choice(trait.does), False) for trait, _ in picks]
    return rng.choice(TRAIT[group]).format(about), answers


def _owner(g: Grammar, group: str, key: str) -> str:
    if group in ("opposites", "states"):
        return key
    if group == "places":
        return g.text(g.place(key))
    if group == "cities":
        return g.text([token for token in g.place(key) if token.entity])
    return g.text(g.finish(list(g.noun_phrase(noun("a", key)).tokens))).lower()


def _item(rng: Rng, split: str):
    """One question whose identity (what is asked, of which choices) belongs to the split."""
    group, wanted = rng.choice(ASKED)
    picks = contrast(rng, traits(group), CHOICES)
    if picks is None:
        return None
    shown = [owner if wanted == "owner" else trait.key for trait, owner in picks]
    identity = (group, wanted, picks[0][0].key, picks[0][1], tuple(sorted(shown[1:])))
    return (identity, (group, wanted, picks)) if meaning.split_of(identity) == split else None


def commonsenseqa(language: str, split: str, n: int | None, seed: int) -> Iterator[dict]:
    """A question without context and five choices."""
    rng = Rng("commonsenseqa", split, seed)
    g = grammar(language)
    for i, (group, wanted, picks) in enumerate(distinct(n, lambda i: _item(rng, split), "commonsenseqa", split)):
        question, choices = _question(g, rng, group, wanted, picks)
        yield row(f"{split}-{i}", "", question, choices[0], choices[1:], i % CHOICES)


def row(name: str, context: str, question: str, correct: str, wrong: list[str], position: int) -> dict:
    """A normalised example with the right choice at this position."""
    choices = [*wrong[:position], correct, *wrong[position:]]
    return {"id": name, "context": context, "question": question, "choices": choices, "label": position}
