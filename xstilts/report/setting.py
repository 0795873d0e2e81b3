"""What was trained on which languages, how sentences are retrieved, which settings are the study's own: in words.

All of it is read off the spec, so that a study with variants, overrides or another preset is described as it is.
"""

from __future__ import annotations

from xstilts.report import style
from xstilts.report.contents import DAGGER, NONE, Contents
from xstilts.report.style import plural

POOLING = {"mean": "mean over all tokens", "mean_no_specials": "mean over the tokens but the special ones",
           "cls": "vector of the first token", "max": "maximum over tokens"}  # fmt: skip
# nyu-mll/jiant, pull request 128: hidden_states[14] of XLM-R large's 24 blocks (presets of tatoeba, bucc2018)
REPLICATION = {"layer": "14/24", "pooling": "mean"}


def listed(names: list[str], word: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + f" {word} " + names[-1]


# ---- languages of training
def note(contents: Contents) -> str:
    """What the dagger says, with the languages; empty where every training was English."""
    marked = {name: contents.seen(name) for name in contents.intermediates}
    parts = "; ".join(f"`{name}` {' '.join(codes)}" for name, codes in marked.items() if codes)
    if not parts:
        return ""
    return f"{DAGGER} Intermediate training read test languages besides English, so this is not zero-shot: {parts}."


def phases(contents: Contents) -> str:
    """The paragraph on the three phases."""
    foreign = [name for name in contents.intermediates if contents.foreign(name)]
    text = "Each model goes through three phases: it is taken as published, trained on an English intermediate task "
    text += "(or on none, or on a mixture), then on a target's English training data. "
    if foreign:
        text += f"Variants read other languages in phase two: {_read(contents, foreign)}. "
    text += "It is tested in every other language without having seen that language's training data"
    text += f", but where marked {DAGGER}: that is not zero-shot transfer. " if note(contents) else ". "
    names = _retrieval(contents)
    if names:
        text += f"{listed([style.target(name) for name in names])} {'has' if len(names) == 1 else 'have'} no training "
        text += "data: sentences are embedded with the encoder of phase two."
    return text.strip()


def _read(contents: Contents, names: list[str]) -> str:
    return "; ".join(f"`{name}` {' '.join(contents.foreign(name))}" for name in names)


def checkpoints(contents: Contents) -> str:
    """How checkpoints are selected, and for which rows transfer is zero-shot."""
    text = "By English development data of the training task, or the last one where the preset says so. No "
    text += "target-language data is used for choosing a checkpoint or an intermediate. "
    marked = [contents.label(name) for name in contents.intermediates if contents.seen(name)]
    if not marked:
        return text + "Transfer is zero-shot throughout: every training was English."
    return text + f"Transfer is zero-shot but after {listed(marked)}, whose training read test languages."


# ---- retrieval
def _retrieval(contents: Contents) -> list[str]:
    return [name for name in contents.targets if contents.spec["targets"][name]["kind"] == "retrieval"]


def _vector(hyper: dict) -> str:
    layer = hyper["layer"]
    place = "the last layer" if layer == "last" else f"layer {layer}"
    place = f"the layer at depth {layer}" if "/" in str(layer) else place
    return f"{place}, {POOLING[hyper['pooling']]}, at most {hyper['max_length']} tokens"


def vectors(contents: Contents) -> str:
    """`BUCC takes the layer at depth 20/24, mean over all tokens, ...`, models apart where they differ."""
    parts: dict[str, list[str]] = {}
    for target in _retrieval(contents):
        models: dict[str, list[str]] = {}
        for model in contents.models:
            models.setdefault(_vector(contents.spec["retrieval"][model][target]), []).append(model)
        one = len(models) == 1
        text = "; ".join(what if one else f"{what} ({listed(names)})" for what, names in models.items())
        parts.setdefault(text, []).append(style.target(target))
    return ". ".join(
        f"{listed(names)} {'takes' if len(names) == 1 else 'take'} {text}" for text, names in parts.items()
    )


def layer(contents: Contents) -> str:
    """What stands for a sentence, and who fixed it; empty without retrieval."""
    names = _retrieval(contents)
    if not names:
        return ""
    own = [name for name in names if contents.spec["training"].get("overrides", {}).get(name)]
    text = f"{vectors(contents)}. "
    if len(own) < len(names):
        others = listed([style.target(name) for name in names if name not in own])
        whose = f"For {others} these" if own else "These"
        text += f"{whose} are the values of preset `{contents.spec['training']['preset']}`, fixed beforehand. "
    if own:
        text += f"For {listed([style.target(name) for name in own])} the study overrides the preset: this page cannot "
        text += "tell whether scores had been seen by then. "
    return text.strip()


def layer_rule(contents: Contents) -> str:
    """The whole entry on the retrieval layer under `How each number was selected`; empty without retrieval."""
    text = layer(contents)
    if not text:
        return ""
    if "at depth" in text:
        text += " A depth is a share of a model's blocks: other sizes take the same relative place."
    if any(row["rule"] == "sweep" for row in contents.tables["retrieval"]):
        text += " The layer that dev pools would choose is shown beside it and never submitted."
    if "bucc2018" in _retrieval(contents):
        text += " BUCC's threshold is set on its own dev pools, as in XTREME."
    return text


def replication(contents: Contents) -> str:
    """Where the published retrieval numbers come from, and whether their layer is this study's; empty without them."""
    names, hypers = _retrieval(contents), contents.spec["retrieval"].values()
    if not names:
        return ""
    other = [
        name for name in names
        if any(hyper[name][key] != value for hyper in hypers for key, value in REPLICATION.items())
    ]  # fmt: skip
    text = f"for retrieval jiant's replication, at layer {REPLICATION['layer'].replace('/', ' of ')}"
    if other:
        text += f", not this study's setting for {listed([style.target(name) for name in other])}"
    return text + (" (BUCC on its dev pools)" if "bucc2018" in names else "")


def overrides(contents: Contents) -> list[str]:
    """`mnli: max_steps 6`, one line a task whose preset the study overrides."""
    found = contents.spec["training"].get("overrides", {})
    return [
        f"{style.task(task)}: {', '.join(f'{key} {value}' for key, value in changes.items())}"
        for task, changes in found.items()
        if changes
    ]


def trainable(contents: Contents) -> str:
    """`all`, `blocks`, or `lora (rank 8, alpha 16, dropout 0)`; `, 8-bit AdamW` where the study says so."""
    training = contents.spec.get("training", {})
    text, lora = training.get("trainable", "–"), training.get("lora", {})
    if text == "lora":
        text += f" ({', '.join(f'{key} {lora[key]:g}' for key in ('rank', 'alpha', 'dropout'))})"
    return text + (", 8-bit AdamW" if training.get("optimiser") == "adamw8bit" else "")


# ---- the sentence under the title
def lead(contents: Contents) -> str:
    """Which models were trained on what and tested where."""
    trained = [name for name in contents.intermediates if name != NONE]
    english = [name for name in trained if not contents.foreign(name)]
    ways = ["plain"] if NONE in contents.intermediates else []
    ways += [f"after English training on {_starts(contents, english)}"] if english else []
    foreign = [name for name in trained if name not in english]
    ways += [f"after training that read other languages too, on {_starts(contents, foreign)}"] if foreign else []
    targets = contents.spec["targets"]
    tasks = {targets[name].get("training_task") for name in contents.targets} - {None}
    others = len([code for code in contents.languages if code != "en"])
    where = ["English"] if "en" in contents.languages else []
    where += [plural(others, "other language")] if others else []
    after = listed(ways) if len(ways) < 3 else f"{', '.join(ways[:-1])}, and {ways[-1]}"
    text = f"{listed(contents.models)}, {after}, "
    text += f"fine-tuned on the English training data of {plural(len(tasks), 'task')} and " if tasks else ""
    text += f"tested on {plural(len(contents.targets), 'target task')} in {listed(where)}"
    if not others:
        return text + "."
    return text + f" whose training data they never saw{f', but where marked {DAGGER}' if note(contents) else ''}."


def _starts(contents: Contents, names: list[str]) -> str:
    tasks = contents.spec["intermediates"]
    mixed = [name for name in names if len(tasks[name]) > 1]
    starts = [contents.label(name) for name in names if name not in mixed]
    if mixed:
        word = "mixture" if len(mixed) == 1 else "mixtures"
        starts.append(f"the {word} {listed([contents.label(name) for name in mixed])}")
    return listed(starts, "or")
