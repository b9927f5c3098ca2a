"""The commands that the settings name: whether what they start is there, and what version it is."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from nearedge.codes.base import UNKNOWN, Availability
from nearedge.codes.execution.process import Supervised
from nearedge.errors import SettingsError
from nearedge.settings import PREFIX, Settings, get_settings

ANSWER_SECONDS = 60.0
"""A program answers within one; this is for a machine that does a hundred other things."""
_LOG = "answer.log"
_VERSIONS: dict[tuple[str, ...], str] = {}


@dataclass(frozen=True)
class Answer:
    """What a program printed before it ended."""

    return_code: int
    text: str


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
        words, wrong = self._words()
        if wrong:
            raise SettingsError(f"Setting {self.setting} {wrong}: correct {self._variable}.")
        return words

    @property
    def _variable(self) -> str:
        return PREFIX + self.setting.upper()

    def _words(self) -> tuple[list[str], str]:
        """Return the words of the command, and what is wrong with it, if anything."""
        try:
            words = shlex.split(self.command())
        except ValueError:
            return [], f"leaves a quote or an escape open ({self.command()})"
        return words, "" if words else "names no program"

    def path(self) -> Path | None:
        """Return where the program is, or None; behind a launcher, where the program itself is."""
        words, wrong = self._words()
        if wrong or shutil.which(words[0]) is None:
            return None
        usual = shlex.split(str(Settings.model_fields[self.setting].default))[0]
        program = next((word for word in words if Path(word).name == Path(usual).name), words[0])
        found = shutil.which(program)
        return None if found is None else Path(found)

    def availability(self) -> Availability:
        """Look for the program; `detail` is its place, for the code to put a version before it."""
        _, wrong = self._words()
        if wrong:
            return Availability(
                False, f"its setting {self.setting} {wrong}", f"correct {self._variable}"
            )
        found = self.path()
        if found is not None:
            return Availability(True, str(found))
        get = self.package if " " in self.package else f"apt install {self.package}"
        return Availability(
            False,
            f"{self.command()} is not found",
            f"{get}, or name its command in {self._variable}",
        )

    def answer(self, *arguments: str) -> Answer | None:
        """Start the program with nothing to read, and return what it says; None if it does not end.

        It runs as a stage of a calculation does: in a folder of its own, for what it may write,
        without NearEdge's variables, and nothing of it is left afterwards.

        Raises
        ------
        SettingsError
            If the setting names no program.
        """
        with tempfile.TemporaryDirectory(prefix="nearedge-answer-") as name:
            folder = Path(name)
            try:
                with Supervised([*self.argv(), *arguments], folder, log=_LOG) as asked:
                    code = asked.wait(ANSWER_SECONDS)
                said = (folder / _LOG).read_text(encoding="utf-8", errors="replace")
            except (OSError, subprocess.TimeoutExpired):
                return None
        return None if asked.not_started else Answer(code, said)

    def version(self, pattern: re.Pattern[str]) -> str:
        """Return what the first group of `pattern` finds in the program's answer, or ``unknown``.

        Asked once for each program in this process; one that did not answer in time, because the
        machine was busy, is asked again, since the version is a part of every calculation's id.
        """
        path = self.path()
        if path is None:
            return UNKNOWN
        program = (*self.argv(), str(path), str(path.stat().st_mtime_ns))
        if program not in _VERSIONS:
            said = self.answer()
            if said is None:
                return UNKNOWN
            match = pattern.search(said.text)
            _VERSIONS[program] = UNKNOWN if match is None else match.group(1)
        return _VERSIONS[program]
