"""The report's figures. Each function draws one and returns it; None where the study has nothing for it."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from xstilts.catalog import GROUPS
from xstilts.report import attack_figures, layers, style
from xstilts.report.contents import NONE, Contents
from xstilts.report.drawing import legend, mark, text


def gains(contents: Contents) -> Figure | None:
    """Heat map: intermediate x target for each model, gain over `none` on the non-English mean."""
    rows = [(model, name) for model, name in contents.cells() if name != NONE]
    values = {(m, i, t): contents.gains.get((m, i, t, "mean_non_en")) for m, i in rows for t in contents.targets}
    found = [abs(row["gain"]) for row in values.values() if row]
    if not found:
        return None
    limit = max(5.0, math.ceil(float(np.quantile(found, 0.95))))
    colours, norm = LinearSegmentedColormap.from_list("gains", style.GAINS), TwoSlopeNorm(0, -limit, limit)
    places = _columns(contents)
    mean_at = max(places.values()) + 1.35
    models = list(dict.fromkeys(model for model, _ in rows))
    height = 0.42 * len(rows) + 0.62 * len(models) + 0.95
    figure = Figure(figsize=(9.6, height))
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    top = 0.0
    for group in GROUPS:
        columns = [places[name] for name in contents.targets if contents.spec["targets"][name]["group"] == group]
        if columns:
            axes.plot([min(columns) + 0.05, max(columns) + 0.95], [-0.42, -0.42], color=style.RULE, lw=1.2)
            text(axes, np.mean(columns) + 0.5, -0.68, style.GROUP_LABELS[group], color=style.MUTED, size=9)
    for name, place in places.items():
        text(axes, place + 0.5, -0.1, style.target(name), weight="bold", size=9.5)
    text(axes, mean_at + 0.5, -0.1, "mean", weight="bold", size=9.5, color=style.MUTED)
    for model in models:
        axes.plot(-3.05, top + 0.48, "o", color=contents.colours[model], ms=7)
        size = style.parameters(contents.spec["models"][model]["non_embedding_parameters"])
        text(axes, -2.85, top + 0.48, f"{model}", ha="left", weight="bold")
        text(axes, max(places.values()) + 1, top + 0.48, f"{size} non-embedding parameters", ha="right",
              color=style.MUTED, size=8.5)  # fmt: skip
        top += 0.85
        for _, name in [row for row in rows if row[0] == model]:
            axes.plot(-2.95, top + 0.47, contents.markers[name], color=style.INK, mfc="none", ms=5.5)
            text(axes, -2.7, top + 0.5, contents.label(name), ha="left")
            for target, place in places.items():
                _cell(axes, place, top, values[model, name, target], colours, norm)
            mean = contents.mean_gain(model, name)
            text(axes, mean_at + 0.5, top + 0.5, style.signed(mean), color=style.MUTED)
            top += 0.95
        top += 0.3
    axes.set_xlim(-3.3, mean_at + 1.05)
    axes.set_ylim(top - 0.1, -1.0)
    return figure


def _columns(contents: Contents) -> dict[str, float]:
    """Target -> left edge of its column, with a small gap between groups."""
    places, place, before = {}, 0.0, None
    for name in contents.targets:
        group = contents.spec["targets"][name]["group"]
        place += 0.2 if before not in (None, group) else 0
        places[name], before = place, group
        place += 1
    return places


def _cell(axes, place: float, top: float, row: dict | None, colours, norm) -> None:
    if row is None:
        axes.add_patch(Rectangle((place + 0.03, top + 0.03), 0.94, 0.88, fc="none", ec=style.RULE, hatch="////", lw=0))
        text(axes, place + 0.5, top + 0.5, "–", color=style.MUTED)
        return
    colour = colours(norm(np.clip(row["gain"], norm.vmin, norm.vmax)))
    axes.add_patch(Rectangle((place + 0.03, top + 0.03), 0.94, 0.88, fc=colour, ec="none"))
    clear = row["ci_low"] > 0 or row["ci_high"] < 0
    text(axes, place + 0.5, top + 0.5, style.signed(row["gain"]) + (" •" if clear else ""), size=9.5,
          color=style.ink_on(colour), weight="bold" if clear else "normal")  # fmt: skip


def size_scores(contents: Contents) -> Figure | None:
    """Score against model size, a panel a target: all intermediates, points for means, small dots for seeds."""

    def draw(axes, model: str, name: str, target: str, x: float) -> float | None:
        value = contents.score(model, name, target, "mean_non_en")
        if value is not None:
            seeds = contents.seeds(model, name, target, "mean_non_en")
            if len(seeds) > 1:
                axes.plot([x] * len(seeds), seeds, ".", color=contents.colours[model], alpha=0.45, ms=4)
            mark(axes, contents, model, name, x, value)
        return value

    return _by_size(contents, draw, contents.intermediates, "score")


def size_gains(contents: Contents) -> Figure | None:
    """Gain over `none` against model size, a panel a target, with 95 % intervals."""

    def draw(axes, model: str, name: str, target: str, x: float) -> float | None:
        row = contents.gains.get((model, name, target, "mean_non_en"))
        if row is None:
            return None
        axes.plot([x, x], [row["ci_low"], row["ci_high"]], color=contents.colours[model], lw=1.6, solid_capstyle="butt")
        mark(axes, contents, model, name, x, row["gain"])
        return row["gain"]

    return _by_size(contents, draw, [name for name in contents.intermediates if name != NONE], "gain", zero=True)


def _by_size(contents: Contents, draw, names: list[str], what: str, zero: bool = False) -> Figure | None:
    targets = contents.targets
    sizes = {model: contents.spec["models"][model]["non_embedding_parameters"] for model in contents.models}
    lowest, highest = min(sizes.values()), max(sizes.values())
    step = 0.035 * max(math.log10(highest / lowest), 0.5) / max(1, len(names) / 6)
    columns = min(3, len(targets))
    lines = math.ceil(len(targets) / columns)
    figure = Figure(figsize=(9.6, 2.15 * lines + 0.75), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False, sharex=True)
    drawn = False
    for axes, target in zip(panels.flat, targets, strict=False):
        axes.set_title(style.target(target))
        axes.grid(axis="y")
        axes.tick_params(length=0)
        if zero:
            axes.axhline(0, color=style.MUTED, lw=1)
        for index, name in enumerate(names):
            shift = (index - (len(names) - 1) / 2) * step
            points = {m: draw(axes, m, name, target, sizes[m] * 10**shift) for m in contents.models}
            drawn = drawn or any(value is not None for value in points.values())
            _trends(axes, contents, target, name, what, points)
        axes.set_xscale("log")
        margin = max(0.12 * math.log10(highest / lowest), 0.12)
        axes.set_xlim(lowest / 10**margin, highest * 10**margin)
        axes.set_xticks(sorted(set(sizes.values())), [style.parameters(size) for size in sorted(set(sizes.values()))])
        axes.minorticks_off()
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        axes.margins(y=0.15)
    for axes in panels.flat[len(targets) :]:
        axes.set_axis_off()
    figure.supxlabel("non-embedding parameters (log scale)", size=9.5, color=style.MUTED)
    figure.supylabel(f"{what}, points", size=9.5, color=style.MUTED)
    legend(figure, contents, names)
    return figure if drawn else None


def _trends(axes, contents: Contents, target: str, name: str, measure: str, points: dict[str, float | None]) -> None:
    """The fitted line of each family that has one in scaling.csv, through the middle of its points."""
    models = contents.spec["models"]
    for family, slope in contents.slopes(target, name, measure).items():
        known = {
            model: value for model, value in points.items() if value is not None and models[model]["family"] == family
        }
        sizes = np.array([models[model]["non_embedding_parameters"] for model in known], dtype=float)
        middle, level = np.log10(sizes).mean(), np.mean(list(known.values()))
        ends = np.array([sizes.min(), sizes.max()])
        axes.plot(ends, level + slope * (np.log10(ends) - middle), color=style.SHALLOW, lw=1, zorder=1)


def baselines(contents: Contents) -> Figure | None:
    """Chosen intermediate of each model beside the shallow baseline and XLM-R large as published."""
    shallow = {
        target: next((row["baseline"] for key, row in contents.over_baseline.items() if key[1] == target), None)
        for target in contents.targets
    }
    values = {
        (row["target"], row["baseline"]): [] for row in contents.tables["baselines"] if row["language"] == "mean_non_en"
    }
    for row in contents.tables["baselines"]:
        if row["language"] == "mean_non_en":
            values[row["target"], row["baseline"]].append(row["value"])
    if not any(shallow.values()):
        return None
    published = contents.published_scores()
    figure = Figure(figsize=(9.6, 0.2 * len(contents.targets) * (1 + len(contents.models)) + 1.5), layout="constrained")
    axes = figure.subplots()
    place, ticks = 0.0, {}
    for target in contents.targets:
        start, known = place, values.get((target, shallow[target]))
        base = sum(known) / len(known) if known else None
        span = len(contents.models) - 1
        for kind, height, style_ in (("none", 0.45, (0, (1.5, 1.2))), ("best", 0.45, "-")):
            if kind in published.get(target, {}):
                axes.vlines(published[target][kind], start - height, start + span + height, color=style.PUBLISHED,
                            lw=1.4, linestyles=[style_])  # fmt: skip
        if base is not None:
            axes.plot(base, start + span / 2, "x", color=style.SHALLOW, ms=7, mew=2.2, zorder=2)
        for model in contents.models:
            name = contents.choice.get((model, target))
            score = contents.score(model, name, target, "mean_non_en") if name else None
            row = contents.over_baseline.get((model, target, "mean_non_en"))
            if score is not None:
                if row and base is not None:
                    ends = [base + row["ci_low"], base + row["ci_high"]]
                    axes.plot(ends, [place, place], color=contents.colours[model], lw=2.2, solid_capstyle="butt")
                mark(axes, contents, model, name, score, place)
            place += 1
        ticks[(start + place - 1) / 2] = style.target(target)
        place += 0.8
    axes.set_yticks(list(ticks), list(ticks.values()))
    axes.set_ylim(place - 1.1, -0.8)
    axes.set_xlim(-2, 102)
    axes.grid(axis="x")
    axes.tick_params(length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("score, mean over languages (ours: without English)", size=9.5, color=style.MUTED)
    extra = [Line2D([], [], ls="", marker="x", mew=2.2, color=style.SHALLOW, label="shallow baseline")]
    if published:
        extra += [
            Line2D([], [], ls=(0, (1.5, 1.2)), color=style.PUBLISHED, label="XLM-R large, published"),
            Line2D([], [], ls="-", color=style.PUBLISHED, label="X-STILTs best, published"),
        ]
    legend(figure, contents, [n for n in contents.intermediates if n in contents.choice.values()], extra=extra)
    return figure


FIGURES = {"gains": gains, "size_scores": size_scores, "size_gains": size_gains, "robustness": attack_figures.scores,
           "attack_languages": attack_figures.languages, "transfer": attack_figures.transfer, "baselines": baselines,
           "layers": layers.figure}  # in the order of the page  # fmt: skip
