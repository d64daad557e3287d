"""The shipped recipes: every arm at every scale composes, checks, plans and smokes; files fit a screen."""

from __future__ import annotations

import pytest

from kdrun.claims import check_claims, check_measured, check_read
from kdrun.config.compose import Composer
from kdrun.config.paths import conf_dir, group_options, recipe_files
from kdrun.errors import InputError
from kdrun.graph.check import check
from kdrun.graph.columns import labels
from kdrun.report.leaderboard import check_leaderboard, check_ranked
from kdrun.runtime.artifacts import Model

RECIPES = sorted(recipe.name for recipe in recipe_files())
TABLES = {"graph_embedding", "word_bag_encoder"}
"""Models without a matrix that multiplies."""


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_smokes(kdrun, recipe) -> None:
    answer = kdrun("reproduce", recipe, "scale=smoke", "seeds=1", "--jobs", "1")
    assert answer.code == 0, answer.err


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_every_arm_plans_at_every_scale(recipe, tmp_path) -> None:
    """Shapes, gradients and sizes, at small and at paper scale (smoke is planned where it is run).

    A train stage without figures says that it is not planned; it has 0 FLOPs only where no update ever runs, or all that it trains
    looks vectors up and adds them, which are no operations to the counter.
    """
    from kdrun.engine.session import Session

    composer = Composer.named(recipe, [f"store={tmp_path / 'store'}"])
    config = composer.base().config
    for scale in (None, *(scale for scale in config["scales"] if scale != "smoke")):
        known: dict = {}
        for arm in config["arms"]:
            session = Session(composer.compose(arm=arm, scale=scale))
            for stage in session.plan(known).stages:
                step = session.graph.nodes[stage.name].params.get("step")
                updates = (step.get("updates") or {}) if isinstance(step, dict) else {}
                still = stage.kind != "train" or all(update.get("every") == 0 for update in updates.values())
                trained = [value.spec["model"] for value in stage.fields.values() if isinstance(value, Model)]
                still = still or (bool(trained) and {*trained} <= TABLES)
                assert still or stage.unplanned or stage.flops, f"{arm} at {scale}: {stage.name}"


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_arm_at_every_scale_composes_and_checks(recipe) -> None:
    """The recipe's files are composed once; every arm at every scale has tables to compute, with what the claims are about.

    This is what ``kdrun check`` does for one scale.
    """
    composer = Composer.named(recipe)
    config = composer.base().config
    first = int(config.get("seed", 0))
    assert not any(map(composer.base().was_looked_at, range(first, first + config["seeds"]))), (
        "seeds that judge claims are fresh"
    )
    for scale in (None, *config["scales"]):
        measured = {}
        for arm in config["arms"]:
            experiment = composer.compose(arm=arm, scale=scale)
            try:
                graph = check(experiment.config)
            except InputError as error:
                raise experiment.explain(error) from None
            assert graph.targets, f"{arm} at {scale} has no result"
            measured[arm] = labels(graph)
        base = composer.compose(scale=scale)
        check_claims(base.claims, list(measured))
        if not scale and not base.config.get("leaderboard"):
            check_read(base.claims, base.config["arms"])
        check_measured(base.claims, measured)
        if base.config.get("leaderboard"):
            check_leaderboard(base.config["leaderboard"], list(measured))
            check_ranked(base.config["leaderboard"], measured)


ELSEWHERE = {
    "annealed_ratio", "constant_ratio", "free_ratio", "loss_ratio", "margin_ratio", "trilateral_ratio",  # learn from data.valid
    "learned_augmentation", "learned_augmentation_alternating", "learned_augmentation_latent", "learned_augmentation_mix",
    "decoupled_norm_direction", "token_relations", "stored_views",
}  # fmt: skip
"""Methods of distillation that stand in their papers' recipes and not in the leaderboard of torchdistill's toolbox, or give nothing where data are not augmented."""


@pytest.mark.slow
def test_every_protocol_with_three_methods_has_a_leaderboard_of_all_of_them() -> None:
    methods = list(group_options("transfer"))
    on_board: dict[str, set[str]] = {}
    for recipe in recipe_files():
        if "leaderboard:" not in recipe.path.read_text():
            continue
        composer = Composer(recipe)
        base = composer.base()
        if base.config.get("leaderboard"):
            chosen = {str(composer.layered(arm, None).choices["transfer"]) for arm in base.config["arms"]}
            on_board.setdefault(str(base.choices["protocol"]), set()).update(chosen)
    for protocol in group_options("protocol"):
        own = {name for name in methods if name.startswith(f"{protocol}/")}
        missing = {name.partition("/")[2] for name in own - on_board.get(protocol, set())}
        assert len(own) < 3 or missing <= (ELSEWHERE if protocol == "distillation" else set()), protocol


def test_yaml_fits_a_screen() -> None:
    shipped = [*conf_dir().rglob("*.yaml"), *(conf_dir().parent / "recipes").rglob("*.yaml")]
    wide = [f"{p}:{i}" for p in shipped for i, line in enumerate(p.read_text().splitlines(), 1) if len(line) > 140]
    assert not wide
    lengths = sorted(len(p.read_text().splitlines()) for p in shipped if "recipes" in p.parts)
    assert lengths[-1] <= 90
    assert lengths[len(lengths) // 2] <= 70
