"""HTTP around the routes: methods, HEAD, OPTIONS, unknown paths, documented statuses."""

import pytest
from django.test import Client

from execfabric.lib.rights import Role
from tests.api_builders import PLAN, a_run, caller, registry

pytestmark = pytest.mark.django_db

PROBLEM = "application/problem+json"
ALWAYS = {"400", "401", "403", "404", "405", "422", "429", "503"}


def document() -> dict:
    return Client().get("/api/v1/openapi.json").json()


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("delete", "runs", "GET, HEAD, OPTIONS, POST"),
        ("put", "me", "GET, HEAD, OPTIONS"),
        ("patch", "plans:validate", "OPTIONS, POST"),
        ("get", "plans:validate", "OPTIONS, POST"),
        ("head", "plans:validate", "OPTIONS, POST"),
        ("trace", "me", "GET, HEAD, OPTIONS"),
        ("post", "openapi.json", "GET, HEAD, OPTIONS"),
    ],
)
def test_another_method_is_refused_as_a_problem_that_lists_the_allowed_ones(
    method, path, allow
) -> None:
    answer = Client().generic(method.upper(), f"/api/v1/{path}")

    assert answer.status_code == 405
    assert answer.headers["Allow"] == allow
    assert answer.headers["Content-Type"] == PROBLEM
    if method != "head":
        assert answer.json()["code"] == "request.method_not_allowed"


def test_head_answers_as_get_does_without_a_body() -> None:
    registry()
    who = caller("operator", Role.OPERATOR)
    a_run(who, PLAN)

    for path in ("me", "runs", "gates", "skills", "trace", "openapi.json"):
        got = Client().get(f"/api/v1/{path}", headers=who.headers)
        head = Client().head(f"/api/v1/{path}", headers=who.headers)
        assert (head.status_code, head.content) == (200, b""), path
        assert head.headers["Content-Type"] == got.headers["Content-Type"]
    assert Client().head("/api/v1/runs").status_code == 401


def test_options_lists_the_methods_without_a_token() -> None:
    answer = Client().options("/api/v1/runs")

    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS, POST"


@pytest.mark.parametrize("path", ["v1/", "v1/nowhere", "v1/runs/", "v2/runs", ""])
@pytest.mark.parametrize("method", ["get", "post", "options"])
def test_an_unknown_path_is_a_problem(method, path) -> None:
    answer = getattr(Client(), method)(f"/api/{path}")

    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == PROBLEM
    assert answer.json()["code"] == "request.route_unknown"


def test_every_operation_documents_its_refusals_as_problems() -> None:
    found = document()

    for path, operations in found["paths"].items():
        for method, operation in operations.items():
            statuses = set(operation["responses"])
            missing = ALWAYS - statuses
            assert not missing, (path, method, missing)
            if method != "get":
                assert {"409", "413"} <= statuses, (path, method)
            for status in statuses - {"200", "201", "202", "204"}:
                content = operation["responses"][status]["content"]
                assert list(content) == [PROBLEM], (path, method, status)
    problem = found["components"]["schemas"]["Problem"]
    assert set(problem["required"]) == {"type", "title", "status", "code", "detail"}


def test_a_file_is_documented_as_bytes() -> None:
    responses = document()["paths"]["/api/v1/artifacts/{sha256}"]["get"]["responses"]

    assert list(responses["200"]["content"]) == ["application/octet-stream"]
