"""Code-mixing (dictionary, phrases) and distractors: what they propose, from embedded and real parallel text."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import yaml

from xstilts import embedded
from xstilts.attacks.candidates import dictionary, distractors, phrases
from xstilts.attacks.proposals import Draft, Resources
from xstilts.attacks.segmentation import sentences, words
from xstilts.attacks.units import answer_sentences, apply, meets, units
from xstilts.data.dictionaries import Dictionaries
from xstilts.data.dictionary_files import available
from xstilts.errors import UserError
from xstilts.robustness import parallel

ATTACKS = Path(__file__).parent.parent / "catalog" / "attacks"
CODES = ("de", "en", "ru", "zh", "ar", "hi")
XQUAD = ("ar", "de", "el", "en", "es", "hi", "ru", "th", "tr", "vi", "zh")
FIELDS = {"xnli": ["text_a", "text_b"], "pawsx": ["text_a", "text_b"], "xquad": ["question"]}


def identity(name, **changed):
    found = yaml.safe_load((ATTACKS / f"{name}.yaml").read_text())["identity"]
    return {**found, **changed}


def draft(row, fields, code, seed=1):
    found = units(row, fields, code)
    ranges = {i: (0, len(unit.word.clusters)) for i, unit in enumerate(found) if not unit.guarded}
    return Draft(row, "span_qa" if "context" in row else "pair", fields, found, ranges, {"code": code}, seed)


@cache
def generated(name, code, n=60):
    return embedded.generate(name, code, "test", n, 1)


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    """A prepared folder of embedded test files, as `parallel.read` gets it."""
    folder = tmp_path_factory.mktemp("examples")
    for name in ("xnli", "pawsx", "xquad", "udpos"):
        for code in CODES:
            write(folder, name, code, generated(name, code))
    return folder


def write(folder, name, code, rows):
    path = folder / name / code / "test.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def mixing(examples):
    pairs = {f"{one}-{two}": "embedded" for one in CODES for two in CODES if one < two}
    return lambda name: Resources(
        translate=Dictionaries(pairs).translate, parallel=parallel.read(examples, name, CODES)
    )


def real(root, folder, code, n=None):
    with open(root / folder / code / "test.jsonl", encoding="utf-8") as handle:
        rows = [json.loads(line) for line in handle][:n]
    if folder == "xnli":
        keys = {"text_a": "premise", "text_b": "hypothesis"}
        return [
            {"id": str(row["idx"]), **{ours: row[key] for ours, key in keys.items()}, "label": str(row["label"])}
            for row in rows
        ]
    return [
        {
            "id": row["id"],
            "context": row["context"],
            "question": row["question"],
            "answers": [
                {"text": text, "start": start}
                for text, start in zip(row["answers"]["text"], row["answers"]["answer_start"], strict=True)
            ],
        }
        for row in rows
    ]


def by_id(columns):
    found = {}
    for code, rows in columns.items():
        for row in rows:
            found.setdefault(row["id"], {})[code] = row
    return found


# dictionaries


def test_a_dictionary_is_read_in_both_directions_without_case_and_keeps_a_capital(tmp_path):
    path = tmp_path / "en-de.tsv"
    path.write_text("\ufeffhouse\tHaus\nhouse\tGebäude\ncar wagen\nSame\tsame\n\n")
    found = Dictionaries({"en-de": path})
    assert found.translate("HOUSE", "en", "de") == ["Haus", "Gebäude"]
    assert found.translate("Car", "en", "de") == ["Wagen"]
    assert found.translate("car", "en", "de") == ["wagen"]
    assert found.translate("gebäude", "de", "en") == ["house"]
    assert found.translate("Gebäude", "de", "en") == ["House"]
    assert found.translate("same", "en", "de") == []  # no change
    assert found.translate("house", "en", "fr") == [] == found.translate("tree", "en", "de")


def test_a_listed_reverse_is_preferred_to_the_turned_dictionary(tmp_path):
    (tmp_path / "a.tsv").write_text("house\tHaus\n")
    (tmp_path / "b.tsv").write_text("Haus\thome\n")
    found = Dictionaries({"en-de": tmp_path / "a.tsv", "de-en": tmp_path / "b.tsv"})
    assert found.translate("haus", "de", "en") == ["home"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"house\tHaus\nhouse\n", "en-de.tsv:2: 'house'"),
        (b"a\tb\tc\n", "en-de.tsv:1:"),
        (b"a\t\n", "en-de.tsv:1:"),
        (b"\xff\xfe\n", "not UTF-8"),
        (b"\n", "holds no pair"),
        (None, "cannot be read"),
    ],
)
def test_a_bad_dictionary_is_named_with_its_line(tmp_path, content, said):
    path = tmp_path / "en-de.tsv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=said):
        Dictionaries({"en-de": path})


@pytest.mark.parametrize("pair", ["en", "en-", "-de", "en-en"])
def test_a_bad_pair_is_refused(pair):
    with pytest.raises(UserError, match="no pair"):
        Dictionaries({pair: "embedded"})


def test_embedded_dictionaries_serve_any_two_lexicons_and_say_what_there_is():
    found = Dictionaries({"en-de": "embedded", "zh-ru": "embedded"})
    assert "tanzt" in found.translate("dances", "en", "de") and "dance" in found.translate("tanzt", "de", "en")
    assert found.translate("医生", "zh", "ru")[0] == "врач"
    assert found.translate("the", "en", "de") == []  # function words are no concept
    assert found.translate("位", "zh", "ru") == []  # nor are classifiers
    with pytest.raises(UserError, match=r"no embedded lexicon for 'fr'; allowed: .*\bde\b"):
        Dictionaries({"en-fr": "embedded"})


def test_files_are_found_in_both_layouts_in_order_and_reversed(tmp_path):
    for place in ("dict_xling_eval/en/en-de.tsv", "dict_panlex/en/en-de.tsv", "dict_muse/en-ru.txt"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text("a\tb\n")
    found = available(tmp_path, ["en-de", "ru-en", "en-fr"])
    assert {pair: str(path.relative_to(tmp_path)) for pair, path in found.items()} == {
        "en-de": "dict_panlex/en/en-de.tsv",
        "en-ru": "dict_muse/en-ru.txt",  # only the reverse is there
    }
    assert Dictionaries(found).translate("b", "ru", "en") == ["a"]


# parallel text


def test_parallel_rows_are_those_that_several_languages_have(tmp_path):
    rows = {
        "en": [{"id": "1", "text_a": "a", "text_b": "b", "label": "0"}, {"id": "2", "text_b": "x", "label": "0"}],
        "de": [{"id": "1", "text_a": "c", "text_b": "d", "label": "0"}],
        "fr": [{"id": "1", "text_a": "e", "text_b": "f", "label": "1"}, {"id": "3", "text_b": "y", "label": "0"}],
    }
    for code, listed in rows.items():
        write(tmp_path, "pawsx", code, listed)
    found = parallel.read(tmp_path, "pawsx", ["en", "de", "fr"])
    assert {key: sorted(value) for key, value in found.items()} == {"1": ["de", "en"]}  # fr: the label differs


def test_parallel_text_of_tagging_is_refused(examples):
    with pytest.raises(UserError, match=r"udpos.*row 1: no pair of texts"):
        parallel.read(examples, "udpos", ["en", "de"])


def test_an_item_is_not_mixed_with_one_of_another_label():
    row = {"id": "1", "text_a": "house", "text_b": "house", "label": "0"}
    rows = {code: {"id": "1", "text_a": "Haus", "text_b": "Haus", "label": label} for code, label in
            (("de", "0"), ("ru", "1"), ("zh", "1"))}  # fmt: skip
    found = dictionary.translations(draft(row, FIELDS["pawsx"], "en"), Resources(parallel={"1": rows}), None)
    assert list(found) == ["de"]


# PolyGloss


@pytest.mark.parametrize("name", ["xnli", "pawsx", "xquad"])
@pytest.mark.parametrize("code", CODES)
def test_a_translation_that_is_proposed_occurs_in_the_reference(mixing, name, code):
    resources = mixing(name)
    drafts = [draft(row, FIELDS[name], code) for row in generated(name, code)]
    proposals = dictionary.proposer(identity("polygloss"), resources)(drafts)
    found = 0
    for one, proposal in zip(drafts, proposals, strict=True):
        assert proposal.units == one.units
        for index, texts in proposal.texts.items():
            unit = one.units[index]
            others = [row[unit.field] for other, row in resources.parallel[one.example["id"]].items() if other != code]
            assert len(set(texts)) == len(texts) and "".join(unit.word.clusters) not in texts
            for text in texts:
                assert any(text.strip().casefold() in other.casefold() for other in others), text
                found += 1
    assert found > 2 * len(drafts)  # several a text: words are found by their forms


def test_whole_words_only_and_spelt_as_in_the_reference():
    there = dictionary.reference("Das Haus, in dem ein Hausmeister mit dem US-Hund wohnt", "de")
    assert there.spelt("haus") == "Haus"
    assert there.spelt("meister") == "" == there.spelt("hau") == there.spelt("")
    assert there.spelt("das") == "das"  # the capital of the text's first word says nothing
    assert there.spelt("IN DEM") == "In dem" and there.spelt("in mit") == ""
    assert dictionary.reference("un caf\u00e9", "fr").spelt("cafe\u0301") == "caf\u00e9"  # composed or not
    assert dictionary.reference("他昨天去了北京大学。", "zh").spelt("昨天") == "昨天"


def test_turkish_words_are_found_and_written_with_their_own_capitals():
    there = dictionary.reference("Bu ilçe İZMİR yakınında, ışık ve Irmak", "tr")
    assert there.spelt("İlçe") == "İlçe" and there.spelt("İLÇE") == "İlçe" and there.spelt("izmir") == "İZMİR"
    assert there.spelt("ırmak") == "Irmak" and there.spelt("IŞIK") == "Işık" and there.spelt("irmak") == ""


def test_the_eight_words_stay_in_english_alone(mixing):
    row = {"id": "1", "text_a": "The dog was that", "text_b": "is a dog", "label": "0"}
    other = {"id": "1", "text_a": "Der Hund war das ist", "text_b": "ist ein Hund", "label": "0"}
    table = {"the": ["der"], "dog": ["Hund"], "was": ["war"], "that": ["das"], "is": ["ist"], "a": ["ein"]}
    resources = Resources(translate=lambda word, *_: table.get(word.lower(), []), parallel={"1": {"de": other}})
    propose = dictionary.proposer(identity("polygloss"), resources)
    (english,) = propose([draft(row, FIELDS["xnli"], "en")])
    assert sorted(english.texts.values()) == [["Hund"], ["Hund"]]
    (dutch,) = propose([draft(row, FIELDS["xnli"], "nl")])
    assert len(dutch.texts) == 7


def test_only_the_languages_of_the_attack_are_mixed_in(mixing):
    resources, asked = mixing("xnli"), []
    seen = Resources(
        translate=lambda *call: asked.append(call) or resources.translate(*call), parallel=resources.parallel
    )
    drafts = [draft(row, FIELDS["xnli"], "en") for row in generated("xnli", "en")[:5]]
    dictionary.proposer(identity("polygloss", stand_ins={"languages": ["ru", "en"]}), seen)(drafts)
    assert {target for _, _, target in asked} == {"ru"}


def test_without_the_filter_no_parallel_text_is_needed(mixing):
    row = {"id": "1", "tokens": ["Dances", "the", "doctor"], "tags": ["X"] * 3}
    resources = Resources(translate=mixing("xnli").translate)
    bare = identity("polygloss", options={"filter": "none"}, stand_ins={"languages": ["de", "en"]})
    (found,) = dictionary.proposer(bare, resources)([draft(row, ["tokens"], "en")])
    assert "Tanzt" in found.texts[0] and "Arzt" in found.texts[2] and 1 not in found.texts
    with pytest.raises(UserError, match="languages: none is given"):
        dictionary.proposer({**bare, "stand_ins": {}}, resources)


def test_bad_options_of_code_mixing_are_named():
    with pytest.raises(UserError, match="filter: 'both' is unknown; allowed: reference, none"):
        dictionary.proposer(identity("polygloss", options={"filter": "both"}), Resources())
    with pytest.raises(UserError, match="dictionaries: none is given"):
        dictionary.proposer(identity("polygloss"), Resources())
    with pytest.raises(UserError, match="neither encoder nor dictionaries"):
        phrases.proposer(identity("bumblebee"), Resources())


@pytest.mark.parametrize("module", [dictionary, phrases])
def test_an_example_without_parallel_text_gets_an_empty_proposal(module):
    row = {"id": "1", "text_a": "house", "text_b": "house", "label": "0"}
    resources = Resources(translate=lambda *_: ["Haus"], parallel={"2": {}})
    name = {dictionary: "polygloss", phrases: "bumblebee"}[module]
    one = draft(row, FIELDS["xnli"], "en")
    (found,) = module.proposer(identity(name), resources)([one])
    assert found.texts == {} and found.units == one.units


@pytest.mark.parametrize("module", [dictionary, phrases])
def test_a_proposal_depends_on_its_example_and_the_seed_alone(mixing, module):
    propose = module.proposer(identity({dictionary: "polygloss", phrases: "bumblebee"}[module]), mixing("xnli"))
    rows = generated("xnli", "en")[:20]
    alone = [propose([draft(row, FIELDS["xnli"], "en")])[0].texts for row in rows]
    together = propose([draft(row, FIELDS["xnli"], "en") for row in reversed(rows)])
    assert alone == [proposal.texts for proposal in reversed(together)]
    other = propose([draft(row, FIELDS["xnli"], "en", seed=2) for row in rows])
    assert alone != [proposal.texts for proposal in other]  # the turns of the languages are drawn by the seed


def test_words_of_scripts_without_spaces_do_not_grow_together_with_foreign_ones():
    row = {"id": "1", "text_b": "我今天去北京"}
    today = next(unit for unit in units(row, ["text_b"], "zh") if "".join(unit.word.clusters) == "今天")
    assert dictionary.fitted(row["text_b"], today, "today") == " today "
    assert dictionary.fitted(row["text_b"], today, "今日") == "今日"
    spaced = {"id": "1", "text_b": "I go today."}
    last = units(spaced, ["text_b"], "en")[-1]
    assert dictionary.fitted(spaced["text_b"], last, "heute") == "heute"


def test_real_xnli_is_mixed_by_real_dictionaries(real_root):
    codes = ("en", "de", "ru")
    rows = {code: real(real_root, "xnli", code, 120) for code in codes}
    files = available(real_root, ["en-de", "ru-en"])
    assert sorted(files) == ["en-de", "en-ru"]
    resources = Resources(translate=Dictionaries(files).translate, parallel=by_id(rows))
    for code in codes:
        drafts = [draft(row, FIELDS["xnli"], code) for row in rows[code]]
        count = 0
        for one, proposal in zip(drafts, dictionary.proposer(identity("polygloss"), resources)(drafts), strict=True):
            for index, texts in proposal.texts.items():
                unit = one.units[index]
                others = {
                    word.casefold()
                    for other in codes
                    if other != code
                    for word in split(resources.parallel[one.example["id"]][other][unit.field], other)
                }
                assert {text.casefold() for text in texts} <= others
                assert one.example["text_b"] == row_of(rows[code], one)["text_b"]
                changed = apply(one.example, proposal.units, {index: texts[0]})
                assert len(split(changed[unit.field], code)) == len(split(one.example[unit.field], code))
                count += 1
        assert count > 3 * len(drafts), code


def split(text, code):
    return ["".join(word.clusters) for word in words(text, code)]


def row_of(rows, one):
    return next(row for row in rows if row["id"] == one.example["id"])


# Bumblebee


def test_phrase_extraction_follows_the_textbook():
    # the sentence pair of Koehn 2010, Statistical Machine Translation, section 5.2
    source = ["michael", "assumes", "that", "he", "will", "stay", "in", "the", "house"]
    target = ["michael", "geht", "davon", "aus", ",", "dass", "er", "im", "haus", "bleibt"]
    links = [(0, 0), (1, 1), (1, 2), (1, 3), (2, 5), (3, 6), (4, 9), (5, 9), (6, 7), (7, 7), (8, 8)]
    found = {
        (" ".join(source[slice(*one)]), " ".join(target[slice(*other)]))
        for one, other in phrases.extract(links, len(source), len(target), 4)
    }
    assert found == {
        ("michael", "michael"), ("michael assumes", "michael geht davon aus"), ("assumes", "geht davon aus"),
        ("assumes", "geht davon aus ,"), ("that", "dass"), ("that", ", dass"), ("that he", "dass er"),
        ("that he", ", dass er"), ("he", "er"), ("will stay", "bleibt"), ("in the", "im"), ("in the house", "im haus"),
        ("house", "haus"),
    }  # fmt: skip
    first = [other for one, other in phrases.extract(links, len(source), len(target), 4) if one == (2, 3)]
    assert first == [(5, 6), (4, 6)]  # the pair without the unaligned comma comes first


def test_with_few_links_phrases_begin_and_end_with_linked_words():
    links = [(0, 0), (3, 2)]
    loose = phrases.extract(links, 5, 4, 4)
    tight = phrases.extract(links, 5, 4, 4, tight=True)
    assert tight == [((0, 1), (0, 1)), ((0, 4), (0, 3)), ((3, 4), (2, 3))] and set(tight) < set(loose)


def test_a_dictionary_aligns_equal_words_and_translations_along_the_diagonal():
    table = {"dog": ["Hund"], "bites": ["beißt"]}
    links = phrases.by_dictionary(
        ("the", "dog", "bites", "the", "dog", "2020"), ("ein", "Hund", "beißt", "einen", "Hund", "2020"), "en", "de",
        lambda word, *_: table.get(word, []),
    )  # fmt: skip
    assert links == [(1, 1), (2, 2), (4, 4), (5, 5)]


def test_phrases_are_replaced_as_they_stand_in_the_translation():
    row = {"id": "1", "text_a": "It is the blue house, he says.", "text_b": "x", "label": "0"}
    other = {"id": "1", "text_a": "Es ist das blaue „Haus“, sagt er.", "text_b": "y", "label": "0"}
    asked = []

    def align(pairs):
        asked.extend(pairs)
        return [[(0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (5, 6), (6, 5)] if len(one) > 1 else [] for one, _ in pairs]

    one = draft(row, FIELDS["xnli"], "en")
    (found,) = phrases.proposer(identity("bumblebee"), Resources(align=align, parallel={"1": {"de": other}}))([one])
    assert asked[0] == (("It", "is", "the", "blue", "house", "he", "says"),
                        ("Es", "ist", "das", "blaue", "Haus", "sagt", "er"))  # fmt: skip
    texts = {
        row["text_a"][found.units[i].word.start : found.units[i].word.end]: text for i, text in found.texts.items()
    }
    assert texts["blue house"] == ["blaue „Haus"]
    assert texts["house, he says"] == ["Haus“, sagt er"]
    assert texts["he"] == ["er"] and "house, he" not in texts  # he and says are crossed
    changed = apply(row, found.units, {next(i for i, t in found.texts.items() if t == ["Haus“, sagt er"]): "Haus"})
    assert changed["text_a"] == "It is the blue Haus." and changed["text_b"] is row["text_b"]
    assert found.units[: len(one.units)] == one.units


@pytest.mark.parametrize("code", ["en", "zh", "ar"])
def test_phrases_of_generated_text_are_substrings_of_the_translations(mixing, code):
    resources = mixing("xnli")
    drafts = [draft(row, FIELDS["xnli"], code) for row in generated("xnli", code)]
    several = 0
    for one, found in zip(drafts, phrases.proposer(identity("bumblebee"), resources)(drafts), strict=True):
        for index, texts in found.texts.items():
            unit = found.units[index]
            others = [row[unit.field] for row in resources.parallel[one.example["id"]].values()]
            assert all(any(text.strip() in other for other in others) for text in texts)
            several += index >= len(one.units)
    assert several > len(drafts) // 2


def test_a_phrase_never_meets_the_sentence_of_an_answer(mixing):
    resources, count = mixing("xquad"), 0
    drafts = [draft(row, ["question", "context"], "en") for row in generated("xquad", "en")]
    for one, found in zip(drafts, phrases.proposer(identity("bumblebee"), resources)(drafts), strict=True):
        guards = answer_sentences(one.example)
        for index in found.texts:
            unit = found.units[index]
            if unit.field == "context":
                assert not meets(unit.word.start, unit.word.end, guards)
                count += index >= len(one.units)
    assert count > 0


# the aligner


@pytest.fixture(scope="module")
def aligner(tmp_path_factory):
    from xstilts.models import fetch, loading

    folder = tmp_path_factory.mktemp("aligner") / "tiny"
    config = {"num_hidden_layers": 3, "initializer_range": 0.2}
    fetch.fetch({"model": "tiny", "source": {"type": "random", "config": config}, "identity": {}}, folder)
    return parallel.Aligner(loading.load(folder), layer=2, max_length=64)


def test_an_alignment_does_not_depend_on_what_is_aligned_with_it(aligner):
    texts = [tuple(row["text_a"].split()) for row in generated("xnli", "en")[:30]]
    others = [tuple(row["text_a"].split()) for row in generated("xnli", "de")[:30]]
    pairs = list(zip(texts, others, strict=True))
    together = aligner.align(pairs)
    assert aligner.align(pairs[::-1])[::-1] == together
    assert [aligner.align([pair])[0] for pair in pairs[:6]] == together[:6]
    assert any(together) and all(len({j for _, j in links}) == len(links) for links in together)
    alone = [aligner._vectors([words])[0] for words in texts[:6]]
    for one, other in zip(alone, aligner._vectors(texts), strict=False):
        assert np.array_equal(one, other)  # to the bit


def test_batches_of_the_aligner_are_stable(aligner, monkeypatch):
    # widths of a row's own, rows in eights: see predict.stable_batches
    shapes, computed = [], aligner.model.hidden_states
    monkeypatch.setattr(
        aligner.model, "hidden_states", lambda ids, *rest: shapes.append(tuple(ids.shape)) or computed(ids, *rest)
    )
    texts = [tuple(row["text_a"].split()) for row in generated("xnli", "en")[:30]]
    aligner.align([(text, text) for text in texts])
    aligner.align([(texts[0], texts[0])])
    assert all(rows % 8 == 0 and width % 8 == 0 for rows, width in shapes)


def test_a_text_is_aligned_with_itself_word_by_word_up_to_the_length_limit(aligner):
    listed = tuple(["the", "old", "doctor", "reads", "one", "book", "about", "green", "apples"])
    assert aligner.align([(listed, listed)]) == [[(i, i) for i in range(len(listed))]]
    long = tuple(f"word{number}" for number in range(40))  # 6 or 7 pieces each, 62 fit
    (links,) = aligner.align([(long, long)])
    assert links == [(i, i) for i in range(len(links))] and 5 < len(links) < 12
    assert aligner.align([((), listed), (listed, ())]) == [[], []] and aligner.align([]) == []


def test_a_words_vector_is_the_mean_of_its_pieces():
    states = np.array([[1, 0], [0, 1], [0, 5], [3, 4]], np.float32)
    found = parallel.word_vectors(states, [2, 0, 1, 2])
    assert np.allclose(found, [[2**-0.5, 2**-0.5], [0, 0], [0, 1]])  # the last word's pieces are cut
    assert parallel.mutual(found, np.array([[0, 1], [1, 1]], np.float32)) == [(0, 1), (2, 0)]


def test_candidates_import_no_torch():
    code = "import sys; from xstilts.attacks.candidates import dictionary, phrases, distractors; "
    code += "from xstilts.data import dictionaries; from xstilts.robustness import parallel; "
    code += "sys.exit(int('torch' in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# distractors


@pytest.mark.parametrize("code", XQUAD)
def test_a_real_distractor_holds_no_answer_and_leaves_everything_else(real_root, code):
    rows = real(real_root, "xquad", code)
    contexts = [row["context"] for row in rows]
    asked = rows[:: len(rows) // 25]
    drafts = [draft(row, ["context"], code) for row in asked]
    known = {sentence for context in set(contexts) for sentence in parts(context)}
    some = 0
    for place in ("end", "start"):
        attack = identity("addsent", options={**identity("addsent")["options"], "place": place})
        propose = distractors.proposer(attack, Resources(passages=contexts))
        for one, found in zip(drafts, propose(drafts), strict=True):
            row = one.example
            assert found.units[:-1] == one.units and len(found.texts.get(len(one.units), ())) <= 8
            for text in found.texts.get(len(one.units), ()):
                assert text.strip() in known and text.strip() not in row["context"]
                assert not any(answer["text"].casefold() in text.casefold().split() for answer in row["answers"])
                assert not distractors.holds(text, [answer["text"] for answer in row["answers"]])
                changed = apply(row, found.units, {len(one.units): text})
                whole = row["context"] + text if place == "end" else text + row["context"]
                assert changed["context"] == whole and changed["question"] is row["question"]
                for answer, before in zip(changed["answers"], row["answers"], strict=True):
                    assert answer["text"] == before["text"]
                    assert whole[answer["start"] :].startswith(answer["text"])
                some += 1
    assert some > 2 * len(asked) * 4  # most have several


def parts(context):
    return [context[start:end].strip() for start, end in sentences(context)]


def question(context, asked, answer, key="1"):
    return {"id": key, "context": context, "question": asked,
            "answers": [{"text": answer, "start": context.index(answer)}]}  # fmt: skip


PASSAGES = [
    "The tower in Paris was built in 1889. It is tall.",
    "The tower in Pisa was built in 1372. Many people like the old stones of it.",
    "The tower in Paris was built in 1889. It is tall. It has stairs.",
    "Cats like fish. In 1889 the tower was drawn.",
    "Nobody built anything in Paris.",
]


def like(row, passages=PASSAGES, **options):
    attack = identity("addsent", options=options)
    (found,) = distractors.proposer(attack, Resources(passages=passages))([draft(row, ["context"], "en")])
    return [text for texts in found.texts.values() for text in texts]


def test_the_most_alike_sentence_comes_first_and_none_from_its_own_passage():
    row = question(PASSAGES[0], "When was the tower in Paris built?", "1889")
    found = like(row)
    assert found[0] in (" Nobody built anything in Paris.", " The tower in Pisa was built in 1372.")
    assert set(found) == {" Nobody built anything in Paris.", " The tower in Pisa was built in 1372.",
                          " Many people like the old stones of it."}  # fmt: skip
    # neither the own passage, nor one that holds it, nor one with the sentence of the answer, nor one with the answer
    assert like(row, least_words=6) == [" The tower in Pisa was built in 1372."]
    assert like(row, place="start", least_words=6, most_words=8) == ["The tower in Pisa was built in 1372. "]


def test_a_question_unlike_every_sentence_gets_no_distractor():
    assert like(question(PASSAGES[0], "Warum?", "1889")) == []


@pytest.mark.parametrize(
    ("text", "answer", "held"),
    [
        ("Built in 1889.", "1889", True),
        ("Built in 1990.", "9", False),
        ("He has 9 cats.", "9", True),
        ("Varşova'da doğdu.", "Varşova", True),  # inflected
        ("THE   eiffel-tower!", "Eiffel Tower", True),
        ("他住在北京大学。", "北京", True),  # no spaces
        ("An art party", "art", True),
        ("A party", "art", False),
        ("Straße", "STRASSE", True),
        ("anything", "", False),
    ],
)
def test_what_counts_as_holding_an_answer(text, answer, held):
    assert distractors.holds(text, [answer]) is held


def test_distractors_of_other_languages_come_from_the_parallel_passages(examples):
    rows = parallel.read(examples, "xquad", ("en", "ru"))
    attack = identity("addsent", stand_ins={"languages": ["ru"]})
    drafts = [draft(row, ["context"], "en") for row in generated("xquad", "en")]
    propose = distractors.proposer(attack, Resources(parallel=rows))
    count = 0
    for one, found in zip(drafts, propose(drafts), strict=True):
        for text in found.texts.get(len(one.units), ()):
            own = rows[one.example["id"]]["ru"]
            assert text.strip() not in own["context"]
            assert any(text.strip() in row["ru"]["context"] for row in rows.values())
            assert not distractors.holds(text, [answer["text"] for answer in own["answers"]])
            count += 1
    assert count > len(drafts)


def test_a_chinese_distractor_needs_no_space_and_a_thai_one_does():
    assert distractors.joined("他走了。", "猫来了。", "end") == "猫来了。"
    assert distractors.joined("เขาไป", "แมวมา", "end") == " แมวมา"
    assert distractors.joined("He left. ", "A cat came.", "end") == "A cat came."
    assert distractors.joined("", "A cat came.", "end") == "A cat came."


def test_bad_options_of_distractors_are_named():
    with pytest.raises(UserError, match="place: 'middle' is unknown; allowed: end, start"):
        distractors.proposer(identity("addsent", options={"place": "middle"}), Resources(passages=[]))
    with pytest.raises(UserError, match="needs the passages"):
        distractors.proposer(identity("addsent"), Resources())
    with pytest.raises(UserError, match="no parallel text"):
        distractors.proposer(identity("addsent", stand_ins={"languages": ["de"]}), Resources(passages=[]))
