"""Artifacts are found by name, read with their chain, archived, forked and tracked."""

from typing import Any
from unittest.mock import patch

import pytest

from audit import selectors as audit
from execfabric.lib import clock, ids
from execfabric.lib.rights import Role
from orchestration.plans.services import saving
from orchestration.runs.control import uploads
from orchestration.runs.models import ArtifactVersion, NamedArtifact
from orchestration.runs.pages import artifact_pages
from tests.api_builders import Caller, agent, caller, person, token_of
from tests.builders import approved, decided, driven, open_gate, plan, step
from tests.console_builders import signed_in, words

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registry", "operator")]
DOC = {"type": "object", "properties": {"doc": {"type": "string", "format": "file"}}}


def report(text: str) -> str:
    """Return a plan that copies a file and makes a report of the copy."""
    copy = step("copy", "write", params={"text": text, "of": "$inputs.doc"})
    made = {"text": f"{text}!", "of": "$copy.files.note", "name": "a.csv"}
    return plan(copy, step("make", "write", params=made, after="copy"), inputs=DOC)


def made(proposer: Any, operator: Any, worker: Any, text: str) -> Any:
    file = uploads.store(
        chunks=[b"source words"], name="in.txt", by=proposer.actor(), at=clock.now()
    )
    return driven(approved(report(text), proposer, operator, doc=str(file.pk)), worker)


def version(name: str, number: int = 1) -> ArtifactVersion:
    return ArtifactVersion.objects.get(artifact__name=name, number=number)


def test_an_artifact_is_found_by_name(proposer, operator, worker) -> None:
    made(proposer, operator, worker, "one")
    made(proposer, operator, worker, "two")
    client, api = signed_in(proposer), Caller(token_of(proposer))

    listed = words(client.get("/artifacts"))
    assert "make/note a.csv" in listed
    assert "copy/note note.txt" in listed
    for text, count in (("make", 1), ("a.csv", 1), ("LAB-PLAN note", 2), ("gone", 0)):
        found = api.get("artifacts", q=text).json()["items"]
        assert len(found) == count, text
        page = client.get("/artifacts", {"q": text}).content.decode()
        assert page.count('data-testid="artifact-row"') == count
    assert api.get("artifacts", plan="other").json()["items"] == []
    first = api.get("artifacts", limit=1).json()
    after = api.get("artifacts", limit=1, after=first["next"]).json()
    names = {first["items"][0]["name"], after["items"][0]["name"]}
    assert names == {"copy/note", "make/note"}
    assert (first["items"][0]["current"], first["items"][0]["state"]) == (2, "current")


def test_an_artifact_page_has_its_chain_and_its_lineage(
    proposer, operator, worker
) -> None:
    made(proposer, operator, worker, "one")
    run = made(proposer, operator, worker, "two")
    copy, note = version("copy/note", 2), version("make/note", 2)
    client, api = signed_in(proposer), Caller(token_of(proposer))

    shown = client.get(f"/artifacts/{copy.artifact_id}")
    page = words(shown)
    assert "v2 Current" in page
    assert "v1 Superseded" in page
    assert "Made from in.txt" in page
    assert "Used for make/note v2 Current" in page
    assert 'data-kind="text"' in shown.content.decode()
    older = words(
        client.get(f"/artifacts/{note.artifact_id}?version={note.supersedes_id}")
    )
    assert "Made from copy/note v1 Superseded as note.txt" in older
    assert "copy/note v2 Current" in words(client.get(f"/artifacts/{copy.file_id}"))

    # The API has no preview, so it does not read the file.
    with patch.object(artifact_pages, "preview_of", side_effect=AssertionError):
        read = api.get(f"artifacts/{note.artifact_id}").json()
    newest, oldest = read["versions"]
    assert newest["supersedes"] == oldest["id"]
    assert (newest["run_id"], newest["step"], newest["attempt"]) == (
        str(run.pk),
        "make",
        1,
    )
    assert [one["version"] for one in read["lineage"]["sources"]] == [str(copy.pk)]
    back = api.get(f"artifacts/{copy.artifact_id}").json()["lineage"]
    assert [one["version"] for one in back["made"]] == [str(note.pk)]
    assert [one["file"] for one in back["sources"]] == ["in.txt"]


