"""What attacks may and may not do to text, in eight scripts: checked on every text that the model was asked about."""

import json
import unicodedata

import pytest
import yaml
from conftest import ROOT

from xstilts.attacks import engine, outcomes
from xstilts.attacks.segmentation import graphemes, words
from xstilts.attacks.transforms import HOMOGLYPHS, INVISIBLE
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
ATTACKS = {
    path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))["identity"]
    for path in sorted((ROOT / "catalog" / "attacks").glob("*.yaml"))
    if path.stem in ("charswap", "lookalike")
}
KINDS = ("pair", "tagging", "span_qa", "retrieval")


class Victim:
    """Loses score with every cluster that differs from the original; notes every text it is asked about."""

    def __init__(self, examples, yields_at=None):
        self.originals = {example["id"]: _joined(example) for example in examples}
        self.yields_at, self.asked, self.calls = yields_at, [], 0

    def __call__(self, examples):
        self.calls += 1
        self.asked += examples
        return [self.result(example) for example in examples]

    def result(self, example):
        original, text = self.originals[example["id"]], _joined(example)
        moved = sum(a != b for a, b in zip(original, text, strict=False)) + abs(len(original) - len(text))
        loss = moved + sum(map(ord, text)) % 97 / 1000  # no ties, and not only the length counts
        right = self.yields_at is None or moved < self.yields_at
        return {"score": float(right), "loss": loss if moved else 0.0}

    def same_input(self, before, after):
        return unicodedata.normalize("NFKC", before) == unicodedata.normalize("NFKC", after)


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


def attack(name, kind, language, examples, victim, seed=0):
    info = {"script": SCRIPTS[language], "spaces": language not in ("zh", "th")}
    return engine.attack(examples, victim, ATTACKS[name], kind, info, seed)


@pytest.fixture(params=sorted(ATTACKS))
def name(request):
    return request.param


@pytest.mark.parametrize("language", sorted(TEXTS))
@pytest.mark.parametrize("kind", KINDS)
def test_only_the_attacked_fields_change_and_stay_text(name, kind, language):
    rows = [example(kind, TEXTS[language], str(i)) for i in range(3)]
    victim = Victim(rows)
    found = attack(name, kind, language, rows, victim)
    fields = ATTACKS[name]["fields"][kind]
    assert len(victim.asked) > 3, "nothing was tried"
    for asked in victim.asked:
        before = rows[int(asked["id"])]
        assert {k: v for k, v in asked.items() if k not in (*fields, "answers")} == {
            k: v for k, v in before.items() if k not in (*fields, "answers")
        }
        json.dumps(asked, ensure_ascii=False).encode("utf-8")
        if kind == "tagging":
            assert len(asked["tokens"]) == len(before["tokens"]) and all(asked["tokens"])
            assert not any(character.isspace() for token in asked["tokens"] for character in token)
        else:
            assert all(len(asked[field].split()) == len(before[field].split()) for field in fields)
        _check_clusters(name, before, asked, fields)
        for old, new in zip(before.get("answers", []), asked.get("answers", []), strict=True):
            assert new["text"] == old["text"]
            assert asked["context"][new["start"] : new["start"] + len(new["text"])] == old["text"]
    for row in (one.row() for one in found):
        assert row["outcome"] == "failed" and row["queries"] <= ATTACKS[name]["budget"]["queries"]
        assert 0 < row["perturbed"] <= 1 and 0 <= row["similarity"] < 1
        assert set(row["adversarial"]) == set(fields)


def _check_clusters(name, before, asked, fields):
    """Every grapheme cluster survives whole: moved (charswap), replaced by a look-alike or parted by invisibles."""
    for field in fields:
        old, new = before[field], asked[field]
        old, new = (old, new) if isinstance(old, list) else ([old], [new])
        for one, other in zip(old, new, strict=True):
            clusters = graphemes(one)
            if name == "charswap":
                assert sorted(graphemes(other)) == sorted(clusters)
            else:
                old_seen, seen = ([c for c in part if c not in INVISIBLE] for part in (clusters, graphemes(other)))
                assert all(a == b or b in HOMOGLYPHS.get(a, ()) for a, b in zip(old_seen, seen, strict=True))


