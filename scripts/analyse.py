"""Write a study's result tables (scores, baselines, retrieval, robustness, comparisons ...; .csv) from its results.

python scripts/analyse.py --spec SPEC --results results/STUDY
"""

from xstilts import job
from xstilts.analysis.run import analyse

if __name__ == "__main__":
    arguments = job.parser(__doc__, "results").parse_args()
    job.run(arguments, lambda: analyse(arguments.spec, arguments.results))
