"""A table once, written three ways: HTML (in the page), Markdown and LaTeX."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

LATEX = {"\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
         "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "−": "$-$", "–": "--", "±": r"$\pm$", "×": r"$\times$",
         "•": r"$\bullet$", "≥": r"$\geq$", "●": r"$\bullet$", "○": r"$\circ$", "·": r"$\cdot$",
         "†": r"$\dagger$"}  # fmt: skip

SHORT = 16  # characters; a column of prose with more in a cell is a paragraph
CHARACTER = 0.0145  # of an article's line, 10 point


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
        lines = [self.columns, rule, *[[_line(cell).replace("|", "\\|") for cell in row] for row in self.rows]]
        return f"{self.caption}\n\n" + "".join("| " + " | ".join(line) + " |\n" for line in lines)

    def latex(self) -> str:
        """A booktabs table environment."""
        body = "".join(" & ".join(_latex(_line(cell)) for cell in row) + r" \\" + "\n" for row in self.rows)
        head = " & ".join(_latex(column) for column in self.columns) + r" \\" + "\n"
        packages = ["booktabs", *(["array"] if self.prose else []), *(["url"] if r"\url{" in body else [])]
        return (
            f"% needs \\usepackage{{{','.join(packages)}}}\n\\begin{{table}}\n\\centering\n"
            f"\\caption{{{_latex(self.caption)}}}\n\\label{{tab:{self.name}}}\n\\begin{{tabular}}{{{self._layout()}}}\n"
            f"\\toprule\n{head}\\midrule\n{body}\\bottomrule\n\\end{{tabular}}\n\\end{{table}}\n"
        )

    def _layout(self) -> str:
        """One letter a column; in prose, columns of long text are paragraphs that share what the short ones leave."""
        if not self.prose:
            return "".join("l" if self.is_text(place) else "r" for place in range(len(self.columns)))
        columns = zip(self.columns, *self.rows, strict=True)
        widths = [max(len(_line(cell)) for cell in column) for column in columns]
        long = {place: width**0.5 for place, width in enumerate(widths) if width > SHORT}
        short = sum(width for width in widths if width <= SHORT)
        room = max(0.5, 1 - CHARACTER * (short + 3 * len(widths)))
        shares = {place: room * root / sum(long.values()) for place, root in long.items()}
        paragraph = r">{\raggedright\arraybackslash}p{%.2f\linewidth}"
        return "".join(paragraph % shares[place] if place in long else "l" for place in range(len(widths)))


def _line(cell) -> str:
    """A cell on one line: a line break would end a row."""
    return re.sub(r"[ \t\r\n]+", " ", str(cell)).strip()


def _latex(text: str) -> str:
    """Text for LaTeX; addresses can be broken between lines."""
    return "".join(
        rf"\url{{{part}}}" if part.startswith(("http://", "https://")) else _escaped(part)
        for part in re.split(r"(https?://[^\s;,)]+)", text)
    )


def _escaped(text: str) -> str:
    return re.sub(r"`(.+?)`", r"\\texttt{\1}", "".join(LATEX.get(character, character) for character in text))
