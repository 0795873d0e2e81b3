"""SentencePiece's precompiled character map, built from a plain table of replacements."""

from __future__ import annotations

import struct
import unicodedata

import numpy as np

from xstilts.errors import UserError

UNITS = 1 << 21  # bases are stored in 21 bits without the extension flag


def charsmap(single: dict[str, str]) -> bytes:
    """The precompiled map for `single` (character -> replacement) plus canonical composition.

    XLM-R's rule nmt_nfkc also composes base + combining marks, which a table of single characters leaves out; the
    forms come from `unicodedata`. Layout: uint32 size of the trie, the trie, then the replacements, each ended by a
    zero byte (sentencepiece/src/normalizer.cc).
    """
    rules = {key: value for key, value in single.items() if key != "\0"}
    for code in range(0x80, 0x110000):
        character = chr(code)
        decomposition = unicodedata.decomposition(character)
        if not decomposition or decomposition[0] == "<" or 0xD800 <= code <= 0xDFFF:
            continue
        parts = "".join(chr(int(part, 16)) for part in decomposition.split())
        for form in (parts, unicodedata.normalize("NFD", character)):
            if len(form) > 1 and unicodedata.normalize("NFC", form) == character:
                rules.setdefault(form, single.get(character, character))
    replacements, offsets, keys = bytearray(), {}, {}
    for key in sorted(rules):
        value = rules[key]
        if value not in offsets:
            offsets[value] = len(replacements)
            replacements += value.encode("utf-8") + b"\0"
        keys[key.encode("utf-8")] = offsets[value]
    trie = double_array(keys)
    return struct.pack("<I", len(trie)) + trie + bytes(replacements)


def double_array(keys: dict[bytes, int]) -> bytes:
    """The double-array trie (32-bit units, as darts-clone lays them out) of non-empty keys without a zero byte.

    The child of label c of a node with base b sits at b ^ c; the value of a key that ends at the node sits at b
    itself. Bases are unique, so labels never clash.
    """
    root: dict = {}
    for key, value in keys.items():
        node = root
        for byte in key:
            node = node.setdefault(byte, {})
        node[0] = value
    units, taken, bases = {}, np.zeros(UNITS, bool), np.zeros(UNITS, bool)
    taken[0] = True
    queue, first_free = [(0, 0, root)], 1  # (slot, label, children)
    for slot, label, children in queue:
        labels = sorted(children)
        base = _free_base(first_free, np.array(labels, int), taken, bases)
        bases[base] = taken[[base ^ child for child in labels]] = True
        units[slot] = ((slot ^ base) << 10) | (256 if 0 in children else 0) | label
        for child in labels:
            if child:
                queue.append((base ^ child, child, children[child]))
            else:
                units[base] = (1 << 31) | children[0]
        while first_free < UNITS and taken[first_free]:
            first_free += 1
    size = (max(*units, int(bases.nonzero()[0][-1])) // 256 + 1) * 256
    return struct.pack(f"<{size}I", *(units.get(index, 0) for index in range(size)))


def _free_base(start: int, labels: np.ndarray, taken: np.ndarray, bases: np.ndarray) -> int:
    """The first unused base from `start` on whose children's slots are all free."""
    for first in range(start, UNITS, 1024):  # 1024 candidates at once: one by one, XLM-R's map takes 10 s
        candidates = np.arange(first, min(first + 1024, UNITS))
        usable = ~(bases[candidates] | taken[candidates[:, None] ^ labels].any(axis=1))
        if usable.any():
            return int(candidates[usable.argmax()])
    raise UserError(f"the character map does not fit the {UNITS} units of a double array of this form")
