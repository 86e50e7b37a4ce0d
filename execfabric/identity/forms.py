"""The forms to set a password."""

from typing import Any

from django import forms

LONGEST_PASSWORD = 1000


class PasswordForm(forms.Form):
    """A new password, entered twice."""

    password = forms.CharField(strip=False, max_length=LONGEST_PASSWORD)
    again = forms.CharField(strip=False, max_length=LONGEST_PASSWORD)

    def clean(self) -> dict[str, Any]:
        """Refuse two passwords that differ."""
        values: dict[str, Any] = super().clean() or {}
        if (
            "password" in values
            and "again" in values
            and values["password"] != values["again"]
        ):
            self.add_error(
                "again", "The passwords differ. Enter the same password twice."
            )
        return values


class FirstAdminForm(PasswordForm):
    """The name and the password of the first admin."""

    username = forms.CharField(max_length=150)
