"""``kdrun show RECIPE``: the composed graph as text, YAML, Mermaid or SVG."""

from __future__ import annotations

from collections.abc import Sequence

from kdrun.commands.arguments import experiment, parse, recipe_parser, write_output
from kdrun.commands.output import say
from kdrun.errors import KdrunError
from kdrun.graph.check import check
from kdrun.graph.show import as_mermaid, as_svg, as_text, as_yaml
from kdrun.registry import catalog

__all__ = ["main"]

FORMATS = {"text": as_text, "yaml": as_yaml, "mermaid": as_mermaid, "svg": as_svg}


def main(arguments: Sequence[str]) -> int:
    parser = recipe_parser("show", "Show the composed run graph.")
    parser.add_argument("--format", choices=list(FORMATS), default="text")
    parser.add_argument("--output", help="write to this file instead of the terminal")
    options = parse(parser, arguments)
    found = experiment(options)
    try:
        catalog(found.config.get("plugins") or ())
        text = FORMATS[options.format](check(found.config))
    except KdrunError as error:
        raise found.explain(error) from None
    if options.output:
        write_output(options.output, text + "\n")
    else:
        say(text)
    return 0
