"""Attacks in the tables: values by hand, several seeds, transferred texts, static sets, what is missing."""

import analysis_study
import attack_study
import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from xstilts.analysis import bootstrap, changes, estimates, outcomes, robustness, scaling, tables
from xstilts.analysis.run import analyse
from xstilts.attacks.outcomes import TIME
from xstilts.errors import UserError
from xstilts.files import read_jsonl, write_jsonl


def rows_of(told: str, **more) -> list[dict]:
    """Rows by letters: S succeeded, F failed, k skipped (wrong before)."""
    found = []
    for number, letter in enumerate(told):
        clean, attacked = float(letter != "k"), float(letter == "F")
        found.append({
            "id": f"test-{number}", "outcome": {"S": "succeeded", "F": "failed", "k": "skipped"}[letter], "why": "",
            "queries": 4 if letter != "k" else 0, "vanished": 2, "refused": 0, "perturbed": 0.25, "similarity": 0.5,
            "clean": clean, "attacked": attacked, "original": {"text_b": "a"}, "adversarial": {"text_b": "b"}, **more,
        })  # fmt: skip
    return found


def study(*cells, languages=("en", "de"), **more) -> dict:
    """A spec of attack cells (attack, intermediate, seed[, source]) of model m on the target own."""
    made = [{"attack": a, "model": "m", "intermediate": i, "seed": s, "targets": ["own"]} for a, i, s, *_ in cells]
    pairs = list(zip(made, cells, strict=True))
    return {
        "targets": {"own": {"languages": list(languages)}}, "bootstrap": {"samples": 300, "seed": 0},
        "attacks": {"swap": {"version": 1}, "hints": {"version": 1, "set": {"task": "x"}}},
        "attack_cells": [cell for cell, names in pairs if len(names) == 3],
        "transfer_cells": [{**cell, "source": names[3]} for cell, names in pairs if len(names) == 4], **more,
    }  # fmt: skip


def write(root, cell: str, language: str, rows: list[dict], kind="attacks"):
    write_jsonl(root / kind / f"{cell}/own/{language}.jsonl", rows)


def table(spec, root) -> dict:
    found, _ = outcomes.load(spec, root)
    rows = robustness.rows(outcomes.Outcomes(spec, found))
    return {(r["attack"], r["mode"], r["source"], r["intermediate"], r["seed"], r["language"]): r for r in rows}


def test_values_are_those_of_hand(tmp_path):
    spec = study(("swap", "none", 1))
    write(tmp_path, "swap/m/none/s1", "en", rows_of("SSFFFkkkkk"))
    write(tmp_path, "swap/m/none/s1", "de", rows_of("SSSFkkkkkk", why=TIME))
    found = table(spec, tmp_path)
    english = found["swap", "adaptive", None, "none", 1, "en"]
    assert (english["n"], english["skipped"], english["clean"], english["attacked"]) == (10, 5, 50, 30)
    assert english["success_rate"] == pytest.approx(40) and english["queries"] == 4 and english["vanished"] == 2
    theirs = proportion_confint(2, 5, method="wilson")
    assert (english["success_low"], english["success_high"]) == pytest.approx([100 * edge for edge in theirs])
    mean = found["swap", "adaptive", None, "none", 1, "mean"]
    assert mean["success_rate"] == pytest.approx((40 + 75) / 2) and mean["n"] == 20 and mean["attacked"] == 20
    assert mean["success_low"] < mean["success_rate"] < mean["success_high"]
    assert (english["timed_out"], mean["timed_out"]) == (0, 50)


@pytest.mark.parametrize(("won", "n"), [(0, 7), (7, 7), (3, 40), (99, 100)])
def test_wilson_is_statsmodels(won, n):
    theirs = proportion_confint(won, n, method="wilson")
    assert bootstrap.wilson(won, n) == pytest.approx([100 * edge for edge in theirs], abs=1e-9)


def test_an_attack_that_always_wins_has_an_interval_all_the_same(tmp_path):
    spec = study(("swap", "none", 1))
    write(tmp_path, "swap/m/none/s1", "en", rows_of("SSSSSSkk"))
    write(tmp_path, "swap/m/none/s1", "de", rows_of("SSSkkkkk"))
    mean = table(spec, tmp_path)["swap", "adaptive", None, "none", 1, "mean"]
    assert mean["success_rate"] == 100 == mean["success_high"]
    assert mean["success_low"] == pytest.approx(bootstrap.wilson(3, 3)[0])  # the language with the fewest


