"""Writing YAML that the reader of recipes takes back."""

from __future__ import annotations

from typing import Any

import yaml

from kdrun.config.files import RESOLVERS

__all__ = ["yaml_text"]


class _Plain(yaml.SafeDumper):
    """Everything written out where it stands: a list that two keys share would become an anchor and its alias."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Plain.yaml_implicit_resolvers = {
    first: [*_Plain.yaml_implicit_resolvers.get(first, []), *RESOLVERS.get(first, [])]
    for first in {*_Plain.yaml_implicit_resolvers, *RESOLVERS}
}
"""Text is quoted where it is a number or a date to any reader: ``1e-3`` is none by YAML 1.1, but one to ours."""


def yaml_text(content: Any, *, width: int = 100, **style: Any) -> str:
    """Plain content as YAML in its own order, without anchors; ``style``: of ``yaml.dump``.

    Raises:
        yaml.representer.RepresenterError: what is not plain content, as an object of a class.
    """
    return str(yaml.dump(content, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=width, **style))
