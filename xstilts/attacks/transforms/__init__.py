"""What can be done to one word: a transform proposes, the proposer refuses torn clusters, the search chooses.

Signature: transform(clusters, first, last, rng, language, options) -> list of cluster tuples, distinct, none equal to
`clusters`, in the order that `rng` gives. Only the clusters with index first <= i < last may be touched. `language`: a
row of catalog/languages.yaml with its `alphabet` (letters) and `keyboard` (key -> adjacent keys); `options`: those of
the attack. Add one with `@register(name)` in a module of this package that the last line imports.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import zip_longest
from random import Random

from xstilts.attacks.constraints import clusters_whole
from xstilts.attacks.proposals import Draft, Proposal, Proposer
from xstilts.attacks.units import text_of
from xstilts.errors import UserError

Clusters = tuple[str, ...]
Transform = Callable[[Clusters, int, int, Random, dict, dict], list[Clusters]]
TRANSFORMS: dict[str, Transform] = {}


def register(name: str, checks_clusters: bool = True, one_word: bool = True) -> Callable[[Transform], Transform]:
    """Make a transform known to the catalog under `name`.

    `checks_clusters`: candidates whose clusters merge with one another or with their neighbours are refused; False for
    invisible and control characters, which do so on purpose. `one_word`: the result is still one word; False keeps the
    transform from tagging, where a token must stay one.
    """

    def add(transform: Transform) -> Transform:
        transform.checks_clusters = checks_clusters
        transform.one_word = one_word
        TRANSFORMS[name] = transform
        return transform

    return add


def shuffled(candidates: Iterable[Clusters], rng: Random) -> list[Clusters]:
    """The distinct ones of `candidates` in the order that `rng` gives."""
    distinct = list(dict.fromkeys(candidates))
    rng.shuffle(distinct)
    return distinct


def proposer(identity: dict) -> Proposer:
    """New texts for every unit that may change: those of each transform of the attack in turn.

    `identity.options.one_each`: one random candidate of each transform and unit (TextAttack's `random_one`).
    """
    names, options = identity["transform"], identity.get("options", {})
    names = [names] if isinstance(names, str) else names
    for name in names:
        if name not in TRANSFORMS:
            raise UserError(f"transform: {name!r} is unknown; allowed: {', '.join(sorted(TRANSFORMS))}")

    def propose(drafts: list[Draft]) -> list[Proposal]:
        return [_proposal(draft, [TRANSFORMS[name] for name in names], options) for draft in drafts]

    return propose


def _proposal(draft: Draft, transforms: list[Transform], options: dict) -> Proposal:
    if draft.kind == "tagging":
        transforms = [transform for transform in transforms if transform.one_word]
    texts = {}
    for index, span in draft.ranges.items():
        rng = draft.rng(index)
        lists = [_candidates(draft, index, span, transform, rng, options) for transform in transforms]
        found = dict.fromkeys(text for turn in zip_longest(*lists) for text in turn if text is not None)
        if found:
            texts[index] = list(found)
    return Proposal(draft.units, texts)


def _candidates(
    draft: Draft, index: int, span: tuple[int, int], transform: Transform, rng: Random, options: dict
) -> list[str]:
    unit = draft.units[index]
    kept, field, word = [], text_of(draft.example, unit), "".join(unit.word.clusters)
    for clusters in transform(unit.word.clusters, *span, rng, draft.language, options):
        if transform.checks_clusters and not clusters_whole(unit, clusters, field):
            continue
        # transforms compare clusters; a swap of pieces such as "aa", "a" may give the same text
        if (text := "".join(clusters)) != word:
            kept.append(text)
            if options.get("one_each"):
                break
    return kept


# last, since they register themselves above; statements, from which a stage's code is read
from xstilts.attacks.transforms import characters, controls, keyboard, unicode  # noqa: E402, F401
