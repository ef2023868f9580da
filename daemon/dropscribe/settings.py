"""Settings: frozen, validated models, each field with its description, default and bounds.

`daemon/dropscribe/config.py` reads them from a file or the command line.
"""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from dropscribe.formats import RECORDING_EXTENSIONS
from dropscribe.hotword_files import LONGEST
from dropscribe.keeping_terms import KEEP, after_done, kept_for
from dropscribe.notify_settings import NotifySettings, check_targets
from dropscribe.schedules import parse_hours, parse_pace
from dropscribe.transcript.naming import AUTO_LANGUAGE, DEFAULT_FORMATS, FORMATS, LANGUAGE
from dropscribe.transcript.roles import ASR, VAD, ModelsByRole, ModelSet, key_of, recipe_of

if TYPE_CHECKING:
    Format = str
else:  # the names are known only at run time
    Format = Literal[FORMATS]
Seconds = Annotated[float, Field(ge=0, le=86_400)]
#: Most hotwords of a profile: more do not improve recognition, and each is compared with every word recognised.
MOST_HOTWORDS = 1000
#: Longest path of a watched folder with a PostgreSQL database, bytes: an index has it with names of profile and model.
FOLDER_BYTES = 1000
TrackNumber = Annotated[int, Field(strict=True, ge=1, le=999)]
SpeakerCount = Annotated[int, Field(strict=True, ge=1, le=64)]
Hotword = Annotated[str, Field(max_length=LONGEST)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ProfileModels(_Strict):
    """The models of a profile, instead of those in [engine.models]."""

    asr: str | None = Field(
        None,
        min_length=1,
        max_length=4096,
        description="Speech recogniser. Default: that of [engine.models].",
    )
    vad: str | None = Field(
        None,
        min_length=1,
        max_length=4096,
        description="Voice activity detector. Default: that of [engine.models].",
    )
    speakers: str | None = Field(
        None, min_length=1, max_length=4096, description="Speaker model. Default: that of [engine.models]."
    )


class Profile(_Strict):
    """Named options of a folder: what is written for its recordings, and where."""

    formats: tuple[Format, ...] = Field(
        DEFAULT_FORMATS,
        description="Transcript files to write beside the recording.",
        min_length=1,
    )
    timing_log: bool = Field(True, description="Write NAME.timing.json, which says where the time went.")
    output_dir: Path | None = Field(
        None, description="Write here instead, mirroring the folder's tree. Default: beside the recording."
    )
    failed_note: bool = Field(
        True,
        description="Write NAME.failed.txt beside a recording that failed or cannot be read or written, with reason and "
        "remedy; it goes when that is over.",
    )
    duplicates: Literal["reference", "transcribe"] = Field(
        "reference",
        description="The same content again: use the result that is there, or transcribe it again.",
    )
    max_attempts: int = Field(
        3, ge=1, le=100, description="Tries before a job is failed; interrupted ones do not count."
    )
    hotwords: tuple[Hotword, ...] = Field(
        (),
        description="Names and terms to listen for, for a model that can (SeACo-Paraformer, which is paraformer-zh). "
        "At most 1000; the fewer the better. What is transcribed already stays as it is.",
        max_length=MOST_HOTWORDS,
    )
    hotwords_file: Path | None = Field(
        None,
        description="Further hotwords, one a line; lines that begin with # are comments. UTF-8, UTF-16 or GBK. Read again when "
        "it changes.",
    )
    models: ProfileModels = Field(
        default_factory=lambda: ProfileModels.model_validate({}), description="Models of this profile."
    )
    language: str = Field(
        "auto",
        description="Language that is spoken, for a model that knows several: zh, en, yue, ja or ko of SenseVoice. auto: found by "
        "the model. For a model without a choice it is left out, with a remark.",
        pattern=r"^(auto|[a-z]{2,3}(-[A-Za-z]{2,4})?)$",
    )
    audio_track: Literal["auto", "loudest", "mix", "all"] | TrackNumber = Field(
        "auto",
        description="Which audio track of a file with several. auto: the default track if it has sound, else the first with "
        "sound; loudest; mix: all of them, added up; all: each transcribed apart, as a speaker; or a number, from 1.",
    )
    speakers: Literal["off", "auto", "channels"] | SpeakerCount = Field(
        "off",
        description="Who speaks. auto: speakers are told apart by their voices; a number: that many; channels: each channel "
        "is a speaker, as in a recorded call.",
    )
    punctuation: str = Field(
        "auto",
        description="Punctuation model. auto: that of the engine, unless the recogniser writes marks itself; off; or a model.",
        min_length=1,
        max_length=4096,
    )
    numbers: Literal["off", "written"] = Field(
        "off", description="written: spoken numbers are written in digits (二零二四年 as 2024年)."
    )
    fillers: Literal["keep", "leave out"] = Field(
        "keep",
        description="leave out: no 嗯, 呃, um in what is written; they stay in the tokens of the JSON file.",
    )
    txt_times: bool = Field(False, description="Each paragraph of NAME.txt begins with its time.")
    txt_speakers: bool = Field(
        True, description="NAME.txt names the speaker where that changes, if speakers are told apart."
    )
    subtitle_language_suffix: str = Field(
        "",
        description="Language between name and ending of srt and vtt, as Plex, Jellyfin and Emby want it: zh for NAME.zh.srt; auto: "
        "that of the text.",
        pattern=rf"^({AUTO_LANGUAGE}|{LANGUAGE})?$",
    )
    partial_after_s: Seconds = Field(
        1.0,
        description="A recording that takes longer than this shows what is recognised so far as NAME.partial.txt, "
        "which goes when its transcript is there (only where formats has txt). 0: never.",
    )
    subtitle_max_chars: int | None = Field(
        None,
        ge=4,
        le=200,
        description="Longest subtitle line, in characters (a Latin letter counts half). Default: 16, or 42 letters of scripts "
        "other than Chinese; 20 where there are no marks.",
    )
    subtitle_max_s: float = Field(
        7.0, ge=0.5, le=60, description="Longest time one subtitle stands, seconds."
    )
    subtitle_pause_ms: int = Field(
        400, ge=50, le=10_000, description="A pause this long ends a subtitle, milliseconds."
    )

    after_done: str = Field(
        KEEP,
        description="What becomes of a recording once it is transcribed, if its transcripts are there and unchanged. keep; "
        "move:DIR, with its subfolders, where DIR is relative to the watched folder or a whole path; delete after 30 d (h, d, w).",
    )
    move_outputs: bool = Field(
        False, description="Move the transcripts of a recording along with it (after_done = move:DIR)."
    )
    keep_outputs: str = Field(
        KEEP,
        description="Transcripts: keep, or delete after 90 d (h, d, w) of the end of the job. Files that somebody changed stay.",
    )
    keep_text: str = Field(
        KEEP,
        description="The words in the database, and so search, show and redo without the audio: keep, or delete after 90 d.",
    )
    keep_logs: str = Field(
        KEEP,
        description="NAME.timing.json, and stages and tries in the database: keep, or delete after 90 d.",
    )
    follow_renames: bool = Field(
        True,
        description="A recording that is renamed or moved within the watched folders keeps its job, and its transcripts follow, "
        "if nobody changed them. false: it counts as a new recording of the same content.",
    )

    @field_validator("after_done")
    @classmethod
    def _known_fate(cls, value: str) -> str:
        after_done(value)
        return value

    @field_validator("keep_outputs", "keep_text", "keep_logs")
    @classmethod
    def _known_span(cls, value: str) -> str:
        kept_for(value)
        return value

    @field_validator("hotwords")
    @classmethod
    def _said(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """Normalise spaces and remove duplicates, keeping the order."""
        words = [" ".join(v.split()) for v in value]
        if "" in words:
            raise ValueError("one of the hotwords is empty; write a word, or leave it out")
        return tuple(dict.fromkeys(words))


class Folder(_Strict):
    """A watched folder."""

    path: Path = Field(description="The folder to watch; absolute.")
    storage: str = Field(
        "",
        pattern=r"^([A-Za-z0-9][A-Za-z0-9_.-]{0,62})?$",
        description="Name of a folder that several hosts with one PostgreSQL database see, such as one on a file server; the same on "
        "each. Default: the folder is this host's own.",
    )
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
        RECORDING_EXTENSIONS,
        description="What counts as a recording, by extension. Replaces the default list; extensions_also adds to it.",
        min_length=1,
    )
    extensions_also: tuple[str, ...] = Field(
        (), description="Further extensions that count as recordings, beside those in extensions."
    )

    priority: int = Field(
        0,
        ge=-100,
        le=100,
        description="Its recordings are begun before those of folders with a lower one, whatever came first.",
    )
    share: float = Field(
        1.0,
        ge=0.01,
        le=100,
        description="Folders of the same priority take turns; one with 2 has two turns where the others have one.",
    )
    hours: tuple[str, ...] = Field(
        (),
        description='Its recordings are begun in these hours only, in local time: "19:00-07:00", or with days '
        '"Mon-Fri 19:00-07:00, Sat-Sun 00:00-24:00". What has begun is finished. Default: at any time.',
    )
    pace: str | None = Field(
        None,
        description='Begin at most this much of it: "60/h" recordings an hour, "500/d" a day, "10 h/h" hours of audio an hour. '
        "Default: as much as the machine can do.",
    )

    @field_validator("hours", mode="before")
    @classmethod
    def _hours(cls, value: object) -> object:
        """Validate one text or a list of them."""
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, (list, tuple)) or not all(isinstance(t, str) for t in texts):
            raise ValueError('write "19:00-07:00", or a list of such spans')
        if texts:
            parse_hours(texts)
        return tuple(texts)

    @field_validator("pace")
    @classmethod
    def _pace(cls, value: str | None) -> str | None:
        if value is not None:
            parse_pace(value)
        return value

    @field_validator("path")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        if not value.is_absolute():
            raise ValueError(f"'{value}' is not absolute; write the whole path, from /")
        return Path(os.path.normpath(value))

    @field_validator("extensions", "extensions_also")
    @classmethod
    def _dotted(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(v.lower() if v.startswith(".") else f".{v.lower()}" for v in value)

    @property
    def recordings(self) -> frozenset[str]:
        """Extensions of recordings, lower case, with the dot."""
        return frozenset((*self.extensions, *self.extensions_also))


class Models(_Strict):
    """The model of each role: a FunASR model name (fetched once from the hub), a model directory, or a bundled model."""

    # To add a role: add a field here, and its models in `dropscribe.engine.models.store`. Engine facts, recipes, JSON
    # documents, documentation and the check that several engines are alike derive from the fields.
    asr: str = Field(
        "paraformer-zh", description="Speech recogniser. Bundled: paraformer-mini (demonstration only)."
    )
    vad: str = Field("fsmn-vad", description="Voice activity detector. Bundled: vad-mini.")
    punctuation: str = Field(
        "ct-punc-mini",
        description="Punctuation model of profiles with punctuation = auto: ct-punc (large), ct-punc-c, or the bundled "
        "ct-punc-mini (demonstration only). Not used with a recogniser that writes marks itself.",
    )
    speakers: str = Field(
        "campplus-zh-en",
        description="Speaker model of profiles with speakers = auto or a number: the bundled campplus-zh-en, or cam++.",
    )

    def by_role(self) -> ModelsByRole:
        """(role, model) of every role that has a model."""
        named = ((role, getattr(self, role)) for role in type(self).model_fields)
        return tuple((role, model) for role, model in named if model is not None)


#: Older names of fields of `Models`, still accepted as settings of the engine.
OLD_MODEL_NAMES = {key_of(role): role for role in (ASR, VAD)}


class EngineSettings(_Strict):
    """The engine: models, devices, precision, batches."""

    #: Accepted as input; after validation equal to the field of `models`. Not serialised (`exclude`).
    model: str = Field("", exclude=True, description="Older name of models.asr.")
    vad_model: str = Field("", exclude=True, description="Older name of models.vad.")
    models: Models = Field(
        default_factory=lambda: Models.model_validate({}), description="The model of each role."
    )
    #: Not a setting: the sets of models to be loaded at the start. Without profiles `default_set`, else see `Settings`.
    sets: tuple[ModelSet, ...] = Field((), exclude=True, description="Filled in from the profiles.")
    device: str = Field(
        "auto",
        description="auto takes cuda:0 where torch sees one, else the cpu; cuda takes every GPU. A list, "
        '["cuda:0", "cuda:1"], names some: each gets an engine process of its own. A GPU that is faster than one process can '
        "feed it may be named twice.",
    )
    precision: Literal["auto", "fp32", "fp16", "bf16", "int8"] = Field(
        "auto",
        description="auto: fp16 on cuda, fp32 on the cpu. fp16 keeps sums and scores in fp32; fp32 on cuda is "
        "the deterministic mode. bf16 and int8, on the cpu, make the Paraformer family faster and a few words different: bf16 "
        "fewer, on processors that have it; other models stay in fp32.",
    )
    batch_s: float | None = Field(
        None,
        ge=1,
        le=100_000,
        description="Padded audio seconds of one batch. Default: 60 for each thread on cpu; on cuda up to 8000, as memory allows.",
    )
    gpu_memory: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Share of a GPU's memory that each engine process may fill. Default: all of it, or, of a GPU that is named "
        "more than once, nine tenths shared out.",
    )
    model_memory_mb: int | None = Field(
        None,
        ge=1,
        le=1 << 30,
        description="Memory for the weights of models on each device, MiB: on a GPU its own, on the cpu that of the machine. Where "
        "profiles name more models than fit, the least recently used ones are unloaded. Default: half of it.",
    )
    max_wait_ms: int = Field(
        100,
        ge=0,
        le=60_000,
        description="Longest a segment waits for others to share its batch, milliseconds; on a GPU with more than a few "
        "recordings under way eight times as long.",
    )
    threads: int | None = Field(
        None, ge=1, le=1024, description="CPU threads of each engine process. Default: all cores, shared out."
    )
    station_processes: Literal["auto", "always", "several"] = Field(
        "auto",
        description="Which devices get a process of their own that feeds decoders and engine, instead of the daemon. several: "
        "those of several. auto: also a single GPU on a machine with 8 cores or more, which is up to 5 % faster. always: also "
        "a single CPU.",
    )

    @model_validator(mode="before")
    @classmethod
    def _accept_old_names(cls, values: Any) -> Any:
        """Move settings given under older names into `models`."""
        if not isinstance(values, dict):
            return values
        models = values.get("models", {})
        if isinstance(models, Models):
            models = models.model_dump(exclude_unset=True)
        if not isinstance(models, dict):
            return values
        for old, role in OLD_MODEL_NAMES.items():
            if old in values and role in models:
                raise ValueError(
                    f"engine.{old} and engine.models.{role} set the same model; remove engine.{old}, the older name"
                )
        given = {role: values[old] for old, role in OLD_MODEL_NAMES.items() if old in values}
        return values | {"models": models | given}

    @model_validator(mode="after")
    def _fill_derived(self) -> EngineSettings:
        for old, role in OLD_MODEL_NAMES.items():
            object.__setattr__(self, old, getattr(self.models, role))
        object.__setattr__(self, "sets", (replace(self.default_set, speakers=""),))
        return self

    @field_validator("device", mode="before")
    @classmethod
    def _device(cls, value: object) -> object:
        """Validate one device or several (a list, or a string with commas); stored as a string with commas."""
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, (list, tuple)) or not all(isinstance(p, str) for p in parts):
            raise ValueError('write one device, "cuda:0", or a list of them, ["cuda:0", "cuda:1"]')
        devices = [p.strip() for p in parts]
        alone = len(devices) == 1
        for device in devices:
            if re.fullmatch(r"cpu|cuda:\d+" + (r"|auto|cuda" if alone else ""), device, re.ASCII) is None:
                known = "auto, cpu, cuda or cuda:0" if alone else "cpu and cuda:0, cuda:1, … in a list"
                raise ValueError(f"there is no device '{device}'; write {known}")
        if not devices:
            raise ValueError("the list is empty; name a device")
        if len({d.partition(":")[0] for d in devices}) > 1:
            raise ValueError("a recording would get another text on the cpu than on cuda; name one kind")
        return ", ".join(devices)

    @property
    def default_set(self) -> ModelSet:
        """The models of recordings that ask for none of their own."""
        return ModelSet(self.models.asr, self.models.vad, self.models.punctuation, self.models.speakers)

    @property
    def devices(self) -> tuple[str, ...]:
        """Devices as configured, one or several."""
        return tuple(self.device.split(", "))


