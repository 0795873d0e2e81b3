"""What came of attacking one example, and how far the text moved."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from xstilts.attacks.segmentation import graphemes
from xstilts.attacks.units import Unit

SUCCEEDED, FAILED, SKIPPED = "succeeded", "failed", "skipped"

# why an example was skipped
WRONG_BEFORE = "wrong before"  # the clean prediction is not good enough for the attack's goal
EMPTY = "empty text"
NOT_UNICODE = "not valid Unicode"
TOO_LONG = "too long"
NO_UNIT = "nothing to change"  # no word that the constraints allow, or no candidate for one
NO_ANSWER_SPAN = "answer not at its offset"
KIND = "kind not supported"
SCRIPT = "script not supported"
NO_PARALLEL = "no parallel text"  # the attack needs the example in another language
NO_STAND_IN = "no stand-in"  # the attack needs a model or a dictionary that was not given
NO_DICTIONARY = "no dictionary"
# why an attack failed
VANISHED = "every change vanished"  # the victim's tokens are the original's for each of them
REFUSED = "every change refused"  # by the constraints on whole texts: distance, similarity
HELD = "budget spent"
TIME = "time spent"


@dataclass(frozen=True)
class Outcome:
    """One example's outcome; `row` is its line in results/<study>/attacks/.

    queries: model calls after the clean one. vanished: candidates whose tokens were the original's, never queried.
    refused: changes that a constraint on the whole text refused, never queried. perturbed: changed share of the units
    of the attacked fields. similarity: see `similarity`. cosine: of the two texts in the similarity encoder, where the
    attack has one. clean, attacked: score 0-1 before and after (a failed attack keeps the worst text it found, the
    original where no change raised the loss). answers: gold answers of the final text, with their offsets (span_qa).
    Counts are [correct, predicted, gold] for tasks whose F1 is added up over examples.
    """

    id: str
    outcome: str
    why: str
    queries: int
    vanished: int
    refused: int
    perturbed: float
    similarity: float
    clean: float
    attacked: float
    original: dict[str, str] = field(default_factory=dict)
    adversarial: dict[str, str] = field(default_factory=dict)
    answers: list[dict] | None = None
    cosine: float | None = None
    clean_counts: list[int] | None = None
    attacked_counts: list[int] | None = None

    def row(self) -> dict:
        """JSON row; answers, cosine and counts are left out where there are none."""
        return {key: value for key, value in asdict(self).items() if value is not None}


def escaped(text: str) -> str:
    """The text with lone surrogates as \\udXXX, so that it can be written as UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def texts(example: dict, fields: list[str]) -> dict[str, str]:
    """The attacked fields as text: tokens joined by tabs (no token holds one), lone surrogates escaped."""
    found = {}
    for name in fields:
        value = example.get(name) or ""
        found[name] = escaped("\t".join(value) if isinstance(value, list) else value)
    return found


def levenshtein(one: list[str] | tuple[str, ...], other: list[str] | tuple[str, ...]) -> int:
    """Least number of insertions, deletions and substitutions of items that turns `one` into `other`."""
    first, last = 0, min(len(one), len(other))
    while first < last and one[first] == other[first]:
        first += 1
    last -= first
    end = 0
    while end < last and one[-1 - end] == other[-1 - end]:
        end += 1
    # a common beginning and a common end take no edits
    one, other = one[first : len(one) - end], other[first : len(other) - end]
    previous = list(range(len(other) + 1))
    for i, left in enumerate(one, 1):
        current = [i]
        for j, right in enumerate(other, 1):
            current.append(min(previous[j] + 1, current[-1] + 1, previous[j - 1] + (left != right)))
        previous = current
    return previous[-1]


def similarity(found: list[Unit], changes: dict[int, str], length: int) -> float:
    """1 - (edit distance over grapheme clusters / clusters of the longer text); 1 = unchanged.

    `length`: clusters of the attacked fields before the change. The distance is added up over the changed units, which
    the rest of the text keeps in place: never below the distance of the whole texts, far cheaper for a long context.
    """
    distance, longer = 0, length
    for index, text in changes.items():
        before, after = found[index].word.clusters, graphemes(text)
        distance += levenshtein(before, after)
        longer += len(after) - len(before)
    return max(0.0, 1 - distance / max(length, longer, 1))
