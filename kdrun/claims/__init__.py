"""Claims of papers, judged by statistics over seeds."""

from kdrun.claims.statistics import Interval, mean_interval
from kdrun.claims.verdicts import Verdict, check_claims, check_measured, claimed_metrics, judge, judge_all

__all__ = [
    "Interval",
    "Verdict",
    "check_claims",
    "check_measured",
    "claimed_metrics",
    "judge",
    "judge_all",
    "mean_interval",
]
