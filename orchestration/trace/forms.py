"""The filters of the audit log, from the query string of its URL."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from django import forms
from django.core.validators import RegexValidator
from django.utils import timezone

from audit.selectors import Event, event_at
from execfabric.identity.models import Agent, User
from execfabric.lib import clock
from execfabric.lib.actor import ActorKind
from orchestration.runs.domain.failure_names import FailureName
from orchestration.runs.pages.event_words import GROUPS, WORDS
from orchestration.skills.models import Skill
from orchestration.trace.selectors import DECISIONS, LogFilter

Choices = list[tuple[str, Any]]
IDS = ("stream", "step", "trace_id")
TRACE_ID = r"\A[0-9a-f]{32}\Z"
NOT_TRACE_ID = "A trace id has 32 lower-case hex digits."
LONGEST_LIST = 200
"""Maximum users and agents in the picker; enter part of a name for others."""


class Picker(forms.ChoiceField):
    def __init__(
        self, noun: str, choices: Iterable[tuple[str, Any]] = (), **options: Any
    ) -> None:
        unknown = f"Unknown {noun} “%(value)s”. Choose one from the list."
        super().__init__(
            required=False,
            choices=[("", "Any"), *choices],
            widget=forms.Select(attrs={"class": "select"}),
            error_messages={"invalid_choice": unknown},
            **options,
        )


class MomentField(forms.DateTimeField):
    """A date and time; without an offset, in the current time zone."""

    def __init__(self, **options: Any) -> None:
        attributes = {"class": "input", "type": "datetime-local", "step": "any"}
        super().__init__(
            required=False,
            widget=forms.DateTimeInput(attrs=attributes),
            **options,
        )

    def to_python(self, value: Any) -> datetime | None:
        try:
            at = super().to_python(value)
            return clock.in_utc(at) if at else None
        except (forms.ValidationError, ValueError) as error:
            message = f"Invalid time “{value}”. Write it like 2030-01-31 14:00."
            raise forms.ValidationError(message) from error

    def bound_data(self, data: Any, initial: Any) -> Any:  # noqa: ARG002
        """Return the value in the format of a browser's date picker."""
        try:
            at = self.to_python(data)
            local = timezone.make_naive(at) if at else None
        except (forms.ValidationError, OverflowError):
            return data
        return local.isoformat(timespec="seconds") if local else data


class TextField(forms.CharField):
    """A text that is compared as it is."""

    def __init__(self, longest: int, **options: Any) -> None:
        widget = forms.TextInput(attrs={"class": "input", "spellcheck": "false"})
        super().__init__(required=False, max_length=longest, widget=widget, **options)


class LogForm(forms.Form):
    text = TextField(200)
    kind = Picker("kind of event")
    actor = Picker("actor")
    skill = Picker("skill")
    decision = Picker("decision", DECISIONS.items())
    failure = Picker("failure", [(str(name), str(name)) for name in FailureName])
    since = MomentField(label="From")
    until = MomentField(label="To")
    stream = TextField(80)
    step = TextField(100, label="Step id")
    trace_id = TextField(
        32, label="Trace id", validators=[RegexValidator(TRACE_ID, NOT_TRACE_ID)]
    )
    tz = forms.CharField(required=False, widget=forms.HiddenInput)
    before = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, data: Mapping[str, Any], *, reads_all: bool) -> None:
        super().__init__(data, label_suffix="")
        kinds = _kinds(data.get("kind", ""))
        self.fields["kind"] = Picker("kind of event", kinds, label="Event")
        # Only those who may read the whole log learn who and what is in it.
        if reads_all:
            self.fields["actor"] = Picker("actor", _actors(data.get("actor", "")))
            skills = Skill.objects.order_by("slug").values_list("slug", "slug")
            self.fields["skill"] = Picker("skill", skills)

    @property
    def main_fields(self) -> list[forms.BoundField]:
        return [field for field in self.visible_fields() if field.name not in IDS]

    @property
    def id_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in IDS]

    def clean_tz(self) -> str:
        name = str(self.cleaned_data["tz"])
        if name and name not in available_timezones():
            raise forms.ValidationError(f"Unknown time zone “{name}”.")
        return name

    def clean_before(self) -> Event | None:
        cursor = str(self.cleaned_data["before"])
        event = event_at(cursor) if cursor else None
        if cursor and event is None:
            raise forms.ValidationError(f"Unknown event “{cursor}”.")
        return event

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or {}
        since, until = values.get("since"), values.get("until")
        if since and until and until < since:
            self.add_error("until", "“To” must not be earlier than “From”.")
        return values

    def filter(self) -> LogFilter:
        return LogFilter(**self.cleaned_data)


def zone_of(data: Mapping[str, Any]) -> ZoneInfo:
    """Return the time zone of the times in the filters; UTC if there is none."""
    name = data.get("tz", "")
    return ZoneInfo(name if name in available_timezones() else "UTC")


def _kinds(chosen: str) -> Choices:
    groups: dict[str, Choices] = {}
    for prefix, (title, noun) in GROUPS.items():
        groups.setdefault(title, []).append((prefix, f"All {noun} events"))
    for kind, words in WORDS.items():
        title, _ = GROUPS[kind.partition(".")[0]]
        groups[title].append((kind, words.label))
    choices: Choices = list(groups.items())
    # An older release may have stored a kind that has no words any more.
    is_listed = chosen in WORDS or chosen in GROUPS or "\0" in chosen
    if chosen and not is_listed and Event.objects.filter(kind=chosen).exists():
        choices.append((chosen, chosen))
    return choices


def _actors(chosen: str) -> Choices:
    users = User.objects.order_by("username").values_list("pk", "username")
    agents = Agent.objects.order_by("name").values_list("pk", "name")
    choices: Choices = [
        ("People", [(f"user:{pk}", name) for pk, name in users[:LONGEST_LIST]]),
        ("Agents", [(f"agent:{pk}", name) for pk, name in agents[:LONGEST_LIST]]),
        ("system:", "The system"),
    ]
    kind, colon, _ = chosen.partition(":")
    if chosen and not (colon and kind in set(ActorKind)):
        choices.append((chosen, f"Name contains “{chosen}”"))
    return choices
