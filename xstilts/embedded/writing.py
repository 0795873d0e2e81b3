"""From words to text: word-shape rules, spaces, capitals, and where in the text each slot stands."""

from __future__ import annotations

from xstilts.embedded.patterns import Token

COMMAS = frozenset(",،，")
TIGHT = frozenset(".,?!:;。，？！؟،।")  # marks that stand at the word before them in every script


class Writer:
    """Writes the tokens of one language as `rules`, a lexicon's grammar, say."""

    def __init__(self, rules: dict):
        self.rules = rules
        self.joiner = rules["joiner"]
        self.tight_left = TIGHT | set(rules.get("no_space_before", ()))
        self.tight_right = set(rules.get("no_space_after", ()))
        self.contractions = {(a, b): text for a, b, text in rules.get("contractions", ())}

    def finish(self, tokens: list[Token]) -> list[Token]:
        """Word-shape rules (a/an, a + el), no comma before another mark, and the capital letter."""
        kept: list[Token] = []
        for token in tokens:
            if kept and kept[-1].text in COMMAS and token.upos == "PUNCT":
                kept.pop()
            merged = self.contractions.get((kept[-1].text, token.text)) if kept and self.contractions else None
            if merged:
                kept[-1] = kept[-1]._replace(text=merged)
            else:
                kept.append(token)
        for word, starts, replacement in self.rules.get("sandhi", ()):
            kept = [
                token._replace(text=replacement)
                if token.text == word and i + 1 < len(kept) and kept[i + 1].text.lower().startswith(tuple(starts))
                else token
                for i, token in enumerate(kept)
            ]
        if self.rules["capitalise"]:
            first = next((i for i, token in enumerate(kept) if token.upos != "PUNCT"), 0)  # Spanish ¿
            text = kept[first].text
            kept[first] = kept[first]._replace(text=text[0].upper() + text[1:])
        return kept

    def text(self, tokens: list[Token]) -> str:
        """The sentence as written."""
        return self.text_with_spans(tokens)[0]

    def text_with_spans(self, tokens: list[Token]) -> tuple[str, dict[str, tuple[int, int]]]:
        """The sentence and the character span (start, end) of each outer slot, e.g. {"S": (0, 4)}."""
        out, length, spans = [], 0, {}
        previous = ""
        for token in tokens:
            gap = self.joiner
            if not out or token.text in self.tight_left or previous in self.tight_right:
                gap = ""
            start = length + len(gap)
            out.append(gap + token.text)
            length = start + len(token.text)
            if token.path and token.text not in COMMAS:  # a comma after a relative clause is no part of the subject
                spans[token.slot] = (spans[token.slot][0] if token.slot in spans else start, length)
            previous = token.text
        return "".join(out), spans

    def paragraph(self, sentences: list[str]) -> str:
        """Sentences joined as the script does."""
        return self.joiner.join(sentences)
