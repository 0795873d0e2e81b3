"""Measured rates: what the jobs of one device reached, and what that says of other models and settings.

A rate is real tokens a second of one device. A training's is two things: operations, and a cost of each update, which
does not depend on the batch: AdamW reads weights, gradients and moments and writes weights and moments. The latter is
taken off a rate, the rest carried over as operations a second, and the job's own updates are put on again.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from statistics import median

from xstilts.training.accounting import flops

TRAIN, PREDICT = "train", "predict"
MEASURED, SCALED, ASSUMED = "measured", "scaled", "assumed"
ALIKE = 2.0  # tokens an update that differ by more are another batch size, and a model's size another size
TRAFFIC = {"adamw": 28, "adamw8bit": 16}  # bytes an update and trained weight: float32, and moments of one byte
COPIED = {"cpu": 1e10, "cuda": 1e12}  # bytes a second where no job measured them (choices of ours)
LEAST = (
    0.5  # share of a training's time that is operations, whatever updates seem to take by an assumption (our choice)
)
NO_OPTIMISER = ""


@dataclass(frozen=True)
class Work:
    """What a job does, as far as its speed depends on it. `trainable` is none for predictions; `rank` of LoRA;
    `checkpointing` and `per_update` (real tokens of an update on a device): None where that is not known."""

    trainable: str
    precision: str
    optimiser: str = NO_OPTIMISER
    rank: int | None = None
    checkpointing: bool | None = None
    per_update: float | None = None

    def apart(self, other: Work) -> dict[str, bool]:
        """What differs, from the gravest on."""
        known = None not in (self.checkpointing, other.checkpointing)
        return {
            "precision": self.precision != other.precision,
            "trainable": self.trainable != other.trainable,
            "optimiser": self.optimiser != other.optimiser,
            "LoRA rank": self.rank != other.rank,
            "gradient checkpointing": known and self.checkpointing != other.checkpointing,
        }


@dataclass(frozen=True)
class Rate:
    """One job's speed. `size`: parameters without word embeddings; `weights`: those that an update changes; `startup`:
    its seconds beside steps and looks (`exact`) or beside steps (else); `copied`, `memory`: of its device, in bytes
    (a second)."""

    phase: str
    kind: str
    model: str
    size: int
    weights: int
    device: str
    work: Work
    tokens_per_s: float
    flops_per_s: float
    file: str
    startup: float | None = None
    exact: bool = False
    copied: float | None = None
    memory: float | None = None


@dataclass(frozen=True)
class Speed:
    """What an estimate goes by: tokens a second (measured), or operations a second and the seconds of an update; from
    which jobs (`files`) of which models; `carried`: what was not equal there."""

    flops_per_s: float
    tokens_per_s: float | None
    update_s: float
    basis: str
    files: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    carried: tuple[str, ...] = ()

    def seconds(self, flops: float, tokens: float, updates: float) -> float:
        """What so much work takes."""
        return tokens / self.tokens_per_s if self.tokens_per_s else flops / self.flops_per_s + updates * self.update_s


class Rates:
    """All rates of one device; `assumed`: operations a second that the user gave in their place."""

    def __init__(self, rates: Iterable[Rate], device: str, assumed: float | None = None):
        self.rates = [rate for rate in rates if rate.device == device]
        self.device, self.assumed = device, assumed
        self.type = device_type(device)
        self.copied = max((rate.copied for rate in self.rates if rate.copied), default=None)
        self.traffic = self.copied or COPIED[self.type]  # bytes a second
        self.memory = max((rate.memory for rate in self.rates if rate.memory), default=None)
        self.times = self._times()

    def update(self, weights: float, optimiser: str) -> float:
        """Seconds of an update of so many weights: memory traffic, as often as trainings of two batch sizes say."""
        return weights * TRAFFIC.get(optimiser, 0) / self.traffic * (1.0 if self.times is None else self.times)

    def _times(self) -> float | None:
        """How many times its memory traffic an update takes, by pairs of trainings that differ in batch size alone:
        seconds an update = a x tokens + b. On a GPU that holds what a small batch waits for. None: no such pair."""
        found, groups = [], defaultdict(list)
        for rate in self.rates:
            if rate.phase == TRAIN and rate.work.per_update and rate.work.optimiser in TRAFFIC:
                groups[rate.model, rate.kind, replace(rate.work, per_update=None)].append(rate)
        for one, two in (pair for group in groups.values() for pair in itertools.permutations(group, 2)):
            few, many = one.work.per_update, two.work.per_update
            if many > ALIKE * few:
                fast, slow = few / one.tokens_per_s, many / two.tokens_per_s
                constant = max(0.0, fast - few * (slow - fast) / (many - few))
                found.append(constant * self.traffic / (one.weights * TRAFFIC[one.work.optimiser]))
        return median(found) if found else None

    def speed(self, phase: str, kind: str, model, work: Work) -> Speed:
        """The speed of a job of `model` (a catalog entry): measured where the same model did the same kind of work in
        the same way, else from what is nearest, in the order of `distance`."""
        update = self.update(changed(model, kind, work), work.optimiser)
        if self.assumed:
            return Speed(self.assumed, None, update, ASSUMED)
        size = model.size["non_embedding_parameters"]

        def distance(rate: Rate) -> tuple:
            # searching and attacking are slower by what they do beside the model
            searching = rate.kind != kind and {rate.kind, kind} & {"retrieval", "attack"}
            far = round(abs(math.log(rate.size / size)), 6)
            before = (rate.phase != phase, *rate.work.apart(work).values(), bool(searching))
            return (*before, far, rate.model != model.name, _batch(rate.work, work), rate.kind != kind)

        best = min(map(distance, self.rates))
        found = [rate for rate in self.rates if distance(rate) == best]
        one, about = found[0], (tuple(rate.file for rate in found), (found[0].model,))
        if not any(best):
            speed = median(rate.tokens_per_s for rate in found)
            return Speed(median(map(self._operations, found)), speed, update, MEASURED, *about)
        carried = ["predictions" if phase == TRAIN else "trainings"] if one.phase != phase else []
        carried += [f"other {name}" for name, other in one.work.apart(work).items() if other and one.phase == phase]
        times = max(one.size / size, size / one.size)
        smaller = "smaller" if one.size < size else "larger"
        carried += [f"a model {times:,.0f} times {smaller}"] if times >= ALIKE else ["another model"] * best[-3]
        carried += ["another kind of task"] * best[-1]
        carried += ["another batch size"] * bool(best[-2])
        known = self.times is not None or self.copied
        basis = ASSUMED if best[-2] and not known else SCALED
        return Speed(median(map(self._operations, found)), None, update, basis, *about, tuple(carried))

    def _operations(self, rate: Rate) -> float:
        """A rate's operations a second, its updates taken off."""
        each = rate.work.per_update
        share = self.update(rate.weights, rate.work.optimiser) / each * rate.tokens_per_s if each else 0.0
        return rate.flops_per_s / max(LEAST if self.times is None else LEAST / 10, 1.0 - share)

    def startup(self, model: str, phase: str) -> tuple[float | None, str, str]:
        """(seconds of a job before and after its work, of which model, basis): of its own jobs of this phase, else of
        the largest model's; scaled where that is another, or its records do not part start-up from looks at dev."""
        known = [rate for rate in self.rates if rate.startup is not None]
        known = [rate for rate in known if rate.phase == phase] or known
        own = [rate for rate in known if rate.model == model]
        own = own or [rate for rate in known if rate.size == max(one.size for one in known)]
        if not own:
            return None, "", ASSUMED
        same = own[0].model == model and own[0].phase == phase and all(rate.exact for rate in own)
        return median(rate.startup for rate in own), own[0].model, MEASURED if same else SCALED


