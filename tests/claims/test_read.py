"""Arms that no claim reads say why they are there."""

from __future__ import annotations

import pytest

from kdrun.claims import check_read
from kdrun.errors import InputError

CLAIMS = {"wins": {"test": "method.x > rival.x", "says": "so"}}
SHARE = {"most": {"test": "at least 70 % of arms: x >= rival.x", "says": "so"}}


def test_an_arm_without_a_claim_is_refused_unless_it_says_why_it_is_there() -> None:
    arms = {"method": {}, "rival": None, "more": {"epochs": 2}}
    with pytest.raises(InputError, match="no claim reads arm 'more'") as refused:
        check_read(CLAIMS, arms)
    assert refused.value.key == "arms.more"
    check_read(CLAIMS, {**arms, "more": {"epochs": 2, "exploratory": "whether it has converged"}})


def test_a_claim_on_a_share_of_arms_reads_all_and_without_claims_nothing_is_asked() -> None:
    check_read(SHARE, {"method": {}, "rival": {}, "more": {}})
    check_read({}, {"method": {}, "more": {}})


@pytest.mark.parametrize("reason", ["", "  ", 3, True, ["a"]])
def test_a_reason_is_a_sentence(reason: object) -> None:
    with pytest.raises(InputError, match="says why"):
        check_read({}, {"more": {"exploratory": reason}})


def test_what_is_claimed_of_is_not_exploratory() -> None:
    with pytest.raises(InputError, match="it is not exploratory"):
        check_read(CLAIMS, {"method": {"exploratory": "looked at"}, "rival": {}})
