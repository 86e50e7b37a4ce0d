"""The system calls that a sandboxed program may not make, as a seccomp filter.

Namespaces do not cover everything: sockets of the hypervisor, the key rings of the kernel
and memory without a process only need a system call. A refused call returns ENOSYS, as
an older kernel would.
"""

import errno
import platform
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LOAD, EQUAL, AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06
ALLOW, REFUSE = 0x7FFF0000, 0x00050000
NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16
X32 = 0x40000000
FAMILIES = (1, 2, 10, 16)
"""AF_UNIX, AF_INET, AF_INET6 and AF_NETLINK, which a network namespace isolates."""

# Name -> number on x86_64, number elsewhere; None where it does not exist.
CALLS: Mapping[str, tuple[int | None, int | None]] = {
    "acct": (163, 89),
    "add_key": (248, 217),
    "bpf": (321, 280),
    "clock_settime": (227, 112),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "finit_module": (313, 273),
    "fsopen": (430, 430),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "ioperm": (173, None),
    "iopl": (172, None),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "mq_open": (240, 180),
    "msgget": (68, 186),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "quotactl": (179, 60),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "semget": (64, 190),
    "setns": (308, 268),
    "settimeofday": (164, 170),
    "shmget": (29, 194),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
    "vhangup": (153, 58),
}


@dataclass(frozen=True)
class Machine:
    """The numbers of a processor architecture that the filter needs."""

    audit: int
    socket: int
    column: int


MACHINES: Mapping[str, Machine] = {
    "x86_64": Machine(audit=0xC000003E, socket=41, column=0),
    "aarch64": Machine(audit=0xC00000B7, socket=198, column=1),
}


def program(machine: str = "") -> bytes:
    """Return the filter for this machine; empty for an unknown architecture."""
    known = MACHINES.get(machine or platform.machine())
    if known is None:
        return b""
    numbers = [pair[known.column] for pair in CALLS.values()]
    return _assembled(known, [number for number in numbers if number is not None])


def _assembled(machine: Machine, refused: Sequence[int]) -> bytes:
    """Assemble the filter: call numbers, then socket family, then results."""
    refuse = len(refused) + len(FAMILIES) + 6
    allow = refuse + 1
    steps: list[tuple[int, int, int, int]] = []

    def jump(kind: int, value: int, *, yes: int = 0, no: int = 0) -> None:
        """Add a check that jumps to a step, by default to the next one."""
        here = len(steps) + 1
        steps.append((kind, yes and yes - here, no and no - here, value))

    steps.append((LOAD, 0, 0, ARCHITECTURE))
    jump(EQUAL, machine.audit, no=refuse)
    steps.append((LOAD, 0, 0, NUMBER))
    jump(AT_LEAST, X32, yes=refuse)
    for number in refused:
        jump(EQUAL, number, yes=refuse)
    jump(EQUAL, machine.socket, no=allow)
    steps.append((LOAD, 0, 0, FIRST_ARGUMENT))
    for family in FAMILIES:
        jump(EQUAL, family, yes=allow)
    steps.append((RETURN, 0, 0, REFUSE | errno.ENOSYS))
    steps.append((RETURN, 0, 0, ALLOW))
    return b"".join(struct.pack("=HBBI", *step) for step in steps)
