"""Handlers that only tests have: honest about what they do to the outside world.

Loaded through the plugin seam `EXECFABRIC_EXTRA_HANDLERS=tests.handlers`.
"""

import os
import sys
import time
from pathlib import Path
from typing import Any

from orchestration.skills.domain.contract import (
    FILE_SCHEMA,
    ActionContract,
    DryRunKind,
    EffectClass,
    RetryRule,
    Risk,
    SkillContract,
)
from orchestration.skills.domain.handlers import dry_run_of, handler, probe
from orchestration.skills.domain.outcome import (
    Call,
    CannotTell,
    DidHappen,
    DidNotHappen,
    DryRunResult,
    Failed,
    Outcome,
    ProbeResult,
    Retry,
    Succeeded,
    Unknown,
)

ANY: dict[str, Any] = {"type": "object"}
STRICT: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["url"],
    "properties": {
        "url": {"type": "string", "pattern": "^https://"},
        "count": {"type": "integer", "minimum": 1},
        "note": {"type": ["string", "null"]},
        "day": {"type": "string", "format": "date"},
    },
}


@handler("lab.echo@1")
def echo(call: Call) -> Outcome:
    """Give back what came in."""
    return Succeeded(output=dict(call.params))


@dry_run_of("lab.echo@1")
def echo_dry_run(call: Call) -> DryRunResult:
    """Say what would come back."""
    return DryRunResult("Echo the params.", output=dict(call.params))


