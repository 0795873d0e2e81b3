"""Tokenizers with XLM-R's special tokens: the Unigram one of a checkpoint, a character one for random models."""

from __future__ import annotations

SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")  # ids 0 to 3, as XLM-R has them; <mask> is the last id
META = "▁"


def unigram(pieces: list[str], scores, charmap: dict[str, str]):
    """A `tokenizers.Tokenizer` equal to XLM-R's SentencePiece model with these pieces and log-probabilities."""
    from tokenizers import Regex, Tokenizer, models, normalizers

    from xstilts.models.charsmap import charsmap

    vocabulary = [(piece, float(score)) for piece, score in zip(pieces, scores, strict=True)]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=SPECIALS.index("<unk>"), byte_fallback=False))
    precompiled = normalizers.Precompiled(charsmap(charmap))
    tokenizer.normalizer = normalizers.Sequence([precompiled, normalizers.Replace(Regex(" {2,}"), " ")])
    return _finish(tokenizer)


def characters():
    """A `tokenizers.Tokenizer` with one token a character, made from nothing but this code.

    Covers every script below U+1200, punctuation and symbols, and the characters of the national standards GB 2312,
    EUC-JP and EUC-KR; the rest is <unk>. Explicit ranges and codecs, so that no Unicode version changes it.
    """
    from tokenizers import Tokenizer, models, normalizers

    alphabet = [*range(0x21, 0x7F), *range(0xA1, 0x1200), *range(0x2010, 0x2200), *range(0x3001, 0x3100)]
    asian = set()
    for codec in ("gb2312", "euc_jp", "euc_kr"):
        for lead in range(0xB0, 0xFF):
            for trail in range(0xA1, 0xFF):
                asian.update(map(ord, bytes([lead, trail]).decode(codec, "ignore")))
    alphabet += sorted(asian - set(alphabet))
    tokens = [*SPECIALS, META, *map(chr, alphabet), "<mask>"]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges=[], unk_token="<unk>"))
    tokenizer.normalizer = normalizers.NFKC()
    return _finish(tokenizer)


def _finish(tokenizer):
    from tokenizers import AddedToken, decoders, pre_tokenizers, processors

    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement=META, prepend_scheme="always")]
    )
    tokenizer.decoder = decoders.Metaspace(replacement=META, prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", SPECIALS.index("<s>")), ("</s>", SPECIALS.index("</s>"))],
    )
    size = tokenizer.get_vocab_size()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIALS])
    tokenizer.add_special_tokens([AddedToken("<mask>", special=True, normalized=False, lstrip=True)])
    assert tokenizer.get_vocab_size() == size and tokenizer.token_to_id("<mask>") == size - 1
    return tokenizer
