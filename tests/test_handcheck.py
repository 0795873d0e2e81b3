"""The sheet of successful attacks for readers, and what a filled one says."""

import csv
import io
from collections import Counter

import analysis_study
import attack_study
import pytest
from statsmodels.stats.proportion import proportion_confint

from xstilts import handcheck
from xstilts.errors import UserError
from xstilts.files import write_jsonl


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    root = tmp_path_factory.mktemp("study") / "results"
    spec = attack_study.spec(seeds=(1,), attacks=["badchars", "case", "charswap"])
    attack_study.build(root, {**spec, "cells": spec["cells"][:1]})
    return root


def read(text: str) -> list[dict]:
    return list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))


def test_a_sheet_is_spread_over_attacks_and_languages(results):
    rows = read(handcheck.sheet(results))
    assert len(rows) == 100 and len({row["id"] for row in rows}) == 100
    assert sorted(Counter(row["attack"] for row in rows).values()) == [33, 33, 34], "no rows of a static set"
    for attack in ("badchars", "case", "charswap"):
        counts = Counter(row["language"] for row in rows if row["attack"] == attack)
        codes = set(analysis_study.LANGUAGES) - ({"zh"} if attack == "case" else set())  # it changes nothing there
        assert set(counts) == codes and max(counts.values()) - min(counts.values()) <= 1
    keys = [(row["attack"], row["target"], row["language"], row["id"].rpartition("/")[2]) for row in rows]
    assert len(set(keys)) == 100, "of one example one model's text"
    assert len({row["model"] for row in rows}) > 1
    assert all(row[name] == "" for row in rows for name in ("label_holds", "readable", "note"))


def test_what_is_needed_to_judge_is_there_and_hidden_characters_are_named(results):
    rows = read(handcheck.sheet(results))
    pair = next(row for row in rows if (row["attack"], row["target"]) == ("badchars", "xnli"))
    assert pair["adversarial"] == pair["original"][:3] + "⟨ZWSP⟩" + pair["original"][3:]
    assert pair["other"].startswith("text_a: ") and pair["gold"] in analysis_study.XNLI
    words = next(row for row in rows if row["target"] == "udpos")
    assert [part.rpartition("/")[0] for part in words["gold"].split()] == words["original"].split()
    question = next(row for row in rows if row["target"] == "xquad")
    assert question["other"].startswith("context: ") and question["gold"] in question["other"]


def test_equal_seeds_give_equal_bytes_and_other_seeds_other_rows(results):
    assert handcheck.sheet(results) == handcheck.sheet(results)
    one, two = ({row["id"] for row in read(handcheck.sheet(results, 30, seed))} for seed in (0, 1))
    assert len(one) == len(two) == 30 and one != two


def test_the_match_of_a_query_is_its_gold_and_stale_examples_are_not_shown(tmp_path):
    rows = [{"id": "a", "outcome": "succeeded", "original": {"text": "=Katze"}, "adversarial": {"text": "=Kazte"}}]
    write_jsonl(tmp_path / "attacks/swap/m/none/s1/tatoeba/de.jsonl", rows)
    example = {"id": "a", "side": "source", "text": "=Katze", "match": "b"}
    other = {"id": "b", "side": "target", "text": "The cat.", "match": "a"}
    place = tmp_path / "examples/tatoeba/de/test.jsonl"
    write_jsonl(place, [example, other])
    (row,) = read(handcheck.sheet(tmp_path))
    assert row["gold"] == "The cat." and row["id"] == "swap/m/none/s1/tatoeba/de/a" and row["model"] == "m.none.s1"
    assert (row["original"], row["adversarial"]) == ("'=Katze", "'=Kazte"), "no formula for a spreadsheet"
    write_jsonl(place, [{**example, "text": "Hund"}, other])
    (row,) = read(handcheck.sheet(tmp_path))
    assert row["gold"] == row["other"] == ""


def test_nothing_to_judge_is_said(tmp_path):
    rows = [{"id": "a", "outcome": "failed", "original": {"text": "a"}, "adversarial": {"text": "b"}}]
    write_jsonl(tmp_path / "attacks/swap/m/none/s1/tatoeba/de.jsonl", rows)
    with pytest.raises(UserError, match="no successful attack"):
        handcheck.sheet(tmp_path)


def test_a_sheet_that_is_there_is_never_overwritten(results, tmp_path, capsys):
    out = tmp_path / "sheet.csv"
    assert handcheck.main([str(results), "--out", str(out), "--items", "12"]) == 0
    assert "12 items" in capsys.readouterr().out and len(read(out.read_text(encoding="utf-8"))) == 12
    before = out.read_bytes()
    with pytest.raises(UserError, match=r"is there already.*--read"):
        handcheck.main([str(results), "--out", str(out)])
    assert out.read_bytes() == before
    for arguments in ([str(results)], ["--out", str(tmp_path / "other.csv")]):
        with pytest.raises(UserError, match="give a study and --out"):
            handcheck.main(arguments)
    with pytest.raises(UserError, match="--items 0"):
        handcheck.main([str(results), "--out", str(tmp_path / "other.csv"), "--items", "0"])


def filled(path, answers: list[tuple[str, str, str]], separator=",") -> None:
    with open(path, "w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, delimiter=separator)
        writer.writerow(["attack", "label_holds", "readable"])
        writer.writerows(answers)


@pytest.mark.parametrize("separator", [",", ";"])
def test_shares_of_a_filled_sheet(tmp_path, capsys, separator):
    path = tmp_path / "sheet.csv"
    answers = [("case", "yes", "yes")] * 6 + [("case", "No ", "yes")] * 2 + [("case", "unsure", "no")]
    answers += [("swap", "", "yes"), ("swap", "maybe", "unsure")]
    filled(path, answers, separator)
    assert handcheck.main(["--read", str(path)]) == 0
    text = capsys.readouterr().out
    low, high = proportion_confint(6, 8, method="wilson")
    case, swap, everything = (line for line in text.splitlines() if line.startswith(("case", "swap", "all")))
    assert case.split()[1] == "9" and f"75.0 % [{100 * low:.1f}, {100 * high:.1f}] of 8, 1 unsure" in case
    assert "nothing judged, 0 unsure" in swap and "100.0 % [" in swap and "of 1, 1 unsure" in swap
    assert everything.split()[1] == "11"
    assert "1 of 11 rows are not filled in; 1 answers are invalid (allowed: yes, no, unsure)" in text
    assert "row 12, label_holds: 'maybe'" in text


def test_what_is_no_sheet_is_refused(tmp_path):
    path = tmp_path / "sheet.csv"
    with pytest.raises(UserError, match="Write a sheet first"):
        handcheck.shares(path)
    path.write_text("attack,other\nx,y\n", encoding="utf-8")
    with pytest.raises(UserError, match="lacks the columns label_holds, readable"):
        handcheck.shares(path)
    path.write_bytes("attack,label_holds,readable\nx,ä,y\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"UTF-8"):
        handcheck.shares(path)


def test_a_study_is_found_by_its_name_whatever_its_data_need(results, tmp_path, monkeypatch):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "mine").symlink_to(results)
    (tmp_path / "mine.yaml").write_text("study: mine\nsources: [local]\ndata_root: null\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert handcheck.main(["mine.yaml", "--out", "sheet.csv", "--items", "5"]) == 0
    assert len(read((tmp_path / "sheet.csv").read_text(encoding="utf-8"))) == 5
    (tmp_path / "mine.yaml").write_text("study: other\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"results/other: no attacks here: run the study first"):
        handcheck.main(["mine.yaml", "--out", "next.csv"])
