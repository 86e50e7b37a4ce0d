"""The forms of a schedule and of a webhook."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from django import forms

from orchestration.plans.domain import source
from orchestration.plans.domain.inputs import MAX_INPUTS
from orchestration.plans.domain.problem import ERROR
from orchestration.plans.models import PlanRevision
from orchestration.triggers.domain.firings import CatchUp, Overlap
from orchestration.triggers.models import Hook, Schedule
from orchestration.triggers.services.common import LONGEST_NAME
from orchestration.triggers.services.hooks import HookSettings
from orchestration.triggers.services.schedules import ScheduleSettings

_PLAIN = re.compile(r"(?!(?:null|true|false)\Z)[a-z_][A-Za-z0-9_-]*|/[A-Za-z0-9_/-]*")
"""Texts that are the same text in YAML without quotes."""
UNKNOWN_VERSION = -1
"""A version that no row has: with it, a change is refused."""
LONGEST_TEXT = 4 * MAX_INPUTS
"""Characters; the service limits the value, which is shorter without spaces."""
CATCH_UP = {
    CatchUp.ONE: "Make up for the latest one",
    CatchUp.ALL: "Make up for all, at most 100",
    CatchUp.SKIP: "Skip them",
}
OVERLAP = {
    Overlap.SKIP: "Skip the firing",
    Overlap.WAIT: "Wait for the end of the run",
    Overlap.ALLOW: "Propose another run",
}


class TriggerForm(forms.Form):
    """What the owner of a schedule or webhook chooses."""

    newest = "The newest each time"
    """The name of the choice without a revision."""
    name = forms.CharField(
        max_length=LONGEST_NAME, widget=forms.TextInput({"class": "input"})
    )
    revision = forms.TypedChoiceField(
        coerce=int,
        empty_value=None,
        required=False,
        widget=forms.Select({"class": "select"}),
    )
    version = forms.IntegerField(required=False, widget=forms.HiddenInput())

    def __init__(
        self,
        data: Mapping[str, Any] | None,
        *,
        revisions: Iterable[PlanRevision],
        initial: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(data, initial=dict(initial or {}))
        # The chosen one may be older than those that are listed.
        numbers = {row.number for row in revisions} | {self.initial.get("revision")}
        listed = sorted((each for each in numbers if each), reverse=True)
        choices = [("", self.newest), *((each, f"Revision {each}") for each in listed)]
        self.fields["revision"].choices = choices  # type: ignore[attr-defined]

    def clean_version(self) -> int:
        """Return the version that was opened; that of no row if it is missing."""
        version: int | None = self.cleaned_data["version"]
        return UNKNOWN_VERSION if version is None else version


class ScheduleForm(TriggerForm):
    """What the owner of a schedule chooses, without the inputs of its runs."""

    newest = "The newest at each firing"
    cron = forms.CharField(
        label="Cron expression",
        help_text="Minute, hour, day, month, day of the week: 30 6 * * MON-FRI",
        widget=forms.TextInput({"class": "input mono", "autocomplete": "off"}),
    )
    # The script of the page fills an empty field of this name with the browser's zone.
    tz = forms.CharField(
        label="Time zone",
        required=False,
        widget=forms.TextInput(
            {"class": "input", "list": "zones", "autocomplete": "off"}
        ),
    )
    catch_up = forms.ChoiceField(
        label="Missed firings",
        help_text="Firings are missed while the keeper is down.",
        choices=[(str(key), text) for key, text in CATCH_UP.items()],
        widget=forms.Select({"class": "select"}),
    )
    overlap = forms.ChoiceField(
        label="If the last run is still open",
        help_text="A run that waits for approval is open.",
        choices=[(str(key), text) for key, text in OVERLAP.items()],
        widget=forms.Select({"class": "select"}),
    )

    def settings(self, inputs: Mapping[str, Any]) -> ScheduleSettings:
        """Return the argument for the service."""
        cleaned = self.cleaned_data
        return ScheduleSettings(
            name=cleaned["name"],
            cron=cleaned["cron"],
            zone=cleaned["tz"] or "UTC",
            revision=cleaned["revision"],
            inputs=inputs,
            catch_up=CatchUp(cleaned["catch_up"]),
            overlap=Overlap(cleaned["overlap"]),
        )


def initial_of(row: Schedule) -> dict[str, Any]:
    """Return the values of the form of an existing schedule."""
    names = ("name", "cron", "revision", "catch_up", "overlap", "version")
    return {"tz": row.zone, **{name: getattr(row, name) for name in names}}


class HookForm(TriggerForm):
    """What the owner of a webhook chooses."""

    newest = "The newest at each delivery"
    mapping = forms.CharField(
        label="Inputs from the body",
        required=False,
        help_text="One per line, with a JSON Pointer: minimum: /package/minimum",
        max_length=LONGEST_TEXT,
        widget=forms.Textarea({"class": "textarea textarea-code", "rows": 4}),
    )
    inputs = forms.CharField(
        label="Fixed inputs, as YAML or JSON",
        required=False,
        help_text="Inputs that are the same for each run: minimum: 100000",
        max_length=LONGEST_TEXT,
        widget=forms.Textarea({"class": "textarea textarea-code", "rows": 4}),
    )

    def clean_mapping(self) -> dict[str, str]:
        mapping = _object(self.cleaned_data["mapping"])
        return {name: str(value) for name, value in mapping.items()}

    def clean_inputs(self) -> dict[str, Any]:
        return _object(self.cleaned_data["inputs"])

    def settings(self) -> HookSettings:
        """Return the argument for the service."""
        names = ("name", "revision", "mapping", "inputs")
        return HookSettings(**{name: self.cleaned_data[name] for name in names})


def initial_of_hook(row: Hook) -> dict[str, Any]:
    """Return the values of the form of an existing webhook, as they would be typed."""
    lines = [f"{_typed(key)}: {_typed(path)}" for key, path in row.mapping.items()]
    inputs = json.dumps(row.inputs, indent=2, ensure_ascii=False) if row.inputs else ""
    if len(inputs) > LONGEST_TEXT:
        inputs = json.dumps(row.inputs, ensure_ascii=False)
    known = {name: getattr(row, name) for name in ("name", "revision", "version")}
    return {**known, "mapping": "\n".join(lines), "inputs": inputs}


def _typed(text: str) -> str:
    """Return a text as YAML, without quotes if it needs none."""
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def _object(text: str) -> dict[str, Any]:
    """Return the object that a text describes as YAML or JSON; an empty one if empty."""
    if not text.strip():
        return {}
    parsed = source.parse(text)
    errors = [problem for problem in parsed.problems if problem.severity == ERROR]
    if errors or not isinstance(parsed.value, dict):
        reason = errors[0].message if errors else "write one `name: value` per line."
        raise forms.ValidationError(f"Cannot read it: {reason}")
    return parsed.value
