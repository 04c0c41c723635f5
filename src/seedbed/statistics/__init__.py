"""Statistics of measurements, numpy only. Each function names its source."""

from seedbed.statistics.distributions import (
    f_survival,
    student_t_quantile,
    student_t_survival,
)
from seedbed.statistics.estimates import (
    bootstrap_ratios,
    jackknife_standard_error,
    kendall_tau,
    ratio_standard_error,
    wilson_interval,
)
from seedbed.statistics.pairs import (
    LargestVariance,
    PairTest,
    PairVerdict,
    PooledVariance,
    difference_errors,
    holm,
    judge_pairs,
    largest_variance,
    pair_test,
    pooled_variance,
    t_interval,
    tost,
)
from seedbed.statistics.planning import (
    minimum_detectable_difference,
    seeds_to_resolve,
    text_to_resolve,
)
from seedbed.statistics.ranks import BestChances, best_chances, rank_intervals, top_set

__all__ = [
    # errors and intervals of one estimate
    "ratio_standard_error",
    "jackknife_standard_error",
    "bootstrap_ratios",
    "wilson_interval",
    "kendall_tau",
    # which of two is better
    "PooledVariance",
    "pooled_variance",
    "LargestVariance",
    "largest_variance",
    "difference_errors",
    "PairTest",
    "pair_test",
    "holm",
    "tost",
    "t_interval",
    "PairVerdict",
    "judge_pairs",
    # which of several is best
    "rank_intervals",
    "top_set",
    "BestChances",
    "best_chances",
    # what an experiment can resolve
    "minimum_detectable_difference",
    "seeds_to_resolve",
    "text_to_resolve",
    # the distributions behind them
    "student_t_survival",
    "student_t_quantile",
    "f_survival",
]
