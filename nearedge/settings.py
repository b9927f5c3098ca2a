"""Settings: argument, then environment, then ``NEAREDGE_CONFIG_FILE`` or ``~/.nearedge.yaml``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)

from nearedge.errors import SettingsError
from nearedge.queue_settings import QueueSettings, sentence

PREFIX = "NEAREDGE_"
CONFIG_FILE_VARIABLE = "NEAREDGE_CONFIG_FILE"
DEFAULT_CONFIG_FILE = Path("~/.nearedge.yaml")
# Read by the test-suite, the Makefile or this module, not fields of Settings.
_NOT_FIELDS = {CONFIG_FILE_VARIABLE, "NEAREDGE_REQUIRE_ALL"}


class _ConfigFile(YamlConfigSettingsSource):
    """The configuration file; pydantic's own reader trips over one that is no mapping."""

    def _read_file(self, file_path: Path | Traversable) -> dict[str, Any]:
        read: object = super()._read_file(file_path)
        if not isinstance(read, dict) or not all(isinstance(key, str) for key in read):
            raise SettingsError(
                f"{file_path} does not hold settings: write one `name: value` on each line."
            )
        return read


class Settings(BaseSettings):
    """What NearEdge needs to know about this machine. Every field is also ``NEAREDGE_<FIELD>``."""

    model_config = SettingsConfigDict(
        # A variable that is set to nothing is an unset one, not the working folder as home.
        env_prefix=PREFIX,
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
    )

    home: Path = Field(
        Path("~/.nearedge"), description="Folder of the embedded database, run folders and reports."
    )
    mongo_uri: SecretStr | None = Field(
        None, description="URI of a MongoDB. Unset: the embedded server that `nearedge up` starts."
    )
    database: str = Field(
        "nearedge",
        pattern=r"^[A-Za-z0-9_-]{1,38}$",
        description="Name of the database; FireWorks' collections go to <database>_<launchpad>.",
    )
    launchpad: str = Field(
        "launchpad",
        pattern=r"^[A-Za-z0-9_-]{1,24}$",
        description="Name of the queue: several may work for one database.",
    )
    blobs: str | None = Field(
        None,
        pattern=r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._-]+)*$",
        description="Where large fields are kept, as s3://bucket/prefix. Unset: in the database.",
    )
    blobs_endpoint: str | None = Field(
        None,
        pattern=r"^https?://[A-Za-z0-9.\-\[\]:]+$",
        description="URL of the storage with that bucket. Unset: as boto3 is configured.",
    )
    database_timeout: float = Field(
        10.0, gt=0, description="Seconds to wait for the database before an operation fails."
    )
    embedded_cache: str = Field("256M", description="Cache size of the embedded server.")
    run_dir: Path | None = Field(
        None, description="Folder that runs are made in. Unset: <home>/runs."
    )
    keep_runs: bool = Field(
        False, description="Keep the folders of runs that succeeded (those that failed are kept)."
    )
    stage_timeout: float = Field(
        7200.0, gt=0, description="Seconds that one stage of a run may take."
    )
    idle_timeout: float = Field(
        1800.0, gt=0, description="Seconds after which a run that writes nothing is ended."
    )
    pw_command: str = Field(
        "pw.x", description="Quantum ESPRESSO's pw.x, with its launcher if any."
    )
    xspectra_command: str = Field("xspectra.x", description="Quantum ESPRESSO's xspectra.x.")
    ld1_command: str = Field(
        "ld1.x", description="Quantum ESPRESSO's ld1.x, which makes the pseudopotentials."
    )
    pseudo_path: Path | None = Field(
        None,
        description="Folder with pseudopotentials of your own for XSpectra. Unset: NearEdge's.",
    )
    elk_command: str = Field("elk-lapw", description="Elk.")
    elk_species_path: Path = Field(
        Path("/usr/share/elk-lapw/species"), description="Folder of Elk's species files."
    )
    gpaw_python: str = Field(
        "/usr/bin/python3", description="The Python that GPAW is installed in; not NearEdge's own."
    )
    ocean_command: str = Field("ocean.pl ocean.in", description="OCEAN, with its argument.")
    ocean_para_prefix: str = Field(
        "", description="What OCEAN starts its parallel programs with, such as `mpirun -n 8`."
    )
    exciting_command: str = Field("exciting_smp input.xml", description="exciting.")
    exciting_species_path: Path | None = Field(
        None, description="Folder of exciting's species files. Unset: $EXCITINGROOT/species."
    )
    vasp_command: str = Field("vasp_std", description="VASP, with its launcher if any.")
    workers: int = Field(2, ge=1, description="Worker processes that `nearedge run` starts.")
    model_path: Path | None = Field(
        None,
        description="Folder with pretrained weights: a model's own folder, or one holding several.",
    )
    mp_api_key: SecretStr | None = Field(None, description="Key of the Materials Project's API.")
    webgui_password: SecretStr | None = Field(
        None,
        min_length=12,
        description="Password of the web page. Unset: one of its own in <home>/webgui/password.",
    )
    queue: QueueSettings | None = Field(
        None, description="How `nearedge queue` submits batch jobs: docs/cluster.md."
    )
    trusted_jobs: str = Field(
        "",
        pattern=r"^[\w.]*(,[\w.]+)*$",
        description="Modules of yours, as a,b, whose jobs workers run beside NearEdge's own.",
    )

    @field_validator(
        "home", "run_dir", "model_path", "pseudo_path", "elk_species_path", "exciting_species_path"
    )
    @classmethod
    def _expand(cls, path: Path | None) -> Path | None:
        return None if path is None else path.expanduser().absolute()

    @field_validator("blobs", "blobs_endpoint", mode="before")
    @classmethod
    def _without_last_slash(cls, place: object) -> object:
        return place.rstrip("/") if isinstance(place, str) else place

    @field_validator("home", "run_dir")
    @classmethod
    def _follow(cls, path: Path | None) -> Path | None:
        """Follow links: FireWorks stores where a launch is by the name that the system gives."""
        return None if path is None else Path(os.path.realpath(path))

    @property
    def batch(self) -> QueueSettings:
        """How batch jobs are submitted; the defaults where nothing is said."""
        return self.queue or QueueSettings()

    @property
    def trusted(self) -> tuple[str, ...]:
        """The modules of `trusted_jobs`."""
        return tuple(each for each in self.trusted_jobs.split(",") if each)

    @property
    def runs(self) -> Path:
        """The folder that runs are made in."""
        return self.run_dir if self.run_dir is not None else self.home / "runs"

    @property
    def cache(self) -> Path:
        """The folder of what can be made again: pseudopotentials, setups."""
        return self.home / "cache"

    @property
    def launchpad_database(self) -> str:
        """Name of the database that holds FireWorks' collections."""
        return f"{self.database}_{self.launchpad}"

    @property
    def launchpad_is_default(self) -> bool:
        """Whether it is the queue that every database has."""
        return bool(self.launchpad == Settings.model_fields["launchpad"].default)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Argument, then environment, then the configuration file."""
        return (init_settings, env_settings, _ConfigFile(settings_cls, config_file()))


def config_file(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Return the configuration file in force, or None.

    Raises
    ------
    SettingsError
        If ``NEAREDGE_CONFIG_FILE`` names a file that does not exist.
    """
    named = environment.get(CONFIG_FILE_VARIABLE)
    if named:  # set to nothing is unset, as for the fields
        path = Path(named).expanduser()
        if not path.is_file():
            raise SettingsError(
                f"{CONFIG_FILE_VARIABLE} names {path}, which is no file: create it or unset it."
            )
        return path
    default = DEFAULT_CONFIG_FILE.expanduser()
    return default if default.is_file() else None


