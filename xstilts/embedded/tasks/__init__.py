"""The embedded tasks by kind: each module has `GENERATORS = {name: function(language, split, n, seed) -> rows}`."""
