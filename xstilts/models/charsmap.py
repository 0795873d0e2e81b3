"""SentencePiece's precompiled character map, built from a plain table of replacements."""

from __future__ import annotations

import struct
import unicodedata

from xstilts.errors import UserError


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
    units, taken, bases = {}, {0}, set()
    queue, first_free = [(0, 0, root)], 1  # (slot, label, children)
    for slot, label, children in queue:
        labels, base = sorted(children), first_free
        while base in bases or any((base ^ child) in taken for child in labels):
            base += 1
        bases.add(base)
        taken.update(base ^ child for child in labels)
        units[slot] = ((slot ^ base) << 10) | (256 if 0 in children else 0) | label
        for child in labels:
            if child:
                queue.append((base ^ child, child, children[child]))
            else:
                units[base] = (1 << 31) | children[0]
        while first_free in taken:
            first_free += 1
    size = (max(*units, *bases) // 256 + 1) * 256
    if size >= 1 << 21:  # the base is stored in 21 bits without the extension flag
        raise UserError(f"the character map needs {size} units, a double array of this form holds {1 << 21}")
    return struct.pack(f"<{size}I", *(units.get(index, 0) for index in range(size)))
