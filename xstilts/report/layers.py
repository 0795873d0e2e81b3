"""The section on retrieval by layer, made from retrieval.csv: the sweep on dev pools, and its choice on test."""

from __future__ import annotations

from statistics import fmean

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from xstilts.report import style
from xstilts.report.contents import Contents
from xstilts.report.style import number, signed
from xstilts.report.tables import Cell, Table

OFFICIAL, BACK = ("both", "en-xx"), "xx-en"  # directions: mining, or English queries; and the way back


class Layers:
    """Rows of retrieval.csv that are means over languages, looked up by cell."""

    def __init__(self, contents: Contents):
        self.rows = [row for row in contents.tables["retrieval"] if row["language"] == "mean"]
        there = {row["target"] for row in self.rows}
        self.targets = [target for target in contents.targets if target in there]
        self.cells = [
            (model, name)
            for model, name in contents.cells()
            if any((row["model"], row["intermediate"]) == (model, name) for row in self.rows)
        ]

    def _found(self, cell: tuple[str, str], target: str, rule: str, directions: tuple[str, ...]) -> list[dict]:
        wanted = (*cell, target, rule)
        keys = ("model", "intermediate", "target", "rule")
        return [
            row for row in self.rows
            if tuple(row[key] for key in keys) == wanted and row["direction"] in directions
        ]  # fmt: skip

    def sweep(self, cell: tuple[str, str], target: str) -> dict[int, float]:
        """layer -> dev score in the official direction, mean over seeds."""
        values: dict[int, list[float]] = {}
        for row in self._found(cell, target, "sweep", OFFICIAL):
            values.setdefault(row["layer"], []).append(row["value"])
        return {layer: fmean(found) for layer, found in sorted(values.items())}

    def test(self, cell: tuple[str, str], target: str, rule: str, back: bool = False) -> float | None:
        """Test score at the layer that a rule (preset, dev) names, mean over seeds; None where there is none."""
        found = self._found(cell, target, rule, (BACK,) if back else OFFICIAL)
        return fmean(row["value"] for row in found) if found else None

    def layers(self, cell: tuple[str, str], target: str, rule: str) -> list[int]:
        """Layers that a rule named, one or, where seeds choose differently, several."""
        return sorted({row["layer"] for row in self._found(cell, target, rule, OFFICIAL)})


def table(contents: Contents) -> Table:
    """Test scores at the layer of the study's settings (rule `preset`) and at the one chosen on dev."""
    found, rows = Layers(contents), []
    for target in found.targets:
        for cell in found.cells:
            preset, dev = (found.test(cell, target, rule) for rule in ("preset", "dev"))
            if preset is None and dev is None:
                continue
            row: list = [style.target(target), cell[0], contents.label(cell[1], target)]
            for rule in ("preset", "dev"):
                names = ", ".join(map(str, found.layers(cell, target, rule)))
                back = found.test(cell, target, rule, back=True)
                score = found.test(cell, target, rule)
                row += [names or "–", number(score), Cell(number(back), "none" if back is None else "")]
            rows.append([*row, signed(dev - preset) if None not in (preset, dev) else "–"])
    caption = (
        "Test scores at the layer that the study's settings name, which the submission uses, and at the layer chosen "
        "on dev pools; mean over languages. BUCC: F1 of mined pairs, which has one direction. Tatoeba: accuracy from "
        "English (the official direction) and back (xx → en). Layer 0 is the embeddings' output, layer i "
        "the output of block i. Every language: `retrieval.csv`."
    )
    columns = ["target", "model", "intermediate", "layer used", "score", "xx → en", "layer by dev", "score",
               "xx → en", "difference"]  # fmt: skip
    return Table("layers", caption, columns, rows, 3)


def caption(contents: Contents) -> str:
    """What the figure shows."""
    seeds = {row["seed"] for row in contents.tables["retrieval"]}
    pools = [row["n"] for row in contents.tables["retrieval"] if row["rule"] == "sweep" and row["language"] != "mean"]
    n = f"n = {min(pools):,} to {max(pools):,} gold pairs a language" if pools else "n = 0"
    n = n.replace(f"{min(pools):,} to {max(pools):,}", f"{min(pools):,}") if pools and min(pools) == max(pools) else n
    return (
        "Dev score by layer, mean over the languages of BUCC's dev pools; no interval. BUCC: F1 at the best threshold; "
        "Tatoeba: accuracy from English. Colour: model; marker: intermediate. Dotted: the layer used. Large filled "
        "marker: the layer with the best dev score (English dev scores have no part in it). "
        f"{n}; {len(seeds)} seed{'' if len(seeds) == 1 else 's'}."
    )


def figure(contents: Contents) -> Figure | None:
    """Dev score against layer: a row of panels a model, a column a target, a line an intermediate."""
    found = Layers(contents)
    models = [model for model in contents.models if any(found.sweep(c, t) for c in found.cells if c[0] == model
                                                        for t in found.targets)]  # fmt: skip
    if not models:
        return None
    drawing = Figure(figsize=(9.6, 2.5 * len(models) + 0.7), layout="constrained")
    panels = drawing.subplots(len(models), len(found.targets), squeeze=False, sharey="col")
    for line, model in zip(panels, models, strict=True):
        for axes, target in zip(line, found.targets, strict=True):
            axes.set_title(f"{style.target(target)}, {model}")
            axes.grid(axis="y")
            axes.tick_params(length=0)
            axes.xaxis.set_major_locator(MaxNLocator(13, integer=True))
            axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
            axes.margins(y=0.12)
            for cell in [cell for cell in found.cells if cell[0] == model]:
                _line(axes, contents, found, cell, target)
    drawing.supxlabel("layer (0: embeddings)", size=9.5, color=style.MUTED)
    drawing.supylabel("dev score", size=9.5, color=style.MUTED)
    names = list(dict.fromkeys(name for _, name in found.cells))
    keys = [Line2D([], [], ls="", marker="o", color=contents.colours[model], label=model) for model in models]
    keys += [Line2D([], [], ls="", marker=contents.markers[name], color=style.MUTED, mfc="none",
                    label=contents.label(name)) for name in names]  # fmt: skip
    keys.append(Line2D([], [], ls=":", color=style.INK, label="layer used"))
    drawing.legend(handles=keys, loc="outside upper left", ncols=min(7, len(keys)), fontsize=9, handletextpad=0.4,
                   columnspacing=1.2, handlelength=1.4)  # fmt: skip
    return drawing


def _line(axes, contents: Contents, found: Layers, cell: tuple[str, str], target: str) -> None:
    values = found.sweep(cell, target)
    if not values:
        return
    colour, marker = contents.colours[cell[0]], contents.markers[cell[1]]
    axes.plot(list(values), list(values.values()), color=colour, lw=1, alpha=0.75, marker=marker, ms=4.5,
              mfc=style.PAPER, mew=1)  # fmt: skip
    for layer in found.layers(cell, target, "preset"):
        axes.axvline(layer, color=style.INK, lw=1.2, ls=":", zorder=0)
    for layer in found.layers(cell, target, "dev"):
        if layer in values:
            axes.plot(layer, values[layer], marker, color=colour, ms=8.5, zorder=4)
