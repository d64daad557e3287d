"""What would grow without end: interpolations, loops, copies, seeds, jobs, numbers, texts, nesting."""

from __future__ import annotations

from collections.abc import Callable

from support.hostile import Case, recipe
from trust.inputs.carried import READ

GLOBAL = "# @package _global_\n"

ALONE = "# @package _global_\ndefaults: [{override /protocol: null}, {override /transfer: null}]\n"


def _doubling(first: str, more: Callable[[str], str], levels: int = 60) -> str:
    """Lines of which each says the one before twice."""
    return f"a0: {first}\n" + "".join(f"a{level}: {more(f'a{level - 1}')}\n" for level in range(1, levels))


def _inside(first: str, more: Callable[[str], str]) -> str:
    """The same inside a mapping ``z``."""
    return "z:\n" + "".join(f"  {line}\n" for line in _doubling(first, more).splitlines())


DOUBLING = [
    ("texts", "a59", _doubling("xxxxxxxx", lambda last: f"${{{last}}}${{{last}}}")),
    ("lists", "a59", _doubling("[1]", lambda last: f"['${{{last}}}', '${{{last}}}']")),
    ("mappings", "a59", _doubling("{x: 1}", lambda last: f"{{x: '${{{last}}}', y: '${{{last}}}'}}")),
    ("block lists", "a59", _doubling("[1]", lambda last: f"\n  - ${{{last}}}\n  - ${{{last}}}")),
    ("relative names", "z.a59", _inside("xxxxxxxx", lambda last: f"${{.{last}}}${{.{last}}}")),
    ("names in brackets", "z.a59", _inside("xxxxxxxx", lambda last: f"${{z[{last}]}}${{z[{last}]}}")),
    ("lists by relative names", "z.a59", _inside("[1]", lambda last: f"['${{..{last}}}', '${{..{last}}}']")),
    ("selected names", "a59", _doubling("xxxxxxxx", lambda last: f"${{oc.select:{last}}}${{oc.select:{last}}}")),
    (
        "computed names",
        "a59",
        "p: a\n" + _doubling("xxxxxxxx", lambda last: f"${{${{p}}{last[1:]}}}${{${{p}}{last[1:]}}}"),
    ),
    ("choices", "a59", _doubling("xxxxxxxx", lambda last: f"${{if:true,${{{last}}}${{{last}}},x}}")),
    ("products", "a59", _doubling("3", lambda last: f"${{mul:${{{last}}},${{{last}}}}}")),
    ("sums of lists", "a59", _doubling("[1]", lambda last: f"${{add:${{{last}}},${{{last}}}}}")),
    ("a text by a number", "a59", "a59: ${mul:xxxxxxxx,1000000000000}"),
]

LIKE = _doubling(
    "{op: constant, shape: [1]}", lambda last: f"{{like: {last}, x: {{like: {last}}}, y: {{like: {last}}}}}", 40
)

NOISE = "{op: standard_normal, from: [n]}"

GRAPHS = [
    ("a loop of a thousand million", "l: {foreach: {i: 1000000000}, do: {x: {op: constant, shape: [1]}}}", "l", "plan"),
    (
        "a loop of more than is counted",
        f"l: {{foreach: {{i: {'9' * 400}}}, do: {{x: {{op: constant, shape: [1]}}}}}}",
        "l",
        "plan",
    ),
    (
        "loops in loops",
        "l: {foreach: {i: 9999}, do: {m: {foreach: {j: 9999}, do: {x: {op: constant, shape: [1]}}}}}",
        "l",
        "plan",
    ),
    (
        "loops in loops, small",
        "l: {foreach: {i: 99}, do: {m: {foreach: {j: 99}, do: {n: {foreach: {k: 99}, do: {x: {op: constant, shape: [1]}}}}}}}",
        "l",
        "plan",
    ),
    (
        "parts without end",
        "p: {stage: partition, by: by_class, from: [data.train], groups: 1000000000}\n  l: {foreach: {q: p}, do: {x: {stage: evaluate, from: [student, q], metrics: [accuracy]}}}",
        "p|groups",
        "plan",
    ),
    (
        "copies of a node",
        "x: {stage: compute, from: {m: student, data: data.test}, step: {nodes: {u: {each: 1000000000, call: m, from: [batch.image]}}}, of: [u]}",
        "x|each",
        "plan",
    ),
    ("nodes that are like another", "\n".join(LIKE.splitlines()).replace("\n", "\n  "), "a|like", "plan"),
    ("nodes that are like themselves", "a: {like: b}\n  b: {like: a}", "like", "plan"),
    ("a tensor without end", "n: {op: constant, shape: [1000000000, 1000000000]}\n  x: " + NOISE, "n|x", "run"),
    ("a tensor of many axes", f"n: {{op: constant, shape: [{', '.join(['2'] * 200)}]}}", "n", "run"),
    ("a shape of large numbers", f"n: {{op: constant, shape: [{'9' * 30}]}}", "n|shape", "run"),
    (
        "rows without end",
        "x: {stage: generate, by: standard_normal, from: [data.train], rows: 1000000000000}",
        "x|rows",
        "run",
    ),
    (
        "steps without end",
        "x: {stage: initialize, by: random_weights, from: [student, data.train], seed: " + "9" * 400 + "}",
        "seed",
        "run",
    ),
]

