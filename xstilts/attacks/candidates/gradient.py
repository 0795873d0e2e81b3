"""Words that raise the victim's own loss most by its gradient at the clean text: HotFlip (Ebrahimi et al. 2018,
1712.06751), the word version."""

from __future__ import annotations

from xstilts.attacks.candidates.single_words import most_candidates, replacements, word_of
from xstilts.attacks.proposals import Draft, Proposal, Proposer, Resources

MOST = 10  # candidates a word where the budget names none: the paper's beam
SPARE = 8  # more are asked for: the word itself and its other spellings are left out


def proposer(identity: dict, resources: Resources) -> Proposer:
    """For every unit that may change the words of the highest first-order gain, all drafts in one question.

    `resources.gradients(drafts, k)` gives for each draft {number of a unit: [(word, gain), ...]}, best first.
    """
    most = most_candidates(identity, MOST)

    def propose(drafts: list[Draft]) -> list[Proposal]:
        proposals = []
        for draft, found in zip(drafts, resources.gradients(drafts, most + SPARE), strict=True):
            texts = {}
            for number, scored in found.items():
                if candidates := replacements(
                    word_of(draft, number), (text for text, _ in scored), most, draft.language["code"]
                ):
                    texts[number] = candidates
            proposals.append(Proposal(draft.units, texts))
        return proposals

    return propose
