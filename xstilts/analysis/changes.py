"""robustness_changes.csv: what an intermediate training does to a score under attack, paired with none."""

from __future__ import annotations

from xstilts.analysis import bootstrap, comparisons
from xstilts.analysis.comparisons import NONE
from xstilts.analysis.outcomes import MEANS, Outcomes


def rows(outcomes: Outcomes) -> list[dict]:
    """Paired differences in points with 95 % intervals over the same examples and, where there are several, seeds.

    change: attacked score of the intermediate minus that of `none`, same model, target, texts' source and seeds.
    drop_change: the same of (attacked - clean): what is left when the intermediate's gain on unchanged text is taken
    off; empty where there is no clean score. p and p_holm are of `change`; Holm's correction runs over one family a
    mode and kind of row: all single languages, all `mean` rows, all `mean_non_en` rows.
    """
    families: dict[tuple, list[dict]] = {}
    result = []
    for family in outcomes.families:
        measured = outcomes.measured(family)
        for model, intermediate, target in outcomes.cells[family]:
            for language in [*measured.languages[target], *MEANS] if intermediate != NONE else []:
                cell = (model, intermediate, target, language)
                change, seeds = measured.attacked.gain(*cell)
                if change is None:
                    continue
                about = comparisons.measures(change, seeds, measured.attacked, target, language)
                parts = measured.codes(model, intermediate, target, language)
                about["n_examples"] = sum(measured.attacked.sizes[target, code] for code in parts)
                row = {
                    **family._asdict(), "source": family.source or None, "model": model, "intermediate": intermediate,
                    "target": target, "language": language, "change": about.pop("gain"),
                    "change_low": about.pop("ci_low"), "change_high": about.pop("ci_high"), **about,
                }  # fmt: skip
                gain, same = measured.clean.gain(*cell)
                if same == seeds:
                    row["drop_change"] = float(change[0] - gain[0])
                    row["drop_low"], row["drop_high"] = bootstrap.interval(change - gain)
                kind = language if language in MEANS else "language"
                families.setdefault((family.mode, kind), []).append(row)
                result.append(row)
    comparisons.adjust(families)
    return result
