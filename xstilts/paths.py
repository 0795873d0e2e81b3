"""Where everything lies: one template a thing, as the rules, the library and the tests use them.

A template's fields are Snakemake wildcards. Groups of files that one job writes are dictionaries of named outputs
(names become part of the artifact store's file names).
"""

from __future__ import annotations

from xstilts.errors import UserError

RESULTS = "results/{study}"
EXAMPLES = RESULTS + "/examples"
GOLD = RESULTS + "/gold"
MODEL_DIR = RESULTS + "/models/{model}"
ENCODER_DIR = RESULTS + "/encoders/{model}/{intermediate}/s{seed}"
TARGETS_DIR = RESULTS + "/targets/{model}/{intermediate}/s{seed}"
TARGET_DIR = TARGETS_DIR + "/{task}"
PREDICTIONS_DIR = RESULTS + "/predictions/{model}/{intermediate}/s{seed}"
ATTACKS_DIR = RESULTS + "/attacks/{attack}/{model}/{intermediate}/s{seed}"
TRANSFER_DIR = RESULTS + "/transfer/{attack}/{source}/{model}/{intermediate}/s{seed}"
REPORT = RESULTS + "/report.html"

MODEL = {
    "model": MODEL_DIR + "/model.safetensors",
    "config": MODEL_DIR + "/config.json",
    "tokenizer": MODEL_DIR + "/tokenizer.json",
    "card": MODEL_DIR + "/model.json",
}
ENCODER = {
    "model": ENCODER_DIR + "/model.safetensors",
    "config": ENCODER_DIR + "/config.json",
    "train": ENCODER_DIR + "/train.json",
}
TARGET = {
    "model": TARGET_DIR + "/model.safetensors",
    "config": TARGET_DIR + "/config.json",
    "train": TARGET_DIR + "/train.json",
}
TABLES = {
    name: f"{RESULTS}/{name}.csv"
    for name in (
        *("scores", "baselines", "retrieval", "robustness", "robustness_changes", "transfer", "comparisons"),
        *("scaling", "claims", "cost"),
    )
}
DATA_TABLES = {name: f"{RESULTS}/{name}.csv" for name in ("data", "pieces")}
LAYERS = RESULTS + "/retrieval/{model}/{intermediate}/s{seed}.jsonl"
SUFFIX = {"pair": "tsv", "tagging": "tsv", "retrieval": "tsv", "span_qa": "json"}


def examples(task: str, language: str, split: str) -> str:
    """Template of one prepared file."""
    return f"{EXAMPLES}/{task}/{language}/{split}.jsonl"


def gold(task: str, kind: str, language: str) -> str:
    """Template of one gold file in the official evaluator's layout."""
    return f"{GOLD}/{task}/test-{language}.{SUFFIX[kind]}"


def predictions(task: str, kind: str, language: str) -> str:
    """Template of one prediction file in XTREME's submission format."""
    return f"{PREDICTIONS_DIR}/{task}/test-{language}.{SUFFIX[kind]}"


def attack_rows(task: str, language: str) -> str:
    """Template of the outcomes of one attack on one task and language."""
    return f"{ATTACKS_DIR}/{task}/{language}.jsonl"


def transfer_rows(task: str, language: str) -> str:
    """Template of what a source cell's adversarial texts do to another cell, on one task and language."""
    return f"{TRANSFER_DIR}/{task}/{language}.jsonl"


def cost(stage: str, task: str | None = None) -> str:
    """Template of one job's timings (kept apart from results: they differ between equal runs)."""
    before = {"attack": "{attack}/", "transfer": "{attack}/{source}/"}.get(stage, "")
    cell = before + "{model}/{intermediate}/s{seed}"
    return f"{RESULTS}/cost/{stage}/{cell}" + (f"/{task}" if task else "") + ".json"


def log(stage: str, *parts: str) -> str:
    """Template of a job's log file."""
    return "/".join(["logs/{study}", stage, *parts]) + ".log"


def fill(template: str | dict | list, **wildcards):
    """Fill a template, or every template of a dictionary or list; a missing field is an error."""
    if isinstance(template, dict):
        return {name: fill(value, **wildcards) for name, value in template.items()}
    if isinstance(template, list):
        return [fill(value, **wildcards) for value in template]
    try:
        return template.format(**wildcards)
    except KeyError as error:
        raise UserError(f"path template {template!r} lacks a value for {error}") from error
