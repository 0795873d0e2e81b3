"""What attacks may and may not do to text, in nine scripts: checked on every text that the model was asked about."""

import json
import unicodedata

import pytest
import yaml
from conftest import ROOT

from xstilts.attacks import engine, outcomes
from xstilts.attacks.segmentation import graphemes, words
from xstilts.attacks.transforms import TRANSFORMS
from xstilts.errors import UserError

TEXTS = {
    "en": "The committee published three different reports about drinking water yesterday.",
    "de": "Der Ausschuss veröffentlichte gestern mehrere Berichte über die Wasserqualität im Süden.",
    "ru": "Вчера комитет опубликовал несколько подробных отчётов о качестве питьевой воды.",
    "zh": "昨天委员会发表了三份关于饮用水质量的详细报告，并在北京举行了记者会。",
    "ar": "نشرت اللجنة أمس ثلاثة تقارير مفصّلة عن جودة مياه الشرب في المدينة.",
    "hi": "समिति ने कल पेयजल की गुणवत्ता पर तीन विस्तृत रिपोर्टें प्रकाशित कीं।",
    "th": "เมื่อวานนี้คณะกรรมการได้เผยแพร่รายงานสามฉบับเกี่ยวกับคุณภาพน้ำดื่มในกรุงเทพมหานคร",
    "el": "Χθες η επιτροπή δημοσίευσε τρεις αναλυτικές εκθέσεις για το πόσιμο νερό.",
    "ko": "위원회는 어제 식수 품질에 관한 상세한 보고서를 세 편 발표했습니다.",
}
SCRIPTS = dict(en="Latn", de="Latn", ru="Cyrl", zh="Hani", ar="Arab", hi="Deva", th="Thai", el="Grek", ko="Hang")
LANGUAGES = {
    code: {
        "code": code,
        "script": SCRIPTS[code],
        "spaces": code not in ("zh", "th"),
        "alphabet": sorted({cluster.lower() for cluster in graphemes(text) if cluster.isalpha()}),
        "keyboard": {a: [b] for a, b in zip("abcdefghijklmnopqrstuvwxyz", "snvfrghjokliabmpqwertyzxuc", strict=True)},
    }
    for code, text in TEXTS.items()
}
FIELDS = {"pair": ["text_b"], "tagging": ["tokens"], "span_qa": ["question", "context"], "retrieval": ["text"]}
GOALS = {
    "pair": {"right": 1.0, "below": 1.0},
    "tagging": {"right": 0.5, "drop": 0.1},
    "entity": {"right": 0.0, "lost": 1},
    "span_qa": {"right": 0.5, "below": 0.5},
    "retrieval": {"right": 1.0, "below": 1.0},
}
SHORT = {"min_length": 2, "keep_first": False, "keep_last": False}


def identity(transform, search, constraints=None, budget=None, **more):
    """An attack's identity, schema v2, with the constraints of `charswap`."""
    return {
        "version": 2,
        "transform": transform,
        "options": {},
        "search": search,
        "constraints": {
            "min_length": 4,
            "keep_first": True,
            "keep_last": True,
            "letters_only": True,
            "by_script": {code: SHORT for code in ("Deva", "Hang", "Hani", "Thai")},
            "stop_words": False,
            "max_share": 0.4,
            "max_units": 2000,
            "max_distance": None,
            "similarity": None,
        }
        | (constraints or {}),
        "goals": GOALS,
        "budget": {"queries": 24, "ranked_units": 8, "changes": 3, "candidates": 4} | (budget or {}),
        "stand_ins": {},
        "set": None,
        "kinds": list(FIELDS),
        "scripts": "all",
        "fields": FIELDS,
    } | more


LOCAL = {
    "swaps": identity(["swap"], {"name": "greedy_trial"}),
    "edits": identity(["insert", "delete", "substitute"], {"name": "greedy_trial"}, SHORT),
}


def _catalog():
    """Attacks of the catalog that are pure transforms."""
    found = {}
    for path in sorted((ROOT / "catalog" / "attacks").glob("*.yaml")):
        one = yaml.safe_load(path.read_text(encoding="utf-8"))["identity"]
        names = one.get("transform")
        if (
            isinstance(names, list)
            and set(names) <= set(TRANSFORMS)
            and not (one.get("constraints") or {}).get("similarity")
        ):
            found[path.stem] = one
    return found


