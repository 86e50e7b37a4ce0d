"""Files: collect from allowed folders, publish, unpublish and pack."""

import gzip
import hashlib
import shutil
import tarfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from orchestration.skills.builtin.common import digest_of_key, file_list, shown
from orchestration.skills.builtin.files import confined, publishing
from orchestration.skills.builtin.files.confined import Found
from orchestration.skills.domain.handlers import check_of, dry_run_of, handler
from orchestration.skills.domain.outcome import (
    Call,
    DryRunResult,
    File,
    Outcome,
    Succeeded,
    refused,
)

COLLECT = "files.collect@1"
PUBLISH = "files.publish@1"
UNPUBLISH = "files.unpublish@1"
ARCHIVE = "files.archive@1"
MOST_FILES = 1000
MOST_BYTES = 1024**3
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time in a zip file, so that the same files result in the same archive."""


@handler(COLLECT)
def collect(call: Call) -> Outcome:
    """Copy all matching files into the folder of the step."""
    listed: list[dict[str, Any]] = []
    paths: list[Path] = []
    for root, match in _matches(call):
        path = call.workdir / "collected" / f"{len(paths):04d}" / match.parts[-1]
        path.parent.mkdir(parents=True)
        with (
            confined.opened_root(root) as top,
            confined.opened_file(top, match.parts) as source,
            path.open("xb") as target,
        ):
            digest = confined.copy(source, target)
        size = path.stat().st_size
        listed.append({"path": match.path, "bytes": size, "sha256": digest})
        paths.append(path)
    call.log(f"collected {_files(len(paths))}")
    return Succeeded(
        output={
            "count": len(paths),
            "bytes": sum(item["bytes"] for item in listed),
            "names": [path.name for path in paths],
            "files": listed,
        },
        files={"collected": paths},
    )


@dry_run_of(COLLECT)
def preview_collect(call: Call) -> DryRunResult:
    matches = list(_matches(call))
    size = sum(item.size for _, item in matches)
    return DryRunResult(
        summary=f"Copies {_files(len(matches))} with {size} bytes in all.",
        changes=tuple(f"reads {item.path}" for _, item in matches),
    )


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"


@check_of(COLLECT)
def check_collect(call: Call) -> None:
    list(_matches(call))


@handler(PUBLISH)
def publish(call: Call) -> Outcome:
    """Write the file below the publish root, completely or not at all."""
    file = call.params["file"]
    entry = publishing.publish(
        _publish_root(call.config),
        file,
        _destination(call.params, file.name),
        key=digest_of_key(call),
        overwrite=call.params.get("overwrite", False),
    )
    output = {"path": entry.path, "sha256": entry.sha256, "bytes": file.size}
    return Succeeded(output={**output, "replaced_sha256": entry.replaced or None})


@dry_run_of(PUBLISH)
def preview_publish(call: Call) -> DryRunResult:
    file = call.params["file"]
    if not isinstance(file, File):
        return DryRunResult(
            summary=f"Publishes {shown(file)} to {call.params.get('to', '')}."
        )
    path = _destination(call.params, file.name)
    current = publishing.current(_publish_root(call.config), path)
    if current and not call.params.get("overwrite", False):
        message = f"{path} already exists. Set `overwrite` to replace it."
        raise refused("files.exists", message)
    verb = "replaces" if current else "creates"
    change = f"{verb} {path} ({file.size} bytes, sha256 {file.sha256})"
    return DryRunResult(summary=f"Publishes {file.name} as {path}.", changes=(change,))


@check_of(PUBLISH)
def check_publish(call: Call) -> None:
    file = call.params.get("file")
    name = file.name if isinstance(file, File) else "file"
    publishing.current(_publish_root(call.config), _destination(call.params, name))


@handler(UNPUBLISH)
def unpublish(call: Call) -> Outcome:
    """Remove a published file if its content is still the published one."""
    path = call.params["path"]
    entry = publishing.unpublish(
        _publish_root(call.config), path, sha256=call.params.get("sha256", "")
    )
    restored = entry.replaced if entry and entry.replaced else None
    output = {"path": path, "removed": entry is not None, "restored_sha256": restored}
    return Succeeded(output=output)


@dry_run_of(UNPUBLISH)
def preview_unpublish(call: Call) -> DryRunResult:
    path = shown(call.params["path"])
    return DryRunResult(
        summary=f"Removes {path} if its content is still the published one.",
        changes=(f"removes {path}",),
    )


@handler(ARCHIVE)
def archive(call: Call) -> Outcome:
    """Pack the files. The same files in the same order result in the same bytes."""
    files = file_list(call.params["files"])
    kind = call.params.get("format", "zip")
    name = call.params.get("name") or f"archive.{kind}"
    path = call.workdir / PurePosixPath(name).name
    entries = list(_entries(files))
    if kind == "zip":
        _zip(path, entries)
    else:
        _tar(path, entries)
    with path.open("rb") as packed:
        digest = hashlib.file_digest(packed, "sha256").hexdigest()
    output = {"entries": len(entries), "bytes": path.stat().st_size, "sha256": digest}
    return Succeeded(output=output, files={"archive": path})


@dry_run_of(ARCHIVE)
def preview_archive(call: Call) -> DryRunResult:
    kind = call.params.get("format", "zip")
    return DryRunResult(summary=f"Packs {shown(call.params['files'])} as {kind}.")


def _matches(call: Call) -> Iterator[tuple[Path, Found]]:
    """Return all matches in all roots.

    :raises CallFailed: when the pattern is invalid, or there are too many or no matches
    """
    pattern = confined.parts_of(call.params["pattern"])
    count = size = 0
    for root in _roots(call):
        with confined.opened_root(root) as top:
            for match in confined.matching(top, pattern):
                count, size = count + 1, size + match.size
                _bound(call.config, count, size)
                yield root, match
    if not count and not call.params.get("allow_empty", False):
        message = f"Cannot collect files: none matches {call.params['pattern']!r}. Correct the pattern, or set `allow_empty`."
        raise refused("files.nothing_matches", message)


def _bound(config: Mapping[str, Any], count: int, size: int) -> None:
    if count > config.get("max_files", MOST_FILES):
        message = f"Cannot collect files: too many match (max {count - 1}). Use a narrower pattern."
        raise refused("files.too_many", message)
    if size > (most := config.get("max_bytes", MOST_BYTES)):
        message = f"Cannot collect files: the matching files are too large (max {most} bytes). Use a narrower pattern."
        raise refused("files.too_large", message)


def _roots(call: Call) -> list[Path]:
    roots = {str(root): Path(root) for root in call.config.get("roots", ())}
    wanted = call.params.get("root")
    if wanted is None and roots:
        return list(roots.values())
    named = [path for text, path in roots.items() if wanted in {text, path.name}]
    if not named:
        what = f"unknown root {wanted!r}" if wanted else "no root is configured"
        message = f"Cannot read files: {what}. Ask an admin to configure it."
        raise refused("files.no_root", message)
    return named


def _publish_root(config: Mapping[str, Any]) -> Path:
    root = config.get("publish_root", "")
    if not root:
        message = "Cannot publish: no publish root is configured. Ask an admin."
        raise refused("files.no_root", message)
    return Path(root)


def _destination(params: Mapping[str, Any], name: str) -> str:
    to = params.get("to", "")
    name = params.get("name") or PurePosixPath(name).name
    path = f"{to}{name}" if to.endswith("/") or not to else to
    return "/".join(confined.parts_of(path))


def _entries(files: Sequence[File]) -> Iterator[tuple[str, Path]]:
    """Return the names in the archive. A duplicate name gets a number."""
    seen: dict[str, int] = {}
    for file in files:
        name = PurePosixPath(file.name).name
        seen[name] = seen.get(name, 0) + 1
        stem, suffix = PurePosixPath(name).stem, PurePosixPath(name).suffix
        yield (name if seen[name] == 1 else f"{stem}-{seen[name]}{suffix}"), file.path


def _zip(path: Path, entries: Sequence[tuple[str, Path]]) -> None:
    with zipfile.ZipFile(path, "x", zipfile.ZIP_DEFLATED, compresslevel=6) as packed:
        for name, source in entries:
            info = zipfile.ZipInfo(name, EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            info.create_system = 3
            info.file_size = source.stat().st_size
            with source.open("rb") as file, packed.open(info, "w") as target:
                shutil.copyfileobj(file, target, confined.CHUNK)


def _tar(path: Path, entries: Sequence[tuple[str, Path]]) -> None:
    with (
        path.open("xb") as raw,
        gzip.GzipFile(fileobj=raw, mode="wb", filename="", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name, source in entries:
            info = tarfile.TarInfo(name)
            info.size, info.mode = source.stat().st_size, 0o644
            with source.open("rb") as file:
                tar.addfile(info, file)
