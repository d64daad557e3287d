"""Hydra's and OmegaConf's complaints as one clear line with the nearest known name."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from kdrun.config.paths import group_options, groups, with_folders
from kdrun.errors import InputError, nearest

__all__ = ["hydra_errors", "no_option", "plain", "unreadable"]


@contextlib.contextmanager
def hydra_errors() -> Iterator[None]:
    """Raise ``InputError`` for what Hydra or OmegaConf raise while composing."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        if isinstance(error.__cause__, InputError):
            raise error.__cause__ from None
        raise InputError(plain(error)) from None


def plain(error: Exception) -> str:
    """One line of what is wrong."""
    text = str(error).strip() or str(error.__cause__ or "").strip() or type(error).__name__
    unread = getattr(error, "override", None)
    if isinstance(unread, str):
        return unreadable(unread)
    missing = re.search(r"Could not (?:find|load) '([\w@]+)/([^'\n]+)'", text) or re.search(
        r"Could not (?:find|load) ([\w@]+)/([\w/.-]+?)(?:$|\s|\.\s)", text
    )
    if missing:
        return no_option(missing.group(1), missing.group(2))
    return text.split("\n", 1)[0]


def unreadable(text: str) -> str:
    """What is said of an override that is none in Hydra's grammar."""
    if "=" not in text and not text.startswith("~"):
        return f"'{text}' is no override: write key=value"
    return f"cannot read the override {text!r}: a value with special characters stands in quotes, key='...'"


def no_option(group: str, option: str) -> str:
    """What is said of an option that a group has not, or of a group that there is not."""
    options, option = group_options(group), with_folders(option)
    if not options:
        return f"there is no group '{group}'{nearest(group, groups())}"
    if group == "data" and option.startswith(("/", ".", "~")):
        return f"data has no option '{option}'; a folder of images is data=folder data.root={option}"
    near = nearest(option, [*options, *(name.rpartition("/")[2] for name in options)])
    shown = list(options) if len(options) <= 12 else [*list(options)[:12], "…"]
    return f"{group} has no option '{option}'{near}; it has: {', '.join(shown)}"
