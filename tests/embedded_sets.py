"""What the tests of the embedded data share: every (generator, language) and its examples, generated once a session."""

from functools import cache

from xstilts import embedded
from xstilts.embedded import lexicon
from xstilts.embedded.meaning import Clause
from xstilts.embedded.parse import sentences

SIZE = 2000
LANGUAGES = tuple(embedded.languages())
RETRIEVAL = embedded.RETRIEVAL
KINDS = {
    "pair": ("anli", "mnli", "qqp", "xnli", "pawsx"),
    "choice": ("hellaswag", "cosmosqa", "commonsenseqa"),
    "tagging": ("ccg", "udpos", "panx"),
    "span_qa": ("squad_v2", "squad", "xquad", "mlqa", "tydiqa"),
    "retrieval": RETRIEVAL,
}
KEYS = {
    "pair": ["id", "text_a", "text_b", "label"],
    "choice": ["id", "context", "question", "choices", "label"],
    "tagging": ["id", "tokens", "tags"],
    "span_qa": ["id", "context", "question", "answers"],
    "retrieval": ["id", "side", "text", "match"],
}


def codes(name):
    """Languages that a generator has."""
    if name in embedded.INTERMEDIATE:
        return ("en",)
    return tuple(code for code in LANGUAGES if not (name in RETRIEVAL and code == "en"))


EVERY = [(name, code) for name in embedded.INTERMEDIATE + embedded.TARGETS for code in codes(name)]


def kind_of(name):
    return next(kind for kind, names in KINDS.items() if name in names)


@cache
def rows(name, code, split="test", n=SIZE, seed=1):
    """Generated examples; retrieval: half as many gold pairs, which bring their partners and distractors."""
    return embedded.generate(name, code, split, n // 2 if name in RETRIEVAL else n, seed)


def units(name, code, split, n, seed, first=None):
    """Texts that must stay in their split: contexts sentence by sentence, pairs as a whole... of the first examples."""
    found = set()
    for row in rows(name, code, split, n, seed)[:first]:
        if name == "commonsenseqa":
            found.add((row["question"], tuple(sorted(row["choices"]))))
        elif name == "hellaswag":
            found.add(row["context"])
        elif "context" in row:
            found.update(text for _, text in sentences(code, row["context"]))
        elif "tokens" in row:
            found.add(" ".join(row["tokens"]))
        elif "text" in row:
            found.add(row["text"])
        else:
            found.add((row["text_a"], row["text_b"]))
    return found


def clause(subj, pred, obj=None, place=None, time=None, neg=False, **more):
    """A clause; its kind is told by the predicate unless given."""
    kind = "at" if pred is None else ("adjective" if pred in lexicon.concepts()["adjectives"] else "verb")
    return Clause(more.pop("kind", kind), subj, pred, obj, place, time, neg, **more)
