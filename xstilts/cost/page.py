"""`xstilts cost STUDY`: what a study will take in time, disk and memory, as text and as JSON. No torch, no network."""

from __future__ import annotations

import dataclasses
import math
import os
import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from xstilts.check.needs import words
from xstilts.check.page import load_file
from xstilts.cost import estimate, records, sizes
from xstilts.cost import rates as measured
from xstilts.cost.amounts import Amounts
from xstilts.cost.estimate import Job, Row
from xstilts.errors import UserError
from xstilts.files import write_json
from xstilts.identity import ROOT
from xstilts.text_table import table

WIDTH = 120
GIB = 2**30
BENCHMARKS = Path("benchmarks/results/training.json")
MEANING = (
    "measured: this model did this kind of work in this way on this device, on data of this kind. scaled: from another "
    "model, task, batch or setting, by operations and updates. assumed: nobody measured it. at most: fewer where "
    "training stops early, or the catalog documents an upper bound."
)
FITS = {"planned": "yes", "least": "small batches", "sharded": f"over {sizes.SHARDED}", "no": "no", None: "not known"}


@dataclasses.dataclass(frozen=True)
class Asked:
    """The command line: rates to read (none: results/* and the benchmarks'), which device, or operations a second."""

    rates: Sequence[Path] = ()
    device: str | None = None
    peak: float | None = None  # FLOP/s
    mfu: float | None = None
    memory: float | None = None  # GB of the device

    def check(self) -> None:
        """UserError for values that mean nothing."""
        if (self.peak is None) != (self.mfu is None):
            raise UserError(
                "--peak and --mfu: give both (the device's FLOP/s, and the share of it that a training reaches)"
            )
        if self.peak is not None and not (0 < self.peak < math.inf and 0 < self.mfu <= 1):
            raise UserError(
                f"--peak {self.peak:g} --mfu {self.mfu:g}: allowed: a finite peak above 0, an mfu above 0 to 1"
            )
        if self.memory is not None and not 0 < self.memory < math.inf:
            raise UserError(f"--memory {self.memory:g}: allowed: a number of GB above 0, such as 80")
        if self.device is not None and not self.device.strip():
            raise UserError("--device: the name is empty. Allowed: a part of the name of a device, such as H100 or cpu")


def cost(path: str | Path, changes: dict | None, asked: Asked, out: Path | None = None, root: Path = ROOT) -> str:
    """The page of a study; with `out` the same as JSON there. UserError: a broken study or file, no rate to go by."""
    asked.check()
    if out and (out.is_dir() or not out.absolute().parent.is_dir()):
        raise UserError(f"--json {out}: allowed: a file in a folder that is there. Next: mkdir -p {out.parent}")
    study, without = _load(path, changes or {}, root)
    folders = [place for place in asked.rates if place.is_dir()]
    if not asked.rates:
        folders = sorted(place for place in root.glob("results/*") if place.is_dir())
    places = [*(asked.rates or folders), *([root / BENCHMARKS] if not asked.rates else [])]
    places = [place for place in places if place.exists() or asked.rates]
    found = records.read(places, study.catalog, study.models)
    rates = _rates(found, asked, study.name, [os.path.relpath(one) for one in places])
    amounts = Amounts(study, root)
    jobs = estimate.jobs(study, amounts, estimate.queries(folders, study.catalog), root)
    estimate.fill(study, jobs, rates)
    rows, disk = estimate.rows(jobs), sizes.disk(study, jobs, folders, root)
    there = asked.memory * GIB if asked.memory else rates.memory
    memory = sizes.needs(study, amounts.specs, root, rates.type, there)
    notes = [*without, *_notes(study, jobs, rates)]
    if out:
        write_json(out, _json(study, rates, rows, disk, there, memory, notes))
    head = _wrap(
        f"study {study.name} ({study.file}) on {rates.device}"
        + (f", assumed: {rates.assumed / 1e12:,.1f} TFLOP/s in use" if rates.assumed else "")
    )
    if all(job.done for job in jobs):
        return f"{head}\n\nAll {len(jobs)} jobs are done: nothing is left to estimate."
    blocks = [
        head,
        _time(rows, jobs),
        _disk(disk),
        _memory(memory, there, rates),
        _list("Worth knowing", notes),
        _wrap(MEANING),
    ]
    return "\n\n".join(block for block in blocks if block)


