"""A server of the S3 protocol over HTTP on loopback, which a test may cut off: moto's, or your own.

Your own is that of S3_TEST_PORT on 127.0.0.1, with the credentials S3_TEST_ID and S3_TEST_SECRET.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from nearedge.settings import Settings


class Relay:
    """Passes connections on to a server on loopback, and can be away as a network can."""

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._serve()

    def away(self) -> None:
        """Refuse connections, and cut those that are open."""
        for each in (self._listener, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._open.clear()

    def back(self) -> None:
        """Be there again, on the same port."""
        if self._listener.fileno() != -1:
            return
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._serve()

    def _serve(self) -> None:
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):  # closed
            while True:
                caller, _ = listener.accept()
                called = socket.create_connection(self._target)
                self._open += [caller, called]
                for pair in ((caller, called), (called, caller)):
                    threading.Thread(target=self._pass_on, args=pair, daemon=True).start()

    @staticmethod
    def _pass_on(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@dataclass(frozen=True)
class S3:
    """An empty bucket of a server of the S3 protocol, reached by HTTP."""

    bucket: str
    relay: Relay
    client: Any

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.relay.port}"

    @property
    def keys(self) -> tuple[str, str]:
        """The credentials that reach it."""
        return S3_ID, S3_SECRET

    def settings(self, settings: Settings) -> Settings:
        """Return settings whose blobs are in the bucket, and whose database is there."""
        update = {"blobs": f"s3://{self.bucket}/blobs", "blobs_endpoint": self.endpoint}
        return settings.model_copy(update=update)

    def names(self) -> list[str]:
        """Return the names of all objects but NearEdge's own."""
        found = self.client.list_objects_v2(Bucket=self.bucket).get("Contents", [])
        return [each["Key"] for each in found if not each["Key"].endswith("nearedge.json")]


S3_ID = os.environ.get("S3_TEST_ID", "an-id-of-a-key-7a8b9c")
S3_SECRET = os.environ.get("S3_TEST_SECRET", "a-secret-of-the-storage-0d1e2f")


@pytest.fixture(scope="session")
def s3_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Start moto's server as a process of its own, unless another is named."""
    if (named := os.environ.get("S3_TEST_PORT")) is not None:
        yield int(named)
        return
    log = tmp_path_factory.mktemp("s3") / "log"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + 60
        while not (told := re.search(r"http://127\.0\.0\.1:(\d+)", log.read_text())):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield int(told[1])
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def s3_server(s3_port: int) -> Iterator[tuple[Relay, Any]]:
    """Return the way to the server, and a client."""
    relay = Relay(s3_port)
    client = boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{relay.port}",
        region_name="us-east-1",
        aws_access_key_id=S3_ID,
        aws_secret_access_key=S3_SECRET,
        config=Config(s3={"addressing_style": "path"}),
    )
    yield relay, client
    relay.away()


@pytest.fixture
def s3(
    s3_server: tuple[Relay, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[S3]:
    """Return a bucket of the test's own; the credentials are in the environment, as boto3 wants."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", S3_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", S3_SECRET)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "no-such-file"))
    relay, client = s3_server
    bucket = f"test-{uuid.uuid4().hex[:12]}"
    client.create_bucket(Bucket=bucket)
    yield S3(bucket, relay, client)
    relay.back()
