"""Stand-ins of attacks on tiny random models: masked words, neighbours, similarity, gradients of the victim."""

import json
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import ROOT

from xstilts.attacks.candidates import fills as fills_candidates
from xstilts.attacks.candidates import gradient as gradient_candidates
from xstilts.attacks.candidates import neighbours as neighbour_candidates
from xstilts.attacks.candidates.single_words import asked_script, cased, fitting, replacements, word_script
from xstilts.attacks.proposals import Draft, Resources
from xstilts.attacks.units import apply, units
from xstilts.errors import UserError
from xstilts.robustness.standins import StandIns
from xstilts.schema import read_yaml

WORDS = {
    "Latn": [
        "the",
        "cat",
        "sat",
        "on",
        "a",
        "mat",
        "dog",
        "ran",
        "home",
        "now",
        "old",
        "man",
        "saw",
        "red",
        "house",
        "big",
        "small",
        "good",
        "bad",
        "Then",
        "Paris",
        "word",
    ],
    "Cyrl": ["кот", "дом", "мир", "вода", "рука"],
    "Thai": ["แมว", "บ้าน", "น้ำ"],
    "Jpan": ["猫", "東京", "ねこ", "食べる"],
}
OTHER = [".", ",", "!", "12", "▁12", "▁-", "▁c0t", "▁кoт", "ing", "ed", "▁"]
ENGLISH = {"code": "en", "spaces": True, "script": "Latn"}
RUSSIAN = {"code": "ru", "spaces": True, "script": "Cyrl"}
JAPANESE = {"code": "ja", "spaces": False, "script": "Jpan"}
HYPER = {"max_length": 32, "max_query_length": 8, "doc_stride": 8, "max_answer_length": 5, "n_best": 5}
LABELS = {"pair": ["yes", "no", "maybe"], "tagging": ["X", "Y"], "span_qa": []}
SETTINGS = {"stand_ins": {"mlm": {"model": "small", "intermediate": "mlm", "seed": 1}, "encoder": {"model": "small"}}}
SPEC = {"mlm": {"model": {"name": "small"}, "intermediate": "mlm", "seed": 1}}
SPEC["encoder"] = {"model": {"name": "small", "layers": 2, "pre_norm": False}, "max_length": 32}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """models/small and encoders/small/{mlm,none}/s1: a random encoder of words, a random head of kind mlm or none."""
    from xstilts.models import checkpoints, fetch, loading, random_model, tokenizers

    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("standins")
    spaced = [f"▁{word}" for script in ("Latn", "Cyrl") for word in WORDS[script]]
    inner = [word for script in ("Thai", "Jpan") for word in WORDS[script]]
    letters = sorted(
        {letter for words in WORDS.values() for word in words for letter in word} - set(inner) - set(OTHER)
    )
    pieces = [*tokenizers.SPECIALS, *spaced, *inner, *OTHER, *letters, "<mask>"]
    scores = [-1.0] * (4 + len(spaced) + len(inner)) + [-3.0] * len(OTHER) + [-9.0] * len(letters) + [-99.0]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(random_model, "characters", lambda: tokenizers.unigram(pieces, scores, {"ﬁ": "fi"}))
        config = {"hidden_size": 32, "num_hidden_layers": 2, "initializer_range": 0.3}
        source = {"type": "random", "seed": 3, "config": config}
        fetch.fetch({"model": "small", "source": source, "identity": {}}, root / "models" / "small")
    for name, kind in (("mlm", "mlm"), ("none", "pair")):
        model = loading.load(root / "models" / "small")
        model.add_head(name, kind, 3, 1, {"kind": kind, "labels": LABELS.get(kind, []), "options": {}})
        spec = {"stage": "intermediate", "model": {"name": "small"}, "seed": 1}
        folder = root / "encoders" / "small" / name / "s1"
        checkpoints.save(folder, model, root / "models" / "small", spec, keep_heads=True)
    return root


@pytest.fixture(scope="module")
def stand_ins(study):
    return StandIns(SPEC, study / "models", study / "encoders")


def victim(study, kind, precision="fp32"):
    from xstilts.evaluation.predict import Predictor
    from xstilts.models import loading, runtime

    model = loading.load(study / "models" / "small", dtype=runtime.lean(precision))
    model.add_head("job", kind, len(LABELS[kind]), 7, {"kind": kind, "labels": LABELS[kind], "options": {}})
    with torch.no_grad():
        model.heads["job"].out_proj.weight.normal_(0, 0.5, generator=torch.Generator().manual_seed(1))
    return Predictor(model, "job", kind, LABELS[kind], HYPER, {}, precision)


