"""Words that a masked language model expects in a word's place: BERT-Attack (Li et al. 2020, 2004.09984), one piece.

The paper's combinations of pieces for words of several pieces are not tried: 48 candidates a piece make 48^n of them.
"""

from __future__ import annotations

from xstilts.attacks.candidates.single_words import asked_script, most_candidates, replacements, word_of
from xstilts.attacks.proposals import Draft, Proposal, Proposer, Resources
from xstilts.attacks.units import text_of

MOST = 48  # candidates a word: the paper's K
SPARE = 8  # more are asked for: the word itself and its other spellings are left out


def proposer(identity: dict, resources: Resources) -> Proposer:
    """For every unit that may change the likeliest words of its script in its place, all drafts in one question.

    The model reads the attacked field alone (tagging: the whole sentence), not the other text of a pair.
    """
    most = most_candidates(identity, MOST)

    def propose(drafts: list[Draft]) -> list[Proposal]:
        places = [(row, number) for row, draft in enumerate(drafts) for number in draft.ranges]
        contexts = [around(drafts[row], number) for row, number in places]
        scripts = [asked_script(word_of(drafts[row], number)) for row, number in places]
        texts: list[dict[int, list[str]]] = [{} for _ in drafts]
        answers = resources.fills(contexts, most + SPARE, scripts) if places else []
        for (row, number), found in zip(places, answers, strict=True):
            word = word_of(drafts[row], number)
            if candidates := replacements(word, (text for text, _ in found), most, drafts[row].language["code"]):
                texts[row][number] = candidates
        return [Proposal(draft.units, found) for draft, found in zip(drafts, texts, strict=True)]

    return propose


def around(draft: Draft, number: int) -> tuple[str, str]:
    """The text before and behind a unit; of a token, that of the sentence."""
    unit = draft.units[number]
    text = text_of(draft.example, unit)
    before, after = text[: unit.word.start], text[unit.word.end :]
    if unit.token is None:
        return before, after
    tokens, space = draft.example[unit.field], " " if draft.language["spaces"] else ""
    before = "".join(token + space for token in tokens[: unit.token]) + before
    return before, after + "".join(space + token for token in tokens[unit.token + 1 :])
