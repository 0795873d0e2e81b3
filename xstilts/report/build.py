"""Writes a study's report: one self-contained page, its figures (SVG, PNG) and its tables (Markdown, LaTeX)."""

from __future__ import annotations

import io
import re
from pathlib import Path

import jinja2
import markupsafe

from xstilts import __version__
from xstilts import catalog as catalogs
from xstilts.files import replacing, write_text
from xstilts.report import (
    attack_narrative,
    datachecks,
    failures,
    gallery,
    layers,
    licences,
    narrative,
    robustness,
    samples,
    sections,
    setting,
    shallow,
    style,
)
from xstilts.report.contents import DAGGER, Contents

TEMPLATES = Path(__file__).parent / "templates"


def report(spec: dict, results: Path, catalog: catalogs.Catalog | None = None) -> None:
    """Write report.html, figures/*.{svg,png} and tables/*.{md,tex} into `results` from its tables.

    Equal tables give equal bytes, but for the section on cost. A partial grid is reported as such.
    """
    style.apply()
    contents = Contents(spec, results, catalog or catalogs.load())
    drawings = figures(contents, results / "figures")
    tables = all_tables(contents)
    for table in tables.values():
        write_text(results / "tables" / f"{table.name}.md", table.markdown())
        write_text(results / "tables" / f"{table.name}.tex", table.latex())
    write_text(results / "report.html", page(contents, drawings, tables, gallery.gallery(contents, results)))


def figures(contents: Contents, folder: Path) -> dict[str, str]:
    """Draw every figure that the study has something for: files in `folder`, and name -> SVG to put into a page."""
    from xstilts.report.figures import FIGURES

    drawings = {}
    for name, draw in FIGURES.items():
        figure = draw(contents)
        if figure is None:
            continue
        figure.draw_without_rendering()  # lays the figure out, once for both formats
        figure.set_layout_engine("none")
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
        write_text(folder / f"{name}.svg", text.getvalue())
        with replacing(folder / f"{name}.png") as part:
            figure.savefig(part, format="png", dpi=200, metadata={"Software": None})
        drawings[name] = inline(text.getvalue(), name)
    return drawings


def inline(svg: str, name: str) -> str:
    """An SVG document as an element of a page: no prolog, ids of its own, width set by the page."""
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.S)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    return svg.replace("<svg", f'<svg role="img" aria-labelledby="caption-{name}"', 1)


def all_tables(contents: Contents) -> dict[str, sections.Table]:
    """Every table of the report by name."""
    tables = [sections.grid(contents), failures.table(contents), sections.scores(contents), sections.gains(contents)]
    tables += [sections.languages(contents, target) for target in contents.targets]
    tables += [sections.scaling(contents), *robustness.all_tables(contents)]
    tables += [shallow.baselines(contents), shallow.intermediates(contents), layers.table(contents)]
    tables += [datachecks.summary(contents), datachecks.pieces(contents)]
    tables += [datachecks.all_data(contents), datachecks.all_pieces(contents)]
    tables += [
        sections.claims(contents),
        sections.selection(contents),
        sections.data(contents),
        sections.cost(contents),
        licences.table(contents),
    ]
    for table in tables:
        if any(DAGGER in str(cell) for row in table.rows for cell in row):
            table.caption = f"{table.caption.strip()} {setting.note(contents)}"
    return {table.name: table for table in tables}


def page(contents: Contents, drawings: dict[str, str], tables: dict, attacked: list[dict] = ()) -> str:
    """The HTML text. attacked: the gallery of attacked texts."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["code"] = _code
    training = contents.spec.get("training", {})
    return environment.get_template("report.html.j2").render(
        css=(TEMPLATES / "report.css").read_text(encoding="utf-8"),
        study=contents.spec["study"],
        lead=setting.lead(contents),
        facts=narrative.facts(contents),
        summary=narrative.summary(contents),
        warnings=narrative.warnings(contents),
        missing=narrative.missing(contents),
        trained=bool(contents.records or contents.intermediate_records),
        notices=contents.spec.get("notices", []),
        captions=narrative.captions(contents),
        trend=narrative.trend(contents),
        figures=drawings,
        numbers={name: number for number, name in enumerate(drawings, 1)},
        attacks={
            "about": attack_narrative.about(contents),
            "no_figure": attack_narrative.no_figure(contents),
            "gallery": attacked,
            "most": robustness.MOST,
        },
        tables=tables,
        samples=samples.samples(contents),
        languages=[f"languages_{target}" for target in contents.targets],
        labels={f"languages_{target}": style.target(target) for target in contents.targets},
        published=[{**row, "target": style.target(row["target"])} for row in contents.published()],
        models=[_model(contents, name) for name in contents.models],
        mixtures=narrative.mixtures(contents),
        setting={
            name: getattr(setting, name)(contents)
            for name in ("phases", "checkpoints", "layer", "layer_rule", "overrides")
        },
        findings=datachecks.findings(contents),
        obligations=licences.groups(contents),
        swept=any(row["rule"] == "sweep" for row in contents.tables["retrieval"]),
        preset=training.get("preset", "–"),
        precision=training.get("precision", "–"),
        trainable=setting.trainable(contents),
        bootstrap_samples=contents.spec["bootstrap"]["samples"],
        version=__version__,
        code=[contents.spec.get(key) for key in ("code", "report_code") if contents.spec.get(key)],
        verdicts=_verdicts(contents),
    )


def _code(text) -> markupsafe.Markup:
    """Escaped text with `words in backticks` set as code."""
    return markupsafe.Markup(re.sub("`(.+?)`", r"<code>\1</code>", str(markupsafe.escape(text))))


def _model(contents: Contents, name: str) -> dict:
    about = contents.spec["models"][name]
    revision = next((row["model_revision"] for row in contents.tables["scores"] if row["model"] == name), "–")
    return {
        "name": name,
        "colour": contents.colours[name],
        "parameters": style.parameters(about["parameters"]),
        "non_embedding": style.parameters(about["non_embedding_parameters"]),
        "family": about["family"],
        "revision": revision,
    }


def _verdicts(contents: Contents) -> list[tuple[str, int]]:
    found = [row["verdict"] for row in contents.tables["claims"]]
    return [(verdict, found.count(verdict)) for verdict in ("holds", "fails", "undecided", "not run")]