def test_outcome_depends_on_id_and_seed_alone(name):
    rows = [example("pair", text, code) for code, text in TEXTS.items()]

    def by_id(parts, seed=0):
        found = {}
        for part in parts:
            found |= {one.id: one.row() for one in attack(name, "pair", "en", part, Victim(rows, 3), seed)}
        return found

    whole = by_id([rows])
    assert whole == by_id([rows[::-1]]) == by_id([rows[:4], rows[4:]]) == by_id([[row] for row in rows])
    assert list(whole) == [row["id"] for row in rows]
    other = by_id([rows], seed=1)
    assert any(whole[key]["adversarial"] != other[key]["adversarial"] for key in whole)


def test_all_examples_share_each_round(name):
    rows = [example("retrieval", text, code) for code, text in TEXTS.items()]
    victim = Victim(rows)
    attack(name, "retrieval", "en", rows, victim)
    assert len(victim.asked) > 80 and victim.calls <= 10


def test_success_stops_at_once_and_failure_keeps_the_worst_text(name):
    rows = [example("pair", TEXTS["en"])]
    easy, hard = (attack(name, "pair", "en", rows, Victim(rows, at))[0] for at in (1, None))
    assert (easy.outcome, easy.attacked, easy.clean) == ("succeeded", 0.0, 1.0)
    assert easy.queries == ATTACKS[name]["budget"]["ranked_units"] and easy.perturbed == pytest.approx(0.1, abs=0.02)
    assert (hard.outcome, hard.why, hard.attacked) == ("failed", outcomes.HELD, 1.0)
    assert hard.adversarial != hard.original and hard.queries > easy.queries
    budget = ATTACKS[name]["budget"]
    assert hard.perturbed * len(words(TEXTS["en"])) == pytest.approx(budget["changes"], abs=0.01)


def test_a_budget_of_few_queries_is_kept(name):
    rows = [example("span_qa", text, code) for code, text in TEXTS.items()]
    for queries in (1, 5, 9):
        identity = ATTACKS[name] | {"budget": ATTACKS[name]["budget"] | {"queries": queries}}
        found = engine.attack(rows, Victim(rows), identity, "span_qa", {"script": "Latn"}, 0)
        assert max(one.queries for one in found) == queries


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"text_b": ""}, outcomes.EMPTY),
        ({"text_b": " \n\t"}, outcomes.EMPTY),
        ({"text_b": "half a pair \ud83d here"}, outcomes.NOT_UNICODE),
        ({"text_a": "half a pair \ud83d here"}, outcomes.NOT_UNICODE),
        ({"text_b": "\x00\x07\x1b\x7f"}, outcomes.NO_UNIT),
        ({"text_b": "12 3456 !!! 78.90"}, outcomes.NO_UNIT),
        ({"text_b": "word " * 10_000}, outcomes.TOO_LONG),
        ({"text_b": "字" * 10_000}, outcomes.TOO_LONG),
    ],
)
def test_what_cannot_be_attacked_is_skipped_with_a_reason(name, row, why):
    rows = [{**example("pair", TEXTS["en"]), **row}]
    (found,) = attack(name, "pair", "en", rows, Victim(rows))
    assert (found.outcome, found.why, found.queries) == ("skipped", why, 0)
    assert found.clean == found.attacked and found.similarity == 1
    json.dumps(found.row(), ensure_ascii=False).encode("utf-8")


def test_ugly_text_is_attacked_where_it_can_be(name):
    text = (
        "\x00some\u200bthing \u202equite \U0001f469\u200d\U0001f52c e\u0301\u0301\u0301trange\x07 in\ufeffside 123abc"
    )
    rows = [example("pair", text), {**example("tagging", text), "id": "2"}]
    for row, kind in zip(rows, ("pair", "tagging"), strict=True):
        victim = Victim([row])
        (found,) = attack(name, kind, "en", [row], victim)
        assert found.outcome == "failed"
        for asked in victim.asked:
            _check_clusters(name, row, asked, ATTACKS[name]["fields"][kind])