def test_versions_are_archived_and_forked_by_page_and_api(
    proposer, operator, worker
) -> None:
    made(proposer, operator, worker, "one")
    row = version("make/note")
    url, named = f"/artifacts/{row.artifact_id}", {"version": str(row.pk)}
    client, api = signed_in(proposer), Caller(token_of(proposer))

    forked = client.post(f"{url}/fork", named | {"name": "for the board", "plan": ""})
    fork = version("for the board")
    assert forked.headers["Location"] == f"/artifacts/{fork.artifact_id}"
    assert "Forked by proposer from make/note" in words(
        client.get(forked.headers["Location"])
    )
    twice = client.post(f"{url}/fork", named | {"name": "for the board"})
    assert twice.status_code == 409
    path = f"artifacts/{row.artifact_id}"
    assert api.post(f"{path}:fork", {"name": "for the board"}).status_code == 409
    by_api = api.post(f"{path}:fork", {"name": "again"}).json()
    assert (by_api["name"], by_api["versions"][0]["state"]) == ("again", "forked")
    assert by_api["lineage"]["sources"][0]["version"] == str(row.pk)

    assert client.post(f"{url}/archive", named | {"reason": ""}).status_code == 422
    assert client.post(f"{url}/archive", {"reason": "Old."}).status_code == 404
    assert client.post(f"{url}/archive", named | {"reason": "Old."}).status_code == 302
    assert "Archived proposer: Old." in words(client.get(url))
    assert "Archive version" not in words(client.get(url))
    again = api.post(f"{path}:archive", named | {"reason": "Old."})
    assert (again.status_code, again.json()["code"]) == (
        409,
        "state.illegal_transition",
    )
    ended = api.post(
        f"artifacts/{fork.artifact_id}:archive", {"reason": "Done."}
    ).json()
    assert (ended["state"], ended["archive_reason"]) == ("archived", "Done.")


def test_only_who_may_see_its_run_sees_an_artifact(proposer, operator, worker) -> None:
    made(proposer, operator, worker, "one")
    row = version("make/note")
    path = f"artifacts/{row.artifact_id}"
    other = caller("other", Role.PROPOSER)
    client = signed_in(person("stranger", Role.PROPOSER))

    assert other.get("artifacts").json()["items"] == []
    assert other.get(path).json()["code"] == "artifact.chain_unknown"
    assert other.post(f"{path}:fork", {"name": "mine"}).status_code == 404
    assert other.post(f"{path}:archive", {"reason": "Old."}).status_code == 404
    assert client.get(f"/{path}").status_code == 404
    assert "No artifacts" in words(client.get("/artifacts"))
    assert client.get(f"/{path}?version=x").status_code == 404
    auditor = caller("reader", Role.AUDITOR)
    assert auditor.get(path).status_code == 200
    refused = auditor.post(f"{path}:archive", {"reason": "Old."})
    assert (refused.status_code, refused.json()["code"]) == (403, "artifact.not_yours")
    bot = agent("bot", proposer)
    assert bot.post(f"{path}:archive", {"reason": "Old."}).status_code == 403
    assert ArtifactVersion.objects.filter(state="current").count() == 2


def test_bad_input_is_refused_with_a_sentence(proposer, operator, worker) -> None:
    made(proposer, operator, worker, "one")
    row = version("make/note")
    path = f"artifacts/{row.artifact_id}"
    client, api = signed_in(proposer), Caller(token_of(proposer))

    for query in ({"q": "\0"}, {"plan": "\0"}, {"after": "x"}):
        assert client.get("/artifacts", query).status_code in {200, 400}, query
        assert api.get("artifacts", **query).status_code in {400, 422}, query
    for body in ({}, {"name": ""}, {"name": "a\nb"}, {"name": "x" * 700}, {"x": 1}):
        assert api.post(f"{path}:fork", body).status_code == 422, body
    assert api.post(f"{path}:fork", {"name": "a\0b"}).status_code == 400
    elsewhere = api.post(f"{path}:fork", {"name": "new", "plan": "missing"})
    assert elsewhere.json()["code"] == "plan.unknown"
    for body in ({}, {"reason": "\u200b"}, {"reason": "x" * 3000}):
        assert api.post(f"{path}:archive", body).status_code == 422, body
    long = {"version": str(row.pk), "name": "x" * 700}
    assert client.post(f"/{path}/fork", long).status_code == 422
    assert ArtifactVersion.objects.count() == 2


@pytest.mark.promise("S3.43")
def test_a_run_shows_which_artifacts_are_expected_and_which_are_done(
    proposer, operator, worker
) -> None:
    inner = plan(step("save", "write", params={"text": "inside"}), id="inner-plan")
    saving.save_plan(text=inner, by=proposer.actor(), at=clock.now())
    text = plan(
        step("first", "write", params={"text": "1"}),
        step("ask", "risky", after="first"),
        step(
            "each", "write", after="ask", forEach=["x", "y"], params={"text": "$item"}
        ),
        {"id": "sub", "kind": "plan", "plan": "inner-plan", "dependsOn": ["ask"]},
        step("never", "write", params={"text": "2"}, when="1 > 2", after="ask"),
        step("say", after="first"),
    )
    run = approved(text, proposer, operator)
    client, api = signed_in(proposer), Caller(token_of(proposer))

    def tracked() -> dict[str, str]:
        items = api.get(f"runs/{run.pk}/artifacts").json()["items"]
        return {item["name"]: item["progress"] for item in items}

    def page() -> str:
        return words(client.get(f"/runs/{run.pk}", {"view": "artifacts"}))

    names = ["first/note", "each [*]/note", "sub/save/note", "never/note"]
    assert tracked() == dict.fromkeys(names, "expected")
    assert "0 of 4 artifacts done" in page()

    driven(run, worker)
    assert tracked() == {**dict.fromkeys(names, "expected"), "first/note": "done"}
    assert "1 of 4 artifacts done" in page()
    assert "first/note Done first Succeeded note.txt Draft" in page()
    live = client.get(f"/runs/{run.pk}/live", {"view": "artifacts", "after": "1"})
    assert "1 of 4 artifacts done" in words(live)

    decided(open_gate(run, "ask"), operator)
    driven(run, worker)
    assert tracked() == {
        "first/note": "done",
        "each [0]/note": "done",
        "each [1]/note": "done",
        "sub/save/note": "done",
        "never/note": "not_coming",
    }
    assert "4 of 5 artifacts done, 1 not coming" in page()
    assert "sub/save/note Done save Succeeded note.txt v1 Current" in page()


