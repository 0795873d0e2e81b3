"""English choice tasks from the knowledge in concepts.yaml: hellaswag, cosmosqa, commonsenseqa."""

from __future__ import annotations

from functools import cache

from xstilts.embedded import edits, meaning
from xstilts.embedded.grammar import Grammar, grammar
from xstilts.embedded.inference import ENTAILMENT, relation
from xstilts.embedded.lexicon import concepts
from xstilts.embedded.meaning import Clause, noun
from xstilts.embedded.rng import Rng
from xstilts.embedded.sampling import Sampler, distinct

DEEDS = ("read", "eat", "wash", "repair")
ABOUT = ("What is true about {}?", "What can we say about {}?", "Which sentence about {} follows?")


def _row(split: str, i: int, context: str, question: str, correct: str, wrong: list[str], position: int) -> dict:
    choices = list(wrong)
    choices.insert(position, correct)
    row = {"id": f"{split}-{i}", "context": context, "question": question, "choices": choices, "label": position}
    return row


def _text(g: Grammar, np) -> str:
    """A noun phrase as it stands inside a sentence."""
    return g.text(g.noun_phrase(np, "nom", "S")[0])


# ---------------------------------------------------------------- hellaswag
def _story(s: Sampler, i: int):
    """A person gets a thing; what happens next is what such things are for."""
    rng = s.rng
    first = s.own(lambda: s.verb_clause(pred=rng.choice(("buy", "seek", "photograph"))))
    target = first.obj.head
    if first.obj.kind != "noun" or first.subj.kind == "org":
        return None
    right = [verb for verb in DEEDS if target in meaning.objects(verb)]
    odd = [verb for verb in (*DEEDS, "write", "feed") if target in meaning.absurd(verb)]
    if not right or len(odd) < 2:
        return None
    verb = rng.choice(right)
    absent = rng.choice([x for x in meaning.objects(verb) if x != target and x in meaning.leaves("thing")])
    wrong = [(other, target) for other in rng.sample(odd, 2)] + [(verb, absent)]
    identity = (first, verb, tuple(wrong))
    return identity, (first, (verb, target), rng.shuffled(wrong))


def hellaswag(language: str, split: str, n: int, seed: int) -> list[dict]:
    """The beginning of a second sentence and four ends."""
    s = Sampler(Rng("hellaswag", split, seed), split)
    g = grammar(language)
    out = []
    for i, (first, right, wrong) in enumerate(distinct(n, lambda i: _story(s, i), "hellaswag", split)):

        def end(deed, subject=first.subj):
            clause = Clause("verb", subject, deed[0], noun("the", deed[1]))
            tokens = [token for token in g.clause(clause) if token.slot != "S"]
            return g.text(tokens)

        context = g.paragraph([g.sentence(first), f"Then {_text(g, first.subj)}"])
        out.append(_row(split, i, context, "", end(right), [end(deed) for deed in wrong], i % 4))
    return out


# ---------------------------------------------------------------- cosmosqa
WEAKER = (edits.drop_place, edits.drop_time, edits.wider_place, edits.wider_object)
DIFFERENT = (edits.other_place, edits.other_time, edits.other_object, edits.other_verb, edits.negate)


def _situation(s: Sampler, i: int):
    """Three facts, an entailed statement about one individual, three statements about it that do not follow."""
    rng = s.rng
    facts = [s.own(lambda: s.verb_clause(obj_dets=("the", "a"))) for _ in range(3)]
    subjects = [c.subj for c in facts]
    if len({np.head for np in subjects}) < 3 or any(np.kind == "org" for np in subjects):
        return None
    about = facts[0]
    right = edits.edited(about, s, 1 + rng.below(2), WEAKER)
    if right is None or right == about or relation(about, right) != ENTAILMENT:
        return None
    wrong: list[Clause] = []
    for _ in range(20):
        if len(wrong) == 3:
            break
        base = about if rng.chance(0.6) else rng.choice(facts[1:])._replace(subj=about.subj)
        c = edits.edited(base, s, 1, DIFFERENT if base.pred == about.pred else (edits.drop_place, edits.drop_time))
        c = c and (edits.edited(c, s, 1, WEAKER) or c)
        if c is None or c.subj != about.subj or c in wrong or not edits.valid(c) or relation(about, c) == ENTAILMENT:
            continue
        if about.subj.kind == "noun" and about.subj.head not in meaning.subjects(c.pred):
            continue
        wrong.append(c)
    if len(wrong) < 3:
        return None
    order = tuple(rng.shuffled(facts))
    return (order, right), (order, right, wrong, ABOUT[rng.below(3)])


