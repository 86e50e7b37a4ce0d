"""Forms of the skill pages."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from django import forms

from execfabric.lib import canonical
from execfabric.lib.refusal import Invalid
from orchestration.skills.domain.contract import ActionContract, Risk, SkillContract
from orchestration.skills.domain.limits import LARGEST, TITLES
from orchestration.skills.domain.states import SkillEvent, SkillState
from orchestration.skills.models import SkillVersion

RISKS = [(str(risk), str(risk)) for risk in Risk]
LONGEST_CONFIG = 100_000


class FacetForm(forms.Form):
    """The filters of the skill list."""

    q = forms.CharField(required=False, max_length=100)
    domain = forms.CharField(required=False, max_length=60)
    source = forms.CharField(required=False, max_length=20)
    state = forms.ChoiceField(
        required=False, choices=[("", "Any"), *((str(s), str(s)) for s in SkillState)]
    )

    def chosen(self) -> dict[str, str]:
        """Return the filters that are set and valid."""
        cleaned: dict[str, str] = getattr(self, "cleaned_data", {})
        return {name: value for name, value in cleaned.items() if value}


class StateForm(forms.Form):
    """A change of the state of a skill, with a reason."""

    event = forms.ChoiceField(
        choices=[
            (str(event), str(event))
            for event in (
                SkillEvent.DEPRECATED,
                SkillEvent.QUARANTINED,
                SkillEvent.RESTORED,
            )
        ]
    )
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
    allowed = forms.CharField(
        required=False,
        max_length=5000,
        widget=forms.Textarea(attrs={"rows": 4}),
        label="Allowed",
        help_text="One per line.",
    )
    forbidden = forms.CharField(
        required=False,
        max_length=5000,
        widget=forms.Textarea(attrs={"rows": 4}),
        label="Not allowed",
        help_text="One per line.",
    )
    config = forms.CharField(
        required=False,
        max_length=LONGEST_CONFIG,
        widget=forms.Textarea(
            attrs={"rows": 8, "class": "mono", "spellcheck": "false"}
        ),
        label="Configuration (JSON)",
        help_text='Refer to secrets by name: {"$secret": "name"}.',
    )

    def __init__(self, contract: SkillContract, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.contract = contract
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
                    label=title[0].upper() + title[1:],
                )

    def clean_config(self) -> dict[str, Any]:
        """Parse the configuration as a JSON object."""
        text = self.cleaned_data["config"].strip() or "{}"
        try:
            value = canonical.loads(text.encode())
            canonical.check_depth(value)
        except Invalid as refusal:
            raise forms.ValidationError(refusal.message, code=refusal.code) from refusal
        if not isinstance(value, dict):
            raise forms.ValidationError("Invalid configuration. Use a JSON object.")
        return value

    def by_action(
        self,
    ) -> Iterator[
        tuple[ActionContract, list[forms.BoundField], list[forms.BoundField]]
    ]:
        """Yield each action with its fields and the fields of its limits."""
        for action in self.contract.actions:
            names = ("risk", "timeout", "attempts")
            yield (
                action,
                [self[f"{name}__{action.name}"] for name in names],
                [self[f"{name}__{action.name}"] for name in TITLES],
            )

    def changes(self) -> dict[str, Any]:
        """Return the changes for the registry."""
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


def starting_values(
    contract: SkillContract, draft: SkillVersion | None
) -> dict[str, Any]:
    """Return the initial values for a new version or a draft."""
    return {
        "version": draft.version if draft else _following(contract.version),
        "description": contract.description,
        "allowed": "\n".join(contract.allowed),
        "forbidden": "\n".join(contract.forbidden),
        "config": json.dumps(contract.config, indent=2, ensure_ascii=False),
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
