from __future__ import annotations

import gzip
import json
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from pymatgen.core import Structure
from pymatgen.io.cif import CifWriter
from pymatgen.io.vasp.inputs import Poscar

from nearedge.structures import sources
from nearedge.structures.builtin import builtin_structure
from nearedge.structures.identity import structure_id, structure_key
from nearedge.structures.source import LoadedStructure, Refusal, SourceRef
from nearedge.structures.sources import load_structures

KEY = "k" * 32


def rutile() -> Structure:
    return builtin_structure("rutile").structure.copy()


def only(path: Path | str, **options: str) -> LoadedStructure | Refusal:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # none of pymatgen's may reach the terminal
        (result,) = load_structures([path], **options)
    return result


def reason(path: Path | str, **options: str) -> str:
    result = only(path, **options)
    assert isinstance(result, Refusal), result
    assert result.label == str(path)
    assert "\n" not in result.reason
    assert result.reason.endswith(".")
    return result.reason


WRITERS: dict[str, Callable[[Structure], str]] = {
    "POSCAR": lambda s: Poscar(s).get_str(),
    "CONTCAR_relaxed": lambda s: Poscar(s).get_str(),
    "rutile.poscar": lambda s: Poscar(s).get_str(),
    "rutile.vasp": lambda s: Poscar(s).get_str(),
    "rutile.cif": lambda s: str(CifWriter(s)),
    "RUTILE.CIF": lambda s: str(CifWriter(s, symprec=1e-3)),
    "rutile.json": lambda s: json.dumps(s.as_dict()),
    "POSCAR_rutile.json": lambda s: json.dumps(s.as_dict()),
}


