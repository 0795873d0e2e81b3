"""The report: complete, self-contained, equal to the byte, honest about what is missing."""

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import analysis_study
import pytest

from xstilts.analysis.run import analyse
from xstilts.report.build import report
from xstilts.report.contents import Contents
from xstilts.report.narrative import warnings
from xstilts.report.tables import Cell, Table


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    results = tmp_path_factory.mktemp("demo") / "results"
    spec = analysis_study.spec()
    analysis_study.build(results, spec)
    catalog = analysis_study.catalog(results.parent)
    analyse(spec, results, catalog)
    report(spec, results, catalog)
    return spec, results, catalog


def page(results) -> str:
    return (results / "report.html").read_text(encoding="utf-8")


def outputs(results) -> dict:
    files = [*(results / "figures").iterdir(), *(results / "tables").iterdir(), results / "report.html"]
    return {path.name: path.read_bytes() for path in files}


class Links(HTMLParser):
    """Collects what a page would load and where it links to, and whether its tags balance."""

    VOID = ("meta", "link", "br", "img", "path", "use", "rect", "circle")

    def __init__(self, text: str):
        super().__init__()
        self.loads, self.ids, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        for key, value in attributes:
            if key in ("src", "href", "xlink:href", "data", "action", "poster", "srcset"):
                self.loads.append(value)
            if key == "id":
                self.ids.append(value)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_page_opens_offline_and_holds_together(demo):
    text = page(demo[1])
    links = Links(text)
    assert links.open == []
    assert all(link.startswith("#") or link == "data:," for link in links.loads)
    assert {link[1:] for link in links.loads if link.startswith("#")} <= set(links.ids)
    assert len(links.ids) == len(set(links.ids))
    assert "<script" not in text and "@import" not in text and not re.search(r"url\((?!#)", text)
    assert str(demo[1]) not in text and "/tmp/" not in text and "/home/" not in text


def test_figures_and_tables_are_there_in_both_forms(demo):
    names = set(outputs(demo[1]))
    for figure in ("gains", "size_scores", "size_gains", "robustness", "baselines"):
        assert {f"{figure}.svg", f"{figure}.png"} <= names
    for table in ("grid", "scores", "gains", "languages_xnli", "robustness", "baselines", "claims", "cost"):
        assert {f"{table}.md", f"{table}.tex"} <= names


def test_second_report_is_equal_to_the_byte(demo):
    spec, results, catalog = demo
    before = outputs(results)
    report(spec, results, catalog)
    assert outputs(results) == before


def test_demonstration_banner_and_the_encoders_limits(demo):
    text = page(demo[1])
    assert "A demonstration, not evidence" in text and "Expect retrieval to fall" in text and "One seed" in text
    assert warnings(Contents({**demo[0], "demonstration": False}, demo[1], demo[2])) == []


def test_captions_say_n_bar_and_selection(demo):
    captions = re.findall(r"<figcaption.*?</figcaption>", page(demo[1]), re.S)
    assert len(captions) == 5
    for caption in captions:
        assert "n = " in caption and "1 seed" in caption
        assert "interval" in caption or "size_scores" in caption
        assert "English dev" in caption


def test_baselines_published_numbers_claims_and_selection_are_shown(demo):
    text = page(demo[1])
    for words in ("sliding window", "word overlap", "XLM-R large, published", "Text of claim 14.", "English dev score"):
        assert words in text
    assert "31.0" in text and "mT5" not in text  # jiant's Tatoeba, only the paper's encoder


def test_missing_cells_are_named(demo, tmp_path):
    spec, results, catalog = demo
    copy = tmp_path / "results"
    shutil.copytree(results, copy)
    shutil.rmtree(copy / "predictions/me5-small-l6/squad")
    (copy / "predictions/me5-small-l3/none/s1/xnli/test-ru.tsv").unlink()
    shutil.rmtree(copy / "attacks/charswap/me5-small-l6/none")
    analyse(spec, copy, catalog)
    report(spec, copy, catalog)
    text = page(copy)
    assert "Nothing is missing" in page(results) and "Nothing is missing" not in text
    assert "me5-small-l3, none, seed 1, XNLI: ru" in text
    assert "attack charswap: me5-small-l6, none, seed 1, UDPOS: en de ru zh" in text
    assert "○ 0 of 4" in text and "○ 3 of 4" in text


def test_a_study_with_nothing_but_a_grid_still_reports(tmp_path):
    spec, catalog = analysis_study.spec(), analysis_study.catalog(tmp_path)
    results = tmp_path / "results"
    results.mkdir()
    analyse(spec, results, catalog)
    report(spec, results, catalog)
    assert "0 of 180" in page(results) and not (results / "figures").exists()


def test_one_model_one_seed_without_attacks(tmp_path):
    models = {"tiny": {"parameters": 90_000, "non_embedding_parameters": 20_000, "family": "tiny"}}
    spec = analysis_study.spec(models=models, cells=[("tiny", "none"), ("tiny", "mnli")], samples=20)
    analysis_study.build(tmp_path, spec, items=5)
    catalog = analysis_study.catalog(tmp_path)
    analyse(spec, tmp_path, catalog)
    report(spec, tmp_path, catalog)
    assert "Expect retrieval to fall" not in page(tmp_path) and "1 model" in page(tmp_path)


def test_latex_is_escaped():
    table = Table("t", "50 % of `none`", ["a_b", "x"], [["me5_small & co", Cell("−1.0", small="[−2.0, 0.1]")]])
    text = table.latex()
    assert r"50 \% of \texttt{none}" in text and r"me5\_small \& co & $-$1.0 [$-$2.0, 0.1]" in text
    assert "| me5_small & co | −1.0 [−2.0, 0.1] |" in table.markdown()


def test_neither_part_imports_torch():
    code = "import sys, xstilts.analysis.run, xstilts.report.build, xstilts.report.figures; "
    code += "print([m for m in ('torch', 'transformers', 'snakemake', 'pandas') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
