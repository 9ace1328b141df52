"""Signing and reading files: every format, what is changed afterwards, what was changed before, keys that end."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from signed_files import BESIDE, EMBEDDED, GENERATION, claim, ffmpeg, flipped, made, parent, picture, signed

from adapters.c2pa.credentials import OwnCredentials
from adapters.c2pa.keys import KeyFolder
from domain.errors import Unavailable
from domain.ports.credentials import Action, Unsignable
from domain.studio.source_types import RETIRED, TERMS, address, term
from services.media.detection import detect


@pytest.fixture
def ours(tmp_path: Path) -> OwnCredentials:
    return OwnCredentials(KeyFolder(tmp_path / "keys"), version="0.2.0")


def without_manifest(data: bytes) -> list[bytes]:
    """The chunks of a PNG apart from the one that holds the manifest."""
    place, found = 8, []
    while place < len(data):
        end = place + 12 + int.from_bytes(data[place : place + 4], "big")
        if data[place + 4 : place + 8] != b"caBX":
            found.append(data[place:end])
        place = end
    return found


def strangers(tmp_path: Path) -> OwnCredentials:
    return OwnCredentials(KeyFolder(tmp_path / "other-keys"))


@pytest.mark.parametrize("media_type", EMBEDDED)
def test_a_format_carries_its_manifest_inside(tmp_path: Path, ours: OwnCredentials, media_type: str) -> None:
    plain = made(tmp_path, media_type)
    assert ours.read(str(plain), media_type).state == "none"
    told = ours.sign(str(plain), str(tmp_path / "signed"), claim(plain, media_type))
    assert (told.form, told.media_type, told.reading.state, told.reading.trusted) == (
        "embedded", media_type, "valid", True)
    assert detect(tmp_path / "signed").media_type == media_type, "a signed file is still what it was"
    found = ours.read(str(tmp_path / "signed"), media_type)
    assert found.assertions[GENERATION]["seed"] == "18446744073709551615"
    assert found.source_types == (address("trainedAlgorithmicMedia"),)
    assert found.manifest["manifests"][found.label]["claim_version"] == 2
    assert "thumbnail" not in str(found.manifest)
    assert (tmp_path / "signed").stat().st_size - plain.stat().st_size < 16_000, "no thumbnail came along"


@pytest.mark.parametrize("media_type", BESIDE)
def test_other_formats_get_a_statement_beside_the_file(tmp_path: Path, ours: OwnCredentials, media_type: str) -> None:
    plain = made(tmp_path, media_type)
    before = plain.read_bytes()
    told = ours.sign(str(plain), str(tmp_path / "beside.json"), claim(plain, media_type))
    assert (told.form, told.media_type, told.reading.state) == ("sidecar", "application/json", "valid")
    assert plain.read_bytes() == before
    found = ours.read(str(plain), media_type, str(tmp_path / "beside.json"))
    assert (found.state, found.trusted, found.form) == ("valid", True, "sidecar")
    assert found.assertions[GENERATION]["seed"] == "18446744073709551615"
    plain.write_bytes(flipped(before, -1))
    changed = ours.read(str(plain), media_type, str(tmp_path / "beside.json"))
    assert (changed.state, changed.findings[0].code) == ("invalid", "assertion.dataHash.mismatch")


def test_pixels_and_text_of_a_picture_stay(tmp_path: Path, ours: OwnCredentials) -> None:
    plain = made(tmp_path, "image/png")
    with Image.open(signed(ours, plain, "image/png")) as after, Image.open(plain) as before:
        assert after.tobytes() == before.tobytes()


@pytest.mark.parametrize(("media_type", "code"), [
    ("image/png", "assertion.dataHash.mismatch"), ("image/jpeg", "assertion.dataHash.mismatch"),
    ("audio/wav", "assertion.dataHash.mismatch"), ("video/mp4", "assertion.bmffHash.mismatch"),
])
def test_a_changed_bit_shows(tmp_path: Path, ours: OwnCredentials, media_type: str, code: str) -> None:
    place = signed(ours, made(tmp_path, media_type), media_type)
    data = place.read_bytes()
    at = {"video/mp4": data.find(b"mdat") + 64, "audio/wav": 60}.get(media_type, len(data) - 40)
    place.write_bytes(flipped(data, at))
    found = ours.read(str(place), media_type)
    assert (found.state, code in {one.code for one in found.findings}) == ("invalid", True), found.findings


@pytest.mark.parametrize(("needle", "code"), [
    (b"c2pa.created", "assertion.hashedURI.mismatch"), (b"claim_generator_info", "claimSignature.mismatch"),
])
def test_a_changed_statement_shows(tmp_path: Path, ours: OwnCredentials, needle: bytes, code: str) -> None:
    place = signed(ours, made(tmp_path, "image/jpeg"), "image/jpeg")
    data = place.read_bytes()
    place.write_bytes(flipped(data, data.find(needle) + 8))
    found = ours.read(str(place), "image/jpeg")
    assert found.state in ("invalid", "unreadable")
    assert found.state == "unreadable" or code in {one.code for one in found.findings}, found.findings


@settings(max_examples=60, deadline=None)
@given(at=st.integers(0, 2**31), cut=st.booleans())
def test_what_reads_as_valid_says_and_shows_what_was_signed_whatever_bit_was_changed(
    tmp_path_factory: pytest.TempPathFactory, at: int, cut: bool
) -> None:
    folder = tmp_path_factory.getbasetemp() / "any-change"
    folder.mkdir(exist_ok=True)
    ours = OwnCredentials(KeyFolder(folder / "keys"))
    place = folder / "signed.png"
    if not place.exists():
        (folder / "plain.png").write_bytes(picture(size=16))
        signed(ours, folder / "plain.png", "image/png", name="signed.png")
    data = place.read_bytes()
    at %= len(data)
    changed = data[:at] if cut else flipped(data, at)
    (folder / "changed.png").write_bytes(changed)
    found, before = ours.read(str(folder / "changed.png"), "image/png"), ours.read(str(place), "image/png")
    if found.state == "valid":  # a bit of the room that a signature leaves over means nothing
        assert (found.manifest["manifests"], found.trusted) == (before.manifest["manifests"], True)
        assert without_manifest(changed) == without_manifest(data)


def test_a_tampered_parent_marks_its_child_and_its_grandchild(tmp_path: Path, ours: OwnCredentials) -> None:
    plain = made(tmp_path, "image/png")
    first = signed(ours, plain, "image/png")
    (tmp_path / "bad.png").write_bytes(flipped(first.read_bytes(), -40))
    child = signed(ours, plain, "image/png", parent(tmp_path / "bad.png"), name="child.png")
    found = ours.read(str(child), "image/png")
    assert (found.state, [one.state for one in found.ingredients]) == ("marked", ["invalid"])
    assert "assertion.dataHash.mismatch" in {one.code for one in found.ingredients[0].findings}
    assert found.findings == (), "of the child itself nothing is wrong"
    grandchild = ours.read(str(signed(ours, plain, "image/png", parent(child, 2), name="grandchild.png")), "image/png")
    assert (grandchild.state, [(one.depth, one.state) for one in grandchild.ingredients]) == (
        "marked", [(1, "valid"), (2, "invalid")])


def test_a_sound_parent_and_an_unsigned_one_mark_nothing(tmp_path: Path, ours: OwnCredentials) -> None:
    plain = made(tmp_path, "image/png")
    good = signed(ours, plain, "image/png")
    for one, state in ((good, "valid"), (plain, "none"), (None, "none")):
        found = ours.read(str(signed(ours, plain, "image/png", parent(one), name="child.png")), "image/png")
        assert (found.state, [ingredient.state for ingredient in found.ingredients]) == ("valid", [state])
        assert found.ingredients[0].uid == f"{1:016x}"


def test_another_studios_signature_is_valid_and_untrusted(tmp_path: Path, ours: OwnCredentials) -> None:
    place = signed(strangers(tmp_path), made(tmp_path, "image/png"), "image/png")
    signed(ours, made(tmp_path, "image/png"), "image/png", name="own.png")
    found = ours.read(str(place), "image/png")
    assert (found.state, found.trusted) == ("valid", False)
    assert {one.code for one in found.findings} == {"signingCredential.untrusted"}


def test_ffmpeg_takes_credentials_away_and_signing_again_brings_them_back(
    tmp_path: Path, ours: OwnCredentials
) -> None:
    first = signed(ours, made(tmp_path, "video/mp4"), "video/mp4")
    ffmpeg("-i", str(first), "-c", "copy", str(tmp_path / "remuxed.mp4"))
    assert ours.read(str(tmp_path / "remuxed.mp4"), "video/mp4").state == "none"
    again = signed(ours, tmp_path / "remuxed.mp4", "video/mp4", parent(first, media_type="video/mp4"))
    found = ours.read(str(again), "video/mp4")
    assert (found.state, found.ingredients[0].state, found.ingredients[0].relationship) == (
        "valid", "valid", "parentOf")


@pytest.mark.parametrize("data", [b"", b"hello" * 30, picture()[:200], b"\x89PNG\r\n\x1a\n" + b"\xff" * 64])
def test_what_cannot_be_read_is_not_signed_and_says_so(tmp_path: Path, ours: OwnCredentials, data: bytes) -> None:
    place = tmp_path / "broken.png"
    place.write_bytes(data)
    with pytest.raises(Unsignable) as caught:
        ours.sign(str(place), str(tmp_path / "out.png"), claim(place, "image/png"))
    assert caught.value.reason in ("unreadable_file", "self_check")
    assert ours.read(str(place), "image/png").state == "unreadable"


def test_without_the_extra_everything_gets_a_statement_beside_it(tmp_path: Path) -> None:
    plain = made(tmp_path, "image/png")
    embedded = signed(OwnCredentials(KeyFolder(tmp_path / "keys")), plain, "image/png")
    bare = OwnCredentials(KeyFolder(tmp_path / "keys"), embedding=False)
    assert not bare.embeds_into("image/png")
    told = bare.sign(str(plain), str(tmp_path / "beside.json"), claim(plain, "image/png"))
    assert (told.form, told.reading.state) == ("sidecar", "valid")
    found = bare.read(str(embedded), "image/png")
    assert (found.state, found.findings[0].code) == ("unreadable", "c2pa_missing")


def test_without_the_extra_installed_nothing_breaks(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['c2pa'] = None\n"
        "from pathlib import Path\n"
        "from adapters.c2pa.credentials import OwnCredentials\n"
        "from adapters.c2pa.keys import KeyFolder\n"
        "print(OwnCredentials(KeyFolder(Path(sys.argv[1]))).embeds)\n"
    )
    told = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60,
                          check=True)
    assert told.stdout.strip() == "False"


@pytest.mark.parametrize("change", ["claim", "signature", "certificate", "size", "form", "nothing"])
def test_a_changed_sidecar_does_not_hold(tmp_path: Path, ours: OwnCredentials, change: str) -> None:
    plain = made(tmp_path, "audio/ogg")
    beside = signed(ours, plain, "audio/ogg", name="beside.json")
    other = signed(strangers(tmp_path), plain, "audio/ogg", name="other.json")
    text = beside.read_text()
    certificate = text.split('"certificates": [', 1)[1].split('"', 2)[1]
    stranger = other.read_text().split('"certificates": [', 1)[1].split('"', 2)[1]
    beside.write_text({
        "claim": text.replace("trainedAlgorithmicMedia", "digitalCapture"),
        "signature": text.replace('"value": "', '"value": "AAAA', 1),
        "certificate": text.replace(certificate, stranger, 1),
        "size": text + " " * 2**20, "form": text.replace("comfyvn.credentials@1", "comfyvn.credentials@9"),
        "nothing": "",
    }[change])
    assert ours.read(str(plain), "audio/ogg", str(beside)).state in ("invalid", "unreadable")


# --- keys -------------------------------------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


def test_keys_are_made_once_for_their_owner_alone(tmp_path: Path) -> None:
    folder = KeyFolder(tmp_path / "keys")
    assert folder.roots_pem() == "", "reading makes no keys"
    chain = folder.chain()
    assert KeyFolder(tmp_path / "keys").chain().fingerprint == chain.fingerprint
    for name in ("root.pem", "leaf.pem"):
        assert stat.S_IMODE(os.stat(tmp_path / "keys" / name).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(tmp_path / "keys").st_mode) == 0o700
    leaf = chain.leaf
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert leaf.extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature
    assert leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [one.dotted_string for one in usages] == ["1.3.6.1.5.5.7.3.4"]
    assert leaf.subject.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)


@pytest.mark.parametrize("name", ["root.pem", "leaf.pem"])
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_may_read_signs_nothing_until_it_is_private_again(
    tmp_path: Path, name: str, mode: int
) -> None:
    keys = KeyFolder(tmp_path / "keys")
    first = keys.chain().fingerprint
    assert keys.trouble() == ""
    place = tmp_path / "keys" / name
    place.chmod(mode)
    with pytest.raises(Unavailable) as caught:
        KeyFolder(tmp_path / "keys").chain()
    assert caught.value.code == "signing_keys"
    assert caught.value.remediation[0].text == f"chmod 600 {place}"
    assert keys.trouble() == caught.value.message
    assert keys.roots_pem(), "what was signed can still be judged"
    place.chmod(0o600)
    assert KeyFolder(tmp_path / "keys").chain().fingerprint == first


def test_processes_that_begin_at_once_end_with_one_chain(tmp_path: Path) -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(KeyFolder(tmp_path / "keys").chain().fingerprint))
               for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(found) == 8
    assert KeyFolder(tmp_path / "keys").chain().fingerprint in found
    chain = KeyFolder(tmp_path / "keys").chain()
    chain.leaf.verify_directly_issued_by(chain.root)


def test_a_leaf_is_renewed_before_it_ends_and_older_signatures_stay_trusted_by_its_root(tmp_path: Path) -> None:
    clock = Clock()
    folder = KeyFolder(tmp_path / "keys", clock)
    first = folder.chain()
    clock.now += timedelta(days=360)
    assert folder.chain().fingerprint == first.fingerprint
    clock.now += timedelta(days=20)
    second = folder.chain()
    assert second.fingerprint != first.fingerprint
    assert second.root == first.root
    clock.now += timedelta(days=3500)
    third = folder.chain()
    assert third.root != first.root
    assert {first.root, third.root} == set(folder.roots()), "what an older root signed stays trusted here"


def test_a_signature_by_a_leaf_that_is_over_reads_as_expired(tmp_path: Path) -> None:
    long_ago = Clock()
    long_ago.now -= timedelta(days=500)
    old = OwnCredentials(KeyFolder(tmp_path / "keys", long_ago), clock=long_ago)
    sound = made(tmp_path, "audio/ogg")
    beside = signed(old, sound, "audio/ogg", name="beside.json")
    found = OwnCredentials(KeyFolder(tmp_path / "keys")).read(str(sound), "audio/ogg", str(beside))
    assert (found.state, found.trusted) == ("expired", True)
    with pytest.raises(Unsignable) as caught:
        signed(old, made(tmp_path, "image/png"), "image/png")
    assert "certificate" in caught.value.message.lower(), "c2pa knows the real time, and so do verifiers"


@pytest.mark.parametrize("name", ["root.pem", "leaf.pem"])
def test_a_damaged_key_file_is_said_and_not_replaced(tmp_path: Path, name: str) -> None:
    KeyFolder(tmp_path / "keys").chain()
    (tmp_path / "keys" / name).write_text("nonsense")
    with pytest.raises(Unavailable) as caught:
        KeyFolder(tmp_path / "keys").chain()
    assert caught.value.code == "signing_keys"
    assert caught.value.remediation
    assert (tmp_path / "keys" / name).read_text() == "nonsense"


# --- words ------------------------------------------------------------------------------------------------------------


def test_only_terms_of_the_iptc_are_signed() -> None:
    assert term(address("algorithmicMedia")) == "algorithmicMedia"
    for wrong in (*RETIRED, "madeByMe", "", "TrainedAlgorithmicMedia"):
        with pytest.raises(Exception, match="no digital source type"):
            address(wrong)
    assert {term(address(one)) for one in TERMS} == TERMS


def test_an_action_that_breaks_the_rules_is_refused_when_signing(tmp_path: Path, ours: OwnCredentials) -> None:
    plain = made(tmp_path, "image/png")
    wrong = claim(plain, "image/png", actions=(Action("c2pa.opened", "", ()),))
    with pytest.raises(Unsignable):
        ours.sign(str(plain), str(tmp_path / "out.png"), wrong)


def test_one_set_of_keys_signs_from_many_threads(tmp_path: Path, ours: OwnCredentials) -> None:
    states: list[str] = []

    def work(number: int) -> None:
        plain = tmp_path / f"{number}.png"
        plain.write_bytes(picture(number, size=16))
        told = ours.sign(str(plain), str(tmp_path / f"signed{number}.png"), claim(plain, "image/png"))
        states.append(told.reading.state)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert states == ["valid"] * 16


def test_a_picture_that_was_encoded_anew_has_no_credentials(tmp_path: Path, ours: OwnCredentials) -> None:
    place = signed(ours, made(tmp_path, "image/jpeg"), "image/jpeg")
    out = BytesIO()
    with Image.open(place) as image:
        image.save(out, "JPEG")
    place.write_bytes(out.getvalue())
    assert ours.read(str(place), "image/jpeg").state == "none"
