"""The embedded mini-XTREME: a deterministic generator over hand-written lexicons (docs/embedded.md)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator

from xstilts.embedded import lexicon
from xstilts.embedded.ccg import supertags
from xstilts.embedded.lexicon import languages
from xstilts.errors import UserError

__all__ = [
    "INTERMEDIATE",
    "TARGETS",
    "VARIANTS",
    "candidates",
    "fingerprint",
    "generate",
    "languages",
    "stream",
    "supertags",
    "verdict",
]

INTERMEDIATE = ("anli", "mnli", "qqp", "squad_v2", "squad", "hellaswag", "ccg", "cosmosqa", "commonsenseqa")
TARGETS = ("xnli", "pawsx", "udpos", "panx", "xquad", "mlqa", "tydiqa", "bucc2018", "tatoeba")
VARIANTS = ("mnli_translated", "text")  # training data in every language
RETRIEVAL = ("bucc2018", "tatoeba")
SPLITS = ("train", "dev", "test")
DEFAULT_SIZE = {"train": 2000, "dev": 200, "test": 200}
ENGLISH = "en"


def _generators() -> dict:
    from xstilts.embedded.tasks import adversarial, choices, nli, paraphrases, questions, retrieval, tagging, variants

    return {
        name: function
        for module in (nli, adversarial, paraphrases, tagging, questions, choices, retrieval, variants)
        for name, function in module.GENERATORS.items()
    }


def generate(generator: str, language: str, split: str, n: int | None = None, seed: int = 1) -> list[dict]:
    """Normalised examples of one generator.

    generator: one of `INTERMEDIATE` (English only), `TARGETS` or `VARIANTS`. `tatoeba` and `bucc2018` take the other
    language; English is the target side. n: examples (retrieval: gold pairs); None: 2,000 train, 200 dev or test. The
    same (generator, split, n, seed) gives the same meanings and ids in every language, and the same bytes on every
    machine. No meaning of one split occurs in another, whatever the seeds. `UserError`: unknown name, or more
    examples than there are different meanings.
    """
    function = _function(generator, language, split)
    size = DEFAULT_SIZE[split] if n is None else n
    if size < 1:
        raise UserError(f"embedded {generator}: n: {n!r} must be at least 1")
    return list(function(language, split, size, seed))


def stream(generator: str, language: str, split: str, seed: int = 1) -> Iterator[dict]:
    """The examples of `generate`, one by one and without end, in memory that grows by some 100 bytes an example.

    Not for retrieval, whose pools are shuffled as a whole. `UserError` when no new example can be found.
    """
    if generator in RETRIEVAL:
        raise UserError(f"embedded {generator}: a pool has a size; use generate(..., n=...)")
    return iter(_function(generator, language, split)(language, split, None, seed))


def _function(generator: str, language: str, split: str) -> Callable:
    names = INTERMEDIATE + TARGETS + VARIANTS
    if generator not in names:
        raise UserError(f"embedded: generator: {generator!r} is unknown (allowed: {', '.join(names)})")
    if split not in SPLITS:
        raise UserError(f"embedded {generator}: split: {split!r} is unknown (allowed: {', '.join(SPLITS)})")
    known = languages()
    if language not in known:
        raise UserError(
            f"embedded {generator}: language: {language!r} has no lexicon (allowed: {', '.join(known)}); "
            f"write catalog/lexicons/{language}.yaml to add it"
        )
    if generator in INTERMEDIATE and language != ENGLISH:
        raise UserError(f"embedded {generator}: language: {language!r}; intermediate tasks are English only (en)")
    if generator in RETRIEVAL and language == ENGLISH:
        raise UserError(f"embedded {generator}: language: 'en' is always the target side; name the other language")
    return _generators()[generator]


def fingerprint(*codes: str) -> str:
    """sha256 over concepts.yaml, everyday.yaml and the parsed lexicons of these languages (all, if none is named): it
    changes when, and only when, a word or a rule of them does; comments and key order do not count."""
    from xstilts.embedded.tasks.commonsense import everyday

    value = {code: [lexicon.load(code).grammar, lexicon.load(code).words] for code in codes or languages()}
    text = json.dumps([lexicon.concepts(), everyday(), value], ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def verdict(generator: str, language: str, row: dict, **edited) -> str:
    """Does the label of an item still follow after an edit? See `xstilts.embedded.validity.verdict`."""
    from xstilts.embedded import validity

    return validity.verdict(generator, language, row, **edited)


def candidates(
    generator: str, language: str, split: str, n: int | None = None, seed: int = 1
) -> Iterator[tuple[dict, list[tuple[int, int]]]]:
    """The rows of `generate` for a question generator, each with the spans (start, end) of its context that have the
    type the question asks for: every person for `who`, every place for `where`... KeyError for other generators."""
    from xstilts.embedded.tasks import questions

    if generator not in questions.STYLES:
        raise KeyError(f"{generator}: no candidates; there are some for {', '.join(sorted(questions.STYLES))}")
    _function(generator, language, split)
    return questions.candidates(generator, language, split, DEFAULT_SIZE[split] if n is None else n, seed)
