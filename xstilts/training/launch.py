"""Start a training as its command line says: in this process, or in one process a device."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace

from xstilts.errors import UserError
from xstilts.models import runtime
from xstilts.training import loop, memory, parallel, settings
from xstilts.training.memory import Plan
from xstilts.training.settings import Settings


def train(arguments: argparse.Namespace) -> None:
    """Train by the arguments of scripts/train.py.

    Where the plan asks for several devices, the same command is started once a device by torch's launcher and this
    process waits for it.
    """
    a = arguments
    given = {
        "tokens_per_batch": a.tokens_per_batch or None,
        "strategy": a.strategy,
        "devices": a.devices,
        "gradient_checkpointing": a.gradient_checkpointing,
        "compile": a.compile,
        "prefetch": a.prefetch,
        "trim": a.trim,
    }
    chosen = settings.of_model(a.spec["model"]["name"], **given)
    if a.device.startswith("cuda:"):
        chosen = _one_gpu(a, chosen)
    if not parallel.launched():
        device = runtime.device(a.device)
        plan = _plan(a, chosen, device)
        if plan.size > 1:
            parallel.relaunch(plan.size, device)
            return
    loop.train(a.spec, a.model, a.encoder, a.examples, a.out, a.device, chosen, a.work)


def _plan(a: argparse.Namespace, chosen: Settings, device) -> Plan:
    """How many devices it takes: by all rows of the word embeddings first. Texts are encoded here, before there are
    several processes, only where that asks for several devices or does not fit, and trimming may help."""
    trims = memory.job(a.spec, chosen.trim, rows=1).rows is not None
    try:
        plan = loop.plan_of(a.spec, a.model, chosen, device)
        if plan.size == 1 or not trims or chosen.devices:
            return plan
    except memory.TooLarge:
        if not trims:
            raise
    rows = loop.rows_of(a.spec, a.model, a.examples, a.work)
    return loop.plan_of(a.spec, a.model, chosen, device, rows)


def _one_gpu(a: argparse.Namespace, chosen: Settings) -> Settings:
    """--device cuda:N names one GPU: refuse several processes on it, and plan with it alone."""
    started = int(os.environ.get("WORLD_SIZE", 1)) if parallel.launched() else 1
    if max(started, chosen.devices or 1) > 1:
        asked = f"{started} processes were started" if started > 1 else f"devices: {chosen.devices}"
        raise UserError(
            f"--device {a.device} is one GPU, but {asked} (--devices, or `runtime` of catalog/models/"
            f"{a.spec['model']['name']}.yaml). Allowed: --device cuda with several, chosen by CUDA_VISIBLE_DEVICES, or "
            f"--device {a.device} --devices 1"
        )
    return replace(chosen, devices=1)
