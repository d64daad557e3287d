"""``kdrun evaluate EXPORT_OR_RUN FOLDER``: how right a trained student is about images in class folders."""

from __future__ import annotations

import json
from collections.abc import Sequence

from kdrun.commands.output import say
from kdrun.commands.using import asked, student_parser, tell_broken, write_rows

__all__ = ["main"]


def main(arguments: Sequence[str]) -> int:
    parser = student_parser(
        "evaluate", "Score a trained student on images.", "a folder with a folder of images for each class"
    )
    parser.add_argument("--metrics", help="registered metrics of logits and labels, with commas between them")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options, told = asked(parser, arguments)
    from kdrun.api import evaluate
    from kdrun.report.tables import number, text_table

    metrics = [name.strip() for name in options.metrics.split(",")] if options.metrics else None
    found = evaluate(options.source, options.folder, metrics=metrics, **told)
    tell_broken(found.broken)
    figures = {"metrics": found.metrics, "classes": found.classes}
    if options.json:
        say(json.dumps(figures, indent=2, sort_keys=True))
    else:
        classes = [[one["class"], str(one["images"]), number(one["accuracy"])] for one in found.classes]
        say(text_table(["metric", "value"], [[name, number(value)] for name, value in found.metrics.items()]))
        say(f"\n{text_table(['class', 'images', 'accuracy'], classes)}")
    if options.output:
        say(f"\n{write_rows(found.rows(), options.output, figures)}")
    return 0
