"""Script-aware adversarial attacks on text: segmentation, transforms, constraints, search, outcomes, engine.

Pure text: nothing here imports torch or transformers. The model under attack is a `victim`, a callable that
`engine.attack` documents and `xstilts/evaluation/victims.py` implements.
"""