def test_a_draw_without_an_attacked_example_is_no_success_rate_of_0(tmp_path):
    spec = study(("swap", "none", 1))
    write(tmp_path, "swap/m/none/s1", "en", rows_of("S" + "k" * 11))
    write(tmp_path, "swap/m/none/s1", "de", rows_of("SSSSSSSSSFkk"))
    mean = table(spec, tmp_path)["swap", "adaptive", None, "none", 1, "mean"]
    assert mean["success_rate"] == pytest.approx(95)
    assert 75 < mean["success_low"] < 95 < mean["success_high"] <= 100


def test_a_draw_without_an_attacked_example_of_one_seed_is_that_of_the_other(tmp_path):
    spec = study(("swap", "none", 1), ("swap", "none", 2), languages=["en"])
    write(tmp_path, "swap/m/none/s1", "en", rows_of("S" + "k" * 11))
    write(tmp_path, "swap/m/none/s2", "en", rows_of("kSSSSSSSSSFk"))
    both = table(spec, tmp_path)["swap", "adaptive", None, "none", "all", "en"]
    assert both["success_rate"] == pytest.approx(95) and 60 < both["success_low"] < 95 < both["success_high"] <= 100


def test_where_most_draws_are_without_an_attacked_example_the_interval_is_wilsons(tmp_path):
    spec = study(("swap", "none", 1), languages=["en", "de"])
    for code, told in (("en", "Skkkkkkkkk"), ("de", "Fkkkkkkkkk")):  # one row in ten: 35 % of draws have none
        write(tmp_path, "swap/m/none/s1", code, rows_of(told))
    found = []
    for seed in range(12):  # with three draws, there are some of which two have none
        mean = table({**spec, "bootstrap": {"samples": 3, "seed": seed}}, tmp_path)["swap", "adaptive", None, "none", 1,
                                                                                    "mean"]  # fmt: skip
        found.append((round(mean["success_low"], 6), round(mean["success_high"], 6)))
    assert {tuple(round(edge, 6) for edge in bootstrap.wilson(0.5, 1)), (50, 50)} == set(found)


def test_means_are_over_the_known_parts_of_a_draw():
    vectors = np.array([[10.0, np.nan, np.nan, 4.0], [20.0, 30.0, np.nan, 8.0]])
    assert bootstrap.mean_of_known(vectors, np.ones(1))[[0, 1, 3]].tolist() == [15, 30, 6]
    weights = np.array([[0.5, 0.5, 1.0, 0.0], [0.5, 0.5, 0.0, 1.0]])
    found = bootstrap.mean_of_known(vectors, weights)
    assert found[[0, 1, 3]].tolist() == [15, 30, 8] and np.isnan(found[2])


def test_a_language_where_nothing_could_be_attacked_has_no_rate(tmp_path):
    spec = study(("swap", "none", 1))
    write(tmp_path, "swap/m/none/s1", "en", rows_of("SFkk"))
    write(tmp_path, "swap/m/none/s1", "de", rows_of("kkkk"))
    found = table(spec, tmp_path)
    german = found["swap", "adaptive", None, "none", 1, "de"]
    assert german.get("success_rate") is None and german["queries"] is None and german["attacked"] == 0
    assert found["swap", "adaptive", None, "none", 1, "mean"]["success_rate"] == 50


def test_several_seeds_have_a_row_of_their_mean_with_a_wider_interval(tmp_path):
    spec = study(("swap", "none", 1), ("swap", "none", 2), languages=["en"])
    write(tmp_path, "swap/m/none/s1", "en", rows_of("S" * 30 + "F" * 10))
    write(tmp_path, "swap/m/none/s2", "en", rows_of("S" * 10 + "F" * 30))
    found = table(spec, tmp_path)
    one, two, both = (found["swap", "adaptive", None, "none", seed, "en"] for seed in (1, 2, "all"))
    assert (one["attacked"], two["attacked"], both["attacked"], both["n"]) == (25, 75, 50, 80)
    assert both["ci_high"] - both["ci_low"] > 1.5 * (one["ci_high"] - one["ci_low"])
    assert both["success_low"] < 30 and both["success_high"] > 70


