"""Unseen changes and mild controls: what a reader sees stays, and everything unseen can be shown."""

import json
import unicodedata
from itertools import pairwise
from random import Random

import pytest
import regex
import yaml
from conftest import ROOT

from xstilts.attacks.candidates import punctuation
from xstilts.attacks.proposals import Draft, Resources
from xstilts.attacks.segmentation import graphemes, script_of, words
from xstilts.attacks.transforms import TRANSFORMS, proposer
from xstilts.attacks.transforms import unicode as unseen
from xstilts.attacks.units import apply, units
from xstilts.attacks.visible import ADDED, REMOVED, difference, segments, visible
from xstilts.errors import UserError
from xstilts.schema import read_yaml, validate

LANGUAGES = yaml.safe_load((ROOT / "catalog" / "languages.yaml").read_text(encoding="utf-8"))
UNSEEN = ("invisible", "homoglyph", "reorder", "deletion")
CONTROLS = ("upper", "lower", "title", "no_diacritics")
FORMATS = regex.compile(r"[\p{Cf}]")
LATIN = {"direction": "ltr", "code": "en"}


def tried(name, text, language=LATIN, seed=0, **options):
    """The texts that a transform makes of one word."""
    clusters = tuple(graphemes(text))
    found = TRANSFORMS[name](clusters, 0, len(clusters), Random(seed), language, options)
    return ["".join(one) for one in found]


def displayed(text):
    """The characters of a line from left to right: UAX 9 with a base from left to right, rules X1 to X8, I1 to I2 and
    L2, for strong characters and spaces."""
    stack, levels, isolates = [(0, None, False)], [], 0
    for character in text:
        level, override, _ = stack[-1]
        if character in "\u202d\u202e":
            right = character == "\u202e"
            stack.append((level + 1 + (level % 2 == right), "R" if right else "L", False))
        elif character == "\u202c":
            if not stack[-1][2] and len(stack) > 1:
                stack.pop()
        elif character == "\u2066":
            levels.append(("", level))  # an isolate's ends keep apart what is inside of two
            stack.append((level + 1 + (level % 2 == 0), None, True))
            isolates += 1
        elif character == "\u2069":
            if isolates:
                while not stack[-1][2]:
                    stack.pop()
                stack.pop()
                isolates -= 1
            levels.append(("", stack[-1][0]))
        else:
            kind = override or unicodedata.bidirectional(character)
            if kind in ("R", "AL"):
                level += level % 2 == 0
            elif kind == "L":
                level += level % 2
            levels.append((character, level))
    for least in range(max((level for _, level in levels), default=0), 0, -1):
        start = 0
        while start < len(levels):
            end = start
            while end < len(levels) and levels[end][1] >= least:
                end += 1
            levels[start:end] = levels[start:end][::-1]
            start = max(end, start + 1)
    return "".join(character for character, _ in levels)


def test_the_display_of_this_test_follows_the_standard():
    assert displayed("abc") == "abc" and displayed("a אב b") == "a בא b"
    assert displayed("\u202eabc\u202c d") == "cba d" and displayed("\u202ea\u2066bc\u2069\u202c") == "bca"


def test_a_reordered_word_is_displayed_as_it_was():
    for word in ("cat", "Straße", "город", "λόγος", "字体", "กิน", "한국말"):
        clusters = graphemes(word)
        found = tried("reorder", word)
        assert len(found) == len(clusters) - 1
        for text in found:
            assert displayed(text) == word and FORMATS.sub("", text) != word
            assert sorted(FORMATS.sub("", text)) == sorted(word)
    assert tried("reorder", "aab") == [text for text in tried("reorder", "aab") if displayed(text) == "aab"] != []
    assert not tried("reorder", "שלום") and not tried("reorder", "سلام") and not tried("reorder", "aa")
    assert not tried("reorder", "cat", {"direction": "rtl"}) and not tried("reorder", "12")


def test_invisible_characters_go_inside_and_joiners_only_where_they_shape_nothing():
    assert sorted(tried("invisible", "ab")) == ["a\u200bb", "a\u2060b"]
    assert not tried("invisible", "a")
    every = ["\u200b", "\u200c", "\u200d"]
    assert {text[1] for text in tried("invisible", "ab", characters=every)} == set(every)
    for word in ("کتاب", "नमस्ते", "বাংলা", "தமிழ்", "తెలుగు", "മലയാളം", "မြန်မာ"):
        found = tried("invisible", word, characters=every)
        assert found and all("\u200b" in text and len(text) == len(word) + 1 for text in found)


