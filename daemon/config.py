"""Settings: read once, validated once, frozen. Every error names the file, the field and the remedy.

`load` reads one TOML file; `embedded` makes the settings of `dropscribe run --watch DIR`. Nothing else
in the program reads files or environment variables for settings.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from daemon.errors import ConfigError

#: Where a configuration is looked for when none is named, first hit wins.
SEARCH_PATH: tuple[Path, ...] = (Path("dropscribe.toml"), Path("/etc/dropscribe/dropscribe.toml"))

#: Extensions (lower case) taken as recordings unless a folder names its own list. An allow-list, because
#: our own outputs land in watched folders too.
# fmt: off
RECORDING_EXTENSIONS: tuple[str, ...] = (
    ".3gp", ".aac", ".ac3", ".aif", ".aifc", ".aiff", ".amr", ".ape", ".au", ".avi", ".caf", ".eac3",
    ".flac", ".m4a", ".m4b", ".m4v", ".mka", ".mkv", ".mov", ".mp2", ".mp3", ".mp4", ".mpeg", ".mpg",
    ".mts", ".oga", ".ogg", ".opus", ".ra", ".rf64", ".snd", ".sph", ".ts", ".tta", ".w64", ".wav",
    ".wave", ".webm", ".wma", ".wmv", ".wv",
)
# fmt: on

Format = Literal["txt", "srt", "vtt", "json"]
Seconds = Annotated[float, Field(ge=0, le=86_400)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Profile(_Strict):
    """Named options of a folder: what is written for its recordings, and where."""

    formats: tuple[Format, ...] = Field(
        ("txt", "srt", "vtt", "json"),
        description="Transcript files to write beside the recording.",
        min_length=1,
    )
    timing_log: bool = Field(True, description="Write NAME.timing.json, which says where the time went.")
    output_dir: Path | None = Field(
        None, description="Write here instead, mirroring the folder's tree. Default: beside the recording."
    )
    duplicates: Literal["reference", "transcribe"] = Field(
        "reference",
        description="The same content again: use the result that is there, or transcribe it again.",
    )
    max_attempts: int = Field(3, ge=1, le=100, description="Tries before a job is failed.")
    subtitle_max_chars: int = Field(
        20, ge=4, le=200, description="Longest subtitle line, in characters (a Latin letter counts half)."
    )
    subtitle_max_s: float = Field(
        7.0, ge=0.5, le=60, description="Longest time one subtitle stands, seconds."
    )
    subtitle_pause_ms: int = Field(
        400, ge=50, le=10_000, description="A pause this long ends a subtitle, milliseconds."
    )


class Folder(_Strict):
    """A watched folder."""

    path: Path = Field(description="The folder to watch; absolute.")
    profile: str = Field("default", description="Which [profiles.NAME] its recordings are done under.")
    recursive: bool = Field(True, description="Watch the folders below it too.")
    backend: Literal["auto", "inotify", "poll"] = Field(
        "auto", description="auto: inotify on local disks, polling on network file systems."
    )
    poll_s: Seconds = Field(5.0, description="Polling interval where the folder is polled, seconds.")
    quiet_s: Seconds = Field(
        2.0,
        description="A file must not have changed for so long, where we can see that nobody writes to it.",
    )
    quiet_unprobed_s: Seconds = Field(
        10.0, description="The same, where we cannot see whether somebody still writes (network shares)."
    )
    incomplete_s: Seconds = Field(
        30.0, description="A file whose container says it is cut short is given this long to grow."
    )
    done_marker: bool = Field(
        False, description="Wait for an (empty) file NAME.EXT.done before taking NAME.EXT."
    )
    exclude: tuple[str, ...] = Field(
        (), description="Paths below the folder to leave alone, as patterns (archive/*, *_raw.wav)."
    )
    extensions: tuple[str, ...] = Field(
        RECORDING_EXTENSIONS, description="What counts as a recording, by extension.", min_length=1
    )

    @field_validator("path")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        if not value.is_absolute():
            raise ValueError(f"'{value}' is not absolute; write the whole path, from /")
        return Path(os.path.normpath(value))

    @field_validator("extensions")
    @classmethod
    def _dotted(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(v.lower() if v.startswith(".") else f".{v.lower()}" for v in value)


class EngineSettings(_Strict):
    """What recognises, and on what."""

    model: str = Field(
        "paraformer-zh",
        description="A FunASR model name (fetched once from the hub), a model directory, or a bundled "
        "model: paraformer-mini (demonstration only).",
    )
    vad_model: str = Field(
        "fsmn-vad", description="Voice activity detector: a FunASR name, a directory, or bundled vad-mini."
    )
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|cuda|cuda:\d+)$",
        description="auto takes cuda:0 where torch sees one, else the cpu.",
    )
    batch_s: float | None = Field(
        None,
        ge=1,
        le=100_000,
        description="Padded audio seconds of one batch. Default: 60 on cpu, 600 on cuda.",
    )
    max_wait_ms: int = Field(
        100,
        ge=0,
        le=60_000,
        description="Longest a segment waits for others to share its batch, milliseconds.",
    )
    threads: int | None = Field(
        None, ge=1, le=1024, description="CPU threads of the model. Default: all cores."
    )


class MediaSettings(_Strict):
    """Decoding, and its limits."""

    decoders: int | None = Field(
        None, ge=1, le=256, description="Decoder processes. Default: half the cores, at least 2."
    )
    memory_mb: int = Field(2048, ge=256, description="Address space one decoder may use, MiB.")
    max_hours: float = Field(48.0, gt=0, description="A longer recording is refused, hours of audio.")
    stall_s: float = Field(
        60.0, gt=0, description="A decoder that brings nothing for so long is stopped, seconds."
    )


class ServiceSettings(_Strict):
    """The daemon itself."""

    rescan_s: float = Field(
        30.0, ge=0.1, le=86_400, description="Look through every folder this often, whatever the events say."
    )
    queue_audio_s: float = Field(
        600.0, ge=30, description="Decoded audio held in shared memory ahead of the engine, seconds."
    )
    jobs_in_flight: int = Field(64, ge=1, le=4096, description="Recordings worked on at the same time.")
    log_format: Literal["auto", "json", "text"] = Field(
        "auto", description="auto: text on a terminal, JSON lines otherwise."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Lowest level logged."
    )


class Settings(_Strict):
    """Everything in force."""

    database: Path = Field(
        Path("/var/lib/dropscribe/jobs.db"),
        description="The job history; on a local disk, never on a network share.",
    )
    folders: tuple[Folder, ...] = Field((), description="What is watched.", alias="folder")
    profiles: dict[str, Profile] = Field(
        default_factory=lambda: {"default": Profile.model_validate({})},
        description="Named options of folders.",
    )
    engine: EngineSettings = Field(default_factory=lambda: EngineSettings.model_validate({}))
    media: MediaSettings = Field(default_factory=lambda: MediaSettings.model_validate({}))
    service: ServiceSettings = Field(default_factory=lambda: ServiceSettings.model_validate({}))

    @field_validator("profiles")
    @classmethod
    def _always_a_default(cls, value: dict[str, Profile]) -> dict[str, Profile]:
        return {"default": Profile.model_validate({})} | value

    @model_validator(mode="after")
    def _references(self) -> Settings:
        for folder in self.folders:
            if folder.profile not in self.profiles:
                known = ", ".join(sorted(self.profiles))
                raise ValueError(
                    f"folder {folder.path} names profile '{folder.profile}', which is not defined; "
                    f"defined are: {known}"
                )
        roots = [f.path for f in self.folders]
        for i, a in enumerate(roots):
            for j, b in enumerate(roots):
                if i != j and (a == b or (self.folders[j].recursive and b in a.parents)):
                    raise ValueError(
                        f"folder {a} lies in folder {b}, so its files would be taken twice; "
                        f"remove one, or set recursive = false on {b}"
                    )
        return self

    @property
    def recipe(self) -> str:
        """What shapes the text of a transcript: results are shared only between equal recipes."""
        return f"{self.engine.model}|{self.engine.vad_model}"


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings and where they came from. `sources` maps dotted fields to a file, "command line" or "default"."""

    settings: Settings
    file: Path | None
    sources: dict[str, str]


