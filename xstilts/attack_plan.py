"""Which attacks of a study run on which cells, and what of them does not run and why.

adaptive: an attack searches on every cell. static: it searches on the named source cells, each once, and what it found
there is put to every other cell (a transfer). Nothing here stops a study because an attack is not valid for a kind of
task or a script: that is left out with one notice an attack, and recorded in `study.not_run`. A name that does not
exist is an error. `study` is an `xstilts.study.Study`; xstilts/grid.py asks.
"""

from __future__ import annotations

from xstilts import attack_needs, findings
from xstilts.findings import unique

ADAPTIVE, STATIC = "adaptive", "static"
ONE_PLACE = ("examples", "seconds", "stand_ins")  # what all blocks agree on that attack a cell with one attack


def source_name(source: dict) -> str:
    """`<model>.<intermediate>.s<seed>`: a source cell as folders and tables name it."""
    return f"{source['model']}.{source['intermediate']}.s{source['seed']}"


def fill(study, asked_intermediates: list[str]) -> None:
    """Add the attack and transfer cells that the config asks for, and notices of what is left out.

    `asked_intermediates`: what the grid names, whether or not it can be computed.
    """
    for mode in (ADAPTIVE, STATIC):
        for index, block in enumerate(study.config["attacks"]):
            if block["mode"] == mode:
                _Block(study, f"attacks[{index}]", block, asked_intermediates).add()
    study.notices += notices(study.not_run)


def leave_out(study, attack: str, why: str, target: str = "", languages: list[str] = ()) -> None:
    """Record once that an attack is not run: at all (no target), on a target, or on some of its languages."""
    row = {"attack": attack, "target": target, "languages": list(languages), "why": why}
    if row not in study.not_run:
        study.not_run.append(row)


def notices(not_run: list[dict]) -> list[str]:
    """One sentence an attack: what of it is not run, by reason."""
    found = []
    for attack in unique(row["attack"] for row in not_run):
        reasons: dict[str, list[str]] = {}
        for row in not_run:
            if row["attack"] == attack:
                codes = f" ({', '.join(row['languages'])})" if row["languages"] else ""
                reasons.setdefault(row["why"], []).append(row["target"] + codes)
        parts = []
        for why, places in reasons.items():
            parts.append((f" on {', '.join(places)}: " if any(places) else ": ") + why)
        found.append(f"attack {attack} is not run" + ";".join(parts) + ".")
    return found


