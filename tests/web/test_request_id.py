"""The id of a request, and how pages and files are compressed and cached."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from django.template.loader import render_to_string
from structlog.contextvars import bound_contextvars

from execfabric.web.problems import RequestUnreadable, problem
from tests.console_builders import signed_in
from tests.web_server import ROOT, serving

ID = re.compile(r"[0-9a-f]{16}")


def test_an_error_page_a_problem_and_the_log_have_the_id_of_the_request(
    transactional_db, tmp_path: Path
) -> None:
    static = {"EXECFABRIC_DATA_DIR": str(tmp_path), "EXECFABRIC_HASHED_STATIC": "true"}
    subprocess.run(
        [sys.executable, "manage.py", "collectstatic", "--no-input"],
        cwd=ROOT,
        env=os.environ | static,
        check=True,
        capture_output=True,
    )
    production = {"EXECFABRIC_ENV": "production", "EXECFABRIC_SSL_REDIRECT": "false"}
    with (
        serving(tmp_path, **static, **production) as url,
        httpx2.Client(base_url=url, trust_env=False) as client,
    ):
        problem_response = client.get("/api/v1/nothing")
        page = client.get("/accounts/login/")
        guarded = client.post("/accounts/login/", content=b"x" * 100_000)
        stylesheet = re.search(r'href="([^"]*/app\.[0-9a-f]{12}\.css)"', page.text)
        assert stylesheet
        file = client.get(stylesheet[1])

    request_id = problem_response.headers["X-Request-ID"]
    assert ID.fullmatch(request_id)
    assert problem_response.json()["request_id"] == request_id
    assert guarded.status_code == 413
    assert guarded.headers["X-Request-ID"] in guarded.text
    assert page.headers["Content-Encoding"] == "gzip"
    assert file.headers["Content-Encoding"] == "gzip"
    assert "immutable" in file.headers["Cache-Control"]
    lines = (tmp_path / "server.log").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    assert request_id in {entry.get("request_id") for entry in entries}


def test_without_the_collected_static_files_the_server_does_not_start(
    tmp_path: Path,
) -> None:
    static = {"EXECFABRIC_DATA_DIR": str(tmp_path), "EXECFABRIC_HASHED_STATIC": "true"}

    started = subprocess.run(
        [sys.executable, "-c", "import execfabric.asgi"],
        cwd=ROOT,
        env=os.environ | static,
        check=False,
        capture_output=True,
        text=True,
    )

    assert started.returncode == 1
    assert "has no static files. Run `manage.py collectstatic" in started.stderr


@pytest.mark.parametrize(
    "template",
    ["400", "403", "403_csrf", "404", "413", "500", "503", "web/_refusal"],
)
def test_every_error_page_shows_the_request_id(template: str) -> None:
    with bound_contextvars(request_id="0123456789abcdef"):
        page = render_to_string(f"{template}.html", {"refusal": RequestUnreadable()})

    assert "0123456789abcdef" in page


def test_a_problem_has_the_request_id() -> None:
    with bound_contextvars(request_id="0123456789abcdef"):
        body = json.loads(problem(RequestUnreadable()).content)

    assert body["request_id"] == "0123456789abcdef"


def test_a_missing_run_is_titled_not_found(operator) -> None:
    page = signed_in(operator).get("/runs/00000000-0000-7000-8000-000000000000")

    assert page.status_code == 404
    assert "<title>Not found" in page.content.decode()


def test_a_page_is_compressed_for_clients_that_accept_it(operator) -> None:
    page = signed_in(operator).get("/runs", headers={"Accept-Encoding": "gzip"})

    assert page["Content-Encoding"] == "gzip"
