"""Script-aware adversarial attacks on text, of any kind of task, by any model.

An attack is composed of candidates (pure transforms of a word, or a module of `candidates` that asks a stand-in), a
search, constraints and a goal; the engine runs it on many examples at once. Nothing here imports torch or transformers:
the model under attack is a `victim`, a callable that `engine.Victim` documents and `xstilts/robustness/victims.py`
implements, and so are the stand-ins (`proposals.Resources`).
"""
