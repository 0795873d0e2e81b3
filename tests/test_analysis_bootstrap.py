"""The statistics, against other libraries and against theory."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from xstilts.analysis import bootstrap
from xstilts.analysis.estimates import Estimates
from xstilts.evaluation.metrics import aggregate


def draw(array, samples=4000, seed=0):
    sums = bootstrap.resampled_sums(array, samples, bootstrap.generator(seed, "test"))
    return bootstrap.score(sums, len(array))


def test_first_entry_is_the_official_score():
    rng = np.random.default_rng(1)
    right = rng.integers(0, 2, (80, 1)).astype(float)
    counts = np.sort(rng.integers(0, 5, (80, 3)), axis=1).astype(float)
    for array in (right, counts):
        assert draw(array, 10)[0] == pytest.approx(aggregate(array), abs=1e-9)
    assert draw(np.zeros((5, 3)), 10).tolist() == [0.0] * 11


def test_interval_of_a_mean_is_scipys():
    values = np.random.default_rng(2).random((200, 1))
    ours = bootstrap.interval(draw(values))
    theirs = stats.bootstrap((values[:, 0],), np.mean, method="percentile", n_resamples=4000, random_state=3)
    assert ours == pytest.approx([100 * edge for edge in theirs.confidence_interval], abs=0.4)


def test_interval_of_f1_is_scipys():
    counts = np.random.default_rng(4).integers(1, 6, (150, 3)).astype(float)
    counts[:, 0] = np.minimum(counts[:, 0], counts[:, 1:].min(axis=1))

    def f1(correct, predicted, gold):
        return 200 * correct.sum() / (predicted.sum() + gold.sum())

    theirs = stats.bootstrap(
        tuple(counts.T), f1, paired=True, vectorized=False, method="percentile", n_resamples=2000, random_state=5
    )
    assert bootstrap.interval(draw(counts)) == pytest.approx(list(theirs.confidence_interval), abs=0.7)


def test_blocks_do_not_change_the_draw(monkeypatch):
    array = np.random.default_rng(6).random((50, 2))
    whole = bootstrap.resampled_sums(array, 100, bootstrap.generator(0, "a"))
    monkeypatch.setattr(bootstrap, "BLOCK", 700)
    np.testing.assert_allclose(bootstrap.resampled_sums(array, 100, bootstrap.generator(0, "a")), whole)


def test_p_is_near_the_paired_t_test():
    rng = np.random.default_rng(7)
    first, second = rng.random(300), rng.random(300) - 0.04
    replicates = draw(np.column_stack([first - second])[:, :1], 4000)
    assert bootstrap.p_value(replicates) == pytest.approx(stats.ttest_rel(first, second).pvalue, rel=0.25, abs=0.01)
    assert bootstrap.p_value(np.zeros(101)) == 1.0
    assert bootstrap.p_value(np.full(100, 3.0)) == 2 / 100


def test_holm_is_statsmodels():
    values = np.random.default_rng(8).random(40) ** 3
    theirs = multipletests(values, method="holm")[1]
    np.testing.assert_allclose(bootstrap.holm(values.tolist()), theirs)
    assert bootstrap.holm([]) == []


def test_slope_is_least_squares():
    x, y = np.array([6.0, 7.0, 8.5]), np.array([50.0, 55.0, 61.0])
    assert bootstrap.slopes(x, y[:, None])[0] == pytest.approx(stats.linregress(x, y).slope)


def study(samples=400):
    return {
        "bootstrap": {"samples": samples, "seed": 0},
        "targets": {"xnli": {"languages": ["en", "de"]}},
    }


def test_intervals_cover_the_truth():
    """Of 200 made-up tests with seeds and examples at random, about 95 % of the intervals hold the true mean."""
    rng, inside = np.random.default_rng(9), 0
    for _ in range(200):
        cells, ability = {}, rng.normal(0, 0.03, 8)
        hardness = rng.normal(0, 0.25, 120)
        for seed in range(8):
            chance = np.clip(0.6 + ability[seed] + hardness, 0, 1)
            cells["m", "none", seed, "xnli", "en"] = {"accuracy": (rng.random(120) < chance)[:, None].astype(float)}
        low, high = bootstrap.interval(Estimates(study(), cells).get("m", "none", "xnli", "en"))
        inside += low <= 60 <= high
    assert 178 <= inside <= 199


def test_pairing_narrows_the_interval_of_a_difference():
    rng = np.random.default_rng(10)
    right = (rng.random((400, 1)) < 0.6).astype(float)
    better = np.maximum(right, rng.random((400, 1)) < 0.05)
    cells = {("m", name, 1, "xnli", "en"): {"accuracy": a} for name, a in (("none", right), ("mnli", better))}
    estimates = Estimates(study(), cells)
    difference, seeds = estimates.gain("m", "mnli", "xnli", "en")
    assert seeds == [1] and bootstrap.interval(difference)[0] > 0
    assert np.std(difference[1:]) < np.std(estimates.get("m", "none", "xnli", "en")[1:]) / 2


def test_same_predictions_differ_by_nothing():
    right = (np.random.default_rng(11).random((50, 1)) < 0.5).astype(float)
    cells = {("m", name, 1, "xnli", code): {"accuracy": right} for name in ("none", "mnli") for code in ("en", "de")}
    difference, _ = Estimates(study(), cells).gain("m", "mnli", "xnli", "mean")
    assert not difference.any()


def test_seeds_widen_the_interval():
    rng = np.random.default_rng(12)
    cells = {}
    for seed, share in enumerate((0.4, 0.6, 0.8)):
        cells["m", "none", seed, "xnli", "en"] = {"accuracy": (rng.random((300, 1)) < share).astype(float)}
    estimates = Estimates(study(), cells)
    alone, together = (estimates.get("m", "none", "xnli", "en", seeds) for seeds in ([1], None))
    assert np.std(together[1:]) > 1.5 * np.std(alone[1:])


def test_parallel_languages_are_resampled_together():
    """The same items right in both languages: their mean varies as one language does, not by 1/sqrt(2) of it."""
    right = (np.random.default_rng(13).random((200, 1)) < 0.5).astype(float)
    cells = {("m", "none", 1, "xnli", code): {"accuracy": right} for code in ("en", "de")}
    estimates = Estimates(study(), cells)
    one, mean = (estimates.get("m", "none", "xnli", language) for language in ("en", "mean"))
    np.testing.assert_allclose(one, mean)


def test_a_mean_needs_every_language():
    cells = {("m", "none", 1, "xnli", "en"): {"accuracy": np.ones((5, 1))}}
    estimates = Estimates(study(), cells)
    assert estimates.get("m", "none", "xnli", "mean") is None
    assert estimates.gain("m", "mnli", "xnli", "en") == (None, [])
