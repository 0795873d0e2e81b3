"""The engine: rounds, constraints on whole texts, limits, proposers of their own, shards, a killed and resumed job."""

import os
import subprocess
import sys
import time
from itertools import combinations, permutations
from pathlib import Path

import pytest
from conftest import ROOT
from test_attacks import GOALS, LANGUAGES, LOCAL, TEXTS, Victim, attack, example, identity

from xstilts import files
from xstilts.attacks import candidates, engine, outcomes, stopwords
from xstilts.attacks.candidates import lacking
from xstilts.attacks.journal import Journal, in_order, shard
from xstilts.attacks.outcomes import levenshtein
from xstilts.attacks.proposals import Proposal, Resources
from xstilts.attacks.segmentation import Word, graphemes
from xstilts.attacks.units import Unit, apply
from xstilts.errors import UserError

SWAPS = LOCAL["swaps"]
WORDS = ["harvest", "quality", "station", "village", "kitchen", "journey", "evening", "picture", "teacher", "weather"]


def rows(number, kind="pair"):
    """Examples with 8 words each, no two alike."""
    return [example(kind, " ".join(WORDS[(n * k + k) % 10] for k in range(1, 9)), f"test-{n}") for n in range(number)]


# --- rounds


def test_at_most_so_many_examples_are_in_flight_and_one_that_is_over_makes_room():
    data = rows(12)
    victim, sizes = Victim(data), []

    class Counting(Victim):
        def __call__(self, examples):
            sizes.append(len({one["id"] for one in examples}))
            return super().__call__(examples)

    whole = {one.id: one.row() for one in attack(SWAPS, "pair", "en", data, victim, in_flight=12)}
    few = attack(SWAPS, "pair", "en", data, Counting(data), in_flight=3)
    assert max(sizes) == 3 and {one.id: one.row() for one in few} == whole
    assert victim.calls < len(sizes) < 12 * victim.calls


def test_outcomes_come_as_they_are_ready_and_examples_are_read_as_they_are_needed():
    read = []

    def source():
        for row in data:
            read.append(row["id"])
            yield row

    data = rows(20)
    data[1] = data[1] | {"text_b": ""}
    found = engine.attack(source(), Victim(data), SWAPS, "pair", LANGUAGES["en"], 0, in_flight=4)
    first = next(found)
    assert first.id == "test-1" and first.why == outcomes.EMPTY and len(read) <= 4
    assert len({first.id, *(one.id for one in found)}) == 20


def test_what_is_done_is_left_out():
    data = rows(6)
    victim = Victim(data)
    found = attack(SWAPS, "pair", "en", data, victim, done={"test-0", "test-4"})
    assert {one.id for one in found} == {"test-1", "test-2", "test-3", "test-5"} == {one["id"] for one in victim.asked}
    assert attack(SWAPS, "pair", "en", data, victim, done=[row["id"] for row in data]) == []
    assert attack(SWAPS, "pair", "en", [], victim) == []


def test_an_exception_of_the_victim_or_a_stand_in_is_not_swallowed():
    class Broken(Victim):
        def __call__(self, examples):
            raise RuntimeError("the model is gone")

    with pytest.raises(RuntimeError, match="the model is gone"):
        attack(SWAPS, "pair", "en", rows(2), Broken(rows(2)))

    def fills(contexts, k, scripts):
        raise RuntimeError("the stand-in is gone")

    with pytest.raises(RuntimeError, match="the stand-in is gone"):
        attack(
            SWAPS | {"transform": ["fills"]}, "pair", "en", rows(2), Victim(rows(2)), resources=Resources(fills=fills)
        )


