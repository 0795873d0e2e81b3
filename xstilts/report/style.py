"""One look for all figures and tables: a colour is a model, a marker an intermediate, everywhere in the report."""

from __future__ import annotations

import matplotlib

INK, MUTED, RULE, PAPER = "#1f2933", "#66707a", "#dfe3e8", "#ffffff"
# greens, purples and greys that differ in lightness too; blue and orange are left to gains and losses
MODEL_COLOURS = ("#1b8a6b", "#a23b8f", "#2f2f2f", "#9a8a1e", "#6cc2ae", "#5b1f4e", "#8d959d", "#d0bb52")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h", "p", "*", "d")
SHALLOW, PUBLISHED = "#9aa3ad", "#1f2933"
# orange (loss) - white - blue (gain): apart in lightness on both sides and for every common colour vision
GAINS = ("#8a3b00", "#c96a1f", "#eeb387", "#f7f7f5", "#9cc3de", "#3f86b8", "#0b4a78")

TARGET_LABELS = {
    "xnli": "XNLI", "pawsx": "PAWS-X", "udpos": "UDPOS", "panx": "PAN-X", "xquad": "XQuAD", "mlqa": "MLQA",
    "tydiqa": "TyDiQA", "bucc2018": "BUCC", "tatoeba": "Tatoeba",
}  # fmt: skip
GROUP_LABELS = {"classification": "Classification", "tagging": "Tagging", "qa": "Question answering",
                "retrieval": "Retrieval"}  # fmt: skip
TASK_LABELS = {
    "none": "none", "anli": "ANLI+", "mnli": "MNLI", "qqp": "QQP", "squad_v2": "SQuAD v2.0", "squad": "SQuAD v1.1",
    "hellaswag": "HellaSwag", "ccg": "CCG", "cosmosqa": "Cosmos QA", "commonsenseqa": "CommonsenseQA",
}  # fmt: skip
BASELINE_LABELS = {
    "majority": "majority label", "always_NOUN": "always NOUN", "word_tag": "word's English tag", "all_O": "all O",
    "gazetteer": "English gazetteer", "random_span": "random span", "sliding_window": "sliding window",
    "word_overlap": "word overlap", "anchor_free_overlap": "anchor-free overlap",
    "hypothesis_only": "words of the second text alone", "bag_of_words": "words of both texts",
    "overlap_trees": "overlap counts", "overlap_negation_trees": "overlap and negation counts",
    "random_candidate": "random answer of the asked type", "no_answer": "always no answer",
    "choice_only": "words of the choice alone", "choice_overlap": "choice with most words of the context",
}  # fmt: skip


RULES = {"english_dev_best": "best", "last": "last", "none": "none"}


def target(name: str) -> str:
    """A target's usual spelling; an unknown (own) task keeps its name."""
    return TARGET_LABELS.get(name, name)


def task(name: str) -> str:
    """An intermediate's (or training task's) usual spelling; mixtures and own tasks keep their names."""
    return TASK_LABELS.get(name) or TARGET_LABELS.get(name, name)


def baseline(name: str) -> str:
    """A shallow baseline in words."""
    return BASELINE_LABELS.get(name, name)


def intermediates(names) -> list[str]:
    """Fixed order: `none`, the paper's nine tasks, then others and mixtures in the study's order."""
    known = [name for name in TASK_LABELS if name in names]
    return [*known, *(name for name in names if name not in known)]


def signed(value: float | None, digits: int = 1) -> str:
    """+1.2, -0.4 with a true minus sign, 0.0; a dash for nothing."""
    if value is None:
        return "–"
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def number(value: float | None, digits: int = 1) -> str:
    """A score with fixed digits and a true minus sign; a dash for nothing."""
    return "–" if value is None else f"{value:.{digits}f}".replace("-", "−")


def plural(count: int, word: str) -> str:
    """`1 seed`, `3 seeds`."""
    return f"{count} {word}" + ("" if count == 1 else "s")


def parameters(value: float) -> str:
    """10.8 M, 3.5 G."""
    return (
        f"{value / 1e9:.1f} G" if value >= 1e9 else f"{value / 1e6:.1f} M" if value >= 1e6 else f"{value / 1e3:.0f} k"
    )


def ink_on(colour) -> str:
    """White or dark text, whichever has the higher contrast on an RGB colour 0-1 (WCAG 2 relative luminance)."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour[:3]]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return PAPER if luminance < 0.22 else INK


def apply() -> None:
    """Set matplotlib up: no display, fonts it ships itself, text kept as text, the same bytes on every run."""
    matplotlib.use("Agg")
    matplotlib.rcParams.update({
        "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "font.size": 10,
        "svg.fonttype": "none", "svg.hashsalt": "xstilts", "figure.facecolor": PAPER, "savefig.facecolor": PAPER,
        "axes.edgecolor": RULE, "axes.labelcolor": INK, "axes.titlesize": 10.5, "axes.titleweight": "bold",
        "axes.titlelocation": "left", "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True,
        "text.color": INK, "xtick.color": MUTED, "ytick.color": MUTED, "xtick.labelcolor": INK,
        "ytick.labelcolor": INK, "axes.grid": False, "grid.color": RULE, "grid.linewidth": 0.8, "legend.frameon": False,
    })  # fmt: skip
