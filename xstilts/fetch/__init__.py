"""Bring what a study needs from the network into one folder, for machines that have none.

`plan` says which files those are, `run` brings them with threads and goes on where an earlier run was killed, `folder`
keeps the manifest, `convert` and `archives` turn what was downloaded into the files of the folder.
"""

from xstilts.fetch.run import fetch, verify

__all__ = ["fetch", "verify"]
