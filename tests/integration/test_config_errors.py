"""Configuration files that cannot be read, and wrong settings: one line that says what, which, why and what to do."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from dropscribe import config
from dropscribe.errors import ConfigError

CHINESE = '# 配置\n[profiles.default]\nhotwords = ["达摩院", "会议记录"]\n'
VALID = 'database = "/data/jobs.db"\n'


def refusal(file: Path) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        config.load(file)
    error = caught.value
    assert error.path == file
    assert error.remedy
    assert error.operation == "read configuration"
    assert len(str(error).splitlines()) == 1
    return error


def refused(tmp_path: Path, text: str) -> ConfigError:
    file = tmp_path / "dropscribe.toml"
    file.write_text(text, encoding="utf-8")
    return refusal(file)


# the file


@pytest.mark.parametrize("text", [VALID, CHINESE])
def test_a_byte_order_mark_of_utf_8_is_accepted(tmp_path: Path, text: str) -> None:
    file = tmp_path / "dropscribe.toml"
    file.write_bytes(text.replace("\n", "\r\n").encode("utf-8-sig"))
    settings = config.load(file).settings
    assert settings.database == Path("/data/jobs.db") or "达摩院" in settings.profile("default").hotwords


@pytest.mark.parametrize(
    ("encoding", "reason"),
    [
        ("utf-16", "it is UTF-16"),
        ("utf-16-le", "it is UTF-16"),
        ("utf-16-be", "it is UTF-16"),
        ("utf-32", "it is UTF-32"),
        ("gbk", "it is not UTF-8, but likely GBK (at line 1)"),
        ("gb18030", "it is not UTF-8, but likely GBK (at line 1)"),
    ],
)
def test_another_encoding_is_named(tmp_path: Path, encoding: str, reason: str) -> None:
    file = tmp_path / "dropscribe.toml"
    file.write_bytes(CHINESE.encode(encoding))
    error = refusal(file)
    assert error.reason == reason
    assert error.remedy == "save it as UTF-8"


def test_latin_1_is_not_taken_for_gbk(tmp_path: Path) -> None:
    file = tmp_path / "dropscribe.toml"
    file.write_bytes('# ok\n[profiles.default]\nhotwords = ["Zoë", "Müller"]\n'.encode("latin-1"))
    assert refusal(file).reason == "it is not UTF-8 (at line 3)"


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_folder(path: Path) -> None:
    path.mkdir()


def make_sound(path: Path) -> None:
    path.write_bytes(b"RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00" + bytes(range(256)) * 8)


def make_loop(path: Path) -> None:
    path.symlink_to(path.name)


def make_broken_link(path: Path) -> None:
    path.symlink_to("nowhere.toml")


def make_null(path: Path) -> None:
    path.symlink_to("/dev/null")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (make_folder, "it is a folder"),
        (make_pipe, "it is not a regular file"),
        (make_null, "it is not a regular file"),
        (make_sound, "it is not"),
        (make_loop, "Too many levels of symbolic links"),
        (make_broken_link, "no such file"),
    ],
)
def test_what_is_no_text_file_is_refused_without_waiting(
    tmp_path: Path, make: Callable[[Path], None], reason: str
) -> None:
    path = tmp_path / "dropscribe.toml"
    make(path)
    assert reason in refusal(path).reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[engine]\ndevice = cpu\n", "(at line 2, column 10)"),
        ("x = " + "[" * 100_000, "nested too deeply"),
        ("x = " + "9" * 5000, "not valid TOML"),
        ('database = "C:\\data\\jobs.db"\n', "(at line 1"),
        ('database = "/data/\\u0000jobs.db"\n', "database contains a NUL character"),
        ('[[folder]]\npath = "/in\\u0000"\n', "folder.0.path contains a NUL character"),
    ],
    ids=lambda text: text[:12],
)  # fmt: skip
def test_what_is_no_toml_is_located(tmp_path: Path, text: str, reason: str) -> None:
    assert reason in refused(tmp_path, text).reason


# settings


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('[engine]\nbatch_s = "big"', 'engine.batch_s is "big", but must be a number, 1 to 100000'),
        ("[engine]\nbatch_s = 0", "engine.batch_s is 0, but must be a number, 1 to 100000"),
        ("[engine]\nthreads = 1.5", "engine.threads is 1.5, but must be a whole number, 1 to 1024"),
        ("[engine]\ngpu_memory = 2", "engine.gpu_memory is 2, but must be a number, more than 0 to 1"),
        ('[engine]\nprecision = "fp8"', 'engine.precision is "fp8", but must be one of auto, fp32, fp16, bf16, int8'),
        ("[engine.models]\nasr = 3", "engine.models.asr is 3, but must be text, in quotes"),
        ("[media]\nmax_hours = nan", "media.max_hours is NaN, but must be a number, more than 0 to 100000"),
        ("[service]\nqueue_audio_s = inf", "service.queue_audio_s is Infinity, but must be a number, 30 to 1000000"),
        ("[service]\nrescan_s = 1979-05-27", "service.rescan_s is 1979-05-27, but must be a number, 0.1 to 86400"),
        ("database = 3", "database is 3, but must be a path, in quotes"),
        ("database = [1, 2]", "database is [1, 2], but must be a path, in quotes"),
        ('[profiles.default]\nformats = "txt"',
         ('profiles.default.formats is "txt", but must be a list of txt, srt, vtt, json, md, html, docx, tsv, lrc, labels, rttm '
          'of at least 1 entry')),
        ('[profiles.default]\nformats = ["pdf"]',
         'profiles.default.formats.0 is "pdf", but must be one of txt, srt, vtt, json, md, html, docx, tsv, lrc, labels, rttm'),
        ('[profiles.a]\ntiming_log = "maybe"', 'profiles.a.timing_log is "maybe", but must be true or false'),
        (f'[profiles.a]\nhotwords = ["{"x" * 80}"]',
         f'profiles.a.hotwords.0 is "{"x" * 58}…, but must be text, in quotes of at most 50 characters'),
        ('[[folder]]\npath = "/in"\nexclude = "a/*"', 'folder.0.exclude is "a/*", but must be a list of text'),
        ('[[folder]]\nprofile = "default"', "folder.0.path is missing"),
        ('[[folder]]\npath = "in"', "folder.0.path: 'in' is not absolute; write the whole path, from /"),
        ("[engine]\nbatch_s = 0\nthreads = 0\nmax_wait_ms = -1",
         "engine.batch_s is 0, but must be a number, 1 to 100000; 2 more settings are wrong"),
    ],
    ids=lambda text: text.split("\n")[-1][:24],
)  # fmt: skip
def test_a_wrong_value_is_told_with_what_is_allowed(tmp_path: Path, text: str, reason: str) -> None:
    error = refused(tmp_path, text)
    assert error.reason == reason
    assert not re.search(r"[Ii]nput should|[Ee]xtra inputs|pydantic|valid (?:dict|tuple|list)", str(error))


@pytest.mark.parametrize(
    ("text", "reason", "remedy"),
    [
        ("[profile.default]\nformats = ['txt']", "profile: there is no such setting", "did you mean [profiles.default]?"),
        ("[profile.lab]\nformats = ['txt']", "profile: there is no such setting", "did you mean [profiles.lab]?"),
        ("[[folders]]\npath = '/in'", "folders: there is no such setting", "did you mean [[folder]]?"),
        ("[engin]\ndevice = 'cpu'", "engin: there is no such setting", "did you mean [engine]?"),
        ("databse = '/x'", "databse: there is no such setting", "did you mean 'database'?"),
        ("[engine]\nbatchs = 1", "engine.batchs: there is no such setting", "did you mean 'batch_s'?"),
        ("[service]\ndevice = 'cpu'", "service.device: there is no such setting", "'device' belongs in [engine]"),
        ("device = 'cpu'", "device: there is no such setting", "'device' belongs in [engine]"),
        ("[engine]\ndatabase = '/x'", "engine.database: there is no such setting",
         "'database' belongs in the top of the file"),
        ("[[folder]]\npath = '/in'\nhotword = ['a']", "folder.0.hotword: there is no such setting",
         "did you mean 'hotwords', in [profiles.default]?"),
        ("[engine]\nzzzzzz = 1", "engine.zzzzzz: there is no such setting", "writes a commented example"),
        ("[profiles]\nformats = ['txt']", "profiles.formats: there is no such setting", "write formats below [profiles.default]"),
        ("engine = 'cpu'", "engine is not a table", "write [engine] in a line of its own"),
        ("[[engine]]\ndevice = 'cpu'", "engine is not a table", "write [engine] in a line of its own"),
        ("[folder]\npath = '/in'", "folder is not a list of tables", "write [[folder]], with two brackets on each side"),
        ("folder = ['/in']", "folder.0 is not a table", "write [[folder]] in a line of its own"),
        ("profiles = 3", "profiles is not a table", "write [profiles.default]"),
    ],
    ids=lambda text: text.split("\n")[0][:24],
)  # fmt: skip
def test_a_misplaced_name_is_answered_with_the_likely_one(
    tmp_path: Path, text: str, reason: str, remedy: str
) -> None:
    error = refused(tmp_path, text)
    assert error.reason == reason
    assert remedy in error.remedy


def test_a_wrong_option_is_answered_like_a_wrong_setting() -> None:
    with pytest.raises(ConfigError) as caught:
        config.embedded((), device="gpu")
    assert str(caught.value).startswith("check options: engine.device: there is no device 'gpu'; write auto,")


# which file


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home directory and an empty current directory beside it."""
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("DROPSCRIBE_CONFIG", raising=False)
    monkeypatch.chdir(here)
    monkeypatch.setattr(config, "SYSTEM_FILE", tmp_path / "etc" / "dropscribe" / "dropscribe.toml")
    return home


