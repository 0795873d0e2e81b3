"""Job specs of attacks and of transfers of their texts (see xstilts/specs.py): planning only."""

from __future__ import annotations

from xstilts import attack_needs
from xstilts.identity import canonical, sha256


def attack(specs, key: tuple) -> dict:
    """One attack on one cell. `key`: (attack, model, intermediate, seed)."""
    study, cell, identity = specs.study, specs.study.attack_cells[key], specs.study.catalog.attacks[key[0]].identity
    stand_ins, targets = cell["stand_ins"], _targets(specs, key[1], cell)
    for target, entry in targets.items():
        others = attack_needs.mixed(study, identity, stand_ins, target)
        if others is not None:  # where the same text is read in other languages
            entry["parallel"] = others
    codes = {code for entry in targets.values() for code in [*entry["languages"], *entry.get("parallel", [])]}
    return {
        **specs.cell("attack", *key[1:]),
        "attack": {"name": key[0], **attack_needs.with_least(identity, stand_ins)},
        "examples": cell["examples"],
        "attack_seed": specs.config["data"]["seed"],
        "seconds": cell["seconds"],
        "languages": attack_needs.rows(study, identity, sorted(codes | {attack_needs.ENGLISH})),
        "targets": targets,
        "stand_ins": _stand_ins(specs, stand_ins),
        "dictionaries": _dictionaries(study, identity, cell),
    }


def transfer(specs, key: tuple) -> dict:
    """What one source cell's adversarial texts do to another cell. `key`: (attack, source, model, intermediate, seed).

    `made_by`: the identity of the attack on the source, whose rows are read.
    """
    study, name = specs.study, key[0]
    cell, identity = study.transfer_cells[key], study.catalog.attacks[name].identity
    source = cell["source"]
    made_by = attack(specs, (name, *(source[part] for part in ("model", "intermediate", "seed"))))
    targets = _targets(specs, key[2], cell)
    codes = {code for target in targets.values() for code in target["languages"]} | {attack_needs.ENGLISH}
    return {
        **specs.cell("transfer", *key[2:]),
        "attack": {"name": name, "version": identity["version"], "goals": identity["goals"]},
        "source": source,
        "made_by": sha256(canonical(made_by))[:16],
        "languages": {code: {**study.catalog.languages[code], "code": code} for code in sorted(codes)},
        "targets": targets,
    }


def _targets(specs, model: str, cell: dict) -> dict[str, dict]:
    found = {}
    for target in cell["targets"]:
        task = specs.study.training_task(target)
        found[target] = {
            "languages": cell["languages"][target],
            **specs.head(target),
            "training_task": task,
            "hyper": specs.inference(task, model) if task else specs.hyper(target, model=model),
        }
    return found


def _stand_ins(specs, asked: dict) -> dict[str, dict]:
    """The models among an attack's stand-ins, with their whole identities in the place of their names."""
    keys = {"mlm": ("intermediate", "seed"), "encoder": ("layer", "pooling", "max_length")}
    return {
        name: {"model": specs.model(asked[name]["model"]), **{key: asked[name][key] for key in others}}
        for name, others in keys.items()
        if name in asked
    }


def _dictionaries(study, identity: dict, cell: dict) -> dict[str, dict]:
    """The dictionaries that the texts of an attack cell can be translated with."""
    if "dictionaries" not in cell["stand_ins"]:
        return {}
    pairs = [
        (text, other)
        for target in cell["targets"]
        for code in cell["languages"][target]
        for text in [attack_needs.attacked(study, target, code)]
        for other in attack_needs.mixed(study, identity, cell["stand_ins"], target, text)
    ]
    return attack_needs.dictionary_files(study, cell["stand_ins"], dict.fromkeys(pairs))
