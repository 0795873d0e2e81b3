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
AGREED = ("examples", "seconds", "stand_ins")  # what all blocks with one attack agree on: its cells are compared


def source_name(source: dict) -> str:
    """`<model>.<intermediate>.s<seed>`: a source cell as folders and tables name it."""
    return f"{source['model']}.{source['intermediate']}.s{source['seed']}"


def fill(study, asked_intermediates: list[str]) -> None:
    """Add the attack and transfer cells that the config asks for, and notices of what is left out.

    `asked_intermediates`: what the grid names, whether or not it can be computed.
    """
    agreement = _Agreement(study)
    for mode in (ADAPTIVE, STATIC):
        for index, block in enumerate(study.config["attacks"]):
            if block["mode"] == mode:
                _Block(study, f"attacks[{index}]", block, asked_intermediates, agreement).add()
    agreement.check_languages()
    study.notices += notices(study.not_run)


def leave_out(study, attack: str, why: str, target: str = "", languages: list[str] = (), **cell: str) -> None:
    """Record once that an attack is not run: at all (no target), on a target, or on some of its languages.

    `cell`: `model` and `intermediate` where it is not run there alone.
    """
    row = {"attack": attack, "target": target, "languages": list(languages), "why": why, **cell}
    if row not in study.not_run:
        study.not_run.append(row)


def notices(not_run: list[dict]) -> list[str]:
    """One sentence an attack: what of it is not run, by reason."""
    found = []
    for attack in unique(row["attack"] for row in not_run):
        reasons: dict[str, list[str]] = {}
        for row in not_run:
            if row["attack"] == attack:
                places = reasons.setdefault(row["why"], [])
                places += [place] if (place := _place(row)) else []
        parts = [f"on {', '.join(places)}: {why}" if places else why for why, places in reasons.items()]
        found.append(f"attack {attack} is not run{' ' if parts[0].startswith('on ') else ': '}{'; '.join(parts)}.")
    return found


def _place(row: dict) -> str:
    """Where an attack is not run, in words: `xnli (ru, zh)`, `me5-small-l6 after anli`; empty: nowhere."""
    codes = f" ({', '.join(row['languages'])})" if row["languages"] else ""
    cell = f"{row['model']} after {row['intermediate']}" if "model" in row else ""
    return " of ".join(part for part in (row["target"] + codes, cell) if part)


class _Agreement:
    """What all blocks with one attack have in common: else its cells would hold other examples and not be compared."""

    def __init__(self, study):
        self.study = study
        self.made: dict[str, tuple[str, dict]] = {}  # attack -> first block, its AGREED
        # (attack, source or "", target) -> cell -> (blocks, languages)
        self.codes: dict[tuple[str, str, str], dict[tuple, tuple[list[str], set[str]]]] = {}

    def add(self, key: str, attack: str, made: dict) -> None:
        """UserError where the block at `key` has other values for an attack than a block before it."""
        first, known = self.made.setdefault(attack, (key, made))
        for name in AGREED:
            if known[name] != made[name]:
                raise findings.error(
                    self.study, f"{key}.{name} (of {attack})", made[name],
                    f"{known[name]}, as in {first}: the cells of an attack are compared on the same examples",
                )  # fmt: skip

    def languages(self, key: str, attack: str, source: str, cell: tuple, languages: dict[str, list[str]]) -> None:
        """Note the languages of a cell's targets. `source`: of a transfer."""
        for target, codes in languages.items():
            blocks, known = self.codes.setdefault((attack, source, target), {}).setdefault(cell, ([], set()))
            blocks += [key] if key not in blocks else []
            known |= set(codes)

    def check_languages(self) -> None:
        """UserError where the cells of an attack have a target in other languages."""
        for (attack, _, target), cells in self.codes.items():
            (first, known), *others = cells.values()
            for blocks, codes in others:
                if codes == known:
                    continue
                few, many = sorted(((codes, blocks), (known, first)), key=lambda one: len(one[0]))
                key = next((one for one in few[1] if one not in many[1]), few[1][-1])
                rest = " and ".join(one for one in many[1] if one != key)
                raise findings.error(
                    self.study, f"{key}.languages (of {attack} on {target})", _ordered(self.study, target, few[0]),
                    f"{_ordered(self.study, target, many[0])}, as in {rest}: "
                    "the cells of an attack are compared in the same languages",
                )  # fmt: skip


def _ordered(study, target: str, codes: set[str]) -> list[str]:
    return [code for code in study.languages(target) if code in codes]