@handler("lab.witness@1")
def witness(call: Call) -> Outcome:
    """Append one line to a file outside the system: the effect that tests count."""
    line = f"{call.params['mark']} {call.idempotency_key}\n".encode()
    for number in range(call.params.get("say", 0)):
        call.log(f"line {number}")
    time.sleep(float(call.params.get("before", 0)))
    while Path(call.params.get("hold", "/nonexistent")).exists():
        time.sleep(0.05)
    fd = os.open(call.config["witness"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(fd, line)
    os.close(fd)
    while Path(call.params.get("while", "/nonexistent")).exists():
        time.sleep(0.05)
    until = time.monotonic() + float(call.params.get("after", 0))
    while (left := until - time.monotonic()) > 0:
        if "say" in call.params:
            call.log("still here")
        time.sleep(min(left, 0.05))
    files = {}
    if "file" in call.params:
        files = {"note": call.workdir / "note.txt"}
        files["note"].write_text(call.params["file"])
    return Succeeded(output={"mark": call.params["mark"]}, files=files)


@probe("lab.witness-probe@1")
def ask_witness(call: Call) -> ProbeResult:
    """Look for the line of this step in the file, or answer in the way that is named."""
    how = call.params.get("probe", "")
    call.log(f"looking, begun at {call.started_at}\n")
    if how == "hang":
        time.sleep(3600)
    if how == "die":
        os._exit(3)
    if how == "raise":
        message = "it broke"
        raise RuntimeError(message)
    if how == "touch":
        Path(call.config["witness"]).write_text("touched")
    while Path(call.params.get("probe_while", "/nonexistent")).exists():
        time.sleep(0.05)
    answers: dict[str, Any] = {
        "bad output": DidHappen("It is there.", {"mark": 7}),
        "rubbish": "yes",
        "silent": DidHappen("", {"mark": "x"}),
        "unsure": CannotTell("The target is not reachable."),
        "hostile": CannotTell("a\0b\ud800" + "x" * 5000),
        "secret": CannotTell(f"The token is {call.config['token']}."),
    }
    if how in answers:
        return answers[how]  # type: ignore[no-any-return]
    path = Path(call.config["witness"])
    lines = path.read_text().splitlines() if path.exists() else []
    line = f"{call.params['mark']} {call.idempotency_key}"
    if line in lines:
        return DidHappen(f"Line {lines.index(line)}.", {"mark": call.params["mark"]})
    return DidNotHappen("The file has no such line.")


@handler("lab.ask@1")
def ask(call: Call) -> Outcome:
    """Answer a prompt, with what came in."""
    return Succeeded(output={"text": "An answer.", "severity": "low", **call.params})


BAD_ENDS: dict[str, Outcome] = {
    "busy": Retry("lab.busy", "The target is busy."),
    "early": Failed("lab.early", "No target is configured.", before_effect=True),
    "fail": Failed("lab.refused", "The target said no."),
    "number": Succeeded(output={"ok": True, "number": 1e16}),
    "unknown": Unknown("lab.silent", "The target did not answer."),
}


@handler("lab.misbehave@1")
def misbehave(call: Call) -> Outcome:
    """Do one of the things that a bad skill does."""
    how = call.params["how"]
    if how == "raise":
        hidden = "a local value"
        raise RuntimeError("it broke" + hidden[:0])
    if how == "hang":
        time.sleep(3600)
    if how == "flood":
        for _ in range(4000):
            sys.stdout.write("flood " * 200 + "\n")
        return Succeeded(output={"ok": True})
    if how == "huge":
        return Succeeded(output={"text": "x" * (8 << 20)})
    if how == "memory":
        return Succeeded(output={"text": "x" * (3 << 30)})
    if how == "schema":
        return Succeeded(output={"ok": "not a boolean"})
    if how == "die":
        os._exit(3)
    return BAD_ENDS.get(how, Succeeded(output={"ok": True}))


@handler("lab.flaky@1")
def flaky(call: Call) -> Outcome:
    """Ask for another try until the file has as many lines as asked for."""
    path = Path(call.config["witness"])
    with path.open("a") as out:
        out.write(f"try {call.idempotency_key}\n")
    tries = path.read_text().count(call.idempotency_key)
    if tries < int(call.params["until"]):
        return Retry("lab.busy", f"Try {tries} was too early.")
    return Succeeded(output={"tries": tries})


@handler("lab.write@1")
def write(call: Call) -> Outcome:
    """Yield a file."""
    raw = bytes.fromhex(call.params.get("raw_name", ""))
    path = call.workdir / (os.fsdecode(raw) or call.params.get("name", "note.txt"))
    path.write_text(call.params["text"])
    return Succeeded(output={"bytes": path.stat().st_size}, files={"note": path})


@handler("lab.read@1")
def read(call: Call) -> Outcome:
    """Read a file that an earlier step yielded."""
    given = call.params["file"]
    return Succeeded(output={"text": given.path.read_text(), "sha256": given.sha256})


@handler("lab.secret@1")
def secret(call: Call) -> Outcome:
    """Print and return a secret, as a careless skill would."""
    sys.stdout.write(f"the token is {call.config['token']}\n")
    return Succeeded(output={"token": call.config["token"]})


@handler("lab.leak@1")
def leak(call: Call) -> Outcome:
    """Write a secret into a file, after `times` the bytes of `before`."""
    path = call.workdir / call.params.get("name", "note.txt").format(**call.config)
    text = f"{call.config['token']} after".encode(call.params.get("encoding", "utf-8"))
    before = bytes.fromhex(call.params.get("before", ""))
    path.write_bytes(before * call.params.get("times", 1) + text)
    return Succeeded(output={"bytes": path.stat().st_size}, files={"note": path})


@handler("lab.touch@1")
def touch(call: Call) -> Outcome:
    """Succeed; its dry run is the bad part."""
    return Succeeded(output={"ok": True})


@dry_run_of("lab.touch@1")
def touch_dry_run(call: Call) -> DryRunResult:
    """Write a file although a dry run may not."""
    Path(call.params["path"]).write_text("touched")
    return DryRunResult("wrote it")


@handler("lab.look@1")
def look(call: Call) -> Outcome:
    """Succeed; its dry run is what matters."""
    return Succeeded(output={"ok": True})


@dry_run_of("lab.look@1")
def look_dry_run(call: Call) -> DryRunResult:
    """Answer in the way that is named."""
    how = call.params["how"]
    if how == "die":
        os._exit(3)
    if how == "hang":
        time.sleep(3600)
    if how == "wait":
        while Path(call.params["while"]).exists():
            time.sleep(0.05)
    if how == "raise":
        message = "it broke"
        raise RuntimeError(message)
    if how == "touch":
        Path(call.params["path"]).write_text("touched")
    if how == "would fail":
        return DryRunResult.failing("The target is not there.")
    if how == "secret":
        return DryRunResult(f"The token is {call.config['token']}.")
    if how == "read":
        return DryRunResult(f"It reads {call.params['file'].path.read_text()}")
    if how == "long":
        return DryRunResult(
            "\0" + "x" * 5000, changes=("y",) * 1000, output={"z": "z" * 300_000}
        )
    return DryRunResult("It looks.")


def _action(name: str, **fields: Any) -> ActionContract:
    given = {
        "summary": f"Laboratory action {name}.",
        "handler": f"lab.{name}@1",
        "input_schema": ANY,
        "output_schema": ANY,
        "effect_class": EffectClass.PURE,
        "risk": Risk.LOW,
        "timeout_s": 30.0,
    } | fields
    return ActionContract(name=name, **given)


SKILL = SkillContract(
    slug="lab",
    version="1.0.0",
    name="Laboratory",
    description="Actions that only tests use.",
    domain="test",
    config={
        "witness": os.environ.get("EXECFABRIC_TEST_WITNESS", "/nonexistent/witness"),
        "token": {"$secret": "lab-token"},
    },
    actions=(
        _action("echo", dry_run=DryRunKind.SIMULATED, undo="echo"),
        _action("risky", handler="lab.echo@1", risk=Risk.HIGH, undo="echo"),
        _action("witness", effect_class=EffectClass.NON_IDEMPOTENT, files=("note",)),
        _action(
            "probed",
            handler="lab.witness@1",
            effect_class=EffectClass.PROBEABLE,
            probe="lab.witness-probe@1",
            undo="probed",
            undo_params={"mark": "undone"},
            output_schema={
                "type": "object",
                "required": ["mark"],
                "properties": {"mark": {"type": "string"}},
            },
        ),
        _action(
            "probed-if",
            handler="lab.witness@1",
            effect_class=EffectClass.NON_IDEMPOTENT,
            probe="lab.witness-probe@1",
            probe_param="probe",
            input_schema={
                "type": "object",
                "properties": {"probe": {"type": "string"}},
            },
        ),
        _action(
            "probed-once",
            handler="lab.misbehave@1",
            effect_class=EffectClass.PROBEABLE,
            probe="lab.witness-probe@1",
        ),
        _action(
            "probed-again",
            handler="lab.misbehave@1",
            effect_class=EffectClass.IDEMPOTENT,
            probe="lab.witness-probe@1",
        ),
        _action(
            "witness-again",
            handler="lab.witness@1",
            effect_class=EffectClass.IDEMPOTENT,
        ),
        _action(
            "witness-gated",
            handler="lab.witness@1",
            effect_class=EffectClass.NON_IDEMPOTENT,
            risk=Risk.CRITICAL,
        ),
        _action(
            "misbehave",
            output_schema={
                "type": "object",
                "properties": {"ok": {"type": "boolean"}},
            },
        ),
        _action(
            "misbehave-again",
            handler="lab.misbehave@1",
            effect_class=EffectClass.IDEMPOTENT,
            retry=RetryRule(attempts=2, initial_s=0.01),
        ),
        _action(
            "once",
            handler="lab.misbehave@1",
            effect_class=EffectClass.NON_IDEMPOTENT,
        ),
        _action("flaky", retry=RetryRule(attempts=4, initial_s=0.01, max_s=0.02)),
        _action("write", files=("note",)),
        _action(
            "read",
            input_schema={
                "type": "object",
                "required": ["file"],
                "properties": {"file": FILE_SCHEMA},
            },
        ),
        _action("ask"),
        _action(
            "effect",
            handler="lab.echo@1",
            effect_class=EffectClass.NON_IDEMPOTENT,
            output_schema={
                "type": "object",
                "additionalProperties": False,
                "required": ["ticket"],
                "properties": {
                    "ticket": {"type": "string", "minLength": 1},
                    "count": {"type": "integer"},
                },
            },
            files=("note",),
        ),
        _action(
            "strict",
            handler="lab.echo@1",
            input_schema=STRICT,
            dry_run=DryRunKind.SIMULATED,
        ),
        _action(
            "strict-risky",
            handler="lab.echo@1",
            input_schema=STRICT,
            risk=Risk.HIGH,
        ),
        _action("secret"),
        _action("leak", files=("note",)),
        _action("touch", dry_run=DryRunKind.SIMULATED),
        _action("look", dry_run=DryRunKind.SIMULATED),
        _action(
            "look-with-secret",
            handler="lab.look@1",
            dry_run=DryRunKind.SIMULATED,
            dry_run_secrets=("token",),
        ),
    ),
    config_schema={"type": "object"},
)