def test_a_deletion_leaves_the_word_where_backspaces_are_obeyed():
    for word in ("cat", "नमस्ते", "שלום"):
        found = tried("deletion", word)
        assert len(found) == len(graphemes(word)) - 1
        assert all(regex.sub(r"[A-Za-z]\x08", "", text) == word != text for text in found)
    assert tried("deletion", "cat", seed=1) != tried("deletion", "cat", seed=2)


@pytest.mark.parametrize("name", ["invisible", "deletion", "reorder"])
def test_nothing_goes_into_an_obligatory_ligature(name):
    def places(word, language=LATIN):
        """Where in the word, in code points, something was put in."""
        return {next(i for i, (a, b) in enumerate(zip(text, word + "x", strict=False)) if a != b)
                for text in tried(name, word, language)}  # fmt: skip

    if name != "reorder":
        assert places("سلام") == {1, 3} and places("الأب") == {1, 3} and places("لَاب") == {3}
        assert places("كان") == {1, 2} and places("بل") == {1} and places("لب") == {1}
        assert places("பக்ஷி") == {1} and places("ஸ்ரீமதி") == {4, 5} and places("ஶ்ரீ") == set()
        assert places("பக்கம்") == {1, 3, 4} and places("ஸ்ரம்") == {2, 3}  # a virama alone joins nothing
    else:
        for word in ("பக்ஷி", "ஸ்ரீ"):
            assert places(word) == set()
        assert len(tried(name, "பக்கம்")) == 3


def test_lookalike_takes_its_two_transforms_in_turn():
    identity = yaml.safe_load((ROOT / "catalog/attacks/lookalike.yaml").read_text(encoding="utf-8"))["identity"]
    found = units({"id": "1", "text": "pea"}, ["text"], "en")
    draft = Draft({"id": "1", "text": "pea"}, "retrieval", ["text"], found, {0: (0, 3)}, LATIN, 1)
    (proposal,) = proposer(identity)([draft])
    kinds = ["\u200b" in text or "\u2060" in text for text in proposal.texts[0]]
    assert kinds == [True, False, True, False, True, False, True]


def test_homoglyphs_survive_nfkc():
    for letter, others in unseen.HOMOGLYPHS.items():
        assert letter not in others and all(unicodedata.normalize("NFKC", other) == other for other in others)
        assert all(script_of(other) != script_of(letter) for other in others)
    assert not tried("homoglyph", "字体") and set(tried("homoglyph", "xq")) == {"хq"}


@pytest.mark.parametrize("name", [*UNSEEN, *CONTROLS])
def test_candidates_are_new_distinct_seeded_and_inside_the_range(name):
    for word in ("Istanbul", "naïveté", "Ёлка", "Ελλάδα", "مُحَمَّد", "नमस्ते", "字体设计", "aa", "x"):
        clusters = tuple(graphemes(word))
        found = tried(name, word)
        assert word not in found and len(found) == len(set(found)) and found == tried(name, word)
        for new in TRANSFORMS[name](clusters, 1, len(clusters) - 1, Random(0), LATIN, {}):
            text = "".join(new)
            assert text.startswith(clusters[0]) and text.endswith(clusters[-1])
    assert TRANSFORMS[name].checks_clusters == (name in CONTROLS)


@pytest.mark.parametrize(
    ("name", "code", "before", "after"),
    [
        ("upper", "en", "straße", "STRASSE"),
        ("upper", "tr", "ılık", "ILIK"),
        ("upper", "tr", "izmir", "İZMİR"),
        ("upper", "en", "izmir", "IZMIR"),
        ("upper", "el", "Μαΐου", "ΜΑΪΟΥ"),
        ("upper", "ru", "ёж", "ЁЖ"),
        ("lower", "tr", "ISPARTA", "ısparta"),
        ("lower", "tr", "İZMİR", "izmir"),
        ("lower", "el", "ΛΟΓΟΣ", "λογος"),
        ("title", "tr", "izmir", "İzmir"),
        ("title", "nl", "ijs", "IJs"),
        ("title", "en", "ijs", "Ijs"),
        ("no_diacritics", "fr", "naïveté", "naivete"),
        ("no_diacritics", "vi", "Việt", "Viet"),
        ("no_diacritics", "el", "λόγος", "λογος"),
        ("no_diacritics", "ru", "ёлка", "елка"),
        ("no_diacritics", "ru", "за\u0301мок", "замок"),
        ("no_diacritics", "ar", "مُحَمَّد", "محمد"),
        ("no_diacritics", "he", "שָׁלוֹם", "שלום"),
    ],
)
def test_controls_follow_the_language(name, code, before, after):
    assert tried(name, before, {"code": code}) == [after]


