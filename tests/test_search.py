"""Exact nearest neighbours against sums over all pairs in float64."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from xstilts.errors import UserError
from xstilts.evaluation import search

SMALLEST = search.LEAST_MEMORY  # tiles of 64 rows and columns
RNG = np.random.default_rng(3)


def reference(queries, database, k):
    """All float64 dot products; best first, ties by lowest index."""
    scores = (queries.astype(np.float64)[:, None] * database.astype(np.float64)[None]).sum(-1)
    rows = np.broadcast_to(np.arange(len(database)), scores.shape)
    order = np.lexsort((rows, -scores), axis=-1)[:, :k]
    return np.take_along_axis(scores, order, 1), order


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def gauss(*shape):
    return RNG.standard_normal(shape)


def clusters(n, spread):
    return unit(np.repeat(gauss(3, 16), -(-n // 3), axis=0)[:n] + spread * gauss(n, 16))


def repeated(n):
    rows = unit(gauss(n, 16))
    rows[RNG.permutation(n)[: 3 * n // 4]] = rows[0]
    rows[-5:] = rows[n // 2]
    return rows


def with_zeros(n):
    rows = unit(gauss(n, 16))
    rows[::7] = 0
    return rows


CASES = {
    "random": lambda n: unit(gauss(n, 48)),
    "lengths of many scales": lambda n: (gauss(n, 16) * 10.0 ** RNG.integers(-4, 5, (n, 1))).astype(np.float32),
    "tiny": lambda n: (gauss(n, 16) * 1e-30).astype(np.float32),
    "huge": lambda n: (gauss(n, 16) * 1e37).astype(np.float32),
    "subnormal beside one": lambda n: (gauss(n, 16) * np.where(np.arange(n) % 2, 1e-41, 1)[:, None]).astype(np.float32),
    "tiny beside huge": lambda n: (gauss(n, 16) * np.where(np.arange(n) % 2, 1e-30, 1e37)[:, None]).astype(np.float32),
    "clusters of cosines within 1e-7": lambda n: clusters(n, 1e-4),
    "clusters within float32's rounding": lambda n: clusters(n, 1e-7),
    "repeated": repeated,
    "all equal": lambda n: np.ones((n, 5), np.float32),
    "zeros among them": with_zeros,
    "all zero": lambda n: np.zeros((n, 5), np.float32),
    "ties of different rows": lambda n: RNG.integers(-1, 2, (n, 6)).astype(np.float32),
    "width 1": lambda n: RNG.integers(-9, 9, (n, 1)).astype(np.float32),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("n", "m", "k"), [(150, 230, 4), (64, 129, 16), (5, 3, 7), (1, 200, 1)])
def test_equals_all_pairs_in_float64(case, n, m, k):
    source, target = CASES[case](n), CASES[case](m)
    found = search.both_directions(source, target, k, memory=SMALLEST)
    for (values, indices), sides in zip(found, ((source, target), (target, source)), strict=True):
        expected_values, expected = reference(*sides, k)
        assert values.dtype == np.float64 and indices.dtype == np.int64
        np.testing.assert_array_equal(indices, expected)
        np.testing.assert_allclose(values, expected_values, rtol=1e-12, atol=1e-13 * np.abs(expected_values).max())


@pytest.mark.parametrize("n", [0, 1, 63, 64, 65, 127, 128, 129])
def test_tile_borders(n):
    """With no row, one row, and one row more or less than the tiles' size; the sides may change places."""
    for m in (0, 1, 64, 65, 191):
        source, target = unit(gauss(n, 20)), unit(gauss(m, 20))
        both = search.both_directions(source, target, 3, memory=SMALLEST)
        swapped = search.both_directions(target, source, 3, memory=SMALLEST)[::-1]
        sides_of = (source, target), (target, source)
        for (values, indices), sides, other in zip(both, sides_of, swapped, strict=True):
            assert values.shape == indices.shape == (len(sides[0]), min(3, len(sides[1])))
            np.testing.assert_array_equal(indices, reference(*sides, 3)[1])
            np.testing.assert_array_equal(other[0], values)
            np.testing.assert_array_equal(other[1], indices)


def test_differences_that_float32_cannot_see():
    """Every float32 product is the same; the rows differ by 2**-40, and the last is the best."""
    database = np.ones((500, 3), np.float32)
    database[:, 1] = -1
    database[:, 2] = np.arange(500) * 2.0**-40
    values, indices = search.both_directions(np.ones((70, 3), np.float32), database, 3, memory=SMALLEST)[0]
    assert (indices == [499, 498, 497]).all()
    assert (values == np.array([499, 498, 497]) * 2.0**-40).all()
    assert (search.both_directions(-np.ones((1, 3), np.float32), database, 3)[0][1] == [0, 1, 2]).all()