def test_static_sets_have_a_score_and_no_success_rate(tmp_path):
    spec = study(("hints", "none", 1), ("hints", "mnli", 1), languages=["en"])
    empty = {"clean": None, "similarity": None, "perturbed": None}
    write(tmp_path, "hints/m/none/s1", "en", rows_of("SSSF", **empty))
    write(tmp_path, "hints/m/mnli/s1", "en", rows_of("SFFF", **empty))
    found, _ = outcomes.load(spec, tmp_path)
    all_found = outcomes.Outcomes(spec, found)
    tables.write("robustness", robustness.rows(all_found), tmp_path)
    row = next(r for r in tables.read("robustness", tmp_path) if r["language"] == "en" and r["intermediate"] == "none")
    assert (row["mode"], row["source"], row["attacked"], row["n"]) == ("static", "set", 25, 4)
    assert [row[name] for name in ("clean", "success_rate", "success_low", "similarity", "perturbed")] == [None] * 5
    change = next(row for row in changes.rows(all_found) if row["language"] == "en")
    assert change["change"] == 50 and change.get("drop_change") is None
    assert robustness.transfer(tables.read("robustness", tmp_path)) == []
    generated = outcomes.load({**spec, "generators": {"own": ["pawsx"]}}, tmp_path)[0]
    assert all(entry["label"] == [None] * 4 for entry in generated.values()), "no texts of a generator"


def test_transferred_texts_name_their_source_and_make_the_matrix(tmp_path):
    source = "m.none.s1"
    spec = study(("swap", "none", 1), ("swap", "none", 2, source), ("swap", "mnli", 1, source),
                 ("swap", "mnli", 2, source), languages=["en"])  # fmt: skip
    write(tmp_path, "swap/m/none/s1", "en", rows_of("SSSS"))
    for cell, told in (("none/s2", "SSFF"), ("mnli/s1", "SFFk"), ("mnli/s2", "FFkk")):
        write(tmp_path, f"swap/m.none.s1/m/{cell}", "en", rows_of(told), "transfer")
    found = table(spec, tmp_path)
    assert found["swap", "static", "m.none.s1", "none", 2, "mean"]["success_rate"] == 50
    assert found["swap", "adaptive", None, "none", 1, "mean"]["success_rate"] == 100, "modes are not mixed"
    matrix = {row["intermediate"]: row for row in robustness.transfer(list(found.values()))}
    assert matrix["none"]["success_rate"] == 50 and matrix["none"]["n"] == 4
    # of both seeds: 1 of 3 and 0 of 2
    assert matrix["mnli"]["success_rate"] == pytest.approx(50 / 3, abs=0.01) and matrix["mnli"]["n"] == 5
    change = [row for row in changes.rows(outcomes.Outcomes(spec, outcomes.load(spec, tmp_path)[0]))
              if row["language"] == "mean"]  # fmt: skip
    assert [(row["mode"], row["source"], row["n_seeds"]) for row in change] == [("static", "m.none.s1", 1)]
    assert change[0]["change"] == 0  # seed 2 is the one that both have: 50 and 50


def test_changes_are_paired_by_example_and_seed(tmp_path):
    """The intermediate breaks 10 examples less, always the same ones: a sure change, however wide each score is."""
    spec = study(*(("swap", name, seed) for name in ("none", "mnli") for seed in (1, 2)), languages=["en"])
    base = "SF" * 45
    for seed in (1, 2):
        write(tmp_path, f"swap/m/none/s{seed}", "en", rows_of(base + "S" * 10))
        write(tmp_path, f"swap/m/mnli/s{seed}", "en", list(reversed(rows_of(base + "F" * 10))))
    found = outcomes.Outcomes(spec, outcomes.load(spec, tmp_path)[0])
    (row,) = [row for row in changes.rows(found) if row["language"] == "en"]
    assert (row["change"], row["drop_change"], row["n_seeds"], row["n_examples"]) == (10, 10, 2, 100)
    assert 3 < row["change_low"] < 10 < row["change_high"] < 18
    assert row["p"] < 0.01 and row["p_holm"] == row["p"] and row["method"].endswith("Holm over 1")
    assert "seeds and examples" in row["method"]
    scores = {r["intermediate"]: r for r in robustness.rows(found) if (r["language"], r["seed"]) == ("en", "all")}
    assert scores["mnli"]["ci_high"] - scores["mnli"]["ci_low"] > row["change_high"] - row["change_low"]


def test_the_loss_leaves_out_what_training_does_to_unattacked_text(tmp_path):
    """Both scores are 20 points higher after training: so is the attacked one, the loss is what it was."""
    spec = study(("swap", "none", 1), ("swap", "mnli", 1), languages=["en"])
    write(tmp_path, "swap/m/none/s1", "en", rows_of("SSSFFFkkkk"))
    write(tmp_path, "swap/m/mnli/s1", "en", rows_of("SSSFFFFFkk"))
    (row,) = [r for r in changes.rows(outcomes.Outcomes(spec, outcomes.load(spec, tmp_path)[0]))
              if r["language"] == "en"]  # fmt: skip
    assert (row["change"], row["drop_change"]) == (pytest.approx(20), pytest.approx(0))


