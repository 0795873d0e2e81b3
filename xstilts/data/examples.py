"""From a source's rows to normalised examples (docs/data.md lists their shapes), by what a catalog part says.

`fields` maps our field to the source's: a name, a dotted path, or a list of either; a field it leaves out has our name.
`labels` maps the source's values to ours, `drop_labels` lists values whose rows are left out.
"""

from __future__ import annotations

from collections import Counter

from xstilts.errors import UserError

_REQUIRED = object()


def normalise(
    kind: str, row: dict, part: dict, default_id: str, language: str, where: str, counts: Counter
) -> list[dict]:
    """The examples of one row: none (dropped), one, for a pair of translations its two sides, for mlm its lines.

    `counts` gains `dropped labels`, `blank texts` (of mlm), `answers moved` and `answers not in the text`.
    """
    reader = _Row(row, part, where)
    if reader.dropped(kind):
        counts["dropped labels"] += 1
        return []
    key = reader.key("id", default_id)
    if kind == "pair":
        texts = {name: reader.get(name) for name in ("text_a", "text_b")}
        return [{"id": key, **texts, "label": reader.label(reader.get("label"))}]
    if kind == "choice":
        choices = reader.listed("choices")
        texts = {"context": reader.get("context", ""), "question": reader.get("question", ""), "choices": choices}
        return [{"id": key, **texts, "label": reader.choice(reader.get("label"), len(choices))}]
    if kind == "tagging":
        tags = [reader.label(tag, "tags") for tag in reader.listed("tags")]
        return [{"id": key, "tokens": reader.listed("tokens"), "tags": tags}]
    if kind == "span_qa":
        context = reader.text("context")
        answers = [_placed(answer, context, counts) for answer in reader.answers()]
        return [{"id": key, "context": context, "question": reader.get("question"), "answers": answers}]
    if kind == "retrieval":
        return _retrieval(reader, default_id, language)
    if kind == "mlm":
        rows = _lines(reader.text("text"), key)
        counts["blank texts"] += not rows
        return rows
    raise UserError(f"{where}: kind {kind!r} is unknown; allowed: pair, choice, tagging, span_qa, retrieval, mlm")


def _retrieval(reader: _Row, default_id: str, language: str) -> list[dict]:
    """A row {id, side, text, match} as it is, or both sides of a row that holds a translation pair."""
    row = reader.row
    if "side" in row:
        match = row.get("match")
        key, match = _key(row.get("id"), "id", reader.where), None if match is None else str(match)
        return [{"id": key, "side": row["side"], "text": row.get("text"), "match": match}]
    number = reader.key("id", default_id.rsplit("-", 1)[-1])
    source, target = f"{language}-{number}", f"en-{number}"
    return [
        {"id": source, "side": "source", "text": reader.text("source").strip(), "match": target},
        {"id": target, "side": "target", "text": reader.text("target").strip(), "match": source},
    ]


def _lines(text: str, key: str) -> list[dict]:
    """One example a line of the text that is not blank (jiant's `mlm_simple`); a text of one line keeps its id."""
    lines = [line.strip() for line in text.split("\n")]
    ids = [key] if len(lines) == 1 else [f"{key}:{number}" for number in range(len(lines))]
    return [{"id": name, "text": line} for name, line in zip(ids, lines, strict=True) if line]


def _placed(answer: dict, context: str, counts: Counter) -> dict:
    """The answer at the offset nearest to the given one where its text occurs; `start` -1 where it never does.

    In 13,508 of the 49,881 TyDiQA-GoldP training rows on the hub the given offset does not match the text.
    """
    text, given = answer["text"], max(answer["start"], 0)
    if text and context.startswith(text, given):
        return {"text": text, "start": given}
    after, before = context.find(text, given), context.rfind(text, 0, given + len(text))
    found = [start for start in (before, after) if start >= 0 and text]
    counts["answers moved" if found else "answers not in the text"] += 1
    return {"text": text, "start": min(found, key=lambda start: (abs(start - given), start), default=-1)}