def test_a_page_lists_the_first_files_of_a_list_and_the_api_all(
    proposer, operator, worker
) -> None:
    text = plan(step("make", "write", params={"text": "1"}))
    run = driven(approved(text, proposer, operator), worker)
    first = version("make/note")
    for number in range(2, 23):
        chain = NamedArtifact.objects.create(
            plan=first.artifact.plan,
            name=f"make/note/{number}",
            created_at=first.created_at,
        )
        first.pk, first.artifact = ids.uuid7(), chain
        first.save(force_insert=True)

    page = signed_in(proposer).get(f"/runs/{run.pk}", {"view": "artifacts"})
    row = words(page).partition("make/note Done make Succeeded ")[2]
    assert row.count("note.txt") == 20
    assert "and 2 more" in row
    [item] = Caller(token_of(proposer)).get(f"runs/{run.pk}/artifacts").json()["items"]
    assert len(item["versions"]) == 22


def test_what_a_failure_leaves_out_is_not_coming(proposer, operator, worker) -> None:
    text = plan(
        step("break", "misbehave", params={"how": "fail"}),
        step("make", "write", params={"text": "1"}, after="break"),
        onFailure="abort",
    )
    run = driven(approved(text, proposer, operator), worker)
    api = Caller(token_of(proposer))

    [item] = api.get(f"runs/{run.pk}/artifacts").json()["items"]
    assert (item["progress"], item["versions"]) == ("not_coming", [])
    parts = plan(
        step("make", "write", params={"text": "1"}),
        step("check", "misbehave", params={"how": "fail"}, after="make"),
        onFailure="continue",
        id="parts",
    )
    partly = driven(approved(parts, proposer, operator), worker)
    [item] = api.get(f"runs/{partly.pk}/artifacts").json()["items"]
    assert partly.state == "partially_succeeded"
    assert (item["progress"], item["versions"][0]["state"]) == ("done", "draft")
    each = step("each", "write", forEach=[], params={"text": "$item"})
    no_items = plan(each, step("say"), id="no-items")
    nothing = driven(approved(no_items, proposer, operator), worker)
    assert nothing.state == "succeeded"
    assert api.get(f"runs/{nothing.pk}/artifacts").json()["total"] == 0
    none = driven(approved(plan(step("say"), id="none"), proposer, operator), worker)
    empty = signed_in(proposer).get(f"/runs/{none.pk}", {"view": "artifacts"})
    assert "No action of this plan returns files." in words(empty)


def test_each_version_of_the_same_bytes_has_its_own_name(
    proposer, operator, worker
) -> None:
    for name in ("a.txt", "a.html"):
        page = {"text": "<h1>Hello</h1>", "name": name}
        made_of = plan(step("make", "write", params=page))
        driven(approved(made_of, proposer, operator), worker)
    driven(
        approved(
            plan(step("other", "write", params={"text": "b"}), id="x"),
            proposer,
            operator,
        ),
        worker,
    )
    [first, second] = ArtifactVersion.objects.filter(artifact__name="make/note")
    assert first.file_id == second.file_id
    client, path = signed_in(proposer), f"/artifacts/{first.file_id}"

    shown = client.get(f"/artifacts/{second.artifact_id}").content.decode()
    frame, download = (
        f"{path}/{end}?version={second.pk}" for end in ("view", "download")
    )
    assert (f'src="{frame}"' in shown, f'href="{download}"' in shown) == (True, True)
    content = client.get(frame)
    assert content.getvalue() == b"<h1>Hello</h1>"
    assert content["Content-Type"].startswith("text/html")
    older = f"{path}/download?version={first.pk}"
    for url, name in ((download, "a.html"), (older, "a.txt")):
        answer = client.get(url)
        assert answer.getvalue() == b"<h1>Hello</h1>"
        assert f'filename="{name}"' in answer["Content-Disposition"]
    assert client.get(f"{path}/view?version={first.pk}").status_code == 404

    unrelated = version("other/note")
    assert client.get(f"{path}/download?version={unrelated.pk}").status_code == 404
    stranger = signed_in(person("stranger", Role.PROPOSER))
    for url in (frame, download):
        assert stranger.get(url).status_code == 404


def test_the_trace_of_each_run_has_the_events_of_its_artifacts(
    proposer, operator, worker
) -> None:
    runs = [made(proposer, operator, worker, text) for text in ("one", "two")]

    for run in runs:
        found = audit.search(audit.Filter(trace_id=run.trace_id))
        assert {event.stream_id for event in found} == {
            run.stream,
            f"artifacts:{run.revision.plan_id}",
        }
