"""Words near a word in the similarity encoder: TextFooler's substitution (Jin et al. 2020, 1907.11932) in any language.

The paper's neighbours are those of counter-fitted English word vectors; these are words of the file under attack.
"""

from __future__ import annotations

from xstilts.attacks.candidates.single_words import most_candidates, replacements, word_of
from xstilts.attacks.proposals import Draft, Proposal, Proposer, Resources

MOST = 50  # neighbours a word, as in the paper


def proposer(identity: dict, resources: Resources) -> Proposer:
    """For every unit that may change its nearest words, all drafts in one question."""
    most = most_candidates(identity, MOST)

    def propose(drafts: list[Draft]) -> list[Proposal]:
        asked = list(dict.fromkeys(word_of(draft, number) for draft in drafts for number in draft.ranges))
        nearest = dict(zip(asked, resources.neighbours(asked, most), strict=True))
        proposals = []
        for draft in drafts:
            texts = {}
            for number in draft.ranges:
                word = word_of(draft, number)
                if candidates := replacements(word, (text for text, _ in nearest[word]), most, draft.language["code"]):
                    texts[number] = candidates
            proposals.append(Proposal(draft.units, texts))
        return proposals

    return propose
