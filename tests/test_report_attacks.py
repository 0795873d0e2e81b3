"""The report's section on attacks: readable with many of them, honest, and safe to open."""

import re
import shutil
from types import SimpleNamespace

import analysis_study
import attack_study
import pytest

from xstilts.analysis.run import analyse
from xstilts.attacks.segmentation import graphemes
from xstilts.files import read_jsonl, write_jsonl
from xstilts.report import attack_figures, figures, gallery, licences, narrative, robustness
from xstilts.report.attacks import Attacks
from xstilts.report.build import all_tables, report
from xstilts.report.build import page as build_page
from xstilts.report.contents import Contents

EVIL = '<script>alert("1")</script> & \u202egnp.exe\u202c'


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Seven attacks made here, a static set, texts of two of them transferred; two seeds."""
    results = tmp_path_factory.mktemp("attacks") / "results"
    spec = attack_study.spec(attacks=attack_study.MADE[:7], samples=50)
    spec["targets"] = {name: spec["targets"][name] for name in ("xnli", "udpos", "xquad", "tatoeba", "bucc2018")}
    for cell in spec["cells"]:
        cell["targets"] = list(spec["targets"])
    attack_study.build(results, spec)
    analysis_study.check(results, spec)
    catalog = analysis_study.catalog(results.parent)
    catalog.attacks = {name: SimpleNamespace(documentation={"title": name}) for name in spec["attacks"]}
    catalog.languages["ru"] |= {"name": "Russian", "direction": "rtl"}  # a right-to-left language of this study
    analyse(spec, results, catalog)
    return spec, results, catalog


@pytest.fixture(scope="module")
def text(demo):
    with pytest.MonkeyPatch.context() as patch:  # the section's figures and one before them: the others take time
        shown = ("gains", "robustness", "attack_languages", "transfer")
        patch.setattr(figures, "FIGURES", {name: figures.FIGURES[name] for name in shown})
        report(*demo)
        yield (demo[1] / "report.html").read_text(encoding="utf-8")


def section(text: str) -> str:
    return re.search(r'<h2 id="robustness">.*?(?=<h2 id="baselines")', text, re.S).group()


def undrawn(spec, results, catalog) -> str:
    contents = Contents(spec, results, catalog)
    found = gallery.gallery(contents, results)
    return section(build_page(contents, {}, all_tables(contents), found))


def lines(table) -> list[str]:
    return [" | ".join(map(str, row)) for row in table.rows]


def test_figures_of_the_section_are_numbered_without_gaps_and_written_twice(demo, text):
    numbers = [int(number) for number in re.findall(r"<b>Figure (\d+)\.</b>", text)]
    assert numbers == list(range(1, len(numbers) + 1))
    for name in ("robustness", "attack_languages", "transfer"):
        assert f'id="figure-{name}"' in section(text)
        assert (demo[1] / f"figures/{name}.svg").is_file() and (demo[1] / f"figures/{name}.png").is_file()


def test_a_second_report_is_equal_to_the_byte(demo, text):
    before = {path: path.read_bytes() for path in (demo[1] / "figures").iterdir()}
    report(*demo)
    assert (demo[1] / "report.html").read_text(encoding="utf-8") == text
    assert {path: path.read_bytes() for path in (demo[1] / "figures").iterdir()} == before


def test_many_attacks_are_small_multiples(demo):
    contents = Contents(*demo)
    figure = attack_figures.scores(contents)
    shown = [axes for axes in figure.axes if axes.get_title(loc="left")]
    assert [axes.get_title(loc="left") for axes in shown] == attack_study.MADE[:7], "a static set has no clean score"
    assert figure.get_size_inches()[1] < 8
    few = SimpleNamespace(**vars(contents))
    few.attacked = Attacks({**demo[0], "attacks": {"case": {"set": None}}}, contents.tables)
    few.cells, few.label = contents.cells, contents.label
    assert len(attack_figures.scores(few).axes) == 1


def test_attacks_by_targets_are_means_over_models_and_name_clean_attacked_success(demo):
    contents = Contents(*demo)
    table = robustness.overview(contents)
    assert table.columns == ["attack", "XNLI", "UDPOS", "XQuAD"], "targets without an attack have no column"
    rows = [contents.attacked.row("case", *cell, "xnli") for cell in contents.cells()]
    assert len(rows) == 4 and {row["seed"] for row in rows} == {"all"}
    mean = {name: sum(row[name] for row in rows) / 4 for name in ("clean", "attacked", "success_rate")}
    wanted = f"{mean['attacked']:.1f} of {mean['clean']:.1f}, {mean['success_rate']:.0f} %"
    assert [line for line in lines(table) if line.startswith(f"case | {wanted} | ")]
    (hints,) = [line for line in lines(table) if line.startswith("advglue_mnli")]
    assert re.fullmatch(r"advglue_mnli \| [\d.]+ \| – \| –", hints), "a score and nothing else"
    assert len(robustness.by_model(contents).rows) == 8 * 4


def test_paired_changes_on_a_published_set_are_shown_and_those_on_transferred_texts_are_not(demo):
    contents = Contents(*demo)
    found = lines(robustness.changes(contents))
    sets = [line for line in found if " | advglue_mnli | " in line]
    assert len(sets) == 2 and all(line.startswith("XNLI") and line.endswith(" | –") for line in sets)
    assert len(found) == 2 * (7 * 3 + 1)


def test_sample_sizes_leave_out_published_sets(demo):
    contents = Contents(*demo)
    rows = [{**row, "n": 121} if row["source"] == "set" else row for row in contents.tables["robustness"]]
    attacked = Attacks(demo[0], {**contents.tables, "robustness": rows})
    assert attacked.examples() == [20] and attacked.examples(static=True) == [20]
    assert Attacks(demo[0], {**contents.tables, "robustness": rows[:0]}).examples() == []


def test_a_long_table_of_models_is_a_file_beside_the_page(demo, monkeypatch):
    monkeypatch.setattr(robustness, "MOST", 31)
    part = undrawn(*demo)
    assert "(32 rows): <code>tables/attacks_models.md</code>" in part and 'id="about-attacks_models"' not in part


def test_stand_in_models_are_among_the_licences(demo):
    spec, results, catalog = demo
    models = {**spec["revisions"]["models"], "standin": {"type": "hub", "id": "some/model", "revision": "0" * 40}}
    contents = Contents({**spec, "revisions": {"data": {}, "models": models}}, results, catalog)
    assert [one.source for one in licences.used(contents) if one.name == "standin"] == ["some/model"]
    assert len([one for one in licences.used(contents) if one.kind == "model"]) == 3


def test_transfer_stands_apart_from_adaptive(demo, text):
    contents = Contents(*demo)
    table = robustness.transfer(contents)
    assert table.columns[-1] == "XNLI" and len(table.rows) == 2 * 4
    assert all(line.split(" | ")[1] == "me5-small-l6.none.s1" for line in lines(table))
    assert not any("me5-small-l6.none.s1" in line for line in lines(robustness.full(contents)))
    assert "Not to be mixed with adaptive success rates" in text and "Two modes stand apart" in text


def test_what_was_not_run_is_listed_with_its_reason(demo, text):
    found = lines(robustness.not_run(Contents(*demo)))
    assert found == [
        "hotflip | Tatoeba, BUCC | all | no gradient there", "textfooler | XQuAD | ru | no neighbours <for> it",
        "bumblebee | all | all | no aligner",
    ]  # fmt: skip
    spec, results, catalog = demo
    one = {"attack": "badchars", "target": "xnli", "languages": ["en"], "model": "me5-small-l6", "intermediate": "all9",
           "why": "another language than on other cells"}  # fmt: skip
    more = robustness.not_run(Contents({**spec, "not_run": [*spec["not_run"], one]}, results, catalog))
    assert more.columns == ["attack", "models, intermediates", "targets", "languages", "why"]
    assert lines(more)[-2:] == [
        "bumblebee | all | all | all | no aligner",
        "badchars | me5-small-l6, all9 | XNLI | en | another language than on other cells",
    ]
    whole = re.sub(r"\s+", " ", text)
    assert "every score and every attack that could be run is there. What attacks are not run on, and why:" in whole
    assert "no neighbours &lt;for&gt; it" in section(text)


def test_stand_ins_and_limits_are_named(demo, text):
    words = " ".join(re.sub("<[^>]+>", "", section(text)).split())
    assert "bertattack: words from the masked language model me5-small-l12 (mlm, seed 1), none of the models" in words
    assert "cosine at least 0.9 on its own scale" in words and "lower bounds" in words
    assert "not comparable with published numbers" in words and "(20 a language)" in words
    spec = {**demo[0], "attacks": {**demo[0]["attacks"]}}
    mlm = {"model": "me5-small-l6", "intermediate": "mlm", "seed": 1}
    spec["attack_cells"] = [{**cell, "stand_ins": {"mlm": mlm}} for cell in spec["attack_cells"]]
    told = Attacks(spec, Contents(*demo).tables).stand_ins()
    assert len(told) == 7 and all("is also one of the models attacked" in line for line in told), "what a study changed"


def test_a_summary_of_many_attacks_names_the_ends(demo):
    (line,) = [line for line in narrative.summary(Contents(*demo)) if line.startswith("Under attack")]
    assert line.startswith("Under attack, on what all 7 attacks were run on (XNLI, UDPOS, XQuAD)")
    assert "the two strongest and the weakest: " in line and line.count("points on average") == 3


def test_attacks_are_ranked_by_what_they_were_all_run_on(demo):
    """`case` ran on XQuAD in Chinese alone: there the others are looked at too."""
    spec, results, catalog = demo
    contents = Contents(spec, results, catalog)
    rows = contents.tables["robustness"]
    kept = [row for row in rows if row["attack"] != "case" or (row["target"], row["language"]) == ("xquad", "zh")]
    contents.attacked = Attacks(spec, {**contents.tables, "robustness": kept})
    (line,) = [line for line in narrative.summary(contents) if line.startswith("Under attack")]
    assert "all 7 attacks were run on (XQuAD), each with its own budget" in line
    drops = {}
    for name in contents.attacked.made():
        found = [contents.attacked.row(name, *cell, "xquad", "zh") for cell in contents.cells()]
        drops[name] = sum(row["clean"] - row["attacked"] for row in found) / len(found)
    strongest = max(drops, key=drops.get)
    assert f"weakest: {strongest} takes {drops[strongest]:.1f} points" in line
    nowhere = [row for row in kept if row["attack"] != "hotflip" or row["target"] == "xnli"]
    contents.attacked = Attacks(spec, {**contents.tables, "robustness": nowhere})
    told = " ".join(narrative.summary(contents))
    assert "points on average" not in told and "The 7 attacks have no model" in told and "not ranked" in told


def test_missing_transferred_texts_are_named(demo, tmp_path):
    spec, results, catalog = demo
    copy = tmp_path / "results"
    shutil.copytree(results, copy)
    (copy / "transfer/badchars/me5-small-l6.none.s1/me5-small-l3/all9/s2/xnli/de.jsonl").unlink()
    (copy / "attacks/advglue_mnli/me5-small-l3/all9/s2/xnli/en.jsonl").unlink()
    analyse(spec, copy, catalog)
    told = [line for line in narrative.missing(Contents(spec, copy, catalog)) if line.startswith("attack")]
    assert told == [
        "attack advglue_mnli: me5-small-l3, all9, seed 2, XNLI: en",
        "attack badchars, texts of me5-small-l6.none.s1: me5-small-l3, all9, seed 2, XNLI: de",
    ]


def test_the_gallery_shows_each_attack_in_several_languages(demo, text):
    found = gallery.gallery(Contents(*demo), demo[1])
    assert [one["attack"] for one in found] == attack_study.MADE[:7] and "advglue_mnli" not in str(found)
    items = [item for one in found for item in one["items"]]
    assert len(items) == 7 * 3 and {item["language"] for item in items} == {"en", "de", "ru", "zh"}
    assert found == gallery.gallery(Contents(*demo), demo[1]), "the choice is seeded"
    assert all(item["fields"] for item in items)
    part = section(text)
    assert '<ins><span class="token">⟨ZWSP⟩</span></ins>' in part and "\u200b" not in text
    assert re.search(r'<bdi lang="ru" dir="rtl">', part) and re.search(r'<bdi lang="en" dir="ltr">', part)
    assert re.search(r"<b>gold</b> <bdi dir=\"auto\">(entailment|neutral|contradiction)</bdi>", part)


def test_texts_of_an_attack_cannot_run_nor_reorder_the_page(demo, tmp_path):
    spec, results, catalog = demo
    copy = tmp_path / "results"
    shutil.copytree(results, copy)
    for path in (copy / "attacks/case").rglob("*.jsonl"):
        rows = [{**row, "adversarial": dict.fromkeys(row["original"], EVIL)} for row in read_jsonl(path)]
        write_jsonl(path, rows)
    part = undrawn(spec, copy, catalog)
    assert "<script" not in part and "alert(" in part and "&lt;" in part and "&amp;" in part
    assert "\u202e" not in part and "\u202c" not in part and "⟨RLO⟩" in part and "⟨PDF⟩" in part
    for tag in ("bdi", "del", "ins", "span", "p", "div", "details"):
        assert len(re.findall(rf"<{tag}[\s>]", part)) == part.count(f"</{tag}>"), tag


def test_only_the_surroundings_of_a_change_are_shown():
    far, near = "word " * 200, "e\u0301" * 100
    before, after = gallery.difference(f"{far}cat{near}", f"{far}cut{near}")
    shown = "".join(text for _, pieces in after for _, text in pieces)
    assert "cut" in shown and len(graphemes(shown)) < 2 * gallery.AROUND + 20 and shown.count("…") == 2
    assert shown.endswith("…") and shown.startswith("… ") and "e\u0301" in shown and "⟨" not in shown
    kinds = [kind for kind, _ in before]
    assert kinds == ["equal", "removed", "equal"] and before[1] == ("removed", [(False, "a")])
    same = gallery.difference("abc", "abd")
    assert same[1] == [("equal", [(False, "ab")]), ("added", [(False, "d")])]


def test_a_study_without_attacks_says_so(demo, tmp_path):
    spec, results, catalog = demo
    sets = {**spec, "attacks": {"advglue_mnli": spec["attacks"]["advglue_mnli"]}, "transfer_cells": []}
    assert "published sets have no unchanged originals" in undrawn(sets, results, catalog)
    assert "no results for it yet" not in undrawn(sets, results, catalog)
    none = {**spec, "attacks": {}, "attack_cells": [], "transfer_cells": []}
    assert "No attack of this study could be run: the reasons are below." in undrawn(none, results, catalog)
    spec = {**none, "not_run": []}
    copy = tmp_path / "results"
    shutil.copytree(results, copy)
    analyse(spec, copy, catalog)
    part = undrawn(spec, copy, catalog)
    assert (
        "This study has no attacks." in part
        and "no results" not in part
        and "<table" not in part
        and "lower bounds" not in part
    )
