"""A finding in a study: one UserError that names the study's file, the key, the value and what is allowed."""

from __future__ import annotations

import difflib
import re

from xstilts.errors import UserError

# keys whose values are names of the catalog: `xstilts catalog` lists them
LISTED = re.compile(r"\b(models?|intermediates?|targets|target_languages|tasks|shares|attacks|languages|overrides)$")


def error(study, key: str, value, allowed) -> UserError:
    """The UserError of a value that is not allowed. `allowed`: names, of which the closest is hinted at, or words."""
    names = [str(name) for name in allowed] if not isinstance(allowed, str) else []
    close = difflib.get_close_matches(str(value), names, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    listed = allowed if isinstance(allowed, str) else ", ".join(names)
    more = "" if isinstance(allowed, str) else " `python -m xstilts catalog` lists everything that exists."
    return UserError(
        f"{study.file}: {key}: {value!r} is not allowed.{hint} Allowed: {listed}.{more if LISTED.search(key) else ''}"
    )


def known(study, key: str, names: list[str], allowed) -> None:
    """UserError at the first of `names` that is not among the allowed ones."""
    for name in names:
        if name not in allowed:
            raise error(study, key, name, allowed)


def unique(items) -> list:
    """The items without repetition, in their order."""
    return list(dict.fromkeys(items))