VALUES = [
    ("epochs, many digits", f"epochs: {'9' * 5000}", "plan", "epochs|stranger"),
    ("rows a batch, many digits", f"batch_size: {'9' * 4000}", "plan", "batch_size|stranger"),
    ("rows a batch, too many", f"batch_size: {10**30}", "plan", "batch_size"),
    ("epochs without end", "epochs: .inf", "check", "epochs"),
    ("seeds without end", "arms: {a: {}}\nseeds: 1000000000", "reproduce", "seeds"),
    ("a list of seeds", f"arms: {{a: {{}}}}\nseeds: [{', '.join(map(str, range(20000)))}]", "reproduce", "seeds"),
    ("arms without end", "arms:\n" + "".join(f"  a{i}: {{}}\n" for i in range(5000)), "check", "arms"),
    ("scales without end", "scales:\n" + "".join(f"  a{i}: {{}}\n" for i in range(20000)), "check scale=a7", "scales"),
    ("arms that are like each other", "arms: {a: {like: b}, b: {like: a}}", "check arm=a", "like"),
    (
        "layers without end",
        "student: {model: mlp, hidden: [" + ", ".join(["8"] * 20000) + "]}",
        "plan",
        "student|hidden",
    ),
    (
        "a model too wide",
        "student: {model: mlp, hidden: [1000000000, 1000000000]}",
        "plan",
        "student|hidden|fit_student",
    ),
    ("a model too wide, run", "student: {model: mlp, hidden: [1000000, 1000000]}", "run", "student|hidden|fit_student"),
    ("a model too deep", "student: {model: cifar_resnet, depth: 6000002}", "check", r"student\.depth"),
    (
        "an architecture too deep",
        "student: {model: transformers, name: gpt2, config: {n_layer: 100000000}}",
        "check",
        r"student\.config\.n_layer",
    ),
    (
        "a model of timm too deep",
        "student: {model: timm, name: vit_tiny_patch16_224, options: {depth: 100000000}}",
        "check",
        r"student\.options\.depth",
    ),
    ("images too large", "data: {data: glyphs, size: 1000000}", "run", "data|size|fit"),
    ("images too many", "data: {data: glyphs, per_class: 1000000000000}", "run", "data|per_class"),
    ("a text without end", "notes: ['" + "x" * 3_000_000 + "']", "check", "stranger"),
    ("a key without end", "x" * 500_000 + ": 1", "check", "stranger"),
    ("keys without end", "\n".join(f"key{i}: 1" for i in range(60_000)), "check", "stranger|key"),
    ("a name that is like none", "epohcs" * 30_000 + ": 1", "check arm=a", "stranger|epohcs|arm"),
    ("lists in lists", "x: " + "[" * 50_000 + "]" * 50_000, "check", "stranger"),
    ("mappings in mappings", "x: " + "{a: " * 20_000 + "1" + "}" * 20_000, "check", "stranger"),
    ("lists in blocks", "x:\n" + "".join(" " * i + "-\n" for i in range(1, 1200)), "check", "stranger"),
    ("mappings in blocks", "".join(" " * i + "a:\n" for i in range(1200)), "check", "stranger"),
    ("names in names", "epochs: " + "${add:1," * 3000 + "1" + "}" * 3000, "check", "stranger|epochs"),
    ("brackets without an end", "epochs: '" + "${" * 20_000 + "'", "check", "stranger|epochs"),
    ("values in a circle", "epochs: ${a}\na: ${b}\nb: ${a}", "check", "a|b|epochs"),
    ("a value that is itself", "epochs: ${epochs}", "check", "epochs"),
    ("a chain of names", "a0: 1\n" + "".join(f"a{i}: ${{a{i - 1}}}\n" for i in range(1, 3000)), "check", "a"),
    (
        "a claim without end",
        "arms: {a: {}}\nclaims: {c: {test: 'a.test.accuracy > " + "+".join(["a.test.accuracy"] * 40_000) + "'}}",
        "check",
        "claims",
    ),
    (
        "a claim of brackets",
        "arms: {a: {}}\nclaims: {c: {test: '" + "(" * 30_000 + "a.test.accuracy > 0'}}",
        "check",
        "claims",
    ),
    (
        "a claim of blanks",
        "arms: {a: {}}\nclaims: {c: {test: 'a.test.accuracy" + " " * 60_000 + "!'}}",
        "check",
        "claims",
    ),
    (
        "a rank among many",
        "arms: {a: {}}\nclaims: {c: {test: 'rank of a.test.accuracy among " + ", ".join(["a"] * 60_000) + " <= 2'}}",
        "check",
        "claims",
    ),
]