def test_time_spent_ends_an_example_with_the_worst_text_found():
    class Slow(Victim):
        def __call__(self, examples):
            time.sleep(0.02)
            return super().__call__(examples)

    data = rows(2)
    one = identity(["swap"], {"name": "greedy"}, budget={"queries": None, "changes": 8}) | {"goals": GOALS}
    ended = attack(one, "pair", "en", data, Slow(data), seconds=0.015)
    whole = attack(one, "pair", "en", data, Slow(data), seconds=1000)
    for short, full in zip(ended, whole, strict=True):
        assert (short.outcome, short.why) == ("failed", outcomes.TIME)
        assert 0 < short.queries < full.queries and 0 < short.perturbed < full.perturbed
        assert full.why == outcomes.HELD


def test_time_spent_never_keeps_a_text_that_only_measured():
    """Hiding a word would be a winner; the time ends after it, before any candidate."""

    class Slow(Victim):
        def result(self, row):
            found = super().result(row)
            return found | {"score": float("[UNK]" not in row["text_b"])}

        def __call__(self, examples):
            time.sleep(0.01)
            return super().__call__(examples)

    data = rows(1)
    one = identity(["swap"], {"name": "ranked"}, budget={"queries": None})
    (found,) = attack(one, "pair", "en", data, Slow(data), seconds=0.001)
    assert (found.outcome, found.why, found.queries) == ("failed", outcomes.TIME, 8)
    assert found.adversarial == found.original


def test_time_is_spent_where_every_change_is_refused():
    def similarity(pairs):
        time.sleep(0.02)
        return [0.0] * len(pairs)

    refusing = identity(["swap"], {"name": "ranked"}, {"similarity": {"least": 0.9}}, {"queries": None})
    data = rows(2)
    limited = attack(
        refusing, "pair", "en", data, Victim(data), seconds=0.015, resources=Resources(similarity=similarity)
    )
    whole = attack(refusing, "pair", "en", data, Victim(data), seconds=99, resources=Resources(similarity=similarity))
    for short, full in zip(limited, whole, strict=True):
        assert (short.outcome, short.why) == ("failed", outcomes.TIME) and full.why == outcomes.HELD
        assert short.refused < full.refused and short.queries == full.queries


# --- constraints on whole texts


@pytest.mark.parametrize("search", ["greedy_trial", "ranked", "greedy", "once"])
def test_changes_beyond_the_distance_are_refused_and_cost_no_query(search):
    data = rows(3)
    free = identity(["substitute"], {"name": search}, {"max_share": None}, {"queries": None, "changes": None})
    near = free | {"constraints": free["constraints"] | {"max_distance": 2}}
    found, victim = attack(free, "pair", "en", data, Victim(data)), Victim(data)
    kept = attack(near, "pair", "en", data, victim)
    assert any(distance(one) > 2 for one in found) and not any(one.refused for one in found)
    for asked in victim.asked:
        before = next(row["text_b"] for row in data if row["id"] == asked["id"])
        assert "[UNK]" in asked["text_b"] or levenshtein(graphemes(before), graphemes(asked["text_b"])) <= 2
    assert any(one.refused for one in kept)
    for one in kept:
        if search == "once":
            assert (one.outcome, one.why, one.queries) == ("failed", outcomes.REFUSED, 0)
        else:
            assert 0 < distance(one) <= 2 and one.why == outcomes.HELD


def distance(one):
    return levenshtein(graphemes(one.original["text_b"]), graphemes(one.adversarial["text_b"]))


def test_similarity_is_asked_in_one_batch_a_round_and_what_is_below_is_never_queried():
    batches = []

    def similarity(pairs):
        batches.append(pairs)
        assert all(before != after for before, after in pairs)
        return [0.5 if "t" in after[:3] else 0.95 for _, after in pairs]

    data = rows(4)
    one = identity(["swap"], {"name": "ranked"}, {"similarity": {"least": 0.9}})
    victim = Victim(data)
    found = attack(one, "pair", "en", data, victim, resources=Resources(similarity=similarity))
    texts = [asked["text_b"] for asked in victim.asked if "[UNK]" not in asked["text_b"]]
    refused = {after for pairs in batches for _, after in pairs if "t" in after[:3]}
    originals = {row["text_b"] for row in data}
    assert refused and not refused & (set(texts) - originals)
    assert sum(one.refused for one in found) >= len(refused) and len(batches) <= victim.calls + len(data)
    assert any(len({before for before, _ in pairs}) > 1 for pairs in batches), "examples share a batch"
    assert not any("[UNK]" in after for pairs in batches for _, after in pairs), "measuring is not constrained"
    assert {one.cosine for one in found if one.perturbed} == {0.95}
    plain = attack(SWAPS, "pair", "en", data, Victim(data))
    assert all(one.cosine is None and "cosine" not in one.row() for one in plain)


