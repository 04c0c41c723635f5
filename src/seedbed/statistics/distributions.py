"""Student's t and the F distribution: tail areas and quantiles.

Those of t are right to twelve digits for 1 to 1,000 degrees of freedom (`nu`), to ten digits for as
many as 1,000,000.
"""

from __future__ import annotations

import math
from functools import lru_cache

_STIRLING_FROM = 50.0  # above it, differences of log gammas lose digits that the series keeps


def student_t_survival(t: float, nu: float) -> float:
    """Return P(T > t), with the digits of a small tail kept.

    Half the regularised incomplete beta function of (nu/2, 1/2) at nu / (nu + t^2): Abramowitz and
    Stegun, Handbook of Mathematical Functions, 1964, 26.7.1.

    >>> round(student_t_survival(1.0, 1), 12)  # Cauchy: 1/2 - arctan(1) / pi
    0.25
    """
    assert nu > 0, f"{nu} degrees of freedom"
    if math.isnan(t):
        return math.nan
    if t <= 0:
        return 0.5 if t == 0 else 1 - student_t_survival(-t, nu)
    square = t * t / nu
    return _incomplete_beta(nu / 2, 0.5, 1 / (1 + square), 1 / (1 + 1 / square)) / 2


@lru_cache(maxsize=1024)
def student_t_quantile(p: float, nu: float) -> float:
    """Return the t with P(T <= t) = p, by Newton's method kept within a bracket.

    >>> round(student_t_quantile(0.975, 14), 3)  # the tables' figure
    2.145
    """
    assert 0 < p < 1, f"no quantile at {p}"
    tail = min(p, 1 - p)
    low, high = 0.0, 1.0
    while student_t_survival(high, nu) > tail:
        low, high = high, 2 * high
    t = low  # the tail is convex from here on, so the steps do not overshoot
    for _ in range(200):
        excess = student_t_survival(t, nu) - tail
        low, high = (t, high) if excess > 0 else (low, t)
        following = t + excess / _density(t, nu)
        if abs(following - t) <= 1e-14 * max(t, 0.01):
            break
        t = following if low < following < high else (low + high) / 2
    return math.copysign(t, p - 0.5)


def f_survival(f: float, nu_1: float, nu_2: float) -> float:
    """Return P(F > f) of a ratio of variances with `nu_1` and `nu_2` degrees of freedom.

    Abramowitz and Stegun, 26.6.2.

    >>> round(f_survival(4.0, 2, 2), 12)  # 1 / (1 + f)
    0.2
    """
    if f <= 0:
        return 1.0
    ratio = f * nu_1 / nu_2
    return _incomplete_beta(nu_2 / 2, nu_1 / 2, 1 / (1 + ratio), 1 / (1 + 1 / ratio))


def _density(t: float, nu: float) -> float:
    log_density = -_log_beta(nu / 2, 0.5) - (nu + 1) / 2 * math.log1p(t * t / nu)
    return math.exp(log_density) / math.sqrt(nu)


def _incomplete_beta(a: float, b: float, x: float, y: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b); y is 1 - x, given for its digits.

    Press et al., Numerical Recipes, 3rd edition, 2007, section 6.4.
    """
    if x == 0:
        return 0.0
    if x > (a + 1) / (a + b + 2):
        return 1 - _incomplete_beta(b, a, y, x)
    log_x = math.log(x) if x < 0.5 else math.log1p(-y)
    log_y = math.log(y) if y < 0.5 else math.log1p(-x)
    front = math.exp(a * log_x + b * log_y - _log_beta(a, b)) / a
    return front * _continued_fraction(a, b, x)


def _continued_fraction(a: float, b: float, x: float) -> float:
    """Return the continued fraction of I_x(a, b) by Lentz's method (same section)."""
    nearly_zero = 1e-300
    c = 1.0
    d = 1 / (1 - (a + b) * x / (a + 1) or nearly_zero)
    value = d
    for m in range(1, 100_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for coefficient in (even, odd):
            d = 1 / (1 + coefficient * d or nearly_zero)
            c = 1 + coefficient / c or nearly_zero
            value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return value


def _log_beta(a: float, b: float) -> float:
    """Return log B(a, b); Stirling's series (Abramowitz and Stegun, 6.1.41) if one is large."""
    small, large = sorted((a, b))
    if large < _STIRLING_FROM:
        return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    total = small + large
    ratio = small - (total - 0.5) * math.log1p(small / large) - small * math.log(large)
    return math.lgamma(small) + ratio + _stirling_rest(large) - _stirling_rest(total)


def _stirling_rest(z: float) -> float:
    """Return log Gamma(z) less (z - 1/2) log z - z + log(2 pi) / 2."""
    return 1 / (12 * z) - 1 / (360 * z**3) + 1 / (1260 * z**5)
