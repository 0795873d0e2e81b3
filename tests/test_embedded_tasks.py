"""Each kind of embedded task: answers, tags, pools and choices are right and cannot be guessed. Pairs: a file apart."""

from collections import Counter
from functools import cache

import pytest
from embedded_sets import LANGUAGES, RETRIEVAL, SIZE, codes, rows

from xstilts import embedded
from xstilts.analysis import overlap, shallow
from xstilts.embedded import ccg, inference, lexicon, meaning
from xstilts.embedded.grammar import grammar
from xstilts.embedded.parse import readings, sentences
from xstilts.embedded.rng import Rng
from xstilts.embedded.sampling import Sampler, distinct
from xstilts.embedded.tasks import commonsense, questions, tagging
from xstilts.embedded.tasks.questions import SLOT

SPANS = ("squad", "squad_v2", "xquad", "mlqa", "tydiqa")
QA = [(name, code) for name in SPANS for code in codes(name)]
EVERYWHERE = {"ADJ", "ADP", "AUX", "CCONJ", "NOUN", "NUM", "PROPN", "PUNCT", "VERB"}
UPOS = EVERYWHERE | {"ADV", "DET", "INTJ", "PART", "PRON", "SCONJ", "SYM", "X"}
SOMEWHERE = {"DET": {"en", "de", "es", "ru", "hi", "zh", "sw"}, "PRON": {"en", "de", "es", "ru", "hi"},
             "SCONJ": {"en", "de", "es", "ru", "ar", "hi", "sw"}}  # fmt: skip


# ---------------------------------------------------------------- retrieval
@pytest.mark.parametrize("code", [code for code in LANGUAGES if code != "en"])
def test_shared_words_do_not_find_translations(code):
    pool = embedded.generate("tatoeba", code, "test", SIZE, 1)
    sources = [row["id"] for row in pool if row["side"] == "source"]
    targets = [row["match"] for row in pool if row["side"] == "target"]
    right = sum(sources[found] == match for found, match in zip(overlap.nearest(pool), targets, strict=True))
    assert right <= 0.03 * SIZE


# ---------------------------------------------------------------- questions
@cache
def meanings(name):
    """(facts, question, asked, index of the answering fact) of `rows(name, ...)`."""
    s = Sampler(Rng(name, "test", 1), "test")
    return list(distinct(SIZE, lambda i: questions._item(s, i, questions.STYLES[name]), name, "test"))