def _key(value, name: str, where: str) -> str:
    """An id or label as a string; null would silently become the text None."""
    if not isinstance(value, str | int | float):
        raise UserError(f"{where}: {name} is {str(value)[:80]!r}; it must be a string or a number")
    return str(value)


class _Row:
    """One raw row, read by the part's `fields` and `labels`."""

    def __init__(self, row: dict, part: dict, where: str):
        self.row, self.where = row, where
        self.fields = part.get("fields") or {}
        self.labels = {str(key): value for key, value in (part.get("labels") or {}).items()}
        self.unwanted = {str(value) for value in part.get("drop_labels") or ()}

    def get(self, name: str, default=_REQUIRED):
        """The value of our field `name`; `default` where neither the part nor the row has it."""
        if name not in self.fields and name not in self.row and default is not _REQUIRED:
            return default
        return look_up(self.row, self.fields.get(name, name), self.where)

    def text(self, name: str) -> str:
        """As `get`, for a value that must be a string."""
        value = self.get(name)
        if not isinstance(value, str):
            raise UserError(f"{self.where}: {name} is {str(value)[:80]!r}; it must be a string")
        return value

    def listed(self, name: str) -> list:
        """As `get`, for a value that must be a list."""
        value = self.get(name)
        if not isinstance(value, list | tuple):
            raise UserError(f"{self.where}: {name} is {str(value)[:80]!r}; it must be a list")
        return list(value)

    def key(self, name: str, default: str) -> str:
        """As `get`, for a name: a string, or a number that is turned into one."""
        return _key(self.get(name, default), name, self.where)

    def dropped(self, kind: str) -> bool:
        return bool(self.unwanted) and kind in ("pair", "choice") and str(self.get("label")) in self.unwanted

    def label(self, value, name: str = "label") -> str:
        return _key(self.labels.get(str(value), value), name, self.where)

    def choice(self, value, number: int) -> int:
        """The index that an int, a string of digits or a letter (A is 0) names; `labels` may map others."""
        value = str(self.labels.get(str(value), value))
        if value.isascii() and value.isdigit():
            return int(value)
        if len(value) == 1 and value.isascii() and value.isalpha():
            return ord(value.upper()) - ord("A")
        raise UserError(f"{self.where}: label {value!r}: allowed: 0 to {number - 1}, or a letter from A on")

    def answers(self) -> list[dict]:
        """Answers as {"text", "start"}, from SQuAD's lists {text, answer_start} or a list of objects."""
        raw = self.get("answers")
        try:
            if isinstance(raw, dict):
                if isinstance(raw["text"], str):
                    raise TypeError("it would be read letter by letter")
                starts = raw.get("answer_start") or [0] * len(raw["text"])
                raw = [{"text": text, "start": start} for text, start in zip(raw["text"], starts, strict=True)]
            found = [{"text": a["text"], "start": int(a.get("start", a.get("answer_start", 0)))} for a in raw]
            if not all(isinstance(answer["text"], str) for answer in found):
                raise TypeError("an answer is no string")
            return found
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise UserError(
                f"{self.where}: answers must be {{text: [strings], answer_start: [numbers]}} of equal length, not "
                f"{str(raw)[:100]}"
            ) from error


def look_up(row, path, where: str):
    """The value at a field name, a dotted path (through lists of objects too) or a list of them."""
    if isinstance(path, list):
        return [look_up(row, item, where) for item in path]
    if isinstance(row, dict) and path in row:
        return row[path]
    head, _, rest = path.partition(".")
    if isinstance(row, list):
        return [look_up(item, path, where) for item in row]
    if rest and isinstance(row, dict) and head in row:
        return look_up(row[head], rest, where)
    there = ", ".join(row) if isinstance(row, dict) else str(row)[:80]
    raise UserError(f"{where}: no field {path!r}; it has: {there}")