def test_the_similarity_of_several_fields_is_that_of_their_joined_text():
    seen = []

    def similarity(pairs):
        seen.extend(pairs)
        return [1.0] * len(pairs)

    row = example("span_qa", TEXTS["en"])
    one = SWAPS | {"constraints": SWAPS["constraints"] | {"similarity": {"least": 0.5}}}
    attack(one, "span_qa", "en", [row], Victim([row]), resources=Resources(similarity=similarity))
    assert {before for before, _ in seen} == {row["question"] + "\n" + row["context"]}


def test_stop_words_are_left_alone(monkeypatch):
    monkeypatch.setattr(
        stopwords, "of", lambda code: frozenset({"published", "three"}) if code == "en" else frozenset()
    )
    row = example("pair", TEXTS["en"].replace("published", "Published"))
    one = SWAPS | {"constraints": SWAPS["constraints"] | {"stop_words": True}}
    for code, kept in (("en", True), ("de", False)):
        victim = Victim([row])
        attack(one | {"budget": SWAPS["budget"] | {"ranked_units": None}}, "pair", code, [row], victim)
        assert len(victim.asked) > 5
        assert all("Published three" in asked["text_b"] for asked in victim.asked) == kept


# --- proposers of their own


def insertion(text):
    """A proposer with two units of its own: a place to insert at, inside the text, and the text as a whole."""

    def propose(drafts):
        proposals = []
        for draft in drafts:
            start, end = draft.units[-1].word.start - 1, draft.units[-1].word.end
            place = Unit(draft.units[-1].field, None, Word(start, start, (), "Zyyy"))
            whole = Unit(place.field, None, Word(0, end, tuple(draft.example[place.field][:end]), "Latn"))
            number = len(draft.units)
            proposals.append(Proposal([*draft.units, place, whole], {number: [text], number + 1: ["short"]}))
        return proposals

    return propose


def test_a_proposer_may_bring_units_of_its_own(monkeypatch):
    monkeypatch.setattr(candidates, "build", lambda identity, resources: insertion(" and more"))
    row = example("pair", TEXTS["en"])
    victim = Victim([row])
    (found,) = attack(identity(["swap"], {"name": "greedy"}), "pair", "en", [row], victim)
    assert {asked["text_b"] for asked in victim.asked} == {
        row["text_b"],
        row["text_b"].replace(" yesterday", " and more yesterday"),
        "short.",
    }
    assert found.outcome == "failed" and found.perturbed == pytest.approx(0.1, abs=0.01)


def test_neighbouring_units_are_changed_in_their_places():
    """A word, a place before it and a place behind it do not overlap, in whatever order they are named."""
    row = {"context": "one two three", "answers": [{"text": "three", "start": 8}, {"text": "one", "start": 0}]}
    found = [Unit("context", None, Word(start, end, (), "Latn")) for start, end in ((4, 4), (4, 7), (7, 7), (8, 8))]
    assert not any(one.overlaps(other) for one, other in combinations(found, 2))
    for order in permutations(enumerate(["A ", "2", " B", "C "])):
        changed = apply(row, found, dict(order))
        assert changed["context"] == "one A 2 B C three"
        for answer in changed["answers"]:
            assert changed["context"][answer["start"] :].startswith(answer["text"])


