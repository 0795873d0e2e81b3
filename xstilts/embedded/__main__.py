"""`python -m xstilts.embedded [N]`: sentences with glosses, N samples (default 1) of each task, as Markdown."""

from __future__ import annotations

import sys

from xstilts import embedded
from xstilts.embedded import gloss
from xstilts.embedded.grammar import grammar


def samples(n: int) -> str:
    """The samples section of docs/embedded.md."""
    lines = ["### Sentences", "", "In brackets the concepts, in the order in which the language says them.", ""]
    for clause, template in gloss.SHOWN:
        lines.append(f"- {grammar(embedded.ENGLISH).sentence(clause, template)}")
        others = [code for code in embedded.languages() if code != embedded.ENGLISH]
        lines += [f"  - {code}: {gloss.line(code, clause, template)}" for code in others]
    lines.append("")
    for name in embedded.INTERMEDIATE + embedded.TARGETS:
        lines += [f"### {name}", ""]
        for language in [embedded.ENGLISH] if name in embedded.INTERMEDIATE else embedded.languages():
            if name in embedded.RETRIEVAL and language == embedded.ENGLISH:
                continue
            rows = embedded.generate(name, language, "test", 12, 1)
            shown = [row for row in rows if name not in embedded.RETRIEVAL or row["match"]][2 : 2 + n]
            for row in shown:
                lines.append(f"- {language}: {_line(row, {other['id']: other for other in rows})}")
        lines.append("")
    return "\n".join(lines)


def _line(row: dict, by_id: dict) -> str:
    if "label" in row and "text_a" in row:
        return f"{row['text_a']} / {row['text_b']} -> {row['label']}"
    if "choices" in row:
        choices = " / ".join(f"**{text}**" if k == row["label"] else text for k, text in enumerate(row["choices"]))
        return " ".join(part for part in (row["context"], row["question"], "->", choices) if part)
    if "tokens" in row:
        return " ".join(f"{token}`{tag}`" for token, tag in zip(row["tokens"], row["tags"], strict=True))
    if "answers" in row:
        answers = ", ".join(f"{answer['text']} ({answer['start']})" for answer in row["answers"]) or "no answer"
        return f"{row['context']} {row['question']} -> {answers}"
    return f"{row['text']} = {by_id[row['match']]['text']}"


if __name__ == "__main__":
    print(samples(int(sys.argv[1]) if len(sys.argv) > 1 else 1), end="")
