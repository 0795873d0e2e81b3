"""Bring what a study needs from the network into one folder, for machines that have none.

`plan` says which files those are and `problems` what cannot be brought; `run` brings them with threads and goes on
where an earlier run was killed. `place` says which folder may be filled, `folder` keeps its manifest, `foreign` judges
files that the manifest lacks; `convert` and `archives` make the folder's files of what was downloaded; `hosts` gives
up servers that do not answer; `progress` and `ending` are what the user reads.
"""

from xstilts.fetch.run import fetch, verify

__all__ = ["fetch", "verify"]