def test_what_an_attack_lacks_is_a_typed_skip():
    data = rows(2)
    for transform, resources, why in (
        ("fills", Resources(), outcomes.NO_STAND_IN),
        ("neighbours", Resources(), outcomes.NO_STAND_IN),
        ("gradient", Resources(), outcomes.NO_STAND_IN),
        ("dictionary", Resources(parallel={}), outcomes.NO_DICTIONARY),
        ("dictionary", Resources(translate=lambda *_: []), outcomes.NO_PARALLEL),
        ("phrases", Resources(parallel={}), outcomes.NO_STAND_IN),
        ("phrases", Resources(align=lambda pairs: []), outcomes.NO_PARALLEL),
    ):
        one = SWAPS | {"transform": [transform]}
        assert lacking(one, resources) == why
        found = attack(one, "pair", "en", data, Victim(data), resources=resources)
        assert [(one.outcome, one.why, one.queries) for one in found] == [("skipped", why, 0)] * 2
    one = SWAPS | {"constraints": SWAPS["constraints"] | {"similarity": {"least": 0.9}}}
    assert [found.why for found in attack(one, "pair", "en", data, Victim(data))] == [outcomes.NO_STAND_IN] * 2


def test_an_example_without_its_translation_says_so(monkeypatch):
    class Module:
        @staticmethod
        def proposer(identity, resources):
            return lambda drafts: [Proposal(draft.units, {}) for draft in drafts]

    monkeypatch.setattr(candidates, "_module", lambda name: Module)
    resources = Resources(parallel={"test-1": {}}, translate=lambda *_: [])
    found = attack(SWAPS | {"transform": ["phrases"]}, "pair", "en", rows(2), Victim(rows(2)), resources=resources)
    assert {one.id: one.why for one in found} == {"test-0": outcomes.NO_PARALLEL, "test-1": outcomes.NO_UNIT}


def test_drafts_of_a_top_up_are_proposed_for_together_and_ask_for_few_units(monkeypatch):
    calls, build = [], candidates.build

    def noting(identity, resources):
        propose = build(identity, resources)

        def noted(drafts):
            calls.append([len(draft.ranges) for draft in drafts])
            return propose(drafts)

        return noted

    monkeypatch.setattr(candidates, "build", noting)
    data = [example("retrieval", " ".join(WORDS * 8), str(n)) for n in range(5)]
    attack(SWAPS | {"budget": SWAPS["budget"] | {"ranked_units": 3}}, "retrieval", "en", data, Victim(data))
    assert calls == [[12] * 5]


# --- journal, shards, a killed job


def test_a_journal_keeps_whole_rows_of_its_key_alone(tmp_path):
    path = tmp_path / "deep" / "rows.jsonl"
    first = [{"id": "a", "x": 0.1, "text": "line\u2028 \r\n end"}, {"id": "b", "x": None, "text": "字"}]
    with Journal(path, {"spec": 1}) as journal:
        assert journal.done() == {}
        for row in first:
            journal.add(row)
        assert list(journal.done().values()) == first
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        with Journal(path, {"spec": 1}) as journal:
            done = journal.done()
            assert list(done.values()) == first[: len(done)]
            assert len(done) == max(0, whole[:cut].count(b"\n") - 1)
            for row in first:
                if row["id"] not in done:
                    journal.add(row)
        assert path.read_bytes() == whole
    with Journal(path, {"spec": 2}) as journal:
        assert journal.done() == {}
    assert Journal(path, {"spec": 1}).done() == {}


def test_shards_part_the_ids_and_keep_their_order():
    ids = [f"test-{n}" for n in range(1000)]
    for of in (1, 2, 4):
        parts = [shard(ids, number, of) for number in range(of)]
        assert sorted(id for part in parts for id in part) == sorted(ids)
        assert all(len(part) > 700 / of and part == sorted(part, key=ids.index) for part in parts)
    assert shard(ids, 1, 4) == [id for id in shard(ids, 1, 2) if id in set(shard(ids, 1, 4))]
    mixed = [{"id": id} for id in ids[::-1]]
    assert [row["id"] for row in in_order(mixed, ids)] == ids
    with pytest.raises(UserError, match=r"1 of 1000.*'test-0'"):
        in_order(mixed[:-1], ids)


