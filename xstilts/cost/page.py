"""`xstilts cost STUDY`: what a study will take in time, disk and memory, as text and as JSON. No torch, no network."""

from __future__ import annotations

import dataclasses
import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from xstilts.check.needs import words
from xstilts.check.page import load_file
from xstilts.cost import estimate, sizes
from xstilts.cost import rates as measured
from xstilts.cost.amounts import Amounts
from xstilts.cost.estimate import Job, Row
from xstilts.errors import UserError
from xstilts.files import write_json
from xstilts.identity import ROOT
from xstilts.text_table import table

WIDTH = 120
BENCHMARKS = Path("benchmarks/results/training.json")
MEANING = (
    "measured: this model did this kind of work with these settings on this device, on data of this kind. scaled: from "
    "another model, task or setting, by floating-point operations. assumed: nobody measured it. at most: fewer where "
    "training stops early, or the catalog documents an upper bound."
)


@dataclasses.dataclass(frozen=True)
class Asked:
    """The command line: rates to read (none: results/* and the benchmarks'), which device, or operations a second."""

    rates: Sequence[Path] = ()
    device: str | None = None
    peak: float | None = None  # FLOP/s
    mfu: float | None = None


def cost(path: str | Path, changes: dict | None, asked: Asked, out: Path | None = None, root: Path = ROOT) -> str:
    """The page of a study; with `out` the same as JSON there. UserError: a broken study or file, no rate to go by."""
    study = load_file(path, changes, root)
    folders = [place for place in asked.rates if place.is_dir()]
    if not asked.rates:
        folders = sorted(place for place in root.glob("results/*") if place.is_dir())
    places = [*(asked.rates or folders), *([root / BENCHMARKS] if not asked.rates else [])]
    places = [place for place in places if place.exists() or asked.rates]
    rates = _rates(measured.read(places, study.catalog), asked, study.name)
    amounts = Amounts(study, root)
    jobs = estimate.jobs(study, amounts, estimate.queries(folders, study.catalog), root)
    estimate.fill(study, jobs, rates)
    rows, disk = estimate.rows(jobs), sizes.disk(study, jobs, folders, root)
    kind = "cpu" if rates.device.startswith("cpu") else "cuda"
    memory = sizes.needs(study, amounts.specs, root, kind)
    notes = _notes(study, jobs, rates)
    if out:
        write_json(out, _json(study, rates, rows, disk, memory, notes))
    head = f"study {study.name} ({study.file}) on {rates.device}"
    head += f", assumed: {rates.assumed / 1e12:,.1f} TFLOP/s in use" if rates.assumed else ""
    blocks = [
        _wrap(head),
        _time(rows, jobs),
        _disk(disk),
        _memory(memory),
        _list("Worth knowing", notes),
        _wrap(MEANING),
    ]
    return "\n\n".join(block for block in blocks if block)


def _rates(found: list[measured.Rate], asked: Asked, study: str) -> measured.Rates:
    """The rates of the device that was asked for, else of the one that most of this study's (or all) jobs ran on."""
    known = Counter(rate.device for rate in found)
    if (asked.peak is None) != (asked.mfu is None):
        raise UserError(
            "--peak and --mfu: give both (the device's FLOP/s, and the share of it that a training reaches)"
        )
    if asked.peak is not None:
        if not (asked.peak > 0 and 0 < asked.mfu <= 1):
            raise UserError(f"--peak {asked.peak:g} --mfu {asked.mfu:g}: allowed: a peak above 0, an mfu above 0 to 1")
        return measured.Rates([], asked.device or "a device that was not named", asked.peak * asked.mfu)
    listed = "; ".join(f"{name} ({count} jobs)" for name, count in known.most_common()) or "none"
    give = (
        "Next: name one of these, give --rates with a results folder of that device, or --peak FLOP/S and --mfu SHARE, "
        "which are then shown as assumed"
    )
    if asked.device is not None:
        fits = [name for name in known if asked.device.casefold() in name.casefold()]
        if not fits:
            raise UserError(f"--device {asked.device}: no rate was measured on it. Measured on: {listed}. {give}.")
        return measured.Rates(found, max(fits, key=known.__getitem__))
    if not known:
        raise UserError(f"no measured rate: no finished job in results/ and no {BENCHMARKS}. {give}.")
    own = Counter(rate.device for rate in found if f"/results/{study}/" in f"/{rate.file}")
    return measured.Rates(found, (own or known).most_common(1)[0][0])


