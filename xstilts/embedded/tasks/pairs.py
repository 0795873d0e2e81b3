"""Pair tasks: natural language inference (mnli, xnli, anli), question pairs (qqp), paraphrases (pawsx)."""

from __future__ import annotations

from functools import partial

from xstilts.embedded import edits, meaning
from xstilts.embedded.grammar import grammar
from xstilts.embedded.inference import CONTRADICTION, ENTAILMENT, NEUTRAL, relation
from xstilts.embedded.lexicon import concepts
from xstilts.embedded.meaning import NP, Clause, noun
from xstilts.embedded.rng import Rng
from xstilts.embedded.sampling import Sampler, distinct

LABELS = (ENTAILMENT, NEUTRAL, CONTRADICTION)
# Every label is cycled through the same cells (hypothesis negative?, words of it that the premise lacks), so that
# neither negation nor overlap tells the label.
CELLS = [(False, 0), (True, 0), (False, 1), (True, 1), (False, 2), (True, 1), (False, 1), (True, 0)]


def rows(split: str, pairs: list, language: str, render) -> list[dict]:
    """Normalised pair examples."""
    g = grammar(language)
    out = []
    for i, (a, b, label) in enumerate(pairs):
        text_a, text_b = render(g, a), render(g, b)
        out.append({"id": f"{split}-{i}", "text_a": text_a, "text_b": text_b, "label": label})
    return out


def _content(c: Clause) -> set:
    """Content concepts of a clause, as words that a reader would compare."""
    words = {c.pred, c.place, c.time}
    for np in (c.subj, c.obj):
        for part in (np.head, np.adj) if np and np.kind == "and" else (np,):
            if part is not None:
                words |= {part.det, part.head, part.adj}
    return words - {None}


def _negative(c: Clause) -> bool:
    return c.neg or c.subj.det == "no"


MUTUAL = ("visit", "greet", "photograph", "seek", "know", "love")


def _premise(s: Sampler, negative: bool, bare: bool, mutual: bool) -> Clause | None:
    """A clause of this polarity; `bare`: without some of its adverbials, so that a hypothesis can add them; `mutual`:
    of a verb whose subject and object can change places."""
    for _ in range(40):
        p = _draw_premise(s, negative, bare, mutual)
        if edits.valid(p) and meaning.split_of(p) == s.split:
            return p
    return None


def _draw_premise(s: Sampler, negative: bool, bare: bool, mutual: bool) -> Clause:
    rng = s.rng
    p = s.verb_clause(pred=rng.choice(MUTUAL)) if mutual else s.clause()
    if _negative(p) != negative:
        p = edits.negate(p, s)
    if negative and p.kind == "verb" and p.subj.kind == "noun" and rng.chance(0.3):
        above = meaning.ancestors(p.subj.head)
        p = p._replace(subj=noun("no", above[-1]), neg=False)
    if bare and p.kind == "verb":
        p = p._replace(place=p.place if rng.chance(0.3) else None, time=p.time if rng.chance(0.3) else None)
    return p


