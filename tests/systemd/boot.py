"""Boots a bare Debian with dropscribe installed as docs/installation.md says, and checks the unit under its real systemd.

    apt-get install debootstrap qemu-system-x86 e2fsprogs
    python3 tests/systemd/boot.py

as root, with some 10 GB of disk and a quarter of an hour; on a busy machine, where QEMU has to emulate the processor, half an
hour or more. It makes a Debian root with debootstrap, installs the checkout into it with pip, puts
both into a disk image, and boots that in QEMU, with a kernel and a systemd of its own and without any network
device. Inside, checks.py prints one line a check, `ok` or `FAILED`, which this script repeats; it exits with 1 when
one failed, and with 2 when it did not come so far. Nothing of the machine it runs on is changed.

pip in the new root obeys the PIP_* and proxy variables of this one; folders these name are shown to it with --bind.
Without an index of CPU builds in them it installs the torch of PyPI, which brings gigabytes of CUDA.

It stands below tests/, not below systemd/, because all of systemd/ is installed and nothing of this is.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
#: What a wheel is built from, and what the installation steps of docs/installation.md use.
SOURCES = (
    "daemon", "migrations", "systemd", "tests/systemd", "tests/__init__.py",
    "docs", "pyproject.toml", "hatch_build.py", "constraints.txt", "requirements.txt", "README.md", "LICENSE",
)  # fmt: skip
SUITE = "bookworm"
MIRROR = "http://deb.debian.org/debian"
#: systemd and what its own tools need, the service manager of a user too, Python, and a kernel that knows the devices
#: of QEMU.
PACKAGES = (
    "systemd", "systemd-sysv", "dbus", "dbus-user-session", "libpam-systemd", "udev", "kmod", "procps", "iproute2", "util-linux",
    "python3", "python3-venv", "initramfs-tools", "linux-image-cloud-amd64",
)  # fmt: skip
TOOLS = ("debootstrap", "qemu-system-x86_64", "mke2fs", "unshare", "chroot")
#: The environment as docs/installation.md makes it, and again the code of the checkout, which may have changed; the rest of its steps is done by the checks, in the booted machine.
INSTALLATION = """
set -e
cd /root/checkout
export PIP_NO_CACHE_DIR=1
systemd/make-environment /opt/dropscribe/venv --cpu
/opt/dropscribe/venv/bin/pip --quiet --disable-pip-version-check install --force-reinstall --no-deps .
"""
#: Runs the checks once the machine is up, and turns it off. What they print goes to the second serial port.
CHECKS_UNIT = """
[Unit]
Description=the checks
After=multi-user.target
SuccessAction=poweroff-force
FailureAction=poweroff-force
[Service]
Type=oneshot
WorkingDirectory=/root/checkout
ExecStart=/usr/bin/python3 -u -m tests.systemd.checks
StandardOutput=file:/dev/ttyS1
StandardError=file:/dev/ttyS1
TimeoutStartSec=infinity
[Install]
WantedBy=multi-user.target
"""
MEMORY_MB = 4096
#: Free space of the guest's disk beyond what is installed, MiB.
ROOM_MB = 1024
#: All the checks together, seconds, and how much slower an emulated processor is: it is given so many times as long.
LIMIT_S = 1800.0
EMULATED = 8
#: One without AVX: of what QEMU emulates as `max`, the LSTM that oneDNN compiles for torch dies with signal 11.
EMULATED_CPU = "Nehalem"


class FailedStepError(Exception):
    """Something before the checks did not work; the message says what."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Build, boot, report. Returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, help="build in this folder and keep it: the next run is quicker")
    parser.add_argument("--mirror", default=MIRROR, help="the Debian mirror")
    parser.add_argument(
        "--bind", type=Path, action="append", default=[], help="a folder that pip's settings name"
    )
    parser.add_argument("--only", default="", help="run the checks whose function's name matches this")
    parser.add_argument("--out", type=Path, help="write the report to this file, too")
    options = parser.parse_args(arguments)
    try:
        demand_tools()
        with work_folder(options.work) as work:
            slower = 1 if virtual() else EMULATED
            build(work, options.mirror, options.bind, {"only": options.only, "slower": slower})
            report = boot(work, slower)
    except (FailedStepError, OSError, subprocess.SubprocessError) as e:
        print(f"boot.py: {e}", file=sys.stderr)
        return 2
    if options.out is not None:
        options.out.write_text(report, encoding="utf-8")
    if "\nall checks ran\n" not in report:
        print("boot.py: the checks did not come to their end", file=sys.stderr)
        return 2
    return 1 if "\nFAILED " in report else 0


def demand_tools() -> None:
    """Raises FailedStepError where it cannot run."""
    missing = lacking()
    if missing:
        raise FailedStepError(missing)


def lacking() -> str:
    """Why it cannot run here; empty when it can."""
    if os.geteuid() != 0:
        return "debootstrap needs root"
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    return f"not installed: {', '.join(missing)}" if missing else ""


@contextmanager
def work_folder(given: Path | None) -> Iterator[Path]:
    """The folder to build in; one of our own is gone afterwards."""
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="dropscribe-boot-") as folder:
        yield Path(folder)