def contexts(count=40):
    """(before, after) of all lengths: inside sentences, at their ends, before punctuation, with nothing around."""
    rng = random.Random(5)
    found = [("", ""), ("the ", ""), ("", " sat"), ("the old cat sat on the ", ", now!"), ("猫", "食べる")]
    for _ in range(count):
        words = rng.choices(WORDS["Latn"] + WORDS["Cyrl"], k=rng.randrange(1, 40))
        place = rng.randrange(len(words))
        found.append((" ".join([*words[:place], ""]), " " + " ".join(words[place + 1 :])))
    return found


def draft(example, kind, fields, language):
    found = units(example, fields, language["code"])
    ranges = {number: (0, len(unit.word.clusters)) for number, unit in enumerate(found)}
    return Draft({"id": "1", **example}, kind, fields, found, ranges, language, 0)


# ---- masked words
def test_fills_do_not_depend_on_what_is_asked_beside_them(stand_ins):
    texts = contexts()
    together = stand_ins.fills(texts, 5)
    assert [stand_ins.fills([text], 5)[0] for text in texts] == together
    order = list(range(len(texts)))
    random.Random(1).shuffle(order)
    shuffled = stand_ins.fills([texts[number] for number in order], 5)
    assert [together[number] for number in order] == shuffled
    assert len({str(found) for found in together}) > 20, "contexts matter"


def test_fills_are_words_of_the_script_alone(stand_ins):
    texts = contexts(8)
    for script, words in (("Latn", WORDS["Latn"]), ("Cyrl", WORDS["Cyrl"])):
        for found in stand_ins.fills(texts, 999, [script] * len(texts)):
            assert sorted(text for text, _ in found) == sorted(words)  # no "ing", "c0t", "12", letters, <mask>
            chances = [chance for _, chance in found]
            assert chances == sorted(chances, reverse=True) and 0 < sum(chances) <= 1
    without = {text for text, _ in stand_ins.fills([("猫", "食べる")], 999, ["Jpan"], spaces=False)[0]}
    assert set(WORDS["Jpan"]) <= without and {word_script(text) for text in without} == {"Jpan", "Hani"}
    han = {text for text, _ in stand_ins.fills([("猫", "食べる")], 999, ["Hani"], spaces=False)[0]}
    assert {"猫", "東京"} <= han < without, "Chinese gets no kana"
    assert "น้ำ" in {text for text, _ in stand_ins.fills([("แมว", "")], 999, ["Thai"], spaces=False)[0]}
    assert stand_ins.fills([("a ", " b")], 3, ["Arab"]) == [[]]
    assert len(stand_ins.fills([("a ", " b")], 3)[0]) == 3


def test_fills_are_the_softmax_of_the_head(stand_ins):
    model = stand_ins.fills._model
    tokenizer = model.tokenizer
    before, after = "the old ", " sat on a mat ."
    ids = tokenizer.encode(f"{before}<mask>{after}").ids
    place = ids.index(tokenizer.token_to_id("<mask>"))
    batch = {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids), dtype=torch.long)}
    with torch.no_grad():
        chances = model.logits("mlm", batch | {"masked": torch.tensor([place])})[0].softmax(0)
    best = sorted(
        ((word, float(chances[tokenizer.token_to_id(f"▁{word}")])) for word in WORDS["Latn"]), key=lambda x: -x[1]
    )
    found = stand_ins.fills([(before, after)], 4, ["Latn"])[0]
    assert [word for word, _ in found] == [word for word, _ in best[:4]]
    assert [chance for _, chance in found] == pytest.approx([chance for _, chance in best[:4]], rel=1e-4)


def test_the_context_is_what_stands_next_to_the_place(stand_ins):
    near = "the old man saw the " * 15
    (one,) = stand_ins.fills([("red " * 500 + near, " now" * 90)], 5)
    (other,) = stand_ins.fills([("big " * 7000 + near, " now" * 90)], 5)
    (changed,) = stand_ins.fills([("red " * 500 + near + "bad ", " now" * 90)], 5)
    assert one == other != changed
    assert len(stand_ins.fills._features([("cat " * 900, " dog" * 900)])[0]["input_ids"]) == 128
    glued = stand_ins.fills._features([("the cat ", ", now")])[0]["input_ids"]
    comma = stand_ins.fills._model.tokenizer.token_to_id(",")
    assert glued[glued.index(stand_ins.fills._vocabulary.mask) + 1] == comma, "as in running text, no space between"


