"""Write the tables of docs/performance.md, docs/attacks.md and docs/robustness.md from benchmarks/results/*.json; the
text between them is written by hand.

    python -m benchmarks.performance           # rewrite the tables in place
    python -m benchmarks.performance --check   # exit status 1 where one is not what the results give

A table stands between `<!-- table: NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import robustness, store
from benchmarks.grids import grid

DOCUMENTS = tuple(store.ROOT / "docs" / f"{name}.md" for name in ("performance", "attacks", "robustness"))
PART = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def _percent(value: float | None) -> str | None:
    return None if value is None else f"{100 * value:.1f} %"


def _ours(rows: Sequence[dict], piece: str) -> list[dict]:
    return [row for row in rows if row.get("piece") == piece]


def training(rows: Sequence[dict]) -> str:
    """Rates of both sides by case and size."""
    header = ["case", "blocks", "ours, tokens/s", "Trainer, tokens/s", "ratio", "each round", "MFU", "ours, MiB"]
    header += ["Trainer, MiB", "ours, other s", "Trainer, other s"]
    own = sorted(_ours(rows, "training"), key=lambda row: row["layers"])
    lines = []
    for case in dict.fromkeys(row["case"] for row in own):
        for row in (row for row in own if row["case"] == case):
            cells = [case, row["layers"], row["ours_tokens_per_s"], row["peer_tokens_per_s"], row["ratio"]]
            cells += [", ".join(map(str, row["ratios"])) or None, _percent(row["mfu"]), row["ours_peak_mb"]]
            lines.append([*cells, row["peer_peak_mb"], row["ours_other_s"], row["peer_other_s"]])
    return grid(header, lines) + _where(own) if own else ""


def ablation(rows: Sequence[dict]) -> str:
    """One change at a time."""
    own = _ours(rows, "ablation")
    lines = []
    for row in own:
        cells = [row["case"], row["ours_tokens_per_s"], row.get("default_ratio"), row["ratio"]]
        lines.append([*cells, row["ours_peak_mb"], row["ours_other_s"]])
    header = ["changed", "tokens/s", "of the default's", "of Trainer's", "peak MiB", "other s"]
    return grid(header, lines) + _where(own) if own else ""


def memory(rows: Sequence[dict]) -> str:
    """Peaks of XLM-R base's shape."""
    own = _ours(rows, "memory")
    lines = [[row["precision"], row["ours_peak_mb"], row["peer_peak_mb"], _percent(row["peak_ratio"])] for row in own]
    return grid(["ours in", "ours, MiB", "Trainer (fp32), MiB", "ratio"], lines) + _where(own) if own else ""


def quality(rows: Sequence[dict]) -> str:
    """Dev scores of fast and plain settings."""
    lines = []
    for row in rows:
        scores = [", ".join(f"{score:.1f}" for score in row[name]) for name in ("fast", "plain")]
        interval = f"{row['ci_low']:+.2f} to {row['ci_high']:+.2f}"
        cells = [
            f"{row['task']}, {row['metric']}",
            row["steps"],
            row["n"],
            *scores,
            f"{row['difference']:+.2f}",
            interval,
        ]
        lines.append([*cells, "yes" if row["significant"] else "no"])
    header = ["task", "steps", "dev examples", "fast, by seed", "plain, by seed", "fast - plain", "95 % interval"]
    return grid([*header, "significant"], lines) + _where(rows) if rows else ""


def gpu(rows: Sequence[dict]) -> str:
    """Rates, MFU and memory on a GPU."""
    header = ["case", "trained", "ours, tokens/s", "compiled", "Trainer", "ratio", "MFU", "Trainer's MFU", "ours, MiB"]
    lines = []
    for row in rows:
        cells = [row["case"], row["trainable"]]
        cells += [row[f"{side}_tokens_per_s"] for side in ("ours", "compiled", "peer")]
        cells += [row["ratio"], _percent(row["mfu"]), _percent(row["peer_mfu"]), row["ours_peak_mb"]]
        lines.append([*cells, row["peer_peak_mb"]])
    return grid([*header, "Trainer, MiB"], lines) + _where(rows) if rows else ""


def attacks(rows: Sequence[dict]) -> str:
    """Attacks against TextAttack on one victim."""
    header = ["attack", "examples", "ours, examples/s", "TextAttack", "ratio", "each round", "ours, queries/s"]
    header += ["TextAttack", "bare forward passes", "of those", "clean", "attacked, ours", "TextAttack"]
    lines = []
    for row in rows:
        cells = [row["attack"], row["n"], row["ours_examples_per_s"], row["peer_examples_per_s"], row["ratio"]]
        cells += [", ".join(map(str, row["ratios"])), row["ours_queries_per_s"], row["peer_queries_per_s"]]
        cells += [row["forward_bound_queries_per_s"], _percent(row["of_bound"]), row["clean"], row["ours_attacked"]]
        lines.append([*cells, row["peer_attacked"]])
    if not rows:
        return ""
    machine = rows[0]["machine"]
    where = f"{machine['cores']} cores of {machine['processor']}, torch {machine['torch']}, load {machine['load']}"
    return grid(header, lines) + f"\n{where} before the peer's last run.\n"


def _where(rows: Sequence[dict]) -> str:
    """The machines, versions and loads that the rows of a table were measured with."""
    places = []
    for row in rows:
        machine, versions = row["machine"], row["versions"]
        place = f"{machine['cores']} cores of {machine['processor']}"
        if row.get("device") not in (None, "cpu"):
            place = row["device"]
        names = [f"{name} {versions[name]}" for name in ("torch", "transformers", "accelerate") if name in versions]
        threads = f", {row['threads']} threads" if "threads" in row else ""
        places.append(f"{place}{threads}; {', '.join(names)}")
    loads = [load for row in rows for load in row.get("load_before", [])]
    busy = f"; load before a run {min(loads)} to {max(loads)}" if loads else ""
    return f"\n{' / '.join(dict.fromkeys(places))}{busy}.\n"


# table -> (file of results, function, how to measure it)
TABLES: dict[str, tuple[str, Callable, str]] = {
    "training": ("training", training, "make bench ARGS=training"),
    "ablation": ("training", ablation, "make bench ARGS=ablation"),
    "memory": ("training", memory, "make bench ARGS=memory"),
    "quality": ("quality", quality, "make bench ARGS=quality"),
    "gpu": ("gpu", gpu, "make bench-gpu"),
    "attacks": ("attacks", attacks, "make bench ARGS=attacks"),
}
STUDY = "make run STUDY=studies/robustness.yaml, then python -m benchmarks.robustness"
TABLES |= {
    name: ("robustness", getattr(robustness, name), STUDY)
    for name in ("by_target", "by_language", "transfer", "changes", "sets", "not_run")
}


def render(text: str, results: Path = store.RESULTS) -> str:
    """`text` with each table made anew; a table without results says how to measure it."""

    def table(match: re.Match) -> str:
        name, function, command = TABLES[match[2]]
        return match[1] + (function(store.rows(name, results)) or f"Not measured yet: `{command}`.\n") + match[3]

    return PART.sub(table, text)


def main() -> None:
    """Write the documents, or compare them."""
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        new = render(text)
        if new == text:
            continue
        if "--check" in sys.argv[1:]:
            sys.exit(f"{document.name}: not what the results give: python -m benchmarks.performance")
        document.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
