"""What a training that does not fit in memory says: what it needs, what there is, and what would fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from xstilts.training import memory
from xstilts.training.memory import GIB, Job, Machine

BOXES = (2, 4, 8, 16, 32, 64)  # numbers of GPUs that are proposed
# what a study may write under `training:`, and what it changes of the Job
METHODS = (
    ("{optimiser: adamw8bit}", {"optimiser": "adamw8bit"}),
    ("{trainable: blocks}", {"trainable": "blocks"}),
    ("{trainable: blocks, optimiser: adamw8bit}", {"trainable": "blocks", "optimiser": "adamw8bit"}),
    ("{trainable: lora}", {"trainable": "lora", "optimiser": "adamw"}),
)


class _Need:
    """Bytes of ways of training one model, on one machine with some settings."""

    def __init__(self, config: Mapping, job: Job, machine: Machine, settings):
        self.config, self.job, self.machine, self.settings = config, job, machine, settings

    def device(self, strategy: str, size: int, settings=None, **changes) -> int:
        """Bytes of each device, in the smallest batches."""
        job = self._changed(changes)
        tried = memory.sizes(job, settings or self.settings, self.machine.kind)
        found = (memory.estimate(self.config, job, strategy, size, *one, self.machine.kind) for one in tried)
        return min(sum(parts.values()) for parts in found)

    def host(self, strategy: str, size: int, **changes) -> int:
        """Bytes of the memory beside the GPUs."""
        return sum(memory.host(self.config, self._changed(changes), strategy, size).values())

    def fits(self, strategy: str, size: int, **more) -> bool:
        """Whether both are there. The memory of one GPU counts for each of `size`, whether there are so many or not."""
        enough = self.device(strategy, size, **more) <= self.machine.usable(size)
        more.pop("settings", None)
        return enough and self.machine.holds(self.host(strategy, size, **more))

    def _changed(self, changes: Mapping) -> Job:
        """The job with other fields; where the embeddings are frozen none of their rows is left out."""
        job = replace(self.job, **changes)
        return job if job.trainable == "all" else replace(job, rows=None)


def text(config: Mapping, job: Job, machine: Machine, settings, tried: list[tuple[str, int]]) -> str:
    """The message: needs and memory, settings that would fit, methods that would, those that would not, what next."""
    need, (strategy, size) = _Need(config, job, machine, settings), tried[-1]
    same = [f"- {line}" for line in _settings(need, tried)]
    methods = _methods(job)
    fits = {how: [one for one in tried if need.fits(*one, **changes)] for how, changes in methods.items()}
    other = [
        f"- the study's file: {how}: {need.device(*fits[how][0], **changes) / GIB:.1f} GiB{_spread(*fits[how][0])}"
        for how, changes in methods.items()
        if fits[how]
    ]
    large = [
        f"{how} ({need.device(strategy, size, **changes) / GIB:.1f} GiB)"
        for how, changes in methods.items()
        if not fits[how]
    ]
    lines = _needs(need, strategy, size)
    if same:
        lines += ["What fits and leaves the job what it is:", *same]
    if other:
        lines += ["What fits and changes what is computed, so that the job is another one:", *other]
    lines += [f"Too large as well: {', '.join(large)}."] if large else []
    return "\n".join(
        [
            *lines,
            "Or a smaller model: `python -m xstilts catalog`.",
            "Next: write one of these into its file and run the same command again (what is finished is kept). "
            "`python -m xstilts cost STUDY` shows the memory of each model before a study starts.",
        ]
    )


def _needs(need: _Need, strategy: str, size: int) -> list[str]:
    """What is needed and what there is."""
    job, machine = need.job, need.machine
    each = machine.devices[0] / GIB if machine.kind == "cpu" else min(machine.devices) / GIB
    there = f"{len(machine.devices)} x {each:.1f} GiB of GPU memory" if machine.kind == "cuda" else f"{each:.1f} GiB"
    rows = ""
    if job.rows is not None:
        rows = f" {job.rows:,} of {need.config['vocab_size']:,} word embeddings are counted, all that the texts touch."
    lines = [
        f"{job.name} does not fit in memory: training (trainable: {job.trainable}, {job.precision}, {job.optimiser}) "
        f"needs at least {need.device(strategy, size) / GIB:.1f} GiB{_spread(strategy, size) or ' on one device'}; "
        f"this machine has {there}, of which {machine.usable(1) / GIB:.1f} GiB"
        f"{' each' if len(machine.devices) > 1 else ''} are planned with.{rows}"
    ]
    if not machine.holds(need.host(strategy, size)):
        parts = memory.host(need.config, need._changed({}), strategy, size)
        listed = ", ".join(f"{name} {value / GIB:.1f}" for name, value in parts.items())
        lines.append(
            f"Beside the GPUs it needs {sum(parts.values()) / GIB:.1f} GiB of the machine's memory ({listed}); there "
            f"are {machine.host / GIB:.1f} GiB, of which {machine.host * (1 - memory.RESERVE['cpu']) / GIB:.1f} GiB "
            "are planned with."
        )
    return lines


def _settings(need: _Need, tried: list[tuple[str, int]]) -> Iterator[str]:
    """Changes that leave the result what it is."""
    machine, settings, file = need.machine, need.settings, f"catalog/models/{need.job.name}.yaml: runtime:"
    twice = replace(settings, gradient_checkpointing=None)
    if settings.gradient_checkpointing is False and any(need.fits(*one, settings=twice) for one in tried):
        yield f"{file} {{gradient_checkpointing: true}} (it was set to false)"
    if not settings.trim:
        yield "without --no-trim: only the word embeddings that the texts touch are trained then"
    if machine.kind == "cpu":
        yield "a machine with more memory, or a GPU (--device cuda)"
        return
    number = next((n for n in BOXES if n > tried[-1][1] and need.fits("fsdp", n, settings=twice)), None)
    if number:
        bytes_each = need.device("fsdp", number, settings=twice)
        here = "" if number <= len(machine.devices) else f", on a machine with {number} GPUs of this size"
        booked = " (the workflow books one GPU where no number is named)" if machine.booked and not here else ""
        keys = f"devices: {number}, strategy: fsdp"
        yield f"{file} {{{keys}}}: {bytes_each / GIB:.1f} GiB on each, sharded{here}{booked}"


def _methods(job: Job) -> dict[str, dict]:
    """How a study writes each other method than the job's -> what it changes; each Job once."""
    found: dict[Job, tuple[str, dict]] = {}
    for how, changes in METHODS if job.trainable != "lora" else ():
        found.setdefault(replace(job, **changes), (f"training: {how}", changes))
    found.pop(job, None)
    return dict(found.values())


def _spread(strategy: str, size: int) -> str:
    """on each of 4 devices, sharded; nothing for one device."""
    return "" if size == 1 else f" on each of {size} devices" + ", sharded" * (strategy == "fsdp")
