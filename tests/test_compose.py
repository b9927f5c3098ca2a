"""docker-compose.yml: valid, without a default password, and closed but for the login proxy."""

from __future__ import annotations

import base64
import http.client
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from nearedge.launch.pool import worker_environment
from nearedge.settings import Settings

CHECKOUT = Path(__file__).resolve().parent.parent
COMPOSE = CHECKOUT / "docker-compose.yml"
PROXY = CHECKOUT / "docker" / "proxy"
PASSWORD = "a-password-for-this-test"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load(COMPOSE.read_text())


def variables(text: str) -> dict[str, str]:
    """Return each ``${NAME...}`` of `text` with what follows the name."""
    return dict(re.findall(r"\$\{([A-Z_]+)([^}]*)\}", text))


def check_schema(path: Path) -> subprocess.CompletedProcess[str]:
    command = ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)]
    program = Path(sys.executable).parent / command[0]
    return subprocess.run([program, *command[1:]], capture_output=True, text=True, check=False)


def test_it_follows_the_compose_specification(tmp_path: Path) -> None:
    checked = check_schema(COMPOSE)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    wrong = tmp_path / "docker-compose.yml"
    wrong.write_text(COMPOSE.read_text().replace("restart:", "restarts:"))
    assert check_schema(wrong).returncode != 0


def test_every_password_is_required_and_none_has_a_default() -> None:
    passwords = {k: v for k, v in variables(COMPOSE.read_text()).items() if "PASSWORD" in k}
    assert len(passwords) >= 4
    assert all(rest.startswith(":?") for rest in passwords.values()), passwords
    for line in (CHECKOUT / "docker" / "example.env").read_text().splitlines():
        if "PASSWORD" in line:
            assert line.endswith("="), f"a password is given away in example.env: {line}"


def test_the_example_environment_names_every_variable() -> None:
    named = set(re.findall(r"(NEAREDGE_[A-Z_]+)=", (CHECKOUT / "docker/example.env").read_text()))
    assert named == set(variables(COMPOSE.read_text()))


def test_only_the_login_proxy_publishes_a_port_and_on_loopback(compose: dict[str, Any]) -> None:
    published = {name: s["ports"] for name, s in compose["services"].items() if "ports" in s}
    assert set(published) == {"proxy"}
    assert all(port.startswith("127.0.0.1:") for port in published["proxy"])
    assert all(s.get("network_mode") != "host" for s in compose["services"].values())


def test_the_page_is_out_of_reach_of_everything_but_the_proxy(compose: dict[str, Any]) -> None:
    page = compose["services"]["page"]
    assert page["network_mode"] == "service:proxy"
    assert page["command"][-3:] == ["--port", "5000", "--behind-proxy"]
    assert "127.0.0.1:5000" in (PROXY / "start.sh").read_text()


def test_mongodb_asks_for_a_password_and_runs_no_javascript(compose: dict[str, Any]) -> None:
    mongo = compose["services"]["mongo"]
    assert {"--auth", "--noscripting"} <= set(mongo["command"])
    assert mongo["networks"] == ["database"]
    assert compose["networks"]["database"]["internal"] is True


def test_who_only_looks_has_a_user_that_reads_the_spectra_and_nothing_else(
    compose: dict[str, Any],
) -> None:
    made = (CHECKOUT / "docker" / "mongo" / "create-user.js").read_text()
    users = re.findall(r"createUser\(\{\s*user: \"(\w+)\",.*?roles: (\[.*?\]),\s*\}\)", made, re.S)
    roles = {user: re.findall(r"role: \"(\w+)\", db: (\S+) \}", given) for user, given in users}
    assert roles == {
        "nearedge": [("readWrite", "name"), ("readWrite", "`${name}_launchpad`")],
        "reader": [("read", "name")],
    }
    reader = compose["services"]["reader"]
    assert "mongodb://reader:" in reader["environment"]["NEAREDGE_MONGO_URI"]
    assert "NEAREDGE_MONGO_PASSWORD" not in str(reader)
    assert reader["networks"] == ["database"]


