"""Chunk F1 of tag sequences by the rule of seqeval 0.0.12, the version that XTREME's published scores used.

XTREME scores UDPOS with it too, although its tags have no B-/I- prefix: neighbouring equal tags become one chunk, so
the number is a chunk F1 and not a token accuracy. Later seqeval versions cut the first letter of every tag and ignore
the one-letter tag X (UDPOS 70.40 in place of 70.22 on XTREME's own mock data), hence this rule and no dependency.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np


def chunks(sentences: Sequence[Sequence[str]]) -> Iterator[set[tuple[str, int, int]]]:
    """The chunks that end in each sentence, as (type, first token, last token), both inclusive.

    A tag's letter is its first character and its type the text after its last "-". A chunk ends where the type
    changes, after a tag that begins with S or E (so SCONJ and SYM never merge with a neighbour), and where B, S or O
    follows B or I. Tokens are numbered through all sentences with one "O" after each, for seqeval reads them in one
    row: where tags are odd, such as "E-PER" after ".-PER", a chunk begins in an earlier sentence. Source: seqeval
    0.0.12, `get_entities`.
    """
    position, start, letter, kind = 0, 0, "O", ""
    for tags in sentences:
        found = set()
        for tag in (*tags, "O"):
            next_letter, next_kind = tag[0], tag.rsplit("-", 1)[-1]
            changed = next_kind != kind
            if letter in "ES" or (letter in "BI" and next_letter in "BSO") or (letter not in "O." and changed):
                found.add((kind, start, position - 1))
            if (
                next_letter in "BS"
                or (letter in "ESO" and next_letter in "EI")
                or (next_letter not in "O." and changed)
            ):
                start = position
            letter, kind = next_letter, next_kind
            position += 1
        yield found


def counts(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> np.ndarray:
    """Chunk counts [correct, predicted, gold] of each sentence, shape (sentences, 3); as many tags in both."""
    rows = [
        (len(right & given), len(given), len(right))
        for right, given in zip(chunks(gold), chunks(predicted), strict=True)
    ]
    return np.array(rows, dtype=np.int64).reshape(-1, 3)
