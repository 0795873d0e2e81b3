"""The parts of an attack: words, sentences, whole clusters, distances, samples, transforms, alphabets, keyboards."""

import sys
import time
import unicodedata
from itertools import pairwise

import pytest
from conftest import ROOT

from xstilts.attacks import alphabets, casing, engine, keyboards, outcomes, segmentation, stopwords
from xstilts.attacks.candidates.single_words import cased, replacements
from xstilts.attacks.constraints import clusters_whole
from xstilts.attacks.proposals import Draft, generator
from xstilts.attacks.segmentation import graphemes, script_of, sentences, words
from xstilts.attacks.transforms import TRANSFORMS, proposer
from xstilts.attacks.units import units
from xstilts.errors import UserError
from xstilts.schema import read_yaml, validate

TEXTS = [
    "The committee published three different reports about drinking water yesterday.",
    "Вчера комитет опубликовал несколько подробных отчётов о качестве питьевой воды.",
    "昨天委员会发表了三份关于饮用水质量的详细报告，并在北京举行了记者会。",
    "نشرت اللجنة أمس ثلاثة تقارير مفصّلة عن جودة مياه الشرب في المدينة.",
    "समिति ने कल पेयजल की गुणवत्ता पर तीन विस्तृत रिपोर्टें प्रकाशित कीं।",
    "เมื่อวานนี้คณะกรรมการได้เผยแพร่รายงานสามฉบับเกี่ยวกับคุณภาพน้ำดื่มในกรุงเทพมหานคร",
    "위원회는 어제 식수 품질에 관한 상세한 보고서를 세 편 발표했습니다.",
    "東京大学でコーヒーを飲みながら、昨日の会議について話しました。",
    "မြန်မာနိုင်ငံသည် အရှေ့တောင်အာရှတွင် ရှိသည်။",
]
LANGUAGES = validate(read_yaml(ROOT / "catalog" / "languages.yaml"), "languages", ROOT / "catalog/languages.yaml")


def language(code):
    return {**LANGUAGES[code], "code": code, "alphabet": alphabets.of(code), "keyboard": keyboards.of(code)}


def cut(text, code=""):
    return ["".join(word.clusters) for word in words(text, code)]


def changed(name, word, code, first=0, last=None, seed=0, **options):
    clusters = tuple(graphemes(word))
    span = (first, len(clusters) if last is None else last)
    found = TRANSFORMS[name](clusters, *span, generator(seed), language(code), options)
    return ["".join(new) for new in found]


# ---- words
def test_words_keep_marks_and_elisions():
    assert cut("ज़िंदगी अच्छी है।") == ["ज़िंदगी", "अच्छी", "है"]
    assert cut("Don't l'été 3.5") == ["Don't", "l'été", "3.5"]
    assert script_of("123") == "Zyyy"
    for text in TEXTS:
        assert all(text[w.start : w.end] == "".join(w.clusters) for w in words(text))


def test_unspaced_scripts_are_cut_into_words_of_a_dictionary():
    assert cut("我在IBM北京工作。你好吗？", "zh") == ["我在", "IBM", "北京", "工作", "你好", "吗"]
    assert cut("東京大学でコーヒーを飲む", "ja")[:4] == ["東京", "大学", "で", "コーヒー"]
    assert cut("ฉันรักประเทศไทย", "th") == ["ฉัน", "รัก", "ประเทศไทย"]
    assert cut("မြန်မာနိုင်ငံသည်", "my") == ["မြန်မာနိုင်ငံ", "သည်"]
    # the language is found by script where none is given
    assert cut("ประเทศไทย我在北京コーヒー") == ["ประเทศไทย", "我在", "北京", "コーヒー"]
    assert [w.script for w in words("工作 Привет ประเทศไทย")] == ["Hani", "Cyrl", "Thai"]


