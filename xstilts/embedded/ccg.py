"""Supertags of English sentences, read off the renderer's own derivation, and a check that they combine.

A stand-in for CCGbank (licensed): categories follow its notation, but noun phrases take no unary rule (a bare name is
NP) and only application is used; punctuation is absorbed.
"""

from __future__ import annotations

from functools import cache

from xstilts.embedded.grammar import Token
from xstilts.embedded.meaning import Clause

VP = "S\\NP"
ADJUNCT = f"({VP})\\({VP})"
NOT = f"({VP})/({VP})"
AUXILIARY = "(S[dcl]\\NP)/(S[b]\\NP)"
DAYS = ("Monday", "Wednesday", "Friday", "Sunday")  # common nouns here: "on Monday morning"
PUNCTUATION = (".", ",")


def tags(tokens: list[Token], clause: Clause, fronted: bool) -> list[str]:
    """One category a token of an English statement that `Grammar.clause` rendered from `clause`."""
    following = [*tokens[1:], None]
    return [_tag(token, token.path, after, clause, fronted) for token, after in zip(tokens, following, strict=True)]


def _tag(token: Token, path: str, following: Token | None, clause: Clause, fronted: bool) -> str:
    if token.upos == "PUNCT":
        return token.text
    if path[1:3] == "RK":  # inside a relative clause of the subject
        return _tag(token, path[3:], following, clause.subj.rel, False)
    if path[:2] == "QK":  # inside "that ..."
        return _tag(token, path[2:], following, clause.that, False)
    last = following is None or following.path != token.path
    if path[1:2] == "R":
        return "(NP\\NP)/(S[dcl]\\NP)"  # who, that
    if path in ("S", "O", "I"):
        return _nominal(token, last or following.upos == "CCONJ")
    if path == "P":
        return _adverbial(token, "PP" if clause.kind == "at" else ADJUNCT, last, following)
    if path == "T":
        return _adverbial(token, "S/S" if fronted else ADJUNCT, last, following)
    if path == "Q":
        return "S[em]/S[dcl]"  # that
    if path == "X":
        return AUXILIARY
    if path == "C":
        return _copula(token, clause)
    if path == "A":
        return "S[adj]\\NP"
    if path == "U":
        return "N"
    if path == "V":
        return NOT if token.upos == "PART" else _verb(token, clause, last)
    return "NP/N" if token.upos == "DET" else "PP/NP"  # a (doctor), to (the girl)


def _nominal(token: Token, last: bool) -> str:
    if token.upos == "CCONJ":
        return "(NP\\NP)/NP"
    if token.upos in ("DET", "NUM"):
        return "NP/N"
    if token.upos == "ADJ":
        return "N/N"
    if token.upos == "NOUN":
        return "N"
    return "NP" if last else "NP/NP"


def _adverbial(token: Token, whole: str, last: bool, following: Token | None) -> str:
    day = not last and following.upos == "NOUN"  # Monday (morning), tomorrow (evening)
    if token.upos == "ADP":
        named = following.upos in ("NOUN", "PROPN") and following.text in DAYS
        return f"{_wrap(whole)}/{'N' if named or following.upos == 'NOUN' else 'NP'}"
    if token.upos == "DET":
        return "NP/N" if token.text.lower() == "the" else f"{_wrap(whole)}/N"
    if token.upos == "PROPN":
        if token.text in DAYS:
            return "N/N" if day else "N"
        return "NP" if last else "NP/NP"
    if token.upos == "ADV" or token.text.lower() in ("today", "tomorrow"):
        return f"{_wrap(whole)}/N" if day else whole
    return "N"


def _copula(token: Token, clause: Clause) -> str:
    rest = {"at": "PP", "adjective": "(S[adj]\\NP)", "isa": "NP"}[clause.kind]
    if token.text == "will":
        return AUXILIARY
    if token.upos == "PART":
        return NOT if clause.tense == "future" or clause.kind == "adjective" else f"{rest}/{rest}"
    return f"({'S[b]' if token.text == 'be' else 'S[dcl]'}\\NP)/{rest}"