class _Block:
    """One block of `attacks`, its names checked."""

    def __init__(self, study, key: str, block: dict, asked_intermediates: list[str], agreement: _Agreement):
        self.study, self.key, self.block, self.agreement = study, key, block, agreement
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
        identities = [study.catalog.attacks[name].identity for name in block["attacks"]]
        attack_needs.check(study, f"{key}.stand_ins", identities, block["stand_ins"])
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
                leave_out(self.study, attack, self._nothing_left(identity))
            elif self.block["mode"] == STATIC:
                for source in self.sources:
                    self._transfer(attack, identity, stand_ins, languages, source)
            elif cells := self._cells(languages):
                for cell in cells:
                    self._attack(attack, identity, stand_ins, languages, cell)
            else:
                leave_out(self.study, attack, f"no cell of the grid has what {self.key} names")

    def _nothing_left(self, identity: dict) -> str:
        """Why no target and language of the block is attacked."""
        if not identity["set"]:
            return f"{self.key} has no target and language left for it"
        own = self.study.catalog.tasks[identity["set"]["task"]].identity["languages"]
        made_for = identity.get("targets") or [f"tasks of kind {', '.join(identity['kinds'])}"]
        return f"its set is in {', '.join(own)}, for {', '.join(made_for)}, which {self.key} does not have in the study"

    def _cells(self, targets: dict) -> list[tuple[str, str, int]]:
        """Cells of the grid that the block names and that have one of `targets`."""
        block = self.block
        return [
            (model, intermediate, seed)
            for (model, intermediate, seed), own in self.study.cells.items()
            if set(own) & set(targets)
            and model in (block.get("models") or [model])
            and intermediate in (self.intermediates or [intermediate])
            and seed in (block.get("seeds") or [seed])
        ]

    def _languages(self, attack: str, identity: dict, stand_ins: dict, target: str) -> list[str]:
        """Languages of a target that the block asks for and the attack is valid for; the others are recorded."""
        study, kind = self.study, self.study.kind(target)
        if identity["set"] and not self.block.get("targets"):  # a set is made for one target, in its own languages
            own = study.catalog.tasks[identity["set"]["task"]].identity["languages"]
            fits = kind in identity["kinds"] and target in identity.get("targets", [target])
            asked = self.block.get("languages") or own
            return [code for code in study.languages(target) if code in own and code in asked] if fits else []
        if kind not in identity["kinds"]:
            leave_out(study, attack, f"it attacks tasks of kind {', '.join(identity['kinds'])}", target)
            return []
        if target not in identity.get("targets", [target]):
            leave_out(study, attack, f"it is made for {', '.join(identity['targets'])}", target)
            return []
        asked = [code for code in study.languages(target) if code in (self.block.get("languages") or [code])]
        if not asked and target in (self.block.get("targets") or []):
            leave_out(study, attack, f"{self.key}.languages has none of its languages", target)
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
        where = {"model": model, "intermediate": intermediate}
        seen = set(identity["never_after"]) & {intermediate, *study.intermediate_tasks(intermediate)}
        if seen:
            leave_out(study, attack, f"never after {intermediate}, whose training has seen the set", **where)
            return None
        mlm = stand_ins.get("mlm")
        if mlm and (mlm["model"], mlm["intermediate"]) == (model, intermediate) and not mlm["own"]:
            why = f"never on {model} with {intermediate}, its own stand-in (stand_ins.mlm.own)"
            leave_out(study, attack, why, **where)
            return None
        made = {"examples": self.block["examples"], "seconds": self.block["seconds"], "stand_ins": stand_ins}
        self.agreement.add(self.key, attack, made)
        found = study.attack_cells.setdefault((attack, *cell), {"targets": [], "languages": {}, **made})
        self._put(found, attack, "", cell, languages)
        attack_needs.train(study, stand_ins)
        return found

    def _put(self, found: dict, attack: str, source: str, cell: tuple, languages: dict) -> None:
        """Add those of `languages`' targets that a cell has to what is `found` for it."""
        own = {target: languages[target] for target in self.study.cells[cell] if target in languages}
        found["targets"] = [one for one in self.study.cells[cell] if one in {*own, *found["targets"]}]
        for target, codes in own.items():
            codes = {*codes, *found["languages"].get(target, [])}
            found["languages"][target] = _ordered(self.study, target, codes)
        self.agreement.languages(self.key, attack, source, cell, own)

    def _transfer(self, attack: str, identity: dict, stand_ins: dict, languages: dict, source: dict) -> None:
        """The attack on a source cell, and its transfer to every other cell of the block."""
        study, origin = self.study, (source["model"], source["intermediate"], source["seed"])
        name = source_name(source)
        for target in languages:
            if target not in study.cells[origin]:
                leave_out(study, attack, f"the source {name} has no such target", target)
        languages = {target: codes for target, codes in languages.items() if target in study.cells[origin]}
        if not languages:
            return
        victims = [cell for cell in self._cells(languages) if cell != origin]
        if not victims:
            why = f"{self.key} has no cell beside the source {name} that the texts could be put to"
            leave_out(study, attack, why)
            return
        if not self._attack(attack, identity, stand_ins, languages, origin):
            return
        for cell in victims:
            found = {"source": source, "targets": [], "languages": {}}
            found = study.transfer_cells.setdefault((attack, name, *cell), found)
            self._put(found, attack, name, cell, languages)
