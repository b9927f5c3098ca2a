from __future__ import annotations

import pytest

from nearedge.codes.feff import run as run_module
from nearedge.codes.feff.deck import parse_deck
from nearedge.codes.feff.failures import check_deck, failure_of, warnings_for
from nearedge.codes.feff.run import last_words, run_feff
from nearedge.errors import CodeError, InputRefused, ResourceError

TI = "0   22   Ti   -1   -1   0.0001   0"


def deck_with_atom(deck: str, line: str) -> str:
    return deck.replace("\nEND", f"\n{line}\nEND")


REFUSED = {
    # feff10 reports success on these
    "atoms_too_close": lambda deck: deck_with_atom(deck, "0.0 0.0 0.0 1 O"),
    "non_finite_coordinate": lambda deck: deck_with_atom(deck, "NaN 0.0 1.0 1 O"),
    "unknown_edge": lambda deck: deck.replace("EDGE K", "EDGE P9"),
    "unsupported_element": lambda deck: deck.replace(TI, TI.replace("22   Ti", "99   Es")),
    "edge_not_in_element": lambda deck: deck.replace(TI, TI.replace("22   Ti", "2   He")).replace(
        "EDGE K", "EDGE L3"
    ),
    # feff10 fails on these without the reason
    "isolated_absorber": lambda deck: deck.replace("1.9500", "11.9500"),
    "unused_potential": lambda deck: deck.replace("\n\nATOMS", "\n2 26 Fe -1 -1 1 0\n\nATOMS"),
    "too_many_potentials": lambda deck: deck.replace(
        "\n\nATOMS", "".join(f"\n{i} 26 Fe -1 -1 1 0" for i in range(2, 33)) + "\n\nATOMS"
    ),
    "bad_input": lambda deck: deck[: deck.index("POTENTIALS")] + deck[deck.index("ATOMS") :],
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_deck_that_feff_would_not_do_is_refused_before_it_runs(
    recorded, monkeypatch, tmp_path, name: str
) -> None:
    monkeypatch.setattr(run_module, "execute", lambda *_, **__: pytest.fail("FEFF was started"))
    recording = recorded("octahedron")
    spoiled = REFUSED[name](recording.deck)
    assert spoiled != recording.deck
    with pytest.raises(InputRefused) as caught:
        run_feff(recording.inputs(spoiled), tmp_path / "run", stage_timeout=60)
    assert caught.value.name == name
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "case", ["isolated_absorber", "atoms_too_close", "unused_potential", "unknown_edge"]
)
def test_recorded_bad_decks_are_refused(recorded, case: str) -> None:
    with pytest.raises(InputRefused) as caught:
        check_deck(recorded(case).deck)
    assert caught.value.name == case


@pytest.mark.parametrize(
    "spoil",
    [
        lambda deck: deck.replace("SCF 3.2", "SCF abc"),
        lambda deck: deck.replace("1.9500 0.0000 0.0000 1 O", "1.9500 zero 0.0000 1 O"),
        lambda deck: deck.replace("1    8   O", "one  8   O"),
        lambda deck: deck.replace("0.0 0.0 0.0 0 Ti", "0.0 0.0 0.0 1 O"),
        lambda deck: deck.replace("0.0 0.0 0.0 0 Ti", "0.0 0.0 0.0 3 Ti"),
        lambda deck: deck[: deck.index("ATOMS")],
        lambda deck: "",
    ],
)
def test_a_malformed_deck_is_bad_input(recorded, spoil) -> None:
    deck = recorded("octahedron").deck
    assert spoil(deck) != deck
    with pytest.raises(InputRefused) as caught:
        check_deck(spoil(deck))
    assert caught.value.name == "bad_input"


@pytest.mark.parametrize(
    ("case", "name"),
    [
        ("isolated_absorber", "norman_radius"),
        ("atoms_too_close", "atoms_too_close"),
        ("unused_potential", "unused_potential"),
        ("scf_mixing", "bad_input"),
        ("representative_atoms", "fms_radius_too_small"),
        ("timeout", "stage_timeout"),
    ],
)
def test_a_dead_run_is_named_from_its_logs(recorded, case: str, name: str) -> None:
    recording = recorded(case)
    logs = last_words(recording.folder)
    error = failure_of(recording.outcome["message"], logs, recording.outcome["stage"])
    assert isinstance(error, CodeError)
    assert error.name == name
    assert error.log_tail == logs != ""
    assert "\n" not in error.message


def test_a_full_disk_is_not_the_calculations_fault(recorded) -> None:
    recording = recorded("disk_full")
    message = recording.outcome["message"]
    assert isinstance(failure_of(message, last_words(recording.folder), "atomic"), ResourceError)
    # The log that says so may be on the same full disk.
    assert isinstance(failure_of(message, "", "atomic"), ResourceError)


def test_memory_and_kills_are_not_the_calculations_fault() -> None:
    for said in (
        "stage 'pot' failed: worker exited with signal: 9 (SIGKILL)",
        "forrtl: severe (41): insufficient virtual memory",
    ):
        assert isinstance(failure_of(said, "", "pot"), ResourceError)


def test_a_field_that_loses_its_electrons_is_one_that_does_not_converge() -> None:
    # Seen with an SCF radius of 2.6 Å; the stage after the potentials then crashes.
    logs = "[log1.dat]\nBad counts found repeatedly - pot will exit now.\n[feff.log]\nUnknown"
    error = failure_of("stage 'screen' failed (exit code: 174)", logs, "screen")
    assert isinstance(error, CodeError)
    assert error.name == "scf_not_converged", "a name that is tried again with safer mixing"


def test_an_unknown_failure_keeps_its_log() -> None:
    error = failure_of("stage 'xsph' failed", "[log2.dat]\nsomething new", "xsph")
    assert isinstance(error, CodeError)
    assert (error.name, error.log_tail) == ("stage_failed", "[log2.dat]\nsomething new")


def test_neighbours_beyond_the_scf_radius_are_told(recorded) -> None:
    deck = recorded("octahedron").deck
    assert warnings_for(parse_deck(deck)) == []
    (warning,) = warnings_for(parse_deck(deck.replace("1.9500", "3.3000")))
    assert "3.30 Å away, beyond the SCF radius of 3.2 Å" in warning
