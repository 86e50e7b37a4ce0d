"""Upload files, and propose runs with them."""

import hashlib
from pathlib import Path

from django.core.files.storage import default_storage

from orchestration.runs.engine import incoming
from tests.builders import (
    plan,
    step,
)

SCHEMA = {
    "type": "object",
    "properties": {"doc": {"type": "string", "format": "file", "title": "Document"}},
    "required": ["doc"],
}
PLAN = plan(step("take", "read", params={"file": "$inputs.doc"}), inputs=SCHEMA)
CONTENT = b"quarter,amount\n1,7\n"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
BYTES = "application/octet-stream"


def stored(sha256: str = SHA256) -> Path:
    return Path(default_storage.path(f"{sha256[:2]}/{sha256}"))


def drafts() -> list[Path]:
    return list(Path(default_storage.path(incoming.FOLDER)).glob("*"))
