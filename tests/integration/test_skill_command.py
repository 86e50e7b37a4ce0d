"""Programs in the sandbox, and what they cannot do there."""

import shutil
from pathlib import Path

import pytest

from orchestration.skills.domain.outcome import Failed
from orchestration.skills.execution import sandbox
from orchestration.skills.execution.sandbox import SelfTest
from orchestration.skills.execution.streams import TAIL
from tests.servers import eventually
from tests.skill_calls import SLEEP, Bench, as_file, sleeping

WORKS = sandbox.self_test().works
needs_sandbox = pytest.mark.skipif(not WORKS, reason="asserted to be refused below")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "calls")


def sh(bench: Bench, script: str, **params: object):
    return bench.run("command.run", {"argv": ["/bin/sh", "-c", script], **params})


def test_where_bubblewrap_works_the_self_test_says_so_and_else_commands_are_refused(
    bench,
):
    test = sandbox.self_test()

    if test.works:
        assert shutil.which("bwrap")
        assert test.failures == ()
    else:
        assert test.failures
        outcome = sh(bench, "true")
        assert isinstance(outcome, Failed)
        assert outcome.code == "sandbox.unavailable"


def test_the_self_test_fails_where_the_sandbox_does_not_confine(monkeypatch, tmp_path):
    fake = tmp_path / "bwrap"
    fake.write_text(
        '#!/bin/bash\nstatus=$2; shift 5; "$@"; echo \'"exit-code"\' >&$status'
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    probe = sandbox.PROBE.replace("setsid sleep", "true")
    monkeypatch.setattr(sandbox, "PROBE", probe)
    monkeypatch.setenv("PROBE_SECRET", "x")
    monkeypatch.setattr(sandbox, "_has_ordinary_user", lambda: False)

    test = sandbox.self_test.__wrapped__()

    assert not test.works
    assert "the file /etc/passwd is visible" in test.failures
    assert "a file of the host is visible" in test.failures
    assert "processes of the host are visible" in test.failures
    if Path("/bin/bash").exists():
        assert "a server of the host answers" in test.failures
    Path("/usr/probe").unlink(missing_ok=True)
    Path("/probe").unlink(missing_ok=True)


@pytest.mark.parametrize("how", ["not installed", "does not start"])
def test_a_dead_sandbox_is_noticed(monkeypatch, tmp_path, how):
    if how == "does not start":
        fake = tmp_path / "bwrap"
        fake.write_text(
            "#!/bin/sh\necho 'No permissions to create a new namespace' >&2\nexit 1\n"
        )
        fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    test = sandbox.self_test.__wrapped__()

    assert not test.works
    assert test.failures


def test_without_a_sandbox_a_command_is_refused_unless_an_administrator_allows_it(
    bench, monkeypatch
):
    dead = SelfTest(failures=("no namespaces",))
    monkeypatch.setattr(sandbox, "self_test", lambda: dead)

    refused = sh(bench, "echo hello")
    bench.config = {"allow_unsandboxed": True}
    allowed = sh(bench, "echo hello; env > out/env")

    assert isinstance(refused, Failed)
    assert refused.code == "sandbox.unavailable"
    assert allowed.output["stdout"] == "hello\n"
    assert allowed.output["sandboxed"] is False
    assert "DATABASE_URL" not in allowed.files["out"][0].read_text()


@needs_sandbox
def test_a_command_reads_its_files_and_leaves_its_own(bench, tmp_path):
    given = as_file(tmp_path / "names.txt", "b\na\n")

    outcome = sh(bench, "sort in/names.txt > out/sorted; mkdir out/d; cat > out/d/in; echo done",
                 files=[given], stdin="typed")  # fmt: skip

    assert outcome.output["names"] == ["d/in", "sorted"]
    assert [path.read_text() for path in outcome.files["out"]] == ["typed", "a\nb\n"]
    assert outcome.output["stdout"] == "done\n"


@needs_sandbox
def test_what_a_command_starts_ends_with_it(bench):
    script = f"setsid sh -c '{SLEEP} & {SLEEP}' >/dev/null 2>&1 & echo started"

    outcome = sh(bench, script)

    assert outcome.output["stdout"] == "started\n"
    assert eventually(lambda: not sleeping())


@needs_sandbox
def test_a_command_past_its_deadline_is_killed(tmp_path):
    argv = ["sh", "-c", f"echo on; {SLEEP} & {SLEEP}"]

    ended = sandbox.run(sandbox.Program(argv=argv, workdir=tmp_path), deadline_s=0.5)

    assert ended.exit_code is None
    assert ended.stdout.tail == b"on\n"
    assert eventually(lambda: not sleeping())


@needs_sandbox
@pytest.mark.parametrize(
    ("config", "script"),
    [
        ({"file_mb": 1}, "head -c 2000000 /dev/zero > big"),
        ({"memory_mb": 64}, "perl -e '$x = \"x\" x 200000000'"),
        ({"cpu_s": 1}, "while :; do :; done"),
    ],
    ids=["file size", "memory", "processor time"],
)
def test_a_limit_holds(bench, config, script):
    bench.config = config

    assert isinstance(sh(bench, script), Failed)


@needs_sandbox
def test_the_end_of_a_long_output_is_kept_and_its_size_said(bench):
    outcome = sh(bench, "yes line | head -c 1000000; echo; echo last")

    assert outcome.output["stdout_bytes"] == 1_000_006
    assert outcome.output["stdout"].endswith("\nlast\n")
    assert len(outcome.output["stdout"]) == TAIL


@needs_sandbox
def test_a_link_left_in_out_is_not_taken_for_a_file(bench, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("secret")

    outcome = sh(bench, f"ln -s {secret} out/way; echo x > out/own")

    assert outcome.output["names"] == ["own"]


@needs_sandbox
def test_exit_codes_are_failures_unless_expected(bench):
    failed = sh(bench, "echo why >&2; exit 3")

    assert isinstance(failed, Failed)
    assert failed.message == "The program failed with exit code 3. why\n"
    assert sh(bench, "exit 3", expect=[0, 3]).output["exit_code"] == 3


@needs_sandbox
def test_a_program_that_is_missing_or_not_listed_is_refused(bench):
    missing = bench.run("command.run", {"argv": ["no-such-program"]})
    bench.config = {"programs": ["sort"]}
    unlisted = bench.run("command.run", {"argv": ["/bin/sh", "-c", "true"]})

    assert isinstance(missing, Failed)
    assert isinstance(unlisted, Failed)
    assert unlisted.code == "command.not_listed"
