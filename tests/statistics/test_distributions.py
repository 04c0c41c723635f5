from __future__ import annotations

import math

import pytest

from seedbed.statistics import f_survival, student_t_quantile, student_t_survival

# (t, nu, P(T > t)): mpmath.betainc(nu / 2, 1 / 2, 0, nu / (nu + t^2), regularized=True) / 2
# with 40 digits
SURVIVAL = [
    (0.5, 1, 0.35241638234956673),
    (12, 1, 0.026464676059589875),
    (0.01, 2.5, 0.49638199717895413),
    (2, 2.5, 0.078695747878982993),
    (12, 2.5, 0.0014181075150391619),
    (1.5, 3, 0.11529193262241153),
    (4, 3, 0.014004228005073083),
    (0.5, 14, 0.31242095811984737),
    (2, 14, 0.032643976444555984),
    (4, 14, 0.00065802459693491376),
    (12, 14, 4.6766653696839265e-9),
    (1.5, 99, 0.068398408857986653),
    (4, 99, 6.1125763785556558e-5),
    (12, 99, 2.5653148439487427e-21),
    (1.5, 101, 0.068366963079893411),
    (4, 101, 6.0406549235929835e-5),
    (12, 101, 1.8858564416791698e-21),
    (0.01, 1000, 0.49601164096609364),
    (2, 1000, 0.02288517324662582),
    (12, 1000, 2.1620286933872637e-31),
    (0.5, 1000000, 0.30853759373618569),
    (1.5, 1000000, 0.066807359118396385),
    (2, 1000000, 0.022750266925659604),
    (4, 1000000, 3.1673517005024052e-5),
    (12, 1000000, 1.7858425623825449e-33),
]

# (p, nu, t): scipy.stats.t.ppf(p, nu), scipy 1.17
QUANTILES = [
    (0.8, 1, 1.3763819204711738),
    (0.975, 1, 12.706204736174694),
    (0.995, 1, 63.656741162871526),
    (0.9988095238095238, 1, 267.3790577294712),
    (1e-09, 1, -318309886.1837907),
    (0.8, 2, 1.0606601717798214),
    (0.975, 2, 4.302652729749462),
    (0.995, 2, 9.924843200918287),
    (0.9988095238095238, 2, 20.457287111138616),
    (1e-09, 2, -22360.679741456875),
    (0.8, 14, 0.8680547815574207),
    (0.975, 14, 2.144786687917804),
    (0.995, 14, 2.9768427343708344),
    (0.9988095238095238, 14, 3.699229005835878),
    (1e-09, 14, -13.517459714565794),
    (0.8, 1000, 0.8419808221624288),
    (0.975, 1000, 1.9623390808264083),
    (0.995, 1000, 2.580754698065951),
    (0.9988095238095238, 1000, 3.045862381693968),
    (1e-09, 1000, -6.053690272079834),
    (0.8, 1000000, 0.8416215930139844),
    (0.975, 1000000, 1.959966356814107),
    (0.995, 1000000, 2.5758342201053344),
    (0.9988095238095238, 1000000, 3.038082074738112),
    (1e-09, 1000000, -5.997862455710896),
]


def digits(nu: float) -> float:
    return 1e-12 if nu <= 1000 else 1e-10


@pytest.mark.parametrize(("t", "nu", "wanted"), SURVIVAL)
def test_tails_have_the_digits_they_should(t: float, nu: float, wanted: float) -> None:
    assert student_t_survival(t, nu) == pytest.approx(wanted, rel=digits(nu))
    assert student_t_survival(-t, nu) == pytest.approx(1 - wanted, rel=digits(nu))


@pytest.mark.parametrize("t", [0.001, 0.3, 1.0, 4.0, 1e4])
def test_small_degrees_of_freedom_have_closed_forms(t: float) -> None:
    assert student_t_survival(-t, 1) == pytest.approx(0.5 + math.atan(t) / math.pi, rel=1e-14)
    assert student_t_survival(-t, 2) == pytest.approx(
        0.5 + t / (2 * math.sqrt(2 + t * t)), rel=1e-14
    )


def test_many_degrees_of_freedom_are_the_normal_distribution() -> None:
    for t in (0.5, 1.96, 3.0):
        normal = math.erfc(t / math.sqrt(2)) / 2
        assert student_t_survival(t, 1e9) == pytest.approx(normal, rel=1e-7)


def test_the_ends_of_the_line() -> None:
    assert student_t_survival(0.0, 5) == 0.5
    assert student_t_survival(math.inf, 5) == 0.0
    assert student_t_survival(-math.inf, 5) == 1.0
    assert math.isnan(student_t_survival(math.nan, 5))


@pytest.mark.parametrize(("p", "nu", "wanted"), QUANTILES)
def test_quantiles_are_scipys(p: float, nu: float, wanted: float) -> None:
    assert student_t_quantile(p, nu) == pytest.approx(wanted, rel=1e-10)
    assert student_t_quantile(1 - p, nu) == pytest.approx(-wanted, rel=1e-6)


@pytest.mark.parametrize("nu", [1, 2.5, 4, 14, 60, 1e3, 1e6])
@pytest.mark.parametrize("tail", [0.4999, 0.3, 0.025, 1e-6, 1e-12])
def test_a_quantile_has_the_tail_that_was_asked_for(tail: float, nu: float) -> None:
    found = student_t_survival(-student_t_quantile(tail, nu), nu)
    assert found == pytest.approx(tail, rel=digits(nu))
    assert student_t_quantile(0.5, nu) == 0


# scipy.stats.f.sf(f, nu_1, nu_2)
@pytest.mark.parametrize(
    ("f", "nu_1", "nu_2", "wanted"),
    [
        (0.5, 2, 12, 0.6186248513251715),
        (3.7, 2, 12, 0.056011486249140874),
        (9.0, 4, 3, 0.050874870067994404),
        (1.2, 30, 40, 0.29176895498725536),
        (25.0, 2, 500, 4.485684357103262e-11),
    ],
)
def test_tails_of_f_are_scipys(f: float, nu_1: int, nu_2: int, wanted: float) -> None:
    assert f_survival(f, nu_1, nu_2) == pytest.approx(wanted, rel=1e-11)


def test_f_of_one_degree_is_a_squared_t() -> None:
    assert f_survival(2.3**2, 1, 14) == pytest.approx(2 * student_t_survival(2.3, 14), rel=1e-13)
    assert f_survival(0.0, 3, 4) == 1
    assert f_survival(math.inf, 3, 4) == 0
