"""How fast and in how much memory a training runs: nothing here is part of a job's identity.

Without dropout a setting moves the last bits of a result, by the order of a sum, and nothing else. With dropout that is
so of trimming, checkpointing and prefetching. But masks are drawn part by part: where batches are cut otherwise
(`tokens_per_batch`, `devices`) or blocks are compiled, other masks are drawn, and the result is another draw, as with
another seed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from xstilts.errors import UserError

CATALOG = Path(__file__).resolve().parents[2] / "catalog" / "models"
STRATEGIES = ("auto", "one", "ddp", "fsdp")


@dataclass(frozen=True)
class Settings:
    """One training's settings.

    tokens_per_batch: most tokens computed at once, padding included (a bigger batch is split; None: 16,384 on a GPU,
    and on a CPU 2,048, which takes less memory and no more time there); strategy: one device, or several with whole
    (ddp) or sharded (fsdp) weights, `auto` = as the memory asks; devices: how many (None: as the strategy asks);
    gradient_checkpointing: None = where the memory asks for it; compile: torch.compile on a GPU; prefetch: batches
    prepared ahead by a thread (None: 4 on a GPU, none on a CPU, where it would take the time of the training itself);
    trim: train only the word embeddings that the data can touch (the same result).
    """

    tokens_per_batch: int | None = None
    strategy: str = "auto"
    devices: int | None = None
    gradient_checkpointing: bool | None = None
    compile: bool = False
    prefetch: int | None = None
    trim: bool = True

    def at_once(self, device_type: str) -> int:
        """Most tokens computed at once on a device of this type."""
        return self.tokens_per_batch or (2_048 if device_type == "cpu" else 16_384)

    def ahead(self, device_type: str) -> int:
        """Batches prepared ahead on a device of this type."""
        return self.prefetch if self.prefetch is not None else 0 if device_type == "cpu" else 4


def of_model(name: str, folder: Path = CATALOG, **given) -> Settings:
    """The settings of a model: the `runtime` of its catalog file (no file: defaults), then what is given (not None)."""
    path, runtime = folder / f"{name}.yaml", {}
    if path.is_file():
        import yaml

        runtime = dict(yaml.safe_load(path.read_text(encoding="utf-8")).get("runtime") or {})
    if "tokens_per_device_batch" in runtime:
        runtime["tokens_per_batch"] = runtime.pop("tokens_per_device_batch")
    runtime |= {key: value for key, value in given.items() if value is not None}
    settings = replace(Settings(), **{key: value for key, value in runtime.items() if key in Settings.__annotations__})
    if settings.strategy not in STRATEGIES:
        raise UserError(f"{path}: runtime.strategy: {settings.strategy!r}, allowed: {', '.join(STRATEGIES)}")
    return settings