def _nli_pair(s: Sampler, i: int):
    """((premise, hypothesis), (premise, hypothesis, label)) for the i-th cell of the design, or None: draw again."""
    rng = s.rng
    label, (negative, new) = LABELS[i % 3], CELLS[(i // 3) % len(CELLS)]
    opposite = rng.chance(0.5) if label == NEUTRAL else (label == CONTRADICTION) == rng.chance(0.85)
    premise_negative = negative != opposite
    swap = label == NEUTRAL and new == 0 and rng.chance(0.8)
    p = _premise(s, premise_negative, new > 0 and premise_negative, swap or rng.chance(0.1))
    if p is None:
        return None
    if swap:
        pool = (edits.swap_roles, edits.drop_time, edits.drop_place)
    elif label == NEUTRAL or rng.chance(0.2):
        pool = edits.ALL
    else:
        pool = edits.STRENGTHENING if premise_negative else edits.WEAKENING
    words = _content(p)
    for _ in range(8):
        h = edits.negate(p, s) if opposite else p
        steps = rng.below(4) if opposite else 1 + rng.below(3)
        if p.kind == "adjective" and rng.chance(0.7):
            h, steps = (edits.antonym if rng.chance(0.6) else edits.other_adjective)(h, s), 0
        h = h and edits.edited(h, s, steps, pool)
        if h is None or h == p or _negative(h) != negative or min(2, len(_content(h) - words)) != new:
            continue
        if relation(p, h) == label:
            return (p, h), (p, h, label)
    return None


def nli(name: str, language: str, split: str, n: int, seed: int) -> list[dict]:
    """Premise, hypothesis, label by inference."""
    s = Sampler(Rng(name, split, seed), split)
    pairs = distinct(n, lambda i: _nli_pair(s, i), name, split)
    return rows(split, pairs, language, lambda g, c: g.sentence(c))


def _context(s: Sampler, i: int):
    """An NLI pair whose premise stands between two sentences that have no bearing on the hypothesis."""
    drawn = _nli_pair(s, i)
    if drawn is None:
        return None
    p, h, label = drawn[1]
    taken = _content(p) | _content(h)
    noise: list[Clause] = []
    while len(noise) < 2:
        c = s.own(s.clause)
        if c.subj.det in (None, "the") and not (_content(c) & taken) - {"the", "a"}:
            noise.append(c)
    story = [p, *noise]
    k = s.rng.below(3)
    story[0], story[k] = story[k], story[0]
    return (tuple(story), h), (tuple(story), h, label)


def anli(name: str, language: str, split: str, n: int, seed: int) -> list[dict]:
    """As `nli` with two more sentences in the premise."""
    s = Sampler(Rng(name, split, seed), split)
    pairs = distinct(n, lambda i: _context(s, i), name, split)

    def render(g, value):
        return g.sentence(value) if isinstance(value, Clause) else g.paragraph([g.sentence(c) for c in value])

    return rows(split, pairs, language, render)


# ---------------------------------------------------------------- qqp
VARIANTS = {"who": 3, "what": 3, "where": 3, "when": 2, "whether": 1}


def _askable(c: Clause) -> list[str]:
    kinds = ["who"] if c.subj.kind != "org" and c.subj.head not in meaning.leaves("animal") else []
    if c.obj and c.obj.head in meaning.leaves("thing"):
        kinds.append("what")
    # Yes-no questions only where they have a second wording: else only pairs of label 0 would hold them.
    return kinds + ["where"] * bool(c.place) + ["when"] * bool(c.time) + ["whether"] * bool(c.time)


def _hidden(asked: str) -> str:
    return {"who": "subj", "what": "obj", "where": "place", "when": "time"}.get(asked, "kind")


def _variant(s: Sampler, c: Clause, asked: str, avoid: str | None) -> tuple[str, Clause]:
    """Another wording: (template, clause). Synonym verbs, `X and Y` turned round, other question words, time first."""
    options = [asked]
    if VARIANTS[asked] > 1:
        options.append(f"{asked}_2")
    if c.time and asked != "when":
        options.append(f"{asked}_3")
    template = s.rng.choice([option for option in options if option != avoid] or options)
    if c.pred == "buy" and s.rng.chance(0.5):
        c = c._replace(pred="purchase")
    if c.subj.kind == "and" and s.rng.chance(0.5):
        c = c._replace(subj=NP("and", None, c.subj.adj, c.subj.head))
    return template, c


def _question_key(c: Clause, asked: str) -> tuple:
    """What is asked, whatever the answer and the order of `X and Y`: this decides the split."""
    if asked != "whether":
        c = c._replace(**{_hidden(asked): None if asked != "who" else NP("person", None, "anna")})
    if c.subj.kind == "and":
        left, right = sorted((c.subj.head, c.subj.adj), key=repr)
        c = c._replace(subj=NP("and", None, left, right))
    return asked, meaning.skeleton(c)


def _question_pair(s: Sampler, i: int):
    rng = s.rng
    mutual = rng.chance(0.4)
    verb = {"pred": rng.choice(MUTUAL)} if mutual else {}
    c = s.verb_clause(obj_dets=("the", "a"), **verb)
    if mutual and edits.swap_roles(c, s) is None:
        return None
    if not mutual and c.subj.kind != "org" and rng.chance(0.15):
        c = s.conjoined(c)
    kinds = [kind for kind in _askable(c) if not mutual or kind not in ("who", "what")]
    if not kinds:
        return None
    asked = rng.choice(kinds)
    if meaning.split_of(_question_key(c, asked)) != s.split:
        return None
    other = c
    if i % 2 == 0:
        other = edits.swap_roles(c, s) if mutual else edits.replaced(c, s)
        hidden = _hidden(asked)
        if hidden in ("subj", "obj", "place", "time"):
            other = other._replace(**{hidden: getattr(c, hidden)})
        if other == c or not edits.valid(other):
            return None
        if meaning.skeleton(other) == meaning.skeleton(c):
            return None
    first, second = _variant(s, c, asked, None), None
    for _ in range(4):
        second = _variant(s, other, asked, first[0])
        if second != first:
            break
    if second == first:
        return None
    return (first, second), (first, second, str(i % 2))


def qqp(name: str, language: str, split: str, n: int, seed: int) -> list[dict]:
    """Two questions: do they ask the same?"""
    s = Sampler(Rng(name, split, seed), split)
    pairs = distinct(n, lambda i: _question_pair(s, i), name, split)
    return rows(split, pairs, language, lambda g, v: g.sentence(v[1], v[0]))


# ---------------------------------------------------------------- paws
def _paws_single(s: Sampler, same: bool):
    """Two people and a time: fronting keeps the meaning, swapping the roles does not."""
    verb = s.rng.choice(("visit", "greet", "photograph", "seek"))
    heads = s.rng.sample(s.people, 2)
    people = [s.described("the", heads[0], 0.3), s.name() if s.rng.chance(0.4) else s.described("the", heads[1], 0.3)]
    subj, obj = s.rng.shuffled(people)
    spots = meaning.places_for(verb, True)
    place = s.rng.choice(spots) if spots and s.rng.chance(0.5) else None
    c = Clause("verb", subj, verb, obj, place, s.rng.choice(concepts()["times"]))
    if meaning.split_of(_unordered(c)) != s.split:
        return None
    fronted = s.rng.chance(0.5)
    templates = ["fronted", "statement"] if fronted else ["statement", "fronted"]
    if not same:
        if s.rng.chance(0.5):
            templates[1] = templates[0]
        return ((c, templates[0]),), ((c._replace(subj=obj, obj=subj), templates[1]),)
    return ((c, templates[0]),), ((c, templates[1]),)


def _unordered(c: Clause):
    return (c.kind, tuple(sorted((repr(c.subj), repr(c.obj)))), c.pred, c.place, c.time)


def _paws_double(s: Sampler, same: bool):
    """Two clauses: changing their order keeps the meaning, exchanging subjects, places or times does not."""
    rng = s.rng
    verbs = rng.sample(("sleep", "work", "sing", "dance", "play", "laugh", "cry"), 2)
    if "sleep" in verbs and rng.chance(0.5):
        verbs = ["sing", "work"]
    subjects = [noun("the", head) for head in rng.sample(s.people, 2)]
    if rng.chance(0.5):
        subjects[rng.below(2)] = s.name()
    spots = rng.sample(meaning.places_for(None, True), 2)
    a, b = (Clause("verb", subjects[k], verbs[k], None, spots[k]) for k in (0, 1))
    if meaning.split_of((tuple(sorted(map(repr, subjects))), tuple(sorted(verbs)), tuple(sorted(spots)))) != s.split:
        return None
    first, second = (a, b), (b, a)
    if not same:
        if rng.chance(0.5):
            second = (a._replace(subj=b.subj), b._replace(subj=a.subj))
        else:
            second = (a._replace(place=b.place), b._replace(place=a.place))
        second = tuple(rng.shuffled(second))
    return tuple((c, "and") for c in first), tuple((c, "and") for c in second)


def _paws_pair(s: Sampler, i: int):
    make = _paws_single if (i // 2) % 2 else _paws_double
    made = make(s, i % 2 == 1)
    if made is None:
        return None
    return (frozenset(made)), (made[0], made[1], str(i % 2))


def paws(name: str, language: str, split: str, n: int, seed: int) -> list[dict]:
    """Two sentences of (nearly) the same words: do they mean the same?"""
    s = Sampler(Rng(name, split, seed), split)
    pairs = distinct(n, lambda i: _paws_pair(s, i), name, split)

    def render(g, value):
        if len(value) == 2:
            return g.text(g.two_clauses(value[0][0], value[1][0]))
        return g.sentence(*value[0])

    return rows(split, pairs, language, render)


GENERATORS = {
    "mnli": partial(nli, "mnli"),
    "xnli": partial(nli, "xnli"),
    "anli": partial(anli, "anli"),
    "qqp": partial(qqp, "qqp"),
    "pawsx": partial(paws, "pawsx"),
}
