"""Read ``input.xml``: the crystal, the absorber, and what was asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from xml.etree import ElementTree
from xml.etree.ElementTree import Element as Node

import numpy as np
from pymatgen.core import Element, Lattice, Structure

from nearedge.codes.site import QUANTUM_NUMBERS
from nearedge.errors import IngestError
from nearedge.schemas.calculation import Parameter
from nearedge.spectra.spectrum import BOHR, HARTREE, FloatArray

DECK = "input.xml"
DEFAULT_BROADENING = 0.01
"""Ha, half width: exciting's own where xs has no `broad` (input reference, xs)."""
_SYMBOL = re.compile(r"([A-Z][a-z]?)(?![a-z])")


@dataclass(frozen=True)
class Deck:
    """A parsed ``input.xml``.

    `species` are the elements in the file's order, which exciting counts from 1; `site_of` gives
    the site's index by species and atom, both counted from 0.
    """

    structure: Structure
    species: tuple[str, ...]
    species_files: tuple[str, ...]
    site_of: dict[tuple[int, int], int]
    ground_state: dict[str, str]
    xs: dict[str, str]
    bse: dict[str, str]
    screening: dict[str, str]
    window: dict[str, str]

    @property
    def in_ev(self) -> bool:
        """Whether the output's energies are in eV; in Hartree otherwise."""
        return _true(self.xs.get("tevout", "false"))

    @property
    def broadening(self) -> float:
        """Full width in eV of the Lorentzian that exciting puts on every transition.

        `broad` is its half width: the recorded spectrum is, to 1e-13, the sum of its excitations
        with that.
        """
        return 2 * HARTREE * _number(self.xs, "broad", DEFAULT_BROADENING)

    @property
    def names_absorber(self) -> bool:
        """Whether the input says which atom absorbs, as exciting does since 2016."""
        return _true(self.bse.get("xas", "false")) and "xasspecies" in self.bse

    def absorber(self) -> tuple[int, str]:
        """Return the absorbing site's index and the edge.

        Raises
        ------
        IngestError
            If the input names none: older versions of exciting take the core level for a valence
            band, of all atoms at once.
        """
        if not self.names_absorber:
            raise IngestError(
                f"{DECK} names no absorbing atom (xas, xasspecies, xasatom): its spectrum is the "
                "sum over all atoms with that core level and belongs to no one site; run it once "
                "for each site"
            )
        species = int(_number(self.bse, "xasspecies", 0))
        atom = int(_number(self.bse, "xasatom", 0))
        edge = self.bse.get("xasedge", "K")
        if (species - 1, atom - 1) not in self.site_of:
            raise IngestError(f"{DECK}: there is no atom {atom} of species {species}")
        if edge not in QUANTUM_NUMBERS:
            raise IngestError(f"{DECK} asks for the edge {edge}, which is no K or L edge")
        return self.site_of[species - 1, atom - 1], edge

    def energy_window(self) -> tuple[float, float, int]:
        """Return the first and last energy asked for, in eV, and the number of points."""
        words = self.window.get("intv", "-0.5 0.5").split()
        try:
            first, last = (float(word.replace("d", "e")) * HARTREE for word in words)
            return first, last, int(self.window.get("points", "500"))
        except ValueError:
            raise IngestError(f"{DECK}: energywindow {self.window} is none") from None


def parse_deck(text: str) -> Deck:
    """Read the text of an ``input.xml``.

    Raises
    ------
    IngestError
        If it is none, or of something other than spectra.
    """
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise IngestError(f"{DECK} declares a document type, which no input of exciting does")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise IngestError(f"{DECK} is no XML ({error})") from None
    xs, structure = root.find("xs"), root.find("structure")
    if xs is None or structure is None:
        raise IngestError(f"{DECK} asks for no spectrum: it has no element xs")
    crystal, species, files, site_of = _structure(structure)
    ground_state = root.find("groundstate")
    return Deck(
        structure=crystal,
        species=species,
        species_files=files,
        site_of=site_of,
        ground_state={} if ground_state is None else dict(ground_state.attrib),
        xs=dict(xs.attrib),
        bse=_attributes(xs, "BSE"),
        screening=_attributes(xs, "screening"),
        window=_attributes(xs, "energywindow"),
    )


def _attributes(node: Node, name: str) -> dict[str, str]:
    found = node.find(name)
    return {} if found is None else dict(found.attrib)


