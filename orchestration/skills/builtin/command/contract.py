"""What the skill `command` promises."""

from orchestration.skills.builtin.shapes import (
    files,
    flag,
    listing,
    number,
    record,
    text,
)
from orchestration.skills.domain.contract import (
    ActionContract,
    DryRunKind,
    EffectClass,
    Risk,
    SkillContract,
)
from orchestration.skills.domain.limits import Limits

RUN = "command.run@1"

_RUN = ActionContract(
    name="run",
    summary="Run {argv} in a sandbox.",
    handler=RUN,
    input_schema=record(
        {
            "argv": listing(
                "Command",
                "Program and arguments; no shell reads them.",
                {"type": "string", "pattern": r"^[^\x00]*$"},
                minItems=1,
            ),
            "stdin": text("Input", "What the program reads on its standard input."),
            "files": files("Files", "Copied into the folder `in/` beforehand."),
            "environment": {
                "type": "object",
                "title": "Environment",
                "description": "Variables; no others are passed on.",
                "propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
                "maxProperties": 500,
                "additionalProperties": {"type": "string"},
            },
            "expect": listing(
                "Expect",
                "Exit codes that are a success (default 0).",
                {"type": "integer"},
            ),
        },
        ["argv"],
    ),
    output_schema=record(
        {
            "exit_code": number("Exit code", "Of the program."),
            "stdout": text("Output", "The end of its standard output."),
            "stderr": text("Errors", "The end of its standard error output."),
            "stdout_bytes": number("Output bytes", "In all."),
            "stderr_bytes": number("Error bytes", "In all."),
            "sandboxed": flag("Sandboxed", "True if this run was in a sandbox."),
            "names": listing(
                "Names", "Of the files it left in `out/`.", {"type": "string"}
            ),
        },
        [
            "exit_code",
            "stdout",
            "stderr",
            "stdout_bytes",
            "stderr_bytes",
            "sandboxed",
            "names",
        ],
    ),
    effect_class=EffectClass.NON_IDEMPOTENT,
    risk=Risk.CRITICAL,
    timeout_s=300,
    limits=Limits(processes=256, file_mb=256, disk_mb=1024),
    dry_run=DryRunKind.NONE,
    sandboxed=True,
    files=("out",),
)

SKILL = SkillContract(
    slug="command",
    version="1.0.0",
    name="Command",
    description="Runs a program in a sandbox without network, with a folder of its own.",
    domain="engineering",
    actions=(_RUN,),
    config_schema=record(
        {
            "programs": listing(
                "Programs", "Where set, no others.", {"type": "string"}
            ),
            "allow_unsandboxed": flag(
                "Allow without sandbox",
                "Run as the worker's own user where no sandbox works. Dangerous.",
            ),
            "memory_mb": number("Memory", "Most megabytes.", minimum=16),
            "cpu_s": number("Processor time", "Most seconds.", minimum=1),
            "file_mb": number("File size", "Most megabytes of one file.", minimum=1),
            "programs_at_once": number("At once", "Most programs at once.", minimum=1),
        }
    ),
    allowed=("Run a program on the files a step is given.",),
    forbidden=(
        "Reach the network, or any file but its own and the system's programs.",
        "Outlive its step.",
    ),
)
