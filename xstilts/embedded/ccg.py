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
PUNCTUATION = (".", ",")


def tags(tokens: list[Token], clause: Clause, fronted: bool) -> list[str]:
    """One category a token of an English statement that `Grammar.clause` rendered from `clause`."""
    out = []
    for i, token in enumerate(tokens):
        following = tokens[i + 1] if i + 1 < len(tokens) else None
        last_of_slot = following is None or following.slot != token.slot
        out.append(_tag(token, clause, fronted, last_of_slot, following))
    return out


def _tag(token: Token, clause: Clause, fronted: bool, last: bool, following: Token | None) -> str:
    if token.upos == "PUNCT":
        return token.text
    if token.slot in ("S", "O"):
        return _nominal(token, last or following.upos == "CCONJ")
    if token.slot in ("P", "T"):
        if token.slot == "P":
            whole = "PP" if clause.kind == "at" else ADJUNCT
        else:
            whole = "S/S" if fronted else ADJUNCT
        return _adverbial(token, whole, last, following)
    if token.slot == "X":
        return "(S[dcl]\\NP)/(S[b]\\NP)"
    if token.slot == "C":
        return "(S[dcl]\\NP)/PP" if clause.kind == "at" else "(S[dcl]\\NP)/(S[adj]\\NP)"
    if token.slot == "A":
        return "S[adj]\\NP"
    if token.slot == "V":
        return _verb(token, clause, last)
    return "PP/PP" if clause.kind == "at" else NOT  # not


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
    if token.upos == "ADP":
        argument = "N" if following.upos == "NOUN" else "NP"
        return f"{_wrap(whole)}/{argument}"
    if token.upos == "DET":
        return "NP/N" if token.text.lower() == "the" else f"{_wrap(whole)}/N"
    if token.upos == "PROPN":
        return "NP" if last else "NP/NP"
    return whole if token.upos == "ADV" or token.text.lower() == "today" else "N"


def _verb(token: Token, clause: Clause, last: bool) -> str:
    if token.upos == "ADP":
        return "PP/NP"
    head = "S[b]\\NP" if clause.neg else "S[dcl]\\NP"
    if clause.obj is None:
        return head
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
    nominal = {"(NP\\NP)/NP", "NP/N", "N/N", "N", "NP", "NP/NP"}
    verbs = {"PP/NP", "S[adj]\\NP", "(S[dcl]\\NP)/(S[b]\\NP)", "(S[dcl]\\NP)/PP", "(S[dcl]\\NP)/(S[adj]\\NP)"}
    for head in ("S[b]\\NP", "S[dcl]\\NP"):
        verbs |= {head, f"({head})/NP", f"({head})/PP"}
    adverbs = {ADJUNCT, "S/S"} | {f"({whole})/{arg}" for whole in (ADJUNCT, "S/S") for arg in ("N", "NP")}
    return sorted(nominal | verbs | adverbs | {"PP/PP", NOT, ".", ","})