LEGAL = [
    (
        "arms that are like one twice",
        "arms:\n  a0: {epochs: 1}\n" + "".join(f"  a{i}: {{like: [a{i - 1}, a{i - 1}]}}\n" for i in range(1, 60)),
        "check arm=a59",
    ),
]
"""What is much, and may be."""

WORDS = [
    ("jobs without end", ("run", "kd", "-m", "seed=range(0,100000000)"), "jobs|seed"),
    ("jobs by products", ("run", "kd", "-m", "seed=range(0,9999)", "epochs=range(1,9999)"), "jobs|seed|epochs"),
    ("jobs by steps", ("run", "kd", "-m", "optimizer.lr=range(0,1,0.0000001)"), "jobs|lr"),
    ("jobs by lists", ("run", "kd", "-m", "seed=" + ",".join(map(str, range(20000)))), "jobs|seed"),
    ("a pattern without end", ("run", "kd", "-m", "transfer=glob(" + "*a" * 40 + "*b)"), "transfer|glob"),
    ("a value of many lists", ("check", "kd", "x=" + "[" * 5000 + "]" * 5000), "x"),
    ("a value of many digits", ("check", "kd", "epochs=" + "9" * 5000), "epochs"),
    ("a seed of many digits", ("run", "kd", "scale=smoke", "seed=" + "9" * 400), "seed|digits"),
    ("a name without end", ("check", "k" * 100_000), "recipe|k"),
    ("an arm without end", ("check", "kd", "arm=" + "k" * 100_000), "arm"),
    ("an option without end", ("check", "kd", "data=" + "k" * 100_000), "data"),
    ("weights without end", ("run", "kd", "scale=smoke", "student.weights=" + "k/" * 2500), "weights"),
    ("a part without end", ("explain", "op", "k" * 100_000), "k"),
    (
        "most seeds without end",
        ("reproduce", "kd", "scale=smoke", "--until-decided", "--max-seeds=100000000000"),
        "seeds",
    ),
    ("seeds of the command line", ("reproduce", "kd", "seeds=100000000"), "seeds"),
    ("more processes than can be", ("check", "kd", "hardware.processes=1000000000"), "processes"),
    ("more threads than can be", ("run", "kd", "scale=smoke", "hardware.threads=1000000000"), "threads"),
]

TOLD = '{"question": "a", "answer": "b", "perturbed_answer": ["c"]}\n'

CASES = [
    Case(
        "a template that is wide",
        ("run", "read.yaml"),
        "",
        files={
            "read.yaml": READ.replace("data.train", "data.forget")
            + "data: {data: tofu, root: ask, tokenizer: characters, vocabulary: 300, wrong: 1, template: '{question:>9999999999999}{question.__class__}'}\n",
            **{
                f"ask/{name}.json": TOLD
                for name in (
                    "full",
                    "retain95",
                    "forget05",
                    "forget05_perturbed",
                    "retain_perturbed",
                    "real_authors_perturbed",
                    "world_facts_perturbed",
                )
            },
        },
        code=0,
        lines=3,
    ),
    *(
        recipe(f"doubling {name}", f"epochs: ${{{last}}}\n{body}\n", r"stranger|\ba[0-9]|\bz\b|epochs")
        for name, last, body in DOUBLING
    ),
    *(
        recipe(
            f"doubling {name}, in an arm",
            f"arms: {{a: {{epochs: '${{{last}}}'}}}}\n{body}\n",
            r"stranger|\ba[0-9]|\bz\b|epochs",
        )
        for name, last, body in DOUBLING[:2]
    ),
    *(
        recipe(
            f"doubling {name}, in notes",
            f"notes: ['${{{last}}}']\n{body}\n",
            r"stranger|\ba[0-9]|\bz\b|notes",
            command="show --format yaml",
        )
        for name, last, body in DOUBLING[:2]
    ),
    *(recipe(name, f"graph:\n  {node}\n", says, command=command, header=ALONE) for name, node, says, command in GRAPHS),
    *(recipe(name, body + "\n", says, command=command) for name, body, command, says in VALUES),
    *(recipe(name, body, "all well", command=command, code=0, lines=0) for name, body, command in LEGAL),
    *(Case(name, arguments, says) for name, arguments, says in WORDS),
    Case(
        "a method that is built on itself",
        ("check", "kd", "transfer=evil"),
        "evil",
        files={"conf/transfer/distillation/evil.yaml": GLOBAL + "defaults: [distillation/evil]\n"},
    ),
    Case(
        "methods that are built on each other",
        ("check", "kd", "transfer=evil"),
        "evil",
        files={
            "conf/transfer/distillation/evil.yaml": GLOBAL + "defaults: [distillation/worse]\n",
            "conf/transfer/distillation/worse.yaml": GLOBAL + "defaults: [distillation/evil]\n",
        },
    ),
]