def find(explicit: Path | None) -> Path | None:
    """The configuration file to use: named, $DROPSCRIBE_CONFIG, else the first of `SEARCH_PATH` that exists."""
    if explicit is not None:
        return explicit
    named = os.environ.get("DROPSCRIBE_CONFIG")
    if named:
        return Path(named)
    return next((p for p in SEARCH_PATH if p.is_file()), None)


def load(file: Path) -> Loaded:
    """Read and validate one TOML file. Raises ConfigError naming file, field and remedy."""
    try:
        raw = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as e:
        raise ConfigError(
            "no such file",
            operation="read configuration",
            path=file,
            remedy="'dropscribe init' writes one",
        ) from e
    except OSError as e:
        raise ConfigError(
            e.strerror or str(e),
            operation="read configuration",
            path=file,
            remedy="make it readable for the user the daemon runs as",
        ) from e
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise ConfigError(
            f"not valid TOML: {e}",
            operation="read configuration",
            path=file,
            remedy="correct that line; strings need quotes",
        ) from e
    return Loaded(_validate(raw, file), file, dict.fromkeys(_leaves(raw), str(file)))


def embedded(
    watch: tuple[Path, ...],
    *,
    database: Path | None = None,
    model: str | None = None,
    vad_model: str | None = None,
    device: str | None = None,
) -> Loaded:
    """Settings without a file: watch `watch` with the bundled demonstration model, database in this folder."""
    engine = {"model": model or "paraformer-mini", "vad_model": vad_model or "vad-mini"}
    if device is not None:
        engine["device"] = device
    raw: dict[str, Any] = {
        "database": str(database or Path.cwd() / "jobs.db"),
        "folder": [{"path": str(p.absolute())} for p in watch],
        "engine": engine,
    }
    given = {
        "database": database,
        "engine.model": model,
        "engine.vad_model": vad_model,
        "engine.device": device,
    }
    sources = {
        leaf: "command line" if leaf.startswith("folder") or given.get(leaf) is not None else "embedded"
        for leaf in _leaves(raw)
    }
    return Loaded(_validate(raw, None), None, sources)


