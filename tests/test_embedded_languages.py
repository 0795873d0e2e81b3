"""The eight languages of the embedded data: sentences where grammars are hardest, and what every lexicon must hold."""

from collections import Counter
from pathlib import Path

import pytest
import yaml
from embedded_sets import LANGUAGES, clause, rows

from xstilts.analysis.overlap import tokens
from xstilts.embedded import lexicon, probe
from xstilts.embedded.grammar import grammar
from xstilts.embedded.meaning import GAP, NP, Clause, noun
from xstilts.embedded.parse import readings

SENTENCES = yaml.safe_load(Path(__file__).with_name("embedded_sentences.yaml").read_text(encoding="utf-8"))
ANNA, OLGA = NP("person", None, "anna"), NP("person", None, "olga")
DANCES, READS = Clause("verb", GAP, "dance", None, "park"), Clause("verb", GAP, "read", noun("the", "newspaper"))
MEANINGS = {
    "time in front": clause(noun("the", "farmer", "young"), "seek", noun("the", "lion", "old"), "garden", "monday"),
    "numbers": clause(noun("two", "nurse"), "greet", noun("three", "girl"), "kitchen"),
    "no": clause(noun("no", "boy"), "wash", noun("the", "shirt", "white"), None, "now"),
    "every": clause(noun("every", "animal"), "sleep", None, "forest", "night"),
    "some": clause(noun("some", "cow"), "sleep", None, "garden"),
    "names": clause(NP("person", None, "anna", "petrov"), "visit", NP("person", None, "paul", "miller"), None, "today"),
    "company": clause(NP("org", None, "aurora_bank"), "buy", noun("a", "elephant"), "france"),
    "and": clause(NP("and", None, ANNA, noun("the", "cook")), "sing", None, "restaurant", "friday_evening"),
    "property": clause(noun("the", "woman"), "beautiful"),
    "property denied": clause(noun("the", "cup"), "red", neg=True),
    "not there": clause(noun("the", "woman"), None, None, "berlin", "today", True),
    "denied": clause(noun("the", "student"), "read", noun("the", "book"), "library", "evening", True),
    "future": clause(noun("the", "girl"), "swim", None, "lake", "tomorrow", tense="future"),
    "future denied": clause(
        NP("person", None, "maria"), "eat", noun("the", "pear"), None, "tomorrow_evening", True, tense="future"
    ),
    "gift": clause(noun("the", "teacher"), "give", noun("a", "apple"), "school", to=noun("the", "girl")),
    "gift to come": clause(
        noun("the", "teacher"), "send", noun("the", "letter"), None, "tomorrow", to=ANNA, tense="future"
    ),
    "relative": clause(noun("the", "singer", None, DANCES), "greet", noun("the", "boy")),
    "relative with object": clause(noun("the", "woman", None, READS), "sleep", None, "bedroom"),
    "report": clause(ANNA, "say", kind="report",
                     that=clause(noun("the", "doctor"), "repair", noun("the", "car"), None, "friday")),
    "belief": clause(noun("the", "nurse"), "believe", kind="report", that=clause(noun("the", "dog"), "hungry")),
    "knowledge": clause(noun("the", "farmer"), "know_that", kind="report", that=clause(OLGA, None, None, "kitchen")),
    "trade of a woman": clause(ANNA, "doctor", kind="isa"),
    "trade of a man": clause(NP("person", None, "ivan", "novak"), "nurse", kind="isa"),
    "where": clause(noun("the", "student"), "read", noun("the", "book"), "library", "evening"),
    "what": clause(noun("the", "teacher"), "show", noun("the", "picture"), "museum", "monday",
                   to=noun("the", "student")),
    "who": clause(noun("the", "man"), "buy", noun("the", "guitar"), "market", "sunday_morning"),
    "when": clause(noun("the", "man"), None, None, "station", "monday", tense="future"),
}  # fmt: skip
TEMPLATES = {"time in front": "fronted", "where": "where", "what": "what", "who": "who", "when": "when"}
# Concepts that a language may say with the same word: their meanings are one (`meaning.skeleton`), or no sentence has
# a place for both.
SAME = {("verbs", "know", "know_that"), ("adjectives", "aged", "old")}