def test_candidates_of_fills_keep_capitals_and_leave_the_word_out(stand_ins):
    asked = {}

    def fills(texts, k, scripts):
        asked.update(zip(texts, scripts, strict=True))
        return [[("cat", 0.5), ("dog", 0.2), ("Dog", 0.1), ("mat", 0.1), ("on", 0.05)]] * len(texts)

    identity = {"budget": {"candidates": 2}}
    propose = fills_candidates.proposer(identity, Resources(fills=fills))
    example = {"text_a": "x", "text_b": "Cat, DOG ran"}
    tagged = {"tokens": ["the", "кот"], "tags": ["X", "X"]}
    drafts = [draft(example, "pair", ["text_b"], ENGLISH), draft(tagged, "tagging", ["tokens"], RUSSIAN)]
    pair, tagging = propose(drafts)
    assert pair.texts == {0: ["Dog", "Mat"], 1: ["CAT", "MAT"], 2: ["cat", "dog"]}
    assert pair.units == drafts[0].units
    assert asked[("Cat, ", " ran")] == "Latn" and asked[("the ", "")] == "Cyrl"
    assert tagging.texts[1] == ["cat", "dog"]
    real = fills_candidates.proposer(identity, Resources(fills=stand_ins.fills))
    assert [one.texts for one in real(drafts)] == [real([one])[0].texts for one in drafts]


# ---- words
def test_scripts_and_capitals_of_words():
    assert [word_script(text) for text in ("Haus", "дом", "猫ねこ", "時々", "कि", "می\u200cروم", "라면")] == [
        "Latn", "Cyrl", "Jpan", "Hani", "Deva", "Arab", "Hang",
    ]  # fmt: skip
    assert {
        word_script(text) for text in ("", "a1", "a b", "a.", "Кat", "<mask>", "\u200ba", "7", "a\u200c", "\u0e34ง")
    } == {""}
    assert asked_script("3Дa") == "Cyrl" and asked_script("食べる!") == "Hani"
    assert cased("Cat", "dog") == "Dog" and cased("CAT", "dog") == "DOG" and cased("cat", "Hund") == "Hund"
    assert cased("I", "we") == "We" and cased("猫", "犬") == "犬"
    assert replacements("Cat", ["CAT", "cat", "dog", "Dog", "hen"], 2) == ["Dog", "Hen"]


def test_words_of_every_language_are_words(real_root):
    languages = read_yaml(ROOT / "catalog" / "languages.yaml")
    folders = sorted(path for path in (real_root / "tatoeba").iterdir() if path.name in languages)
    assert len(folders) >= 30
    from xstilts.robustness.similar import vocabulary

    for folder in folders:
        lines = (folder / "test.jsonl").read_text(encoding="utf-8").splitlines()[:60]
        rows = [{"text": json.loads(line)["source_sentence"]} for line in lines]
        code, script = folder.name, languages[folder.name]["script"]
        found = vocabulary(rows, ["text"], {**languages[code], "code": code})
        own = [word for word in found if word_script(word) in fitting(script)]
        assert len(own) > 50 and len(own) >= 0.9 * len(found), code


def test_the_vocabulary_has_each_word_once_in_its_most_frequent_form():
    from xstilts.robustness import similar

    rows = [
        {"text": "Cat cat 12 a1 don't. Cat cat? The", "other": "zebra"},
        {"text": "Cat! The the Paris.", "other": ""},
    ]
    assert similar.vocabulary(rows, ["text"], ENGLISH) == ["Paris", "cat", "the"]  # inside sentences they are so
    assert "zebra" in similar.vocabulary(rows, ["text", "other"], ENGLISH)
    assert similar.vocabulary([{"tokens": ["New York", "York", "york", "York"]}], ["tokens"], ENGLISH) == ["York"]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(similar, "MOST_WORDS", 1)
        assert similar.vocabulary(rows, ["text"], ENGLISH) == ["cat"]