ATTACKS = LOCAL | _catalog()
KINDS = ("pair", "tagging", "span_qa", "retrieval")


class Victim:
    """Loses score with every cluster that differs from the original; notes every text it is asked about."""

    def __init__(self, examples, yields_at=None):
        self.originals = {example["id"]: _joined(example) for example in examples}
        self.yields_at, self.asked, self.calls, self.pairs = yields_at, [], 0, []

    def __call__(self, examples):
        self.calls += 1
        self.asked += examples
        return [self.result(example) for example in examples]

    def result(self, example):
        original, text = self.originals[example["id"]], _joined(example)
        moved = sum(a != b for a, b in zip(original, text, strict=False)) + abs(len(original) - len(text))
        loss = moved + sum(map(ord, text)) % 97 / 1000  # no ties, and not only the length counts
        right = float(self.yields_at is None or moved < self.yields_at)
        return {"score": right, "loss": loss if moved else 0.0, "counts": [3 * int(right), 3, 3]}

    def same_inputs(self, pairs):
        self.pairs += pairs
        return [
            unicodedata.normalize("NFKC", before) == unicodedata.normalize("NFKC", after) for before, after in pairs
        ]


def _joined(example):
    return json.dumps([example[key] for key in sorted(example) if key not in ("id", "answers")], ensure_ascii=False)


def example(kind, text, id="1"):
    if kind == "pair":
        return {"id": id, "text_a": "A premise. " + text, "text_b": text, "label": "neutral"}
    if kind == "tagging":
        tokens = text.split() if " " in text else [word.clusters[0] * 2 + text[:3] for word in words(text)]
        return {"id": id, "tokens": tokens, "tags": ["NOUN"] * len(tokens)}
    if kind == "span_qa":
        answer = text[5:12]
        context = f"{text} {text}\n{text}\n{text} 1999"
        start = len(text) * 2 + 2 + 5
        assert context[start : start + 7] == answer
        return {"id": id, "context": context, "question": text, "answers": [{"text": answer, "start": start}]}
    return {"id": id, "side": "source", "text": text, "match": "9"}


def attack(name, kind, language, examples, victim, seed=0, **options):
    one = ATTACKS[name] if isinstance(name, str) else name
    return list(engine.attack(examples, victim, one, kind, LANGUAGES[language], seed, **options))


@pytest.fixture(params=sorted(ATTACKS))
def name(request):
    """Every attack of this file and every one of the catalog that is made of transforms."""
    return request.param


@pytest.fixture(params=sorted(LOCAL))
def local(request):
    """The attacks of this file, whose numbers are known."""
    return request.param


@pytest.mark.parametrize("language", sorted(TEXTS))
@pytest.mark.parametrize("kind", KINDS)
def test_only_the_attacked_fields_change_and_stay_text(name, kind, language):
    scripts = ATTACKS[name]["scripts"]
    if kind not in ATTACKS[name]["kinds"] or (scripts != "all" and SCRIPTS[language] not in scripts):
        pytest.skip("not valid for this")
    rows = [example(kind, TEXTS[language], str(i)) for i in range(2)]
    victim = Victim(rows)
    found = attack(name, kind, language, rows, victim)
    fields = ATTACKS[name]["fields"][kind]
    assert len(victim.asked) > 2 or name not in LOCAL, "nothing was tried"
    for asked in victim.asked:
        before = rows[int(asked["id"])]
        assert {k: v for k, v in asked.items() if k not in (*fields, "answers")} == {
            k: v for k, v in before.items() if k not in (*fields, "answers")
        }
        json.dumps(asked, ensure_ascii=False).encode("utf-8")
        if kind == "tagging":
            assert len(asked["tokens"]) == len(before["tokens"]) and all(asked["tokens"])
            assert not any(character.isspace() for token in asked["tokens"] for character in token)
        for old, new in zip(before.get("answers", []), asked.get("answers", []), strict=True):
            assert new["text"] == old["text"]
            assert asked["context"][new["start"] : new["start"] + len(new["text"])] == old["text"]
    for row, one in zip(rows, sorted((one.row() for one in found), key=lambda one: one["id"]), strict=True):
        queries = ATTACKS[name]["budget"].get("queries")
        assert row["id"] == one["id"] and (queries is None or one["queries"] <= queries)
        if one["outcome"] == "skipped" or one["why"] in (outcomes.VANISHED, outcomes.REFUSED):
            assert name not in LOCAL and one["perturbed"] == 0 and one["adversarial"] == one["original"]
        else:
            assert one["outcome"] == "failed" and 0 < one["perturbed"] <= 1 and 0 <= one["similarity"] < 1
            assert set(one["adversarial"]) == set(fields) and one["adversarial"] != one["original"]
        for answer in one.get("answers", ()):
            context = one["adversarial"].get("context", row.get("context"))
            assert context[answer["start"] : answer["start"] + len(answer["text"])] == answer["text"]
        assert ("answers" in one) == (kind == "span_qa")


