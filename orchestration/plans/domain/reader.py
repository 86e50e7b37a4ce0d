"""One object of a document: its keys, each taken once, in either spelling, and checked."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from orchestration.plans.domain.naming import near
from orchestration.plans.domain.problem import Path, Problems

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
LONGEST_S = 366 * 86400.0
SPELLINGS: Mapping[str, str] = {
    "depends_on": "dependsOn",
    "trigger_rule": "triggerRule",
    "on_failure": "onFailure",
    "expires_in": "expiresIn",
}
_DURATION = re.compile(r"(?:[0-9]{1,9}(?:\.[0-9]{1,9})?(?:ms|s|m|h|d))+")
_PART = re.compile(r"([0-9.]+)(ms|s|m|h|d)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Reader:
    """One object of the document: its keys, each taken once and checked."""

    def __init__(
        self,
        value: Mapping[str, Any],
        path: Path,
        problems: Problems,
        step: str | None = None,
    ) -> None:
        self.path = path
        self.problems = problems
        self.step = step
        self._value: dict[str, Any] = {}
        self._written: dict[str, str] = {}
        for key, item in value.items():
            name = SPELLINGS.get(key, key)
            if name in self._value:
                self.say(
                    "plan.duplicate_key",
                    f"{key!r} repeats {self._written[name]!r}.",
                    key,
                )
            self._value[name] = item
            self._written[name] = key

    def say(self, code: str, message: str, *below: str | int) -> None:
        """Note a problem of this object, or of a key in it."""
        self.problems.add(code, message, (*self.path, *below), step=self.step)

    def has(self, key: str) -> bool:
        """Whether the key is given."""
        return key in self._value

    def raw(self, key: str) -> Any:
        """The value as it is."""
        return self._value.get(key)

    def written(self, key: str) -> str:
        """The spelling in which a key is written."""
        return self._written.get(key, key)

    def below(self, key: str, *more: str | int) -> Path:
        """The way to a key, as it is written."""
        return (*self.path, self.written(key), *more)

    def only(self, known: Iterable[str]) -> None:
        """Name every key that is not part of the language, and the nearest that is."""
        known = tuple(known)
        for name, key in self._written.items():
            if name not in known:
                message = f"{key!r} is not a key here.{near(key, known)}"
                self.say("plan.unknown_key", message, key)

    def text(self, key: str, *, required: bool = False) -> str:
        """A text; empty where there is none."""
        item = self._value.get(key)
        if item is None:
            if required:
                self.say("plan.missing_key", f"The key {key!r} is missing.")
            return ""
        if isinstance(item, bool | int | float):
            self._wrong(key, "text; put it in quotes")
            return ""
        if not isinstance(item, str):
            self._wrong(key, "text")
            return ""
        return item

    def name(self, key: str) -> str:
        """A required id."""
        found = self.text(key, required=True)
        if found and not ID.fullmatch(found):
            self.say(
                "plan.wrong_value",
                f"{found!r} is no id: letters, digits, - and _, at most 100.",
                self.written(key),
            )
        return found

    def one_of(self, key: str, allowed: tuple[str, ...]) -> str:
        """One of the allowed words; the first where none is given."""
        found = self.text(key) or allowed[0]
        if found not in allowed:
            hint = near(found, allowed)
            message = f"{found!r} is not one of {', '.join(allowed)}.{hint}"
            self.say("plan.wrong_value", message, self.written(key))
            return allowed[0]
        return found

    def mapping(self, key: str) -> dict[str, Any] | None:
        """An object, as it is."""
        item = self._value.get(key)
        if item is None:
            return None
        if not isinstance(item, dict):
            self._wrong(key, "an object")
            return None
        return item

    def child(self, key: str) -> "Reader | None":
        """A reader of the object under a key."""
        item = self.mapping(key)
        if item is None:
            return None
        return Reader(item, self.below(key), self.problems, self.step)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts, each once."""
        item = self._value.get(key)
        if item is None:
            return ()
        if not isinstance(item, list) or not all(isinstance(i, str) for i in item):
            self._wrong(key, "a list of step ids")
            return ()
        return tuple(dict.fromkeys(item))

    def number(self, key: str, most: int) -> int | None:
        """A whole number from 1 to `most`."""
        item = self._value.get(key)
        if item is None:
            return None
        if isinstance(item, bool) or not isinstance(item, int) or not 1 <= item <= most:
            self._wrong(key, f"a whole number from 1 to {most:,}")
            return None
        return item

    def seconds(self, key: str) -> float | None:
        """A duration in seconds."""
        item = self._value.get(key)
        if item is None:
            return None
        found = _duration(item)
        if found is None or not 0 < found <= LONGEST_S:
            self._wrong(key, "a duration such as 30s, 5m or 1h30m, at most 366d")
            return None
        return found

    def _wrong(self, key: str, wanted: str) -> None:
        self.say("plan.wrong_type", f"{key!r} must be {wanted}.", self.written(key))


def _duration(item: Any) -> float | None:
    """Seconds from a number or from text such as `1h30m`; None where it is neither."""
    if isinstance(item, int | float) and not isinstance(item, bool):
        return float(item)
    if isinstance(item, str) and _DURATION.fullmatch(item):
        return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(item))
    return None
