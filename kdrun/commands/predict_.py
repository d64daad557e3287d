"""``kdrun predict EXPORT_OR_RUN FOLDER``: what a trained student says of image files, as CSV or JSON."""

from __future__ import annotations

from collections.abc import Sequence

from kdrun.commands.output import say
from kdrun.commands.using import as_text, asked, student_parser, tell_broken, write_rows

__all__ = ["main"]


def main(arguments: Sequence[str]) -> int:
    parser = student_parser(
        "predict", "Ask a trained student about images.", "an image, or a folder with images at any depth"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of CSV")
    options, told = asked(parser, arguments)
    from kdrun.api import predict

    found = predict(options.source, options.folder, **told)
    tell_broken(found.broken)
    if options.output:
        say(write_rows(found.rows(), options.output))
    else:
        say(as_text(found.rows(), "json" if options.json else "csv"), end="")
    return 0
