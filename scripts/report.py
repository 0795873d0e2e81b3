"""Write a study's report (report.html, figures/, tables/) from its tables.

python scripts/report.py --spec SPEC --results results/STUDY
"""

from xstilts import job
from xstilts.report.build import report

if __name__ == "__main__":
    arguments = job.parser(__doc__, "results").parse_args()
    job.run(arguments, lambda: report(arguments.spec, arguments.results))
