"""What came of attacking one example, and how far the text moved."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from xstilts.attacks.constraints import Unit
from xstilts.attacks.segmentation import graphemes

SUCCEEDED, FAILED, SKIPPED = "succeeded", "failed", "skipped"

# why an example was skipped
WRONG_BEFORE = "wrong before"
EMPTY = "empty text"
NOT_UNICODE = "not valid Unicode"
TOO_LONG = "too long"
NO_UNIT = "nothing to change"  # no word that the constraints allow
NO_ANSWER_SPAN = "answer not at its offset"
KIND = "kind not supported"
SCRIPT = "script not supported"
# why an attack failed
VANISHED = "every change vanished"
HELD = "budget spent"


@dataclass(frozen=True)
class Outcome:
    """One example's outcome; `row` is its line in results/<study>/attacks/.

    queries: model calls after the clean one. vanished: candidates whose tokens were the original's, never queried.
    perturbed: changed share of the units of the attacked fields. clean, attacked: score 0-1 before and after (a failed
    attack keeps the worst text it found, the original where no change raised the loss). Counts are [correct,
    predicted, gold] for tasks whose F1 is added up over examples.
    """

    id: str
    outcome: str
    why: str
    queries: int
    vanished: int
    perturbed: float
    similarity: float
    clean: float
    attacked: float
    original: dict[str, str] = field(default_factory=dict)
    adversarial: dict[str, str] = field(default_factory=dict)
    clean_counts: list[int] | None = None
    attacked_counts: list[int] | None = None

    def row(self) -> dict:
        """JSON row; the counts are left out where the task has none."""
        return {key: value for key, value in asdict(self).items() if value is not None}


def texts(example: dict, fields: list[str]) -> dict[str, str]:
    """The attacked fields as text: tokens joined by tabs (no token holds one), lone surrogates escaped."""
    found = {}
    for name in fields:
        value = example.get(name, "")
        value = "\t".join(value) if isinstance(value, list) else value
        found[name] = value.encode("utf-8", "backslashreplace").decode("utf-8")
    return found


def levenshtein(one: list[str] | tuple[str, ...], other: list[str] | tuple[str, ...]) -> int:
    """Least number of insertions, deletions and substitutions of items that turns `one` into `other`."""
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
