"""`xstilts check STUDY`: what a study needs (needs.py), what to do next (steps.py), and the page of both (page.py)."""