def test_configuration_files_are_found_in_one_order(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found() -> tuple[Path, str]:
        place = config.find(None)
        assert place is not None
        return place.file.absolute(), place.how

    def write(file: Path) -> Path:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(VALID, encoding="utf-8")
        return file

    assert config.find(None) is None
    system = write(config.SYSTEM_FILE)
    assert found() == (system, "found as the configuration of this machine")
    user = write(home / ".config" / "dropscribe" / "dropscribe.toml")
    assert found() == (user, "found in the user's configuration folder")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    assert found()[0] == system
    user = write(tmp_path / "xdg" / "dropscribe" / "dropscribe.toml")
    assert found() == (user, "found in the user's configuration folder")
    here = write(Path.cwd() / "dropscribe.toml")
    assert found() == (here, "found in the current directory")
    monkeypatch.setenv("DROPSCRIBE_CONFIG", "/named.toml")
    assert found() == (Path("/named.toml"), "named by $DROPSCRIBE_CONFIG")
    place = config.find(Path("/given.toml"))
    assert place == config.Found(Path("/given.toml"), "named by --config")


def test_relative_paths_are_those_of_the_file(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text('database = "jobs.db"\n[profiles.lab]\noutput_dir = "out/txt"\n', encoding="utf-8")
    settings = config.load(file).settings
    assert settings.database == tmp_path / "jobs.db"
    assert settings.profile("lab").output_dir == tmp_path / "out" / "txt"
    assert home.is_dir()


# several hosts, PostgreSQL

SERVER = 'database = "postgresql://u@h/x"\n'


def test_a_folder_with_too_long_a_path_for_postgresql_is_refused(tmp_path: Path) -> None:
    deep = "/" + "/".join(["资料" * 40] * 5)
    watched = f'[[folder]]\npath = "{deep}"\n'
    assert (
        f"has {len(deep.encode())} bytes, and 1000 are possible" in refused(tmp_path, SERVER + watched).reason
    )
    (tmp_path / "dropscribe.toml").write_text(VALID + watched, encoding="utf-8")
    assert config.load(tmp_path / "dropscribe.toml").settings.folders[0].path == Path(deep)


@pytest.mark.parametrize(
    ("output_dir", "allowed"),
    [("/mnt/nas/calls/text", True), ("/mnt/nas/calls", True), ("/mnt/nas/texts", False), ("/mnt/nas/calls/../x", False)],
)  # fmt: skip
def test_an_output_dir_outside_its_shared_folder_is_refused(
    tmp_path: Path, output_dir: str, *, allowed: bool
) -> None:
    text = (
        f'{SERVER}[profiles.calls]\noutput_dir = "{output_dir}"\n'
        '[[folder]]\npath = "/srv/drop"\n[profiles.own]\noutput_dir = "/srv/text"\n'
        '[[folder]]\npath = "/mnt/nas/calls"\nstorage = "calls"\nprofile = "calls"\n'
        '[[folder]]\npath = "/srv/own"\nprofile = "own"\n'
    )
    if allowed:
        (tmp_path / "dropscribe.toml").write_text(text, encoding="utf-8")
        assert config.load(tmp_path / "dropscribe.toml").settings.folders[1].storage == "calls"
    else:
        assert "not in the shared folder /mnt/nas/calls" in refused(tmp_path, text).reason
