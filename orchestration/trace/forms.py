"""What people ask of the record."""

from datetime import datetime
from typing import Any

from django import forms

from audit.selectors import Filter
from execfabric.lib import clock


class MomentField(forms.DateTimeField):
    """A date and time, in UTC where no offset is given."""

    def to_python(self, value: Any) -> datetime | None:
        """Return the moment in UTC."""
        at = super().to_python(value)
        try:
            return clock.in_utc(at) if at else None
        except ValueError as error:
            raise forms.ValidationError(str(error)) from error


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
    since = MomentField(required=False, label="Since (UTC)")
    until = MomentField(required=False, label="Until (UTC)")

    def query(self) -> Filter:
        """The question for the selector; wrong fields do not restrict."""
        given: dict[str, Any] = getattr(self, "cleaned_data", {})
        names = ("stream", "kind", "actor", "step", "trace_id", "text")
        return Filter(
            **{name: given.get(name) or "" for name in names},
            since=given.get("since"),
            until=given.get("until"),
        )

    def clean(self) -> dict[str, Any]:
        """Refuse a time that ends before it begins."""
        given: dict[str, Any] = super().clean() or {}
        since, until = given.get("since"), given.get("until")
        if since and until and until < since:
            self.add_error("until", "This is before “since”.")
        return given