def _verb(token: Token, clause: Clause, last: bool) -> str:
    if token.upos == "ADP":
        return "PP/NP"
    base = clause.neg or clause.tense == "future"
    head = "S[b]\\NP" if base else "S[dcl]\\NP"
    if clause.that is not None:
        return f"({head})/S[em]"
    if clause.obj is None:
        return head
    if clause.to is not None:
        return f"(({head})/PP)/NP"
    return f"({head})/{'NP' if last else 'PP'}"


def _wrap(category: str) -> str:
    return f"({category})" if any(mark in category for mark in "/\\") else category


@cache
def parse(category: str):
    """ "(S\\NP)/NP" -> (result, slash, argument) nested tuples; atoms are strings."""
    category = category.strip()
    depth = 0
    for i in range(len(category) - 1, -1, -1):
        char = category[i]
        depth += (char == ")") - (char == "(")
        if depth == 0 and char in "/\\":
            return parse(_bare(category[:i])), char, parse(_bare(category[i + 1 :]))
    return category


def _bare(text: str) -> str:
    if not (text.startswith("(") and text.endswith(")")):
        return text
    depth = 0
    for i, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if depth == 0 and i < len(text) - 1:
            return text
    return text[1:-1]


def _match(want, have, feature: list) -> bool:
    if isinstance(want, tuple) != isinstance(have, tuple):
        return False
    if isinstance(want, tuple):
        return want[1] == have[1] and _match(want[0], have[0], feature) and _match(want[2], have[2], feature)
    if want == have:
        return True
    if want == "S" and have.startswith("S["):
        feature.append(have)
        return True
    return have == "S" and want.startswith("S[")


def _bind(category, feature: list):
    if not feature:
        return category
    if isinstance(category, tuple):
        return _bind(category[0], feature), category[1], _bind(category[2], feature)
    return feature[0] if category == "S" else category


def combines(categories: list[str]) -> bool:
    """Do the categories (punctuation absorbed) combine to S by forward and backward application? CKY."""
    leaves = [parse(category) for category in categories if category not in PUNCTUATION]
    n = len(leaves)
    chart = {(i, i + 1): {leaf} for i, leaf in enumerate(leaves)}
    for width in range(2, n + 1):
        for i in range(n - width + 1):
            cell = set()
            for k in range(i + 1, i + width):
                for left in chart[i, k]:
                    for right in chart[k, i + width]:
                        feature: list = []
                        if isinstance(left, tuple) and left[1] == "/" and _match(left[2], right, feature):
                            cell.add(_bind(left[0], feature))
                        feature = []
                        if isinstance(right, tuple) and right[1] == "\\" and _match(right[2], left, feature):
                            cell.add(_bind(right[0], feature))
            chart[i, i + width] = cell
    return any(goal == "S" or (isinstance(goal, str) and goal.startswith("S[dcl]")) for goal in chart[0, n])


@cache
def supertags() -> list[str]:
    """Every category `tags` can give, sorted."""
    nominal = {"(NP\\NP)/NP", "(NP\\NP)/(S[dcl]\\NP)", "NP/N", "N/N", "N", "NP", "NP/NP", "PP/NP", "PP/PP"}
    verbs = {AUXILIARY, NOT, "S[adj]\\NP", "S[em]/S[dcl]"}
    for head in ("S[b]\\NP", "S[dcl]\\NP"):
        rests = ("NP", "PP", "(S[adj]\\NP)", "S[em]") if "dcl" in head else ("NP", "PP")
        verbs |= {head, f"(({head})/PP)/NP"} | {f"({head})/{rest}" for rest in rests}
    adverbs = {ADJUNCT, "S/S"} | {f"({whole})/{arg}" for whole in (ADJUNCT, "S/S") for arg in ("N", "NP")}
    return sorted(nominal | verbs | adverbs | {".", ","})
