"""Lexicons of catalog/lexicons/<language>.yaml: found in the folder, checked, and parsed into tokens."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import yaml

from xstilts.errors import UserError

CONCEPTS = Path(__file__).with_name("concepts.yaml")
FOLDER = Path(__file__).parents[2] / "catalog" / "lexicons"
DEFAULT_UPOS = {
    "nouns": "NOUN",
    "verbs": "VERB",
    "adjectives": "ADJ",
    "professions": "NOUN",
    "places": "NOUN",
    "times": "NOUN",
    "first_names": "PROPN",
    "surnames": "PROPN",
    "organisations": "PROPN",
}
FORM_KEYS = {
    "nouns": "noun_forms",
    "verbs": "verb_forms",
    "adjectives": "adjective_forms",
    "professions": "profession_forms",
    "first_names": "first_name_forms",
    "surnames": "surname_forms",
    "organisations": "organisation_forms",
}


def _read(path: Path) -> dict:
    try:
        value = yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: not a readable YAML file: {error}") from error
    if not isinstance(value, dict):
        raise UserError(f"{path}: expected a mapping at the top")
    return value


@cache
def concepts() -> dict:
    """The language-independent knowledge of concepts.yaml."""
    return _read(CONCEPTS)


def languages(folder: Path | None = None) -> list[str]:
    """Codes of all lexicons in the folder, sorted."""
    return sorted(path.stem for path in (folder or FOLDER).glob("*.yaml"))


class Lexicon:
    """Words and grammar of one language. `words[category][concept][form]` is a tuple of (text, UPOS) tokens."""

    def __init__(self, language: str, grammar: dict, words: dict):
        self.language = language
        self.grammar = grammar
        self.words = words

    def tokens(self, text: str, upos: str = "X") -> tuple[tuple[str, str], ...]:
        """Split `"in der Küche"` into (text, UPOS); `word/UPOS` decides, then the grammar's `closed`, then `upos`."""
        return parse_tokens(text, self.grammar["closed"], upos)


def parse_tokens(text: str, closed: dict, upos: str) -> tuple[tuple[str, str], ...]:
    """See `Lexicon.tokens`."""
    out = []
    for word in text.split():
        form, slash, tag = word.rpartition("/")
        out.append((form, tag) if slash else (word, closed.get(word, closed.get(word.lower(), upos))))
    return tuple(out)


def _grammar(folder: Path, language: str, seen: tuple = ()) -> dict:
    path = folder / f"{language}.yaml"
    if not path.is_file():
        raise UserError(f"{path}: no such lexicon (allowed: {', '.join(languages(folder))})")
    value = _read(path).get("grammar")
    if isinstance(value, str):
        if value in (*seen, language):
            raise UserError(f"{path}: grammar: {value} leads back to itself; name a lexicon with its own grammar")
        return _grammar(folder, value, (*seen, language))
    if not isinstance(value, dict):
        raise UserError(f"{path}: grammar: must be a mapping or the code of another lexicon")
    return value


@cache
def load(language: str, folder: Path | None = None) -> Lexicon:
    """Read and check one lexicon; every concept must be spelled out. Errors name file, block and key."""
    folder = folder or FOLDER
    grammar = _grammar(folder, language)
    path = folder / f"{language}.yaml"
    raw = _read(path)
    closed = grammar["closed"]
    words: dict = {}
    for category, upos in DEFAULT_UPOS.items():
        block = raw.get(category) or {}
        missing = [key for key in concepts()[category] if key not in block]
        if missing:
            raise UserError(
                f"{path}: {category}: misses {', '.join(missing[:5])}{'...' if len(missing) > 5 else ''}; "
                f"every concept of {CONCEPTS.name} needs a word"
            )
        names = grammar.get(FORM_KEYS.get(category, ""), ["form"])
        words[category] = {
            key: _forms(path, category, key, block[key], names, grammar, closed, upos) for key in concepts()[category]
        }
    return Lexicon(language, grammar, words)


def _forms(path, category, key, value, names, grammar, closed, upos) -> dict:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or len(values) > len(names) or not all(isinstance(v, str) for v in values):
        raise UserError(f"{path}: {category}: {key}: {value!r} should be text for each of {names} (quote no/on/yes)")
    forms = {
        name: text if name == "class" else parse_tokens(text, closed, upos)
        for name, text in zip(names, values, strict=False)
    }
    for name, other in (grammar.get("fallback") or {}).items():
        if name not in forms and other in forms:
            forms[name] = forms[other]
    lost = [name for name in names if name not in forms and name != "class"]
    if lost:
        raise UserError(f"{path}: {category}: {key}: no form for {', '.join(lost)} (forms: {names})")
    return forms