class _Block:
    """One block of `attacks`, its names checked."""

    def __init__(self, study, key: str, block: dict, asked_intermediates: list[str]):
        self.study, self.key, self.block = study, key, block
        findings.known(study, f"{key}.attacks", block["attacks"], study.catalog.attacks)
        findings.known(study, f"{key}.models", block.get("models") or [], study.grid_models)
        renamed = study.renamed
        self.intermediates = [renamed.get(name, name) for name in block.get("intermediates") or []]
        # those that the grid names and that are left out have been said: no cell, no attack
        known = unique([*study.intermediates, *asked_intermediates])
        findings.known(study, f"{key}.intermediates", self.intermediates, known)
        findings.known(study, f"{key}.targets", block.get("targets") or [], study.targets)
        findings.known(study, f"{key}.seeds", block.get("seeds") or [], study.seeds)
        codes = unique(code for target in study.targets for code in study.languages(target))
        findings.known(study, f"{key}.languages", block.get("languages") or [], codes)
        self.sources = self._sources()

    def _sources(self) -> list[dict]:
        """The source cells of a static block, by their names in the study; UserError where one is no cell of it."""
        study, key, sources = self.study, f"{self.key}.sources", self.block["sources"]
        if self.block["mode"] == ADAPTIVE:
            if sources:
                raise findings.error(study, key, sources, f"nothing beside `mode: {ADAPTIVE}`: write `mode: {STATIC}`")
            return []
        cells = [source_name(dict(zip(("model", "intermediate", "seed"), cell, strict=True))) for cell in study.cells]
        if not sources:
            allowed = f"one or more cells (model, intermediate, seed) for `mode: {STATIC}`, of {', '.join(cells)}"
            raise findings.error(study, key, sources, allowed)
        renamed = study.renamed
        found = [{**one, "intermediate": renamed.get(one["intermediate"], one["intermediate"])} for one in sources]
        for number, one in enumerate(found):
            findings.known(study, f"{key}[{number}] (model.intermediate.seed)", [source_name(one)], cells)
        return found

    def add(self) -> None:
        for attack in self.block["attacks"]:
            identity = self.study.catalog.attacks[attack].identity
            if self.block["mode"] == STATIC and identity["set"]:
                raise findings.error(
                    self.study, f"{self.key}.attacks", attack,
                    f"attacks that search: {attack} is a static set already, name it in a block of `mode: {ADAPTIVE}`",
                )  # fmt: skip
            changes = self.block["stand_ins"]
            stand_ins, why = attack_needs.resolve(self.study, f"{self.key}.stand_ins", identity, changes)
            why = why or attack_needs.missing_set(self.study, identity)
            if why:
                leave_out(self.study, attack, why)
                continue
            asked = self.block.get("targets") or self.study.targets
            languages = {target: self._languages(attack, identity, stand_ins, target) for target in asked}
            languages = {target: codes for target, codes in languages.items() if codes}
            if not languages:
                leave_out(self.study, attack, f"{self.key} has no target and language left for it")
                continue
            for source in self.sources:
                self._transfer(attack, identity, stand_ins, languages, source)
            if self.block["mode"] == ADAPTIVE:
                for cell in self._cells():
                    self._attack(attack, identity, stand_ins, languages, cell)

    def _cells(self) -> list[tuple[str, str, int]]:
        """Cells of the grid that the block names."""
        block = self.block
        return [
            (model, intermediate, seed)
            for model, intermediate, seed in self.study.cells
            if model in (block.get("models") or [model])
            and intermediate in (self.intermediates or [intermediate])
            and seed in (block.get("seeds") or [seed])
        ]

    def _languages(self, attack: str, identity: dict, stand_ins: dict, target: str) -> list[str]:
        """Languages of a target that the block asks for and the attack is valid for; the others are recorded."""
        study, kind = self.study, self.study.kind(target)
        if identity["set"] and not self.block.get("targets"):  # a set is made for one target, in its own languages
            own = study.catalog.tasks[identity["set"]["task"]].identity["languages"]
            fits = kind in identity["kinds"] and target in identity.get("targets", [target])
            return [code for code in study.languages(target) if code in own] if fits else []
        if kind not in identity["kinds"]:
            leave_out(study, attack, f"it attacks tasks of kind {', '.join(identity['kinds'])}", target)
            return []
        if target not in identity.get("targets", [target]):
            leave_out(study, attack, f"it is made for {', '.join(identity['targets'])}", target)
            return []
        asked = [code for code in study.languages(target) if code in (self.block.get("languages") or [code])]
        out: dict[str, list[str]] = {}
        for code in asked:
            if why := attack_needs.missing_language(study, identity, stand_ins, target, code):
                out.setdefault(why, []).append(code)
        for why, codes in out.items():
            leave_out(study, attack, why, target, codes)
        return [code for code in asked if not any(code in codes for codes in out.values())]

    def _attack(self, attack: str, identity: dict, stand_ins: dict, languages: dict, cell: tuple) -> dict | None:
        """The attack cell with these targets added; None (and a reason) where the cell must not be attacked."""
        study, (model, intermediate, _) = self.study, cell
        seen = set(identity["never_after"]) & {intermediate, *study.intermediate_tasks(intermediate)}
        if seen:
            leave_out(study, attack, f"never after {intermediate}, whose training has seen the set")
            return None
        mlm = stand_ins.get("mlm")
        if mlm and (mlm["model"], mlm["intermediate"]) == (model, intermediate) and not mlm["own"]:
            leave_out(study, attack, f"never on {model} with {intermediate}, its own stand-in (stand_ins.mlm.own)")
            return None
        targets = [target for target in study.cells[cell] if target in languages]
        if not targets:
            return None
        made = {"examples": self.block["examples"], "seconds": self.block["seconds"], "stand_ins": stand_ins}
        found = study.attack_cells.setdefault((attack, *cell), {"targets": [], "languages": {}, **made})
        for name in ONE_PLACE:
            if found[name] != made[name]:
                raise findings.error(
                    study, f"{self.key}.{name} (of {attack} on {model} with {intermediate})", made[name],
                    f"{found[name]}, as in another block: an attack is run once on a cell",
                )  # fmt: skip
        found["targets"] = [one for one in study.cells[cell] if one in {*targets, *found["targets"]}]
        for target in targets:
            codes = {*languages[target], *found["languages"].get(target, [])}
            found["languages"][target] = [code for code in study.languages(target) if code in codes]
        attack_needs.train(study, stand_ins)
        return found

    def _transfer(self, attack: str, identity: dict, stand_ins: dict, languages: dict, source: dict) -> None:
        """The attack on a source cell, and its transfer to every other cell of the block."""
        study, origin = self.study, (source["model"], source["intermediate"], source["seed"])
        for target in languages:
            if target not in study.cells[origin]:
                leave_out(study, attack, f"the source {source_name(source)} has no such target", target)
        languages = {target: codes for target, codes in languages.items() if target in study.cells[origin]}
        if not languages or not self._attack(attack, identity, stand_ins, languages, origin):
            return
        for cell in self._cells():
            targets = [target for target in study.cells[cell] if target in languages]
            if cell != origin and targets:
                found = {"source": source, "targets": [], "languages": {}}
                found = study.transfer_cells.setdefault((attack, source_name(source), *cell), found)
                found["targets"] = [one for one in study.cells[cell] if one in {*targets, *found["targets"]}]
                for target in targets:
                    codes = {*languages[target], *found["languages"].get(target, [])}
                    found["languages"][target] = [code for code in study.languages(target) if code in codes]
