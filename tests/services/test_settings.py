"""Settings: which source wins, and what is said about a value that cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from domain.errors import Invalid
from services.settings import Settings, masked, shown, stray_variables

SECRET = "s3cr3t-token"


def written(folder: Path, text: str) -> Path:
    (folder / "comfyvn.toml").write_text(text)
    return folder


def test_the_environment_wins_over_the_file_which_wins_over_the_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, 'port = 1\nwait_seconds = 7\nlog_level = "debug"')
    monkeypatch.setenv("COMFYVN_PORT", "2")
    monkeypatch.delenv("COMFYVN_WAIT_SECONDS")
    settings = Settings.load(data=tmp_path, log_level="error")
    assert (settings.port, settings.wait_seconds, settings.log_level, settings.host) == (2, 7.0, "error", "127.0.0.1")
    origins = {name: settings.origins[name] for name in ("data", "log_level", "port", "wait_seconds", "host")}
    assert origins == {
        "data": "option", "log_level": "option", "port": "environment", "wait_seconds": "comfyvn.toml",
        "host": "default",
    }


def test_the_file_is_found_through_the_environment_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMFYVN_DATA", str(written(tmp_path, "port = 5")))
    assert Settings.load().port == 5


def test_an_empty_variable_counts_as_not_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMFYVN_NATS_URL", "")
    monkeypatch.setenv("COMFYVN_PORT", "")
    settings = Settings.load(data=tmp_path)
    assert settings.nats_servers == ()
    assert (settings.port, settings.origins["port"]) == (8001, "default")


def test_lists_are_comma_separated_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMFYVN_ALLOWED_HOSTS", "studio.example, other.example")
    written(tmp_path, 'allowed_origins = ["https://a.example"]')
    settings = Settings.load(data=tmp_path)
    assert settings.allowed_hosts == ("studio.example", "other.example")
    assert settings.allowed_origins == ("https://a.example",)


@pytest.mark.parametrize(
    ("text", "code", "named"),
    [
        ("prt = 1", "unknown_setting", "prt"),
        ("port = \n1", "unreadable_settings", "line 1"),
        ('port = "x"', "invalid_setting", "port in comfyvn.toml"),
        ("port = 70000", "invalid_setting", "port in comfyvn.toml"),
        ('data = "elsewhere"', "unknown_setting", "data"),
        ('log_level = "loud"', "invalid_setting", "log_level in comfyvn.toml"),
        ("[nats]\nurl = 1", "unknown_setting", "nats"),
    ],
)
def test_a_bad_file_is_refused_and_names_what_is_wrong(tmp_path: Path, text: str, code: str, named: str) -> None:
    with pytest.raises(Invalid) as refused:
        Settings.load(data=written(tmp_path, text))
    assert refused.value.code == code
    assert named in refused.value.message
    assert refused.value.remediation


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "comfyvn.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(Invalid, match="not UTF-8"):
        Settings.load(data=tmp_path)


def test_a_misspelt_setting_gets_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(Invalid) as refused:
        Settings.load(data=written(tmp_path, "databse_url = 'x'"))
    assert refused.value.remediation[0].text == "Did you mean database_url?"


def test_a_misspelt_variable_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMFYVN_PROT", "1")
    monkeypatch.setenv("COMFYVN_PORT", "1")
    assert stray_variables() == {"COMFYVN_PROT": "COMFYVN_PORT"}


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("COMFYVN_NATS_URL", f"http://{SECRET}@host"),
        ("COMFYVN_NATS_URL", f"nats://{SECRET}@"),
        ("COMFYVN_NATS_URL", f"nats://{SECRET}@host:notaport"),
        ("COMFYVN_NATS_URL", f"nats://ok:4222,{SECRET}"),
        ("COMFYVN_DATABASE_URL", f"mysql://u:{SECRET}@host/db"),
        ("COMFYVN_BLOBS_URL", f"ftp://{SECRET}@host/x"),
        ("COMFYVN_BLOBS_URL", f"relative/{SECRET}"),
    ],
)
def test_a_bad_url_is_refused_without_showing_its_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(Invalid) as refused:
        Settings.load(data=tmp_path)
    assert variable in refused.value.message
    assert SECRET not in refused.value.message + str(refused.value.detail) + str(refused.value.remediation)
    assert refused.value.__cause__ is None, "the original error would show the value"


def test_secrets_are_masked_wherever_settings_are_shown(tmp_path: Path) -> None:
    settings = Settings.load(
        data=tmp_path, nats_url=f"nats://{SECRET}@a:4222,nats://{SECRET}@b:4222",
        database_url=f"postgres://u:{SECRET}@host:5432/db?password={SECRET}", blobs_url="s3://bucket/prefix",
    )
    assert SECRET not in repr(settings) + str(shown(settings.nats_url)) + str(shown(settings.database_url))
    assert shown(settings.nats_url) == "nats://***@a:4222,nats://***@b:4222"
    assert shown(settings.database_url) == "postgresql+psycopg://***@host:5432/db?***"
    assert shown(settings.blobs_url) == "s3://bucket/prefix"
    assert settings.nats_servers == (f"nats://{SECRET}@a:4222", f"nats://{SECRET}@b:4222")


@pytest.mark.parametrize("url", ["postgres://u@h/db", "postgresql://u@h/db", "postgresql+psycopg://u@h/db"])
def test_every_usual_form_of_a_postgresql_address_is_understood(tmp_path: Path, url: str) -> None:
    settings = Settings.load(data=tmp_path, database_url=url)
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == "postgresql+psycopg://u@h/db"


def test_a_text_that_is_no_url_is_shown_as_it_is() -> None:
    assert masked("/srv/blobs") == "/srv/blobs"


def test_the_settings_in_the_operations_page_are_those_of_the_code() -> None:
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    for name, field in Settings.model_fields.items():
        default = shown(field.default)
        told = "" if default in (None, []) else str(default)
        assert f"| `{name}` | `COMFYVN_{name.upper()}` | {told} | {field.description} |" in page
    assert page.count("| `COMFYVN_") == len(Settings.model_fields)


def test_slots_are_told_by_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMFYVN_ENGINE_SLOTS", "local_comfy=2, provider_fal=4")
    assert Settings.load().slots == {"local_comfy": 2, "provider_fal": 4}
    assert Settings.load(engine_slots=()).slots == {}


@pytest.mark.parametrize("given", ["local_comfy", "local_comfy=0", "local_comfy=101", "=3", "local_comfy=two", "a=²"])
def test_slots_that_are_none_are_refused(given: str) -> None:
    with pytest.raises(Invalid) as caught:
        Settings.load(engine_slots=(given,))
    assert "engine_slots" in f"{caught.value.message} {caught.value.detail}"
