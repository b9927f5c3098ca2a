"""The first sign that a program's output bears names its failure."""

from __future__ import annotations

from nearedge.codes.signs import Sign, failure_by_signs, first_sign

SIGNS = (
    Sign(r"(?i)no pseudo\w*", "pseudopotential_missing", "a potential is missing"),
    Sign(r"ERROR\(\d+\)", "stage_failed", "an internal error"),
)


def test_the_first_that_fits_gives_the_name_and_the_words() -> None:
    assert first_sign(SIGNS, "ERROR(3): No Pseudopotential") == (SIGNS[0], "No Pseudopotential")
    assert first_sign(SIGNS, "ERROR(3)") == (SIGNS[1], "ERROR(3)")
    assert first_sign(SIGNS, "error(3)") is None


def test_a_failure_says_what_is_wrong_and_keeps_the_log() -> None:
    failure = failure_by_signs("ocean.pl", SIGNS, 1, "no pseudo for Ti")
    assert failure.name == "pseudopotential_missing"
    assert failure.message == "ocean.pl stopped: a potential is missing; see its log."
    assert failure.log_tail == "no pseudo for Ti"


def test_without_a_sign_the_exit_code_and_the_place_are_said() -> None:
    failure = failure_by_signs("ocean.pl", SIGNS, 7, "?", where=" in its stage SCREEN")
    assert failure.name == "stage_failed"
    assert failure.message == (
        "ocean.pl stopped in its stage SCREEN with exit code 7; see its log."
    )