def test_a_thousand_copies_of_the_best_row():
    """More equal rows than any list of spare candidates holds: the lowest indices win, then the next row."""
    best, rows = unit(gauss(12)), unit(gauss(1500, 12))
    rows[300:1300] = best
    rows[7] = unit(best + 1e-3 * gauss(12))
    values, indices = search.both_directions(best[None], rows, 8)[0]
    assert indices.tolist() == [list(range(300, 308))]
    assert (values == values[0, 0]).all()
    rows[305:1300] = rows[0]
    assert search.both_directions(best[None], rows, 6)[0][1].tolist() == [[300, 301, 302, 303, 304, 7]]


def test_memory_threads_and_torch_settings_do_not_change_results():
    source, target = clusters(300, 1e-5), clusters(400, 1e-5)
    expected = search.both_directions(source, target, 4)
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    try:
        torch.set_num_threads(1 if threads > 1 else 2)
        torch.set_float32_matmul_precision("medium")
        with torch.autocast("cpu", torch.bfloat16):
            found = search.both_directions(source, target, 4, memory=SMALLEST)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(precision)
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])


def test_inputs_are_left_alone_and_may_be_views():
    rows = unit(gauss(200, 16))
    before = rows.copy()
    rows.flags.writeable = False
    forth, back = search.both_directions(rows[::-2], rows[:90], 2)
    np.testing.assert_array_equal(forth[1], reference(before[::-2], before[:90], 2)[1])
    np.testing.assert_array_equal(back[1], reference(before[:90], before[::-2], 2)[1])
    np.testing.assert_array_equal(rows, before)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_finite(value):
    rows = unit(gauss(400, 8))
    rows[311, 5] = value
    with pytest.raises(UserError, match=r"target: row 311 \(of 400"):
        search.both_directions(unit(gauss(3, 8)), rows, 1)


def test_refusals():
    rows = unit(gauss(4, 8))
    with pytest.raises(UserError, match=r"source has width 8, target has width 9"):
        search.both_directions(rows, unit(gauss(4, 9)), 1)
    with pytest.raises(UserError, match=r"k: 0 "):
        search.both_directions(rows, rows, 0)
    with pytest.raises(UserError, match=r"memory: 1000 bytes"):
        search.both_directions(rows, rows, 1, memory=1000)
    with pytest.raises(UserError, match=r"target: .* float32"):
        search.both_directions(rows, rows.astype(np.float64), 1)


PEAK = """
import sys
from pathlib import Path
import numpy as np
from xstilts.evaluation import search
def memory_of(key):
    return int(next(x for x in open("/proc/self/status") if x.startswith(key)).split()[1]) * 1024
def rows(n, groups, spread):
    found = spread * rng.standard_normal((n, 16), dtype=np.float32)
    found += centres[np.arange(n) % groups]
    return found
rng = np.random.default_rng(0)
centres = rng.standard_normal((40, 16), dtype=np.float32)
centres /= np.linalg.norm(centres, axis=1, keepdims=True)
for n, groups, spread in ((700, 1, 1e-7), (700, 40, 1), (6000, 1, 1), (1500, 1, 1e-7), (6000, 40, 1e-7)):
    source, target = rows(n, groups, spread), rows(n, groups, spread)
    Path("/proc/self/clear_refs").write_text("5")
    before = memory_of("VmRSS")
    search.both_directions(source, target, 4, memory=int(sys.argv[1]))
    print(n, memory_of("VmHWM") - before)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak of memory is read from /proc")
def test_memory_bound():
    """Random rows (all similarities: 137 MiB); rows that float32 cannot tell apart: all are candidates, and tiles are
    repeated in float64; 40 clusters of such rows: as many candidates as a tile may keep (1 / 40 < 1 / DENSE; 14 MiB a
    direction if none were settled before the end). Two small searches before load what torch loads when first used."""
    memory = 16 * 2**20
    result = subprocess.run(
        [sys.executable, "-c", PEAK, str(memory)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "65536"},  # freed memory is given back
    )
    for line in result.stdout.splitlines()[2:]:
        n, grown = map(int, line.split())
        assert grown < memory + (24 * 4 + 128) * 2 * n + 3 * 2**20


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("memory", [2 * 2**20, search.MEMORY])
def test_cuda_agrees_with_cpu(memory):
    torch.set_float32_matmul_precision("medium")  # TF32 outside the search must not matter inside
    try:
        for make in (lambda n: unit(gauss(n, 384)), lambda n: clusters(n, 1e-5), repeated):
            source, target = make(3000), make(4100)
            search.both_directions(source[:99], target[:99], 4, "cuda")  # cuBLAS allocates its workspace once
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            found = search.both_directions(source, target, 4, "cuda", memory)
            assert torch.cuda.max_memory_allocated() - before <= memory + 2**20  # lists of the rows
            for one, other in zip(found, search.both_directions(source, target, 4), strict=True):
                np.testing.assert_array_equal(one[0], other[0])
                np.testing.assert_array_equal(one[1], other[1])
    finally:
        torch.set_float32_matmul_precision("highest")
