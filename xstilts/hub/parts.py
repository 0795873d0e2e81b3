"""The names that a task's part is known by on the hub: its templates filled for one language.

Only the standard library and yaml are imported: planning reads this, and so do the jobs.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path

import yaml

from xstilts.errors import UserError

LANGUAGES = Path(__file__).resolve().parents[2] / "catalog" / "languages.yaml"
DEFAULT_CONFIG = "default"  # how `datasets` calls the configuration of a repository that names none


def language_name(code: str, languages: dict | None = None) -> str:
    """English name of a language, which some hub configurations are named by; `languages`: the catalog's rows.

    Without `languages`, catalog/languages.yaml is read here and not through xstilts.catalog, whose every edit would
    count as an edit of the jobs that read this.
    """
    languages = _languages() if languages is None else languages
    if code not in languages:
        raise UserError(f"{LANGUAGES}: no language {code!r}; its English name is needed to find its data. Add a row.")
    return languages[code]["name"]


def fill(template: str, part: dict, language: str, languages: dict | None = None) -> str:
    """Fill {language} (our code), {code} (the part's `codes`, else ours) and {language_name} (English, capitalised)."""
    names = {"language": language, "code": str((part.get("codes") or {}).get(language, language))}
    if "{language_name}" in template:
        names["language_name"] = language_name(language, languages)
    try:
        return template.format(**names)
    except (KeyError, IndexError, ValueError) as error:
        raise UserError(
            f"catalog/tasks: {part.get('id') or part.get('folder')}: template {template!r} cannot be filled ({error}). "
            "Allowed: {language}, {code}, {language_name}"
        ) from error


def config(part: dict, language: str, languages: dict | None = None) -> str:
    """The hub configuration that holds one language of a part; "default" where the part names none."""
    return fill(part.get("config") or DEFAULT_CONFIG, part, language, languages)


def configs(part: dict, languages_of_task: Iterable[str], languages: dict | None = None) -> list[str]:
    """The distinct hub configurations of a part for these languages (those that the part has), in their order."""
    mine = [code for code in languages_of_task if code in part.get("languages", [code])]
    return list(dict.fromkeys(config(part, code, languages) for code in mine))


@functools.cache
def _languages() -> dict:
    return yaml.safe_load(LANGUAGES.read_text(encoding="utf-8"))
