"""Find out if a file was published by a step: the ledger beside it names the step."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from orchestration.skills.builtin.common import digest_of_key
from orchestration.skills.builtin.files import confined, publishing

# Private there: with other names, the code of runs that are approved would have changed.
from orchestration.skills.builtin.files.handlers import _destination as destination
from orchestration.skills.builtin.files.handlers import _publish_root as publish_root
from orchestration.skills.builtin.files.publishing import Entry
from orchestration.skills.builtin.files.publishing import _name as ledger_name
from orchestration.skills.domain.handlers import probe
from orchestration.skills.domain.outcome import (
    Call,
    CannotTell,
    DidHappen,
    ProbeResult,
)


@probe("files.publish-probe@1")
def published(call: Call) -> ProbeResult:
    """Compare the ledger and the file with what this step would write."""
    file, root = call.params["file"], publish_root(call.config)
    path = destination(call.params, file.name)
    entries, key = [*_entries(root, path)], digest_of_key(call)
    if key not in {entry.key for entry in entries}:
        # It may have been published, unpublished and published again since.
        return CannotTell(f"The ledger has no entry of this step for {path}.")
    newest = entries[0]
    if newest.key != key:
        return CannotTell(f"{path} was published, and replaced since.")
    now = publishing.current(root, path)
    if now == newest.sha256 == file.sha256:
        output = {"path": path, "sha256": now, "bytes": file.size}
        output["replaced_sha256"] = newest.replaced or None
        return DidHappen(f"{path} has the content and the entry of this step.", output)
    return CannotTell(f"{path} does not have the content of this step.")


def _entries(root: Any, path: str) -> Iterator[Entry]:
    """Return the entry of a path in the ledger, then those that it replaced."""
    found: Mapping[str, Any] | None = None
    try:
        with (
            confined.opened_root(root) as top,
            confined.opened_folder(top, (publishing.LEDGER,)) as ledger,
            confined.opened_file(ledger, (ledger_name(path),)) as file,
        ):
            found = json.load(file)
    except FileNotFoundError:
        return
    while found is not None:
        entry = Entry(**found)
        yield entry
        found = entry.former