def load_settings(**overrides: object) -> Settings:
    """Read the settings afresh; `overrides` beat the environment and the file.

    Raises
    ------
    SettingsError
        If a key is unknown or a value does not fit, naming the key.
    """
    known = {PREFIX + name.upper() for name in Settings.model_fields} | _NOT_FIELDS
    unknown = sorted(
        k for k in os.environ if k.upper().startswith(PREFIX) and k.upper() not in known
    )
    if unknown:
        raise SettingsError(
            f"Unknown environment variable {unknown[0]}: NearEdge reads {', '.join(sorted(known))}."
        )
    try:
        return Settings(**overrides)  # type: ignore[arg-type]
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{config_file()} is not valid YAML: {error}") from None
    except ValidationError as error:
        if (of_queue := sentence(error)) is not None:
            raise SettingsError(f"{of_queue} (looked in {_sources('queue')}).") from None
        first = error.errors(include_input=False, include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise SettingsError(
            f"Setting {key!r}: {first['msg']} (looked in {_sources(str(first['loc'][0]))})."
        ) from None


def _sources(name: str) -> str:
    file = config_file() or DEFAULT_CONFIG_FILE
    return f"arguments, {PREFIX}{name.upper()} and {file}"


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """Return this process's settings, read once."""
    return load_settings()