@pytest.mark.parametrize("language", sorted(TEXTS))
@pytest.mark.parametrize("kind", KINDS)
def test_clusters_stay_whole(local, kind, language):
    rows = [example(kind, TEXTS[language], str(i)) for i in range(2)]
    victim = Victim(rows)
    attack(local, kind, language, rows, victim)
    for asked in victim.asked:
        _check_clusters(local, LANGUAGES[language], rows[int(asked["id"])], asked, FIELDS[kind])


def _check_clusters(name, language, before, asked, fields):
    """Every cluster survives whole: moved (swaps), or gone, or beside a new letter of the alphabet (edits)."""
    for field in fields:
        old, new = before[field], asked[field]
        old, new = (old, new) if isinstance(old, list) else ([old], [new])
        for one, other in zip(old, new, strict=True):
            clusters = graphemes(one)
            if name == "swaps":
                assert sorted(graphemes(other)) == sorted(clusters)
                continue
            letters = {form for letter in language["alphabet"] for form in (letter, letter.upper())}
            assert set(graphemes(other)) <= letters.union(clusters)


def test_the_victim_compares_the_changed_stretch_alone(local):
    rows = [example("span_qa", TEXTS[code], code) for code in ("en", "zh")]
    for row in rows:
        victim = Victim([row])
        attack(local, "span_qa", row["id"], [row], victim)
        texts = (row["question"], row["context"])
        assert victim.pairs
        for before, after in victim.pairs:
            assert any(before in text for text in texts) and before != after
            assert not any(character.isspace() for character in before)
            assert before in row["context"].split() or row["id"] == "zh"


def test_outcome_depends_on_id_and_seed_alone(name):
    if "pair" not in ATTACKS[name]["kinds"]:
        pytest.skip("not for pairs")
    rows = [example("pair", text, code) for code, text in TEXTS.items()]

    def by_id(parts, seed=0, **options):
        found = {}
        for part in parts:
            found |= {one.id: one.row() for one in attack(name, "pair", "en", part, Victim(rows, 3), seed, **options)}
        return found

    whole = by_id([rows])
    assert whole == by_id([rows[::-1]]) == by_id([rows[:4], rows[4:]]) == by_id([[row] for row in rows])
    assert whole == by_id([rows], in_flight=1) == by_id([rows], in_flight=3)
    assert set(whole) == {row["id"] for row in rows}
    other = by_id([rows], seed=1)
    assert name not in LOCAL or any(whole[key]["adversarial"] != other[key]["adversarial"] for key in whole)


def test_all_examples_share_each_round(local):
    rows = [example("retrieval", text, code) for code, text in TEXTS.items()]
    victim = Victim(rows)
    attack(local, "retrieval", "en", rows, victim)
    assert len(victim.asked) > 80 and victim.calls <= 7


