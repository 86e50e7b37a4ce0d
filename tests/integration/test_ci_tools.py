"""`.ci/tools` on machines that differ in who asks and what is installed.

The programs of the system (apt-get, sudo, id, the browser) are stand-ins that write down
how they were called; the script itself is the real one.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

from execfabric.local.layout import PROJECT

SHELL = "chromium-headless-shell"
BROWSER = "#!/bin/sh\necho Chromium 1\n"
ONLY_SAYS_HOW = "#!/bin/sh\necho 'install the snap' >&2; exit 1\n"
# As sudo does: nothing of the caller's environment is handed on.
SUDO = '#!/bin/sh\n[ "$1" = -n ] && shift\nexec env -i PATH="$PATH" "$@"\n'
SUDO_ASKS = "#!/bin/sh\necho 'a password is required' >&2; exit 1\n"
APT = """#!/bin/sh
echo "$DEBIAN_FRONTEND $*" >> {log}
case "$*" in
  *update*) exit {update} ;;
  *headless-shell*) {shell} ;;
  *chromium*) cp {home}/browser {home}/bin/chromium ;;
esac
"""


class Machine:
    """Has the programs that a test gives it, and those of every system."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.bin = home / "bin"
        self.bin.mkdir()
        for name in ("bash", "env", "sh", "cp", "true"):
            (self.bin / name).symlink_to(shutil.which(name) or name)
        self.log = home / "apt.log"
        self.user(0)
        (home / "browser").write_text(BROWSER)
        (home / "browser").chmod(0o755)

    def user(self, number: int) -> None:
        self.give("id", f"#!/bin/sh\necho {number}\n")

    def give(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def give_apt(self, *, update: int = 0, has_shell: bool = True) -> None:
        home = self.home
        shell = f"cp {home}/browser {home}/bin/{SHELL}" if has_shell else "exit 100"
        text = APT.format(log=self.log, home=home, update=update, shell=shell)
        self.give("apt-get", text)

    def ask(self, tool: str, **env: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [PROJECT / ".ci" / "tools", tool],
            env={"PATH": str(self.bin), "HOME": str(self.home)} | env,
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def asked_of_apt(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_browser_that_is_there_is_named_and_nothing_is_installed(machine) -> None:
    machine.give_apt()
    machine.give("chromium", BROWSER)

    done = machine.ask("chromium")

    assert (done.returncode, done.stdout) == (0, f"{machine.bin}/chromium\n")
    assert machine.asked_of_apt == []


@pytest.mark.parametrize("user", [0, 1000])
@pytest.mark.parametrize("update", [0, 100])
def test_who_may_install_is_asked_nothing_by_the_installer(
    machine: Machine, user: int, update: int
) -> None:
    machine.user(user)
    machine.give("sudo", SUDO)
    machine.give_apt(update=update)

    done = machine.ask("chromium")

    assert (done.returncode, done.stdout) == (0, f"{machine.bin}/{SHELL}\n")
    assert [line.split()[0] for line in machine.asked_of_apt] == ["noninteractive"] * 2


def test_the_headless_shell_is_taken_before_a_browser(machine: Machine) -> None:
    machine.give("chromium", BROWSER)
    machine.give(SHELL, BROWSER)

    assert machine.ask("chromium").stdout == f"{machine.bin}/{SHELL}\n"


def test_a_system_without_the_headless_shell_gets_the_browser(machine: Machine) -> None:
    machine.give_apt(has_shell=False)

    done = machine.ask("chromium")

    assert (done.returncode, done.stdout) == (0, f"{machine.bin}/chromium\n")


def test_a_wrapper_that_does_not_run_is_no_browser(machine: Machine) -> None:
    machine.give_apt()
    machine.give("chromium-browser", ONLY_SAYS_HOW)

    assert machine.ask("chromium").stdout == f"{machine.bin}/{SHELL}\n"


@pytest.mark.parametrize("sudo", ["", SUDO_ASKS])
@pytest.mark.parametrize("apt", [True, False])
def test_where_nothing_can_be_installed_the_missing_thing_is_named(
    machine: Machine, sudo: str, apt: bool
) -> None:
    machine.user(1000)
    if sudo:
        machine.give("sudo", sudo)
    if apt:
        machine.give_apt()

    browser, sandbox = machine.ask("chromium"), machine.ask("bubblewrap")

    assert (browser.returncode, browser.stdout) == (1, "")
    assert browser.stderr.startswith("Chromium is missing. Install it")
    assert (sandbox.returncode, sandbox.stdout) == (0, "")
    assert sandbox.stderr.startswith("Warning: bubblewrap is missing")
    assert machine.asked_of_apt == []


def test_a_browser_that_was_named_is_taken_or_refused_by_name(machine) -> None:
    machine.give("chromium", BROWSER)
    mine = machine.home / "browser"

    taken = machine.ask("chromium", EXECFABRIC_CHROMIUM=str(mine))
    refused = machine.ask("chromium", EXECFABRIC_CHROMIUM="/nowhere/browser")

    assert taken.stdout == f"{mine}\n"
    assert refused.returncode == 1
    assert "Cannot run EXECFABRIC_CHROMIUM '/nowhere/browser'" in refused.stderr