@pytest.mark.parametrize("name", WRITERS)
def test_files_of_all_usual_kinds_load(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(WRITERS[name](rutile()))
    loaded = only(path, absorber="Ti")
    assert isinstance(loaded, LoadedStructure), loaded
    assert structure_id(loaded.structure) == structure_id(rutile())
    assert (loaded.source.kind, loaded.source.path) == ("file", str(path))


def test_a_compressed_file_loads(tmp_path: Path) -> None:
    path = tmp_path / "POSCAR.gz"
    path.write_bytes(gzip.compress(Poscar(rutile()).get_str().encode()))
    assert isinstance(only(path), LoadedStructure)
    assert isinstance(load_structures([tmp_path])[0], LoadedStructure)


def test_the_reference_poscars_load(shared: Callable[[str], Path]) -> None:
    loaded = load_structures([shared("data/ti_o")], absorber="Ti")
    assert len(loaded) == 8
    assert all(isinstance(one, LoadedStructure) for one in loaded)


def test_oxidation_states_and_site_properties_are_left_out(tmp_path: Path) -> None:
    decorated = rutile().add_oxidation_state_by_guess()
    decorated.add_site_property("magmom", [1.0] * 6)
    path = tmp_path / "a.json"
    path.write_text(json.dumps(decorated.as_dict()))
    loaded = only(path)
    assert isinstance(loaded, LoadedStructure)
    assert structure_key(loaded.structure) == structure_key(rutile())
    assert not loaded.structure.site_properties
    assert {str(specie) for specie in loaded.structure.species} == {"Ti", "O"}


def test_files_folders_and_ids_keep_their_order(tmp_path: Path) -> None:
    (tmp_path / "b" / "deep").mkdir(parents=True)
    (tmp_path / "a").mkdir()
    text = Poscar(rutile()).get_str()
    for name in ("b/POSCAR", "b/deep/CONTCAR", "a/z.vasp", "one.vasp"):
        (tmp_path / name).write_text(text)
    (tmp_path / "b" / "INCAR").write_text("ENCUT = 500\n")
    (tmp_path / "b" / "run.json").write_text('{"state": "done"}')
    (tmp_path / "b" / ".hidden").mkdir()
    (tmp_path / "b" / ".hidden" / "POSCAR").write_text(text)
    named = [
        one.source.path if isinstance(one, LoadedStructure) else f"refused {one.label}"
        for one in load_structures(
            [tmp_path / "one.vasp", "mp-390", tmp_path / "b", tmp_path / "a"]
        )
    ]
    expected = ["one.vasp", "b/POSCAR", "b/deep/CONTCAR", "a/z.vasp"]
    paths = [str(tmp_path / name) for name in expected]
    assert named == [paths[0], "refused mp-390", *paths[1:]]


def _labels(*given: Path) -> list[str]:
    loaded = load_structures(given)
    assert all(isinstance(one, LoadedStructure) for one in loaded), loaded
    return [one.source.label for one in loaded if isinstance(one, LoadedStructure)]


def test_a_file_is_called_by_its_name_or_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mp-390").mkdir()
    names = ("rutile.cif", "mp-390/POSCAR", "Ti0.5O.vasp")
    paths = [tmp_path / name for name in names]
    for path in paths:
        path.write_text(WRITERS[path.name if path.suffix == ".cif" else "POSCAR"](rutile()))
    assert _labels(*paths) == ["rutile", "mp-390", "Ti0.5O"]
    monkeypatch.chdir(tmp_path / "mp-390")
    assert _labels(Path("POSCAR"), Path("../rutile.cif")) == ["mp-390", "rutile"]


def test_files_that_are_called_alike_are_told_apart(tmp_path: Path) -> None:
    names = (
        "a/anatase.cif", "b/anatase.cif", "rutile.cif", "x/y/z.cif", "w/y/z.cif", "one/o.cif",
        "one/o.vasp", "m/POSCAR", "m/CONTCAR", "b_anatase.cif",
    )  # fmt: skip
    paths = [tmp_path / name for name in names]
    for path in paths:
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(WRITERS["rutile.cif" if path.suffix == ".cif" else "POSCAR"](rutile()))
    above = tmp_path.name
    assert _labels(*paths) == [
        f"{above}_a_anatase", f"{above}_b_anatase", "rutile", "x_y_z", "w_y_z", "o.cif", "o.vasp",
        "m_POSCAR", "m_CONTCAR", "b_anatase",
    ]  # fmt: skip
    assert _labels(*paths[:3]) == ["a_anatase", "b_anatase", "rutile"]
    again = paths[2].parent / "a" / ".." / paths[2].name
    assert _labels(paths[2], again) == ["rutile", "rutile"], "one file, however it is named"


def test_a_file_is_not_called_like_an_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Client:
        def __init__(self, key: str) -> None:
            pass

        def get_structure_by_material_id(self, material_id: str) -> Structure:
            return rutile()

    monkeypatch.setattr("pymatgen.ext.matproj.MPRester", Client)
    path = tmp_path / "mp-390.cif"
    path.write_text(WRITERS["rutile.cif"](rutile()))
    loaded = load_structures([path, "mp-390"], mp_api_key=KEY)
    labels = [one.source.label for one in loaded if isinstance(one, LoadedStructure)]
    assert labels == [f"{tmp_path.name}_mp-390", "mp-390"]


def test_a_label_that_is_a_path_is_read_as_a_path() -> None:
    """Documents and queued jobs of the time before hold such labels."""
    old = {"kind": "file", "label": "../shared/mp-390.poscar", "citation": None}
    now = SourceRef.model_validate(old)
    assert (now.label, now.path) == ("mp-390", "../shared/mp-390.poscar")
    assert SourceRef.model_validate(now.model_dump()) == now
    named = SourceRef(kind="object", label="TiO2/vacuum")
    assert (named.label, named.path) == ("TiO2/vacuum", None)


def test_a_path_that_looks_like_an_id_is_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folders of the OmniXAS archive are named after ids."""
    monkeypatch.chdir(tmp_path)
    Path("mp-390").mkdir()
    Path("mp-390", "POSCAR").write_text(Poscar(rutile()).get_str())
    loaded = only("mp-390")
    assert isinstance(loaded, LoadedStructure)
    assert loaded.source.path == "mp-390/POSCAR"


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.cif").touch()
    assert reason(tmp_path / "a.cif") == "the file is empty."


@pytest.mark.parametrize("name", ["a.cif", "POSCAR", "a.vasp", "a.json", "a.cssr"])
def test_what_is_not_a_structure_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text("to be or not to be\nthat is the question\n" * 5)
    assert "not a structure" in reason(path)
    path.write_bytes(bytes(range(256)) * 8)
    assert "not a structure" in reason(path)


def test_json_of_something_else_is_refused_when_named(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("[1, 2]")
    assert "not a structure" in reason(path)


def test_a_name_that_tells_no_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("text")
    assert "its name does not tell the format" in reason(path)


def test_a_missing_path_is_refused(tmp_path: Path) -> None:
    assert reason(tmp_path / "gone.cif") == "there is no such file or folder."


@pytest.mark.parametrize("name", ["", " ", "x" * 5000, "~nobody-of-that-name/POSCAR", "a\0b"])
def test_a_name_that_no_file_can_have_is_refused(name: str) -> None:
    (refused,) = load_structures([name])
    assert isinstance(refused, Refusal)


def test_a_folder_without_structures_is_refused(tmp_path: Path) -> None:
    (tmp_path / "INCAR").write_text("ENCUT = 500\n")
    (tmp_path / "a.json").write_text("{}")
    assert "holds no structure" in reason(tmp_path)


def test_a_broken_structure_file_in_a_folder_is_listed_beside_the_good(tmp_path: Path) -> None:
    (tmp_path / "POSCAR").write_text(Poscar(rutile()).get_str())
    (tmp_path / "POSCAR.bad").write_text(Poscar(rutile()).get_str()[:180])
    good, bad = load_structures([tmp_path])
    assert isinstance(good, LoadedStructure)
    assert isinstance(bad, Refusal)


def test_an_unreadable_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.cif"
    path.write_text("data_x")

    def denied(_: Path) -> Structure:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(sources, "_parse", denied)
    assert reason(path) == "it cannot be read: Permission denied."


def test_a_poscar_without_element_names_is_refused_not_guessed(tmp_path: Path) -> None:
    lines = Poscar(rutile()).get_str().splitlines()
    del lines[5]
    path = tmp_path / "POSCAR"
    path.write_text(
        "\n".join([line.rsplit(" ", 1)[0] if i > 6 else line for i, line in enumerate(lines)])
    )
    assert "does not name its elements" in reason(path)


def test_a_cif_with_partial_occupancies_is_refused_not_ordered(tmp_path: Path) -> None:
    structure = rutile()
    structure[0] = {"Ti": 0.5, "V": 0.5}
    path = tmp_path / "alloy.cif"
    path.write_text(str(CifWriter(structure)))
    assert "occupied in part" in reason(path)
    vacant = rutile()
    vacant[2] = {"O": 0.75}
    path.write_text(str(CifWriter(vacant)))
    assert "occupied in part" in reason(path)


def test_a_cif_with_two_structures_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "two.cif"
    second = str(CifWriter(builtin_structure("CuO").structure))
    path.write_text(f"{CifWriter(rutile())}\n{second}")
    assert "holds 2 structures" in reason(path)


def test_a_structure_without_the_absorber_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.vasp"
    path.write_text(Poscar(rutile()).get_str())
    assert "no Cu to absorb" in reason(path, absorber="Cu")


def test_an_id_without_a_key_says_what_to_set() -> None:
    answer = reason("mp-390")
    assert "NEAREDGE_MP_API_KEY" in answer
    assert "file" in answer


def test_an_id_with_a_key_asks_the_materials_project(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []

    class Client:
        def __init__(self, key: str) -> None:
            self.key = key

        def get_structure_by_material_id(self, material_id: str) -> Structure:
            asked.append((self.key, material_id))
            return rutile().add_oxidation_state_by_guess()

    monkeypatch.setattr("pymatgen.ext.matproj.MPRester", Client)
    loaded = only("mp-2657", absorber="Ti", mp_api_key=KEY)
    assert asked == [(KEY, "mp-2657")]
    assert isinstance(loaded, LoadedStructure)
    assert (loaded.source.kind, loaded.source.label) == ("materials_project", "mp-2657")
    assert "no Cu to absorb" in reason("mp-2657", absorber="Cu", mp_api_key=KEY)


def test_a_failed_request_is_a_refusal_that_keeps_the_key_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Client:
        def __init__(self, key: str) -> None:
            raise ConnectionError(f"no route to host with x-api-key {key}\nmore")

    monkeypatch.setattr("pymatgen.ext.matproj.MPRester", Client)
    answer = reason("mp-2657", mp_api_key=KEY)
    assert "no route to host" in answer
    assert KEY not in answer


def test_a_name_that_is_no_text_is_told_as_text(tmp_path: Path) -> None:
    folder = tmp_path / "a\udcff\x1b"
    folder.mkdir()
    rutile().to(filename=str(tmp_path / "POSCAR"), fmt="poscar")
    (tmp_path / "POSCAR").rename(folder / "POSCAR")
    (folder / "b.cif").write_text("no")
    loaded, refused = load_structures([folder])
    assert isinstance(loaded, LoadedStructure)
    assert isinstance(refused, Refusal)
    assert loaded.source.label == "a\ufffd\ufffd"
    for path in (loaded.source.path, refused.label):
        assert path is not None
        assert "a\ufffd\ufffd/" in path


def test_reading_files_imports_no_client_of_the_materials_project() -> None:
    assert "MPRester" not in vars(sources), "it brings phonons and plots: 0.7 s of a submission"