def build(work: Path, mirror: str, binds: Sequence[Path], wanted: Mapping[str, object]) -> None:
    """Make `work/root`, and the disk image `work/disk` of it."""
    root = work / "root"
    stamp = work / "bootstrapped"
    if not stamp.exists():
        print(f"debootstrap {SUITE} …", file=sys.stderr)
        shutil.rmtree(root, ignore_errors=True)
        done("debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(root), mirror)
        stamp.touch()
    checkout = root / "root/checkout"
    shutil.rmtree(checkout, ignore_errors=True)
    checkout.mkdir(parents=True)
    for name in SOURCES:
        source = CHECKOUT / name
        if source.is_dir():
            shutil.copytree(source, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, checkout / name)
    print("installing …", file=sys.stderr)
    install(root, binds)
    (root / "root/wanted.json").write_text(json.dumps(wanted), encoding="utf-8")
    (root / "etc/hostname").write_text("bare\n", encoding="utf-8")
    system = root / "etc/systemd/system"
    (system / "checks.service").write_text(CHECKS_UNIT, encoding="utf-8")
    link = system / "multi-user.target.wants/checks.service"
    link.unlink(missing_ok=True)
    link.symlink_to("../checks.service")
    print("making the disk …", file=sys.stderr)
    used = int(
        subprocess.run(["du", "-sm", root], check=True, capture_output=True, text=True).stdout.split()[0]
    )
    (work / "disk").unlink(missing_ok=True)
    # Every file of the root also needs its inode and its last block, hence the share.
    size = f"{used * 5 // 4 + ROOM_MB}M"
    done("mke2fs", "-q", "-t", "ext4", "-d", str(root), str(work / "disk"), size)


def install(root: Path, binds: Sequence[Path]) -> None:
    """Run INSTALLATION inside `root`, with mounts that nobody else sees and that end with it."""
    shown = [*binds, *(p for p in (Path("/etc/ssl/certs"),) if p.is_dir())]
    for folder in shown:
        (root / folder.relative_to("/")).mkdir(parents=True, exist_ok=True)
    shutil.copyfile("/etc/resolv.conf", root / "etc/resolv.conf")
    (root / "root/install.sh").write_text(INSTALLATION, encoding="utf-8")
    mounts = [f"mount --bind {shlex.quote(str(p))} {shlex.quote(f'{root}{p}')}" for p in shown]
    mounts += [f"mount -t proc proc {shlex.quote(f'{root}/proc')}"]
    script = " && ".join([*mounts, f"exec chroot {shlex.quote(str(root))} /bin/sh /root/install.sh"])
    passed = {k: v for k, v in os.environ.items() if k.startswith("PIP_") or k.lower().endswith("_proxy")}
    done(
        "unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", script,
        environment={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8", **passed},
    )  # fmt: skip


def virtual() -> bool:
    """Whether the processor runs virtual machines itself. A /dev/kvm without its flag emulates, slower than QEMU."""
    flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    return bool(flags & {"vmx", "svm"}) and os.access("/dev/kvm", os.R_OK | os.W_OK)


def boot(work: Path, slower: int) -> str:
    """Boot the disk, repeat what the checks print as they print it, and return it."""
    report, console = work / "report", work / "console"
    report.write_bytes(b"")
    command = [
        "qemu-system-x86_64", "-accel", "kvm" if slower == 1 else "tcg", "-cpu", "max" if slower == 1 else EMULATED_CPU,
        "-smp", "1",
        "-m", str(MEMORY_MB), "-nodefaults", "-no-reboot", "-display", "none", "-nic", "none",
        "-kernel", str(work / "root/vmlinuz"), "-initrd", str(work / "root/initrd.img"),
        "-append", "root=/dev/vda rw console=ttyS0 panic=-1 systemd.show_status=false",
        "-drive", f"file={work / 'disk'},if=virtio,format=raw,cache=unsafe",
        "-device", "virtio-rng-pci",
        "-serial", f"file:{console}", "-serial", f"file:{report}",
    ]  # fmt: skip
    print(f"booting, {'emulated' if slower > 1 else 'by KVM'} …", file=sys.stderr)
    began, shown = time.monotonic(), 0
    with subprocess.Popen(command) as machine:
        try:
            while machine.poll() is None and time.monotonic() < began + LIMIT_S * slower:
                time.sleep(0.5)
                shown = repeat(report, shown)
        finally:
            if machine.poll() is None:
                machine.kill()
    repeat(report, shown)
    text = report.read_text(encoding="utf-8", errors="replace").replace("\r\n", "\n")
    if not text:
        tail = console.read_text(encoding="utf-8", errors="replace")[-2000:] if console.exists() else ""
        raise FailedStepError(f"the machine said nothing; the end of its console:\n{tail}")
    return text


def repeat(report: Path, shown: int) -> int:
    """Print the whole lines of `report` from byte `shown`; how far it is shown now."""
    with report.open("rb") as file:
        file.seek(shown)
        text = file.read()
    text = text[: text.rfind(b"\n") + 1]
    sys.stdout.write(text.decode("utf-8", "replace").replace("\r\n", "\n"))
    sys.stdout.flush()
    return shown + len(text)


def done(*command: str, environment: dict[str, str] | None = None) -> None:
    """Run it. Raises FailedStepError with the end of what it said."""
    ran = subprocess.run(
        command, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=environment,
    )  # fmt: skip
    if ran.returncode != 0:
        said = ran.stdout.decode("utf-8", "replace")[-3000:]
        raise FailedStepError(f"{command[0]} ended with {ran.returncode}:\n{said}")


if __name__ == "__main__":
    sys.exit(main())
