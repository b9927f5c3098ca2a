"""The commands that the settings name: whether what they start is there, and what version it is."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from nearedge.codes.base import UNKNOWN, Availability
from nearedge.codes.execution.process import Supervised
from nearedge.errors import SettingsError
from nearedge.settings import PREFIX, Settings, get_settings

ANSWER_SECONDS = 60.0
"""A program answers within one; this is for a machine that does a hundred other things."""
_LOG = "answer.log"
_BLOCK = 1 << 22
_LONGEST_MARK = 64
_ELF = b"\x7fELF"
_ANSWERS: dict[tuple[str, ...], Answer] = {}


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
    banner
        What the program says where there is nothing to read; its first group is the version. None
        for one that is not started for a question.
    mark
        What is among the bytes of a program that is not started for a question.
    """

    setting: str
    package: str
    banner: re.Pattern[str] | None = None
    mark: re.Pattern[bytes] | None = None

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

    def _usual_name(self) -> str:
        """Return what the program is called where the setting is left alone: ``pw.x``."""
        return Path(shlex.split(str(Settings.model_fields[self.setting].default))[0]).name

    def path(self) -> Path | None:
        """Return where the program is, or None; behind a launcher, where the program itself is."""
        words, wrong = self._words()
        if wrong or shutil.which(words[0]) is None:
            return None
        usual = self._usual_name()
        program = next((word for word in words if Path(word).name == usual), words[0])
        found = shutil.which(program)
        return None if found is None else Path(found)

    def availability(self) -> Availability:
        """Look for the program, and whether it is the one that it should be.

        `detail` is its place, for the code to put a version before it.
        """
        _, wrong = self._words()
        if wrong:
            return Availability(
                False, f"its setting {self.setting} {wrong}", f"correct {self._variable}"
            )
        found = self.path()
        if found is not None:
            if other := self._other():
                return Availability(False, other, f"correct {self._variable}")
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

    def version(self) -> str:
        """Return what the banner's first group finds in the program's answer, or ``unknown``."""
        asked = self._asked()
        found = None if asked is None or self.banner is None else self.banner.search(asked.text)
        return UNKNOWN if found is None else found.group(1)

    def _asked(self) -> Answer | None:
        """Return the program's answer to nothing; None where it is not there, or does not end.

        Asked once for each program in this process; one that did not answer in time, because the
        machine was busy, is asked again, since the version is a part of every calculation's id.
        """
        path = self.path()
        if path is None:
            return None
        program = (*self.argv(), str(path), str(path.stat().st_mtime_ns))
        if program not in _ANSWERS and (answer := self.answer()) is not None:
            _ANSWERS[program] = answer
        return _ANSWERS.get(program)

    def _other(self) -> str:
        """Return that the command starts something else, or nothing where it may be right.

        A program that does not answer in time may be the right one; so may a script without a
        banner, which can start anything.
        """
        it_is_not = f"{self.command()} is not {self._usual_name()}"
        if self.banner is not None:
            asked = self._asked()
            if asked is None or self.banner.search(asked.text):
                return ""
            lines = asked.text.strip().splitlines()
            return f"{it_is_not}: it says {repr(lines[-1].strip()[:100]) if lines else 'nothing'}"
        if self.mark is not None:
            places = [Path(shutil.which(word) or word) for word in self.argv()]
            files = [place for place in places if place.is_file()]
            if not any(_is_script(file) or search_bytes(file, self.mark) for file in files):
                return it_is_not
        return ""


def _is_script(program: Path) -> bool:
    with program.open("rb") as file:
        return file.read(len(_ELF)) != _ELF


def search_bytes(program: Path, pattern: re.Pattern[bytes]) -> re.Match[bytes] | None:
    """Return where a pattern (of 64 bytes at most) is first found among a program's bytes."""
    return _found(program, program.stat().st_mtime_ns, pattern)


@cache
def _found(program: Path, modified: int, pattern: re.Pattern[bytes]) -> re.Match[bytes] | None:
    seam = b""
    with program.open("rb") as file:
        while block := file.read(_BLOCK):
            if match := pattern.search(seam + block):
                return match
            seam = block[-_LONGEST_MARK:]
    return None
