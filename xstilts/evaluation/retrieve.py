"""The retrieval job: one encoder, no head, all languages of Tatoeba and BUCC.

It writes XTREME submission files at the preset's layer, the scores of every layer on dev, and a file of timings.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xstilts import files
from xstilts.errors import UserError
from xstilts.evaluation import layers, retrieval, search, submission
from xstilts.evaluation.embedding import Embedder, layer_at
from xstilts.evaluation.timing import Clock
from xstilts.models import loading, runtime

MEMORY = 2 << 30  # bytes of sentence vectors that are held at once (at least one layer of one language)
MINING = ("nearest", "margin")


@dataclass(frozen=True)
class Target:
    """One target of the spec, ready to run. `layer`: the preset's; `folder`: of its prepared examples."""

    name: str
    languages: list[str]
    mining: bool
    hyper: dict
    layer: int
    embedder: Embedder
    folder: Path

    @property
    def neighbours(self) -> int:
        """How many nearest sentences its rule looks at."""
        return self.hyper["neighbours"] if self.mining else 1

    def file(self, language: str, split: str) -> Path:
        """Its prepared examples in one language."""
        return self.folder / language / f"{split}.jsonl"


def retrieve(
    spec: dict,
    model_dir: Path,
    encoder_dir: Path | None,
    examples_dir: Path,
    out_dir: Path,
    layers_file: Path,
    cost: Path,
    device: str = "auto",
    work: Path | None = None,
) -> None:
    """Write `<out_dir>/<target>/test-<language>.tsv` of a `retrieval` spec at the preset's layer, and `layers_file`.

    `encoder_dir`: the checkpoint after intermediate training, read unless the spec's intermediate is `none`. Option
    `mining` says how: `nearest` writes, for each English row, the index among the source rows (Tatoeba); `margin`
    pairs of ids above the threshold that is best on `dev.jsonl` (BUCC). Every layer 0..L is scored on the dev pools of
    the first margin target, for each target by its own rule; the best is chosen, and test scored with it too:
    rows of `layers_file` as `xstilts.evaluation.layers` describes them. With `work`, encodings are kept there and taken
    from there: those of one model's checkpoints are the same.
    """
    for name, entry in spec["targets"].items():
        if entry["options"]["mining"] not in MINING:
            raise UserError(f"{name}: options: mining: {entry['options']['mining']!r}; allowed: {', '.join(MINING)}")
    encoder = None if spec["intermediate"] == "none" else encoder_dir
    model = loading.load(model_dir, encoder, runtime.device(device), runtime.lean(spec["precision"]))
    clock, embedders = Clock(spec, None, model.device), {}
    targets = [_target(name, spec, model, embedders, Path(examples_dir), work) for name in spec["targets"]]
    rows, thresholds, chosen = _sweep(targets, spec["model"]["layers"])
    if chosen:
        _lap(clock, "layers on dev", embedders)
    for target in targets:
        rows += _test(target, chosen.get(target.name), thresholds, Path(out_dir))
        _lap(clock, f"{target.name} test", embedders)
    files.write_jsonl(layers_file, ({key: row[key] for key in layers.KEYS} for row in rows))
    clock.write(cost)


def _target(name: str, spec: dict, model, embedders: dict, examples: Path, work: Path | None) -> Target:
    """Targets of equal settings share an embedder."""
    entry, blocks = spec["targets"][name], spec["model"]["layers"]
    hyper = entry["hyper"]
    settings = hyper["pooling"], hyper["max_length"]
    if settings not in embedders:
        keep = spec.get("code", ""), work
        embedders[settings] = Embedder(model, *settings, spec["precision"], spec["model"]["pre_norm"], *keep)
    layer, mining = layer_at(hyper["layer"], blocks), entry["options"]["mining"] == "margin"
    return Target(name, entry["languages"], mining, hyper, layer, embedders[settings], examples / name)


def _lap(clock: Clock, what: str, embedders: dict) -> None:
    clock.lap(what, sum(one.tokens for one in embedders.values()) - clock.tokens)


def _sweep(targets: list[Target], blocks: int) -> tuple[list[dict], dict, dict[str, int]]:
    """(rows of every layer on dev, thresholds {(target, language, layer)}, the layer chosen for each target).

    A margin target is swept on its own dev pools, every nearest target on those of the first margin target.
    """
    rows, thresholds, chosen = [], {}, {}
    margin = [target for target in targets if target.mining]
    for dev in margin:
        swept = [one for one in targets if one is dev or (dev is margin[0] and not one.mining)]
        found = []
        for embedder in dict.fromkeys(one.embedder for one in swept):
            found += _dev_rows(dev, [one for one in swept if one.embedder is embedder], range(blocks + 1), thresholds)
        for target in swept:
            own = [row for row in found if row["target"] == target.name]
            own.sort(key=lambda row: (dev.languages.index(row["language"]), row["layer"]))
            rows, chosen[target.name] = rows + own, layers.choose(own)
            print(layers.table(own, dev.name, target.layer, chosen[target.name]), flush=True)
    if not margin:
        names = ", ".join(target.name for target in targets)
        print(f"{names}: no layer is chosen: that needs the dev pools of bucc2018, which the study lacks", flush=True)
    return rows, thresholds, chosen