def work(journal, number=0, of=1, delay=0.0):
    """One process of a job: attack the rows of its shard that the journal has not. Its rows."""

    class Slow(Victim):
        def __call__(self, examples):
            time.sleep(delay)
            return super().__call__(examples)

    data = rows(24)
    part = set(shard([row["id"] for row in data], number, of))
    data = [row for row in data if row["id"] in part]
    with Journal(journal, "key") as kept:
        found = engine.attack(data, Slow(data, 3), SWAPS, "pair", LANGUAGES["en"], 0, in_flight=3, done=kept.done())
        for one in found:
            kept.add(one.row())
        return list(kept.done().values())


def test_shards_and_a_killed_and_resumed_job_give_the_same_bytes(tmp_path):
    ids = [row["id"] for row in rows(24)]

    def final(name, found):
        files.write_jsonl(tmp_path / name, in_order(found, ids))
        return (tmp_path / name).read_bytes()

    whole = final("whole", work(tmp_path / "journal-1"))
    assert whole.count(b"\n") == 24 and b"succeeded" in whole
    for of in (2, 4):
        found = [row for number in range(of) for row in work(tmp_path / f"journal-{of}-{number}", number, of)]
        assert final(f"shards-{of}", found) == whole

    journal = tmp_path / "journal-killed"
    code = f"import test_attacks_engine as one; one.work({str(journal)!r}, delay=0.1)"
    path = os.pathsep.join([str(Path(__file__).parent), str(ROOT)])
    process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path})
    try:
        for _ in range(600):
            if journal.exists() and journal.read_bytes().count(b"\n") > 3:
                break
            time.sleep(0.05)
        assert process.poll() is None, "over before it was killed"
    finally:
        process.kill()
        process.wait()
    with open(journal, "ab") as handle:
        handle.write(b'{"id": "test-23", "outco')  # killed in the middle of a line
    left = journal.read_bytes().count(b"\n") - 1
    assert 3 <= left < 24
    assert final("killed", work(journal)) == whole


def test_the_outcome_of_an_attack_with_a_stand_in_does_not_depend_on_its_company(monkeypatch):
    """Similarity, distance, portions and evolution together: order, in_flight and parts change no row."""

    def similarity(pairs):
        return [1 - abs(hash_of(before) - hash_of(after)) / 1000 for before, after in pairs]

    def hash_of(text):
        return sum(i * ord(character) for i, character in enumerate(text)) % 97

    data = rows(8)
    for search in ("greedy", "beam", "evolution", "ranked"):
        one = identity(
            ["swap", "delete"],
            {"name": search, "width": 2, "population": 8, "generations": 3},
            {"similarity": {"least": 0.95}, "max_distance": 3},
            {"queries": 60, "at_once": 5},
        )

        def by_id(parts, one=one, **options):
            found = {}
            for part in parts:
                victim = Victim(data, 4)
                resources = Resources(similarity=similarity)
                found |= {
                    row.id: row.row() for row in attack(one, "pair", "en", part, victim, resources=resources, **options)
                }
            return found

        whole = by_id([data])
        assert (
            whole == by_id([data[::-1]], in_flight=3) == by_id([data[:3], data[3:]]) == by_id([[row] for row in data])
        )
        assert sum(row["refused"] for row in whole.values()) > 0 and {row["outcome"] for row in whole.values()} != {
            "skipped"
        }


def test_a_kind_may_have_limits_of_its_own():
    data = rows(4)
    limited = {**SWAPS, "budget": {**SWAPS["budget"], "by_kind": {"pair": {"queries": 2}}}}
    assert all(one.queries <= 2 for one in attack(limited, "pair", "en", data, Victim(data)))
    sentences = rows(4, "tagging")
    assert any(one.queries > 2 for one in attack(limited, "tagging", "en", sentences, Victim(sentences)))
