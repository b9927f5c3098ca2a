"""The commands that the settings name, and whether what they start is there."""

from __future__ import annotations

import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

from nearedge.codes.base import Availability
from nearedge.errors import SettingsError
from nearedge.settings import PREFIX, Settings, get_settings


@dataclass(frozen=True)
class Executable:
    """A program of a code.

    Parameters
    ----------
    setting
        The setting that holds its command, such as ``pw_command``: ``mpirun -np 4 pw.x``.
    package
        The Debian package that has it, or what else to do to get it (any text with a space).
    """

    setting: str
    package: str

    def command(self) -> str:
        """Return the command as the settings have it."""
        return str(getattr(get_settings(), self.setting))

    def argv(self) -> list[str]:
        """Return the words of the command.

        Raises
        ------
        SettingsError
            If there are none, or a quote is left open.
        """
        try:
            words = shlex.split(self.command())
        except ValueError as error:
            raise SettingsError(
                f"Setting {self.setting!r}: {self.command()!r} is no command ({error})."
            ) from None
        if not words:
            raise SettingsError(f"Setting {self.setting!r} is empty: it must name a program.")
        return words

    def path(self) -> Path | None:
        """Return where the program is, or None; behind a launcher, where the program itself is."""
        words = self.argv()
        if shutil.which(words[0]) is None:
            return None
        usual = shlex.split(str(Settings.model_fields[self.setting].default))[0]
        program = next((word for word in words if Path(word).name == Path(usual).name), words[0])
        found = shutil.which(program)
        return None if found is None else Path(found)

    def availability(self) -> Availability:
        """Look for the program; `detail` is its place, for the code to put a version before it."""
        try:
            found = self.path()
        except SettingsError as error:
            return Availability(False, str(error), f"correct {PREFIX}{self.setting.upper()}")
        if found is not None:
            return Availability(True, str(found))
        get = self.package if " " in self.package else f"apt install {self.package}"
        return Availability(
            False,
            f"{self.command()} is not found",
            f"{get}, or name its command in {PREFIX}{self.setting.upper()}",
        )
