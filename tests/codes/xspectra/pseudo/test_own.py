"""The user's own pseudopotentials are found by their names, and mistrusted."""

from __future__ import annotations

import gzip

import pytest

from nearedge.codes.xspectra.pseudo import pseudopotentials
from nearedge.errors import InputRefused


@pytest.fixture
def own(tmp_path, in_home, upf_text):
    """A folder of the user's: names to texts."""

    def fill(**changes):
        files = {
            "Ti.UPF": upf_text("Ti", 12.0, cutoff=50.0),
            "Ti.fch.UPF": upf_text("Ti", 13.0, cutoff=60.0),
            "O.UPF": upf_text("O", 6.0, gipaw=False, cutoff=40.0),
        } | changes
        for name, text in files.items():
            path = tmp_path / "own" / name
            path.parent.mkdir(exist_ok=True)
            if text is None:
                path.unlink(missing_ok=True)
            elif name.endswith(".gz"):
                path.write_bytes(gzip.compress(text.encode()))
            else:
                path.write_text(text, encoding="utf-8")
        in_home(tmp_path, tmp_path / "own")
        return tmp_path / "own"

    return fill


def test_a_folder_of_ones_own_is_used_instead_of_the_recipes(own, upf_text):
    own()
    made = pseudopotentials(["Ti", "O"], "Ti")
    assert made.files["Ti.fch.UPF"] == upf_text("Ti", 13.0, cutoff=60.0)
    assert sorted(made.files) == ["Core_Ti.wfc", "O.UPF", "Ti.UPF", "Ti.fch.UPF"]
    assert made.files["Core_Ti.wfc"].startswith("# number of core states 1 =  1 0;\n")
    assert (made.cutoff, made.core_hole_charge, made.valence("O")) == (60.0, 1.0, 6.0)
    assert made.checks == {}


def test_files_that_suggest_no_cutoff_give_none(own, upf_text):
    own(**{"O.UPF": upf_text("O", 6.0)})
    assert pseudopotentials(["Ti", "O"], "Ti").cutoff is None


@pytest.mark.parametrize(
    ("ground", "hole"),
    [
        ("Ti.pbe-spn.UPF", "Ti.fch-pbe.UPF"),
        ("Ti_PBE_TM_2pj.UPF", "Tih_PBE_TM_2pj.UPF"),
        ("Ti-lowE.upf", "Ti_halfh_PBE.upf"),
        ("ti_pbe_bench.upf", "Ti.star1s-pbe-mt_gipaw.UPF"),
        ("Ti.UPF.gz", "Ti.xch.UPF.gz"),
    ],
)
def test_common_names_are_told_apart(own, upf_text, ground, hole):
    files = {ground: upf_text("Ti", 12.0), hole: upf_text("Ti", 12.5)}
    own(**({"Ti.UPF": None, "Ti.fch.UPF": None} | files))
    made = pseudopotentials(["Ti"], "Ti")
    assert made.name_of("Ti") == ground.removesuffix(".gz")
    assert made.core_hole_name == hole.removesuffix(".gz")
    assert made.core_hole_charge == 0.5


def test_core_waves_of_ones_own_are_used_where_they_are(own):
    own(**{"Ti.wfc": "# number of core states 1 =  1 0;\n1 2\n"})
    made = pseudopotentials(["Ti"], "Ti")
    assert made.files[made.core_wavefunction_name].endswith("\n1 2\n")


def test_the_identity_is_of_all_files_whatever_a_structure_has(own, upf_text):
    own()
    identity = pseudopotentials(["Ti"], "Ti").identity
    assert pseudopotentials(["Ti", "O"], "Ti").identity == identity
    own(**{"O.UPF": upf_text("O", 6.0)})
    assert pseudopotentials(["Ti"], "Ti").identity != identity


@pytest.mark.parametrize(
    ("changes", "name", "says"),
    [
        ({"O.UPF": None}, "pseudo_missing", r"no O\.UPF, O\.\*\.UPF or O_\*\.UPF"),
        ({"Ti.fch.UPF": None}, "pseudo_missing", r"no Ti\.fch\.UPF.*star1s"),
        (
            {"O.UPF": None, "O_a.UPF": "", "O_b.UPF": ""},
            "pseudo_ambiguous",
            r"O_a\.UPF and O_b\.UPF: name the one to use O\.UPF",
        ),
        ({"O.UPF": "nothing"}, "pseudo_refused", r"O\.UPF cannot be used: it is no UPF file"),
        ({"O.UPF": ("N", 5.0)}, "pseudo_refused", r"O\.UPF is of N, not of O"),
        ({"Ti.fch.UPF": ("Ti", 12.0)}, "pseudo_refused", "has 0 valence electrons more"),
        ({"Ti.fch.UPF": ("Ti", 14.0)}, "pseudo_refused", "has 2 valence electrons more"),
        ({"Ti.fch.UPF": ("Ti", 13.0, False)}, "pseudo_refused", "no GIPAW section"),
        ({"Ti.UPF": ("Ti", 12.0, False)}, "pseudo_missing", r"neither Core_Ti\.wfc nor Ti\.wfc"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(own, upf_text, changes, name, says):
    own(
        **{
            file: upf_text(*of[:2], gipaw=of[2:] != (False,)) if isinstance(of, tuple) else of
            for file, of in changes.items()
        }
    )
    with pytest.raises(InputRefused, match=says) as refused:
        pseudopotentials(["Ti", "O"], "Ti")
    assert refused.value.name == name


def test_a_name_that_could_not_stand_in_an_input_is_not_taken(own, upf_text):
    own(**{"O.UPF": None, "O.a b'.UPF": upf_text("O", 6.0)})
    with pytest.raises(InputRefused, match="There is no O"):
        pseudopotentials(["Ti", "O"], "Ti")


def test_a_damaged_archive_is_refused(own):
    folder = own(**{"O.UPF": None})
    (folder / "O.UPF.gz").write_bytes(b"\x1f\x8b nothing")
    with pytest.raises(InputRefused, match=r"O\.UPF\.gz cannot be read"):
        pseudopotentials(["Ti", "O"], "Ti")


def test_a_folder_that_is_not_there_is_named(in_home, tmp_path):
    in_home(tmp_path, tmp_path / "nowhere")
    with pytest.raises(InputRefused, match="nowhere, which is no folder"):
        pseudopotentials(["Ti"], "Ti")


@pytest.mark.integration
def test_the_diamond_example_of_quantum_espresso_can_be_used_as_it_lies_there(
    in_home, tmp_path, shipped
):
    in_home(tmp_path, shipped / "pseudo")
    made = pseudopotentials(["C"], "C")
    assert made.name_of("C") == "C_PBE_TM_2pj.UPF"
    assert made.core_hole_name == "Ch_PBE_TM_2pj.UPF"
    assert (made.valence("C"), made.core_hole_charge, made.cutoff) == (4.0, 1.0, None)
    assert made.files[made.core_wavefunction_name].startswith("# number of core states 1 =  1 0;")
