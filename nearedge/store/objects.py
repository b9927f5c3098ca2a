"""Bytes in a bucket of S3-compatible storage, under names that are never written twice.

By boto3, which finds credentials by itself: in the environment, a profile, or the machine's role.
Nothing here ever holds or states one.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeVar

from nearedge.errors import DatabaseError, DatabaseUnavailable, ForeignDatabase, SettingsError
from nearedge.store.operations import MongoDatabase

if TYPE_CHECKING:
    from nearedge.settings import Settings

_OWNER = "nearedge.json"
"""The object that says whose database keeps its blobs here; a reachable bucket would not."""
_THREADS = 8
_ANSWER_SECONDS = 60.0
_REGION = "us-east-1"
"""What requests are signed for where nothing names a region; storage of one's own ignores it."""
_AWAY = {"SlowDown", "RequestTimeout", "Throttling", "ThrottlingException", "ServiceUnavailable"}

T = TypeVar("T")


class ObjectStorage:
    """A prefix of a bucket.

    Parameters
    ----------
    place
        As ``s3://bucket/prefix``.
    endpoint
        URL of the storage; None: where boto3 is configured to look.
    patience
        Seconds to wait for a connection.
    """

    def __init__(self, place: str, endpoint: str | None = None, patience: float = 10.0) -> None:
        self.place = place
        self.endpoint = endpoint
        self._bucket, _, prefix = place.removeprefix("s3://").partition("/")
        self._prefix = f"{prefix}/" if prefix else ""
        self._patience = patience
        self._made: tuple[int, Any] | None = None
        self._making = threading.Lock()
        self._checked: set[str] = set()

    @property
    def where(self) -> str:
        """What it is called in messages."""
        return self.place if self.endpoint is None else f"{self.place} at {self.endpoint}"

    def owner(self) -> str | None:
        """Return the instance of NearEdge whose blobs are here, or None where nobody's are."""
        found = self.get(_OWNER)
        try:
            return None if found is None else str(json.loads(found)["instance"])
        except (ValueError, TypeError, KeyError):
            raise ForeignDatabase(
                f"{_OWNER} in {self.where} is not NearEdge's: name another prefix in "
                "NEAREDGE_BLOBS."
            ) from None

    def refuse_owned(self) -> None:
        """Raise if any instance keeps its blobs here.

        Raises
        ------
        ForeignDatabase
            If one does.
        """
        if (owner := self.owner()) is not None:
            raise self._of_another(owner)

    def claim(self, instance: str) -> None:
        """Make it the place of this instance's blobs, unless it is another's.

        Raises
        ------
        ForeignDatabase
            If another instance keeps its blobs here.
        """
        if self.owner() is None:
            self._put_one(_OWNER, json.dumps({"instance": instance}).encode())
        self.check(instance)

    def check(self, instance: str) -> None:
        """Raise unless the blobs of this instance are here; asked once.

        Raises
        ------
        ForeignDatabase
            If they are not: a mistaken endpoint, say, with a bucket of the same name.
        DatabaseUnavailable
            If nothing answers.
        """
        if instance in self._checked:
            return
        owner = self.owner()
        if owner is None:
            raise ForeignDatabase(
                f"{self.where} holds no blobs of NearEdge: correct NEAREDGE_BLOBS and "
                "NEAREDGE_BLOBS_ENDPOINT."
            )
        if owner != instance:
            raise self._of_another(owner)
        self._checked.add(instance)

    def put_many(self, contents: Mapping[str, bytes]) -> None:
        """Store objects under names that are not taken; each is there whole or not at all."""
        self._side_by_side(lambda name: self._put_one(name, contents[name]), contents)

    def get(self, name: str) -> bytes | None:
        """Return an object, or None if there is none of that name."""
        with self._errors():
            try:
                found: bytes = self._client.get_object(**self._named(name))["Body"].read()
            except self._client.exceptions.NoSuchKey:
                return None
            return found

    def get_many(self, names: Collection[str]) -> dict[str, bytes]:
        """Return objects by name, those left out that are not there."""
        found = self._side_by_side(lambda name: (name, self.get(name)), names)
        return {name: content for name, content in found if content is not None}

    def remove(self, names: Collection[str]) -> None:
        """Remove objects; one that is not there is no error."""

        def one(name: str) -> None:
            with self._errors():
                self._client.delete_object(**self._named(name))

        self._side_by_side(one, names)

    def names(self, *, older_than: timedelta = timedelta(0)) -> Iterator[str]:
        """Yield the names of objects stored at least `older_than` ago, by the storage's clock."""
        with self._errors():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix
            )
            for page in pages:
                # Both by one clock, whatever this machine's says.
                stated = parsedate_to_datetime(page["ResponseMetadata"]["HTTPHeaders"]["date"])
                before = stated.astimezone(UTC) - older_than
                for found in page.get("Contents", ()):
                    name = str(found["Key"]).removeprefix(self._prefix)
                    if found["LastModified"] <= before and name != _OWNER:
                        yield name

    def _put_one(self, name: str, content: bytes) -> None:
        digest = hashlib.md5(content, usedforsecurity=False).digest()
        with self._errors():
            # Its hash, so that the storage refuses what was spoiled on the way.
            self._client.put_object(
                **self._named(name), Body=content, ContentMD5=base64.b64encode(digest).decode()
            )

    def _named(self, name: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + name}

    def _side_by_side(self, call: Callable[[str], T], names: Collection[str]) -> list[T]:
        if len(names) < 2:
            return [call(name) for name in names]
        with ThreadPoolExecutor(min(_THREADS, len(names)), "objects") as pool:
            return list(pool.map(call, names))

    @property
    def _client(self) -> Any:
        """This process's client of the storage."""
        with self._making:
            if self._made is None or self._made[0] != os.getpid():
                self._made = (os.getpid(), self._new_client())
            return self._made[1]

    def _new_client(self) -> Any:
        # Here, because they take a quarter of a second, of every verb.
        import boto3  # noqa: PLC0415
        from botocore.config import Config  # noqa: PLC0415

        session = boto3.Session()
        config = Config(
            connect_timeout=self._patience,
            read_timeout=max(_ANSWER_SECONDS, self._patience),
            retries={"mode": "standard", "max_attempts": 3},
            max_pool_connections=_THREADS,
            # Storage of one's own seldom has a host for each bucket, nor all of Amazon's checksums.
            s3={"addressing_style": "auto" if self.endpoint is None else "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        return session.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=session.region_name or _REGION,
            config=config,
        )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn what boto3 raises inside the block into an error of NearEdge with one sentence."""
        from botocore import exceptions as of_boto  # noqa: PLC0415

        try:
            yield
        except (
            of_boto.NoCredentialsError,
            of_boto.PartialCredentialsError,
            of_boto.CredentialRetrievalError,
            of_boto.ProfileNotFound,
        ) as error:
            raise SettingsError(
                f"boto3 finds no credentials for {self.where}: give them in AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY, in a profile (AWS_PROFILE), or by the machine's role."
            ) from error
        except of_boto.ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", "unnamed"))
            status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
            if status >= 500 or status == 429 or code in _AWAY:
                raise self._away(f"it says {code}") from error
            if status in (401, 403):
                raise DatabaseError(
                    f"{self.where} refuses these credentials ({code}): they need to get, put, "
                    "delete and list objects there; see docs/object-storage.md."
                ) from error
            raise DatabaseError(f"{self.where} refused an operation: {code}.") from error
        except of_boto.BotoCoreError as error:
            # What it says may be an address with all that stands in it.
            raise self._away(type(error).__name__) from error

    def _of_another(self, owner: str) -> ForeignDatabase:
        return ForeignDatabase(
            f"{self.where} holds the blobs of another database (of instance {owner}): name a "
            "prefix of its own in NEAREDGE_BLOBS."
        )

    def _away(self, reason: str) -> DatabaseUnavailable:
        return DatabaseUnavailable(
            f"The storage of blobs does not answer, {self.where} ({reason}): start it, or check "
            "NEAREDGE_BLOBS_ENDPOINT; `nearedge doctor` looks for it."
        )


_storages: dict[tuple[str, str | None, float], ObjectStorage] = {}
_of_databases: dict[MongoDatabase, tuple[ObjectStorage, str]] = {}


def configured_storage(settings: Settings) -> ObjectStorage | None:
    """Return the storage that settings name, or None; one for each place and process."""
    if settings.blobs is None:
        return None
    key = (settings.blobs, settings.blobs_endpoint, settings.database_timeout)
    if key not in _storages:
        _storages[key] = ObjectStorage(*key)
    return _storages[key]


def use_storage(database: MongoDatabase, storage: ObjectStorage | None, instance: str) -> None:
    """Let the blobs of a database, of that instance, be in `storage`; None: in the database."""
    if storage is None:
        _of_databases.pop(database, None)
    else:
        _of_databases[database] = (storage, instance)


def storage_of(database: MongoDatabase) -> ObjectStorage | None:
    """Return where the blobs of a database are; None: in the database itself.

    Raises
    ------
    ForeignDatabase
        If what answers there has the blobs of another, or none.
    DatabaseUnavailable
        If nothing answers.
    """
    if (found := _of_databases.get(database)) is None:
        return None
    storage, instance = found
    storage.check(instance)
    return storage
