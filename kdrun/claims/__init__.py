"""Claims of papers, judged by statistics over seeds."""

from kdrun.claims.agreement import Agreement, agreements
from kdrun.claims.checking import KINDS, check_claims, check_measured, check_read, claimed_metrics
from kdrun.claims.rivals import Rival, compared_arm, unclaimed_winners
from kdrun.claims.spending import planned_looks
from kdrun.claims.statistics import Interval, mean_interval
from kdrun.claims.values import Results
from kdrun.claims.verdicts import OUTCOMES, Verdict, judge, judge_all, judge_at_looks

__all__ = [
    "KINDS",
    "OUTCOMES",
    "Agreement",
    "Interval",
    "Results",
    "Rival",
    "Verdict",
    "agreements",
    "check_claims",
    "check_measured",
    "check_read",
    "claimed_metrics",
    "compared_arm",
    "judge",
    "judge_all",
    "judge_at_looks",
    "mean_interval",
    "planned_looks",
    "unclaimed_winners",
]
