"""Arms that beat the method without a claim on them."""

from __future__ import annotations

import pytest

from kdrun.claims import unclaimed_winners

RESULTS = {
    arm: {seed: {"x": value + 0.01 * seed} for seed in range(3)}
    for arm, value in {"method": 0.8, "rival": 0.7, "better": 0.9, "worse": 0.6}.items()
}


def claim(test: str, kind: str = "main") -> dict:
    return {"test": test, "says": "so", "kind": kind}


def test_an_arm_ahead_of_the_method_is_flagged_unless_a_claim_reads_it() -> None:
    claims = {"wins": claim("method.x > rival.x")}
    (found,) = unclaimed_winners(claims, RESULTS)
    assert (found.arm, found.method, found.metric, found.claim) == ("better", "method", "x", "wins")
    assert found.lead.mean == pytest.approx(0.1)
    assert not unclaimed_winners({**claims, "loses": claim("method.x < better.x", "secondary")}, RESULTS)
    assert not unclaimed_winners({**claims, "all": claim("at least 50 % of arms: x > 0.1", "secondary")}, RESULTS)


def test_less_is_better_where_the_claim_says_so() -> None:
    assert [r.arm for r in unclaimed_winners({"wins": claim("method.x < rival.x")}, RESULTS)] == ["worse"]


def test_only_main_claims_name_a_method() -> None:
    assert not unclaimed_winners({"wins": claim("method.x > rival.x", "secondary")}, RESULTS)