class MediaSettings(_Strict):
    """Decoding and its limits."""

    decoders: int | None = Field(
        None,
        ge=1,
        le=256,
        description="Decoder processes. Default: half the cores, all but 4 where that is more, at least 2, at most 32 for "
        "each device.",
    )
    memory_mb: int = Field(2048, ge=256, le=1 << 24, description="Address space one decoder may use, MiB.")
    max_hours: float = Field(
        48.0, gt=0, le=100_000, description="A longer recording is refused, hours of audio."
    )
    stall_s: float = Field(
        60.0, gt=0, le=86_400, description="A decoder that brings nothing for so long is stopped, seconds."
    )


class ServiceSettings(_Strict):
    """The daemon: scans, limits, log."""

    rescan_s: float = Field(
        30.0, ge=0.1, le=86_400, description="Look through every folder this often, whatever the events say."
    )
    queue_audio_s: float = Field(
        600.0,
        ge=30,
        le=1_000_000,
        description="Decoded audio held in shared memory ahead of the engine, seconds.",
    )
    free_floor_mb: int = Field(
        200,
        ge=0,
        le=1 << 30,
        description="Where less is free, MiB, on the disk of the database or of a folder's transcripts, no further "
        "recording is begun, until half as much again is. At most a tenth of the disk. 0: never mind.",
    )
    jobs_in_flight: int = Field(512, ge=1, le=16_384, description="Recordings worked on at the same time.")
    log_format: Literal["auto", "json", "text"] = Field(
        "auto", description="auto: text on a terminal, JSON lines otherwise."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Lowest level logged."
    )
    metrics_file: Path | None = Field(
        None,
        description="Write metrics into this file for Prometheus (the textfile collector of node_exporter); NAME.prom.",
    )
    metrics_s: float = Field(15.0, ge=1, le=3600, description="Interval of writing the metrics, seconds.")
    backlog_s: float = Field(
        3600.0,
        gt=0,
        le=31_536_000,
        description="A recording that has waited for so long is told to targets with the event backlog, seconds.",
    )