def test_f1_is_of_summed_counts_before_and_after(tmp_path):
    spec = study(("swap", "none", 1), languages=["en"])
    rows = rows_of("SFk")
    for row, clean, attacked in zip(rows, (4, 2, 0), (1, 2, 0), strict=True):
        row |= {"clean_counts": [clean, 4, 4], "attacked_counts": [attacked, 4, 4]}
    write(tmp_path, "swap/m/none/s1", "en", rows)
    row = table(spec, tmp_path)["swap", "adaptive", None, "none", 1, "en"]
    assert (row["clean"], row["attacked"], row["success_rate"]) == (50, 25, 50)


def test_files_of_other_examples_are_not_compared(tmp_path):
    spec = study(("swap", "none", 1), ("swap", "mnli", 1), languages=["en"])
    write(tmp_path, "swap/m/none/s1", "en", rows_of("SSF"))
    write(tmp_path, "swap/m/mnli/s1", "en", rows_of("SSFF"))
    with pytest.raises(UserError, match=r"mnli/s1/own/en\.jsonl.*not the same examples \(4 and 3\).*delete it"):
        outcomes.load(spec, tmp_path)


def test_order_of_rows_in_a_file_does_not_matter(tmp_path):
    spec = study(("swap", "none", 1), languages=["en"])
    rows = rows_of("SSFFFkkS")
    write(tmp_path, "swap/m/none/s1", "en", rows)
    first = table(spec, tmp_path)
    write(tmp_path, "swap/m/none/s1", "en", rows[::-1])
    assert table(spec, tmp_path) == first


def test_an_attacks_own_languages_make_its_mean_and_lacking_ones_leave_it_out(tmp_path):
    spec = study(("swap", "none", 1), ("swap", "mnli", 1), languages=["en", "de", "th"])
    for cell in spec["attack_cells"]:
        cell["languages"] = {"own": ["en", "de"]}
    for name in ("none", "mnli"):
        write(tmp_path, f"swap/m/{name}/s1", "en", rows_of("SF"))
    write(tmp_path, "swap/m/none/s1", "de", rows_of("FF"))
    found = table(spec, tmp_path)
    assert {key[-1] for key in found if key[3] == "none"} == {"en", "de", "mean", "mean_non_en"}
    assert found["swap", "adaptive", None, "none", 1, "mean"]["attacked"] == 75
    assert {key[-1] for key in found if key[3] == "mnli"} == {"en"}
    _, missing = outcomes.load(spec, tmp_path)
    assert [one["file"] for one in missing] == ["attacks/swap/m/mnli/s1/own/de.jsonl"]


