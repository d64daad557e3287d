"""Whatever stands where kdrun reads something, the answer is a configuration or one line with the key."""

from __future__ import annotations

import pytest

from kdrun.config.compose import Composer
from kdrun.errors import InputError

RECIPE = """
defaults:
  - override /protocol: distillation
  - override /transfer: distillation/kd
  - override /data: digits
epochs: 1
"""

SECTIONS = (
    "arms",
    "scales",
    "claims",
    "paper",
    "graph",
    "steps",
    "teacher",
    "student",
    "data",
    "optimizer",
    "hardware",
    "tracker",
)
"""What is a mapping."""


@pytest.fixture
def composed(tmp_path):
    """Compose a recipe of some lines more."""

    def compose(text: str):
        path = tmp_path / "mine.yaml"
        path.write_text(RECIPE + text, encoding="utf-8")
        return Composer.named(str(path)).compose()

    return compose


@pytest.mark.parametrize("value", ["7", "[1, 2]", "true", "x", "[[{}]]", ".nan", "1e999", "{1: 2}"])
@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_that_is_no_mapping_of_names_is_refused_with_its_key(composed, section, value) -> None:
    with pytest.raises(InputError) as refused:
        composed(f"{section}: {value}\n")
    told = str(refused.value)
    assert section in told
    assert told.count("\n") == 0


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("seed: -1", "seed: expected a number of at least 0, got -1"),
        ("seed: x", "seed: expected a whole number, got 'x'"),
        ("seed: [3]", "seed: expected a whole number, got [3]"),
        ("seeds: 0", "seeds: expected a number of at least 1"),
        ("seeds: [3, 3]", "seeds: each seed stands once"),
        ("seeds: []", "seeds: expected a whole number or a list of at least one, got []"),
        ("seeds: {a: 1}", "seeds: expected"),
        ("skip: valid", "skip"),
        ("paper: {title: 7}", "paper.title: expected text, got 7"),
        ("paper: {year: soon}", "paper.year: expected a whole number, got 'soon'"),
        ("claims: {wins: [1]}", "claims.wins: expected a mapping"),
        ("graph: {extra: 3}", "graph.extra: expected a mapping"),
        ("graph: {extra: {1: 2}}", "graph.extra: a name is text, got 1"),
        ("hardware: {processes: many}", "hardware.processes: expected a whole number, got 'many'"),
        ("hardware: {processes: 1000000}", "hardware.processes: expected a number of at most 4096"),
        ("hardware: {device: 3}", "hardware.device: expected text, got 3"),
        ("sweeper: optuna", "sweeper: only the command line may set 'sweeper' (which runs are started)"),
        ("launcher: joblib", "launcher: only the command line may set 'launcher' (where runs are started)"),
    ],
)
def test_the_key_the_kind_that_was_expected_and_what_came_are_said(composed, line, expected) -> None:
    with pytest.raises(InputError) as refused:
        composed(f"{line}\n")
    assert expected in str(refused.value)


@pytest.mark.parametrize("name", ["a\\x1b[31mb", "a\\rb", "a\\u202eb", "a\\x07"])
def test_text_that_steers_a_terminal_is_refused_and_never_printed(composed, name) -> None:
    for line in (f'graph: {{"{name}": {{}}}}', f'arms: {{"{name}": {{}}}}', f'notes: "{name}"'):
        with pytest.raises(InputError, match="steer a terminal") as refused:
            composed(f"{line}\n")
        assert str(refused.value).isprintable()


def test_what_a_command_line_brings_is_written_out_in_the_answer(kdrun) -> None:
    answer = kdrun("check", "kd", "optimizer.\x1b[31mlr=1")
    assert (answer.code, "\x1b" in answer.err, "\\x1b" in answer.err) == (2, False, True)


def test_nodes_of_a_step_that_are_no_mapping_are_refused_in_a_line(kdrun, tmp_path) -> None:
    (tmp_path / "mine.yaml").write_text(f"{RECIPE}graph: {{fit_student: {{step: {{nodes: [1]}}}}}}\n")
    answer = kdrun("check", str(tmp_path / "mine.yaml"))
    assert (answer.code, len(answer.err.splitlines())) == (2, 1), answer.err
    assert "nodes" in answer.err


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "../x",
        "a/b",
        "/x",
        "..",
        "a.b",
        "a\\nb",
        "a\\u200bb",
        "a\\u2060b",
        "\\ufeffa",
        "<b>",
        "$x$",
        "--yes",
        "*",
        "a[0]",
        "a=b",
    ],
)
@pytest.mark.parametrize("line", ['graph: {"%s": {}}', 'arms: {"%s": {}}', 'scales: {"%s": {}}', 'claims: {"%s": {}}'])
def test_what_is_no_name_is_refused_in_a_line(composed, line, name) -> None:
    with pytest.raises(InputError) as refused:
        composed(line % name + "\n")
    told = str(refused.value)
    assert "is no name" in told or "steer a terminal" in told
    assert "mine.yaml" in told
    assert told.isprintable()


@pytest.mark.parametrize(
    "inner",
    [
        "{foreach: {i: 2}, do: {'a b': {op: zeros}}}",
        "{foreach: {i: {'a/b': {}}}, do: {x: {op: zeros}}}",
        "{stage: train, models: {'$m': {model: linear}}}",
        "{stage: train, step: {nodes: {'a<b': {op: add}}}}",
        "{stage: train, step: {updates: {'a b': {}}}}",
    ],
)
def test_names_inside_nodes_follow_the_same_rule(composed, inner) -> None:
    with pytest.raises(InputError, match="is no name: a name has letters, digits"):
        composed(f"graph: {{x: {inner}}}\n")


@pytest.mark.parametrize("name", ["kd", "größe", "蒸留", "a-b", "kd+norm", "2d", "_x"])
def test_names_of_any_alphabet_are_names(composed, name) -> None:
    assert name in composed(f"arms: {{'{name}': {{}}}}\n").config["arms"]


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("arms: {kd: null}", "arms.kd: a mapping of what it changes is expected"),
        ("scales: {smoke: }", "scales.smoke: a mapping of what it changes is expected"),
        ("hardware: {bogus: 1}", "hardware.bogus: there is no 'bogus' here"),
        ("hardware: {procesess: 1}", "did you mean 'processes'"),
        ("hardware: {device: 'cpu; touch x'}", "hardware.device: expected a name such as cpu"),
        ("tracker: {tracker: [1]}", "tracker.tracker: expected text"),
        ("tracker: {project: x, tracker: null}", "tracker.tracker: expected text"),
        ("1: 2", "1 is no name"),
        ("yes: 2", "YAML reads yes, no, on and off"),
    ],
)
def test_shapes_that_nothing_could_read_are_told(composed, lines, told) -> None:
    with pytest.raises(InputError) as refused:
        composed(f"{lines}\n")
    assert told in str(refused.value)


def test_what_a_claim_says_is_text(kdrun, tmp_path) -> None:
    (tmp_path / "mine.yaml").write_text(
        f"{RECIPE}arms: {{a: {{}}}}\nclaims: {{c: {{test: a.test.accuracy > 0.1, says: 3}}}}\n"
    )
    for command in ("check", "plan", "reproduce"):
        answer = kdrun(command, str(tmp_path / "mine.yaml"))
        assert (answer.code, "claims.c.says: says is text, got 3" in answer.err) == (2, True)
