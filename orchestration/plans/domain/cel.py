"""The Common Expression Language: compile an expression, evaluate it.

The only module that imports the library, so that it can be replaced.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from cel_expr_python import cel

DYN, BOOL, STRING, LIST, MAP = "dyn", "bool", "string", "list", "map"
TYPES = {
    DYN: cel.Type.DYN,
    BOOL: cel.Type.BOOL,
    STRING: cel.Type.STRING,
    LIST: cel.Type.List(cel.Type.DYN),
    MAP: cel.Type.Map(cel.Type.STRING, cel.Type.DYN),
}
CACHED = 256
_LOCATED = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): (.*)")
_STATUS = re.compile(r"^[A-Z_]+: | \[[A-Z_]+\]$")
_OVERLOAD = re.compile(
    r"found no matching overload for '_?([^']*?)_?' applied to '\((.*)\)'"
)
_CONTAINER = " (in container '')"


class CelInvalid(Exception):
    """The expression cannot be compiled. Line and column count from 1."""

    def __init__(self, message: str, line: int = 1, column: int = 1) -> None:
        self.message, self.line, self.column = message, line, column
        super().__init__(message)


class CelFailed(Exception):
    """The evaluation gave no value."""


@dataclass(frozen=True)
class CompiledExpression:
    """A compiled expression."""

    type: str
    """The type of its value; `dyn` if only the evaluation can tell."""
    _expression: Any

    def evaluate(self, values: Mapping[str, Any]) -> Any:
        """Return the value of the expression.

        :raises CelFailed: if the evaluation ends with an error or exceeds its budget
        """
        try:
            value = self._expression.eval(data=values)
        except Exception as error:  # noqa: BLE001  # the library documents no errors
            raise CelFailed(_plain(str(error))) from None
        if value.type() == cel.Type.ERROR:
            raise CelFailed(_plain(str(value.value())))
        return value.plain_value()


@lru_cache(CACHED)
def compiled(source: str, variables: tuple[tuple[str, str], ...]) -> CompiledExpression:
    """Compile an expression; `variables` are pairs of a dotted name and a type.

    :raises CelInvalid: if it is not valid, with the first error
    """
    environment = cel.NewEnv(variables={name: TYPES[kind] for name, kind in variables})
    try:
        expression = environment.compile(source)
    except RuntimeError as error:
        raise _invalid(str(error)) from None
    kind = str(expression.return_type().name()).lower()
    return CompiledExpression(kind, expression)


def _invalid(text: str) -> CelInvalid:
    located = _LOCATED.search(text)
    if located is None:
        return CelInvalid(_plain(text.partition("\n")[0]))
    line, column = (max(int(number), 1) for number in located.groups()[:2])
    return CelInvalid(_plain(located[3].removesuffix(_CONTAINER)), line, column)


def _plain(message: str) -> str:
    """Return a message of the library without status codes and lists of tokens."""
    message = _STATUS.sub("", _STATUS.sub("", message)).partition(" expecting {")[0]
    message = message.replace("\0", "\ufffd")  # Postgres cannot store it
    return _OVERLOAD.sub(r"\1 is not defined for \2", message).rstrip(".")
