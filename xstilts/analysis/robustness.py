"""robustness.csv and transfer.csv: scores before and after an attack, over the same examples for every model."""

from __future__ import annotations

import numpy as np

from xstilts.analysis import bootstrap
from xstilts.analysis.outcomes import MEANS, MEASURES, SET, STATIC, Measured, Outcomes

ALL = "all"  # in place of a seed: the mean over seeds


def rows(outcomes: Outcomes) -> list[dict]:
    """Rows a language, then `mean` and `mean_non_en` over the languages that the cell was given, where all are
    there; a row a seed and, of several, one of their mean (seed `all`).

    clean, attacked: the task's score over all n examples (skipped ones keep their score). success_rate: succeeded /
    (succeeded + failed), the attacks on examples that were right before, in percent. queries, perturbed, similarity,
    vanished (candidates that became the original's tokens), refused (by a constraint): means over attacked examples;
    timed_out: percent of them that ended for lack of time. broken: of the successful adversaries of generated data the
    share in percent whose label does not follow from the edited text any more; unreadable: the share that cannot be
    judged. ci: 95 % percentile interval of `attacked`, over examples, of `all` over seeds too. success_low,
    success_high: see `_success`. Texts of a static set have no unchanged original, so clean, success_rate, perturbed
    and similarity are empty there.
    """
    result = []
    for family in outcomes.families:
        measured = outcomes.measured(family)
        for (model, intermediate, target), codes in outcomes.cells[family].items():
            cell = (model, intermediate, target)
            for language in [*codes, *MEANS]:
                seeds = measured.attacked.seeds(*cell, language)
                for chosen in [*([seed] for seed in seeds), *([seeds] if len(seeds) > 1 else [])]:
                    names = {"model": model, "intermediate": intermediate, "target": target, "language": language}
                    names["seed"] = chosen[0] if len(chosen) == 1 else ALL
                    about = {**names, **family._asdict(), "source": family.source or None}
                    result.append(about | _measures(measured, cell, language, chosen))
    return result


def _measures(measured: Measured, cell: tuple, language: str, seeds: list[int]) -> dict:
    attacked = measured.attacked.get(*cell, language, seeds)
    low, high = bootstrap.interval(attacked)
    by_seed = measured.entries(*cell, language, seeds)
    row = {**_summary(by_seed), "attacked": float(attacked[0]), "ci_low": low, "ci_high": high}
    if all(entry["clean"] is not None for entries in by_seed for entry in entries):
        row["clean"] = float(measured.clean.get(*cell, language, seeds)[0])
        row |= _success(measured, cell, language, seeds, by_seed)
    else:
        row |= {"perturbed": None, "similarity": None}
    return row


def _success(measured: Measured, cell: tuple, language: str, seeds: list[int], by_seed: list[list[dict]]) -> dict:
    """success_rate with a 95 % interval; nothing where no example was attacked.

    One language and seed: Wilson's interval. Means (over languages that have attacked examples, over seeds): percentile
    bootstrap over examples and seeds, with the draws of `attacked`. A language of which a draw has no attacked example
    has no rate in that draw: it is the mean of the others, and a draw without any is left out. Where every part is 0,
    or every part is 100, replicates do not differ; there, and where less than half of the draws are left, Wilson's
    interval of the part with the fewest attacked examples stands.
    """
    codes = measured.codes(*cell, language)
    known = [code for code in codes if set(seeds) <= set(measured.success.seeds(*cell, code))]
    if not known:
        return {}
    vector = _rates(measured, cell, known, seeds)
    left = vector[~np.isnan(vector)]
    rate, parts = float(vector[0]), [entry["outcome"] for entries in by_seed for entry in entries]
    tried = min(filter(None, (len(outcome) - outcome.count("skipped") for outcome in parts)))
    if len(parts) == 1 or rate in (0.0, 100.0) or len(left) <= len(vector) / 2:
        low, high = bootstrap.wilson(rate / 100 * tried, tried)
    else:
        low, high = bootstrap.interval(left)
    return {"success_rate": rate, "success_low": low, "success_high": high}


def _rates(measured: Measured, cell: tuple, codes: list[str], seeds: list[int]) -> np.ndarray:
    """Success rate (samples + 1,): mean over languages of their means over seeds; the observed value is never nan."""
    weights = measured.success.weights(seeds).T
    by_code = [np.stack([measured.success.get(*cell, code, [seed]) for seed in seeds]) for code in codes]
    return bootstrap.mean_of_known(np.stack([bootstrap.mean_of_known(one, weights) for one in by_code]), np.ones(1))


def _summary(by_seed: list[list[dict]]) -> dict:
    """Counts are sums over languages and seeds; rates and means are plain means over languages, as scores are."""
    outcomes = [entry["outcome"] for entries in by_seed for entry in entries]
    summary = {"n": sum(map(len, outcomes)), "skipped": sum(one.count("skipped") for one in outcomes)}
    for name in (*MEASURES, "timed_out"):
        summary[name] = _mean([_mean([_attacked(entry, name) for entry in entries]) for entries in by_seed])
    for name, verdicts in (("broken", ["broken"]), ("unreadable", ["unclear", "unreadable"])):
        summary[name] = _mean([_mean([_share(entry, verdicts) for entry in entries]) for entries in by_seed])
    return summary


def _attacked(entry: dict, name: str) -> float | None:
    """Mean of a column over attacked examples."""
    pairs = zip(entry["outcome"], entry[name], strict=True)
    return _mean([value for outcome, value in pairs if outcome != "skipped"])


def _share(entry: dict, verdicts: list[str]) -> float | None:
    """Percent of the judged labels with one of these verdicts."""
    return _mean([100.0 * (one in verdicts) for one in entry["label"] if one is not None])


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(sum(known) / len(known)) if known else None


def transfer(table: list[dict]) -> list[dict]:
    """transfer.csv from the rows of robustness.csv: texts made on one model, put to another; means over languages.

    n: texts that count, those that beat the source, of examples that the victim had right. success_rate: percent of
    these that beat the victim too, the transfer rate. attacked: score over all sampled examples, each with the
    text that beat the source, or unchanged where none did or the victim was wrong already. Of several seeds of a victim
    their mean, n their sum.
    """
    static = [row for row in table if row["mode"] == STATIC and row["source"] != SET and row["language"] == "mean"]
    together = {_cell(row) for row in static if row["seed"] == ALL}
    keys = ("attack", "target", "source", "model", "intermediate", "attacked")
    return [
        {**{key: row[key] for key in keys}, "n": row["n"] - row["skipped"]}
        | {key: row.get(key) for key in ("success_rate", "success_low", "success_high")}
        for row in static
        if row["seed"] == ALL or _cell(row) not in together
    ]


def _cell(row: dict) -> tuple:
    return tuple(row[key] for key in ("attack", "target", "source", "model", "intermediate"))
