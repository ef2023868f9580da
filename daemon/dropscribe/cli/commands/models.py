"""`dropscribe models`: list known models, fetch, verify and locate them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dropscribe.cli.arguments import options

if TYPE_CHECKING:
    from dropscribe.engine.models.hub.known import KnownModel

MODELS_SCHEMA = "dropscribe/models/1"

app = typer.Typer()

AsJson = Annotated[bool, typer.Option("--json", help="Print dropscribe/models/1 as JSON.")]
Mirror = Annotated[
    str | None,
    typer.Option(
        "--mirror",
        metavar="URL",
        help="Address of a hub with ModelScope's interface. Default: $MODELSCOPE_ENDPOINT, else www.modelscope.cn.",
    ),
]
Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAME",
        help="Name of a model, or its hub id (owner/model). Default: those of the configuration.",
    ),
]


@dataclass(frozen=True, slots=True)
class ModelCopy:
    """A model and its local copy. `state`: bundled, cached, incomplete, damaged, directory or absent."""

    name: str
    role: str | None
    hub_id: str | None
    size: int | None
    licence: str | None
    state: str
    directory: Path | None
    used: bool = False
    problems: Mapping[str, str] = field(default_factory=dict)


@app.callback()
def group() -> None:
    """List, fetch and verify models.

    'run' and 'transcribe' fetch a missing model, too; the systemd service has no network, so fetch its models with this
    command first, as the user of the service.

    JSON, dropscribe/models/1 (--json of each subcommand): host, cache, models [{name, role ("asr", "vad", "punctuation", "speakers" or null), hub_id, bytes,
    licence, state ("bundled", "cached", "incomplete", "damaged", "directory", "absent"), directory, used (by the
    configuration in force), problems [{file, problem}]}]. What is not known is null.
    """


@app.command("list")
def list_models(config: options.Config = None, *, as_json: AsJson = False) -> None:
    """List known models: role, size, licence, what is cached.

    Models of the configuration in force are marked with *. Uses no network.
    """
    from dropscribe.cli.output import print_json, print_table, say
    from dropscribe.engine.models.hub import client
    from dropscribe.engine.models.hub.known import KNOWN
    from dropscribe.escapes import readable

    used = _configured(config)
    named = [m.name for m in KNOWN] + [name for name in used if name not in {m.name for m in KNOWN}]
    models = [_examined(name, used) for name in named]
    if as_json:
        print_json(document(models))
        return
    rows = [
        (f"{m.name}{' *' if m.used else ''}", m.role or "-", _megabytes(m.size), m.licence or "-", m.state)
        for m in models
    ]
    print_table(("model", "role", "size", "licence", "state"), rows, right=(2,))
    say()
    say(f"cache: {readable(client.cache_directory())}; hub: {client.host()}")
    say("* in the configuration in force; 'dropscribe models path NAME' prints a directory")


@app.command("fetch")
def fetch(
    names: Names = None,
    mirror: Mirror = None,
    config: options.Config = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Fetch models from the hub into the cache.

    Says size and host first. Resumes an interrupted download, and replaces files that are damaged. Nothing is fetched for a
    model that is complete, bundled or a directory.
    """
    from dropscribe.cli.output import print_json, say

    used = _configured(config)
    wanted = names or list(used)
    _use(mirror)
    models = []
    for name in wanted:
        model = _examined(name, used)
        if model.hub_id is None:
            say(f"{name}: {model.state}, nothing to fetch", err=True)
        else:
            _fetch(model)
        models.append(_examined(name, used))
    if as_json:
        print_json(document(models))
    else:
        _print_states(models)


@app.command("verify")
def verify(
    names: Names = None, mirror: Mirror = None, config: options.Config = None, *, as_json: AsJson = False
) -> None:
    """Verify the files of cached models by their checksums.

    Without NAME all cached models and those of the configuration. Checksums are those recorded at the download; for a copy
    without them, those that the hub lists. Exit status 1 if a model is absent, incomplete or damaged.
    """
    from dropscribe.cli.output import print_json, say
    from dropscribe.engine.models.hub.known import KNOWN
    from dropscribe.errors import DropscribeError

    used = _configured(config)
    _use(mirror)
    wanted = list(names or used)
    if not names:
        wanted += [m.name for m in KNOWN if m.name not in used and _examined(m.name, used).state != "absent"]
    models = [_verified(_examined(name, used)) for name in wanted]
    bad = [m for m in models if m.state in ("absent", "incomplete", "damaged")]
    if as_json:
        print_json(document(models))
    else:
        _print_states(models)
        for model in models:
            for file, problem in model.problems.items():
                say(f"{model.name}: {file} {problem}")
    if bad and not as_json:
        raise DropscribeError(
            f"{', '.join(m.name for m in bad)}: {'is' if len(bad) == 1 else 'are'} not usable",
            operation="verify models",
            remedy=f"dropscribe models fetch {' '.join(m.name for m in bad)}",
        )
    if bad:
        raise typer.Exit(1)


@app.command("path")
def path(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Name of a model, or its hub id (owner/model).")
    ],
    *,
    as_json: AsJson = False,
) -> None:
    """Print the directory of a model.

    Exit status 1 if it is not on this machine. Uses no network.
    """
    from dropscribe.cli.output import print_json, say
    from dropscribe.errors import DropscribeError
    from dropscribe.escapes import readable

    model = _examined(name, {})
    if model.directory is None or model.state in ("absent", "incomplete"):
        raise DropscribeError(
            f"{name} is {'incomplete' if model.state == 'incomplete' else 'not'} on this machine",
            operation="find model",
            remedy=f"fetch it: dropscribe models fetch {name}",
        )
    if as_json:
        print_json(document([model]))
    else:
        say(readable(model.directory))