def test_cells_with_other_languages_have_means_over_their_own_and_are_not_subtracted(tmp_path):
    spec = study(("swap", "none", 1), ("swap", "mnli", 1), ("swap", "all9", 1), languages=["en", "de"])
    spec["attack_cells"][2]["languages"] = {"own": ["de"]}
    for name in ("none", "mnli"):
        write(tmp_path, f"swap/m/{name}/s1", "en", rows_of("SF"))
        write(tmp_path, f"swap/m/{name}/s1", "de", rows_of("FF"))
    write(tmp_path, "swap/m/all9/s1", "de", rows_of("SS"))
    found = table(spec, tmp_path)
    assert {key[-1] for key in found if key[3] == "all9"} == {"de", "mean", "mean_non_en"}
    assert found["swap", "adaptive", None, "all9", 1, "mean"]["attacked"] == 0
    assert found["swap", "adaptive", None, "none", 1, "mean"]["attacked"] == 75
    rows = changes.rows(outcomes.Outcomes(spec, outcomes.load(spec, tmp_path)[0]))
    told = {(row["intermediate"], row["language"]): row["n_examples"] for row in rows}
    assert told == {
        ("mnli", "en"): 2, ("mnli", "de"): 2, ("mnli", "mean"): 4, ("mnli", "mean_non_en"): 2,
        ("all9", "de"): 2, ("all9", "mean_non_en"): 2,
    }  # fmt: skip


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Three sizes of one family, two attacks of different strength, one of which lacks the largest model on XQuAD."""
    root = tmp_path_factory.mktemp("many")
    models = {**analysis_study.MODELS}
    models["me5-small-l12"] = {"parameters": 117_500_000, "non_embedding_parameters": 21_500_000, "family": "me5"}
    spec = attack_study.spec(seeds=(1,), attacks=["badchars", "case"], models=models, samples=50)
    spec["targets"] = {name: spec["targets"][name] for name in ("xnli", "xquad")}
    cells = [(model, name) for model in models for name in ("none", "all9")]
    spec["cells"] = [{"model": m, "intermediate": i, "seed": 1, "targets": ["xnli", "xquad"]} for m, i in cells]
    spec["attack_cells"] = [
        {"attack": a, "model": m, "intermediate": i, "seed": 1, "targets": ["xnli", "xquad"], "examples": 20,
         "languages": {"xnli": ["en", "de", "zh"], "xquad": ["zh"]}} for a in ("badchars", "case") for m, i in cells
    ]  # fmt: skip
    attack_study.build(root, spec)
    (root / "attacks/case/me5-small-l12/none/s1/xquad/zh.jsonl").unlink()
    analyse(spec, root, analysis_study.catalog(root))
    return spec, root


def test_trends_name_the_attacks_they_are_the_mean_of_and_need_all_of_them(many):
    _, root = many
    trends = {(r["target"], r["intermediate"], r["measure"]): r for r in tables.read("scaling", root)}
    fitted = trends["xnli", "all9", "attacked"]
    assert fitted["status"] == "fitted" and fitted["why"].endswith("mean over attacks: badchars, case")
    values = {
        (r["attack"], r["model"]): r["attacked"]
        for r in tables.read("robustness", root)
        if (r["intermediate"], r["target"], r["language"], r["source"]) == ("all9", "xnli", "mean_non_en", None)
    }
    sizes = {"me5-small-l3": 5_520_000, "me5-small-l6": 10_830_000, "me5-small-l12": 21_500_000}
    means = [(values["badchars", model] + values["case", model]) / 2 for model in sizes]
    assert fitted["slope"] == pytest.approx(np.polyfit(np.log10(list(sizes.values())), means, 1)[0], abs=0.05)
    for key in (("xquad", "none", "attacked"), ("xquad", "all9", "robustness_change")):
        assert trends[key]["n_sizes"] == 3 and trends[key]["why"].endswith("mean over attacks: badchars"), key
    assert trends["xquad", "all9", "attacked"]["why"].endswith("mean over attacks: badchars, case")


def scaled(spec, root) -> dict:
    found = outcomes.Outcomes(spec, outcomes.load(spec, root)[0])
    rows = scaling.rows(spec, estimates.Estimates(spec, {}), found)
    return {(row["target"], row["intermediate"], row["measure"]): row for row in rows}


def test_an_attack_on_sources_of_static_texts_alone_is_no_part_of_a_trend(many):
    """Otherwise the one size that it ran on would share no attack with the others."""
    spec, root = many
    source = {"model": "me5-small-l12", "intermediate": "none", "seed": 1}
    cells = [
        cell for cell in spec["attack_cells"]
        if (cell["attack"] == "case" and all(cell[key] == source[key] for key in source))
        or (cell["attack"] == "badchars" and cell["model"] != "me5-small-l12")
    ]  # fmt: skip
    moved = [{**cell, "source": "me5-small-l12.none.s1"} for cell in spec["attack_cells"]
             if cell["attack"] == "case" and cell["model"] == "me5-small-l3"]  # fmt: skip
    row = scaled({**spec, "attack_cells": cells, "transfer_cells": moved}, root)["xnli", "none", "attacked"]
    assert (row["n_sizes"], row["status"]) == (2, "refused")
    alone = scaled({**spec, "attack_cells": cells}, root)["xnli", "none", "attacked"]
    assert alone["n_sizes"] == 0 and "no attack was run on all attacked sizes" in alone["why"]


def test_a_trend_needs_the_same_languages_at_every_size(many):
    spec, root = many
    cells = [
        {**cell, "languages": {"xnli": ["en", "de"], "xquad": ["zh"]}}
        if (cell["attack"], cell["model"]) == ("badchars", "me5-small-l3") else cell
        for cell in spec["attack_cells"]
    ]  # fmt: skip
    row = scaled({**spec, "attack_cells": cells}, root)["xnli", "none", "attacked"]
    assert row["n_sizes"] == 3 and row["why"].endswith("mean over attacks: case")


def test_equal_files_give_equal_bytes(many):
    spec, root = many
    names = ("robustness", "robustness_changes", "transfer", "scaling")
    before = {name: (root / f"{name}.csv").read_bytes() for name in names}
    for path in (root / "attacks").rglob("*.jsonl"):
        write_jsonl(path, read_jsonl(path)[::-1])  # finished in another order
    analyse(spec, root, analysis_study.catalog(root))
    assert {name: (root / f"{name}.csv").read_bytes() for name in names} == before
