"""Read what a program printed as JSON or YAML, so that steps can refer to its fields."""

import json
import re
from math import isfinite
from typing import Any, ClassVar

import yaml
from yaml.constructor import BaseConstructor, SafeConstructor

_TAG = "tag:yaml.org,2002:"
_PLAIN = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?",
        list("-+.0123456789"),
    ),
)
"""The plain scalars of the YAML 1.2 core schema that JSON has too; all others are text."""
_ALLOWED = [f"{_TAG}{name}" for name in ("null", "bool", "str", "seq", "map")]


class Unparsable(Exception):
    """The text is not in the format; the message says why."""


def parsed(text: str, form: str) -> Any:
    """Return the value in a text: JSON, or the first document of YAML.

    :raises Unparsable: when the text is not in this format
    """
    try:
        if form == "json":
            return json.loads(text, parse_constant=_number, parse_float=_number)
        loader: Any = _Loader(text)
        # Not get_single_data: what follows front matter is not YAML.
        return loader.get_data() if loader.check_data() else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" (line {mark.line + 1})" if mark else ""
        raise Unparsable(f"{error.problem or 'it cannot be read'}{where}") from error
    except RecursionError:
        raise Unparsable("it is nested too deeply") from None
    except (ValueError, yaml.YAMLError) as error:
        raise Unparsable(str(error).partition("\n")[0]) from error
    except Exception as error:  # PyYAML documents no errors of its constructors
        raise Unparsable("a value does not fit its type") from error


def _number(text: str) -> float:
    value = float(text)
    if not isfinite(value):
        raise ValueError(f"{text[:40]} is not a JSON number")
    return value


class _Loader(yaml.SafeLoader):
    """YAML as JSON can store it: `NO` and dates are text, and there are no aliases."""

    yaml_implicit_resolvers = {
        first: [
            (f"{_TAG}{name}", re.compile(rf"(?:{pattern})\Z"))
            for name, pattern, starts in _PLAIN
            if first in starts
        ]
        for first in {first for *_, starts in _PLAIN for first in starts}
    }
    yaml_constructors: ClassVar[dict[Any, Any]] = {
        **{tag: SafeConstructor.yaml_constructors[tag] for tag in _ALLOWED},
        None: SafeConstructor.construct_undefined,
        f"{_TAG}int": lambda loader, node: int(loader.construct_scalar(node)),
        f"{_TAG}float": lambda loader, node: _number(loader.construct_scalar(node)),
    }

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Refuse aliases: a short text with them can be a huge value."""
        if self.check_event(yaml.AliasEvent):
            event = self.get_event()  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(
                problem="aliases are not supported", problem_mark=event.start_mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:  # noqa: FBT001, FBT002
        """Require keys that are text, as in JSON; `<<` is a key like any other."""
        value = BaseConstructor.construct_mapping(self, node, deep)
        if not all(isinstance(key, str) for key in value):
            raise yaml.MarkedYAMLError(
                problem="a key is not text", problem_mark=node.start_mark
            )
        return value
