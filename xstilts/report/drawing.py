"""What several figures draw alike."""

from __future__ import annotations

from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from xstilts.report import style
from xstilts.report.contents import Contents

# 0 (pale) to 100 percent (dark orange, the colour of losses)
RATES = LinearSegmentedColormap.from_list("rates", style.GAINS[3::-1])


def text(axes, x: float, y: float, words: str, ha: str = "center", size: float = 10, **kwargs) -> None:
    """Words at a place, centred vertically."""
    axes.text(x, y, words, ha=ha, va="center", size=size, **kwargs)


def mark(axes, contents: Contents, model: str, name: str, x: float, y: float, hollow: bool = False, size: float = 6.5):
    """The marker of an intermediate in the colour of a model."""
    colour = contents.colours[model]
    axes.plot(x, y, contents.markers[name], color=colour, mfc=style.PAPER if hollow else colour, ms=size,
              mew=1.3 * size / 6.5, zorder=3)  # fmt: skip


def legend(figure: Figure, contents: Contents, names: list[str], models: bool = True, extra=()) -> None:
    """Models by colour, intermediates by marker, in one line above the panels."""
    keys = []
    if models:
        keys += [Line2D([], [], ls="", marker="o", color=contents.colours[m], label=m) for m in contents.models]
    keys += [
        Line2D([], [], ls="", marker=contents.markers[n], color=style.MUTED, mfc="none", label=contents.label(n))
        for n in names
    ]
    figure.legend(handles=[*keys, *extra], loc="outside upper left", ncols=min(7, len(keys) + len(extra)),
                  fontsize=9, handletextpad=0.4, columnspacing=1.2, handlelength=1.4)  # fmt: skip


def rate(axes, x: float, y: float, percent: float | None, size: float) -> None:
    """A cell of a heat map of rates 0-100, its number in it; hatched where there is none."""
    if percent is None:
        axes.add_patch(Rectangle((x + 0.04, y + 0.04), 0.92, 0.92, fc="none", ec=style.RULE, hatch="////", lw=0))
        return
    colour = RATES(percent / 100)
    axes.add_patch(Rectangle((x + 0.02, y + 0.02), 0.96, 0.96, fc=colour, ec="none"))
    text(axes, x + 0.5, y + 0.53, f"{percent:.0f}", size=size, color=style.ink_on(colour))
