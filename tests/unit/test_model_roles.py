"""Models by role: in settings, recipes, documents, and in what several engines must have in common."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from dropscribe import config
from dropscribe.config import EngineSettings, Models
from dropscribe.engine.joint_facts import check_alike
from dropscribe.errors import ConfigError, EngineError
from dropscribe.transcript.reading import read_transcript
from dropscribe.transcript.render import Options, render
from dropscribe.transcript.roles import ModelSet, recipe_of
from dropscribe.transcript.types import EngineFacts
from tests.support.transcripts import ENGINE, rich_transcript

#: What an engine with a third role will state.
THREE = replace(ENGINE, models=(*ENGINE.models, ("punctuation", "ct-punc")))


def load(tmp_path: Path, text: str) -> EngineSettings:
    file = tmp_path / "dropscribe.toml"
    file.write_text(text, encoding="utf-8")
    return config.load(file).settings.engine


@pytest.mark.parametrize(
    "text",
    [
        '[engine]\nmodel = "a"\nvad_model = "v"\n',
        '[engine.models]\nasr = "a"\nvad = "v"\n',
        '[engine]\nmodel = "a"\n[engine.models]\nvad = "v"\n',
    ],
)
def test_the_table_and_the_older_names_mean_the_same(tmp_path: Path, text: str) -> None:
    engine = load(tmp_path, text)
    assert engine.models == Models(asr="a", vad="v")
    assert engine == EngineSettings(model="a", vad_model="v")
    assert (engine.model, engine.vad_model) == ("a", "v")


@pytest.mark.parametrize(("old", "role"), [("model", "asr"), ("vad_model", "vad")])
def test_a_role_that_is_set_under_both_names_is_refused(tmp_path: Path, old: str, role: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, f'[engine]\n{old} = "x"\n[engine.models]\n{role} = "x"\n')
    told = f"engine.{old} and engine.models.{role} set the same model; remove engine.{old}, the older name"
    assert told in str(caught.value)


def test_a_role_that_there_is_not_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"engine\.models\.vda: there is no such setting.*did you mean 'vad'"
    ):
        load(tmp_path, '[engine.models]\nvda = "x"\n')


@pytest.mark.parametrize(
    "text", ["[engine]\nmodel = 3\n", "[engine]\nmodels = 3\n", "[engine.models]\nasr = 3\n"]
)
def test_a_model_that_is_no_text_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"engine\.model"):
        load(tmp_path, text)


def test_the_command_line_goes_over_either_name(tmp_path: Path) -> None:
    file = tmp_path / "dropscribe.toml"
    file.write_text('[engine]\nmodel = "a"\n', encoding="utf-8")
    loaded = config.override(config.load(file), engine__models__asr="b")
    assert loaded.settings.engine.models == Models(asr="b", vad="fsmn-vad")
    assert loaded.sources["engine.models.asr"] == "command line"


def test_recipes_of_two_roles_are_what_they_always_were() -> None:
    assert recipe_of(ENGINE.models) == "paraformer-zh|fsmn-vad"
    assert recipe_of(THREE.models) == "paraformer-zh|fsmn-vad|punctuation=ct-punc"


@pytest.mark.parametrize("facts", [ENGINE, THREE], ids=["two roles", "three"])
def test_engine_facts_survive_a_ledger_and_a_status_file(facts: EngineFacts) -> None:
    record = json.loads(json.dumps(facts.record()))
    assert EngineFacts.of_record(record) == facts
    assert EngineFacts.of_record(record | {"versions": dict(facts.versions)}) == facts
    assert list(record)[:2] == ["model", "vad_model"]


@pytest.mark.parametrize("missing", ["model", "vad_model", "device"])
def test_a_record_without_what_every_engine_states_is_refused(missing: str) -> None:
    with pytest.raises(KeyError):
        EngineFacts.of_record({k: v for k, v in ENGINE.record().items() if k != missing})


def test_a_further_role_stands_in_the_json_document_and_is_read_back() -> None:
    transcript = replace(rich_transcript(), engine=THREE)
    data = render(transcript, "json", Options())
    engine = json.loads(data)["engine"]
    assert (engine["model"], engine["vad_model"], engine["punctuation_model"]) == (
        "paraformer-zh", "fsmn-vad", "ct-punc",
    )  # fmt: skip
    assert read_transcript(data).transcript.engine.models == THREE.models


def test_fields_of_a_later_version_do_not_spoil_a_document() -> None:
    document = json.loads(render(rich_transcript(), "json", Options()))
    document["engine"] |= {"speaker_model": None, "model_sha256": "ab"}
    read = read_transcript(json.dumps(document).encode())
    assert read.transcript.engine.models == rich_transcript().engine.models


def test_engines_with_another_model_in_any_role_are_not_alike() -> None:
    check_alike(THREE, replace(THREE, device="cuda:1"))
    other = replace(ENGINE, models=(*ENGINE.models, ("punctuation", "ct-punc-c")), device="cuda:1")
    with pytest.raises(EngineError, match="ct-punc, cuda:1 has paraformer-zh and fsmn-vad and ct-punc-c"):
        check_alike(THREE, other)


def configured(tmp_path: Path, text: str) -> config.Settings:
    file = tmp_path / "dropscribe.toml"
    file.write_text(text, encoding="utf-8")
    return config.load(file).settings


def test_profiles_have_models_of_their_own_which_are_part_of_the_recipe(tmp_path: Path) -> None:
    settings = configured(
        tmp_path,
        '[engine.models]\nasr = "a"\nvad = "v"\npunctuation = "p"\nspeakers = "s"\n'
        '[profiles.calls]\nlanguage = "yue"\nspeakers = 2\n[profiles.calls.models]\nasr = "b"\nspeakers = "t"\n'
        '[profiles.large]\npunctuation = "q"\n[profiles.plain]\npunctuation = "off"\nspeakers = "channels"\n',
    )
    sets = {name: settings.model_set(settings.profile(name)) for name in settings.profiles}
    assert sets == {
        "default": ModelSet("a", "v", "p"),
        "calls": ModelSet("b", "v", "p", "t"),
        "large": ModelSet("a", "v", "q"),
        "plain": ModelSet("a", "v"),
    }
    assert {name: settings.recipe(name) for name in sets} == {
        "default": "a|v|punctuation=p",
        "calls": "b|v|punctuation=p|language:yue|spk=2:t",
        "large": "a|v|punctuation=q",
        "plain": "a|v|spk=channels",
    }
    assert settings.models_by_role() == {
        "asr": ("a", "b"), "vad": ("v",), "punctuation": ("p", "q"), "speakers": ("t",),
    }  # fmt: skip


def test_the_models_of_watched_folders_are_loaded_at_the_start(tmp_path: Path) -> None:
    text = (
        '[engine.models]\nasr = "a"\n[profiles.one.models]\nasr = "b"\n[profiles.unused.models]\nasr = "c"\n'
        '[[folder]]\npath = "/in"\nprofile = "one"\n'
    )
    settings = configured(tmp_path, text)
    assert [models.asr for models in settings.engine.sets] == ["b"]
    assert [models.asr for models in settings.loading(["unused", "default"]).engine.sets] == ["c", "a"]
    assert [models.asr for models in configured(tmp_path, text[: text.index("[[")]).engine.sets] == ["a"]


def test_the_command_line_goes_over_the_models_of_the_default_profile_only(tmp_path: Path) -> None:
    file = tmp_path / "dropscribe.toml"
    file.write_text(
        '[profiles.default.models]\nasr = "a"\nvad = "v"\n[profiles.other.models]\nasr = "b"\n',
        encoding="utf-8",
    )
    settings = config.override(config.load(file), engine__models__asr="c").settings
    assert settings.model_set(settings.profile("default")) == ModelSet("c", "v", "ct-punc-mini")
    assert settings.model_set(settings.profile("other")).asr == "b"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[profiles.a.models]\nars = "x"\n', r"did you mean 'asr'"),
        ('[profiles.a]\nmodels = "x"\n', r"profiles\.a\.models"),
        ("[profiles.a.models]\nasr = 3\n", r"profiles\.a\.models\.asr is 3"),
        ('[profiles.a]\nlanguage = "Chinese"\n', r"profiles\.a\.language"),
    ],
)
def test_wrong_models_of_a_profile_are_named(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        configured(tmp_path, text)
