"""A table once, written three ways: HTML (in the page), Markdown and LaTeX."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

LATEX = {"\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
         "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "−": "$-$", "–": "--", "±": r"$\pm$", "×": r"$\times$",
         "•": r"$\bullet$", "≥": r"$\geq$", "●": r"$\bullet$", "○": r"$\circ$", "·": r"$\cdot$",
         "†": r"$\dagger$"}  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """One entry: its text, and for the page a second line, a CSS class and a share 0-1 of shading."""

    text: str
    css: str = ""
    shade: float | None = None
    small: str = ""

    def __str__(self) -> str:
        return f"{self.text} {self.small}".strip()


@dataclass
class Table:
    """Columns of text (left) or numbers (right); `first` columns name the row. Rows hold str or Cell."""

    name: str
    caption: str
    columns: list[str]
    rows: list[list] = field(default_factory=list)
    text_columns: int = 1  # so many first columns are text, the rest numbers
    prose: bool = False  # all columns are text

    def is_text(self, place: int) -> bool:
        """Whether a column is left-aligned."""
        return self.prose or place < self.text_columns

    def markdown(self) -> str:
        """A pipe table with its caption above."""
        rule = ["---" if self.is_text(place) else "---:" for place in range(len(self.columns))]
        lines = [self.columns, rule, *[[str(cell).replace("|", "\\|") for cell in row] for row in self.rows]]
        return f"{self.caption}\n\n" + "".join("| " + " | ".join(line) + " |\n" for line in lines)

    def latex(self) -> str:
        """A booktabs table environment."""
        layout = "".join("l" if self.is_text(place) else "r" for place in range(len(self.columns)))
        body = "".join(" & ".join(_latex(str(cell)) for cell in row) + r" \\" + "\n" for row in self.rows)
        head = " & ".join(_latex(column) for column in self.columns) + r" \\" + "\n"
        return (
            "% needs \\usepackage{booktabs}\n\\begin{table}\n\\centering\n"
            f"\\caption{{{_latex(self.caption)}}}\n\\label{{tab:{self.name}}}\n\\begin{{tabular}}{{{layout}}}\n"
            f"\\toprule\n{head}\\midrule\n{body}\\bottomrule\n\\end{{tabular}}\n\\end{{table}}\n"
        )


def _latex(text: str) -> str:
    return re.sub(r"`(.+?)`", r"\\texttt{\1}", "".join(LATEX.get(character, character) for character in text))
