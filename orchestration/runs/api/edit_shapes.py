"""The shape of an edit of a failed step in the API."""

from datetime import datetime
from typing import Any

from ninja import Field, Schema


class EditedValue(Schema):
    """A parameter that an edit has changed; null where there is none."""

    param: str = Field(alias="field")
    before: Any
    after: Any


class EditOut(Schema):
    """An edit of a failed step of the run."""

    step: str
    by: str = Field(alias="revision.author_name")
    at: datetime
    reason: str
    is_pending: bool
    """True while it waits for its approval."""
    changes: list[EditedValue]