def _load(path: str | Path, changes: dict, root: Path) -> tuple:
    """(study, notes): one of the user's own data, without the data, is planned by what the hub has of its tasks."""
    try:
        return load_file(path, changes, root), []
    except UserError as error:
        if "data_root: None" not in str(error):
            raise
        try:
            study = load_file(path, {**changes, "sources": ["local", "hub", "licensed"]}, root)
        except UserError:
            raise UserError(f"{error}\nNext: --config data_root=DIR, where DIR has your data (docs/data.md)") from None
        return study, [
            "its own data is not here: sizes are those of the hub's data sets. `--config data_root=DIR` counts yours"
        ]


def _rates(found: list[measured.Rate], asked: Asked, study: str, places: Sequence[str]) -> measured.Rates:
    """The rates of the device that was asked for, else of the one that most of this study's (or all) jobs ran on."""
    known = Counter(rate.device for rate in found)
    if asked.peak is not None:
        return measured.Rates([], asked.device or "a device that was not named", asked.peak * asked.mfu)
    listed = "; ".join(f"{name} ({count} jobs)" for name, count in known.most_common()) or "none"
    give = (
        "Next: name one of these, give --rates with a results folder of that device, or --peak FLOP/S and --mfu SHARE, "
        "which are then shown as assumed"
    )
    read = f"Read: {', '.join(places) or f'nothing, for there is no results/*/ and no {BENCHMARKS}'}"
    if not known:
        raise UserError(
            f"no measured rate: no finished job of a model of the catalog (but random ones). {read}. "
            f"{give.replace('name one of these, ', '')}."
        )
    if asked.device is not None:
        fits = [name for name in known if asked.device.casefold() in name.casefold()]
        if not fits:
            raise UserError(
                f"--device {asked.device}: no rate was measured on it. Measured on: {listed}. {read}. {give}."
            )
        return measured.Rates(found, max(fits, key=known.__getitem__))
    own = Counter(rate.device for rate in found if f"/results/{study}/" in f"/{rate.file}")
    return measured.Rates(found, (own or known).most_common(1)[0][0])


# ---- what the page says
def _time(rows: list[Row], jobs: list[Job]) -> str:
    head = ["stage", "model", "jobs", "done", "updates", "tokens", "from", "device hours", "from"]
    body = [[row.stage, row.model, *_amount(row)] for row in rows]
    body.append(["total", "", *_amount(Row("total", "", jobs))])
    return table("Time: every job on one device of the kind, one after the other", head, body, count=False)


def _amount(row: Row) -> list[str]:
    counts = [str(len(row.jobs)), str(len(row.jobs) - len(row.left))]
    if not row.left:
        return [*counts, "", "", "", "0", "all is done"]
    if not row.told:
        return [*counts, "?", "?", "", "?", "not known"]
    lacks = f" + {row.unknown} not known" if row.unknown else ""
    updates = f"{row.updates:,.0f}" if row.updates else ""
    hours = ("at most " if row.most else "") + _hours(row.seconds) + lacks
    return [*counts, updates, f"{row.tokens / 1e6:,.2f} M", row.weakest("amount"), hours, row.weakest("basis")]


def _hours(seconds: float) -> str:
    hours = seconds / 3600
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:,.1f}" if hours >= 1 else f"{hours:.3f}"


def _disk(parts: list[sizes.Part]) -> str:
    if not parts:
        return ""
    body = [
        [part.name, ("at most " if part.most else "") + (words(part.size) if part.size else "?"), part.basis, part.why]
        for part in parts
    ]
    last = [part for part in parts if not part.name.startswith("while")]
    lacks = sum(not part.size for part in last)
    # a sum of what was carried over bounds nothing
    bound = any(part.most for part in last) and not lacks and all(part.basis == measured.MEASURED for part in last)
    total = ("at most " if bound else "") + words(sum(part.size for part in last))
    total += f" + {lacks} not known" if lacks else ""
    body += [["kept in all", total, "", "what is there already is not counted"]]
    return table("Disk, beside what `check` says of downloads", ["what", "size", "from", "why"], body, count=False)