def test_success_stops_at_once_and_failure_keeps_the_worst_text(local):
    rows = [example("pair", TEXTS["en"])]
    easy, hard = (attack(local, "pair", "en", rows, Victim(rows, at))[0] for at in (1, None))
    assert (easy.outcome, easy.attacked, easy.clean) == ("succeeded", 0.0, 1.0)
    assert easy.queries == 8 and easy.perturbed == pytest.approx(0.1, abs=0.02)
    assert (hard.outcome, hard.why, hard.attacked) == ("failed", outcomes.HELD, 1.0)
    assert hard.adversarial != hard.original and hard.queries > easy.queries
    assert hard.perturbed * len(words(TEXTS["en"])) == pytest.approx(3, abs=0.01)


def test_a_budget_of_few_queries_is_kept(name):
    if "span_qa" not in ATTACKS[name]["kinds"]:
        pytest.skip("not for question answering")
    rows = [example("span_qa", text, code) for code, text in TEXTS.items()]
    for queries in (1, 5, 9):
        few = ATTACKS[name] | {"budget": ATTACKS[name]["budget"] | {"queries": queries, "by_kind": {}}}
        found = attack(few, "span_qa", "en", rows, Victim(rows))
        assert max(one.queries for one in found) <= queries
        assert name not in LOCAL or max(one.queries for one in found) == queries


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"text_b": ""}, outcomes.EMPTY),
        ({"text_b": " \n\t"}, outcomes.EMPTY),
        ({"text_b": None}, outcomes.EMPTY),
        ({"text_b": "half a pair \ud83d here"}, outcomes.NOT_UNICODE),
        ({"text_a": "half a pair \ud83d here"}, outcomes.NOT_UNICODE),
        ({"text_b": "\x00\x07\x1b\x7f"}, outcomes.NO_UNIT),
        ({"text_b": "12 3456 !!! 78.90"}, outcomes.NO_UNIT),
        ({"text_b": "word " * 10_000}, outcomes.TOO_LONG),
        ({"text_b": "字 " * 10_000}, outcomes.TOO_LONG),
    ],
)
def test_what_cannot_be_attacked_is_skipped_with_a_reason(local, row, why):
    rows = [{**example("pair", TEXTS["en"]), **row}]
    (found,) = attack(local, "pair", "en", rows, Victim(rows))
    assert (found.outcome, found.why, found.queries) == ("skipped", why, 0)
    assert found.clean == found.attacked and found.similarity == 1
    json.dumps(found.row(), ensure_ascii=False).encode("utf-8")


def test_ugly_text_is_attacked_where_it_can_be(local):
    text = (
        "\x00some\u200bthing \u202equite \U0001f469\u200d\U0001f52c e\u0301\u0301\u0301trange\x07 in\ufeffside 123abc"
    )
    rows = [example("pair", text), {**example("tagging", text), "id": "2"}]
    for row, kind in zip(rows, ("pair", "tagging"), strict=True):
        victim = Victim([row])
        (found,) = attack(local, kind, "en", [row], victim)
        assert found.outcome == "failed"
        for asked in victim.asked:
            _check_clusters(local, LANGUAGES["en"], row, asked, FIELDS[kind])


def test_a_token_stays_one_token(local):
    """A candidate that empties a token or parts it is refused; white space of the data's own is not."""
    rows = [{"id": "1", "tokens": ["plain", "two words"], "tags": ["NOUN", "X"]}]
    victim = Victim(rows)
    attack(identity(["delete", "insert", "space", "swap"], {"name": "greedy"}, SHORT), "tagging", "en", rows, victim)
    seen = {token for asked in victim.asked for token in asked["tokens"]}
    assert len(seen) > 6 and all(token and token.count(" ") <= 1 for token in seen)
    assert not any(" " in asked["tokens"][0] for asked in victim.asked)


def test_wrong_before_wrong_offset_wrong_script_and_kind(local):
    rows = [example("pair", TEXTS["en"])]
    (found,) = attack(local, "pair", "en", rows, Victim(rows, yields_at=0))
    assert (found.outcome, found.why, found.clean) == ("skipped", outcomes.WRONG_BEFORE, 0.0)
    for change in ({"start": 300}, {"start": -70}, {"text": "no such text"}):
        (row,) = [example("span_qa", TEXTS["en"])]
        row["answers"][0] |= change
        (found,) = attack(local, "span_qa", "en", [row], Victim([row]))
        assert (found.outcome, found.why) == ("skipped", outcomes.NO_ANSWER_SPAN)
    latin = ATTACKS[local] | {"scripts": ["Latn"]}
    (found,) = attack(latin, "pair", "th", rows, Victim(rows))
    assert found.why == outcomes.SCRIPT
    (found,) = attack(ATTACKS[local] | {"kinds": ["tagging"]}, "pair", "en", rows, Victim(rows))
    assert found.why == outcomes.KIND


