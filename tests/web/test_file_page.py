"""The page of a file: its preview is bounded and harmless, its lineage goes both ways."""

from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.test import Client

from execfabric.lib import clock
from execfabric.lib.rights import Role
from orchestration.runs.control import uploads
from orchestration.runs.domain import preview
from orchestration.runs.domain.preview import PreviewKind, preview_of
from tests.api_builders import Caller, caller, person, token_of
from tests.builders import approved, driven, plan, step
from tests.console_builders import signed_in, words

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registry", "operator")]
PNG = b"\x89PNG\r\n\x1a\n" + bytes(16)
SCRIPT = b"<h1>Hello</h1><script>parent.document.title = 'taken'</script>"


def page_of(user: Any, content: bytes, name: str) -> tuple[Client, str, Any]:
    file = uploads.store(chunks=[content], name=name, by=user.actor(), at=clock.now())
    client = signed_in(user)
    return client, file.artifact_id, client.get(f"/artifacts/{file.artifact_id}")


def kind_of(page: Any) -> str:
    return str(page.content.decode().split('data-kind="')[1].split('"')[0])


@pytest.mark.parametrize(
    ("content", "name", "kind", "text"),
    [
        pytest.param(b"one\ntwo", "a.txt", "text", "one", id="text"),
        pytest.param(b"", "a.csv", "text", "", id="empty table"),
        pytest.param(b"a,b\n1,2\n", "a.csv", "table", "a b", id="table"),
        pytest.param(b'"a\n1,2\n', "a.csv", "text", "1,2", id="broken table"),
        pytest.param(b"a\tb\n1\t2\n", "a.tsv", "table", "a b", id="tabs"),
        pytest.param(b'{"k": [1]}', "a.json", "json", "k", id="json"),
        pytest.param(b'{"k": [1', "a.json", "text", "[1", id="broken json"),
        pytest.param(b"[" * 5000, "a.json", "text", "[[", id="deep json"),
        pytest.param(b"[NaN]", "a.json", "text", "NaN", id="not a number"),
        pytest.param(PNG, "a.png", "image", "", id="image"),
        pytest.param(b"no image", "a.png", "text", "no image", id="false image"),
        pytest.param(b"<svg xmlns='x'/>", "a.svg", "image", "", id="vector image"),
        pytest.param(SCRIPT, "a.html", "html", "Source", id="web page"),
        pytest.param(b"%PDF-1.7", "a.pdf", "pdf", "PDF viewer", id="pdf"),
        pytest.param(SCRIPT, "a.pdf", "none", "no preview", id="false pdf"),
        pytest.param(b"\0\1\2", "a.bin", "none", "no preview", id="binary"),
        pytest.param(b"\xff\xfe", "a.txt", "none", "no preview", id="not UTF-8"),
        pytest.param(b"x", "a", "text", "x", id="no suffix"),
    ],
)
def test_each_type_has_its_preview(content, name, kind, text, proposer) -> None:
    if content:
        _, _, page = page_of(proposer, content, name)
        assert page.status_code == 200
        assert kind_of(page) == kind
        assert text in words(page)
    else:
        assert preview_of("text/csv", 0, b"").kind == kind