def cosmosqa(language: str, split: str, n: int, seed: int) -> list[dict]:
    """A paragraph, a question about a person or an animal in it, four statements."""
    s = Sampler(Rng("cosmosqa", split, seed), split)
    g = grammar(language)
    out = []
    for i, (facts, right, wrong, question) in enumerate(distinct(n, lambda i: _situation(s, i), "cosmosqa", split)):
        context = g.paragraph([g.sentence(c) for c in facts])
        texts = [g.sentence(c) for c in wrong]
        out.append(_row(split, i, context, question.format(_text(g, right.subj)), g.sentence(right), texts, i % 4))
    return out


# ---------------------------------------------------------------- commonsenseqa
@cache
def _facts() -> dict[str, list[tuple[str, tuple, tuple]]]:
    """Question type -> (what it is about, right answers, wrong answers), all keys of concepts.yaml."""
    table = concepts()
    nouns = [key for key in table["nouns"] if meaning.leaves(key) == (key,) and key != "company"]
    things = meaning.leaves("thing")
    out: dict[str, list] = {kind: [] for kind in ASK}
    for key in dict.fromkeys(parent for parent in table["nouns"].values() if parent):
        inside = meaning.leaves(key)
        people = meaning.leaves("person") if key == "animal" else ()  # is a singer an animal? let nobody ask
        out["kind"].append((key, inside, tuple(x for x in nouns if x not in inside and x not in people)))
    for verb in (*DEEDS, "feed"):
        out["affords"].append((verb, meaning.objects(verb), meaning.absurd(verb)))
    for verb in ("read", "sleep", "swim", "sing", "laugh"):
        out["can"].append((verb, meaning.subjects(verb), things))
    for place, value in table["places"].items():
        if "in" in value:
            around = meaning.containers(place)
            kinds = ("country",) if value["kind"] == "city" else ("building", "outdoor")
            out["where"].append((place, around, tuple(x for x in meaning.places(*kinds) if x not in around)))
    for place in dict.fromkeys(place for place in table["roles"].values() if place):
        inside = tuple(role for role, where in table["roles"].items() if where == place)
        out["works"].append((place, inside, tuple(role for role in table["roles"] if role not in inside)))
    for key, value in table["adjectives"].items():
        if "antonym" in value and key != "aged":
            others = tuple(x for x in table["adjectives"] if x not in (key, value["antonym"], "aged"))
            out["opposite"].append((key, (value["antonym"],), others))
    return out


ASK = {
    "kind": ("Which of these is {a}?", "What is an example of {a}?"),
    "affords": ("What can a person {}?", "Which of these can a person {}?"),
    "can": ("Who or what can {}?", "Which of these can {}?"),
    "where": ("Where would you look for {}?", "Where can {} be?"),
    "works": ("Who usually works {}?", "Which person would you expect {}?"),
    "opposite": ("What is the opposite of {}?", "Which word means the contrary of {}?"),
}


def _common(rng: Rng, split: str):
    """One question whose identity (question and all choices) belongs to the split."""
    kind = rng.choice(tuple(ASK))
    about, right, wrong = rng.choice(_facts()[kind])
    answer, others = rng.choice(right), rng.sample(wrong, 4)
    identity = (kind, about, answer, tuple(sorted(others)))
    if meaning.split_of(identity) != split:
        return None
    return identity, (kind, about, answer, others, rng.below(2))


def commonsenseqa(language: str, split: str, n: int, seed: int) -> list[dict]:
    """A question without context and five choices."""
    rng = Rng("commonsenseqa", split, seed)
    g = grammar(language)

    def word(key: str) -> str:
        if key in concepts()["places"]:
            return g.text(g.place(key))
        category = "nouns" if key in concepts()["nouns"] else "adjectives"
        return " ".join(text for text, _ in next(iter(g.words[category][key].values())))

    out = []
    items = distinct(n, lambda i: _common(rng, split), "commonsenseqa", split)
    for i, (kind, about, answer, others, variant) in enumerate(items):
        if kind in ("affords", "can"):
            phrase = " ".join(text for text, _ in g.words["verbs"][about]["base"])
        elif kind == "where":
            phrase = g.text(g.place(about)).split(" ", 1)[1]
        else:
            phrase = word(about)
        article = ""
        if kind == "kind":
            article = g.text(g.finish(g.noun_phrase(noun("a", about), "nom", "S")[0])).lower()
        question = ASK[kind][variant].format(phrase, a=article)
        out.append(_row(split, i, "", question, word(answer), [word(key) for key in others], i % 5))
    return out


GENERATORS = {"hellaswag": hellaswag, "cosmosqa": cosmosqa, "commonsenseqa": commonsenseqa}