def _memory(rows: list[dict], there: float | None, rates: measured.Rates) -> str:
    if not rows:
        return ""
    shown = [key for key in ("planned", "least", "sharded") if key in rows[0]]
    body = [[row["model"], *(f"{row[key] / GIB:,.1f}" for key in shown), FITS[row["fits"]]] for row in rows]
    head = ["model", *(f"sharded over {sizes.SHARDED}" if key == "sharded" else key for key in shown), "fits"]
    title = "Memory of the largest training, GiB a device, by arithmetic (xstilts/training/memory.py)"
    known = f"{there / GIB:,.1f} GiB" if there else "an unknown amount of memory: --memory GB says it"
    said = "planned: one device, its model's settings. least: small batches, blocks computed twice."
    sharded = f" sharded: least, the weights over {sizes.SHARDED} devices." if "sharded" in shown else ""
    return f"{table(title, head, body, count=False)}\n{_wrap(f'{said}{sharded} {rates.device} has {known}.')}"


def _notes(study, jobs: list[Job], rates: measured.Rates) -> list[str]:
    left = [job for job in jobs if not job.done]
    found = [f"not known: {line}" for line in dict.fromkeys(job.amount.unknown for job in left) if line]
    found += [f"tokens: {line}" for line in dict.fromkeys(line for job in left for line in job.amount.why)]
    for stage in estimate.STAGES if not rates.assumed else ():
        speeds = [speed for job in left if job.stage == stage for speed in job.speeds]
        models = ", ".join(dict.fromkeys(name for speed in speeds for name in speed.models))
        carried = "; ".join(dict.fromkeys(line for speed in speeds for line in speed.carried))
        number = len({file for speed in speeds for file in speed.files})
        known = f"rates of {stage}: {number} job{'s' if number != 1 else ''} of {models}"
        found += [known + (f", carried over from: {carried}" if carried else "")] * bool(speeds)
    if any(job.amount.updates for job in left):
        where = "as jobs measured" if rates.copied else "assumed"
        lacks = "; what a GPU waits for in small batches beyond that is left out, so their hours are too low"
        if rates.times is not None:
            where, lacks = f"{where}), {rates.times:,.1f} times (by trainings of two batch sizes", ""
        found.append(
            "an update costs AdamW's reading and writing of the trained weights (of word embeddings none) at "
            f"{rates.traffic / 1e9:,.0f} GB/s ({where}){lacks if rates.type == 'cuda' else ''}"
        )
    for phase, name in ((measured.TRAIN, "a training"), (measured.PREDICT, "every other job")):
        starts: dict[tuple, list[str]] = {}
        for model in study.models:
            starts.setdefault(rates.startup(model, phase), []).append(model)
        for (seconds, own, basis), names in starts.items():
            known = "was not measured on this device and is left out"
            known = f"{seconds:.0f} s, as with {own} ({basis})" if seconds is not None else known
            found.append(f"start-up of {name} of {', '.join(names)}: {known}")
    found.append(
        "left out: preparing data, tables and the report (no device is needed), attempts after a failed run, and what "
        "the artifact store already holds of jobs that results/ does not show"
    )
    unpinned = len(study.unpinned())
    found += [f"not pinned, which does not change the estimate: {unpinned} hub ids"] * bool(unpinned)
    return [*found, *study.notices]


def _json(study, rates, rows: list[Row], disk, there, memory, notes) -> dict:
    def one(row: Row) -> dict:
        return {
            "stage": row.stage,
            "model": row.model,
            "jobs": len(row.jobs),
            "done": len(row.jobs) - len(row.left),
            "not_known": row.unknown,
            "updates": round(row.updates),
            "tokens": round(row.tokens),
            "tokens_from": row.weakest("amount") or None,
            "device_hours": round(row.seconds / 3600, 5),
            "hours_from": row.weakest("basis") or None,
            "at_most": row.most,
        }

    everything = Row("total", "all", [job for row in rows for job in row.jobs])
    return {
        "study": study.name,
        "device": rates.device,
        "rows": [one(row) for row in rows],
        "total": one(everything),
        "disk": [dataclasses.asdict(part) for part in disk],
        "device_memory": there,
        "memory": memory,
        "notes": notes,
    }


def _list(title: str, lines: list[str]) -> str:
    return "\n".join([f"{title}:", *(_wrap(line, "  - ", "    ") for line in lines)])


def _wrap(text: str, first: str = "", rest: str = "  ") -> str:
    return textwrap.fill(
        text, WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )
