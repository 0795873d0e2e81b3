"""Snakemake logger plugin: one readable line a finished job, with progress and the time that is left.

`make run` switches it on (`--logger xstilts`); Snakemake's own full log goes on lying in .snakemake/log/.
"""

from __future__ import annotations

import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

TAIL_LINES = 12
# what Snakemake says again after a failed job: its whole command line, and that a job failed
REPEATS = (
    "RuleException",
    "WorkflowError:\nAt least one job",
    "Exiting because a job execution failed",
    "Using workflow",
)


class LogHandler(LogHandlerBase):
    """Prints to standard error: a line a job, notes and warnings, and on failure the end of the job's log."""

    def __post_init__(self) -> None:
        self.begin = time.monotonic()
        self.jobs: dict[int, tuple[str, str, float]] = {}
        self.durations: dict[str, list[float]] = defaultdict(list)
        self.remaining: Counter = Counter()
        self.total = self.done = 0
        self.cores = 1

    writes_to_stream = property(lambda self: True)
    writes_to_file = property(lambda self: False)
    has_filter = property(lambda self: True)
    has_formatter = property(lambda self: True)
    needs_rulegraph = property(lambda self: False)

    def emit(self, record) -> None:
        """Turn one Snakemake log record into at most one line."""
        event = getattr(record, "event", None)
        handler = getattr(self, f"on_{event.value}", None) if isinstance(event, LogEvent) else self.on_message
        if handler:
            handler(record)

    def on_run_info(self, record) -> None:
        stats = dict(getattr(record, "stats", None) or {})
        self.total = stats.pop("total", self.total)
        self.remaining = Counter(stats)
        if self.common_settings.dryrun:
            for rule, count in stats.items():
                self.say(f"{count:5d}  {rule}")
        self.say(f"{self.total} jobs to do")

    def on_resources_info(self, record) -> None:
        self.cores = int(getattr(record, "cores", None) or self.cores)

    def on_job_info(self, record) -> None:
        label = " ".join([record.rule_name, *(str(v) for k, v in (record.wildcards or {}).items() if k != "study")])
        self.jobs[record.jobid] = (record.rule_name, label, time.monotonic())

    def on_job_finished(self, record) -> None:
        rule, label, start = self.jobs.pop(record.job_id, ("", "", time.monotonic()))
        seconds = time.monotonic() - start
        self.durations[rule].append(seconds)
        self.remaining[rule] -= 1
        self.done += 1
        share = 100 * self.done // max(self.total, 1)
        clock = _clock(time.monotonic() - self.begin)
        self.say(f"[{self.done:4d}/{self.total} {share:3d}%] {clock}, left {self.left()}  {label}  ({seconds:.1f} s)")

    def left(self) -> str:
        """Time that the remaining jobs take at the mean duration of their rule (unknown rules: of all jobs)."""
        known = [value for values in self.durations.values() for value in values]
        overall = sum(known) / len(known)
        seconds = 0.0
        for rule, count in self.remaining.items():
            own = self.durations.get(rule)
            seconds += max(count, 0) * (sum(own) / len(own) if own else overall)
        return _clock(seconds / self.cores)

    def on_job_error(self, record) -> None:
        _, label, _ = self.jobs.get(record.jobid, ("", record.rule_name, 0))
        self.say(f"FAILED  {label}")
        for log in record.log or []:
            path = Path(str(log).split(" ")[0])
            if path.is_file():
                lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
                for line in lines[-TAIL_LINES:]:
                    self.say(f"    {line}")
                self.say(f"    (all of it: {path})")

    def on_error(self, record) -> None:
        self.on_message(record)

    def on_message(self, record) -> None:
        message = record.getMessage()
        if message.startswith(REPEATS):
            return
        if record.levelname in ("WARNING", "ERROR", "CRITICAL") or message.startswith("Nothing to be done"):
            self.say(message)

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
