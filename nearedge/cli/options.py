"""Options that several verbs share."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

MOST = 10**9
"""Of anything that is counted: a number of more than eight bytes is an error of the driver."""

_PROJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def checked_project(name: str | None) -> str | None:
    """Refuse names that would be odd as a file name, in a URL or in a query."""
    if name is not None and not _PROJECT.fullmatch(name):
        raise typer.BadParameter(
            f"{name!r} is no name to file things by: use letters, digits, dots, dashes and "
            "underscores, at most 64, beginning with a letter or a digit."
        )
    return name


def given_path(text: str | Path) -> Path:
    """Refuse an empty path, which is what an unset variable of a script gives.

    Python takes it for the working folder. A default comes as a path already.
    """
    if isinstance(text, str) and not text.strip():
        raise typer.BadParameter("the path is empty.")
    return Path(text)


def path_option(*names: str, metavar: str = "<path>", help: str) -> Any:
    """Return an option that takes a path, but no empty one; typer's is of no type either."""
    return typer.Option(*names, parser=given_path, metavar=metavar, help=help)


def some_elements(symbols: str | None) -> str | None:
    """Refuse a list without a symbol: it would find everything."""
    if symbols is not None and not separated(symbols):
        raise typer.BadParameter(f"{symbols!r} names no element; give symbols such as Ti,O.")
    return symbols


def separated(values: str | None) -> list[str]:
    """Split what was given as `a,b,c`; empty where nothing was."""
    return [value.strip() for value in (values or "").split(",") if value.strip()]


def named_codes(values: str, option: str) -> list[str]:
    """Split what was given as `a,b`; at least one."""
    codes = separated(values)
    if not codes:
        raise typer.BadParameter("name at least one code.", param_hint=option)
    return codes


_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_AGE = re.compile(r"(\d{1,4})([mhdw])")


def age(text: str | timedelta) -> timedelta:
    """Read an age such as ``90m``, ``12h``, ``30d`` or ``8w``; a default comes as one already."""
    if isinstance(text, timedelta):
        return text
    match = _AGE.fullmatch(text.strip())
    if match is None:
        raise typer.BadParameter(f"{text!r} is no age such as 90m, 12h, 30d or 8w.")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def age_option(name: str, help: str, default: str | None = None) -> Any:
    """Return an option that takes an age; `default` is what help calls the default."""
    return typer.Option(
        name,
        parser=age,
        metavar="AGE",
        help=f"{help}, such as 12h, 30d or 8w.",
        show_default=False if default is None else default,
    )


Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
ProjectName = Annotated[
    str, typer.Option("--project", help="Name to find the results by.", callback=checked_project)
]
ProjectFilter = Annotated[
    str | None, typer.Option("--project", help="Name of a project.", callback=checked_project)
]
Absorber = Annotated[str, typer.Option(help="Absorbing element, such as Ti.")]
Edge = Annotated[str, typer.Option(help="Edge: K, L1, L2 or L3.")]
RerunFailed = Annotated[
    bool, typer.Option("--rerun-failed", help="Compute again what failed by name before.")
]
Pack = Annotated[
    int,
    typer.Option(
        min=1, max=1000, help="About how many sites share a job, where each takes seconds."
    ),
]
Relax = Annotated[
    Literal["m3gnet"] | None,
    typer.Option("--relax", help="Relax the structures first, by this potential."),
]
RelaxModeOption = Annotated[
    Literal["full", "fixed-volume", "fixed-cell"] | None,
    typer.Option(
        "--relax-mode",
        help="What relaxes: atoms and cell; atoms and the cell's shape; atoms. Default: full.",
        show_default=False,
    ),
]
Pressure = Annotated[
    float | None,
    typer.Option(
        min=-1000, max=1000, help="GPa that structures are relaxed under.", show_default=False
    ),
]
Workers = Annotated[int | None, typer.Option(min=1, help="Worker processes; default: the setting.")]
Files = Annotated[
    list[str],
    typer.Argument(
        help="Structure files, folders of them, or Materials Project ids such as mp-2657.",
        metavar="STRUCTURE...",
        show_default=False,
    ),
]

SpectrumIds = Annotated[
    list[str] | None,
    typer.Argument(
        help="Spectrum ids, or their first digits; none: all that the filters find.",
        show_default=False,
    ),
]
AbsorberFilter = Annotated[str | None, typer.Option("--absorber", help="Absorbing element.")]
EdgeFilter = Annotated[str | None, typer.Option("--edge", help="K, L1, L2 or L3.")]
CodeFilter = Annotated[str | None, typer.Option("--code", help="Simulation code.")]
ProtocolFilter = Annotated[
    str | None, typer.Option("--protocol", help="Protocol, such as fast@1 or fast.")
]
FormulaFilter = Annotated[
    str | None, typer.Option("--formula", help="Formula; O2Ti finds TiO2 too.")
]
ElementsFilter = Annotated[
    str | None,
    typer.Option("--elements", help="Elements that must be there: Ti,O.", callback=some_elements),
]
ChemsysFilter = Annotated[
    str | None, typer.Option("--chemsys", help="Exactly these elements: Ti-O.")
]
StructureIdFilter = Annotated[
    str | None, typer.Option("--structure-id", help="Id of a material, whatever its cell.")
]
StateFilter = Annotated[
    str | None, typer.Option("--state", help="completed, incomplete, or a failure's name.")
]
KindFilter = Annotated[
    Literal["site", "average"] | None, typer.Option("--kind", help="Sites or averages only.")
]
Limit = Annotated[int | None, typer.Option(min=1, max=MOST, help="At most so many.")]
Skip = Annotated[int, typer.Option(min=0, max=MOST, help="Leave out the first so many.")]
Broaden = Annotated[
    str | None,
    typer.Option(
        "--broaden",
        metavar="SPEC",
        help="core-hole, lorentzian:0.9, gaussian:0.5, voigt:0.9,0.5 or arctangent:15,30,30 (eV); "
        "+total counts what is contained.",
    ),
]
OutputFile = Annotated[Path, path_option("--output", "-o", help="File to write.")]
