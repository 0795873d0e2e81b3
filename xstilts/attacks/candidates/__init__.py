"""Candidates: what a unit may become. Pure transforms, or one of the modules here, which ask for more than the word."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

from xstilts.attacks import outcomes, transforms
from xstilts.attacks.proposals import Draft, Proposal, Proposer, Resources

# module here -> the resources of which it needs one
NEEDS: dict[str, tuple[str, ...]] = {
    "fills": ("fills",),
    "neighbours": ("neighbours",),
    "gradient": ("gradients",),
    "dictionary": ("translate",),
    "phrases": ("align", "translate"),
    "distractors": (),
    "punctuation": (),
}


def lacking(identity: dict, resources: Resources) -> str:
    """Why nothing can be attacked with these resources (a constant of `outcomes`), or ""."""
    needed = [NEEDS[name] for name in identity["transform"] if NEEDS.get(name)]
    if identity["constraints"].get("similarity"):
        needed.append(("similarity",))
    for keys in needed:
        if all(getattr(resources, key) is None for key in keys):
            return outcomes.NO_DICTIONARY if keys == ("translate",) else outcomes.NO_STAND_IN
    return outcomes.NO_PARALLEL if in_parallel(identity) and resources.parallel is None else ""


def in_parallel(identity: dict) -> bool:
    """True for an attack that needs the example in other languages."""
    name, options = identity["transform"][0], identity.get("options") or {}
    if name == "distractors":
        return bool((identity.get("stand_ins") or {}).get("languages"))
    return name == "phrases" or (name == "dictionary" and options.get("filter", "reference") == "reference")


def build(identity: dict, resources: Resources) -> Proposer:
    """The proposer of an attack; one that proposes nothing, and says why, where a resource is not there."""
    why = lacking(identity, resources)
    if why:
        return lambda drafts: [Proposal(draft.units, {}, why) for draft in drafts]
    if identity["transform"][0] not in NEEDS:
        return transforms.proposer(identity)
    propose = _module(identity["transform"][0]).proposer(identity, resources)
    if not in_parallel(identity):
        return propose

    def explained(drafts: list[Draft]) -> list[Proposal]:
        return [
            found if found.texts or str(draft.example["id"]) in resources.parallel else _alone(found)
            for draft, found in zip(drafts, propose(drafts), strict=True)
        ]

    return explained


def _alone(found: Proposal) -> Proposal:
    return replace(found, why=found.why or outcomes.NO_PARALLEL)


def _module(name: str) -> ModuleType:
    """Imported where it is used, by a statement of its own: what a stage's code is made of is read from imports."""
    if name == "fills":
        from xstilts.attacks.candidates import fills as module
    elif name == "neighbours":
        from xstilts.attacks.candidates import neighbours as module
    elif name == "gradient":
        from xstilts.attacks.candidates import gradient as module
    elif name == "dictionary":
        from xstilts.attacks.candidates import dictionary as module
    elif name == "phrases":
        from xstilts.attacks.candidates import phrases as module
    elif name == "distractors":
        from xstilts.attacks.candidates import distractors as module
    else:
        from xstilts.attacks.candidates import punctuation as module
    return module
