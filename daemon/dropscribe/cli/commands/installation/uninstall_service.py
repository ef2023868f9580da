"""`dropscribe uninstall-service`: remove what install-service wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SCHEMA = "dropscribe/uninstall/1"


def command(
    prefix: Annotated[
        Path | None,
        typer.Option(
            "--prefix", metavar="DIR", readable=False, help="The directory given to install-service."
        ),
    ] = None,
    *,
    user: Annotated[bool, typer.Option("--user", help="Remove the service of your own.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Remove the service that install-service made.

    Stops the service and removes the files that install-service wrote. Recordings, transcripts, database, models, configuration and
    the user of the service stay, and so do files that were changed by hand.

    JSON, dropscribe/uninstall/1: prefix (or null), user, files [{path, state: removed or kept}], ran (commands), left (what stays).
    """
    import os

    from dropscribe.cli.output import print_json, say
    from dropscribe.errors import UsageError
    from dropscribe.escapes import readable
    from dropscribe.installation import files, requirements, steps
    from dropscribe.installation.places import of_machine, of_user

    places = of_user(os.environ) if user else of_machine()
    root = Path("/") if prefix is None else prefix.absolute()
    if prefix is None and not user:
        requirements.demand_root(os.geteuid())
    if not files.is_installed(places, root):
        raise UsageError(
            "install-service made no service here",
            operation="remove the service",
            path=files.below(root, places.record),
            remedy="docs/installation.md says how to remove one that was installed by hand"
            if user
            else "add --user if it is a service of your own; docs/installation.md has the rest",
        )
    ran = []
    if prefix is None and Path("/run/systemd/system").is_dir():
        # A unit of the same name that something else wrote is not on record, and goes on.
        written = [Path(p) for p in files.recorded(places, root)]
        units = [p.name for p in written if p.parent == places.units and p.exists()]
        if units and user:
            requirements.demand_user_manager(os.environ, os.getuid())
        ran += steps.before_removing(places, units) if units else []
    for one in ran:
        steps.run(one, steps.BEFORE_REMOVING)
    results = files.uninstall(places, root)
    if ran:
        after = steps.after_removing(places)
        for one in after:
            steps.run(one, steps.AFTER_REMOVING)
        ran += after
    left = [str(p) for p in steps.left_behind(places) if files.below(root, p).exists()]
    if as_json:
        print_json({
            "schema": SCHEMA, "prefix": None if prefix is None else readable(root), "user": user,
            "files": [{"path": readable(r.path), "state": r.state} for r in results],
            "ran": [" ".join(c) for c in ran], "left": left,
        })  # fmt: skip
        return
    for one in ran:
        say(f"{'ran':<{files.STATE_COLUMNS}}  {' '.join(one)}")
    for line in files.summary(results, places):
        say(line)
    say("left as they are: configuration, database, recordings with their transcripts, models")
    for path in left:
        say(f"  {path}")