def test_an_example_without_a_gold_answer_is_not_put_to_the_victim(local):
    row = example("span_qa", TEXTS["en"]) | {"answers": []}
    victim = Victim([row])
    (found,) = attack(local, "span_qa", "en", [row], victim)
    assert (found.why, found.clean, victim.calls) == (outcomes.NO_ANSWER_SPAN, 0.0, 0)


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({}, "choice", r"x\.yaml.*choice.*pair, tagging"),
        ({"transform": ["nonsense"]}, "pair", r"transform.*nonsense.*swap"),
        ({"transform": ["swap", "fills"]}, "pair", r"transform.*one alone of fills"),
        ({"search": {"name": "luck"}}, "pair", r"search\.name.*luck.*evolution"),
        ({"search": {"name": "ranked", "by": "luck"}}, "pair", r"search\.by.*luck.*delete"),
        ({"search": {"name": "beam"}}, "pair", r"search\.width"),
        ({"goals": {"pair": GOALS["pair"]}}, "tagging", r"goals: none for tagging.*pair"),
        ({"scripts": ["Latin"]}, "pair", r"scripts.*'Latin'.*Latn"),
        ({"scripts": ["Thai"]}, "pair", r"not for English \(Latn\).*Thai"),
    ],
)
def test_a_wrong_attack_is_a_clear_message(change, kind, message):
    with pytest.raises(UserError, match=message):
        engine.check(LOCAL["swaps"] | change, kind, "x.yaml", language={"name": "English", "script": "Latn"})


def test_every_attack_of_the_catalog_is_valid_for_its_kinds():
    for path in sorted((ROOT / "catalog" / "attacks").glob("*.yaml")):
        one = yaml.safe_load(path.read_text(encoding="utf-8"))["identity"]
        if one.get("set") or isinstance(one["transform"], list):
            for kind in one["kinds"]:
                engine.check(one, kind, path.name)


def test_changes_that_the_model_cannot_see_are_not_queried_but_counted(local):
    rows = [example("pair", TEXTS["en"])]
    victim = Victim(rows)
    victim.same_inputs = lambda pairs: [True] * len(pairs)
    (found,) = attack(local, "pair", "en", rows, victim)
    assert (found.outcome, found.why, found.queries) == ("failed", outcomes.VANISHED, 0)
    assert found.vanished > 0 and len(victim.asked) == 1


def test_others_take_the_place_of_changes_that_the_model_cannot_see(local):
    rows = [example("pair", TEXTS["en"])]
    whole, half = Victim(rows), Victim(rows)
    half.same_inputs = lambda pairs: [ord(after[1]) % 2 == 0 for _, after in pairs]
    (one,), (other,) = (attack(local, "pair", "en", rows, victim) for victim in (whole, half))
    assert other.vanished > 0 and other.queries > one.queries / 2 and one.vanished == 0


def test_other_units_take_the_place_of_those_that_the_model_never_sees_change(local):
    """Of ten words six vanish whatever is done to them: the four others are tried, as the budget has it."""
    rows = [example("retrieval", TEXTS["en"], str(n)) for n in range(6)]
    victim = Victim(rows)
    seen = ("committee", "different", "reports", "drinking")
    victim.same_inputs = lambda pairs: [before not in seen for before, _ in pairs]
    one = ATTACKS[local] | {"budget": ATTACKS[local]["budget"] | {"ranked_units": 4, "candidates": 1, "changes": 1}}
    found = attack(one, "retrieval", "en", rows, victim)
    assert {one.queries for one in found} == {4} and sum(one.vanished for one in found) > 10


