"""The web page as a user meets it: the real server on loopback, the real embedded database."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import Message
from pathlib import Path
from urllib.parse import quote, urlsplit

import matplotlib.image
import numpy as np
import pytest
from fireworks import Firework, Workflow

from nearedge.errors import LaunchError
from nearedge.launch.fireworks import ensure_launchpad_indexes, launchpad
from nearedge.launch.webpage.lifecycle import WebPage
from nearedge.settings import Settings
from nearedge.store.connection import client, connect, initialize

pytestmark = pytest.mark.integration

PASSWORD = "a password for tests"
HTML = (
    "/", "/projects/", "/projects/oxides/", "/wf/", "/wf/1", "/wf/READY/", "/fw/", "/fw/1",
    "/fw/READY/created_on/ASCENDING/?page=1", "/wf/metadata/of/tests/", "/dashboard/",
    "/report/hours/12/", '/?fw_query={"name": "idle"}',
)  # fmt: skip
OTHERS = ("/wf/1/json", "/fw/1/details", "/nearedge/jquery.min.js", "/static/js/dagre.js")
IMAGE = "/reports/fireworks/days/7/fig.png"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Message
    body: str


@dataclass(frozen=True)
class Visitor:
    base: str

    def get(self, path: str, password: str | None = PASSWORD, *, method: str = "GET") -> Answer:
        request = urllib.request.Request(self.base + quote(path, safe="/?=&%"), method=method)
        if password is not None:
            token = base64.b64encode(f"nearedge:{password}".encode()).decode()
            request.add_header("Authorization", f"Basic {token}")
        try:
            with urllib.request.urlopen(request, timeout=60) as got:
                return Answer(got.status, got.headers, got.read().decode("utf-8", "replace"))
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.headers, error.read().decode("utf-8", "replace"))


@pytest.fixture(scope="module")
def settings(embedded_server: Settings) -> Iterator[Settings]:
    name = f"test_{uuid.uuid4().hex[:12]}"
    settings = embedded_server.model_copy(update={"database": name, "webgui_password": None})
    initialize(settings)
    yield settings
    for database in (settings.database, settings.launchpad_database):
        client(settings).drop_database(database)


@pytest.fixture(scope="module")
def visitor(settings: Settings, idle: Callable[..., Firework]) -> Iterator[Visitor]:
    pad = launchpad(settings)
    ensure_launchpad_indexes(pad)
    about = {"kind": "site", "project": "oxides", "code": "feff", "label": "<b>TiO2</b> Ti0 K"}
    first = idle(nearedge=about)
    average = idle(parents=[first], nearedge={"kind": "average", "project": "oxides"})
    for name in ("one", "two"):
        pad.add_wf(Workflow([first, average], name=name, metadata={"of": "tests"}))
    second = {"fw_id": {"$gte": 3}, "spec.nearedge.kind": "site"}
    pad.fireworks.update_one(second, {"$set": {"state": "FIZZLED"}})
    calculation = {"code": "feff", "state": "scf_not_converged", "projects": ["oxides"]}
    connect(settings)["calculations"].insert_one(
        {
            "_id": "failed",
            **calculation,
            "cpu_seconds": 7200.0,
            "origin": "run",
            "created_at": datetime.now(UTC),
        }
    )
    page = WebPage(settings)
    page.folder.mkdir(mode=0o700)
    (page.folder / "password").write_text(PASSWORD)
    (page.folder / "password").chmod(0o600)
    state = page.up()
    assert state.started
    assert state.url is not None
    parts = urlsplit(state.url)
    yield Visitor(f"{parts.scheme}://{parts.netloc}")
    assert page.down().ended
    assert not page.status().running


def test_every_path_asks_for_the_login(visitor: Visitor) -> None:
    for path in (*HTML, *OTHERS, IMAGE, "/no/such/path", "/fw/999"):
        assert visitor.get(path, None).status == 401, path
    assert visitor.get("/", PASSWORD + "x").status == 401
    assert visitor.get("/", "").status == 401


def test_every_page_answers_and_fetches_nothing_from_elsewhere(visitor: Visitor) -> None:
    wanted = set()
    for path in HTML:
        answer = visitor.get(path)
        assert answer.status == 200, path
        for tag in re.findall(r"<(?:script|link|img)[^>]*>", answer.body):
            wanted |= set(re.findall(r'(?:src|href)="([^"]+)"', tag))
        inline = re.findall(r"<script(?![^>]*nonce=)", answer.body)
        assert not inline, f"{path} has a script that its policy would not let run"
    outside = [each for each in wanted if not each.startswith("/") or each.startswith("//")]
    assert not outside
    assert "/nearedge/jquery.min.js" in wanted
    for path in sorted(wanted) + list(OTHERS):
        assert visitor.get(path).status == 200, path
    assert "jQuery" in visitor.get("/nearedge/jquery.min.js").body


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/fw/999", 404),
        ("/fw/999/details", 404),
        ("/wf/999", 404),
        ("/wf/999/json", 404),
        ("/wf/123456789012345678901234567890", 404),
        ("/fw/BOGUS/", 404),
        ("/fw/READY/$where/ASCENDING/", 404),
        ("/wf/READY/name/SIDEWAYS/", 404),
        ("/report/eons/", 404),
        ("/reports/secrets/days/7/fig.png", 404),
        ("/projects/none/", 404),
        ("/wf/metadata/of/nobody/", 404),
        ("/report/days/many/", 400),
        ("/report/days/100000/", 400),
        ("/fw/?page=-1", 400),
        ("/wf/?page=99999999999999999999", 400),
        ("/wf/metadata/$where/1/", 400),
        ("/wf/metadata/of/99999999999999999999/", 400),
        ("/projects/$ne/", 400),
        ('/?fw_query={"$where": "sleep(1000)"}', 400),
        ('/?wf_query={"a": [{"b": {"$gt": 1}}]}', 400),
        ('/?fw_query={"spec.$expr": 1}', 400),
        ("/?fw_query=" + "[" * 1200, 400),
        ("/?fw_query=" + "x" * 2001, 400),
    ],
)
def test_what_is_not_there_or_not_allowed_is_refused_and_no_error(
    visitor: Visitor, path: str, status: int
) -> None:
    answer = visitor.get(path)
    assert answer.status == status
    assert "Traceback" not in answer.body


def test_it_only_shows_things(visitor: Visitor) -> None:
    for method in ("POST", "PUT", "DELETE"):
        assert visitor.get("/", method=method).status == 405


def test_every_answer_carries_the_headers_that_keep_it_to_itself(visitor: Visitor) -> None:
    for path, password in (("/", PASSWORD), ("/", None), ("/fw/999", PASSWORD), (IMAGE, PASSWORD)):
        headers = visitor.get(path, password).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe-eval" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Cache-Control"] == "no-store"
    assert "unsafe-inline" not in policy.split("script-src")[1]


def test_a_project_shows_what_waits_and_failed_and_leads_to_the_jobs(visitor: Visitor) -> None:
    body = visitor.get("/projects/oxides/").body
    assert "scf_not_converged" in body
    assert "2.00" in body, "CPU hours"
    assert re.search(r'href="/fw/[34]"', body)
    assert "&lt;b&gt;TiO2&lt;/b&gt;" in body
    assert "<b>" not in body
    assert 'href="/projects/oxides/"' in visitor.get("/projects/").body


def test_it_is_found_again_and_runs_once(visitor: Visitor, settings: Settings) -> None:
    page = WebPage(settings)
    state = page.up()
    assert not state.started
    assert state.url == f"{visitor.base}/projects/"
    taken = int(urlsplit(visitor.base).port or 0)
    with pytest.raises(LaunchError, match=f"runs on port {taken}"):
        page.up(taken + 1)
    assert PASSWORD not in page.status().detail
    assert PASSWORD not in page.log.read_text()
    other = WebPage(settings.model_copy(update={"home": settings.home / "other"}))
    other.folder.mkdir(parents=True)
    with pytest.raises(LaunchError, match="in use"):
        other.up(taken)


def test_a_password_that_others_can_read_is_refused(settings: Settings, tmp_path: Path) -> None:
    page = WebPage(settings.model_copy(update={"home": tmp_path}))
    page.folder.mkdir()
    (page.folder / "password").write_text("a password for everyone")
    (page.folder / "password").chmod(0o644)
    with pytest.raises(LaunchError, match="can be read by others"):
        page.up()


CHROMIUM = (
    "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--virtual-time-budget=8000",
    "--window-size=1200,900",
)  # fmt: skip


@pytest.mark.slow
def test_a_browser_without_a_network_draws_the_graph(
    visitor: Visitor, need: Callable[[object, str], None], tmp_path: Path
) -> None:
    need(shutil.which("chromium"), "chromium is not installed: apt install chromium")
    url = visitor.base.replace("//", f"//nearedge:{quote(PASSWORD)}@") + "/wf/1"

    def browse(*options: str) -> str:
        profile = f"--user-data-dir={tmp_path / 'profile'}"
        command = [*CHROMIUM, profile, *options, url]
        ran = subprocess.run(command, capture_output=True, timeout=120, text=True, check=True)
        return ran.stdout

    dom = browse("--dump-dom")
    assert dom.count("<canvas") == 3, "cytoscape draws on three"
    assert "jsonview" in dom, "the tree of the workflow's JSON"
    browse(f"--screenshot={tmp_path / 'graph.png'}")
    picture = (matplotlib.image.imread(tmp_path / "graph.png")[..., :3] * 255).round()
    for colour in ((0x2E, 0x92, 0xF2), (0x1F, 0x62, 0xA2)):  # READY, WAITING
        pixels = np.abs(picture - colour).max(axis=-1) <= 2
        assert pixels[200:680].sum() > 5000, "a node of the graph has this colour"
