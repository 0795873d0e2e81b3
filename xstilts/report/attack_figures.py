"""The figures of the section on attacks. Each function draws one and returns it; None where there is nothing for it."""

from __future__ import annotations

import math
from statistics import fmean

from matplotlib.figure import Figure

from xstilts.report import style
from xstilts.report.contents import Contents
from xstilts.report.drawing import legend, mark, rate, text

IN_A_ROW = 6  # so many attacks have a panel each in one row; more are small multiples
COLUMNS = 4  # of the small multiples
WIDTH = 9.6  # inches


def scores(contents: Contents) -> Figure | None:
    """Score before (hollow) and under attack (filled), a panel an attack, a line a target and cell."""
    attacked = contents.attacked
    cells = [
        (model, name, target)
        for target in contents.targets
        for model, name in contents.cells()
        if any(attacked.row(attack, model, name, target) for attack in attacked.made())
    ]
    if not cells:
        return None
    names = [name for name in attacked.made() if any(attacked.row(name, *cell) for cell in cells)]
    small = len(names) > IN_A_ROW
    columns = COLUMNS if small else len(names)
    lines = math.ceil(len(names) / columns)
    targets = list(dict.fromkeys(target for _, _, target in cells))
    # small multiples: 0.09 inch a cell, else 0.21
    step = 0.09 if small else 0.21
    height = step * len(cells) + (0.16 if small else 0.2) * len(targets) + (0.35 if small else 0)
    figure = Figure(figsize=(WIDTH, height * lines + 1.25), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False, sharey=True, sharex=True)
    for axes, attack in zip(panels.flat, names, strict=False):
        _panel(axes, contents, attack, cells, targets, small)
    for axes in panels.flat[len(names) :]:
        axes.set_axis_off()
    figure.supxlabel("score (hollow: before the attack, filled: under attack)", size=9.5, color=style.MUTED)
    legend(figure, contents, list(dict.fromkeys(name for _, name, _ in cells)))
    return figure


def _panel(axes, contents: Contents, attack: str, cells: list[tuple], targets: list[str], small: bool) -> None:
    place, ticks, gap = 0.0, {}, 1.75 if small else 0.95
    for target in targets:
        start = place
        for model, name, _ in [cell for cell in cells if cell[2] == target]:
            row = contents.attacked.row(attack, model, name, target)
            if row and row["clean"] is not None:
                colour, size = contents.colours[model], 3.8 if small else 6.5
                axes.plot([row["clean"], row["attacked"]], [place, place], color=colour, lw=1, alpha=0.4)
                axes.plot([row["ci_low"], row["ci_high"]], [place, place], color=colour, lw=1.4 if small else 2.4,
                          solid_capstyle="butt")  # fmt: skip
                mark(axes, contents, model, name, row["clean"], place, hollow=True, size=size)
                mark(axes, contents, model, name, row["attacked"], place, size=size)
            place += 1
        ticks[(start + place - 1) / 2] = style.target(target)
        place += gap
        if target != targets[-1]:
            axes.axhline(place - (gap + 1) / 2, color=style.RULE, lw=0.8)
    axes.set_yticks(list(ticks), list(ticks.values()), fontsize=8.5 if small else 10)
    axes.set_ylim(place - gap - 0.25, -0.8)
    axes.set_xlim(-2, 102)
    axes.set_title(attack)
    axes.grid(axis="x")
    axes.tick_params(length=0)
    axes.spines["left"].set_visible(False)


def languages(contents: Contents) -> Figure | None:
    """Heat map attacks x languages: success rate, mean over models, intermediates and targets."""
    rates = {attack: contents.attacked.by_language(attack) for attack in contents.attacked.made()}
    rows = [((attack, ""), found) for attack, found in rates.items() if found]
    codes = [code for code in contents.languages if any(code in found for _, found in rows)]
    values = [[fmean(found[code]) if code in found else None for code in codes] for _, found in rows]
    return _heat([name for name, _ in rows], codes, values, 1.5) if rows else None


def transfer(contents: Contents) -> Figure | None:
    """Heat map source x victim for each attack: transfer rate, mean over languages and targets."""
    attacked = contents.attacked
    victims = [cell for cell in contents.cells() if cell in attacked.victims()]
    names, values = [], []
    for attack in attacked.made():
        for source in attacked.sources():
            found = [attacked.transferred(attack, source, *victim) for victim in victims]
            if any(found):
                shown = [row and row["success_rate"] for row in found]
                own = [source.rpartition(".")[0] == ".".join(victim) for victim in victims]
                values.append(["·" if same and rate is None else rate for same, rate in zip(own, shown, strict=True)])
                names.append((attack, source.replace(".", " ")))
    heads = [f"{model}\n{contents.label(name)}" for model, name in victims]
    return _heat(names, heads, values, 3.6) if names else None


def _heat(names: list[tuple[str, str]], heads: list[str], values: list[list], left: float) -> Figure:
    """Rows under (group, name), columns under heads; cells are percents, None (hatched) or a text. left: inches."""
    wide, tall = min(0.9, (WIDTH - left) / len(heads)), 0.29
    slanted = wide < 0.075 * max(len(line) for head in heads for line in head.split("\n"))
    above = 0.3 + 0.15 * max(head.count("\n") for head in heads)
    if slanted:
        above = 0.25 + 0.045 * max(map(len, heads))
    figure = Figure(figsize=(WIDTH, tall * len(names) + above))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    before = None
    for line, ((group, name), row) in enumerate(zip(names, values, strict=True)):
        if group != before:
            text(axes, 0.12 - left / wide, line + 0.52, group, ha="left", size=9.5, weight="bold" if name else "normal")
        before = group
        text(axes, -0.1 / wide, line + 0.52, name, ha="right", size=8.5)
        for place, value in enumerate(row):
            if isinstance(value, str):
                text(axes, place + 0.5, line + 0.5, value, color=style.MUTED)
            else:
                rate(axes, place, line, value, min(9.5, 26 * wide))
    for place, head in enumerate(heads):
        if slanted:
            axes.text(place + 0.4, -0.2, head, ha="left", va="bottom", size=7.5, rotation=40, rotation_mode="anchor",
                      linespacing=0.95)  # fmt: skip
        else:
            axes.text(place + 0.5, -0.25, head, ha="center", va="bottom", size=8.5, weight="bold")
    axes.set_xlim(-left / wide, (WIDTH - left) / wide)
    axes.set_ylim(len(names) + 0.05, -above / tall)
    return figure