@pytest.mark.parametrize("word", ["йод", "їжак", "ќе", "أحمد", "हिन्दी", "กิน", "がぱ", "한국", "øre"])
def test_marks_that_make_letters_stay(word):
    assert tried("no_diacritics", word) == []


@pytest.mark.parametrize("word", ["नमस्ते", "გამარჯობა", "字", "שלום", "123"])
def test_scripts_without_case_have_none(word):
    assert not any(tried(name, word) for name in ("upper", "lower", "title"))


# ---- punctuation
def unpunctuated(example, kind, fields, code, **options):
    draft = Draft(example, kind, fields, units(example, fields, code), {}, {"code": code}, 0)
    (found,) = punctuation.proposer({"options": options}, Resources())([draft])
    for number, texts in found.texts.items():
        assert len(texts) == 1 and (kind == "tagging" or number >= len(draft.units))
    return apply(example, found.units, {number: texts[0] for number, texts in found.texts.items()})


@pytest.mark.parametrize(
    ("code", "before", "after"),
    [
        ("en", "Well, 3.5 or 1,000 at x.com.", "Well 3.5 or 1,000 at x.com"),
        ("en", 'He said: "Yes!" Then...', 'He said: "Yes" Then'),
        ("zh", "你好，世界。是吗？", "你好世界是吗"),
        ("ar", "نعم،لا. هل؟", "نعم لا هل"),
        ("el", "Τι, ναι;", "Τι ναι"),
        ("hi", "पहला, दूसरा।", "पहला दूसरा"),
        ("my", "က၊ခ။", "ကခ"),
        ("en", "nothing", "nothing"),
    ],
)
def test_commas_and_ends_of_sentences_go_and_numbers_stay(code, before, after):
    assert unpunctuated({"id": "1", "text": before}, "retrieval", ["text"], code)["text"] == after


def test_punctuation_keeps_tokens_and_the_sentence_of_an_answer():
    tokens = ["Well", ",", "U.S.", "firms", "."]
    found = unpunctuated({"id": "1", "tokens": tokens}, "tagging", ["tokens"], "en")["tokens"]
    assert found == ["Well", ",", "U.S.", "firms", "…"]
    example = {"id": "1", "question": "Why, then?", "context": "One, two. Three, four. Five, six."}
    example["answers"] = [{"text": "four", "start": 17}]
    changed = unpunctuated(example, "span_qa", ["question", "context"], "en")
    assert changed["question"] == "Why then" and changed["context"] == "One two Three, four. Five six"
    (answer,) = changed["answers"]
    assert changed["context"][answer["start"] :].startswith("four")
    assert unpunctuated(example, "span_qa", ["question"], "en", marks=["comma"])["question"] == "Why then?"
    with pytest.raises(UserError, match=r"marks: 'dash' is unknown; allowed: comma, final"):
        punctuation.proposer({"options": {"marks": ["dash"]}}, Resources())


# ---- what is unseen is shown
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\u200bb\u2060", "a⟨ZWSP⟩b⟨WJ⟩"),
        ("\u202eabc\u2069", "⟨RLO⟩abc⟨PDI⟩"),
        ("ax\b", "ax⟨BS⟩"),
        ("\x1b[31m\r", "⟨ESC⟩[31m⟨CR⟩"),
        ("\ud800", "⟨U+D800⟩"),
        ("\ue000\U000e0041\ufe0f", "⟨U+E000⟩⟨TAG A⟩⟨VS16⟩"),
        ("\u0301a e\u200d\u0301", "⟨U+0301⟩a e⟨ZWJ⟩⟨U+0301⟩"),
        ("\u3164\u2800\u00a0\u2028", "⟨U+3164⟩⟨U+2800⟩⟨NBSP⟩⟨LS⟩"),
        ("a\tb\nc\u3000d e\u0301 नमस्ते กิน", "a\tb\nc\u3000d e\u0301 नमस्ते กิน"),
    ],
)
def test_what_is_unseen_has_a_name(text, shown):
    assert visible(text) == shown


