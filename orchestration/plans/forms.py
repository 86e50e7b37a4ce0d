"""The form of the page "New run": a plan and the inputs of a run."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django import forms
from django.core.files.uploadedfile import UploadedFile

from execfabric.lib import canonical
from orchestration.plans.domain import form, source
from orchestration.plans.domain.problem import ERROR

PREFIX = "input."
SIMPLE = frozenset({"string", "integer", "number", "boolean"})
MAX_INPUTS = 200_000
MAX_FILE = source.MAX_BYTES
MAX_NUMBER = len(f"-{canonical.LARGEST_SAFE_INTEGER}")


@dataclass(frozen=True)
class InputField:
    """A form field for one input of a plan."""

    name: str
    """The field's name in the form."""
    key: str
    kind: str
    label: str
    hint: str
    required: bool
    choices: tuple[str, ...]
    pattern: str
    value: str
    error: str
    """The reason why the value is refused; empty if it is accepted or unchecked."""


class PlanForm(forms.Form):
    """A plan as text or as a file, and its inputs as text or as one field each."""

    text = forms.CharField(required=False, strip=False, widget=forms.Textarea)
    file = forms.FileField(required=False, allow_empty_file=True)
    inputs = forms.CharField(
        required=False, max_length=MAX_INPUTS, widget=forms.Textarea
    )

    def clean_file(self) -> str:
        """Return the text of the uploaded file; empty if there is none."""
        file: UploadedFile[Any] | None = self.cleaned_data["file"]
        if file is None:
            return ""
        if (file.size or 0) > MAX_FILE:
            raise forms.ValidationError(
                f"The file is too large: {file.size:,} bytes (max {MAX_FILE:,}).",
                code="plan.too_large",
            )
        try:
            text: str = file.read().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise forms.ValidationError(
                f"Line {_line(error.object, error.start)}: the file is not UTF-8 text.",
                code="plan.not_text",
            ) from error
        if "\0" in text:
            line = _line(text.encode(), text.encode().index(0))
            raise forms.ValidationError(
                f"Line {line}: the file contains a null character.",
                code="plan.not_text",
            )
        return text

    def clean_inputs(self) -> dict[str, Any] | None:
        """Return the inputs as an object; None if the field is empty."""
        text = self.cleaned_data["inputs"].strip()
        if not text:
            return None
        parsed = source.parse(text)
        errors = [problem for problem in parsed.problems if problem.severity == ERROR]
        if errors:
            raise forms.ValidationError(
                [f"Line {error.line or 1}: {error.message}" for error in errors],
                code=errors[0].code,
            )
        value = parsed.value
        if not isinstance(value, dict):
            raise forms.ValidationError(
                "Inputs must be an object. Write one `name: value` per line.",
                code="plan.inputs",
            )
        return value

    def plan_text(self) -> str:
        """Return the plan: the uploaded file, or else the text field."""
        cleaned: Mapping[str, Any] = getattr(self, "cleaned_data", {})
        text: str = cleaned.get("file") or cleaned.get("text") or ""
        # Browsers send CRLF; the same plan must have the same text from a file.
        return text.replace("\r\n", "\n")

    def input_values(self) -> dict[str, Any]:
        """Return the inputs, from one field each if the page had them."""
        texts = {
            key.removeprefix(PREFIX): value
            for key, value in self.data.items()
            if key.startswith(PREFIX)
        }
        if not texts:
            cleaned: Mapping[str, Any] = getattr(self, "cleaned_data", {})
            return cleaned.get("inputs") or {}
        kinds = {
            key.removeprefix("kind."): value
            for key, value in self.data.items()
            if key.startswith("kind.")
        }
        typed = {key: _typed(text, kinds.get(key, "")) for key, text in texts.items()}
        return {key: value for key, value in typed.items() if value != ""}

    def inputs_text(self) -> str:
        """Return the inputs as text, for a page without a field for each."""
        written = str(self["inputs"].value() or "")
        if written or not self.is_bound:
            return written
        return "\n".join(
            f"{json.dumps(key, ensure_ascii=False)}: {json.dumps(value, ensure_ascii=False)}"
            for key, value in self.input_values().items()
        )


def inputs_schema_of(text: str) -> Mapping[str, Any] | None:
    """Return the schema of a plan's inputs; None if the text has none."""
    document, _ = form.read(source.parse(text))
    return document.inputs_schema if document else None


def input_fields(
    schema: Mapping[str, Any] | None,
    inputs: Mapping[str, Any],
    errors: Mapping[str, str],
) -> list[InputField]:
    """Return a field for each input; none if one is an object or a list.

    `errors` has what is wrong with each input.
    """
    properties = (schema or {}).get("properties", {})
    if not isinstance(properties, Mapping):
        return []
    required = (schema or {}).get("required", [])
    fields = []
    for key, rule in properties.items():
        if not isinstance(rule, Mapping) or rule.get("type", "string") not in SIMPLE:
            return []
        value = inputs.get(key, rule.get("default", ""))
        fields.append(
            InputField(
                name=PREFIX + key,
                key=key,
                kind=rule.get("type", "string"),
                label=str(rule.get("title") or key),
                hint=str(rule.get("description", "")),
                required=key in required,
                choices=tuple(str(choice) for choice in rule.get("enum", ())),
                pattern=str(rule.get("pattern", "")),
                value=_as_text(value),
                error=errors.get(key, ""),
            )
        )
    return fields


def _line(body: bytes, at: int) -> int:
    return body.count(b"\n", 0, at) + 1


def _typed(text: str, kind: str) -> Any:
    """Return a field's text as the schema's type; or as text, for the check to refuse."""
    try:
        if kind == "integer":
            return int(text) if len(text) <= MAX_NUMBER else text
        if kind == "number":
            return float(text)
    except ValueError:
        return text
    if kind == "boolean" and text in {"true", "false"}:
        return text == "true"
    return text


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
