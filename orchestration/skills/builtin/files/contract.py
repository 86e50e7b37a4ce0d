"""What the skill `files` promises."""

from orchestration.skills.builtin.shapes import (
    files,
    flag,
    listing,
    number,
    one_file,
    record,
    sha256,
    text,
)
from orchestration.skills.domain.contract import (
    ActionContract,
    DryRunKind,
    EffectClass,
    RetryRule,
    Risk,
    SkillContract,
)

COLLECT = "files.collect@1"
PUBLISH = "files.publish@1"
UNPUBLISH = "files.unpublish@1"
ARCHIVE = "files.archive@1"

_COLLECT = ActionContract(
    name="collect",
    summary="Copy the files that match {pattern} from the allowed folders.",
    handler=COLLECT,
    input_schema=record(
        {
            "pattern": text(
                "Pattern",
                "Path below the root with * and ? in names and ** for any depth.",
                minLength=1,
            ),
            "root": text(
                "Root", "One of the configured roots; all where none is given."
            ),
            "allow_empty": flag("May be empty", "Succeed where nothing matches."),
        },
        ["pattern"],
    ),
    output_schema=record(
        {
            "count": number("Files", "How many files matched."),
            "bytes": number("Bytes", "Their size in all."),
            "names": listing("Names", "Their names, in order.", {"type": "string"}),
            "files": listing(
                "Where they were",
                "Path below the root, size and digest of each.",
                record(
                    {
                        "path": text("Path", "Below the root."),
                        "bytes": number("Bytes", "Size."),
                        "sha256": sha256(),
                    },
                    ["path", "bytes", "sha256"],
                ),
            ),
        },
        ["count", "bytes", "names", "files"],
    ),
    effect_class=EffectClass.PURE,
    risk=Risk.LOW,
    timeout_s=300,
    retry=RetryRule(attempts=2),
    dry_run=DryRunKind.SIMULATED,
    checks_target=True,
    files=("collected",),
)

_PUBLISH = ActionContract(
    name="publish",
    summary="Publish {file} to {to}.",
    handler=PUBLISH,
    input_schema=record(
        {
            "file": one_file("File", "What to publish."),
            "to": text(
                "Where to", "Folder (ends with /) or path below the publish root."
            ),
            "name": text("Name", "Another name than the file has.", pattern="^[^/]+$"),
            "overwrite": flag("Overwrite", "Replace what stands there; it is kept."),
        },
        ["file"],
    ),
    output_schema=record(
        {
            "path": text("Path", "Where it stands, below the publish root."),
            "sha256": sha256(),
            "bytes": number("Bytes", "Its size."),
            "replaced_sha256": {
                "type": ["string", "null"],
                "title": "Replaced",
                "description": "Digest of what stood there before, if anything did.",
            },
        },
        ["path", "sha256", "bytes", "replaced_sha256"],
    ),
    effect_class=EffectClass.IDEMPOTENT,
    risk=Risk.HIGH,
    timeout_s=300,
    retry=RetryRule(attempts=2),
    undo="unpublish",
    undo_params={"path": "$self.output.path", "sha256": "$self.output.sha256"},
    dry_run=DryRunKind.SIMULATED,
    checks_target=True,
)

_UNPUBLISH = ActionContract(
    name="unpublish",
    summary="Take back what was published as {path}.",
    handler=UNPUBLISH,
    input_schema=record(
        {
            "path": text(
                "Path", "Where it stands, below the publish root.", minLength=1
            ),
            "sha256": sha256("SHA-256", "Only if this is what was published."),
        },
        ["path"],
    ),
    output_schema=record(
        {
            "path": text("Path", "What was to be removed."),
            "removed": flag("Removed", "No when it was gone already."),
            "restored_sha256": {
                "type": ["string", "null"],
                "title": "Restored",
                "description": "Digest of the former content, if it was put back.",
            },
        },
        ["path", "removed", "restored_sha256"],
    ),
    effect_class=EffectClass.IDEMPOTENT,
    risk=Risk.MEDIUM,
    timeout_s=60,
    retry=RetryRule(attempts=3),
    dry_run=DryRunKind.SIMULATED,
)

_ARCHIVE = ActionContract(
    name="archive",
    summary="Pack {files} into one file.",
    handler=ARCHIVE,
    input_schema=record(
        {
            "files": files("Files", "What to pack, in this order."),
            "format": text("Format", "Kind of archive.", enum=["zip", "tar.gz"]),
            "name": text("Name", "Name of the archive.", pattern="^[^/]+$"),
        },
        ["files"],
    ),
    output_schema=record(
        {
            "entries": number("Entries", "How many files are in it."),
            "bytes": number("Bytes", "Its size."),
            "sha256": sha256(),
        },
        ["entries", "bytes", "sha256"],
    ),
    effect_class=EffectClass.PURE,
    risk=Risk.LOW,
    timeout_s=300,
    dry_run=DryRunKind.SIMULATED,
    files=("archive",),
)

SKILL = SkillContract(
    slug="files",
    version="1.0.0",
    name="Files",
    description="Collects files from allowed folders, publishes them and takes them back, packs them.",
    domain="data",
    actions=(_COLLECT, _PUBLISH, _UNPUBLISH, _ARCHIVE),
    config_schema=record(
        {
            "roots": listing(
                "Roots", "Folders that files may be read from.", {"type": "string"}
            ),
            "publish_root": text(
                "Publish root", "Folder that files are published below."
            ),
            "max_files": number("Most files", "In one collection.", minimum=1),
            "max_bytes": number("Most bytes", "In one collection.", minimum=1),
        }
    ),
    allowed=(
        "Read plain files below the configured roots.",
        "Write below the configured publish root, and remove what it wrote itself.",
    ),
    forbidden=(
        "Follow links, or leave the configured folders in any other way.",
        "Replace a published file unless the plan asks for it.",
        "Remove a file whose content has changed since it was published.",
    ),
)