def test_capitals_of_turkish_are_those_of_turkish(stand_ins):
    from xstilts.robustness import similar

    turkish = {"code": "tr", "spaces": True, "script": "Latn"}
    rows = [{"text": "ah ISI ısı ısı. ah İNSAN insan insan."}]
    assert similar.vocabulary(rows, ["text"], turkish) == ["ah", "insan", "ısı"]
    near = stand_ins.similar.neighbours(["insan", "ısı"], -1.0, "tr")
    assert [text for text, _ in near(["ISI"], 9)[0]] == ["insan"]
    propose = fills_candidates.proposer(
        {"budget": {"candidates": None}},
        Resources(fills=lambda texts, k, scripts: [[("insan", 0.5), ("ısı", 0.4), ("iyi", 0.1)]] * len(texts)),
    )
    (proposal,) = propose([draft({"text": "İnsan"}, "retrieval", ["text"], turkish)])
    assert proposal.texts[0] == ["Isı", "İyi"]


# ---- the similarity encoder
def test_neighbours_are_others_near_enough_and_of_the_same_script(stand_ins):
    words = sorted([*WORDS["Latn"], *WORDS["Cyrl"], "CAT"])
    all_of_them = stand_ins.similar.neighbours(words, -1.0)
    for word, found in zip(words, all_of_them(words, 99), strict=True):
        texts = [text for text, _ in found]
        others = [other for other in words if other.casefold() != word.casefold()]
        assert sorted(texts) == sorted(other for other in others if word_script(other) == word_script(word))
        cosines = [cosine for _, cosine in found]
        assert cosines == sorted(cosines, reverse=True)
        own, rest = stand_ins.similar.embed([word])[0], stand_ins.similar.embed(texts)
        assert cosines == pytest.approx((rest @ own).tolist(), abs=2e-6)
    flat = sorted(cosine for found in all_of_them(words, 99) for _, cosine in found)
    least = flat[len(flat) // 2]
    fewer = stand_ins.similar.neighbours(words, least)(words, 3)
    assert all(cosine >= least for found in fewer for _, cosine in found) and max(map(len, fewer)) == 3
    assert any(len(found) < 3 for found in fewer)
    assert stand_ins.similar.neighbours([], 0.0)(["cat"], 3) == [[]]


def test_neighbours_do_not_depend_on_what_is_asked_beside_them(stand_ins):
    words = sorted(WORDS["Latn"])
    together = stand_ins.similar.neighbours(words, -1.0)([*words, "unheard"], 9)
    alone = stand_ins.similar.neighbours(words, -1.0)
    assert [alone([word], 9)[0] for word in reversed([*words, "unheard"])] == together[::-1]
    propose = neighbour_candidates.proposer({"budget": {"candidates": None}}, Resources(neighbours=alone))
    (proposal,) = propose([draft({"text": "Cat ran"}, "retrieval", ["text"], ENGLISH)])
    assert proposal.texts[1] == [text for text, _ in alone(["ran"], 50)[0]]
    assert all(text[0].isupper() and text != "Cat" for text in proposal.texts[0])


def test_similarity_sees_a_change_behind_the_encoders_length(stand_ins):
    long = "the old man saw the red house now " * 40
    changed = long[:-5] + "dog "
    same, short, far = stand_ins.similar.similarity([(long, long), ("the cat", "the dog"), (long, changed)])
    assert same == 1.0 and -1 <= short < 1 and far < 0.9999
    vectors = stand_ins.similar.embed(["the cat", "the dog"])
    assert short == pytest.approx(float(vectors[0] @ vectors[1]), abs=2e-6)
    assert stand_ins.similar.similarity([("the cat", "the dog")]) == [short]
    assert stand_ins.similar.similarity([]) == []


def test_similarity_sees_every_change_of_a_long_text(stand_ins):
    """A change at the beginning hides none behind: the least cosine of the parts counts."""
    similar = stand_ins.similar
    words = random.Random(1).choices(WORDS["Latn"], k=300)
    question = "the old man saw\n"
    before = question + " ".join(words)
    some = question.replace("man", "dog") + " ".join(words)
    many = question.replace("man", "dog") + " ".join(
        "вода" if place % 2 and place > 100 else word for place, word in enumerate(words)
    )
    late = question + " ".join([*words[:-1], "вода вода вода"])
    one, both, behind = similar.similarity([(before, some), (before, many), (before, late)])
    assert both < one - 0.05 and one < 1 and behind < 1
    assert similar.similarity([(before, many)]) == [both]  # whatever is asked beside, and kept from before
    grown = similar.similarity([(before, before + " вода" * 9), (before, before + "\n" + "кот " * 200)])
    assert max(grown) < 1


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("a cat sat", "a dog sat", [("cat", "dog")]),
        ("a cat, sat.", "a cats, sit.", [("cat", "cats"), ("sat", "sit")]),
        ("猫食。猫食", "猫食。猫飲", [("猫食", "猫飲")]),
        ("a cat sat", "a sat", [("cat ", "")]),
        ("a cat", "a cat sat", [("", " sat")]),
        ("กิน ข้าว", "กิน น้ำ", [("ข้าว", "น้ำ")]),
    ],
)
def test_where_two_texts_differ(before, after, expected):
    from xstilts.robustness.similar import moved, stretches

    found = stretches(before, after)
    assert [(before[a:b], after[c:d]) for a, b, c, d in found] == expected
    assert moved(0, found) == 0 and moved(len(before), found, True) == len(after)
    assert all(moved(a, found) == c and moved(b, found, True) == d for a, b, c, d in found)


