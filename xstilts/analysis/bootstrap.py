"""Resampling of test examples and seeds: pure functions on arrays, seeded, without loops over examples.

Everywhere here the first entry of the replicate axis (length samples + 1) is the observed value itself; the others
are bootstrap replicates. Sums, differences, means and slopes of such vectors are then right for both at once.
"""

from __future__ import annotations

import math
import zlib
from statistics import NormalDist

import numpy as np

BLOCK = 4_000_000  # entries of one block of example counts: 32 MB


def generator(seed: int, key: str) -> np.random.Generator:
    """A random generator for one named draw: equal names give equal draws, whatever else was drawn before."""
    return np.random.default_rng([seed, zlib.crc32(key.encode("utf-8"))])


def resampled_sums(columns: np.ndarray, samples: int, rng: np.random.Generator) -> np.ndarray:
    """Column sums of the observed rows and of `samples` draws of as many rows with replacement.

    columns (n, c) -> (samples + 1, c). Every column sees the same draw of rows, so differences between columns are
    paired. Efron & Tibshirani 1993, An Introduction to the Bootstrap, ch. 6 and 8.
    """
    rows = len(columns)
    result = np.empty((samples + 1, columns.shape[1]))
    result[0] = columns.sum(axis=0)
    block = max(1, BLOCK // max(rows, 1))
    for start in range(0, samples, block):
        size = min(block, samples - start)
        drawn = rng.integers(0, rows, (size, rows)) + np.arange(size)[:, None] * rows
        counts = np.bincount(drawn.ravel(), minlength=size * rows).reshape(size, rows)
        result[start + 1 : start + 1 + size] = counts.astype(float) @ columns
    return result


def score(sums: np.ndarray, rows: int, empty: float = 0.0) -> np.ndarray:
    """Scores 0-100 from sums (..., k): a mean over `rows` for k = 1; F1 for k = 3 (correct, predicted, gold).

    F1 = 2 correct / (predicted + gold), taken over the whole test set as the official evaluators do; `empty`
    where nothing is predicted and nothing is gold.
    """
    if sums.shape[-1] == 1:
        return 100 * sums[..., 0] / rows
    total = sums[..., 1] + sums[..., 2]
    ratio = np.divide(sums[..., 0], total, out=np.full_like(total, empty / 200), where=total > 0)
    return 200 * ratio


def seed_weights(seeds: int, samples: int, rng: np.random.Generator) -> np.ndarray:
    """Weights (samples + 1, seeds), each row summing to 1: all seeds alike, then seeds drawn with replacement."""
    drawn = rng.integers(0, seeds, (samples, seeds)) + np.arange(samples)[:, None] * seeds
    counts = np.bincount(drawn.ravel(), minlength=samples * seeds).reshape(samples, seeds)
    return np.vstack([np.ones((1, seeds)), counts]) / seeds


def mean_of_known(vectors: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted mean over parts that have a value, draw by draw: vectors (parts, samples + 1), nan where a draw has
    none; weights of the same shape or one a part. nan where no part has a value."""
    weights = np.broadcast_to(weights, vectors.shape) * ~np.isnan(vectors)
    total = weights.sum(axis=0)
    summed = (weights * np.nan_to_num(vectors)).sum(axis=0)
    return np.divide(summed, total, out=np.full_like(total, np.nan), where=total > 0)


def interval(replicates: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of a vector whose first entry is the observed value."""
    low, high = np.quantile(replicates[1:], [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def p_value(replicates: np.ndarray) -> float:
    """Two-sided p of "the difference is 0", from the bootstrap standard error and the normal distribution.

    Counting replicates beyond 0 cannot go below 2 / (samples + 1), which after Holm's correction over hundreds of
    comparisons makes every difference insignificant; the standard error of the same replicates has no such floor.
    Where all replicates are equal it falls back to that floor (or 1 for a difference of exactly 0).
    """
    observed, error = abs(float(replicates[0])), float(np.std(replicates[1:], ddof=1))
    if observed < 1e-12:
        return 1.0
    if error < 1e-12:
        return 2 / len(replicates)
    return math.erfc(observed / error / math.sqrt(2))


def holm(p_values: list[float]) -> list[float]:
    """Holm's step-down adjustment of p values (Holm 1979); 1 is the largest possible."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, running = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted


def slopes(x: np.ndarray, replicates: np.ndarray) -> np.ndarray:
    """Least-squares slope of each replicate: x (points,), replicates (points, samples + 1) -> (samples + 1,)."""
    centred = x - x.mean()
    return centred @ replicates / (centred @ centred)


def wilson(successes: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share, in percent (Wilson 1927; Brown, Cai & DasGupta 2001); n > 0."""
    z, share = NormalDist().inv_cdf((1 + level) / 2), successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return 100 * max(0.0, centre - half), 100 * min(1.0, centre + half)