def test_words_after_characters_beyond_the_bmp_lie_where_they_stand():
    # ICU counts UTF-16 code units: each of these letters is two of them, one code point
    for text in ["𠮷野家で食べる北京", "😀我在北京", "𠮷𠮷𠮷工作北京工作", "工作𠀋北京"]:
        found = words(text, "ja")
        assert "".join(text[w.start : w.end] for w in found) == text.replace("😀", "")
        assert "北京" in [text[w.start : w.end] for w in found]


def test_words_never_cut_a_cluster_and_never_overlap():
    for text in [*TEXTS, "ที่ำ้า๋", "か\u3099き\u3099", "漢\U000e0100字\ufe00", "က္က္ကြွ", "\u0e33\u0e33กำกำ"]:
        found = words(text)
        ends, position = {0}, 0
        for cluster in graphemes(text):
            position += len(cluster)
            ends.add(position)
        assert all({w.start, w.end} <= ends for w in found)
        assert all(one.end <= two.start for one, two in pairwise(found))


@pytest.mark.parametrize("text", TEXTS)
def test_words_of_a_long_text_take_little_time(text):
    long = (text + " ") * (1500 // len(text) + 1)
    words(long)
    times = []
    for _ in range(5):
        segmentation._breaks.cache_clear()
        start = time.perf_counter()
        words(long)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.005  # seconds for 1,500 characters


def test_a_missing_word_breaker_is_named(monkeypatch):
    segmentation._breaker.cache_clear()
    segmentation._breaks.cache_clear()
    monkeypatch.setitem(sys.modules, "icu4py.breakers", None)
    assert cut("A word") == ["A", "word"]  # not needed where words are set apart by spaces
    with pytest.raises(UserError, match=r"icu4py.*pip install"):
        words("我在北京工作。")
    segmentation._breaker.cache_clear()


def test_sentences_cover_the_text():
    for text in [*TEXTS, "One. Two! Three", "一。二！三", "पहला। दूसरा।", "هل؟ نعم."]:
        spans = sentences(text)
        assert "".join(text[a:b] for a, b in spans) == text
    assert len(sentences("One. Two! Three")) == 3 and len(sentences("一。二！三")) == 3


# ---- constraints and measures
def test_a_swap_that_would_merge_clusters_is_refused():
    (unit,) = units({"text": "ab\u200dcd"}, ["text"])
    assert clusters_whole(unit, unit.word.clusters, "ab\u200dcd")
    assert not clusters_whole(unit, ("a", "\u0301", "c", "d"), "ab\u200dcd")
    jamo = ("\u1112", "x", "\u1161")
    (unit,) = units({"text": "".join(jamo)}, ["text"])
    assert not clusters_whole(unit, ("x", "\u1112", "\u1161"), "".join(jamo))


def test_edit_distance_and_similarity():
    assert outcomes.levenshtein("kitten", "sitting") == 3
    assert outcomes.levenshtein("", "abc") == 3 and outcomes.levenshtein("abc", "abc") == 0
    found = units({"text": "kitten runs"}, ["text"])
    assert outcomes.similarity(found, {}, 11) == 1
    assert outcomes.similarity(found, {0: "kittne"}, 11) == pytest.approx(1 - 2 / 11)
    assert outcomes.similarity(found, {0: "kit\u200bten"}, 11) == pytest.approx(1 - 1 / 12)


def test_sample_is_the_same_for_every_order_and_grows():
    ids = [f"test-{i}" for i in range(50)]
    few, more = engine.sample(ids, 5, 0), engine.sample(ids, 20, 0)
    assert len(few) == 5 and set(few) < set(more) and set(few) == set(engine.sample(ids[::-1], 5, 0))
    assert few != engine.sample(ids, 5, 1) and engine.sample(ids, 99, 0) == ids


# ---- transforms
def test_each_transform_does_what_its_name_says():
    assert sorted(changed("swap", "abcd", "en")) == ["abdc", "acbd", "bacd"]
    assert changed("swap", "aab", "en") == ["aba"]
    assert sorted(changed("delete", "abc", "en")) == ["ab", "ac", "bc"] and changed("delete", "a", "en") == []
    assert sorted(changed("space", "abc", "en")) == ["a bc", "ab c"]
    assert changed("space", "北京人", "zh") == [] and changed("space", "ประเทศ", "th") == []
    for word in changed("substitute", "words", "en"):
        assert len(word) == 5 and sum(a != b for a, b in zip(word, "words", strict=True)) == 1
    inserted = changed("insert", "abc", "en", 1, 2)
    assert len(inserted) == 1 and inserted[0][0] == "a" and inserted[0][2:] == "bc"
    assert set(changed("key", "q", "en")) == {"w", "a"}


def test_letters_come_from_the_language_and_keep_case():
    def letters(name, word, code):
        return {c for seed in range(60) for new in changed(name, word, code, seed=seed) for c in graphemes(new)}

    assert letters("substitute", "вода", "ru") <= set(alphabets.of("ru"))
    assert letters("insert", "पानी", "hi") - set(graphemes("पानी")) <= set(alphabets.of("hi"))
    assert all(c.isupper() for c in letters("substitute", "NATO", "en") | letters("key", "NATO", "en"))
    assert "İ" in letters("substitute", "ABC", "tr") and "I" in letters("substitute", "ABC", "tr")
    assert changed("key", "İ", "tr") and "i" not in "".join(changed("key", "İ", "tr"))
    assert changed("key", "北京", "zh") == []


def test_hangul_is_missed_by_jamo_and_stays_a_syllable():
    # ㄱ lies beside ㄷ ㅅ, above ㅇ ㄹ; ㅏ beside ㅓ ㅣ, below ㅑ ㅐ, above ㅡ
    assert set(changed("key", "가", "ko")) == set("다사아라거기갸개그")
    assert {"란", "항", "함"} <= set(changed("key", "한", "ko"))  # the start and the end of a syllable
    assert changed("key", "ㅋ", "ko") and changed("key", "쾌", "ko")  # a jamo alone, a vowel of two keys


def test_marks_are_missed_for_marks_and_letters_for_letters():
    for word, code in (("कि", "hi"), ("กี่", "th"), ("পা", "bn")):
        for new in changed("key", word, code):
            assert len(graphemes(new)) == 1
            assert [unicodedata.category(c)[0] for c in new] == [unicodedata.category(c)[0] for c in word]


@pytest.mark.parametrize("name", ["swap", "delete", "insert", "substitute", "invisible", "deletion", "reorder"])
def test_no_burmese_sign_leaves_its_letter(name):
    def stray(text):
        # by category, not by the rules of clusters: a mark at the beginning or behind no Burmese letter or mark
        at = [i for i, c in enumerate(text) if unicodedata.category(c) in ("Mc", "Mn")]
        return [i for i in at if i == 0 or not "\u1000" <= text[i - 1] <= "\u109f"]

    seen = 0
    for word in ("စာ", "ကြိုးစား", "စာအုပ်", "ကျောင်းသား", "မြန်မာနိုင်ငံ", "ပါတယ်", "သင်္ဘော", "စာ့"):
        pieces = [word[start:end] for start, end in spans(word)]
        for seed in range(4):
            for text in changed(name, word, "my", seed=seed):
                seen += 1
                assert not stray(text), (word, text)
                # every sign is where its letter is
                kept = [piece for piece in pieces if piece in text]
                assert len(kept) >= len(pieces) - (name in ("delete", "substitute")), (word, text)
    assert seen > 20


def spans(word):
    """(start, end) of a letter, those that are stacked below it and their marks."""
    letters = [i for i, c in enumerate(word) if unicodedata.category(c) not in ("Mc", "Mn")]
    starts = [i for i in letters if i == 0 or word[i - 1] != "\u1039"]
    return list(pairwise([*starts, len(word)]))


def test_marks_stay_with_their_letter_and_not_with_controls():
    assert graphemes("ကြိုးစား") == ["ကြိုး", "စား"] and graphemes("စာ့") == ["စာ့"]
    assert graphemes("\nာ") == ["\n", "ာ"] and graphemes("စ\u200bာ") == ["စ", "\u200b", "ာ"]
    assert graphemes("มา") == ["ม", "า"]  # a letter by Unicode


def test_case_follows_the_language():
    assert casing.title("istanbul", "tr") == "İstanbul" and casing.title("istanbul", "en") == "Istanbul"
    assert casing.upper("ilçe ılık", "tr") == "İLÇE ILIK" and casing.lower("IŞIK İZMİR", "tr") == "ışık izmir"
    assert casing.fold("İZMİR", "tr") == casing.fold("izmir", "tr") == casing.fold("I\u0307zmir", "tr")
    assert casing.fold("IŞIK", "tr") != casing.fold("işik", "tr") and casing.fold("STRASSE", "de") == "strasse"
    assert casing.upper("Μαΐου", "el") == "ΜΑΪΟΥ" and casing.title("άνοιξη", "el") == "Άνοιξη"
    assert [casing.title(text, "nl") for text in ("ijs", "", "de Ijssel")] == ["IJs", "", "De Ijssel"]
    assert cased("İzmir", "istanbul", "tr") == "İstanbul" and cased("İZMİR", "ilçe", "tr") == "İLÇE"
    assert cased("IŞIK", "ılık", "tr") == "ILIK" and cased("ΑΘΗΝΑ", "πόλη", "el") == "ΠΟΛΗ"
    assert replacements("İZMİR", ["izmir", "ilçe"], 2, "tr") == ["İLÇE"]


def draft(text, kind="retrieval", code="en", field="text"):
    example = {"id": "x", field: text}
    found = units(example, [field], code)
    spans = {i: (0, len(unit.word.clusters)) for i, unit in enumerate(found)}
    return Draft(example, kind, [field], found, spans, language(code), 1)


def test_a_proposer_takes_its_transforms_in_turn_and_refuses_torn_clusters():
    propose = proposer({"transform": ["delete", "swap"], "options": {}})
    ((proposal),) = propose([draft("word")])
    assert [len(text) for text in proposal.texts[0]][:4] == [3, 4, 3, 4]
    # र् + क: the joined letters of a swap would become one cluster with what follows
    (proposal,) = proposer({"transform": ["swap"], "options": {}})([draft("क्षत्रिय कर्म", code="hi")])
    for index, texts in proposal.texts.items():
        for text in texts:
            assert sorted(graphemes(text)) == sorted(proposal.units[index].word.clusters)


def test_one_each_gives_one_candidate_of_each_transform():
    names = ["swap", "substitute", "delete", "insert"]
    (proposal,) = proposer({"transform": names, "options": {"one_each": True}})([draft("several words")])
    assert all(2 <= len(texts) <= 4 for texts in proposal.texts.values()) and len(proposal.texts) == 2
    (again,) = proposer({"transform": names, "options": {"one_each": True}})([draft("several words")])
    assert again.texts == proposal.texts


def test_no_space_is_put_into_a_token_of_tagging():
    propose = proposer({"transform": ["space", "swap"], "options": {}})
    (tagging,), (text,) = propose([draft(["several", "words"], "tagging", field="tokens")]), propose([draft("several")])
    assert not any(" " in new for texts in tagging.texts.values() for new in texts) and tagging.texts
    assert any(" " in new for new in text.texts[0])


def test_an_unknown_transform_is_named():
    with pytest.raises(UserError, match=r"transform: 'swop' is unknown; allowed: .*swap"):
        proposer({"transform": ["swop"]})


def test_every_module_of_the_package_is_registered():
    modules = {path.stem for path in (ROOT / "xstilts/attacks/transforms").glob("[a-z]*.py")}
    assert modules == {one.__module__.rpartition(".")[2] for one in TRANSFORMS.values()}


# ---- alphabets, stop words
def test_every_language_of_the_catalog_has_an_alphabet_of_its_script():
    known = alphabets.load()
    assert set(known) == set(LANGUAGES)
    for code, letters in known.items():
        script = {"Jpan": {"Hani", "Hira", "Kana"}}.get(LANGUAGES[code]["script"], {LANGUAGES[code]["script"]})
        assert {script_of(letter) for letter in letters} <= script, code
        assert all(letter == letter.lower() == unicodedata.normalize("NFC", letter) for letter in letters), code


@pytest.mark.parametrize("text", ["a b ab", "a b a", "á é x\u0301 á"])
def test_a_broken_alphabet_is_refused(tmp_path, text):
    path = tmp_path / "alphabets.yaml"
    path.write_text(f"source: x\nalphabets:\n  en: {text}\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"alphabets\.yaml: alphabets\.en: .* Allowed: single letters"):
        alphabets.load(path)


def test_stop_words_hold_in_either_apostrophe_and_only_where_there_is_a_list():
    assert {"the", "don't", "don’t", "which"} <= stopwords.of("en") and "water" not in stopwords.of("en")
    assert all(word == word.lower() for word in stopwords.of("en")) and stopwords.of("sw") == frozenset()


# ---- keyboards
@pytest.mark.parametrize(
    ("code", "one", "near", "far"),
    [
        ("en", "q", "wa", "spe"),
        ("en", "g", "fhtyvb", "rjn"),
        ("de", "z", "tuhg", "yx"),
        ("fr", "a", "zqé", "we"),
        ("ru", "й", "цф", "ук"),
        ("el", "α", "σζ", "φ"),
        ("he", "ש", "ד", "ק"),
        ("ar", "ش", "سض", "ي"),
        ("hi", "क", "रतगद", "प"),
        ("th", "ก", "หด", "ง"),
        ("ko", "ㅎ", "ㄹㅗ", "ㅂ"),
        ("tr", "ı", "uo", "i"),
    ],
)
def test_neighbours_are_the_adjacent_keys(code, one, near, far):
    keys = keyboards.of(code)
    assert set(near) <= set(keys[one]) and not set(far) & set(keys[one])


def test_neighbours_are_mutual_and_of_the_layout():
    for name, layout in keyboards.load().items():
        keys = layout["neighbours"]
        written = {
            key.replace("◌", "") for row in layout["rows"] + layout.get("shifted", []) for key in row["keys"].split()
        }
        assert set(keys) == written - {"_"}, name
        assert all(one in keys[two] and one != two for one in keys for two in keys[one]), name
        assert sum(map(bool, keys.values())) >= 0.9 * len(keys) and max(map(len, keys.values())) <= 8, name
        assert set(layout["languages"]) <= set(LANGUAGES), name


def test_a_layout_serves_letters_of_its_languages_alphabet():
    for code in LANGUAGES:
        keys = keyboards.of(code)
        if code in ("zh", "ja", "my"):
            assert keys == {}  # typed by an input method, or on layouts that differ
        elif code != "ko":
            letters = set("".join(alphabets.of(code)))
            # vi and yo: tones are typed as sequences of keys
            assert len(letters & set(keys)) >= (0.25 if code in ("vi", "yo") else 0.5) * len(letters), code


def test_a_language_with_two_layouts_and_a_key_of_two_letters_are_refused(tmp_path):
    row = "title: T\nlanguages: [en]\nsource: s\nrows:\n  - {x: 0, keys: %s}\n"
    (tmp_path / "a.yaml").write_text(row % "a b", encoding="utf-8")
    (tmp_path / "b.yaml").write_text(row % "c d", encoding="utf-8")
    with pytest.raises(UserError, match=r"b\.yaml: languages: 'en' has a layout already, 'a'"):
        keyboards.load(tmp_path)
    (tmp_path / "b.yaml").write_text((row % "cd e").replace("[en]", "[de]"), encoding="utf-8")
    with pytest.raises(UserError, match=r"b\.yaml: keys: 'cd' is not one letter"):
        keyboards.load(tmp_path)
