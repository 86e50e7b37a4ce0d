"""As much of Jira as its skill needs."""

import base64
import json
import re
from typing import Any

from tests.skill_calls import reply


class Jira:
    """As much of Jira's documented REST API as a transition needs."""

    WAYS = {
        "11": ("Start", "In Progress"),
        "21": ("Finish", "Done"),
        "31": ("Reopen", "To Do"),
    }

    def __init__(self) -> None:
        self.status, self.posts = "To Do", 0
        self.properties: dict[str, Any] = {}
        self.broken = 0
        self.left = ""
        """Where a rule of this Jira puts every issue, whatever was asked for."""

    def answer(self, request: Any, body: bytes) -> None:
        expected = base64.b64encode(b"bot@example.com:t0ken").decode()
        if request.headers["Authorization"] != f"Basic {expected}":
            return reply(request, 401)
        if not re.match(r"/rest/api/3/issue/PROJ-123(\W|$)", request.path):
            return reply(request, 404)
        if request.command == "POST":
            return self.transition(request, json.loads(body))
        if request.path.endswith("/transitions"):
            offered = [{"id": key, "name": name, "to": {"name": to}}
                       for key, (name, to) in self.WAYS.items() if to != self.status]  # fmt: skip
            return reply(request, 200, json.dumps({"transitions": offered}).encode())
        found = {
            "fields": {"status": {"name": self.status}},
            "properties": self.properties,
        }
        return reply(request, 200, json.dumps(found).encode())

    def transition(self, request: Any, body: Any) -> None:
        self.posts += 1
        self.status = self.left or self.WAYS[body["transition"]["id"]][1]
        self.properties |= {item["key"]: item["value"] for item in body["properties"]}
        if self.broken:
            self.broken -= 1
            request.connection.close()
        else:
            reply(request, 204)
