"""What the catalog has, as plain-text tables (`python -m xstilts catalog`)."""

from __future__ import annotations

from xstilts.catalog import Catalog, Entry
from xstilts.presets import choices
from xstilts.text_table import table


def list_catalog(catalog: Catalog) -> str:
    """Everything in the catalog as plain-text tables (`python -m xstilts catalog`)."""
    targets = [
        [
            name,
            task["kind"],
            task["group"],
            str(len(catalog.task_languages(name))),
            task["training_task"] or "-",
            sources,
        ]
        for name in catalog.targets
        for task, sources in [(catalog.tasks[name].identity, ", ".join(catalog.tasks[name].sources))]
    ]
    intermediates = [
        [name, task.identity["kind"], ", ".join(task.sources), ", ".join(choices(task))]
        for name, task in ((name, catalog.tasks[name]) for name in catalog.intermediates)
    ]
    variants = [
        [name, task.identity["kind"], str(len(task.identity["languages"])), ", ".join(task.sources), presets]
        for name, task in ((name, catalog.tasks[name]) for name in catalog.variants)
        for presets in [", ".join(choices(task))]
    ]
    models = [
        [
            model.name,
            model.identity["source"]["type"],
            model.identity["family"],
            str(model.identity["layers"]),
            f"{model.size['parameters'] / 1e6:,.1f} M",
            f"{model.size['non_embedding_parameters'] / 1e6:,.1f} M",
            _pinned(catalog, model),
        ]
        for model in sorted(catalog.models.values(), key=lambda model: model.size["non_embedding_parameters"])
    ]
    attacks = [
        [name, _way(attack.identity), ", ".join(attack.identity["kinds"]), _scripts(attack.identity["scripts"]),
         ", ".join(attack.identity["stand_ins"])]
        for name, attack in catalog.attacks.items()
    ]  # fmt: skip
    challenges = [
        [name, task.identity["kind"], task.identity["training_task"], ", ".join(task.sources)]
        for name, task in ((name, catalog.tasks[name]) for name in catalog.challenges)
    ]
    codes = sorted(catalog.languages)
    lines = [" ".join(codes[start : start + 20]) for start in range(0, len(codes), 20)]
    return "\n\n".join(
        [
            table("Targets", ["name", "kind", "group", "languages", "trained on", "sources"], targets),
            table("Intermediate tasks", ["name", "kind", "sources", "presets"], intermediates),
            *([table("Variants", ["name", "kind", "languages", "sources", "presets"], variants)] if variants else []),
            table("Models", ["name", "source", "family", "blocks", "parameters", "non-embedding", "pinned"], models),
            table("Attacks", ["name", "transform", "kinds", "scripts", "stand-ins"], attacks),
            table("Static sets", ["name", "kind", "put to the model of", "sources"], challenges),
            "\n".join([f"Languages ({len(codes)})", *lines]),
        ]
    )


def _pinned(catalog: Catalog, model: Entry) -> str:
    source = model.identity["source"]
    if source["type"] == "hub":
        return catalog.revisions.get(source["id"], {}).get("revision", "no")[:12]
    return "by sha256" if source["type"] == "wheel" else "-"


def _scripts(scripts) -> str:
    return scripts if isinstance(scripts, str) else ", ".join(scripts)


def _way(identity: dict) -> str:
    return f"static set {identity['set']['task']}" if identity["set"] else ", ".join(identity["transform"])