def test_wrong_before_wrong_offset_wrong_script_and_kind(name):
    rows = [example("pair", TEXTS["en"])]
    (found,) = attack(name, "pair", "en", rows, Victim(rows, yields_at=0))
    assert (found.outcome, found.why, found.clean) == ("skipped", outcomes.WRONG_BEFORE, 0.0)
    (row,) = [example("span_qa", TEXTS["en"])]
    row["answers"][0]["start"] += 1
    (found,) = attack(name, "span_qa", "en", [row], Victim([row]))
    assert found.why == outcomes.NO_ANSWER_SPAN
    latin = ATTACKS[name] | {"scripts": ["Latn"]}
    (found,) = engine.attack(rows, Victim(rows), latin, "pair", {"script": "Thai"}, 0)
    assert found.why == outcomes.SCRIPT
    (found,) = engine.attack(rows, Victim(rows), ATTACKS[name] | {"kinds": ["tagging"]}, "pair", {"script": "Latn"}, 0)
    assert found.why == outcomes.KIND
    with pytest.raises(UserError, match=r"choice.*pair, tagging"):
        engine.check(ATTACKS[name], "choice")
    with pytest.raises(UserError, match=r"nonsense.*charswap"):
        engine.check(ATTACKS[name] | {"transform": "nonsense"}, "pair")


def test_changes_that_the_model_cannot_see_are_not_queried_but_counted(name):
    rows = [example("pair", TEXTS["en"])]
    victim = Victim(rows)
    victim.same_input = lambda before, after: True
    (found,) = attack(name, "pair", "en", rows, victim)
    assert (found.outcome, found.why, found.queries) == ("failed", outcomes.VANISHED, 0)
    assert found.vanished > 0 and len(victim.asked) == 1


def test_tagging_succeeds_when_f1_falls_by_the_stated_amount(name):
    class Tagger(Victim):
        def result(self, row):
            lost = sum(a != b for a, b in zip(rows[0]["tokens"], row["tokens"], strict=True))
            return {"score": 0.8 - 0.06 * lost, "loss": lost, "counts": [8 - lost, 10, 10]}

    rows = [example("tagging", TEXTS["en"])]
    (found,) = attack(name, "tagging", "en", rows, Tagger(rows))
    assert found.outcome == "succeeded" and found.clean_counts == [8, 10, 10] and found.attacked_counts == [6, 10, 10]
    assert found.attacked == pytest.approx(0.68) and found.perturbed == pytest.approx(0.2)


def test_answer_sentence_is_never_touched(name):
    context = "The first sentence is here. The treaty of Utrecht was signed. The third sentence follows."
    start = context.index("Utrecht")
    row = {"id": "1", "question": "Which treaty was signed?", "context": context}
    row["answers"] = [{"text": "Utrecht", "start": start}]
    for index in range(20):
        one = {**row, "id": str(index)}
        victim = Victim([one])
        attack(name, "span_qa", "en", [one], victim)
        assert all("The treaty of Utrecht was signed." in asked["context"] for asked in victim.asked)
        assert any(asked["context"] != context for asked in victim.asked)
        assert any(asked["question"] != row["question"] for asked in victim.asked)


def test_swaps_keep_first_and_last_letter_in_alphabets():
    rows = [example("pair", TEXTS[code], code) for code in ("en", "de", "ru", "ar", "el")]
    victim = Victim(rows)
    attack("charswap", "pair", "en", rows, victim)
    for asked in victim.asked:
        before = next(row for row in rows if row["id"] == asked["id"])
        for old, new in zip(words(before["text_b"]), words(asked["text_b"]), strict=True):
            assert (old.clusters[0], old.clusters[-1]) == (new.clusters[0], new.clusters[-1])
            assert old.clusters == new.clusters or len(old.clusters) >= 4


@pytest.mark.real
def test_real_sentences_of_every_tatoeba_language(name, real_root):
    folders = sorted((real_root / "tatoeba").iterdir())
    assert len(folders) >= 30
    vain = {}
    for folder in folders:
        lines = (folder / "test.jsonl").read_text(encoding="utf-8").splitlines()[:40]
        texts = [json.loads(line)["source_sentence"] for line in lines]
        for kind in ("retrieval", "tagging"):
            rows = [example(kind, text, str(i)) for i, text in enumerate(texts)]
            victim = Victim(rows)
            found = attack(name, kind, "en", rows, victim)
            for asked in victim.asked:
                _check_clusters(name, rows[int(asked["id"])], asked, ATTACKS[name]["fields"][kind])
        vain[folder.name] = sum(one.outcome == "skipped" for one in found)
    assert max(vain.values()) <= 20, vain