@pytest.mark.parametrize(("name", "code"), [(name, code) for name, known in SENTENCES.items() for code in known])
def test_sentences_are_correct_where_the_grammars_are_hardest(name, code):
    """English, German, Russian and Chinese were checked by hand; the others are regression sentences, read through."""
    assert grammar(code).sentence(MEANINGS[name], TEMPLATES.get(name, "statement")) == SENTENCES[name][code]


def test_every_hard_meaning_has_its_sentences():
    assert set(SENTENCES) == set(MEANINGS)
    counts = Counter(code for known in SENTENCES.values() for code in known)
    assert set(counts) == set(LANGUAGES) and min(counts.values()) > 20


@pytest.mark.parametrize("code", LANGUAGES)
def test_sampled_sentences_are_whole_and_different(code):
    """What no language may show: empty slots, doubled marks, the same text for meanings that differ elsewhere."""
    g = grammar(code)
    ends = {g.rules["end"][kind] for kind in ("statement", "question")}
    said = {}
    for meant, template in probe.meanings(1500, 5):
        text = g.sentence(meant, template)
        assert text[-1] in ends and text == text.strip() and "  " not in text
        assert not any(mark + end in text.replace(" ", "") for mark in ",，،.。।" for end in ends), text
        if g.rules["capitalise"]:
            first = text.lstrip("¿¡")[0]
            assert first == first.upper(), text
        said.setdefault(text, set()).add(grammar("en").sentence(meant, template))
    vague = [english for english in said.values() if len(english) > 1]
    assert len(vague) < 0.03 * len(said), vague[:3]


@pytest.mark.parametrize("code", LANGUAGES)
def test_a_text_is_read_back_to_its_meaning(code):
    for meant, template in list(probe.meanings(12, 3)):
        found = readings(code, grammar(code).sentence(meant, template))
        wanted = grammar("en").sentence(meant, template)
        assert wanted in {grammar("en").sentence(one.clause, one.template) for one in found}


@pytest.mark.parametrize("code", LANGUAGES)
def test_no_two_concepts_of_a_category_have_the_same_forms(code):
    for category, words in lexicon.load(code).words.items():
        seen = {}
        for key, forms in words.items():
            seen.setdefault(tuple((name, form) for name, form in forms.items() if name != "class"), []).append(key)
        for keys in seen.values():
            assert len(keys) == 1 or (category, *sorted(keys)) in SAME, f"{category}: {', '.join(keys)}"


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_function_word_of_questions_is_in_the_parallel_sentences(code):
    words = lexicon.load(code).words
    forms = {
        category: {word for forms in entries.values() for name, form in forms.items() if name != "class"
                   for text, _ in form for word in tokens(text)} for category, entries in words.items()
    }  # fmt: skip
    known = set().union(*forms.values())
    stems = set().union(*(forms[category] for category in ("nouns", "verbs", "adjectives")))
    long, short = tuple(x for x in stems if len(x) > 2), tuple(x for x in forms["verbs"] if len(x) == 2)
    asked = Counter(
        word
        for name in ("xquad", "mlqa", "tydiqa")
        for row in rows(name, code)
        for word in set(tokens(row["question"]))
    )
    function = {
        word
        for word, count in asked.items()
        if count >= 20 and word not in known and not word.startswith(short) and not any(x in word for x in long)
    }
    side, partner = ("target", "de") if code == "en" else ("source", code)
    parallel = {
        word for name in ("tatoeba", "bucc2018") for row in rows(name, partner) if row["side"] == side
        for word in tokens(row["text"])
    }  # fmt: skip
    assert len(function) >= 2, "at least some question words"
    assert function <= parallel, function - parallel
