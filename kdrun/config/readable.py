"""Text of the command line that Hydra's grammar has no word for: ``~/images``, ``José``, ``a (copy)``, ``it's``."""

from __future__ import annotations

import re

from kdrun.errors import InputError
from kdrun.limits import refuse_beyond

__all__ = ["readable"]

_STRUCTURE = re.compile(r"""^['"]|[][{}"]|\$\{|^\w+\(""")
"""What stands for a list, a mapping, a value computed from others, or a call: a slip in one of these is told, not guessed at."""


def readable(text: str) -> str:
    """An override as Hydra can read it: plain pieces of its value that it cannot read are put in quotes.

    What is right, and what is no plain text, is given back as it is. Raises ``InputError`` for what is too long or too deep.
    """
    refuse_beyond("override_length", len(text), f"characters of the override '{text[:40]}…'")
    key, sign, value = text.partition("=")
    if not sign or _reads(text):
        return text
    listed = value.startswith("[") and value.endswith("]")
    pieces = (value[1:-1] if listed else value).split(",")
    joined = ",".join(piece if _reads(f"x={piece}") else _quoted(piece.strip()) for piece in pieces)
    found = f"{key}=[{joined}]" if listed else f"{key}={joined}"
    return found if _reads(found) else text


def _quoted(piece: str) -> str:
    if _STRUCTURE.search(piece):
        return piece
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", piece)
    return "'" + re.sub(r"(\\+)$", r"\1\1", escaped) + "'"


def _reads(text: str) -> bool:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        OverridesParser.create().parse_override(text)
    except HydraException:
        return False
    except RecursionError:
        raise InputError(f"'{text[:40]}…' is nested too deeply") from None
    except ValueError:  # of Python, for a number of thousands of digits
        raise InputError(f"'{text[:40]}…' has a number of too many digits") from None
    return True