def _configured(config: Path | None) -> dict[str, str]:
    """Model → role of the configuration in force. Raises ConfigError."""
    from dropscribe.cli.arguments.settings import in_force
    from dropscribe.transcript.roles import NULL

    by_role = in_force(config=config, lists=False).settings.models_by_role()
    return {name: role for role, names in by_role.items() for name in names if name != NULL}


def _use(mirror: str | None) -> None:
    """Make the hub's client use a mirror. Raises UsageError for what is no address."""
    from dropscribe.errors import UsageError

    if mirror is None:
        return
    address = mirror if "://" in mirror else f"https://{mirror}"
    if not address.startswith(("https://", "http://")) or not address.partition("://")[2].strip("/"):
        raise UsageError(
            f"'{mirror}' is not the address of a hub",
            operation="fetch models",
            remedy="give it as https://HOST",
        )
    os.environ["MODELSCOPE_ENDPOINT"] = address


def _examined(name: str, used: Mapping[str, str]) -> ModelCopy:
    """A model by its name, and its local copy. Raises EngineError for a name that nothing has."""
    from dropscribe.engine.models.hub import client
    from dropscribe.engine.models.hub.known import KNOWN
    from dropscribe.engine.models.store import BUNDLED, BUNDLED_MODELS

    known: KnownModel | None = next((m for m in KNOWN if name in (m.name, m.hub_id)), None)
    role = known.role if known else used.get(name)
    licence = known.licence if known else None
    is_used = name in used
    if name in BUNDLED_MODELS:
        directory = BUNDLED / name
        size = sum(p.stat().st_size for p in directory.rglob("*") if p.is_file())
        return ModelCopy(name, role, None, size, licence, "bundled", directory, is_used)
    given = Path(os.path.expanduser(name))  # noqa: PTH111 - Path raises for an unknown user
    if _is_directory(given) or name.startswith((".", "/", "~")):
        there = given.absolute() if _is_directory(given) else None
        return ModelCopy(name, role, None, None, licence, "directory" if there else "absent", there, is_used)
    copy = client.copy_of(name)
    state = "absent" if copy is None else "cached" if copy.whole else "incomplete"
    where = None if copy is None else copy.directory
    about = known.size if known else None
    return ModelCopy(name, role, client.hub_id_of(name), about, licence, state, where, is_used)


def _is_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # in a directory that this user cannot enter
        return False


def _fetch(model: ModelCopy) -> None:
    """Fetch one model of the hub. Raises EngineError."""
    from dropscribe.cli.output import say
    from dropscribe.engine.models.hub import client

    if model.state == "cached":
        for file, problem in client.repair(model.name).items():
            say(f"{model.name}: {file} {problem}: it is fetched again", err=True)
            model = replace(model, state="damaged")
    total = None
    if model.state != "cached":
        total = sum(f.size for f in client.files_of(model.name).values())
        say(
            f"{model.name}: {_megabytes(total)} from {client.host()} into {client.cache_directory()}",
            err=True,
        )
    with _bar(model.name, total) as shown:
        client.locate(model.name, lambda line: _note(line, shown), shown)


def _note(line: str, shown: Callable[[int, int], None] | None) -> None:
    from dropscribe.cli.output import say

    if (shown is None and not line.startswith("fetching")) or "%" in line:
        say(line, err=True)


@contextmanager
def _bar(name: str, total: int | None) -> Iterator[Callable[[int, int], None] | None]:
    """Progress bar on standard error; None if that is no terminal: then a line is printed every few seconds."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal or total is None:
        yield None
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, redirect_stdout=False, redirect_stderr=False) as progress:
        task = progress.add_task(name, total=total)
        yield lambda done, most: progress.update(task, completed=done, total=max(total, most))


def _verified(model: ModelCopy) -> ModelCopy:
    """The model with its state after all its files were read. Raises EngineError, StorageError."""
    from dropscribe.engine.models.hub import client, receipt
    from dropscribe.errors import StorageError

    if model.state != "cached" or model.directory is None:
        return model
    try:
        recorded = receipt.read(model.directory)
        if recorded is None or any(f.sha256 is None for f in recorded.values()):
            recorded = client.files_of(model.name)
        problems = receipt.damage(model.directory, recorded)
    except OSError as e:
        raise StorageError.from_system(
            e,
            operation="verify model",
            path=model.directory,
            remedy="run the command as the user whose cache it is, or check the disk",
        ) from e
    return replace(model, state="damaged", problems=problems) if problems else model


def _print_states(models: list[ModelCopy]) -> None:
    from dropscribe.cli.output import say
    from dropscribe.escapes import readable

    for m in models:
        where = f", in {readable(m.directory)}" if m.directory is not None else ""
        say(f"{m.name}: {m.state}{where}")


def document(models: list[ModelCopy]) -> dict[str, Any]:
    """dropscribe/models/1, as described at `group`."""
    from dropscribe.engine.models.hub import client
    from dropscribe.escapes import readable

    return {
        "schema": MODELS_SCHEMA,
        "host": client.host(),
        "cache": readable(client.cache_directory()),
        "models": [
            {
                "name": m.name,
                "role": m.role,
                "hub_id": m.hub_id,
                "bytes": m.size,
                "licence": m.licence,
                "state": m.state,
                "directory": None if m.directory is None else readable(m.directory),
                "used": m.used,
                "problems": [{"file": file, "problem": problem} for file, problem in m.problems.items()],
            }
            for m in models
        ],
    }


def _megabytes(size: int | None) -> str:
    if size is None:
        return "?"
    return f"{size / 1e6:.1f} MB" if size < 10e6 else f"{size / 1e6:.0f} MB"
