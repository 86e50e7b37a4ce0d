"""What people ask of the record."""

from datetime import UTC, datetime
from typing import Any

from django import forms

from audit.selectors import Filter


class TraceForm(forms.Form):
    """The filters of the trace page, as they stand in its address."""

    stream = forms.CharField(required=False, max_length=80)
    kind = forms.CharField(required=False, max_length=60)
    actor = forms.CharField(required=False, max_length=150)
    step = forms.CharField(required=False, max_length=100)
    trace_id = forms.RegexField(
        required=False,
        regex=r"\A[0-9a-f]{32}\Z",
        label="Trace id",
        error_messages={"invalid": "A trace id has 32 lower-case hex digits."},
    )
    text = forms.CharField(required=False, max_length=200)
    since = forms.DateTimeField(required=False, label="Since (UTC)")
    until = forms.DateTimeField(required=False, label="Until (UTC)")

    def query(self) -> Filter:
        """The question for the selector; wrong fields do not restrict."""
        given: dict[str, Any] = getattr(self, "cleaned_data", {})
        names = ("stream", "kind", "actor", "step", "trace_id", "text")
        return Filter(
            **{name: given.get(name) or "" for name in names},
            since=_utc(given.get("since")),
            until=_utc(given.get("until")),
        )

    def clean(self) -> dict[str, Any]:
        """Refuse a time that ends before it begins."""
        given: dict[str, Any] = super().clean() or {}
        since, until = given.get("since"), given.get("until")
        if since and until and until < since:
            self.add_error("until", "This is before “since”.")
        return given


def _utc(at: datetime | None) -> datetime | None:
    return at.replace(tzinfo=UTC) if at and at.tzinfo is None else at
