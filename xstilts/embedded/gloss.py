"""Sentences word by word beside the English, for somebody who reads the language to judge."""

from __future__ import annotations

from itertools import groupby

from xstilts.embedded.grammar import grammar
from xstilts.embedded.lexicon import concepts
from xstilts.embedded.meaning import GAP, NP, Clause, noun

ANNA, RAVI = NP("person", None, "anna", "petrov"), NP("person", None, "ravi")
SINGING = Clause("verb", GAP, "sing", place="park")
# One sentence for each construction of the grammar: (meaning, template).
SHOWN = (
    (Clause("verb", noun("the", "doctor"), "sleep", place="garden", time="noon"), "statement"),
    (Clause("verb", noun("every", "child"), "read", noun("the", "book"), "library", "monday"), "fronted"),
    (Clause("verb", noun("no", "cook"), "wash", noun("the", "cup", "white"), time="now"), "statement"),
    (Clause("verb", noun("two", "nurse"), "buy", noun("three", "apple"), "market"), "statement"),
    (Clause("verb", noun("the", "farmer", "young"), "seek", noun("the", "lion", "old"), neg=True), "statement"),
    (Clause("verb", noun("the", "teacher"), "give", noun("a", "flower", "red"), to=noun("the", "girl")), "statement"),
    (Clause("verb", ANNA, "show", noun("the", "picture"), "vienna", "tomorrow", to=RAVI, tense="future"), "statement"),
    (Clause("verb", NP("and", None, noun("the", "singer"), RAVI), "dance", place="street"), "statement"),
    (Clause("verb", noun("the", "woman", rel=SINGING), "know", noun("the", "baker")), "statement"),
    (Clause("report", ANNA, "say", that=Clause("at", noun("the", "dog"), place="kitchen", neg=True)), "statement"),
    (Clause("adjective", noun("the", "horse"), "beautiful"), "statement"),
    (Clause("isa", RAVI._replace(adj="sharma"), "teacher", neg=True), "statement"),
    (Clause("verb", NP("org", None, "aurora_bank"), "sell", noun("some", "car"), "cairo"), "statement"),
    (Clause("verb", noun("the", "student"), "write", noun("a", "letter"), "house", "evening"), "where"),
    (Clause("verb", noun("the", "driver"), "repair", noun("the", "bicycle"), tense="future"), "who"),
)  # fmt: skip


def words(language: str, clause: Clause, template: str = "statement") -> list[tuple[str, str]]:
    """(word or phrase, what it is called in concepts.yaml) of a sentence; "" for grammatical words and marks."""
    g = grammar(language)
    found = []
    for concept, tokens in groupby(g.clause(clause, template), lambda token: token.concept):
        if concept:
            found.append((g.text(list(tokens)), _name(concept)))
        else:
            found += [(token.text, "") for token in tokens]
    return found


def line(language: str, clause: Clause, template: str = "statement") -> str:
    """The sentence, then its concepts in brackets in the order in which the language says them."""
    g = grammar(language)
    tokens = g.clause(clause, template)
    order = dict.fromkeys(_name(token.concept) for token in tokens if token.concept)
    return f"{g.text(tokens)} [{' '.join(order)}]"


def _name(concept: str) -> str:
    if concept in concepts()["first_names"] or concept in concepts()["surnames"]:
        return concept.capitalize()
    return concept.replace("_", " ").replace("know that", "know")