def test_segments_give_both_texts_back_and_tear_no_cluster():
    rng, letters = Random(0), ["a", "b", "ब", "क्षि", "e\u0301", " ", "字", "\u200b", "👩\u200d🚀"]
    for _ in range(200):
        before = [rng.choice(letters) for _ in range(rng.randrange(12))]
        after = [one for one in before if rng.random() < 0.8] + [rng.choice(letters)] * rng.randrange(2)
        before, after = "".join(before), "".join(after)
        found = segments(before, after)
        assert "".join(text for kind, text in found if kind != ADDED) == before
        assert "".join(text for kind, text in found if kind != REMOVED) == after
        assert all(one[0] != other[0] for one, other in pairwise(found))
    assert segments("the cat sat", "the cot sat") == [
        ("equal", "the c"),
        ("removed", "a"),
        ("added", "o"),
        ("equal", "t sat"),
    ]
    assert ("removed", "क्षि") in segments("कक्षिक", "कक")


def test_long_texts_are_compared_in_little_time():
    rng = Random(0)
    before = [rng.choice("abcdef") * rng.randint(1, 3) for _ in range(20_000)]
    after = ["zz" if number % 3 == 0 else word for number, word in enumerate(before)]
    for space in (" ", ""):
        for other in (after, after[:-5]):
            found = segments(space.join(before), space.join(other))
            assert "".join(text for kind, text in found if kind != REMOVED) == space.join(other)


def test_a_difference_is_printable_with_and_without_colour():
    assert difference("the cat", "the c\u200bat") == "the c{+⟨ZWSP⟩+}at"
    assert difference("the cat", "the cot") == "the c[-a-]{+o+}t"
    coloured = difference("a cat", "a c\x1b[2Jot", colour=True)
    assert "\x1b[32;1m" in coloured and "\x1b[2J" not in coloured and "⟨ESC⟩" in coloured


# ---- catalog and real text
@pytest.mark.parametrize("name", ["lookalike", "badchars", "case", "diacritics", "punctuation"])
def test_entries_are_valid_and_say_where_their_numbers_come_from(name):
    path = ROOT / "catalog" / "attacks" / f"{name}.yaml"
    entry = validate(read_yaml(path), "attack", path)
    source = entry["documentation"]["source"]
    assert all(word in source for word in ("transform", "search", "budget", "max_units", "goals", "fields"))
    assert set(entry["identity"]["goals"]) == {"pair", "tagging", "entity", "span_qa", "retrieval"}
    assert all(one in TRANSFORMS or one == "punctuation" for one in entry["identity"]["transform"])


def test_every_language_of_real_text(real_root):
    folders = sorted((real_root / "tatoeba").glob("*/test.jsonl"))
    assert len(folders) >= 30
    seen: dict[str, set[str]] = {}
    for path in folders:
        code = path.parent.name
        language = {**LANGUAGES[code], "code": code}
        for line in path.read_text(encoding="utf-8").splitlines()[:12]:
            for word in words(json.loads(line)["source_sentence"], code):
                old = "".join(word.clusters)
                for name in (*UNSEEN, *CONTROLS):
                    new = TRANSFORMS[name](word.clusters, 0, len(word.clusters), Random(1), language, {})
                    if new:
                        seen.setdefault(name, set()).add(language["script"])
                    for one in new[:4]:
                        text = "".join(one)
                        text.encode("utf-8")
                        assert text and text != old and not any(map(str.isspace, text))
                        if name == "reorder":
                            assert displayed(text) == displayed(old)
                        if name in CONTROLS:
                            assert tuple(graphemes(text)) == one and len(words(text, code)) == len(words(old, code))
    scripts = {row["script"] for code, row in LANGUAGES.items() if (real_root / "tatoeba" / code).is_dir()}
    assert all(seen[name] == scripts for name in ("invisible", "deletion"))
    assert seen["reorder"] == scripts - {"Arab", "Hebr"} and seen["upper"] >= {"Latn", "Cyrl", "Grek"}
    assert {"Latn", "Grek"} <= seen["no_diacritics"] <= {"Latn", "Grek", "Cyrl", "Arab", "Hebr"}