def _structure(
    node: Node,
) -> tuple[Structure, tuple[str, ...], tuple[str, ...], dict[tuple[int, int], int]]:
    crystal = node.find("crystal")
    vectors = [] if crystal is None else crystal.findall("basevect")
    if crystal is None or len(vectors) != 3:
        raise IngestError(f"{DECK} has no crystal of three vectors")
    matrix = np.array([_vector(each.text, "basevect") for each in vectors])
    stretch = np.array(_vector(crystal.get("stretch", "1 1 1"), "stretch"))
    matrix = matrix * stretch[:, None] * _number(dict(crystal.attrib), "scale", 1.0) * BOHR
    cartesian = _true(node.get("cartesian", "false"))
    symbols: list[str] = []
    files: list[str] = []
    elements: list[str] = []
    positions: list[FloatArray] = []
    site_of: dict[tuple[int, int], int] = {}
    for number, species in enumerate(node.findall("species")):
        file = species.get("speciesfile", "")
        symbol = _element(species.get("chemicalSymbol") or file)
        elements.append(symbol)
        files.append(file)
        for atom, each in enumerate(species.findall("atom")):
            site_of[number, atom] = len(symbols)
            symbols.append(symbol)
            positions.append(_vector(each.get("coord"), "coord"))
    if not symbols or abs(np.linalg.det(matrix)) < 1e-3:
        raise IngestError(f"{DECK} has no atoms, or a cell without volume")
    coordinates = np.array(positions) * (BOHR if cartesian else 1.0)
    structure = Structure(
        Lattice(matrix), symbols, coordinates, coords_are_cartesian=cartesian, to_unit_cell=False
    )
    return structure, tuple(elements), tuple(files), site_of


def _element(name: str) -> str:
    """Return the element of a species file: Ti.xml, N_XAS.xml."""
    match = _SYMBOL.match(name.rpartition("/")[2])
    if match is None or not Element.is_valid_symbol(match.group(1)):
        raise IngestError(f"{DECK}: the species file {name!r} names no element")
    return match.group(1)


def _vector(text: str | None, what: str) -> FloatArray:
    try:
        found: FloatArray = np.array([float(w.replace("d", "e")) for w in (text or "").split()])
    except ValueError:
        found = np.empty(0)
    if found.shape != (3,) or not np.all(np.isfinite(found)):
        raise IngestError(f"{DECK}: {what} {text!r} is no vector")
    return found


def _number(attributes: dict[str, str], name: str, default: float) -> float:
    try:
        value = float(attributes.get(name, str(default)).lower().replace("d", "e"))
    except ValueError:
        raise IngestError(f"{DECK}: {name} {attributes[name]!r} is no number") from None
    if not np.isfinite(value):
        raise IngestError(f"{DECK}: {name} is not finite")
    return value


def _true(word: str) -> bool:
    return word.strip().lower() in {"true", "1"}


def stated_parameters(deck: Deck) -> dict[str, Parameter]:
    """Return the physical parameters that an input states, by its own meshes and bands."""
    parameters: dict[str, Parameter] = {}
    places = {"ground_state": deck.ground_state, "xs": deck.xs, "bse": deck.bse}
    for place, attribute, name, unit in _NUMBERS:
        if attribute in places[place]:
            parameters[name] = Parameter(value=_number(places[place], attribute, 0.0), unit=unit)
    for place, attribute, name in _LISTS:
        if attribute in places[place]:
            words = places[place][attribute].split()
            try:
                parameters[name] = Parameter(value=[float(word) for word in words])
            except ValueError:
                raise IngestError(f"{DECK}: {attribute} is no list of numbers") from None
    if "nempty" in deck.screening:
        parameters["screening_bands"] = Parameter(value=_number(deck.screening, "nempty", 0.0))
    first, last, points = deck.energy_window()
    parameters["energy_window"] = Parameter(value=[first, last], unit="eV")
    parameters["energy_points"] = Parameter(value=points)
    parameters["broadening"] = Parameter(value=deck.broadening, unit="eV")
    parameters["xc"] = Parameter(value=deck.ground_state.get("xctype", "LDA_PW"))
    parameters["bse_type"] = Parameter(value=deck.bse.get("bsetype", "singlet"))
    parameters["screening"] = Parameter(value=deck.screening.get("screentype", "full"))
    return parameters


# Element, attribute, our name, unit.
_NUMBERS = (
    ("ground_state", "rgkmax", "rgkmax", None),
    ("ground_state", "gmaxvr", "gmaxvr", "1/bohr"),
    ("ground_state", "nempty", "ground_state_bands", None),
    ("ground_state", "lmaxapw", "lmax", None),
    ("xs", "rgkmax", "response_rgkmax", None),
    ("xs", "gqmax", "gqmax", "1/bohr"),
    ("xs", "nempty", "response_bands", None),
    ("xs", "scissor", "scissor", "Ha"),
)
_LISTS = (
    ("ground_state", "ngridk", "density_k_mesh"),
    ("xs", "ngridk", "k_mesh"),
    ("xs", "ngridq", "q_mesh"),
    ("xs", "vkloff", "k_shift"),
    ("bse", "nstlxas", "bands"),
    ("bse", "nstlbse", "valence_and_conduction_bands"),
)
