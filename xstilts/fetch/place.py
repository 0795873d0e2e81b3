"""Which folder a fetch may fill: not the project or its own folders, whose files are shared or versioned.

The store would be pushed to others by `xstilts share`, and a folder that git knows by `git add`: the licences of most
data sets forbid that.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from xstilts.errors import UserError
from xstilts.files import write_text

# the store, what runs write, what git versions (for a copy of the project without git); also every dot folder
OWN = (
    *("data", "results", "work", "logs"),
    *("benchmarks", "catalog", "docs", "envs", "profiles", "rules", "scripts", "studies", "tests", "xstilts"),
)
IGNORE = ".gitignore"
_NEXT = "Next: name a folder of its own, such as --to /scratch/xtreme"


def absolute(to: str | Path) -> Path:
    """The folder's whole path; `~` is the home folder. UserError: a home that is not known."""
    try:
        return Path(to).expanduser().absolute()
    except RuntimeError as error:
        raise UserError(f"--to {to}: {str(error).rstrip('.')}. {_NEXT}") from error


def place(to: str | Path, project: Path) -> Path:
    """The folder to fetch into; UserError where it is not to be filled. Nothing is made."""
    if str(to) in ("", "."):  # an empty variable on the command line is "."
        raise UserError(f'--to "{to}": no folder is named. {_NEXT}, or --to "$PWD" where this very folder is meant')
    root = absolute(to)
    target, project = root.resolve(), project.resolve()
    if project.is_relative_to(target):
        raise UserError(f"--to {to}: {target} holds the project {project}; files would be scattered in it. {_NEXT}")
    for own in sorted({project / name for name in OWN} | {path for path in project.glob(".*") if path.is_dir()}):
        if target.is_relative_to(own.resolve()):
            raise UserError(f"--to {to}: {own} is one of the project's own folders. {_NEXT}")
    if target.is_relative_to(project):
        top = project / target.relative_to(project).parts[0]
        if _tracked(project, top):
            raise UserError(f"--to {to}: git tracks files in {top}. {_NEXT}")
    if root.exists() and not root.is_dir():
        raise UserError(f"--to {to}: {root} is a file. Next: move it elsewhere, or name another folder (--to)")
    return root


def hide(root: Path, project: Path, say: Callable[[str], None]) -> None:
    """Keep git from taking a folder inside the project; a .gitignore that is there already is the user's."""
    file = root / IGNORE
    if not root.resolve().is_relative_to(project.resolve()):
        return
    if not file.exists():
        write_text(file, "*\n")
        say(f"{root} lies in the project: {file} keeps git from taking what is fetched, whose licences may forbid it")
    elif "*" not in file.read_text(encoding="utf-8", errors="replace").split():
        say(f"{file} is your own and lets git take what is fetched, whose licences may forbid it; a line `*` ends that")


def _tracked(project: Path, top: Path) -> bool:
    """Whether git knows files of a folder; without git (or a repository) it does not."""
    command = ["git", "-C", str(project), "ls-files", "--", str(top)]
    try:
        return bool(subprocess.run(command, capture_output=True, check=False).stdout)
    except OSError:
        return False
