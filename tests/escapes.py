"""Attempts to leave the sandbox, to learn of the host, and to use it up.

Exit code 0 of an attempt means that it got out. `{names}` are filled in: of a host
folder, a secret file in it, a process and servers of the host.
"""

from orchestration.skills.domain.limits import Limits

FILES = {
    "passwd": "cat /etc/passwd",
    "shadow": "cat /etc/shadow",
    "home of root": "cat /root/.bashrc",
    "homes": "ls /home",
    "var": "ls /var",
    "run": "ls /run/systemd",
    "docker socket": "test -S /run/docker.sock",
    "sysfs": "ls /sys/class",
    "kernel notes": "cat /sys/kernel/notes",
    "write usr": "echo x > /usr/bin/x",
    "write bin": "echo x > /bin/x",
    "write root": "echo x > /x",
    "write alternatives": "echo x > /etc/alternatives/x",
    "new folder": "mkdir /new",
    "touch a program": "touch /usr/bin/env",
    "secret": "cat {secret}",
    "write secret": "echo x > {secret}",
    "folder of the secret": "ls {folder}",
    "climb to the secret": "cat ../../../../{secret}",
    "link to the secret": "ln -s {secret} way && cat way",
    "hard link to the secret": "ln {secret} way",
    "temporary files of the host": "ls -d /tmp/*{token}* /var/tmp/*",
    "shared memory of the host": "ls /dev/shm/*",
    "write to dev": "echo x > /dev/x",
}

PROC = {
    "environment of a host process": "cat /proc/{pid}/environ",
    "host process": "ls -d /proc/{pid}",
    "many processes": "test $(ls -d /proc/[0-9]* | wc -l) -gt 9",
    "root of init": "ls /proc/1/root{folder}",
    "folder of init": "ls /proc/1/cwd{folder}",
    "open files of init": "ls -l /proc/1/fd | grep -e ' /tmp' -e ' /work' -e ' /home'",
    "variables of init": "tr '\\0' '\\n' < /proc/1/environ | grep -e DATABASE -e SECRET",
    "caches": "echo 1 > /proc/sys/vm/drop_caches",
    "core pattern": "echo x > /proc/sys/kernel/core_pattern",
    "sysrq": "echo h > /proc/sysrq-trigger",
    "old oom score": "echo -17 > /proc/self/oom_adj",
    "oom score": "echo -1000 > /proc/self/oom_score_adj",
    "kcore": "test -n \"$(head -c 1 /proc/kcore | tr -d '\\0')\"",
    "kernel symbols": "grep -q . /proc/kallsyms",
    "kernel keys": "grep -q . /proc/keys",
    "kernel log": "timeout 1 head -c 1 /proc/kmsg | grep -q .",
    "dmesg": "dmesg -C",
    "timers": "grep -q . /proc/timer_list",
    "sysctl": "sysctl -w kernel.hostname=x",
    "interrupts": "echo 1 > /proc/irq/default_smp_affinity",
    "uid map": "echo 0 0 1 > /proc/self/uid_map",
}

NETWORK = {
    "tcp": "bash -c 'echo > /dev/tcp/127.0.0.1/{port}'",
    "perl": "perl -MIO::Socket::INET -e 'IO::Socket::INET->new(PeerAddr=>\"127.0.0.1:{port}\") or exit 1'",
    "udp outside": "bash -c 'echo > /dev/udp/1.1.1.1/53'",
    "tcp outside": "bash -c 'echo > /dev/tcp/1.1.1.1/53'",
    "dummy interface": "ip link add x type dummy",
    "interface that is up": "ip addr show | grep -v lo: | grep 'state UP'",
    "other interfaces": "awk -F: 'NR > 2 && $1 !~ /^ *lo$/' /proc/net/dev | grep -q .",
}

