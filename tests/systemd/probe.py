"""What a process of the service may and may not do: run with the unit's own settings, by checks.py.

Prints one JSON line {"allowed" and "forbidden": {name: what stood against it, or null}}. checks.py runs it a second time
without the unit, as the same user: so it is seen what the unit refuses and what every user is refused anyhow. Standard
library only.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import mmap
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

CLONE_NEWUSER = 0x10000000
ADDR_NO_RANDOMIZE = 0x0040000
PTRACE_TRACEME = 0
CAP_LEASE = 28
#: x86-64 numbers of calls that Python does not wrap.
BPF, PERF_EVENT_OPEN, KEXEC_LOAD, SYSLOG = 321, 298, 246, 103

libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: object) -> None:
    """A function of libc that returns -1 on error. Raises OSError."""
    if getattr(libc, name)(*arguments) == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def write(path: str) -> None:
    Path(path).write_text("written", encoding="utf-8")


def lease_on_a_foreign_file() -> None:
    """What tells the daemon whether somebody else still writes; without CAP_LEASE only the owner may ask."""
    descriptor = os.open("/srv/dropscribe/foreign", os.O_RDONLY)
    assert os.fstat(descriptor).st_uid != os.getuid()
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    os.close(descriptor)


def only_the_capability_to_lease() -> None:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb"):
        assert int(fields[name], 16) == 1 << CAP_LEASE, f"{name} {fields[name]}"
    assert fields["NoNewPrivs"] == "1"


def only_the_loopback_interface() -> None:
    assert os.listdir("/sys/class/net") == ["lo"]  # noqa: PTH208 # names, not paths


def machine_code_written_at_run_time() -> None:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()


def limits_as_decoders_set_them() -> None:
    assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
    program = "import resource as r; r.setrlimit(r.RLIMIT_AS, (1 << 30, 1 << 30)); r.setrlimit(r.RLIMIT_CPU, (60, 60))"
    subprocess.run([sys.executable, "-c", program], check=True)


def shared_memory_without_a_name() -> None:
    os.close(os.memfd_create("probe", os.MFD_CLOEXEC))


ALLOWED: dict[str, Callable[[], object]] = {
    "write the watched folder": lambda: write("/srv/dropscribe/inbox/probe.tmp"),
    "write the state directory": lambda: write("/var/lib/dropscribe/probe"),
    "write the cache directory": lambda: write("/var/cache/dropscribe/probe"),
    "write a /tmp of its own": lambda: write("/tmp/probe"),
    "read the configuration": lambda: Path("/etc/dropscribe/dropscribe.toml").read_bytes(),
    "read the limits of inotify": lambda: Path("/proc/sys/fs/inotify/max_user_watches").read_bytes(),
    "run machine code written at run time": machine_code_written_at_run_time,
    "start processes and limit them": limits_as_decoders_set_them,
    "share memory with them": shared_memory_without_a_name,
    "ask who writes to a foreign file": lease_on_a_foreign_file,
    "hold CAP_LEASE and nothing else": only_the_capability_to_lease,
    "see no network interface but lo": only_the_loopback_interface,
}

FORBIDDEN: dict[str, Callable[[], object]] = {
    "write elsewhere below /srv": lambda: write("/srv/open/probe"),
    "write elsewhere below /var": lambda: write("/var/open/probe"),
    "write the configuration": lambda: write("/etc/dropscribe/open"),
    "write the program": lambda: write("/opt/dropscribe/open"),
    "read homes": lambda: Path("/home/anna/open").read_bytes(),
    "read /root": lambda: Path("/root/open").read_bytes(),
    "see the /tmp of others": lambda: Path("/tmp/open").read_bytes(),
    "see the processes of others": lambda: Path("/proc/1/status").read_bytes(),
    "open a device": lambda: os.open("/dev/open", os.O_RDONLY),
    "use IPv4": lambda: socket.socket(socket.AF_INET),
    "use IPv6": lambda: socket.socket(socket.AF_INET6),
    "use netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
    "make a namespace": lambda: call("unshare", CLONE_NEWUSER),
    "make a set-user-ID file": lambda: Path("/var/lib/dropscribe/probe").chmod(0o4755),
    "change its execution domain": lambda: call("personality", ADDR_NO_RANDOMIZE),
    "trace": lambda: call("ptrace", PTRACE_TRACEME, 0, 0, 0),
    "mount": lambda: call("mount", b"none", b"/tmp", b"tmpfs", 0, 0),
    "load eBPF": lambda: call("syscall", BPF, 0, 0, 0),
    "watch performance events": lambda: call("syscall", PERF_EVENT_OPEN, 0, 0, 0, 0, 0),
    "load a kernel": lambda: call("syscall", KEXEC_LOAD, 0, 0, 0, 0),
    "read the kernel's log": lambda: call("syscall", SYSLOG, 3, ctypes.create_string_buffer(64), 64),
    "set the clock": lambda: call("settimeofday", ctypes.create_string_buffer(16), None),
    "rename the machine": lambda: call("sethostname", b"probe", 5),
    "run in real time": lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)),
    "become root": lambda: os.setuid(0),
}


def outcome(attempt: Callable[[], object]) -> str | None:
    """None when it went through, else what stood against it. In a process of its own: some attempts change theirs."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, (against(attempt) or "").encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        said = answer.read().decode()
    os.waitpid(child, 0)
    return said or None


def against(attempt: Callable[[], object]) -> str | None:
    try:
        attempt()
    except OSError as e:
        return e.strerror or str(e)
    except AssertionError as e:
        return f"not so: {e}"
    except subprocess.SubprocessError as e:
        return str(e)
    return None


if __name__ == "__main__":
    # One line, so that it is one entry of the journal.
    print(
        json.dumps(
            {
                "allowed": {name: outcome(attempt) for name, attempt in ALLOWED.items()},
                "forbidden": {name: outcome(attempt) for name, attempt in FORBIDDEN.items()},
            }
        )
    )
