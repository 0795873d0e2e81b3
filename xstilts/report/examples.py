"""What a reader must see beside an attacked text to judge it: the example's other fields and its gold answer."""

from __future__ import annotations

from xstilts.attacks.visible import visible

SKIP = ("id", "side")  # fields of an example that tell a reader nothing
GOLD = ("label", "tags", "answers", "match", "answer")


def fitting(row: dict, examples: dict[str, dict]) -> dict:
    """The prepared example that a row of an attack file was made from; {} where it is gone or has other texts."""
    example = examples.get(str(row["id"]), {})
    held = {name: "\t".join(text) if name == "tokens" else text for name, text in example.items()}
    return example if all(held.get(name) == text for name, text in row["original"].items()) else {}


def changed(row: dict) -> dict[str, tuple[str, str]]:
    """field -> (before, after) of the fields that an attack changed; tokens with a space between them."""
    pairs = {name: (text, row["adversarial"].get(name, text)) for name, text in row["original"].items()}
    return {name: tuple(text.replace("\t", " ") for text in pair) for name, pair in pairs.items() if pair[0] != pair[1]}


def others(row: dict, example: dict) -> dict[str, str]:
    """Fields that are as they were, without gold, everything visible."""
    edited = changed(row)
    return {
        name: visible(_joined(value).replace("\t", " "))
        for name, value in {**row["original"], **example}.items()
        if name not in (*edited, *SKIP, *GOLD) and isinstance(value, str | list)
    }


def gold(example: dict, examples: dict[str, dict]) -> str:
    """Label, answers, tags (word/tag) or the text of the match (among `examples`, by id); empty where unknown."""
    found = (_gold(name, example, examples) for name in GOLD if example.get(name) is not None)
    return "\n".join(filter(None, found))


def _joined(value: str | list) -> str:
    return value if isinstance(value, str) else " ".join(map(str, value))


def _gold(name: str, example: dict, examples: dict[str, dict]) -> str:
    value = example[name]
    if name == "tags":
        return " ".join(f"{word}/{tag}" for word, tag in zip(example["tokens"], value, strict=True))
    if name == "answers":
        return " | ".join(answer["text"] for answer in value) or "no answer"
    if name == "match":
        return str(examples.get(str(value), {}).get("text", value))
    return str(value)
