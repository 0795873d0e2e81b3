"""Function words that an attack with `stop_words: true` leaves alone.

Closed classes, written from knowledge: articles, pronouns, auxiliaries and their negated contractions, prepositions,
conjunctions, question words, particles. English only; in other languages no word is left alone. The lists of two
packages (stop-words 2025.11.4, stopwordsiso 0.7.1) are no substitute: some 1,300 English words, "system" and "world"
among them, but 35 Estonian ones, so that an attack would leave alone another share of the text in every language.
The words are code, not catalog, so that a change of them changes the key of what was computed with them.
"""

from __future__ import annotations

_WORDS = {
    "en": """
        a an the this that these those i me my mine myself we us our ours ourselves you your yours yourself yourselves
        he him his himself she her hers herself it its itself they them their theirs themselves one who whom whose which
        what when where why how whether am is are was were be been being have has had having do does did doing will
        would shall should can could may might must ought i'm you're he's she's it's we're they're i've you've we've
        they've i'd you'd he'd she'd we'd they'd i'll you'll he'll she'll we'll they'll that's who's what's there's
        isn't aren't wasn't weren't hasn't haven't hadn't doesn't don't didn't won't wouldn't shan't shouldn't can't
        cannot couldn't mightn't mustn't needn't and but or nor if then else because as until while although though
        since unless than so of at by for with about against between among into through during before after above below
        to from up down in out on off over under within without upon toward towards across along around behind beside
        beyond near per via again further once here there now all any both each few more most other another some such no
        not only own same too very just also every either neither many much s t d ll m re ve
    """
}
WORDS = {
    code: frozenset(words) | {word.replace("'", "\u2019") for word in words}
    for code, words in ((code, text.split()) for code, text in _WORDS.items())
}


def of(language_code: str) -> frozenset[str]:
    """The stop words of a language in lower case, with either apostrophe; empty where there is no list."""
    return WORDS.get(language_code, frozenset())
