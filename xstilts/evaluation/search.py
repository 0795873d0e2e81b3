"""Exact nearest neighbours by dot product of two sets of vectors, in both directions, within a memory bound.

One float32 product of each pair of tiles serves both directions. It only chooses candidates: every element that
could, by the error bound below, be among a row's k best is scored again in float64, pair by pair, and these scores
decide. Hence neither tiles nor threads change a result, and near ties and repeated rows are ranked exactly. That a
CUDA device gives the same is tested by `pytest -m gpu`, where there is one.

The bound: with u = 2**-24 a float32 dot product of width d, summed in any order, is off by at most
d*u/(1 - d*u) * |x| * |y| (Higham 2002, section 3.1). If k elements of a row score at least t in float32, an element
of the k best scores at least t - 2 * bound. t is the k-th largest of the maxima of groups of elements: reducing
groups reads the tile once, where a full top-k costs several times that. Where vectors lie so close together that much
of a tile remains, its product is repeated in float64 (u = 2**-53), which costs less than scoring so many pairs.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from xstilts.errors import UserError

MEMORY = 512 * 2**20  # bytes that a search may hold beyond its inputs and outputs; on CUDA, also on the device
LEAST_MEMORY = 2**20
GROUP = 64  # most elements that share a maximum
DENSE = 32  # a tile with more than one candidate in so many elements is repeated in float64
TILE = 2048  # most rows and columns of a tile: 16 MiB stay in a processor's cache
LOWEST = torch.finfo(torch.float32).min  # below every score, above the -inf of padding

Found = tuple[np.ndarray, np.ndarray]


def both_directions(
    source: np.ndarray, target: np.ndarray, k: int, device="cpu", memory: int = MEMORY
) -> tuple[Found, Found]:
    """The `k` rows of `target` with the largest dot product with each row of `source`, exact, and the other way round.

    `source` (n, width) and `target` (m, width) are float32 of any finite values. Returns (values, indices) of the
    source rows, (n, k), `k` cut to m, then of the target rows, (m, k), `k` cut to n: values float64, indices int64,
    best first, ties by lowest index. Repeated rows are searched once.

    Time: n * m * width multiplications, and a float64 dot product of each candidate: a few for each row unless
    many rows lie within the error bound of its k-th best. Memory beyond inputs and outputs: at most `memory` bytes
    for tiles and candidates, on a CUDA device too (both sides are streamed to it; cuBLAS's workspace comes on top),
    and (24 k + 128) (n + m) bytes of lists; a copy of inputs that are not C-contiguous.
    Raises UserError for unequal widths, NaN or infinity, `k` < 1 and `memory` < 1 MiB.
    """
    left, right, device = _Side(source, "source"), _Side(target, "target"), torch.device(device)
    if left.width != right.width:
        raise UserError(
            f"search: source has width {left.width}, target has width {right.width}: embed both sides with the same"
            " model, layer and pooling"
        )
    if k < 1:
        raise UserError(f"search: k: {k} is not allowed; allowed: whole numbers from 1")
    if memory < LEAST_MEMORY:
        raise UserError(f"search: memory: {memory} bytes are too few; allowed: at least {LEAST_MEMORY}")
    directions = _Direction(left, right, k, device, memory), _Direction(right, left, k, device, memory)
    _scan(left, right, directions, device, memory)
    return directions[0].result(k), directions[1].result(k)


class _Side:
    """One of the two sets; `kept` are the first copies of its distinct rows, `number` says which is each row's."""

    def __init__(self, rows: np.ndarray, name: str):
        if getattr(rows, "dtype", None) != np.float32 or rows.ndim != 2 or not rows.shape[1]:
            raise UserError(f"search: {name}: expected a float32 array (rows, width), width >= 1")
        self.rows, self.width = np.ascontiguousarray(rows), rows.shape[1]
        squares = np.empty(len(rows))
        for start in range(0, len(rows), 256):
            part = self.rows[start : start + 256].astype(np.float64)
            squares[start : start + 256] = np.einsum("nd,nd->n", part, part)
        if len(wrong := np.flatnonzero(~np.isfinite(squares))):
            raise UserError(
                f"search: {name}: row {wrong[0]} (of {len(rows)}, counted from 0) holds NaN or infinity; allowed:"
                f" finite numbers; {len(wrong)} such rows: look for the texts or model that they come from"
            )
        digests = (hashlib.blake2b(row, digest_size=16).digest() for row in self.rows)
        _, first, number = np.unique(np.fromiter(digests, "S16", len(rows)), return_index=True, return_inverse=True)
        order = np.argsort(first)
        self.kept, rank = first[order], np.empty_like(order)
        rank[order] = np.arange(len(order))
        self.number = rank[number]
        self.norms = np.sqrt(squares[self.kept])
        # A power of two is exact and keeps products within float32's range.
        longest = self.norms.max(initial=0.0)
        self.exponent = 0 if 2**-20 < longest < 2**20 or not longest else int(np.frexp(longest)[1])
        self.norms = np.ldexp(self.norms, -self.exponent)

    def __len__(self) -> int:
        return len(self.kept)

    @property
    def distinct(self) -> bool:
        """Whether no row is repeated."""
        return len(self.kept) == len(self.rows)

    def tile(self, start: int, size: int, device: torch.device) -> torch.Tensor:
        """float32 (up to `size`, width): distinct rows from `start`, times 2**-exponent; a view if it can be."""
        part = slice(start, start + size)
        rows = self.rows[part] if self.distinct else self.rows[self.kept[part]]
        if self.exponent:
            rows = np.ldexp(rows, -self.exponent)
        rows = rows if rows.flags.writeable else rows.copy()  # torch warns of others
        return torch.from_numpy(rows).to(device)

    def doubles(self, numbers: np.ndarray) -> np.ndarray:
        """float64 (n, width): the distinct rows of these numbers, not scaled."""
        return self.rows[self.kept[numbers]].astype(np.float64)


class _Direction:
    """The k best of `database` for each of `queries` (both by number of distinct row), gathered tile by tile."""

    def __init__(self, queries: _Side, database: _Side, k: int, device: torch.device, memory: int):
        self.queries, self.database, self.k, self.memory = queries, database, min(k, len(database)), memory
        self.values = np.full((len(queries), self.k), -np.inf)
        self.indices = np.full((len(queries), self.k), len(database), np.int64)
        # Lower bounds of each query's k best scores, and the errors of a product in either precision.
        self.least = torch.full((len(queries), self.k), -torch.inf, dtype=torch.float64, device=device)
        longest = database.norms.max(initial=0.0)
        self.error = torch.from_numpy((queries.width + 8) * longest * queries.norms).to(device)
        self.group = min(GROUP, 1 << max(len(database) // (8 * max(k, 1)), 1).bit_length() - 1)
        # Candidates: query, database row, score. One place for all: arrays that outlive a tile would lie scattered
        # over the memory that the tile frees, and the next would not fit in again.
        self.held, self.limit = 0, memory // 8 // 16
        self.found = tuple(np.empty(self.limit, kind) for kind in (np.int32, np.int32, np.float64))

    def scan(self, scores: torch.Tensor, axis: int, first: int, start: int) -> bool:
        """Collect the candidates of a tile of scores: queries from `first` along `axis`, database from `start`.

        False, with nothing collected: float32 leaves too many, come again in float64.
        """
        size, single = scores.numel(), scores.dtype == torch.float32
        if short := -scores.shape[1 - axis] % self.group:
            padding = (0, short) if axis == 0 else (0, 0, 0, short)
            scores = torch.nn.functional.pad(scores, padding, value=-torch.inf)
        groups = scores.unflatten(1 - axis, (self.group, -1))  # row s * G + g of the database is element s of group g
        maxima = groups.amax(1 - axis)
        least = self.least[first : first + scores.shape[axis]]
        error = self._error(slice(first, first + scores.shape[axis]), single)
        # Most queries find nothing in most tiles: the rest is done for the others.
        queries = (maxima.amax(1 - axis) >= least[:, -1] - error).nonzero().squeeze(1)
        maxima = maxima.index_select(axis, queries)
        maxima = maxima if axis == 0 else maxima.T
        raised = torch.cat([least[queries], maxima - error[queries, None]], 1).topk(self.k).values
        floor = (raised[:, -1] - error[queries]).clamp_min(LOWEST)
        row, group = (maxima >= floor[:, None]).nonzero(as_tuple=True)
        members = groups[queries[row], :, group] if axis == 0 else groups[:, group, queries[row]].T
        chosen = members >= floor[row, None]
        if single and int(chosen.sum()) > size // DENSE:
            return False
        least[queries] = raised
        hit, member = chosen.nonzero(as_tuple=True)
        found = queries[row[hit]] + first, member * maxima.shape[1] + group[hit] + start, members[hit, member]
        found = [part.cpu().numpy() for part in found]
        for start in range(0, len(hit), self.limit // 2):
            self._hold([part[start : start + self.limit // 2] for part in found])
        return True

    def _hold(self, found: list[np.ndarray]) -> None:
        """Keep up to limit // 2 candidates; where there is no room, make some."""
        if self.held + len(found[0]) > self.limit:
            self._prune()
            if self.held > self.limit // 2:
                self.settle()
        for place, part in zip(self.found, found, strict=True):
            place[self.held : self.held + len(part)] = part
        self.held += len(found[0])

    def _error(self, queries: slice, single: bool) -> torch.Tensor:
        """What a product can differ by from the float64 scores; 2**-120: what tiles lose below float32's 2**-126."""
        return self.error[queries] * (1.01 * 2.0**-24 if single else 2.02 * 2.0**-53) + self.queries.width * 2.0**-120

    def _prune(self) -> None:
        """Drop candidates that the best so far exclude."""
        floor = (self.least[:, -1] - self._error(slice(None), True)).cpu().numpy()
        query, _, score = (place[: self.held] for place in self.found)
        kept = np.flatnonzero(score >= floor[query])
        for place in self.found:
            place[: len(kept)] = place[kept]
        self.held = len(kept)

    def settle(self) -> None:
        """Score all candidates in float64 and keep the k best of each query."""
        if self.held:
            self._prune()
            queries, rows = (place[: self.held] for place in self.found[:2])
            order = np.argsort(queries, kind="stable")
            size = max(self.memory // 8 // 128, 1)
            for start in range(0, len(order), size):
                part = order[start : start + size]
                self._merge(queries[part].astype(np.int64), rows[part].astype(np.int64))
        self.held = 0

    def _merge(self, queries: np.ndarray, rows: np.ndarray) -> None:
        values = np.empty(len(rows))
        size = max(min(self.memory // 8 // (24 * self.queries.width), 1024), 1)  # 1024: stays in the cache
        for start in range(0, len(rows), size):
            part = slice(start, start + size)
            pairs = self.queries.doubles(queries[part]), self.database.doubles(rows[part])
            values[part] = np.einsum("nd,nd->n", *pairs)
        known = np.unique(queries)
        queries = np.concatenate([queries, np.repeat(known, self.k)])
        rows = np.concatenate([rows, self.indices[known].ravel()])
        values = np.concatenate([values, self.values[known].ravel()])
        order = np.lexsort((rows, -values, queries))
        starts = np.searchsorted(queries[order], known)
        chosen = order[starts[:, None] + np.arange(self.k)]
        self.values[known], self.indices[known] = values[chosen], rows[chosen]

    def result(self, k: int) -> Found:
        """(values, indices) of all queries and rows, copies included."""
        self.settle()
        values, indices = self.values, self.indices
        if not self.database.distinct:
            values, indices = self._with_copies(min(k, len(self.database.rows)))
        if not self.queries.distinct:
            values, indices = values[self.queries.number], indices[self.queries.number]
        return values, indices

    def _with_copies(self, k: int) -> Found:
        """Rows instead of distinct rows: each of the k best brings its first k copies, which compete by index."""
        number, absent = self.database.number, len(self.database.rows)
        order = np.argsort(number, kind="stable")
        rank = np.arange(len(order)) - np.searchsorted(number[order], number[order])
        order, rank = order[rank < k], rank[rank < k]
        copies = np.full((len(self.database), k), absent)
        copies[number[order], rank] = order
        values, indices = np.empty((len(self.queries), k)), np.empty((len(self.queries), k), np.int64)
        size = max(self.memory // 8 // (40 * k * k), 1)
        for start in range(0, len(values), size):
            part = slice(start, start + size)
            rows = copies[self.indices[part]].reshape(len(self.indices[part]), -1)
            scores = np.where(rows == absent, -np.inf, np.repeat(self.values[part], k, axis=1))
            chosen = np.lexsort((rows, -scores))[:, :k]
            values[part] = np.take_along_axis(scores, chosen, 1)
            indices[part] = np.take_along_axis(rows, chosen, 1)
        return values, indices


def _scan(left: _Side, right: _Side, directions: Sequence[_Direction], device: torch.device, memory: int) -> None:
    """Show each tile of scores to both directions."""
    size = min(int((memory // 128) ** 0.5), memory // (64 * left.width), TILE)
    size = max(size // GROUP * GROUP, GROUP)
    resident = device.type != "cpu" and len(right) * right.width * 4 <= memory // 2
    starts = range(0, len(right), size)
    tiles = {start: right.tile(start, size, device) for start in starts} if resident else {}
    with torch.inference_mode(), torch.autocast(device.type, enabled=False), _full_precision():
        for top in range(0, len(left), size):
            rows = left.tile(top, size, device)
            for start in starts:
                columns = tiles[start] if resident else right.tile(start, size, device)
                scores, corners = _product(rows, columns), ((top, start), (start, top))
                dense = [axis for axis, each in enumerate(directions) if not each.scan(scores, axis, *corners[axis])]
                if dense:
                    scores = rows.double() @ columns.double().T
                    for axis in dense:
                        directions[axis].scan(scores, axis, *corners[axis])
            directions[0].settle()


def _product(rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """rows @ columns.T in float32.

    On a CPU by oneDNN's inner product where torch has it: twice as fast as torch's own choice, MKL, on AMD processors.
    """
    if rows.device.type == "cpu" and hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return torch.ops.mkldnn._linear_pointwise(rows, columns, None, "none", [], "")
    return rows @ columns.T


@contextlib.contextmanager
def _full_precision() -> Iterator[None]:
    """No TF32 or bfloat16 in float32 products: the error bound would not hold."""
    backends = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul
    before = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "ieee"
        yield
    finally:
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = precision