# ---- gradients of the victim
EXAMPLES = {
    "pair": [
        {"text_a": "the cat sat .", "text_b": "a dog ran home now", "label": "no"},
        {"text_a": "the old man " * 12, "text_b": "the red house " * 3, "label": "yes"},
        {"text_a": "a", "text_b": "cat", "label": "maybe"},
    ],
    "tagging": [
        {"tokens": ["the", "cat", "", "sat", "zzz"], "tags": ["X", "Y", "X", "X", "Y"]},
        {"tokens": ["dog", "ran"] * 25, "tags": ["Y", "X"] * 25},
    ],
    "span_qa": [
        {"question": "old man saw", "context": "the cat sat on a mat", "answers": [{"text": "mat", "start": 17}]},
        {
            "question": "the red house now good bad big small the",
            "context": "the dog ran home . " * 8 + "Paris now",
            "answers": [{"text": "Paris", "start": 152}],
        },
    ],
}
FIELDS = {"pair": ["text_b"], "tagging": ["tokens"], "span_qa": ["question", "context"]}


def drafts_of(kind):
    rows = [{"id": str(number), **row} for number, row in enumerate(EXAMPLES[kind])]
    return [draft(row, kind, FIELDS[kind], ENGLISH) for row in rows]


def true_loss(victim, example):
    """The example's loss as `flips` defines it, by the kind's own functions."""
    from xstilts.robustness.flips import _weights

    encode = victim.kind.encode
    features = encode([example], victim.model.tokenizer, victim.labels, victim.hyper, {}, True)
    weights, total = _weights(victim.kind.__name__.rpartition(".")[2], features, [example]), 0.0
    for feature, weight in zip(features, weights, strict=True):
        batch = victim.kind.collate([feature], victim.model.pad_id)
        with torch.no_grad():
            total += weight * float(victim.kind.loss(victim.model.logits("job", batch), batch))
    return total


@pytest.mark.parametrize("kind", ["pair", "tagging", "span_qa"])
def test_gains_are_the_first_order_of_the_true_loss(study, kind):
    """Against finite differences: the vocabulary moved a little from each word's piece to the candidate's."""
    from xstilts.robustness.flips import Flips

    attacked = victim(study, kind)
    flips, model = Flips(attacked, WORDS["Latn"], True), attacked.model
    (one, *_) = drafts_of(kind)
    (found,) = flips([one], 99)
    table, encode = model.encoder.embeddings.word_embeddings.weight, model.tokenizer.token_to_id
    whole = table.detach().float().clone()
    checked = 0
    for number in list(found)[:4]:
        word = "".join(one.units[number].word.clusters)
        piece = encode(f"▁{word}")
        text = " ".join(map(str, (one.example.get(field) for field in one.example))).split()
        if piece is None or sum(word in part for part in text) != 1:
            continue  # it moves wherever it stands
        gains = dict(found[number])
        assert word not in gains and list(gains.values()) == sorted(gains.values(), reverse=True)
        for candidate in list(gains)[:2] + list(gains)[-2:]:
            losses = []
            for step in (1e-2, -1e-2):
                moved = whole.clone()
                moved[piece] += step * (whole[encode(f"▁{candidate}")] - whole[piece])
                model.encoder.embeddings.word_embeddings.weight = torch.nn.Parameter(moved)
                losses.append(true_loss(attacked, one.example))
            difference = (losses[0] - losses[1]) / 2e-2
            assert gains[candidate] == pytest.approx(difference, rel=0.05, abs=2e-3)
            checked += 1
        model.encoder.embeddings.word_embeddings.weight = table
    assert checked >= 4


