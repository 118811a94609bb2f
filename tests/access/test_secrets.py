import stat
import threading
from pathlib import Path

import pytest

from meterhouse.access import secrets
from meterhouse.settings import Settings, SettingsError

KEY = "k" * 40


def test_an_api_key_and_a_client_secret_are_recognised_by_their_prefix_and_checksum():
    assert secrets.is_api_key(secrets.new_api_key())
    assert secrets.is_client_secret(secrets.new_client_secret())
    assert not secrets.is_api_key(secrets.new_client_secret())
    assert not secrets.is_client_secret(secrets.new_api_key())


def test_a_client_secret_has_64_characters_and_a_client_id_32():
    assert len(secrets.new_client_secret()) == 64
    assert len(secrets.new_client_id()) == 32
    assert secrets.is_client_id(secrets.new_client_id())


@pytest.mark.parametrize("position", range(50))
def test_one_mistyped_character_is_noticed(position):
    key = secrets.new_api_key()
    other = "A" if key[position] != "A" else "B"
    assert not secrets.is_api_key(key[:position] + other + key[position + 1 :])


@pytest.mark.parametrize(
    "text", ["", "mhk_", "mhk_" + "a" * 46, "mhk_" + "é" * 46, "mhk_\x00" + "a" * 45, "\ud800" * 50]
)
def test_text_that_is_no_key_is_refused(text):
    assert not secrets.is_api_key(text)
    assert not secrets.is_client_id(text)


def test_hashes_depend_on_the_secret_key_and_every_purpose_has_its_own():
    one, other = secrets.derive_secrets(KEY), secrets.derive_secrets(KEY + "x")
    assert one.hash("secret") == secrets.derive_secrets(KEY).hash("secret") != other.hash("secret")
    assert len({one.hash_key, one.portal_key, other.hash_key, other.portal_key}) == 4


def test_the_first_start_makes_a_key_file_that_only_its_owner_reads(tmp_path):
    first = secrets.open_secrets(Settings(data_dir=tmp_path / "new"))
    file = tmp_path / "new" / "secret.key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert secrets.open_secrets(Settings(data_dir=tmp_path / "new")).hash_key == first.hash_key
    assert [path.name for path in file.parent.iterdir()] == ["secret.key"]


def test_several_first_starts_at_once_end_with_one_key(tmp_path):
    found: list[bytes] = []
    start = threading.Barrier(8)

    def open_at_once() -> None:
        start.wait()
        found.append(secrets.open_secrets(Settings(data_dir=tmp_path)).hash_key)

    threads = [threading.Thread(target=open_at_once) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_a_damaged_key_file_is_refused_by_name(tmp_path: Path):
    (tmp_path / "secret.key").write_text("short")
    with pytest.raises(SettingsError, match=r"secret\.key"):
        secrets.open_secrets(Settings(data_dir=tmp_path))