RIGHTS = {
    "kill a host process": "kill -0 {pid}",
    "mount": "mount -t tmpfs none /mnt",
    "unmount": "umount /tmp",
    "unmount its folder": "umount /call",
    "remount": "mount -o remount,rw /usr",
    "bind": "mount --bind /usr /call/out",
    "chroot": "chroot / true",
    "user namespace": "unshare -Ur true",
    "mount namespace": "unshare -m true",
    "network namespace": "unshare -n true",
    "namespace of init": "nsenter -t 1 -m true",
    "hostname": "hostname changed",
    "block device": "mknod disk b 8 0",
    "character device": "mknod memory c 1 1",
    "disks": "cat /dev/sda || cat /dev/vda",
    "memory": "cat /dev/mem",
    "kernel messages": "cat /dev/kmsg",
    "fuse": "test -e /dev/fuse",
    "kvm": "test -e /dev/kvm",
    "tun": "test -e /dev/net/tun",
    "capabilities": "setpriv --bounding-set +all --inh-caps +all true",
    "priority": "renice -n -10 1",
    "real time": "chrt -f 50 true",
    "clock": "date -s '2001-01-01'",
    "more open files": "ulimit -n 100000",
    "core files": "ulimit -c unlimited",
    "larger files": "ulimit -f unlimited",
    "setuid": "test \"$(awk '/NoNewPrivs/ {{ print $2 }}' /proc/self/status)\" != 1",
    "any capability": "grep -q '^Cap...:.*[1-9a-f]' /proc/self/status",
    "variables of the worker": 'test -n "$DATABASE_URL$SECRET_KEY"',
    "su": "su -c true nobody",
}

# Python programs that end with 0 where they got out.
CODE = {
    "IPv6": "import socket; socket.create_connection(('::1', {port6}), 2)",
    "unix socket": "import socket; socket.socket(socket.AF_UNIX).connect('{unix}')",
    "abstract socket": "import socket; socket.socket(socket.AF_UNIX).connect('\\0{abstract}')",
    "hypervisor": "import socket; socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)",
    "packets": "import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
    "raw": "import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)",
    "kernel crypto": "import socket; socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET)",
    "inherited descriptors": "import os; assert [f for f in map(int, os.listdir('/proc/self/fd')) if f > 3]",
    "write to its input": "import os; os.write(0, b'x')",
    "grow its input": "import os; os.ftruncate(os.open('/proc/self/fd/0', os.O_RDWR), 1 << 30)",
    "type into the terminal": "import fcntl; fcntl.ioctl(open('/dev/tty', 'rb+', 0), 0x5412, b'x')",
    "signal by descriptor": "import os, signal; signal.pidfd_send_signal(os.pidfd_open({pid}), 0)",
    "trace a host process": "import ctypes; assert ctypes.CDLL(None).ptrace(16, {pid}, 0, 0) == 0",
    "limits of a host process": "import resource; resource.prlimit({pid}, resource.RLIMIT_NOFILE)",
    "setuid root": "import os; os.setresuid(12345, 12345, 12345)",
    "owner": "import os; open('f', 'w').close(); os.chown('f', 12345, 12345)",
    "capability of a file": "import os; open('f', 'w').close(); os.setxattr('f', 'security.capability', bytes([1, 0, 0, 2] + [255] * 16))",
    "trusted attribute": "import os; open('f', 'w').close(); os.setxattr('f', 'trusted.x', b'x')",
    "folder by handle": "import os; os.open('/proc/1/root{folder}', os.O_RDONLY)",
    "chroot": "import os; os.chroot('/call')",
}

# System calls that must be refused: name -> number on x86_64 and arguments.
CALLS = {
    "add_key": (248, 0, 0, 0, 0, 0),
    "bpf": (321, 0, 0, 0),
    "fsopen": (430, 0, 0),
    "io_uring_setup": (425, 1, 0),
    "keyctl": (250, 0, -3, 1),
    "memfd_create": (319, 0, 0),
    "mq_open": (240, 0, 0),
    "msgget": (68, 0, 512),
    "open_by_handle_at": (304, 0, 0, 0),
    "open_tree": (428, -100, 0, 0),
    "perf_event_open": (298, 0, 0, 0, 0, 0),
    "process_vm_readv": (310, 1, 0, 0, 0, 0, 0),
    "setns": (308, 0, 0),
    "shmget": (29, 0, 4096, 512),
    "unshare": (272, 0x10000000),
    "userfaultfd": (323, 0),
}

LINKS = {
    "out": "rm -rf out; ln -s {folder} out",
    "out to the root": "rm -rf out; ln -s / out",
    "out to itself": "rm -rf out; ln -s out out",
    "out upwards": "rm -rf out; ln -s ../../.. out",
    "out to a process": "rm -rf out; ln -s /proc/self/cwd out",
    "below out": "ln -s {folder} out/way",
    "deep below out": "mkdir -p out/a/b; ln -s {folder} out/a/b/c",
    "file": "ln -s {secret} out/file",
    "in": "rm -rf in; ln -s {folder} in",
    "pipe": "mkfifo out/pipe",
    "pipe for out": "rm -rf out; mkfifo out",
    "strange names": "touch \"out/$(printf 'a\\nb')\" 'out/<b>' 'out/-rf'; ln -s / 'out/..x'",
}