# ---- what the page says
def _time(rows: list[Row], jobs: list[Job]) -> str:
    head = ["stage", "model", "jobs", "done", "tokens", "from", "device hours", "from"]
    body = [
        [row.stage, row.model, str(len(row.jobs)), str(len(row.jobs) - len(row.left)), *_amount(row)] for row in rows
    ]
    total = Row("total", "", jobs)
    body.append(["total", "", str(len(jobs)), str(len(jobs) - len(total.left)), *_amount(total)])
    return table("Time: every job on one device of the kind, one after the other", head, body, count=False)


def _amount(row: Row) -> list[str]:
    if not row.left:
        return ["", "", "0", "all is done"]
    if not row.told:
        return ["?", "", "?", "not known"]
    most = "at most " if row.most else ""
    lacks = len(row.left) - len(row.told)
    hours = most + _hours(row.seconds) + (f" + {lacks} not known" if lacks else "")
    return [f"{row.tokens / 1e6:,.2f} M", row.weakest("amount"), hours, row.weakest("basis")]


def _hours(seconds: float) -> str:
    hours = seconds / 3600
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:,.1f}" if hours >= 1 else f"{hours:.3f}"


def _disk(parts: list[sizes.Part]) -> str:
    body = [
        [part.name, ("at most " if part.most else "") + (words(part.size) if part.size else "?"), part.basis, part.why]
        for part in parts
    ]
    kept = sum(part.size for part in parts if not part.name.startswith("while"))
    most = "at most " if any(part.most for part in parts) else ""
    body += [["kept in all", most + words(kept), "", "what is there already is not counted"]] if parts else []
    return table("Disk, beside what `check` says of downloads", ["what", "size", "from", "why"], body, count=False)


def _memory(rows: list[dict]) -> str:
    body = [[row["model"], *(f"{row[key] / 2**30:,.1f}" for key in ("planned", "least", "sharded"))] for row in rows]
    head = ["model", "one device", "least", f"least, sharded over {sizes.SHARDED}"]
    title = "Memory of the largest training, GiB a device, by arithmetic (xstilts/training/memory.py)"
    return table(title, head, body, count=False)


def _notes(study, jobs: list[Job], rates: measured.Rates) -> list[str]:
    left = [job for job in jobs if not job.done]
    why = dict.fromkeys(line for job in left for line in job.amount.why)
    found = [f"not known: {line}" for line in dict.fromkeys(job.amount.unknown for job in left) if line]
    found += [f"tokens: {line}" for line in why]
    for model in study.models if not rates.assumed else ():
        ways = dict.fromkeys(way for job in left if job.model == model for way in job.rate.split("; ") if way)
        found += [f"rates of {model}, from {'; '.join(ways)}"] * bool(ways)
    starts: dict[tuple, list[str]] = {}
    for model in study.models:
        starts.setdefault(rates.startup(model), []).append(model)
    for (seconds, own), names in starts.items():
        lacking = "was not measured on this device and is left out"
        known = f"{seconds:.0f} s, as in trainings of {own}" if seconds is not None else lacking
        found.append(f"start-up of each job of {', '.join(names)} (reading, first scores, writing): {known}")
    found.append(
        "left out: preparing data, tables and the report (no device is needed), attempts after a failed run, and what "
        "the artifact store already holds of jobs that results/ does not show"
    )
    found += [f"not pinned, which does not change the estimate: {len(study.unpinned())} hub ids"] * bool(
        study.unpinned()
    )
    return [*found, *study.notices]


def _json(study, rates, rows: list[Row], disk, memory, notes) -> dict:
    def one(row: Row) -> dict:
        return {
            "stage": row.stage,
            "model": row.model,
            "jobs": len(row.jobs),
            "done": len(row.jobs) - len(row.left),
            "not_known": len(row.left) - len(row.told),
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
        "memory": memory,
        "notes": notes,
    }


def _list(title: str, lines: list[str]) -> str:
    return "\n".join([f"{title}:", *(_wrap(line, "  - ", "    ") for line in lines)])


def _wrap(text: str, first: str = "", rest: str = "  ") -> str:
    return textwrap.fill(
        text, WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )
