"""The variables of a command reach its program, and nothing of ours."""

import shutil
import subprocess
from pathlib import Path

import pytest

from orchestration.skills.builtin.command import handlers as command
from orchestration.skills.domain.outcome import Failed
from orchestration.skills.execution import sandbox
from orchestration.skills.execution.sandbox import SelfTest
from tests.skill_calls import Bench, as_file

needs_sandbox = pytest.mark.skipif(
    not sandbox.self_test().works, reason="the sandbox does not work here"
)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "calls")


def sh(bench: Bench, script: str, **params: object):
    return bench.run("command.run", {"argv": ["/bin/sh", "-c", script], **params})


@needs_sandbox
def test_the_loader_of_the_sandbox_tool_reads_no_variable_of_the_plan(bench, tmp_path):
    environment = {
        "LD_DEBUG": "libs",
        "LD_DEBUG_OUTPUT": str(tmp_path / "leak"),
        "LD_BIND_NOW": "1",
    }

    outcome = sh(bench, "exit 0", environment=environment)

    assert outcome.output["sandboxed"] is True
    assert [*tmp_path.glob("leak*")] == []


@needs_sandbox
@pytest.mark.skipif(not shutil.which("gcc"), reason="no compiler")
def test_a_preloaded_library_runs_inside_only(bench, tmp_path):
    source = tmp_path / "x.c"
    source.write_text(
        "#include <stdio.h>\n"
        "__attribute__((constructor)) static void x(void)"
        f'{{ FILE *f = fopen("{tmp_path}/escaped", "w"); if (f) fclose(f);'
        ' f = fopen("/call/loaded", "w"); if (f) fclose(f); }\n'
    )
    library = tmp_path / "x.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True)
    given = as_file(library)

    for name in ("LD_PRELOAD", "LD_AUDIT"):
        outcome = sh(
            bench,
            "cp loaded out/",
            files=[given],
            environment={name: "./in/x.so"},
        )

        assert outcome.output["names"] == ["loaded"], name
        assert not (tmp_path / "escaped").exists(), name


@needs_sandbox
def test_values_are_not_options_of_the_sandbox_tool(bench, tmp_path):
    value = f"x --bind {tmp_path} /mnt"

    outcome = sh(bench, 'echo "$A"; ls /mnt', environment={"A": value}, expect=[0, 2])

    assert outcome.output["stdout"] == value + "\n"
    assert outcome.output["exit_code"] == 2


@pytest.mark.parametrize(
    "environment",
    [{"A\n": "x"}, {"A=B": "x"}, {"1A": "x"}, {"": "x"}, {"A": "x\0--bind\0/\0/mnt"}],
    ids=["newline", "equals sign", "digit first", "empty", "NUL in a value"],
)
def test_a_variable_that_is_not_one_is_refused(bench, environment):
    # Past the schema: the sandbox does not trust what called it.
    call = bench.call({"argv": ["true"], "environment": environment})

    outcome = command.run(call)

    assert isinstance(outcome, Failed)
    assert outcome.code == "command.environment"


@needs_sandbox
def test_the_path_of_the_plan_does_not_choose_our_tools(bench, tmp_path):
    fake = as_file(tmp_path / "prlimit", "#!/bin/sh\necho fake\n")

    outcome = sh(
        bench,
        "echo real",
        files=[fake],
        environment={"PATH": "/call/in:/usr/bin:/bin"},
    )

    assert outcome.output["stdout"] == "real\n"


@needs_sandbox
def test_a_command_is_never_a_success_where_the_sandbox_did_not_start(
    bench, monkeypatch, tmp_path
):
    """Exit code 1 may be expected, and bubblewrap's own failure has it too."""
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    outcome = sh(bench, "true", expect=[0, 1])

    assert isinstance(outcome, Failed)
    assert outcome.code == "sandbox.unavailable"


def test_without_a_sandbox_the_output_says_so_for_that_very_run(bench, monkeypatch):
    dead = SelfTest(failures=("no namespaces",))
    monkeypatch.setattr(sandbox, "self_test", lambda: dead)
    bench.config = {"allow_unsandboxed": True}

    outcome = sh(bench, "echo $A", environment={"A": "b"})

    assert outcome.output["stdout"] == "b\n"
    assert outcome.output["sandboxed"] is False
