"""The form of the page "New run": a plan and the inputs of a run."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from typing import Any

from django import forms
from django.core.files.uploadedfile import UploadedFile

from execfabric.lib import canonical
from execfabric.web.values import FileReference
from orchestration.plans.domain import form, schemas, source
from orchestration.plans.domain.inputs import (
    FILE_FORMAT,
    file_inputs,
    is_file,
    unusable,
)
from orchestration.plans.domain.problem import ERROR, Problem
from orchestration.plans.domain.rights import PlanRight

PREFIX = "input."
FILE_PREFIX = "file."
"""Not the same: a browser sends an empty text for a field without a chosen file."""
SIMPLE = ("string", "integer", "number", "boolean")
JSON = "json"
"""The kind of an input that is written as YAML or JSON."""
EXAMPLES = {
    "date": "2026-03-01",
    "date-time": "2026-03-01T06:00:00+01:00",
    "time": "06:00:00+01:00",
    "duration": "PT30M",
    "email": "ada@example.com",
    "uri": "https://example.com/",
}
"""By format: an example for the hint of a field."""
BOUNDS = {"minimum": "at least", "maximum": "at most"}
MAX_INPUTS = 200_000
MAX_FILE = source.MAX_BYTES
MAX_NUMBER = len(f"-{canonical.LARGEST_SAFE_INTEGER}")


@dataclass(frozen=True)
class InputField:
    """A form field for one input of a plan."""

    key: str
    schema: Mapping[str, Any]
    kind: str
    required: bool
    value: str
    error: str
    file: FileReference | None = None
    """The file that was uploaded for this input."""

    @property
    def choices(self) -> list[str]:
        choices = self.schema.get("enum", ())
        return [_text(choice, self.kind) for choice in choices]

    @property
    def widget(self) -> str:
        """Return `select`, `file`, `textarea`, `date` or `text`."""
        if self.kind == "boolean" or self.choices:
            return "select"
        if self.kind in {FILE_FORMAT, JSON}:
            return "file" if self.kind == FILE_FORMAT else "textarea"
        is_date = self.schema.get("format") == "date" and _is_date(self.value)
        return "date" if is_date else "text"

    @property
    def hint(self) -> str:
        """Return the bounds of a number, or an example of a format."""
        bounds = [
            f"{words} {self.schema[key]}"
            for key, words in BOUNDS.items()
            if key in self.schema
        ]
        if bounds:
            return f"{' and '.join(bounds)}.".capitalize()
        if self.kind == JSON and not self.choices:
            return "As YAML or JSON, for example [80, 443]."
        example = EXAMPLES.get(str(self.schema.get("format")), "")
        return f"For example {example}" if example and self.widget == "text" else ""


class PlanForm(forms.Form):
    """A plan as text or as a file, and its inputs as text or as one field each."""

    text = forms.CharField(required=False, strip=False, widget=forms.Textarea)
    file = forms.FileField(required=False, allow_empty_file=True)
    inputs = forms.CharField(
        required=False, max_length=MAX_INPUTS, widget=forms.Textarea
    )

    def clean_file(self) -> str:
        file: UploadedFile[Any] | None = self.cleaned_data["file"]
        if file is None:
            return ""
        if (size := file.size or 0) > MAX_FILE:
            message = f"The file is too large: {size:,} bytes (max {MAX_FILE:,})."
            raise forms.ValidationError(message, code="plan.too_large")
        try:
            text: str = file.read().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            message = f"Line {line}: the file is not UTF-8 text."
            raise forms.ValidationError(message, code="plan.not_text") from error
        if "\0" in text:
            line = text.count("\n", 0, text.index("\0")) + 1
            message = f"Line {line}: the file contains a null character."
            raise forms.ValidationError(message, code="plan.not_text")
        return text

    def clean_inputs(self) -> dict[str, Any] | None:
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
            message = "Inputs must be an object. Write one `name: value` per line."
            raise forms.ValidationError(message, code="plan.inputs")
        return value

    def plan_text(self) -> str:
        """Return the plan: the uploaded file, or else the text field."""
        cleaned: Mapping[str, Any] = getattr(self, "cleaned_data", {})
        text: str = cleaned.get("file") or cleaned.get("text") or ""
        # Browsers send CRLF; the same plan must have the same text from a file.
        return text.replace("\r\n", "\n")

    def input_values(self) -> dict[str, Any]:
        """Return the inputs, from one field each if the page had them."""
        texts = self.typed_texts()
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

    def typed_texts(self) -> dict[str, str]:
        """Return the text of each input that has a field, as it was typed."""
        return {
            key.removeprefix(PREFIX): value
            for key, value in self.data.items()
            if key.startswith(PREFIX)
        }

    def fields_of(
        self, schema: Mapping[str, Any] | None, problems: Iterable[Problem] = ()
    ) -> list[InputField]:
        """Return a field for each input, with what was typed and what is wrong."""
        errors = {each.input: each.message for each in problems if each.input}
        if not self.is_bound:
            return input_fields(schema, self.initial.get("values", {}), errors)
        return input_fields(schema, self.input_values(), errors, self.typed_texts())

    def inputs_text(self) -> str:
        """Return the inputs as text, for a page without a field for each."""
        written = str(self["inputs"].value() or "")
        values = (
            self.input_values() if self.is_bound else self.initial.get("values", {})
        )
        if written:
            return written
        return "\n".join(
            f"{json.dumps(key, ensure_ascii=False)}: {json.dumps(value, ensure_ascii=False)}"
            for key, value in values.items()
        )

    def uploaded(
        self, schema: Mapping[str, Any] | None
    ) -> "Iterator[tuple[str, UploadedFile[Any]]]":
        """Return the files that were chosen for inputs that are files, by name."""
        for name in sorted(file_inputs(schema)):
            if file := self.files.get(FILE_PREFIX + name):
                yield name, file

    def with_file_ids(self, file_ids: Mapping[str, str]) -> "PlanForm":
        """Return this form as if the ids of the uploaded files had been typed."""
        fields = {PREFIX + name: file_id for name, file_id in file_ids.items()}
        return PlanForm({**dict(self.data.items()), **fields}, self.files)


class GrantForm(forms.Form):
    """A right on a plan, and the user or the group that gets it or loses it."""

    right = forms.ChoiceField(choices=[(right, right) for right in PlanRight])
    kind = forms.ChoiceField(choices=[("user", "User"), ("group", "Group")])
    name = forms.CharField(max_length=150)
    change = forms.ChoiceField(choices=[("grant", ""), ("revoke", "")])

    @property
    def is_revocation(self) -> bool:
        return bool(self.cleaned_data["change"] == "revoke")

    def grant(self) -> dict[str, Any]:
        """Return the arguments for the service."""
        cleaned = self.cleaned_data
        return {"right": PlanRight(cleaned["right"]), cleaned["kind"]: cleaned["name"]}

    @property
    def confirmation(self) -> str:
        cleaned = self.cleaned_data
        verb = "can no longer" if self.is_revocation else "can now"
        return f"The {cleaned['kind']} {cleaned['name']} {verb} {cleaned['right']} this plan."


def inputs_schema_of(text: str) -> Mapping[str, Any] | None:
    document, _ = form.read(source.parse(text))
    return document.inputs_schema if document else None


def input_fields(
    schema: Mapping[str, Any] | None,
    inputs: Mapping[str, Any],
    errors: Mapping[str, str],
    texts: Mapping[str, str] | None = None,
) -> list[InputField]:
    """Return a field for each input; none if the schema cannot be used.

    `errors` has what is wrong with each input, `texts` what was typed into its field.
    """
    if schema is None or any(unusable(schema)):
        return []
    fields = []
    for key, written in schema.get("properties", {}).items():
        rule = written if isinstance(written, Mapping) else {"type": JSON}
        kind = FILE_FORMAT if is_file(rule) else _kind(rule)
        value = _text(inputs.get(key, rule.get("default", "")), kind)
        fields.append(
            InputField(
                key=key,
                schema=rule,
                kind=kind,
                required=key in schema.get("required", ()),
                value=(texts or {}).get(key, value),
                error=errors.get(key, ""),
            )
        )
    return fields


def _kind(rule: Mapping[str, Any]) -> str:
    """Return the type of an input, or JSON if it has several or a structure."""
    kinds = schemas.types(rule) or {"string"}
    kind = next(iter(kinds))
    return kind if len(kinds) == 1 and kind in SIMPLE else JSON


def _text(value: Any, kind: str) -> str:
    """Return a value as the text of a field; an absent one is empty."""
    is_upload = isinstance(value, str) and kind == FILE_FORMAT
    if value == "" or (kind == FILE_FORMAT and not is_upload):
        return ""
    if kind == JSON or not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return value


def _is_date(text: str) -> bool:
    """Return True for an empty text or a date, which a date picker can show."""
    with suppress(ValueError):
        return not text or bool(date.fromisoformat(text))
    return False


def _typed(text: str, kind: str) -> Any:
    """Return a field's text as the schema's type; invalid text unchanged."""
    if kind == "boolean" and text in {"true", "false"}:
        return text == "true"
    if kind == JSON and text.strip():
        parsed = source.parse(text)
        errors = any(problem.severity == ERROR for problem in parsed.problems)
        return text if errors else parsed.value
    with suppress(ValueError):
        if kind == "integer" and len(text) <= MAX_NUMBER:
            return int(text)
        if kind == "number":
            return float(text)
    return text
