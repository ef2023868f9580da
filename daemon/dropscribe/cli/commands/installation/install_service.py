"""`dropscribe install-service`: make a service of systemd of this installation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SCHEMA = "dropscribe/install/1"


def command(
    prefix: Annotated[
        Path | None,
        typer.Option(
            "--prefix",
            metavar="DIR",
            readable=False,
            help="Write the files below this directory instead of /, and run nothing: for packages and images.",
        ),
    ] = None,
    *,
    user: Annotated[
        bool, typer.Option("--user", help="A service of your own, without root, in your home directory.")
    ] = False,
    cpu: Annotated[
        bool, typer.Option("--cpu", help="There is no GPU: the service gets no devices, and uses the CPU.")
    ] = False,
    cuda: Annotated[
        bool, typer.Option("--cuda", help="A missing GPU is an error. Default: a GPU if there is one.")
    ] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Replace files that were changed by hand; each is kept as FILE.bak."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make a service of systemd of this installation.

    For an environment of pip or uv: writes the units with the path of this program, makes the user, the group and the folders,
    writes a configuration if there is none, manual pages, completion of shells and a link to the program. It starts nothing, and
    says what to do next. It may be run again, such as after an upgrade: files that were changed by hand stay as they are.

    JSON, dropscribe/install/1: prefix (or null), user, program, files [{path, state: written, renewed, unchanged, kept or
    removed}], ran (commands), next (what to do).
    """
    import contextlib
    import os
    from importlib.metadata import PackageNotFoundError, version

    from dropscribe.cli.commands.init import production_file
    from dropscribe.cli.manual.shared_files import shared_files
    from dropscribe.cli.output import print_json, say
    from dropscribe.escapes import readable
    from dropscribe.installation import files, requirements, shipped, steps
    from dropscribe.installation.places import of_machine, of_user
    from dropscribe.installation.plan import BACKOFF_SYSTEMD, Sources, plan

    requirements.demand_one_device(cpu=cpu, cuda=cuda)
    with contextlib.suppress(PackageNotFoundError):
        requirements.demand_matching_torch(version("torch"), cuda=cuda)
    program, code = requirements.this_program()
    requirements.demand_plain(program)
    places = of_user(os.environ) if user else of_machine()
    systemd = BACKOFF_SYSTEMD
    if prefix is None:
        systemd = requirements.demand_systemd()
        if user:
            requirements.demand_user_manager(os.environ, os.getuid())
        else:
            requirements.demand_root(os.geteuid())
            requirements.demand_visible(code)
            requirements.demand_readable(code)
    values: dict[str, object] = {"database": places.database, "folder.path": places.inbox}
    if cpu or cuda:
        values["engine.device"] = "cpu" if cpu else "cuda:0"
    sources = Sources(shipped.systemd_files(), shared_files(), production_file(values=values))
    root = Path("/") if prefix is None else prefix.absolute()
    again = files.is_installed(places, root)
    results = files.install(
        plan(places, program, sources, systemd=systemd, cpu=cpu), places, root, force=force
    )
    # Told before anything can fail that comes after it.
    if not as_json:
        for line in files.summary(results, places):
            say(line)
        if any(r.state == files.KEPT and r.path != places.config for r in results):
            say(
                "kept are files that were changed by hand, or that something else wrote; --force replaces them"
            )
    commands = steps.after_installing(places) if prefix is None else []
    if prefix is None and user:
        steps.make_folders(places)
    for one in commands:
        steps.run(one, steps.AFTER_WRITING)
        if not as_json:
            say(f"{'ran':<{files.STATE_COLUMNS}}  {' '.join(one)}")
    todo = steps.next_steps(places, program, again=again)
    if as_json:
        print_json({
            "schema": SCHEMA, "prefix": None if prefix is None else readable(root), "user": user,
            "program": readable(program), "files": [{"path": readable(r.path), "state": r.state} for r in results],
            "ran": [" ".join(c) for c in commands], "next": todo,
        })  # fmt: skip
        return
    say("next:" if prefix is None else "next, on the machine:")
    for line in todo:
        say(f"  {line}")