def test_tagging_succeeds_when_f1_falls_by_the_stated_amount(local):
    class Tagger(Victim):
        def result(self, row):
            lost = sum(a != b for a, b in zip(rows[0]["tokens"], row["tokens"], strict=True))
            return {"score": 0.8 - 0.06 * lost, "loss": lost, "counts": [8 - lost, 10, 10]}

    rows = [example("tagging", TEXTS["en"])]
    (found,) = attack(local, "tagging", "en", rows, Tagger(rows))
    assert found.outcome == "succeeded" and found.clean_counts == [8, 10, 10] and found.attacked_counts == [6, 10, 10]
    assert found.attacked == pytest.approx(0.68) and found.perturbed == pytest.approx(0.2)


def test_entities_are_attacked_where_one_is_found_and_lost_one_by_one(local):
    class Tagger(Victim):
        def result(self, row):
            lost = sum(a != b for a, b in zip(rows[0]["tokens"], row["tokens"], strict=True))
            return {"score": 0.1, "loss": lost, "counts": [max(0, self.right - lost), 4, 4]}

    rows = [example("tagging", TEXTS["en"])]
    for right, lost, ending in ((2, 1, 1), (2, 5, 0), (0, 1, None), (3, 2, 1)):
        victim = Tagger(rows)
        victim.right = right
        one = ATTACKS[local] | {"goals": {"entity": {"right": 0.0, "lost": lost}, "tagging": GOALS["tagging"]}}
        (found,) = attack(one, "tagging", "en", rows, victim, options={"scheme": "iob2"})
        if ending is None:
            assert (found.outcome, found.why) == ("skipped", outcomes.WRONG_BEFORE)
        else:
            assert found.outcome == "succeeded" and found.attacked_counts[0] == ending
        (found,) = attack(one, "tagging", "en", rows, victim, options={"scheme": "flat"})
        assert found.why == outcomes.WRONG_BEFORE  # F1 is below 0.5


def test_answer_sentence_is_never_touched(local):
    context = "The first sentence is here. The treaty of Utrecht was signed. The third sentence follows."
    start = context.index("Utrecht")
    row = {"id": "1", "question": "Which treaty was signed?", "context": context}
    row["answers"] = [{"text": "Utrecht", "start": start}]
    for index in range(20):
        one = {**row, "id": str(index)}
        victim = Victim([one])
        attack(local, "span_qa", "en", [one], victim)
        assert all("The treaty of Utrecht was signed." in asked["context"] for asked in victim.asked)
        assert any(asked["context"] != context for asked in victim.asked)
        assert any(asked["question"] != row["question"] for asked in victim.asked)


def test_swaps_keep_first_and_last_letter_in_alphabets():
    rows = [example("pair", TEXTS[code], code) for code in ("en", "de", "ru", "ar", "el")]
    victim = Victim(rows)
    attack("swaps", "pair", "en", rows, victim)
    for asked in victim.asked:
        before = next(row for row in rows if row["id"] == asked["id"])
        for old, new in zip(words(before["text_b"]), words(asked["text_b"]), strict=True):
            assert (old.clusters[0], old.clusters[-1]) == (new.clusters[0], new.clusters[-1])
            assert old.clusters == new.clusters or len(old.clusters) >= 4


@pytest.mark.real
def test_real_sentences_of_every_tatoeba_language(local, real_root):
    folders = sorted((real_root / "tatoeba").iterdir())
    assert len(folders) >= 30
    vain = {}
    for folder in folders:
        lines = (folder / "test.jsonl").read_text(encoding="utf-8").splitlines()[:20]
        texts = [json.loads(line)["source_sentence"] for line in lines]
        letters = {cluster.lower() for text in texts for cluster in graphemes(text) if cluster[0].isalpha()}
        language = LANGUAGES["en"] | {"alphabet": sorted(letters)}
        for kind in ("retrieval", "tagging"):
            rows = [example(kind, text, str(i)) for i, text in enumerate(texts)]
            victim = Victim(rows)
            found = list(engine.attack(rows, victim, ATTACKS[local], kind, language, 0))
            for asked in victim.asked:
                _check_clusters(local, language, rows[int(asked["id"])], asked, FIELDS[kind])
        vain[folder.name] = sum(one.outcome == "skipped" for one in found)
    assert max(vain.values()) <= 10, vain