def test_a_large_file_shows_its_start_and_says_so(proposer) -> None:
    line = b"a,b\n"
    rows = preview_of("text/csv", 10**9, line * (preview.START // 4))
    wide = preview_of("text/csv", 200, b"x," * 99 + b"x\n")
    _, _, page = page_of(proposer, b"word " * 100_000, "large.txt")

    assert len(rows.rows) == preview.ROWS
    assert rows.note.startswith("Showing the first 100 rows.")
    assert (len(wide.header), "of 100 columns" in wide.note) == (preview.COLUMNS, True)
    assert "Showing the first 16,384 of 500,000 bytes." in words(page)
    assert len(page.content) < 100_000


def test_a_character_that_is_cut_at_the_end_is_left_out() -> None:
    start = ("é" * preview.START).encode()[: preview.START - 1]

    assert preview_of("text/plain", 10**6, start).kind is PreviewKind.TEXT


def test_a_large_web_page_is_shown_as_text() -> None:
    size = preview.MAX_FRAME + 1

    assert preview_of("text/html", size, b"<p>").kind is PreviewKind.TEXT


@pytest.mark.parametrize("name", ["a.html", "a.svg"])
def test_rendered_content_has_no_scripts_no_network_and_no_origin(
    name, proposer
) -> None:
    content = SCRIPT if name == "a.html" else b"<svg><script>1</script></svg>"
    client, sha256, page = page_of(proposer, content, name)

    framed = client.get(f"/artifacts/{sha256}/view")

    assert b"".join(framed.streaming_content) == content
    policy = framed.headers["Content-Security-Policy"]
    assert policy.startswith("sandbox; default-src 'none'")
    assert "allow-" not in policy
    assert "script-src" not in policy
    assert framed.headers["X-Content-Type-Options"] == "nosniff"
    assert framed.headers["X-Frame-Options"] == "SAMEORIGIN"
    assert "frame-src 'self'" in page.headers["Content-Security-Policy"]
    shown = page.content.decode()
    assert "<script>parent" not in shown
    if name == "a.html":
        assert " sandbox " in shown.split("<iframe")[1].split(">")[0]
        assert "allow-" not in shown.split("<iframe")[1].split(">")[0]


@pytest.mark.parametrize(
    ("content", "name"),
    [(b"text", "a.txt"), (b"{}", "a.json"), (SCRIPT, "a.pdf"), (b"x", "a.js")],
)
def test_other_content_is_never_sent_as_what_it_is(content, name, proposer) -> None:
    client, sha256, _ = page_of(proposer, content, name)

    assert client.get(f"/artifacts/{sha256}/view").status_code == 404
    download = client.get(f"/artifacts/{sha256}/download")
    assert b"".join(download.streaming_content) == content
    assert download.headers["Content-Type"] == "application/octet-stream"
    assert download.headers["Content-Disposition"].startswith("attachment")


def test_a_pdf_file_is_only_ever_sent_as_one(proposer) -> None:
    client, sha256, page = page_of(proposer, b"%PDF-1.7 <script>1</script>", "a.pdf")

    framed = client.get(f"/artifacts/{sha256}/view")

    assert b"".join(framed.streaming_content).startswith(b"%PDF-")
    assert framed.headers["Content-Type"] == "application/pdf"
    assert framed.headers["X-Content-Type-Options"] == "nosniff"
    policy = framed.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; object-src 'self';")
    assert "script-src" not in policy
    assert "frame-ancestors 'self'" in policy
    assert "frame-src 'self'" in page.headers["Content-Security-Policy"]


def test_hostile_names_and_contents_are_text(proposer) -> None:
    name = '"><img src=x onerror=alert(1)>\u202e.csv'
    _, _, page = page_of(proposer, b"<b>a</b>,\xe2\x80\xaeb\n=1+1,2\n", name)

    shown = page.content.decode()
    assert "<img src=x" not in shown
    assert "<b>a</b>" not in shown
    assert "⟦U+202E⟧" in shown
    assert kind_of(page) == "table"


def test_only_who_may_read_a_file_sees_its_pages(proposer) -> None:
    _, sha256, _ = page_of(proposer, b"mine alone", "a.html")
    stranger = signed_in(person("stranger", Role.PROPOSER))

    for part in ("", "/view", "/download"):
        assert stranger.get(f"/artifacts/{sha256}{part}").status_code == 404
    api = caller("other", Role.PROPOSER)
    assert api.get(f"artifacts/{sha256}/lineage").status_code == 404


def test_a_file_whose_content_is_gone_says_so(proposer) -> None:
    client, sha256, _ = page_of(proposer, b"gone soon", "a.txt")
    default_storage.delete(f"{sha256[:2]}/{sha256}")

    page = client.get(f"/artifacts/{sha256}")

    assert page.status_code == 200
    assert "missing in the artifact store" in words(page)


def test_the_lineage_goes_forwards_and_backwards(proposer, operator, worker) -> None:
    file = uploads.store(
        chunks=[b"source words"], name="in.txt", by=proposer.actor(), at=clock.now()
    )
    properties = {"doc": {"type": "string", "format": "file"}}
    text = plan(
        step("take", "read", params={"file": "$inputs.doc"}),
        step("note", "write", params={"text": "Copy of $take.output.text", "also": "$inputs.doc"}, after="take"),
        step("use", "read", params={"file": "$note.files.note"}, after="note"),
        inputs={"type": "object", "properties": properties},
    )  # fmt: skip
    run = driven(approved(text, proposer, operator, doc=str(file.pk)), worker)
    note = run.steps.get(key="note").files["note"]["$file"]["sha256"]
    api = Caller(token_of(proposer))

    source = api.get(f"artifacts/{file.artifact_id}/lineage").json()
    made = api.get(f"artifacts/{note}/lineage").json()
    page = words(signed_in(proposer).get(f"/artifacts/{note}"))
    uploaded = words(signed_in(proposer).get(f"/artifacts/{file.artifact_id}"))

    assert source["inputs"] == [
        {"run_id": str(run.pk), "state": "succeeded", "name": "doc"}
    ]
    assert source["producers"] == []
    receivers = {one["step"]: one["files"] for one in source["receivers"]}
    assert receivers.keys() == {"take", "note"}
    assert [one["sha256"] for one in receivers["note"]] == [note]
    [producer] = made["producers"]
    assert producer["step"] == "note"
    assert [one["sha256"] for one in producer["files"]] == [file.artifact_id]
    assert [one["step"] for one in made["receivers"]] == ["use"]
    assert made["inputs"] == []
    assert "Step note of" in page
    assert "as input doc" in uploaded
