"""Sentence retrieval on real data with multilingual-e5-small: Tatoeba in 36 languages, BUCC zh-en by layer.

One thread, bfloat16, as a job on a laptop. `python -m benchmarks tatoeba bucc` measures;
`python -m benchmarks.retrieval` prints benchmarks/results/{tatoeba,bucc}.json as Markdown.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from statistics import fmean

from benchmarks import real

RESULTS = Path(__file__).resolve().parent / "results"
MODEL = "me5-small-l12"


def _embedder():
    """An embedder of the model on one thread, with jiant's settings, and the number of blocks."""
    import torch

    from xstilts import catalog
    from xstilts.evaluation.embedding import Embedder
    from xstilts.models import loading

    torch.set_num_threads(1)
    identity = catalog.load().models[MODEL].identity
    return Embedder(loading.load(real.model(MODEL)), "mean", 512, "bf16", identity["pre_norm"]), identity["layers"]


def _pools(task: str, root: Path, languages: list[str], splits: dict[str, object], split: str) -> dict:
    """{language: Pool} of local data, made by the prepare stage's code; `splits`: the part's, as in the catalog."""
    from xstilts import catalog
    from xstilts.data.prepare import build
    from xstilts.evaluation.retrieval import Pool

    entry = catalog.load().tasks[task]
    part = {**entry.sources["local"][0], "splits": splits}
    spec = {"task": task, "kind": "retrieval", "labels": [], "options": entry.identity["options"], "seed": 1}
    spec |= {"source": "local", "parts": [part]}
    return {
        code: Pool.of(build(spec, code, split, None, [root, None, None], Counter()), f"{task} {code}")
        for code in languages
    }


def tatoeba() -> list[dict]:
    """Percent of sentences whose nearest one is their translation, both directions, at 14/24 and at the last block."""
    from xstilts import catalog
    from xstilts.evaluation import retrieval, search
    from xstilts.evaluation.embedding import layer_at
    from xstilts.evaluation.retrieve import vectors

    root = real.data_root("tatoeba")
    if root is None:
        return []
    languages = catalog.load().tasks["tatoeba"].identity["languages"]
    pools = _pools("tatoeba", root, languages, {"test": "test"}, "test")
    embedder, blocks = _embedder()
    rows, start = [], time.perf_counter()
    for code, layer, source, english in vectors(embedder, pools, [layer_at("14/24", blocks), blocks]):
        forth, back, n = retrieval.accuracies(pools[code], search.both_directions(source, english, 1))
        rows.append({"language": code, "layer": layer, "en_xx": forth, "xx_en": back, "n": n})
    for layer in sorted({row["layer"] for row in rows}):
        own = [row for row in rows if row["layer"] == layer]
        means = {key: fmean(row[key] for row in own) for key in ("en_xx", "xx_en")}
        rows.append({"language": "mean", "layer": layer, **means, "n": sum(row["n"] for row in own)})
    return [*_rounded(rows), _effort(embedder, start)]


def bucc() -> list[dict]:
    """BUCC zh-en by layer: 1-NN accuracy and F1 at the best threshold on the whole pool, and dev -> test on its halves.

    The F1 at a pool's own best threshold (`whole_f1`, `dev_f1`) is an upper bound: the gold pairs chose it. `test_f1`
    cuts one half at the threshold of the other. Repeated sentences are expanded (jiant); dropping them (XTREME) changes
    no figure: the pools have ten, none of them in a gold pair.
    """
    from xstilts.evaluation import retrieval, search
    from xstilts.evaluation.retrieve import vectors

    root = real.data_root("bucc2018")
    if root is None:
        return []
    (whole,) = _pools("bucc2018", root, ["zh"], {"dev": "validation"}, "dev").values()
    halved = {"dev": {"from": "validation", "hold_out": 0.5}, "test": "validation"}
    halves = {split: _pools("bucc2018", root, ["zh"], halved, split)["zh"] for split in ("dev", "test")}
    embedder, blocks = _embedder()
    rows, start = [], time.perf_counter()
    for _, layer, source, english in vectors(embedder, {"zh": whole}, range(blocks + 1)):
        place = [{text: number for number, text in enumerate(side)} for side in whole.texts]
        found = search.both_directions(source, english, 4)
        row = {
            "layer": layer,
            "whole_f1": retrieval.best_threshold(retrieval.mine(whole, found, "expand"), whole.gold)[1],
        }
        row["en_xx"], row["xx_en"], _ = retrieval.accuracies(whole, found)
        found = {}
        for split, pool in halves.items():
            left, right = ([of[text] for text in side] for of, side in zip(place, pool.texts, strict=True))
            found[split] = search.both_directions(source[left], english[right], 4)
        dev, test = (retrieval.mine(halves[split], found[split], "expand") for split in ("dev", "test"))
        threshold, row["dev_f1"] = retrieval.best_threshold(dev, halves["dev"].gold)
        row["test_f1"] = retrieval.f1(retrieval.above(test, threshold), halves["test"].gold)
        rows.append(row)
    pools = {"whole": whole, **halves}
    sizes = {name: [len(pool.source), len(pool.target), len(pool.gold)] for name, pool in pools.items()}
    return [*_rounded(rows), _effort(embedder, start) | {"sentences_sentences_pairs": sizes}]


def _rounded(rows: list[dict]) -> list[dict]:
    return [{key: round(value, 1) if isinstance(value, float) else value for key, value in row.items()} for row in rows]


def _effort(embedder, start: float) -> dict:
    seconds = time.perf_counter() - start
    return {"model": MODEL, "threads": 1, "tokens": embedder.tokens, "seconds": round(seconds, 1)}


def markdown(rows: list[dict]) -> str:
    """The rows of `tatoeba` or `bucc` as a Markdown table (Tatoeba: a line a language), and what it took."""
    *rows, effort = rows
    if "language" in rows[0]:
        layers = sorted({row["layer"] for row in rows})
        value = {(row["language"], row["layer"]): row for row in rows}
        names = [f"block {layer}, {arrow}" for layer in layers for arrow in ("en -> xx", "xx -> en")]
        lines = [["language", *names, "n"]]
        for code in dict.fromkeys(row["language"] for row in rows):
            cells = [value[code, layer][key] for layer in layers for key in ("en_xx", "xx_en")]
            lines.append([code, *cells, value[code, layers[0]]["n"]])
    else:
        lines = [list(rows[0]), *(list(row.values()) for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    table = "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
    return f"{table}\n\n" + ", ".join(f"{key} {value}" for key, value in effort.items())


def main() -> None:
    """Print the stored results as Markdown."""
    for name in ("tatoeba", "bucc"):
        path = RESULTS / f"{name}.json"
        if path.is_file():
            print(f"{name}\n\n{markdown(json.loads(path.read_text(encoding='utf-8'))['rows'])}\n")


if __name__ == "__main__":
    main()
