"""Vendored browser code is what its checksum and its licence file say."""

import hashlib
import json
import re
from pathlib import Path

VENDOR = Path(__file__).resolve().parents[2] / "static" / "vendor"


def test_each_vendored_script_has_its_checksum_and_licence() -> None:
    sums = dict(
        reversed(line.split())
        for line in (VENDOR / "SHA256SUMS").read_text().splitlines()
    )

    scripts = {path.name for path in VENDOR.glob("*.js")}
    assert scripts == sums.keys()
    for name, digest in sums.items():
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest
        assert (VENDOR / name.replace(".js", ".LICENSE.txt")).read_text()


def test_the_licence_file_names_each_bundled_package_in_its_version() -> None:
    lock = json.loads((VENDOR / "source" / "package-lock.json").read_text())["packages"]
    listed = set(
        re.findall(
            r"^- (\S+ \S+)$",
            (VENDOR / "codemirror.LICENSE.txt").read_text(),
            re.MULTILINE,
        )
    )
    bundled = {
        f"{path.removeprefix('node_modules/')} {package['version']}"
        for path, package in lock.items()
        if path and not package.get("dev") and not package.get("devOptional")
    }

    assert bundled == listed
