"""What people send about runs and their gates."""

from typing import Any

from django import forms


class DecisionForm(forms.Form):
    """An answer to a gate: the verdict, what was seen, and why."""

    verdict = forms.ChoiceField(
        choices=[("approve", "Approve"), ("reject", "Reject")],
        error_messages={"required": "Choose approve or reject."},
    )
    # Which digest is right and which comment readable is the service's to say: it
    # puts every refusal into the record.
    digest = forms.CharField(required=False, widget=forms.HiddenInput)
    comment = forms.CharField(required=False, widget=forms.Textarea(attrs={"rows": 3}))

    def answer(self) -> dict[str, Any]:
        """The arguments of the deciding service."""
        given = self.cleaned_data
        return {
            "approve": given["verdict"] == "approve",
            "digest": given["digest"],
            "comment": given["comment"],
        }