@pytest.mark.parametrize("name", SPANS)
def test_exactly_one_fact_answers_and_none_where_there_is_no_answer(name):
    unanswerable = 0
    for facts, question, asked, where in meanings(name):
        fitting = [k for k, fact in enumerate(facts) if questions.fits(fact, question, asked)]
        assert fitting == ([] if where is None else [where]), (facts, question)
        assert len({fact.subj.head for fact in facts}) == len(facts) >= 3
        unanswerable += where is None
    assert unanswerable == (SIZE // 3 if name == "squad_v2" else 0)
    counts = Counter(asked for _, _, asked, _ in meanings(name))
    assert set(counts) == set(SLOT) and min(counts.values()) > 0.1 * SIZE


@pytest.mark.parametrize(("name", "code"), QA)
def test_answers_stand_at_their_offset_in_one_sentence_and_are_what_is_asked(name, code):
    g = grammar(code)
    for row, (facts, _, asked, where) in zip(rows(name, code), meanings(name), strict=True):
        assert len(row["answers"]) == (where is not None)
        for answer in row["answers"]:
            start, end = answer["start"], answer["start"] + len(answer["text"])
            assert answer["text"] and row["context"][start:end] == answer["text"]
            told = sentences(code, row["context"])
            assert len(told) == len(facts)
            at, sentence = told[where]
            assert at <= start and end <= at + len(sentence)
            value = getattr(facts[where], SLOT[asked][0])
            assert any(form in answer["text"].casefold() for form in spelled(g, asked, value)), (row, value)


def spelled(g, asked, value):
    """What an answer about this value has in it, in lower case."""
    if asked in ("where", "when"):
        return [g.text(g.place(value) if asked == "where" else g.time(value)).casefold()]
    category = {"person": "first_names", "org": "organisations"}.get(value.kind, "nouns")
    forms = (" ".join(text for text, _ in form) for name, form in g.words[category][value.head].items()
             if name != "class")  # fmt: skip
    return [form.replace(" ", g.joiner).casefold() for form in forms]


@pytest.mark.parametrize("code", LANGUAGES)
def test_who_reads_the_paragraph_finds_one_answer(code):
    """Read back from the text alone, by a parser that knows nothing of how it was made."""
    for row in rows("xquad", code)[: 1 if code == "ar" else 3]:
        facts = [(at, reading) for at, sentence in sentences(code, row["context"])
                 for reading in readings(code, sentence)]  # fmt: skip
        found = {
            row["context"][at + fact.spans[SLOT[asked.asked][1]][0] : at + fact.spans[SLOT[asked.asked][1]][1]]
            for asked in readings(code, row["question"])
            for at, fact in facts
            if questions.fits(fact.clause, asked.clause, asked.asked)
        }
        assert found == {row["answers"][0]["text"]}, row


# ---------------------------------------------------------------- tags
@pytest.mark.parametrize("code", LANGUAGES)
def test_parts_of_speech_are_universal_and_the_language_has_its_own(code):
    counts = Counter(tag for row in rows("udpos", code) for tag in row["tags"])
    assert set(counts) <= UPOS and set(counts) >= EVERYWHERE
    assert all(tag in counts for tag, having in SOMEWHERE.items() if code in having), counts
    for row in rows("udpos", code):
        assert row["tags"][-1] == "PUNCT" and {"NOUN", "PROPN"} & set(row["tags"])


@pytest.mark.parametrize("code", LANGUAGES)
def test_panx_is_legal_iob2_and_names_that_training_lacks_are_in_the_test_set(code):
    allowed = {"O"} | {f"{prefix}-{kind}" for prefix in "BI" for kind in ("PER", "LOC", "ORG")}
    longer = Counter()
    for row in rows("panx", code):
        assert set(row["tags"]) <= allowed
        for before, tag in zip(["O", *row["tags"]], row["tags"], strict=False):
            assert not tag.startswith("I-") or before[2:] == tag[2:]
            longer[tag] += 1
    assert min(longer[f"B-{kind}"] for kind in ("PER", "LOC", "ORG")) > 0.1 * SIZE
    assert longer["I-PER"] > 0.1 * SIZE and longer["I-ORG"] > 0.1 * SIZE and longer["I-LOC"] > 20
    train, test = ({name for row in rows("panx", code, split, n, seed) for name in names(row, code)}
                   for split, n, seed in (("train", 1000, 11), ("test", SIZE, 1)))  # fmt: skip
    assert len({name for name in test - train if name[0] != "PER"}) > 5
    unseen = [row for row in rows("panx", code) if set(names(row, code)) - train]
    assert len(unseen) > 0.4 * SIZE


def names(row, code):
    """(type, name) of one row."""
    found = []
    for token, tag in zip(row["tokens"], row["tags"], strict=True):
        if tag[:2] == "B-":
            found.append((tag[2:], token))
        elif tag[:2] == "I-":
            found[-1] = (tag[2:], found[-1][1] + grammar(code).joiner + token)
    return found


def test_held_out_names_are_not_in_training():
    assert len(tagging.held_out()) > 10
    table = lexicon.concepts()
    held = tagging.held_out()
    for code in LANGUAGES:
        words = lexicon.load(code).words["first_names"]
        forms, seen = ({text for key in keys for form, tokens in words[key].items() if form != "class"
                        for text, _ in tokens} for keys in (held & set(table["first_names"]),
                                                            set(table["first_names"]) - held))  # fmt: skip
        train = {token for row in rows("panx", code, "train", 1000, 11) for token in row["tokens"]}
        if grammar(code).rules.get("tagging_units") != "characters":
            assert not (forms - seen) & train


def test_supertags_are_known_and_combine_to_a_sentence():
    allowed = set(embedded.supertags())
    for row in rows("ccg", "en"):
        assert set(row["tags"]) <= allowed, row
        assert ccg.combines(row["tags"]), row
    assert not ccg.combines(["NP/N", "N", "(S[dcl]\\NP)/NP", "."])
    assert not ccg.combines(["N", "NP/N", "S[dcl]\\NP"])


# ---------------------------------------------------------------- retrieval
@pytest.mark.parametrize(("name", "code"), [(name, code) for name in RETRIEVAL for code in codes(name)])
def test_retrieval_pools_have_one_partner_a_sentence_and_nothing_but_words_to_match(name, code):
    found = rows(name, code)
    by_id = {row["id"]: row for row in found}
    for row in found:
        if row["match"]:
            assert by_id[row["match"]]["match"] == row["id"] and by_id[row["match"]]["side"] != row["side"]
    for side, language in (("source", code), ("target", "en")):
        members = [row["text"] for row in found if row["side"] == side]
        assert len(members) == (SIZE // 2 if name == "tatoeba" else SIZE)
        assert len(set(members)) == len(members), "ambiguous gold"
        if name == "tatoeba" and side == "target":
            assert members == sorted(members)
        text = "\n".join(members)
        assert not any(char.isdigit() for char in text)
        assert not [name for name in proper_names(language) if name in text]
        asked = sum(member.endswith(grammar(language).rules["end"]["question"]) for member in members)
        assert len(members) / 16 < asked < len(members) / 4


def proper_names(code):
    """Names of persons, cities and organisations as the lexicon spells them, long enough not to be found by chance."""
    words = lexicon.load(code).words
    groups = [*words["first_names"].values(), *words["surnames"].values(), *words["organisations"].values()]
    groups += [words["places"][key] for key in meaning.places("city", "country")]
    found = {grammar(code).joiner.join(text for text, upos in form if upos == "PROPN")
             for forms in groups for key, form in forms.items() if key != "class"}  # fmt: skip
    return {name for name in found if len(name) > (4 if grammar(code).joiner else 2)}


# ---------------------------------------------------------------- choices
@pytest.mark.parametrize("name", ["commonsenseqa", "cosmosqa", "hellaswag"])
def test_choices_alone_and_their_words_in_the_context_say_nothing(name):
    test = rows(name, "en")
    chance = 100 / len(test[0]["choices"])
    learned = shallow.choices(embedded.generate(name, "en", "train", 6000, 1))["choice_only"]
    for predicted, margin in ((learned(test, "en"), 5), (shallow.choice_overlap(test, "en"), 8)):
        right = 100 * sum(p == row["label"] for p, row in zip(predicted, test, strict=True)) / len(test)
        assert abs(right - chance) <= margin


def test_cosmosqa_one_statement_follows_from_the_paragraph():
    for row in rows("cosmosqa", "en")[:25]:
        facts = [one.clause for _, text in sentences("en", row["context"]) for one in readings("en", text)[:1]]
        labels = []
        for text in row["choices"]:
            statement = readings("en", text)[0].clause
            labels.append(inference.ENTAILMENT in [inference.relation(fact, statement) for fact in facts])
        assert labels == [k == row["label"] for k in range(4)], row


def test_everyday_knowledge_has_one_answer_an_item():
    for group in {group for group, _ in commonsense.ASKED}:
        known = commonsense.traits(group)
        for trait in known:
            assert trait.of and set(trait.of) <= trait.possible, trait
            assert all(isinstance(text, str) and text for text in trait.does + trait.ask), trait
        texts = [text for trait in known for text in {commonsense.said(text, True) for text in trait.does}]
        assert len(texts) == len(set(texts)), group
        rng = Rng(group)
        for picks in filter(None, (commonsense.contrast(rng, known, 4) for _ in range(300))):
            for trait, owner in picks:
                assert [other for _, other in picks if other in trait.possible] == [owner]
    words = lexicon.concepts()
    for group, category in (("things", "nouns"), ("places", "places"), ("roles", "nouns"), ("animals", "nouns")):
        assert {x for trait in commonsense.traits(group) for x in trait.possible} <= set(words[category])


def test_hellaswag_goes_on_with_who_was_last_and_never_twice_alike():
    texts = [(row["context"], tuple(sorted(row["choices"]))) for row in rows("hellaswag", "en")]
    assert len(set(texts)) == SIZE
    for context, choices in texts:
        story, last = context.rsplit(". ", 1)
        assert last.split(", ")[-1].removeprefix("Then ").casefold() in story.casefold()
        assert all(text.endswith(".") and text[0].islower() for text in choices)
