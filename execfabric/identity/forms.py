"""The forms to set a password."""

from django import forms

LONGEST_PASSWORD = 1000


class PasswordForm(forms.Form):
    """A new password, entered twice."""

    password = forms.CharField(strip=False, max_length=LONGEST_PASSWORD)
    again = forms.CharField(strip=False, max_length=LONGEST_PASSWORD)

    def clean_again(self) -> str:
        again: str = self.cleaned_data["again"]
        if again != self.cleaned_data.get("password", again):
            raise forms.ValidationError(
                "The passwords differ. Enter the same password twice."
            )
        return again


class FirstAdminForm(PasswordForm):
    username = forms.CharField(max_length=150)
