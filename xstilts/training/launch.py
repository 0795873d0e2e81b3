"""Start a training as its command line says: in this process, or in one process a device."""

from __future__ import annotations

import argparse

from xstilts.models import runtime
from xstilts.training import loop, parallel, settings


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
    if not parallel.launched():
        device = runtime.device(a.device)
        plan = loop.plan_of(a.spec, a.model, chosen, device)
        if plan.size > 1:
            parallel.relaunch(plan.size, device)
            return
    loop.train(a.spec, a.model, a.encoder, a.examples, a.out, a.device, chosen, a.work)
