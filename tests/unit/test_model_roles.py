"""Models by role: in settings, recipes, documents, and in what several engines must have in common."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from dropscribe import config
from dropscribe.config import EngineSettings, Models
from dropscribe.engine.group import check_alike
from dropscribe.errors import ConfigError, EngineError
from dropscribe.transcript.reading import read_transcript
from dropscribe.transcript.render import Options, render
from dropscribe.transcript.roles import recipe_of
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


def test_punctuation_models_of_profiles_are_loaded_by_the_engine_and_part_of_the_recipe(
    tmp_path: Path,
) -> None:
    file = tmp_path / "dropscribe.toml"
    file.write_text(
        '[engine.models]\npunctuation = "ct-punc-c"\n'
        '[profiles.large]\npunctuation = "ct-punc"\n[profiles.plain]\npunctuation = "off"\n',
        encoding="utf-8",
    )
    settings = config.load(file).settings
    assert settings.engine.punctuation_models == ("ct-punc", "ct-punc-c")
    recipes = {name: settings.recipe(name) for name in ("default", "large", "plain")}
    assert recipes["default"].endswith("|punctuation=ct-punc-c")
    assert recipes["large"].endswith("|punctuation=ct-punc")
    assert "punctuation" not in recipes["plain"]


@pytest.mark.parametrize(
    ("speakers", "at_start"), [("off", False), ("channels", False), ("auto", True), (2, True)]
)
def test_the_speaker_model_is_loaded_at_start_for_a_profile_that_tells_speakers_apart_by_voice(
    speakers: str | int, *, at_start: bool
) -> None:
    settings = config.Settings.model_validate({"profiles": {"talks": {"speakers": speakers}}})
    assert settings.engine.speakers_at_start is at_start


def test_an_engine_knows_which_punctuation_models_it_lacks_after_a_reload() -> None:
    plain = config.Settings.model_validate({})
    named = config.Settings.model_validate({"profiles": {"talks": {"punctuation": "ct-punc"}}})
    assert plain.engine.lacks(named.engine) == ("ct-punc",)
    assert named.engine.lacks(plain.engine) == ()
