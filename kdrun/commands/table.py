"""The table of commands: what each is called, what it does, and which take a recipe. Nothing heavy is imported."""

from __future__ import annotations

__all__ = ["COMMANDS", "GC_FLAGS", "TOPICS", "WITH_RECIPE"]

COMMANDS = {
    "new": "a project of your own: recipe, method, model, data and plug-in, ready to run",
    "list": "what is there: papers, methods, parts, groups, runs",
    "explain": "one part, method, protocol or option: what it takes, what it does, who uses it",
    "show": "a recipe's graph, as text, YAML, Mermaid or SVG",
    "check": "names, wiring, types and ranges of a recipe, in milliseconds",
    "plan": "shapes, gradients, parameters, FLOPs and keys, with no data and no weights",
    "run": "one run, or a Hydra multirun (-m)",
    "reproduce": "arms × seeds of a recipe, verdicts on its claims, a report",
    "watch": "look on while a run, a multirun or a reproduction goes on, from another terminal",
    "report": "a static site of all records; with a recipe, the one page of its reproduction",
    "runs": "what was run, with results: filtered, sorted, as a table, CSV, Parquet, JSON or under SQL",
    "diff": "what differs between two runs: settings, code, data, versions, and what moved",
    "export": "a trained student as safetensors, torch.export or ONNX",
    "predict": "what a trained student says of images: classes and probabilities, as CSV or JSON",
    "evaluate": "how right a trained student is about images in class folders",
    "gc": "delete from the store what nobody needs; says first what it would do",
    "doctor": "versions, devices, store health, what an extra would add",
}
"""Each command with one line of what it does; ``kdrun/commands/NAME_.py`` holds it."""

WITH_RECIPE = ("show", "check", "plan", "run", "reproduce", "report", "export")
"""Commands whose first argument is a recipe."""

TOPICS = ("papers", "methods", "parts", "groups", "runs")
"""What ``kdrun list`` lists."""

GC_FLAGS = ("--store", "--older-than", "--size", "--recipe", "--run", "--yes")
"""What ``kdrun gc`` takes."""