def test_every_file_that_an_image_is_built_from_exists(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        if build := service.get("build"):
            context = CHECKOUT / build["context"]
            dockerfile = context / build.get("dockerfile", "Dockerfile")
            copied = re.findall(r"^COPY (.+) \S+$", dockerfile.read_text(), re.MULTILINE)
            assert copied
            for source in " ".join(copied).split():
                assert (context / source).exists(), f"{dockerfile} copies {source}"


class FakePage(BaseHTTPRequestHandler):
    """Stands for the FireWorks page; says what the proxy handed on."""

    def do_GET(self) -> None:
        body = f"the page; authorization: {self.headers['Authorization']}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def fake_page() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), FakePage)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_proxy(folder: Path, port: int, page: str, password: str) -> subprocess.Popen[bytes]:
    # As root, nginx would serve as another user, who may not enter the test's folder.
    as_root = ["-g", "user root;"] if os.geteuid() == 0 else []
    return subprocess.Popen(
        [str(PROXY / "start.sh"), *as_root],
        env={
            "PATH": os.environ["PATH"] + ":/usr/sbin",
            "NEAREDGE_PROXY_FOLDER": str(folder),
            "NEAREDGE_PROXY_LISTEN": f"127.0.0.1:{port}",
            "NEAREDGE_PROXY_PAGE": page,
            "NEAREDGE_PAGE_USER": "reader",
            "NEAREDGE_PAGE_PASSWORD": password,
        },
        stderr=subprocess.PIPE,
    )


@pytest.fixture
def need_nginx(need: Callable[[object, str], None]) -> None:
    nginx = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
    need(nginx, "nginx is not installed (Debian: apt-get install nginx-light)")


def get(port: int, path: str, password: str | None, method: str = "GET") -> tuple[int, str]:
    headers = {}
    if password is not None:
        headers["Authorization"] = (
            "Basic " + base64.b64encode(f"reader:{password}".encode()).decode()
        )
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask until it has ended: a server that is only just starting may miss the first time."""
    for _ in range(5):
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=10)
            return
    process.kill()
    process.communicate()


@contextmanager
def serving(process: subprocess.Popen[bytes], port: int) -> Iterator[int]:
    """Wait until `process` answers on `port`; end it at the end."""
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, process.communicate()[1].decode()
            time.sleep(0.05)
        yield port
    finally:
        end(process)


@pytest.fixture
def proxy(need_nginx: None, fake_page: str, tmp_path: Path) -> Iterator[int]:
    port = free_port()
    with serving(start_proxy(tmp_path, port, fake_page, PASSWORD), port):
        yield port


@pytest.mark.integration
def test_the_proxy_asks_for_the_password_on_every_path(proxy: int, tmp_path: Path) -> None:
    for path in ("/", "/fw/1", "/reports/fworks/days/30/fig.png", "/static/style.css"):
        assert get(proxy, path, None)[0] == 401
        assert get(proxy, path, PASSWORD + "x")[0] == 401
        assert get(proxy, path, PASSWORD) == (200, "the page; authorization: None")
    assert get(proxy, "/", PASSWORD, method="POST")[0] == 403
    written = (tmp_path / "users").read_text()
    assert PASSWORD not in written
    assert (tmp_path / "users").stat().st_mode & 0o077 == 0


@pytest.mark.integration
def test_the_fireworks_page_is_seen_through_the_proxy_alone(
    need_nginx: None, embedded_settings: Settings, tmp_path: Path
) -> None:
    page, port = free_port(), free_port()
    address = f"127.0.0.1:{page}"
    command = [sys.executable, "-P", "-m", "nearedge.launch.webpage.server", "--behind-proxy"]
    gunicorn = subprocess.Popen(
        [*command, "--port", str(page)],
        env=worker_environment(embedded_settings),
        stderr=subprocess.PIPE,
        cwd=tmp_path,
    )
    # Started once the page is up: should that fail, no proxy is left behind.
    with serving(gunicorn, page), serving(start_proxy(tmp_path, port, address, PASSWORD), port):
        assert get(port, "/", None)[0] == 401
        status, html = get(port, "/", PASSWORD)
        assert (status, "FireWorks" in html) == (200, True)
        assert get(port, "/wf/", PASSWORD)[0] == 200
        assert get(port, "/wf/1", PASSWORD)[0] == 404


@pytest.mark.integration
@pytest.mark.parametrize("password", ["", "short"])
def test_the_proxy_does_not_start_without_a_real_password(
    need_nginx: None, tmp_path: Path, password: str
) -> None:
    process = start_proxy(tmp_path, free_port(), "127.0.0.1:9", password)
    said = process.communicate(timeout=20)[1].decode()
    assert process.returncode != 0
    assert "NEAREDGE_PAGE_PASSWORD" in said
