"""Texts that beat one model, put to another: what counts, and that alignment is kept."""

import json

import pytest

from xstilts.attacks.goals import Goal
from xstilts.errors import UserError
from xstilts.robustness.transfer import SOURCE_FAILED, adversarial, transfer

PAIR = Goal(right=1.0, below=1.0)


def example(number: int, text: str = "good") -> dict:
    return {"id": str(number), "text_a": "premise", "text_b": text, "label": "1"}


def row(number: int, outcome: str = "succeeded", text: str = "bad") -> dict:
    return {
        "id": str(number), "outcome": outcome, "why": "", "queries": 9, "perturbed": 0.5, "similarity": 0.7,
        "clean": 1.0, "attacked": 0.0, "original": {"text_b": "good"}, "adversarial": {"text_b": text},
    }  # fmt: skip


class Victim:
    """Right where `text_b` is among `right`; remembers what it was asked."""

    def __init__(self, *right: str):
        self.right, self.asked = right, []

    def __call__(self, examples):
        self.asked += [one["text_b"] for one in examples]
        return [{"score": float(one["text_b"] in self.right), "loss": 0.0} for one in examples]


def put(rows, victim, examples=None, goal=PAIR):
    return transfer(examples or [example(int(one["id"])) for one in rows], rows, victim, goal, "rows.jsonl")


def test_a_text_transfers_where_the_victim_was_right_and_is_wrong_now():
    (found,) = put([row(1)], Victim("good"))
    assert (found["outcome"], found["why"], found["queries"]) == ("succeeded", "", 0)
    assert (found["clean"], found["attacked"], found["perturbed"], found["similarity"]) == (1.0, 0.0, 0.5, 0.7)
    assert found["adversarial"] == {"text_b": "bad"}
    (found,) = put([row(1)], Victim("good", "bad"))
    assert (found["outcome"], found["why"], found["attacked"]) == ("failed", "held", 1.0)


def test_a_victim_that_was_wrong_before_is_skipped_and_keeps_its_clean_score():
    (found,) = put([row(1)], Victim("bad"))
    assert (found["outcome"], found["why"]) == ("skipped", "wrong before")
    assert found["clean"] == found["attacked"] == 0.0 and found["perturbed"] == 0.0 and "adversarial" not in found


@pytest.mark.parametrize("outcome", ["failed", "skipped"])
def test_a_text_that_did_not_beat_its_source_is_put_to_nobody(outcome):
    victim = Victim("good")
    (found,) = put([row(1, outcome)], victim)
    assert (found["outcome"], found["why"], found["attacked"]) == ("skipped", SOURCE_FAILED, 1.0)
    assert victim.asked == ["good"]


def test_all_models_get_the_same_ids_in_the_sources_order():
    rows = [row(3), row(1, "failed"), row(2)]
    found = put(rows, Victim("good"), [example(number) for number in range(9)])
    assert [one["id"] for one in found] == ["3", "1", "2"]


def test_an_id_that_the_examples_lack_is_an_error_that_names_the_file():
    with pytest.raises(UserError, match=r"rows.jsonl: id '7'.*older run"):
        put([row(7)], Victim("good"), [example(1)])


def test_tokens_and_answers_are_put_back_where_they_were():
    tagged = {"id": "1", "tokens": ["a", "b c", "d"], "tags": ["X", "Y", "Z"]}
    made = {"id": "1", "adversarial": {"tokens": "a\tb  c\tdd"}}
    assert adversarial(tagged, made) == {**tagged, "tokens": ["a", "b  c", "dd"]}
    with pytest.raises(UserError, match="2 in the adversarial text, 3 before"):
        adversarial(tagged, {"id": "1", "adversarial": {"tokens": "a\tb"}})
    asked = {"id": "q", "question": "who?", "context": "it was Ann.", "answers": [{"text": "Ann", "start": 7}]}
    made = {"id": "q", "adversarial": {"question": "whp?", "context": "itt was Ann."},
            "answers": [{"text": "Ann", "start": 8}]}  # fmt: skip
    found = adversarial(asked, made)
    assert found["context"][8:11] == "Ann" and found["answers"] == made["answers"] and found["question"] == "whp?"
    assert asked["context"] == "it was Ann.", "the example itself is left alone"


def test_counts_are_kept_for_scores_that_are_added_up_and_goals_are_the_attacks_own():
    goal = Goal(right=0.0, lost=1)
    counts = {"Ann": [1, 1, 1], "Amm": [0, 0, 1], "none": [0, 0, 0]}

    def victim(examples):
        return [{"score": 1.0, "loss": 0.0, "counts": counts[one["tokens"][0]]} for one in examples]

    examples = [{"id": "1", "tokens": ["Ann"], "tags": ["B-PER"]}, {"id": "2", "tokens": ["none"], "tags": ["O"]}]
    rows = [{**row(number), "adversarial": {"tokens": "Amm"}} for number in (1, 2)]
    lost, never = transfer(examples, rows, victim, goal, "rows")
    assert lost["outcome"] == "succeeded" and lost["clean_counts"] == [1, 1, 1] and lost["attacked_counts"] == [0, 0, 1]
    assert never["why"] == "wrong before" and never["attacked_counts"] == [0, 0, 0], "no entity was found before"


def test_rows_are_plain_json():
    json.dumps(put([row(1), row(2, "failed")], Victim("good")))
