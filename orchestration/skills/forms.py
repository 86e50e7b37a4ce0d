"""Forms of the skill pages."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from django import forms
from django.utils.text import capfirst

from execfabric.lib import canonical
from execfabric.lib.refusal import Invalid
from orchestration.skills.domain.contract import ActionContract, Risk, SkillContract
from orchestration.skills.domain.limits import LARGEST, TITLES
from orchestration.skills.domain.states import SkillEvent, SkillState
from orchestration.skills.models import SkillVersion

Fields = list[forms.BoundField]
RISKS = [(str(risk), str(risk)) for risk in Risk]
LINES: Mapping[str, Any] = {
    "required": False,
    "max_length": 5000,
    "widget": forms.Textarea(attrs={"rows": 4}),
    "help_text": "One per line.",
}
STATE_EVENTS = (SkillEvent.DEPRECATED, SkillEvent.QUARANTINED, SkillEvent.RESTORED)


class FacetForm(forms.Form):
    q = forms.CharField(required=False, max_length=100)
    domain = forms.CharField(required=False, max_length=60)
    source = forms.CharField(required=False, max_length=20)
    state = forms.ChoiceField(
        required=False, choices=[("", "Any"), *((str(s), str(s)) for s in SkillState)]
    )


class StateForm(forms.Form):
    event = forms.ChoiceField(choices=[(str(e), str(e)) for e in STATE_EVENTS])
    reason = forms.CharField(required=False, max_length=2000)


class PublishForm(forms.Form):
    """The digest of the reviewed draft, and the reason for its publication."""

    reason = forms.CharField(max_length=1000, required=False)

    digest = forms.RegexField(
        regex=r"\A[0-9a-f]{64}\Z",
        error_messages={
            "required": "The digest of the draft is missing. Open the draft again.",
            "invalid": "The digest of the draft is invalid. Open the draft again.",
        },
    )


class VersionForm(forms.Form):
    """A new version of a skill: its number, and what an admin may change."""

    version = forms.CharField(max_length=40)
    description = forms.CharField(
        required=False, max_length=5000, widget=forms.Textarea(attrs={"rows": 3})
    )
    allowed = forms.CharField(label="Allowed", **LINES)
    forbidden = forms.CharField(label="Not allowed", **LINES)
    config = forms.CharField(
        required=False,
        max_length=100_000,
        widget=forms.Textarea(
            attrs={"rows": 8, "class": "mono", "spellcheck": "false"}
        ),
        label="Configuration (JSON)",
        help_text='Refer to secrets by name: {"$secret": "name"}.',
    )

    def __init__(
        self,
        contract: SkillContract,
        data: Mapping[str, Any] | None,
        *,
        draft: SkillVersion | None,
    ) -> None:
        initial = {
            "version": draft.version if draft else _following(contract.version),
            "description": contract.description,
            "allowed": "\n".join(contract.allowed),
            "forbidden": "\n".join(contract.forbidden),
            "config": json.dumps(contract.config, indent=2, ensure_ascii=False),
        }
        super().__init__(data, initial=initial)
        self.contract = contract
        self.fields["version"].disabled = draft is not None
        for action in contract.actions:
            self.fields[f"risk__{action.name}"] = forms.ChoiceField(
                choices=RISKS, initial=str(action.risk), label="Risk"
            )
            self.fields[f"timeout__{action.name}"] = forms.FloatField(
                min_value=0.1,
                max_value=86_400,
                initial=action.timeout_s,
                label="Time limit (s)",
            )
            self.fields[f"attempts__{action.name}"] = forms.IntegerField(
                min_value=1,
                max_value=100,
                initial=action.retry.attempts,
                label="Attempts",
            )
            for name, title in TITLES.items():
                self.fields[f"{name}__{action.name}"] = forms.IntegerField(
                    required=False,
                    min_value=1,
                    max_value=LARGEST,
                    initial=getattr(action.limits, name),
                    label=capfirst(title),
                )

    def clean_config(self) -> dict[str, Any]:
        text = self.cleaned_data["config"].strip() or "{}"
        try:
            value = canonical.loads(text.encode())
            canonical.check_depth(value)
        except Invalid as refusal:
            raise forms.ValidationError(refusal.message, code=refusal.code) from refusal
        if not isinstance(value, dict):
            raise forms.ValidationError("Invalid configuration. Use a JSON object.")
        return value

    def by_action(self) -> Iterator[tuple[ActionContract, Fields, Fields]]:
        for action in self.contract.actions:
            fields, limits = (
                [self[f"{name}__{action.name}"] for name in names]
                for names in (("risk", "timeout", "attempts"), TITLES)
            )
            yield action, fields, limits

    def changes(self) -> dict[str, Any]:
        data = self.cleaned_data
        return {
            "description": data["description"],
            "config": data["config"],
            "allowed": _lines(data["allowed"]),
            "forbidden": _lines(data["forbidden"]),
            "actions": {
                action.name: {
                    "risk": data[f"risk__{action.name}"],
                    "timeout_s": data[f"timeout__{action.name}"],
                    "retry": asdict(action.retry)
                    | {"attempts": data[f"attempts__{action.name}"]},
                    "limits": {
                        name: value
                        for name in TITLES
                        if (value := data[f"{name}__{action.name}"]) is not None
                    },
                }
                for action in self.contract.actions
            },
        }


def _following(version: str) -> str:
    """Suggest the next minor version; empty if the number is not 1.2.3."""
    try:
        major, minor, _ = (int(part) for part in version.split("."))
    except ValueError:
        return ""
    return f"{major}.{minor + 1}.0"


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]