class WebSettings(_Strict):
    """The page of `dropscribe web`."""

    address: str = Field(
        "127.0.0.1",
        min_length=1,
        max_length=255,
        description="IP address that is listened on. Any but one of this machine itself (127.0.0.1, ::1) needs `token_file`.",
    )
    port: int = Field(8970, ge=1, le=65_535, description="TCP port that is listened on.")
    hosts: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]{1,253}$")], ...] = Field(
        (),
        description="Names under which browsers reach the page, such as that of a proxy. IP addresses and localhost are "
        "always accepted.",
    )
    token_file: Path | None = Field(
        None,
        description="File with the token that people must enter, in its first line that is no comment. A systemd credential "
        "of the same name takes its place.",
    )
    upload: bool = Field(
        False,
        description="People may send recordings into the watched folders; whoever reaches the page may.",
    )
    upload_mb: int = Field(4096, ge=1, le=1 << 24, description="Largest recording that may be sent, MiB.")
    openai_folder: Path | None = Field(
        None,
        description="Watched folder for the recordings that programs send as to OpenAI (`POST /v1/audio/transcriptions`); needs "
        "`upload`. Default: such requests are refused.",
    )
    visitor_header: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,100}$")] | None = Field(
        None,
        description="Header in which a proxy names the visitor, such as X-Remote-User, for the history of actions; set it only if "
        "nobody reaches the page but through the proxy. Default: visitors are named by their address.",
    )
    openai_wait_s: int = Field(
        300,
        ge=0,
        le=3600,
        description="Longest wait of such a request for its transcript, seconds; then it is answered with the number of the job.",
    )