def device_type(device: str) -> str:
    """cpu for a name that begins with that word, else cuda."""
    return "cpu" if re.match(r"cpu\b", device, re.IGNORECASE) else "cuda"


def operations(model, tokens: float, squares: float, work: Work) -> float:
    """FLOP of a catalog model over so many tokens (xstilts.training.accounting.flops)."""
    config = {"num_hidden_layers": model.identity["layers"], "hidden_size": model.identity["hidden"]}
    trained = adapters(model, work.rank) if work.trainable == "lora" else 0
    return flops(config, model.size["non_embedding_parameters"], tokens, squares, work.trainable, trained)


def changed(model, kind: str, work: Work) -> int:
    """Weights that an update changes. Of trained word embeddings only the rows that the data touch are, which are left
    out here; masked language modelling touches all."""
    if work.trainable == "lora":
        return adapters(model, work.rank)
    return model.size["parameters" if kind == "mlm" and work.trainable == "all" else "non_embedding_parameters"]


def adapters(model, rank: int | None) -> int:
    """LoRA's factors: of six matrices a block."""
    width = model.identity["hidden"]
    return model.identity["layers"] * (rank or 0) * (8 * width + 2 * (width + inner(model)))


def inner(model) -> int:
    """Width of the feed-forward part, from the catalog's counts."""
    layers, width = model.identity["layers"], model.identity["hidden"]
    return round((model.size["non_embedding_parameters"] / layers - 4 * width * width) / (2 * width))


def _batch(there: Work, here: Work) -> float:
    """How far tokens an update are apart: 0 up to ALIKE times and for predictions, which have none."""
    if here.per_update is None:
        return 0.0
    if there.per_update is None:
        return math.inf
    times = max(there.per_update / here.per_update, here.per_update / there.per_update)
    return round(math.log(times), 1) if times > ALIKE else 0.0