# Variables that tools of the host would obey.
VARIABLES = {
    "LD_PRELOAD": "./in/x.so",
    "LD_AUDIT": "./in/x.so",
    "LD_LIBRARY_PATH": "/call/in:{folder}",
    "LD_DEBUG_OUTPUT": "{folder}/leak",
    "LD_PROFILE_OUTPUT": "{folder}",
    "LD_BIND_NOT": "1",
    "GCONV_PATH": "/call/in",
    "LOCPATH": "{folder}",
    "MALLOC_TRACE": "{folder}/leak",
    "TMPDIR": "{folder}",
    "HOME": "{folder}",
    "PATH": "/call/in:/usr/bin:/bin",
    "BASH_ENV": "/call/in/x.so",
    "ENV": "/call/in/x.so",
    "PYTHONPATH": "/call/in",
    "PYTHONSTARTUP": "/call/in/x.so",
    "PERL5OPT": "-I/call/in",
    "GIT_DIR": "{folder}",
    "GIT_EXEC_PATH": "/call/in",
    "BWRAP_EXTRA": "--share-net",
    "DATABASE_URL": "postgresql://x",
    "IFS": "/",
}

SMALL = Limits(memory_mb=100, cpu_s=1, processes=30, file_mb=20, disk_mb=50, files=200)

# Name -> the limit that must end it, and a shell script.
BOMBS = {
    # Not faster: at four times the limit the kernel refuses, maybe before anything looks.
    "memory": (
        "limits.memory",
        "perl -e 'my @x; while (1) { push @x, \"x\" x 10000000; select undef, undef, undef, 0.05 }'",
    ),
    "memory of several": (
        "limits.memory",
        "for i in 1 2 3 4 5; do perl -e '$x = \"x\" x 35000000; sleep 60' & done; wait",
    ),
    # Not a shell's: a shell ends when it cannot fork, maybe before anything looks.
    "forks": ("limits.processes", "exec perl -e 'fork while 1'"),
    "many programs": (
        "limits.processes",
        "perl -e 'for (1..2000) { if (!fork) { sleep 60; exit } } sleep 60'",
    ),
    "sessions": (
        "limits.processes",
        "i=0; while [ $i -lt 200 ]; do setsid sleep 60 & i=$((i+1)); done; sleep 60",
    ),
    "one file": ("limits.file_size", "head -c 100000000 /dev/zero > big"),
    "several files": (
        "limits.disk",
        "for i in 1 2 3 4 5 6 7 8; do head -c 15000000 /dev/zero > $i; done; sleep 60",
    ),
    "temporary files": (
        "limits.disk",
        "for i in 1 2 3 4 5 6 7 8; do head -c 15000000 /dev/zero > /tmp/$i; done; sleep 60",
    ),
    "shared memory": (
        "limits.disk",
        "for i in 1 2 3 4 5 6 7 8; do head -c 15000000 /dev/zero > /dev/shm/$i; done; sleep 60",
    ),
    "files without a name": (
        "limits.disk",
        'for i in 3 4 5 6 7 8 9; do eval "exec $i>x"; rm x; eval "head -c 15000000 /dev/zero >&$i"; done; sleep 60',
    ),
    "number of files": (
        "limits.disk",
        "i=0; while [ $i -lt 400 ]; do : > $i; i=$((i+1)); done; sleep 60",
    ),
    "deep folders": (
        "limits.disk",
        'perl -e \'for (1..100) { mkdir "d"; chdir "d" } sleep 60\'',
    ),
    "processor": ("limits.cpu", "while :; do :; done"),
    "processor of several": (
        "limits.cpu",
        "for i in 1 2 3 4; do while :; do :; done & done; wait",
    ),
    "deaf": ("limits.cpu", "trap '' TERM INT HUP XCPU XFSZ; while :; do :; done"),
    "silent": ("limits.cpu", "exec >&- 2>&- <&-; while :; do :; done"),
    "output": ("limits.cpu", "perl -e '$| = 1; print \"line\\n\" while 1'"),
    "asleep": ("command.timed_out", "exec >&- 2>&-; sleep 600"),
    "stopped": ("command.timed_out", "kill -STOP $$"),
}