class ClusterSettings(_Strict):
    """Stations on other machines, joined by Ray."""

    address: str | None = Field(
        None,
        description="Ray cluster whose machines decode and recognise, as HOST:PORT, or auto for the one that this machine is part "
        "of; see docs/cluster.md. Default: this machine alone.",
    )

    @field_validator("address")
    @classmethod
    def _reachable(cls, value: str | None) -> str | None:
        if value is None or value == "auto":
            return value
        host, _, port = value.rpartition(":")
        if not re.fullmatch(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]", host) or not re.fullmatch(
            r"\d{1,5}", port, re.ASCII
        ):
            raise ValueError(
                f'"{value}" is no address of a cluster; write HOST:PORT, such as head.example.org:6379, or auto'
            )
        if not 1 <= int(port) <= 65_535:
            raise ValueError(f'"{value}": the port must be 1 to 65535')
        return value


class Settings(_Strict):
    """All settings."""

    database: Path = Field(
        Path("/var/lib/dropscribe/jobs.db"),
        description="The job history: a file on a local disk, never on a network share, or postgresql://USER@HOST/NAME.",
    )
    host: str = Field(
        "",
        pattern=r"^([A-Za-z0-9][A-Za-z0-9_.-]{0,62})?$",
        description="Name of this host among several that share a PostgreSQL database. One may be without a name, as is every "
        "host with a database of its own.",
    )
    folders: tuple[Folder, ...] = Field((), description="What is watched.", alias="folder")
    profiles: dict[str, Profile] = Field(
        default_factory=lambda: {"default": Profile.model_validate({})},
        description="Named options of folders.",
    )
    engine: EngineSettings = Field(default_factory=lambda: EngineSettings.model_validate({}))
    media: MediaSettings = Field(default_factory=lambda: MediaSettings.model_validate({}))
    service: ServiceSettings = Field(default_factory=lambda: ServiceSettings.model_validate({}))
    cluster: ClusterSettings = Field(default_factory=lambda: ClusterSettings.model_validate({}))
    notify: tuple[NotifySettings, ...] = Field((), description="Who is notified of what.")
    web: WebSettings = Field(default_factory=lambda: WebSettings.model_validate({}))

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
        self._check_places()
        roots = [f.path for f in self.folders]
        for i, a in enumerate(roots):
            for j, b in enumerate(roots):
                if i != j and (a == b or (self.folders[j].recursive and b in a.parents)):
                    raise ValueError(
                        f"folder {a} lies in folder {b}, so its files would be taken twice; "
                        f"remove one, or set recursive = false on {b}"
                    )
        return self

    def _check_places(self) -> None:
        """Raise ValueError if names of hosts and shared folders cannot tell them apart."""
        named = [f.storage for f in self.folders if f.storage]
        twice = next((name for name in named if named.count(name) > 1 or name == self.host), None)
        if twice is not None:
            raise ValueError(
                f"storage '{twice}' is the name of two folders, or of this host; give each a name of its own"
            )
        if (named or self.host) and "postgres" not in str(self.database).partition(":")[0]:
            raise ValueError(
                "host and storage are for a PostgreSQL database that several hosts use; leave them out, or name that database"
            )
        for folder in self.folders:
            to = self.profile(folder.profile).output_dir
            inside = to is None or Path(os.path.normpath(folder.path / to)).is_relative_to(folder.path)
            if folder.storage and not inside:
                raise ValueError(
                    f"output_dir of profile '{folder.profile}' is {to}, which is not in the shared folder {folder.path}, so that "
                    "other hosts could not find the transcripts; name a folder in it, or leave output_dir out"
                )
        if "postgres" in str(self.database).partition(":")[0]:
            long = next((f.path for f in self.folders if len(bytes(f.path)) > FOLDER_BYTES), None)
            if long is not None:
                raise ValueError(
                    f"the path of folder {long} has {len(bytes(long))} bytes, and {FOLDER_BYTES} are possible with a PostgreSQL "
                    "database; watch a folder above it, or mount it elsewhere"
                )

    @model_validator(mode="after")
    def _exclude_moved_recordings(self) -> Settings:
        """Leave the folders alone into which recordings are moved: they would be taken again."""
        folders = list(self.folders)
        for mover in self.folders:
            to = self.moved_to(mover)
            if to is None:
                continue
            for i, folder in enumerate(folders):
                if to != folder.path and not (folder.recursive and folder.path in to.parents):
                    continue
                if to == folder.path:
                    raise ValueError(
                        f"after_done of profile '{mover.profile}' would move recordings of {mover.path} into {to}, which is "
                        "watched; name another folder"
                    )
                pattern = glob.escape(str(to.relative_to(folder.path))) + "/*"
                if pattern not in folder.exclude:
                    folders[i] = folder.model_copy(update={"exclude": (*folder.exclude, pattern)})
        object.__setattr__(self, "folders", tuple(folders))
        return self

    def moved_to(self, folder: Folder) -> Path | None:
        """Where transcribed recordings of a watched folder are moved to; None if they are not moved."""
        directory = after_done(self.profile(folder.profile).after_done).directory
        return None if directory is None else Path(os.path.normpath(folder.path / directory))

    @model_validator(mode="after")
    def _openai_folder_is_watched(self) -> Settings:
        folder = self.web.openai_folder
        if folder is not None and folder not in [f.path for f in self.folders]:
            raise ValueError(
                f"[web] openai_folder is {folder}, which is not watched; name one of the watched folders"
            )
        return self

    @model_validator(mode="after")
    def _targets(self) -> Settings:
        check_targets(self.notify, self.profiles, [f.path for f in self.folders])
        return self

    @model_validator(mode="after")
    def _collect_sets(self) -> Settings:
        used = dict.fromkeys(f.profile for f in self.folders) or ("default",)
        object.__setattr__(self, "engine", self.loading(used).engine)
        return self

    def loading(self, profiles: Iterable[str]) -> Settings:
        """The same settings with the models of these profiles to be loaded at the start."""
        sets = tuple(dict.fromkeys(self.model_set(self.profile(name)) for name in profiles))
        return self.model_copy(update={"engine": self.engine.model_copy(update={"sets": sets})})

    def models_by_role(self) -> dict[str, tuple[str, ...]]:
        """Role → models of all profiles, those of the folders' profiles first; without folders those of [engine.models]."""
        sets = [*self.engine.sets, *(self.model_set(p) for p in self.profiles.values() if not self.folders)]
        used = {f.profile for f in self.folders}
        sets += [self.model_set(p) for name, p in self.profiles.items() if name in used or name != "default"]
        found: dict[str, dict[str, None]] = {}
        for role, name in (pair for models in sets for pair in models.by_role()):
            found.setdefault(role, {})[name] = None
        return {role: tuple(names) for role, names in found.items()}

    def model_set(self, profile: Profile) -> ModelSet:
        """The models that work on the recordings of a profile."""
        default, own = self.engine.models, profile.models
        punctuation = {"auto": default.punctuation, "off": ""}.get(profile.punctuation, profile.punctuation)
        by_voice = profile.speakers not in {"off", "channels"}
        return ModelSet(
            own.asr or default.asr,
            own.vad or default.vad,
            punctuation,
            (own.speakers or default.speakers) if by_voice else "",
        )

    def profile(self, name: str) -> Profile:
        """Profile of this name; the default one if it is no longer defined."""
        return self.profiles.get(name) or self.profiles["default"]

    def recipe(self, profile: str) -> str:
        """Recipe of a profile: models, language, audio track, speakers and hotwords. Results are shared only between equal recipes."""
        options = self.profile(profile)
        models = self.model_set(options)
        parts = [recipe_of(models.by_role())]
        if options.language != "auto":
            parts.append(f"language:{options.language}")
        if options.audio_track != "auto":
            parts.append(f"audio_track:{options.audio_track}")
        if options.speakers != "off":
            by_voice = f":{models.speakers}" if models.speakers else ""
            parts.append(f"spk={options.speakers}{by_voice}")
        if options.hotwords:
            digest = hashlib.sha256("\n".join(options.hotwords).encode()).hexdigest()
            parts.append(f"hotwords:{digest[:16]}")
        return "|".join(parts)
