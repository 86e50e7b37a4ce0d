"""Put secrets into a call, and mask them in everything that comes back."""

import codecs
import tempfile
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from execfabric.lib.masking import Masker
from orchestration.skills.domain.outcome import Failed, Succeeded
from orchestration.skills.execution import folders
from orchestration.skills.execution.calls import replaced

Secrets = Callable[[str], str]
"""Returns a secret by name; raises if the name is unknown or not allowed."""

LONGEST_CODE = 100
LONGEST_MESSAGE = 4000
CHUNK = 1024 * 1024
SCHEMES = frozenset({"basic", "bearer", "token"})


class SecretInFile(Exception):
    """A file contains a secret that cannot be masked without damaging the file."""


class LogTap:
    """Decodes and masks the log of a call, across chunks."""

    def __init__(self, masker: Masker) -> None:
        self._masked = masker.stream()
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode

    def feed(self, chunk: bytes) -> str:
        """Add bytes; return the text that is now safe to show."""
        return _storable(self._decode(self._masked.feed(chunk)))

    def finish(self) -> str:
        return _storable(self._decode(self._masked.finish(), final=True))


def resolved(value: Any, secrets: Secrets, used: set[str]) -> Any:
    """Replace each `{"$secret": name}` in `value`; add what to mask to `used`."""

    def resolve(name: str) -> str:
        secret = secrets(name)
        used.update(_sensitive(secret))
        return secret

    return replaced(value, "$secret", resolve)


def answer_masked(frame: dict[str, Any], masker: Masker) -> dict[str, Any]:
    """Mask an answer of the runner; limit its messages."""
    outcome = frame.get("outcome")
    if outcome is None:
        masked: dict[str, Any] = masker.value(frame)
        return masked
    if outcome["kind"] == "succeeded":
        # Paths are not masked: they are read once, here, and never shown.
        return {"outcome": {**outcome, "output": masker.value(outcome["output"])}}
    code = masker.text(_storable(outcome["code"]))[:LONGEST_CODE]
    message = masker.text(_storable(outcome["message"]))[:LONGEST_MESSAGE]
    return {"outcome": {**outcome, "code": code, "message": message}}


def mask_files(
    outcome: Succeeded,
    masker: Masker,
    workdir: Path,
    meanwhile: Callable[[], None] = lambda: None,
) -> tuple[Succeeded | Failed, tuple[str, ...]]:
    """Mask the secrets in the files of a call; also return the names of those files.

    That may take long, so `meanwhile` is called repeatedly. The paths must be checked
    plain files below `workdir`.
    """
    masked = []
    for name, files in outcome.files.items():
        for path in [files] if isinstance(files, Path) else files:
            try:
                changed = bool(masker.forms) and _mask_file(
                    path, masker, workdir, meanwhile
                )
            except SecretInFile as error:
                return Failed("skill.secret_in_file", str(error)), ()
            if changed:
                masked.append(f"{name}/{path.name}")
    return outcome, tuple(masked)


def _mask_file(
    path: Path, masker: Masker, workdir: Path, meanwhile: Callable[[], None]
) -> bool:
    """Mask the secrets in one file; return True if there were any.

    :raises SecretInFile: when it is not text, or its name holds a secret
    """
    masked_name = masker.text(path.name)
    if masked_name != path.name:
        message = f"The step ran, but the name of its file {masked_name!r} contains a secret. The file was not stored. Rename it."
        raise SecretInFile(message)
    finder = masker.finder()
    with folders.opened_file(workdir, path) as source:
        if not any(map(finder.finds, _chunks(source, meanwhile))):
            return False
    with tempfile.NamedTemporaryFile(dir=workdir, delete=False) as target:
        stream = masker.stream()
        check = codecs.getincrementaldecoder("utf-8")()
        with folders.opened_file(workdir, path) as source:
            try:
                for chunk in _chunks(source, meanwhile):
                    if "\0" in check.decode(chunk):
                        raise UnicodeError  # noqa: TRY301 - it is not text either
                    target.write(stream.feed(chunk))
                check.decode(b"", final=True)
            except UnicodeError:
                message = f"The step ran, but its file {masked_name!r} contains a secret and cannot be masked: it is not UTF-8 text. The file was not stored."
                raise SecretInFile(message) from None
        target.write(stream.finish())
    # A new file, because the old one may have further names elsewhere.
    Path(target.name).replace(path)
    return True


def _chunks(source: BinaryIO, meanwhile: Callable[[], None]) -> Iterator[bytes]:
    while chunk := source.read(CHUNK):
        yield chunk
        meanwhile()


def _sensitive(secret: str) -> set[str]:
    """Return the secret, the token after a scheme, and the password of an address."""
    scheme, _, token = secret.partition(" ")
    parts = {secret, token} if scheme.lower() in SCHEMES and token else {secret}
    if "://" not in secret:
        return parts
    try:
        password = urllib.parse.urlsplit(secret).password
    except ValueError:
        return parts
    return {*parts, password, urllib.parse.unquote(password)} if password else parts


def _storable(text: str) -> str:
    """Replace what Postgres cannot store as text: NUL and lone surrogates."""
    return (
        text.encode(errors="replace")
        .decode()
        .replace("\0", "\N{REPLACEMENT CHARACTER}")
    )