def override(loaded: Loaded, **values: Any) -> Loaded:
    """`loaded` with command-line values put over it; keys are dotted fields with `__` for the dot, None is absent."""
    data = loaded.settings.model_dump(by_alias=True, mode="python")
    sources = dict(loaded.sources)
    for key, value in values.items():
        if value is None:
            continue
        *groups, leaf = key.split("__")
        target = data
        for group in groups:
            target = target[group]
        target[leaf] = value
        sources[key.replace("__", ".")] = "command line"
    return Loaded(_validate(data, loaded.file), loaded.file, sources)


def _validate(raw: dict[str, Any], file: Path | None) -> Settings:
    try:
        return Settings.model_validate(raw)
    except ValidationError as e:
        first = e.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "(whole file)"
        message = str(first["msg"]).removeprefix("Value error, ")
        remedy = "'dropscribe init' writes a commented example"
        if first["type"] == "extra_forbidden":
            message = "there is no such setting"
            near = difflib.get_close_matches(str(first["loc"][-1]), _names(), n=1)
            if near:
                remedy = f"did you mean '{near[0]}'?"
        raise ConfigError(
            f"{field}: {message}",
            operation="read configuration" if file else "check options",
            path=file,
            remedy=remedy,
        ) from e


def _names() -> list[str]:
    """Every name a setting may have, for suggestions."""
    models = (Settings, Folder, Profile, EngineSettings, MediaSettings, ServiceSettings)
    return [f.alias or name for m in models for name, f in m.model_fields.items()]


def _leaves(raw: dict[str, Any], prefix: str = "") -> list[str]:
    """Dotted names of every value in a TOML document; array tables get an index."""
    out: list[str] = []
    for key, value in raw.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            out += _leaves(value, f"{name}.")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for i, item in enumerate(value):
                out += _leaves(item, f"{name}.{i}.")
        else:
            out.append(name)
    return out
