"""scores.csv: one row a score, with what it was measured on and how its model was selected."""

from __future__ import annotations

from xstilts.analysis import load
from xstilts.evaluation import score
from xstilts.evaluation.metrics import aggregate, mean

METRICS = ("accuracy", "f1", "exact_match")


def revision(spec: dict, model: str) -> str:
    """Which weights: the pinned hub revision, else the first digits of the source's SHA-256, else its type."""
    source = spec.get("revisions", {}).get("models", {}).get(model) or {}
    return str(source.get("revision") or (source.get("sha256") or "")[:12] or source.get("type") or "unknown")


def rows(spec: dict, cells: load.Cells, records: dict) -> list[dict]:
    """Rows a language, then `mean` and `mean_non_en` where all the study's languages are there, then `official`.

    Values are those of `xstilts score` to the last digit. `official` needs XTREME's whole list of languages and is
    never given for a demonstration (generated or capped data). Group rows (the mean of their tasks' scores; a QA
    task's score is the mean of F1 and exact match) and `xtreme` (the plain mean over the nine tasks) exist only when
    all of their tasks are official; their metric is called `mean`, for they mix accuracy and F1. Rule: XTREME's
    evaluate.py, commit 838c13b.
    """
    result = []
    for cell in spec["cells"]:
        model, intermediate, seed = cell["model"], cell["intermediate"], cell["seed"]
        base = {
            "model": model,
            "parameters": spec["models"][model]["parameters"],
            "non_embedding_parameters": spec["models"][model]["non_embedding_parameters"],
            "intermediate": intermediate,
            "seed": seed,
            "model_revision": revision(spec, model),
        }
        official = {}
        for target in cell["targets"]:
            identity = spec["targets"][target]
            record = records.get((model, intermediate, seed, identity.get("training_task")), {})
            selection = record.get("selection", "unknown") if identity.get("training_task") else "none"
            about = {**base, "target": target, "selection": selection, "task_version": identity["version"]}
            scores, sizes = _languages(cells, (model, intermediate, seed, target), identity["languages"])
            prints = {code: cells.fingerprints.get((target, code), "") for code in identity["languages"]}
            for metric in METRICS:
                for code, value in scores.get(metric, {}).items():
                    one = {"language": code, "metric": metric, "value": value, "n": sizes[code]}
                    result.append({**about, **one, "data_fingerprint": prints[code]})
            whole = set(scores.get("f1") or scores.get("accuracy") or ()) == set(identity["languages"])
            is_official = whole and _official(spec, target)
            if whole:
                result += _means(about, scores, sizes, prints, is_official)
            if is_official:
                official[target] = mean(mean(_ordered(target, one).values()) for one in scores.values())
        result += _groups(spec, base, official)
    return result


def _languages(cells: load.Cells, cell: tuple, languages: list[str]) -> tuple[dict, dict]:
    scores, sizes = {}, {}
    for code in languages:
        for metric, array in cells.metrics.get((*cell, code), {}).items():
            scores.setdefault(metric, {})[code] = aggregate(array)
            sizes[code] = len(array)
    return scores, sizes


def _ordered(target: str, by_language: dict[str, float]) -> dict[str, float]:
    """Languages in the order in which XTREME adds them up (it shows in a mean's last digit), then others."""
    order = score.LANGUAGES.get(target, ())
    known = {code: by_language[code] for code in order if code in by_language}
    return known | by_language


def _official(spec: dict, target: str) -> bool:
    whole_list = set(spec["official_languages"][target]) == set(spec["targets"][target]["languages"])
    return whole_list and not spec["demonstration"]


def _means(about: dict, scores: dict, sizes: dict, prints: dict, is_official: bool) -> list[dict]:
    result = []
    for metric in METRICS:
        by_language = _ordered(about["target"], scores.get(metric, {}))
        if not by_language:
            continue
        others = [code for code in by_language if code != "en"]
        chosen = {"mean": list(by_language), "mean_non_en": others}
        if is_official:
            chosen["official"] = list(by_language)
        for name, codes in chosen.items():
            if codes:
                joined = load.fingerprint("".join(prints[code] for code in codes).encode())
                value = mean(by_language[code] for code in codes)
                one = {"language": name, "metric": metric, "value": value, "n": sum(sizes[code] for code in codes)}
                result.append({**about, **one, "data_fingerprint": joined})
    return result


def _groups(spec: dict, base: dict, official: dict[str, float]) -> list[dict]:
    members = {**score.GROUPS, "xtreme": tuple(score.LANGUAGES)}
    return [
        {
            **base,
            "target": group,
            "language": "official",
            "metric": "mean",
            "n": len(tasks),
            "selection": "",
            "value": mean(official[name] for name in tasks),
        }
        for group, tasks in members.items()
        if set(tasks) <= set(official)
    ]