def _dev_rows(dev: Target, swept: list[Target], numbers: Sequence[int], thresholds: dict) -> list[dict]:
    """Rows of the dev pools of `dev` for the targets that share an embedder; fills in `thresholds`."""
    rows, k = [], max(one.neighbours for one in swept)
    for language, layer, pool, found in _searched(dev, swept[0].embedder, "dev", numbers, k):
        for target in swept:
            one = {"target": target.name, "language": language, "split": "dev", "layer": layer, "rule": "sweep"}
            if target.mining:
                candidates = retrieval.mine(pool, found, target.hyper["duplicates"])
                thresholds[target.name, language, layer], f1 = retrieval.best_threshold(candidates, pool.gold)
                rows.append(layers.mined(one, f1, pool))
            else:
                rows += layers.matched(one, pool, found)
    return rows


def _test(target: Target, chosen: int | None, thresholds: dict, out_dir: Path) -> list[dict]:
    """Score test at the preset's layer, writing the submission files, and at the chosen one."""
    rows = []
    wanted = {"preset": target.layer} | ({} if chosen is None else {"dev": chosen})
    numbers = sorted(set(wanted.values()))
    for language, layer, pool, found in _searched(target, target.embedder, "test", numbers, target.neighbours):
        path = out_dir / target.name / submission.file_name("retrieval", language)
        one = {"target": target.name, "language": language, "split": "test", "layer": layer}
        if target.mining:
            candidates = retrieval.mine(pool, found, target.hyper["duplicates"])
            pairs = retrieval.above(candidates, thresholds[target.name, language, layer])
            scores = [layers.mined(one, retrieval.f1(pairs, pool.gold), pool)]
            if layer == target.layer:
                submission.write_pairs(path, pairs)
        else:
            scores = layers.matched(one, pool, found)
            if layer == target.layer:
                submission.write_labels(path, retrieval.nearest(pool, found)[0])
        rows += [row | {"rule": rule} for rule, number in wanted.items() if number == layer for row in scores]
    rules = list(wanted)
    return sorted(rows, key=lambda row: (rules.index(row["rule"]), target.languages.index(row["language"])))


def _searched(
    target: Target, embedder: Embedder, split: str, numbers: Sequence[int], k: int
) -> Iterator[tuple[str, int, retrieval.Pool, tuple]]:
    """(language, layer, pool, its `k` neighbours in both directions) for every language and layer of `numbers`."""
    for languages in _together(target, embedder, split):
        pools = {code: retrieval.read(target.file(code, split), target.mining) for code in languages}
        for code, layer, source, english in vectors(embedder, pools, numbers):
            yield code, layer, pools[code], search.both_directions(source, english, k, embedder.device)


def _together(target: Target, embedder: Embedder, split: str) -> list[list[str]]:
    """Languages whose texts are embedded at once, so that English ones they share are embedded once: all, or each alone
    where two layers of all might not fit `MEMORY` (by the number of rows, whatever the layers wanted)."""
    rows = 0
    for code in target.languages:
        try:
            with open(target.file(code, split), "rb") as handle:
                rows += sum(1 for _ in handle)
        except FileNotFoundError:
            raise UserError(f"{target.file(code, split)}: no such file") from None
    fits = 2 * rows * embedder.bytes_a_text <= MEMORY
    return [target.languages] if fits else [[code] for code in target.languages]


def vectors(
    embedder: Embedder, pools: dict[str, retrieval.Pool], numbers: Sequence[int]
) -> Iterator[tuple[str, int, np.ndarray, np.ndarray]]:
    """(language, layer, vectors of the different source texts, of the English ones) of every pool and layer.

    Each different text is tokenized once, and put through the model once for a group of layers; groups are as large as
    `MEMORY` allows.
    """
    place = {text: None for pool in pools.values() for side in pool.texts for text in side}
    place = {text: number for number, text in enumerate(place)}
    features = embedder.features(list(place))
    size = max(1, MEMORY // (len(place) * embedder.bytes_a_text))
    for first in range(0, len(numbers), size):
        found = embedder.vectors(features, numbers[first : first + size])
        for layer in list(found):
            rows = found.pop(layer)
            for code, pool in pools.items():
                yield code, layer, *(_taken(rows, [place[text] for text in side]) for side in pool.texts)


def _taken(rows: np.ndarray, numbers: list[int]) -> np.ndarray:
    """`rows[numbers]`, without a copy where they are neighbours."""
    if numbers == list(range(numbers[0], numbers[0] + len(numbers))):
        return rows[numbers[0] : numbers[0] + len(numbers)]
    return rows[numbers]
