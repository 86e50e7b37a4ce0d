"""What people send about plans: the text, and the inputs of a run."""

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
LONGEST_INPUTS = 200_000
LARGEST_FILE = source.MAX_BYTES
LONGEST_NUMBER = len(f"-{canonical.LARGEST_SAFE_INTEGER}")


@dataclass(frozen=True)
class InputField:
    """A field made from one property of a plan's input schema."""

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
    """What the field holds now."""
    is_missing: bool
    """Whether it was sent without a value that the plan requires."""


class PlanForm(forms.Form):
    """A plan as text or as a file, and its inputs as text or as fields of their own."""

    text = forms.CharField(required=False, strip=False, widget=forms.Textarea)
    file = forms.FileField(required=False, allow_empty_file=True)
    inputs = forms.CharField(
        required=False, max_length=LONGEST_INPUTS, widget=forms.Textarea
    )

    def clean_file(self) -> str:
        """The text of the uploaded file; empty where there is none."""
        file: UploadedFile[Any] | None = self.cleaned_data["file"]
        if file is None:
            return ""
        if (file.size or 0) > LARGEST_FILE:
            raise forms.ValidationError(
                f"The file has {file.size:,} bytes; a plan has at most {LARGEST_FILE:,}.",
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
        """The inputs as an object; None where nothing is given."""
        text = self.cleaned_data["inputs"].strip()
        if not text:
            return None
        parsed = source.parse(text)
        wrong = [problem for problem in parsed.problems if problem.severity == ERROR]
        if wrong:
            raise forms.ValidationError(
                [f"Line {one.line or 1}: {one.message}" for one in wrong],
                code=wrong[0].code,
            )
        value = parsed.value
        if not isinstance(value, dict):
            raise forms.ValidationError(
                "The inputs are an object: one `name: value` a line.",
                code="plan.inputs",
            )
        return value

    def plan_text(self) -> str:
        """The text to check: an uploaded file comes before what stands in the field."""
        given: Mapping[str, Any] = getattr(self, "cleaned_data", {})
        text: str = given.get("file") or given.get("text") or ""
        # Browsers send CRLF; the same plan must have the same text from a file.
        return text.replace("\r\n", "\n")

    def given_inputs(self) -> dict[str, Any]:
        """The inputs, from the fields of their own where the page had them."""
        stated = {
            key.removeprefix(PREFIX): value
            for key, value in self.data.items()
            if key.startswith(PREFIX)
        }
        if not stated:
            given: Mapping[str, Any] = getattr(self, "cleaned_data", {})
            return given.get("inputs") or {}
        kinds = {
            key.removeprefix("kind."): value
            for key, value in self.data.items()
            if key.startswith("kind.")
        }
        typed = {key: _typed(text, kinds.get(key, "")) for key, text in stated.items()}
        return {key: value for key, value in typed.items() if value != ""}

    def inputs_text(self) -> str:
        """The inputs as text, for a page that has no fields for them (any more)."""
        written = str(self["inputs"].value() or "")
        if written or not self.is_bound:
            return written
        return "\n".join(
            f"{json.dumps(key, ensure_ascii=False)}: {json.dumps(value, ensure_ascii=False)}"
            for key, value in self.given_inputs().items()
        )


def inputs_asked_for(text: str) -> Mapping[str, Any] | None:
    """The schema of a plan's inputs, as far as its text can be read."""
    document, _ = form.read(source.parse(text))
    return document.inputs_schema if document else None


def input_fields(
    schema: Mapping[str, Any] | None, inputs: Mapping[str, Any] | None
) -> list[InputField]:
    """A field for each input; none where one of them is too rich for a field.

    `inputs` None stands for a form that was not sent yet.
    """
    properties = (schema or {}).get("properties", {})
    if not isinstance(properties, Mapping):
        return []
    required = (schema or {}).get("required", [])
    found = []
    for key, rule in properties.items():
        if not isinstance(rule, Mapping) or rule.get("type", "string") not in SIMPLE:
            return []
        value = (inputs or {}).get(key, rule.get("default", ""))
        found.append(
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
                is_missing=inputs is not None and key in required and value == "",
            )
        )
    return found


def _line(body: bytes, at: int) -> int:
    return body.count(b"\n", 0, at) + 1


def _typed(text: str, kind: str) -> Any:
    """A field's text as the schema's type; what does not fit is left to the check."""
    try:
        if kind == "integer":
            return (
                int(text)
                if len(text) <= len(str(canonical.LARGEST_SAFE_INTEGER)) + 1
                else text
            )
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
