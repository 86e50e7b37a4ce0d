"""Check that an outcome is what its action declares: schema, files, storable text."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from execfabric.lib.canonical import (
    LARGEST_SAFE_INTEGER,
    MAX_DEPTH,
    NotCanonical,
    check_depth,
)
from orchestration.skills.domain.contract import ActionContract
from orchestration.skills.domain.outcome import Failed, Outcome, Succeeded
from orchestration.skills.execution import folders

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

RESERVED = frozenset({"$file", "$secret"})
MOST_PROBLEMS = 5
UNSTORABLE = re.compile("[\0\ud800-\udfff]")
"""NUL and lone surrogates, which Postgres cannot store as text."""


def validate_output(
    action: ActionContract, outcome: Outcome, workdir: Path | None = None
) -> Outcome:
    """Return the outcome, or a failure that names where it is invalid.

    With `workdir`, the files of the outcome must be in it.
    """
    if not isinstance(outcome, Succeeded):
        return outcome
    problems = _problems(action.output_validator, outcome.output)
    problems += [*_unstorable(outcome.output, "output")]
    problems += [*_file_problems(action, outcome, workdir)]
    if not problems:
        return outcome
    listed = "; ".join(problems[:MOST_PROBLEMS])
    message = f"The step ran, but its output does not fit its schema: {listed}"
    return Failed("skill.output_invalid", message)


def declared_output(action: ActionContract, outcome: Succeeded) -> Succeeded:
    """Remove outputs and files that the contract does not declare.

    After an upgrade the installed code may return more than the approved version
    declares. The effect has happened, and the declared output is there.
    """
    schema = action.output_schema
    output, files = outcome.output, outcome.files
    if schema.get("additionalProperties") is False:
        known = schema.get("properties", {})
        output = {key: value for key, value in output.items() if key in known}
    files = {name: file for name, file in files.items() if name in action.files}
    return replace(outcome, output=output, files=files)


def blank_output(action: ActionContract) -> dict[str, Any]:
    """Return an output template with null for each required property."""
    return dict.fromkeys(action.output_schema.get("required", ()))


def schema_problems(schema: Mapping[str, Any], value: Any) -> list[str]:
    """Return where `value` does not fit the JSON Schema, one sentence each."""
    from execfabric.lib.schema import FORMATS, validator  # noqa: PLC0415  slow to import

    return _problems(validator(schema, format_checker=FORMATS), value)


def _problems(checker: "Draft202012Validator", value: Any) -> list[str]:
    from execfabric.lib.schema import UNUSABLE  # noqa: PLC0415  slow to import

    try:
        errors = [*checker.iter_errors(value)]
    except UNUSABLE as error:
        return [f"$: the schema cannot be used: {error}"]
    return [f"{error.json_path}: {error.message}" for error in errors]


def storable(value: Any) -> bool:
    """Return True if a JSON value may be an output.

    Reserved keys, NUL characters and inexact numbers are not allowed.
    """
    return next(_unstorable(value, "value"), None) is None


def _unstorable(value: Any, where: str) -> Iterator[str]:
    """Return the parts that cannot be stored or would become references later.

    An output may repeat what an outsider wrote. A `$secret` or `$file` in it would be
    resolved in the next step as if the author of the plan had written it.
    """
    try:
        check_depth(value)
    except NotCanonical:
        yield f"{where} is nested deeper than {MAX_DEPTH} levels"
        return
    yield from _unstorable_parts(value, where)


def _unstorable_parts(value: Any, where: str) -> Iterator[str]:
    if isinstance(value, str) and UNSTORABLE.search(value):
        yield f"{where} contains characters that cannot be stored"
    elif isinstance(value, int | float) and abs(value) > LARGEST_SAFE_INTEGER:
        # JSON does not require readers to preserve larger numbers exactly.
        yield f"{where} contains a number without an exact form"
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unstorable_parts(item, f"{where}[{index}]")
    elif isinstance(value, dict):
        for key, item in value.items():
            if key in RESERVED:
                yield f"{where} contains the reserved key {key!r}"
            yield from _unstorable_parts(key, f"a key of {where}")
            yield from _unstorable_parts(item, f"{where}.{key}")


def _file_problems(
    action: ActionContract, outcome: Succeeded, workdir: Path | None
) -> Iterator[str]:
    for name, files in outcome.files.items():
        if name not in action.files:
            yield f"the file {name!r} is not declared"
        for path in [files] if isinstance(files, Path) else files:
            try:
                with folders.opened_file(workdir or path.parent, path):
                    pass
            except folders.NotPlain as error:
                yield f"{name}: {error}"
