"""Uploads on pages, and to a real server."""

import hashlib
import socket
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import override_settings

from orchestration.runs.models import InputFile, Run, Upload
from tests.api_builders import token_of
from tests.builders import (
    end_dry_runs,
)
from tests.console_builders import codes, signed_in, words
from tests.web.upload_builders import (
    BYTES,
    CONTENT,
    PLAN,
    SHA256,
    drafts,
    stored,
)
from tests.web_server import serving

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.usefixtures("registry", "operator", "clean_store"),
]


def a_file(content: bytes = CONTENT, name: str = "amounts.csv") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, content)


def test_the_page_uploads_a_file_and_remembers_it(proposer) -> None:
    client = signed_in(proposer)

    opened = client.post("/plans/check", {"text": PLAN})
    page = client.post("/plans/check", {"text": PLAN, "file.doc": a_file()})
    file_id = str(Upload.objects.get().pk)
    # As a browser sends a field in which no file was chosen again.
    form = {"text": PLAN, "input.doc": file_id, "file.doc": ""}
    sent = client.post("/plans/propose", form)

    assert 'type="file" id="input-1" name="file.doc"' in opened.content.decode()
    shown = page.content.decode()
    assert f'name="input.doc" value="{file_id}"' in shown
    assert all(text in words(page) for text in ("amounts.csv", "Ready to propose"))
    assert sent.status_code == 302
    assert Run.objects.get().inputs["doc"]["$file"]["sha256"] == SHA256


def test_the_page_proposes_with_a_file_at_once(proposer) -> None:
    sent = signed_in(proposer).post(
        "/plans/propose", {"text": PLAN, "file.doc": a_file()}
    )

    assert sent.status_code == 302
    assert InputFile.objects.get().artifact_id == SHA256


@pytest.mark.parametrize(
    ("file", "message"),
    [
        pytest.param(
            a_file(b"12345678901"), "it is too large (max 10 bytes", id="large"
        ),
        pytest.param(a_file(b""), "it is empty", id="empty"),
        pytest.param(a_file(b"x", "a" * 201), "its name is too long", id="long name"),
    ],
)
def test_the_page_shows_a_refused_file_at_its_field(file, message, proposer) -> None:
    file.seek(0)
    with override_settings(MAX_UPLOAD_BYTES=10):
        page = signed_in(proposer).post(
            "/plans/propose", {"text": PLAN, "file.doc": file}
        )

    assert page.status_code == 422
    assert message in words(page)
    assert not Run.objects.exists()


def test_a_file_for_an_input_that_is_text_is_not_stored(proposer) -> None:
    text = PLAN.replace('"format": "file", ', "")

    page = signed_in(proposer).post(
        "/plans/check", {"text": text, "file.doc": a_file()}
    )

    assert "plan.input_invalid" in codes(page)
    assert not Upload.objects.exists()


def test_the_page_of_a_dry_run_names_the_file_again(proposer) -> None:
    client = signed_in(proposer)
    sent = client.post("/plans/dry-run", {"text": PLAN, "file.doc": a_file()})
    end_dry_runs()

    page = client.get(sent.headers["Location"])

    assert page.status_code == 200
    assert "amounts.csv" in words(page)
    assert "plan.input_invalid" not in codes(page)


def cut_connection(url: str, token: str, content: bytes) -> None:
    """Send half of a file, then close the connection."""
    at = urlsplit(url)
    with socket.create_connection((at.hostname, at.port)) as client:
        head = (
            "POST /api/v1/files?name=cut.bin HTTP/1.1",
            f"Host: {at.netloc}",
            f"Authorization: Bearer {token}",
            f"Content-Length: {len(content)}",
        )
        client.sendall("\r\n".join([*head, "", ""]).encode())
        client.sendall(content[: len(content) // 2])


@pytest.mark.django_db(transaction=True)
def test_a_real_server_streams_limits_and_survives_a_cut_connection(
    tmp_path, proposer
) -> None:
    token = token_of(proposer)
    large = b"0123456789abcdef" * (1 << 19)
    limit = {"EXECFABRIC_MAX_UPLOAD_BYTES": str(len(large))}
    store = str(Path(default_storage.path("")))
    with serving(tmp_path, **limit, EXECFABRIC_ARTIFACT_DIR=store) as url:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": BYTES}
        address = f"{url}/api/v1/files?name=large.bin"
        cut_connection(url, token, large)
        with httpx2.Client(headers=headers, trust_env=False, timeout=60) as client:
            exact = client.post(address, content=large)
            over = client.post(address, content=large + b"x")
            far_over = client.post(address, content=iter([large, large]))

    assert exact.status_code == 201, exact.text
    assert exact.json()["sha256"] == hashlib.sha256(large).hexdigest()
    assert (over.status_code, over.json()["code"]) == (413, "upload.too_large")
    assert (far_over.status_code, far_over.json()["code"]) == (413, "request.too_large")
    assert Upload.objects.count() == 1
    assert stored(exact.json()["sha256"]).stat().st_size == len(large)
    assert drafts() == []
