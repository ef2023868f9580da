"""Install the Debian package in a bare Debian as a new user would, transcribe with it, upgrade it and remove it.

    apt-get install debootstrap
    python3 -m tests.packages.try_deb dist/dropscribe_1.0_all.deb

as root, with 4 GB of disk; a few minutes. pip inside obeys the PIP_* and proxy variables of this shell; folders that these
name are shown to it with --bind. There is no systemd running in it: tests/systemd/boot.py tries the units.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from tests.packages.bare_debian import MIRROR, FailedStepError, Report, make, run

#: A person drops a recording into the inbox, while the daemon runs as its user with the demonstration model.
DROP = """
sed -i 's/^asr = .*/asr = "paraformer-mini"/; s/^vad = .*/vad = "vad-mini"/; s/^device = .*/device = "cpu"/' \\
    /etc/dropscribe/dropscribe.toml
useradd --groups dropscribe anna
setpriv --reuid dropscribe --regid dropscribe --init-groups env HOME=/var/cache/dropscribe \\
    dropscribe run --config /etc/dropscribe/dropscribe.toml 2>/tmp/log &
sample=$(ls /opt/dropscribe/venv/lib/python3*/site-packages/dropscribe/engine/bundled/sample/sample.wav)
for i in $(seq 600); do grep -q ready /tmp/log && break; sleep 0.5; done
cp "$sample" /tmp/talk.wav; chmod 644 /tmp/talk.wav
setpriv --reuid anna --regid dropscribe --init-groups cp /tmp/talk.wav /srv/dropscribe/inbox/
for i in $(seq 240); do [ -e /srv/dropscribe/inbox/talk.txt ] && break; sleep 0.5; done
kill -TERM $!; wait $! || true
head -n 1 /srv/dropscribe/inbox/talk.txt || { cat /tmp/log; exit 1; }
"""
#: The program makes a service of itself, twice, and removes it; systemd does not run here, so a stub answers for it.
SERVICE = """
mkdir -p /run/systemd/system /usr/local/bin
printf '#!/bin/sh\\necho "systemd 252 (252)"\\n' >/usr/local/bin/systemctl
chmod 755 /usr/local/bin/systemctl
PATH=/usr/local/bin:$PATH
program=/opt/dropscribe/venv/bin/dropscribe
$program install-service --cpu
grep -q "^ExecStart=$program run" /etc/systemd/system/dropscribe.service
test "$(stat -c %U:%a /srv/dropscribe/inbox)" = dropscribe:2770
if $program install-service --cpu | grep -q '^written'; then exit 1; fi
bash -c '. /usr/local/share/bash-completion/completions/dropscribe && complete -p dropscribe'
$program uninstall-service
test ! -e /etc/systemd/system/dropscribe.service
test -e /etc/dropscribe/dropscribe.toml
rm -r /run/systemd/system /usr/local/bin/systemctl
"""


def main() -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("package", type=Path)
    parser.add_argument(
        "--root", type=Path, help="keep the bare Debian in this folder: the next run is quicker"
    )
    parser.add_argument("--mirror", default=MIRROR)
    parser.add_argument(
        "--bind", type=Path, action="append", default=[], help="a folder that pip's settings name"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dropscribe-deb-") as folder:
        base = options.root or Path(folder) / "base"
        root = Path(folder) / "root"
        try:
            report = Report()
            make(base, ("ca-certificates",), options.mirror)
            shutil.copytree(base, root, symlinks=True)
            report.step("a bare Debian")
            attempt(root, options.package, options.bind, report)
        except FailedStepError as e:
            print(f"FAILED  {e}", file=sys.stderr)
            return 1
    print("0 failed")
    return 0


def attempt(root: Path, package: Path, binds: list[Path], report: Report) -> None:
    """All steps, in their order."""
    shutil.copyfile(package, root / "tmp/dropscribe.deb")
    run(root, "apt-get update -q && apt-get install -y -q --no-install-recommends /tmp/dropscribe.deb")
    report.step("apt-get install", "account and folders are there, nothing of Python was downloaded")
    run(root, "test -d /srv/dropscribe/inbox && id dropscribe && test ! -e /opt/dropscribe/venv")
    said = run(root, "dropscribe jobs", status=1)
    if "dropscribe-setup" not in said:
        raise FailedStepError(f"the command does not say what to do: {said}")
    run(root, "dropscribe-setup --cpu", binds)
    size = run(root, "du -sm /opt/dropscribe/venv | cut -f1").strip()
    report.step("dropscribe-setup --cpu", f"{size} MB")
    report.step("a recording is dropped", run(root, DROP).strip())
    run(root, SERVICE)
    report.step("install-service, twice, and uninstall-service")
    run(root, "dpkg -i /tmp/dropscribe.deb && dropscribe --version")
    report.step("the same version is installed again", "without a download")
    run(root, "apt-get purge -y -q dropscribe")
    run(
        root,
        "test ! -e /opt/dropscribe && test -e /srv/dropscribe/inbox/talk.txt && test -e /var/lib/dropscribe/jobs.db",
    )
    report.step("apt-get purge", "recordings, transcripts, database and configuration stay")


if __name__ == "__main__":
    sys.exit(main())