def test_words_of_high_gain_raise_the_loss_more_than_those_of_low(study):
    from xstilts.robustness.flips import Flips

    attacked = victim(study, "pair")
    (one, *_) = drafts_of("pair")
    (found,) = Flips(attacked, WORDS["Latn"], True)([one], 99)
    clean, correlations = true_loss(attacked, one.example), []
    for number, scored in found.items():
        rises = [true_loss(attacked, apply(one.example, one.units, {number: word})) - clean for word, _ in scored]
        ranks = [np.argsort(np.argsort(values)) for values in (rises, [gain for _, gain in scored])]
        correlations.append(float(np.corrcoef(*ranks)[0, 1]))
    assert len(correlations) == 5 and np.mean(correlations) > 0.3


@pytest.mark.parametrize("kind", ["pair", "tagging", "span_qa"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_gains_do_not_depend_on_the_other_drafts(study, kind, precision):
    from xstilts.evaluation.predict import inference
    from xstilts.robustness.flips import Flips

    attacked = victim(study, kind, precision)
    flips, drafts = Flips(attacked, WORDS["Latn"] + WORDS["Cyrl"], True), drafts_of(kind)
    with inference(attacked.model, precision):  # as the job calls it
        attacked.predict([drafts[0].example])  # autocast has its copies of the weights
        together = flips(drafts, 5)
        assert [flips([one], 5)[0] for one in drafts] == together
        assert flips(drafts[::-1] * 9, 5)[: len(drafts)] == together[::-1]
    propose = gradient_candidates.proposer({"budget": {"candidates": 3}}, Resources(gradients=flips))
    for one, proposal in zip(drafts, propose(drafts), strict=True):
        assert proposal.texts and all(len(texts) <= 3 for texts in proposal.texts.values())
        for number, texts in proposal.texts.items():
            word = "".join(one.units[number].word.clusters)
            assert all(word_script(text) == asked_script(word) and text.lower() != word.lower() for text in texts)


def test_every_unit_of_the_input_has_its_own_pieces(study):
    """Words behind the victim's length have no gain; a token after many windows has that of its own piece."""
    from xstilts.robustness.flips import Flips

    cut = {"id": "1", "text_a": "a", "text_b": "cat " * 40, "label": "no"}
    (found,) = Flips(victim(study, "pair"), WORDS["Latn"], True)([draft(cut, "pair", ["text_b"], ENGLISH)], 2)
    assert set(found) == set(range(HYPER["max_length"] - 5))
    (found,) = Flips(victim(study, "tagging"), WORDS["Latn"], True)(drafts_of("tagging")[1:], 2)
    assert set(found) == set(range(50))
    two = drafts_of("span_qa")[1]
    (found,) = Flips(victim(study, "span_qa"), WORDS["Latn"], True)([two], 2)
    questions = [number for number, unit in enumerate(two.units) if unit.field == "question"]
    assert not set(questions[HYPER["max_query_length"] :]) & set(found), "cut off"
    assert [number for number in two.ranges if two.units[number].field == "context"] == sorted(found)[8:]


# ---- which are made, and what is missing
def test_resources_are_those_that_the_attack_declares(study, stand_ins):
    rows = [{"id": "1", "text_a": "x", "text_b": "The cat sat", "label": "no"}]
    made = stand_ins.resources({"transform": ["fills"], **SETTINGS}, rows, ["text_b"], ENGLISH, passages=["p"])
    assert made.fills and made.similarity and made.passages == ["p"]
    assert made.neighbours is None and made.gradients is None and made.vocabulary is None
    assert made.fills([("the ", " sat")], 2, ["Latn"]) == stand_ins.fills([("the ", " sat")], 2, ["Latn"])
    japanese = stand_ins.resources({"transform": ["fills"], **SETTINGS}, [], ["text"], JAPANESE)
    assert japanese.fills([("猫", "")], 99, ["Jpan"])[0] and not made.fills([("猫", "")], 99, ["Jpan"])[0]
    identity = {"transform": ["neighbours"], "options": {"least": -1.0}, **SETTINGS}
    made = stand_ins.resources(identity, rows, ["text_b"], ENGLISH)
    assert made.vocabulary == ["The", "cat", "sat"]
    assert sorted(text for text, _ in made.neighbours(["the"], 9)[0]) == ["cat", "sat"]
    aligning = {"transform": ["phrases"], "stand_ins": {"encoder": {"model": "small"}}, "constraints": {}}
    assert stand_ins.resources(aligning, rows, ["text_b"], ENGLISH, align="a") == Resources(align="a")
    least = {"constraints": {"similarity": {"least": 0.9}}}
    assert stand_ins.resources({**aligning, **least}, rows, ["text_b"], ENGLISH).similarity
    plain = StandIns({}, study / "nowhere", study / "nowhere").resources({"transform": ["swap"]}, [], [], ENGLISH)
    assert plain == Resources()
    gradient = {"transform": ["gradient"]}
    made = stand_ins.resources(gradient, rows, ["text_b"], ENGLISH, victim=victim(study, "pair"))
    assert set(made.gradients([draft(rows[0], "pair", ["text_b"], ENGLISH)], 1)[0]) == {0, 1, 2}
    by_hand = StandIns.by_hand(
        SETTINGS, (study / "models/small", study / "encoders/small/mlm/s1"), study / "models/small"
    )
    made = by_hand.resources({"transform": ["fills"], **SETTINGS}, rows, ["text_b"], ENGLISH)
    assert made.fills([("the ", " sat")], 2) == stand_ins.fills([("the ", " sat")], 2)


def test_stand_ins_that_are_loaded_inside_the_job_answer_as_outside(study, stand_ins):
    from xstilts.evaluation.predict import inference

    attacked = victim(study, "pair")
    with inference(attacked.model, "fp32"):
        inside = StandIns(SPEC, study / "models", study / "encoders")
        texts = contexts(4)
        assert inside.fills(texts, 3) == stand_ins.fills(texts, 3)
        pairs = [("the cat", "the dog"), ("a", "a mat")]
        assert inside.similar.similarity(pairs) == stand_ins.similar.similarity(pairs)


def test_what_is_missing_is_named(study, tmp_path):
    fills, near = {"transform": ["fills"], **SETTINGS}, {"transform": ["neighbours"], **SETTINGS}
    arguments = [], ["text"], ENGLISH
    with pytest.raises(
        UserError, match=r"nowhere/small/config\.json: no such file: stand_ins\.mlm.*Next: run the study"
    ):
        StandIns(SPEC, tmp_path / "nowhere", study / "encoders").resources(fills, *arguments)
    with pytest.raises(UserError, match=r"nowhere/small/mlm/s1/config\.json: no such file: stand_ins\.mlm"):
        StandIns(SPEC, study / "models", tmp_path / "nowhere").resources(fills, *arguments)
    other = {**SPEC, "mlm": {**SPEC["mlm"], "intermediate": "none"}}
    with pytest.raises(UserError, match=r"none/s1/config\.json: heads: none; stand_ins\.mlm needs.*kind mlm"):
        StandIns(other, study / "models", study / "encoders").resources(fills, *arguments)
    without = StandIns({}, study / "models", study / "encoders")
    with pytest.raises(UserError, match=r"stand_ins\.mlm: .*spec names none"):
        without.resources(fills, *arguments)
    with pytest.raises(UserError, match=r"stand_ins\.encoder: .*spec names none"):
        without.resources({"transform": ["neighbours"], "stand_ins": {"encoder": {"model": "x"}}}, *arguments)
    with pytest.raises(UserError, match=r"neighbours needs stand_ins\.encoder"):
        without.resources({"transform": ["neighbours"]}, *arguments)
    with pytest.raises(
        UserError, match="gradient needs a victim with a trained head; allowed kinds: pair, tagging, span"
    ):
        without.resources({"transform": ["gradient"]}, *arguments)
    with pytest.raises(UserError, match=r"stand_ins\.mlm: .*small.*base model"):
        StandIns.by_hand(near, encoder=study / "models/small")


def test_candidates_import_neither_torch_nor_transformers():
    code = (
        "import sys, xstilts.attacks.candidates.fills, xstilts.attacks.candidates.neighbours;"
        "import xstilts.attacks.candidates.gradient, xstilts.robustness.standins;"
        "print({'torch', 'transformers', 'tokenizers'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


def test_a_vocabulary_without_a_word_of_one_piece_proposes_nothing(study):
    from xstilts.robustness.flips import Flips

    (found,) = Flips(victim(study, "pair"), ["unbreakablewordwithoutpiece"], True)(drafts_of("pair")[:1], 2)
    assert not any(found.values())
