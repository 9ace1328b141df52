"""Our own certificate chain: a root and a leaf made on first use, the leaf renewed before it is over.

A leaf has what c2pa-rs asks of one: ES256, EKU emailProtection, keyUsage digitalSignature, AKI, CA false, an
organisation. The root is on no public list, so a signature is valid everywhere and trusted where the root is known.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from adapters.files.replacing import place_first, replace
from domain.errors import Remedy, Unavailable

ORGANISATION: Final = "ComfyVN studio (self-made certificate)"
ROOT_DAYS: Final = 3650
LEAF_DAYS: Final = 398
RENEW_DAYS: Final = 30
"""Days before its end at which a leaf, or a root, is replaced."""

SKEW: Final = timedelta(minutes=10)
"""A certificate holds from a little before it was made, since clocks differ."""


class Chain(NamedTuple):
    """A key to sign with and the certificates that lead from it to the root, the leaf first."""

    key: ec.EllipticCurvePrivateKey
    leaf: x509.Certificate
    root: x509.Certificate

    @property
    def pem(self) -> bytes:
        return _pem(self.leaf) + _pem(self.root)

    @property
    def private_pem(self) -> bytes:
        return _key_pem(self.key)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the leaf in hex."""
        return self.leaf.fingerprint(hashes.SHA256()).hex()

    @property
    def valid_until(self) -> str:
        return self.leaf.not_valid_after_utc.isoformat().replace("+00:00", "Z")


def default_folder() -> Path:
    """In the user's configuration folder, so that a copy of the data folder holds no keys."""
    configuration = os.environ.get("XDG_CONFIG_HOME", "")
    above = Path(configuration) if configuration.startswith("/") else Path.home() / ".config"
    return above / "comfyvn" / "signing"


def utc() -> datetime:
    """Now."""
    return datetime.now(UTC)


class KeyFolder:
    """Keeps the chain in a folder that its owner alone can read: ``root.pem`` and ``leaf.pem`` (key, then certificates)
    and ``roots/`` with every root that has ever been used."""

    def __init__(self, folder: Path, clock: Callable[[], datetime] = utc, leaf_days: float = LEAF_DAYS) -> None:
        self.folder = folder
        self.clock = clock
        self.leaf_days = leaf_days

    def chain(self) -> Chain:
        """The chain in force, made or renewed if need be; raises ``Unavailable`` for keys that cannot be used."""
        try:
            self.folder.mkdir(parents=True, mode=0o700, exist_ok=True)
            root_key, root = self._root()
            return self._leaf(root_key, root)
        except OSError as error:
            raise Unavailable(
                f"The signing keys in {self.folder} cannot be used: {error.strerror or error}.", error="signing_keys",
                remediation=[Remedy("Name a folder that you may write to: COMFYVN_SIGNING_KEYS.", "check_settings")],
                detail={"folder": str(self.folder)},
            ) from error

    def trouble(self) -> str:
        """Why the keys that are there cannot be used, in a sentence; empty where they can, or none were made yet."""
        try:
            for name in ("root.pem", "leaf.pem"):
                self._read(self.folder / name)
            self.roots()
        except Unavailable as error:
            return error.message
        except OSError as error:
            return f"The signing keys in {self.folder} cannot be read: {error.strerror or error}."
        return ""

    def roots(self) -> list[x509.Certificate]:
        """Every root of ours, none where nothing has been signed yet; raises ``Unavailable`` for one that is none."""
        return [_certificate(place) for place in sorted((self.folder / "roots").glob("*.pem"))]

    def roots_pem(self) -> str:
        """Every root of ours in PEM."""
        return b"".join(_pem(root) for root in self.roots()).decode()

    def _root(self) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        place = self.folder / "root.pem"
        found = self._read(place)
        if found is None or self._is_over(found[1][0], ROOT_DAYS / 10):
            key = ec.generate_private_key(ec.SECP256R1())
            root = _root_certificate(key, self.clock())
            # The public half first: a signature by a root that nobody remembers could never be trusted again.
            replace(self.folder / "roots" / f"{root.fingerprint(hashes.SHA256()).hex()[:16]}.pem", _pem(root))
            (place_first if found is None else replace)(place, _key_pem(key) + _pem(root))
            found = self._read(place)
            assert found is not None, "the root was just written"
        return found[0], found[1][0]

    def _leaf(self, root_key: ec.EllipticCurvePrivateKey, root: x509.Certificate) -> Chain:
        place = self.folder / "leaf.pem"
        found = self._read(place)
        renew = min(RENEW_DAYS, self.leaf_days / 10)
        if found is None or self._is_over(found[1][0], renew) or not issued(found[1][0], root):
            key = ec.generate_private_key(ec.SECP256R1())
            leaf = _leaf_certificate(key, root_key, root, self.clock(), self.leaf_days)
            (place_first if found is None else replace)(place, _key_pem(key) + _pem(leaf))
            found = self._read(place)
            assert found is not None, "the leaf was just written"
        return Chain(found[0], found[1][0], root)

    def _is_over(self, certificate: x509.Certificate, days: float) -> bool:
        return certificate.not_valid_after_utc - timedelta(days=days) <= self.clock()

    def _read(self, place: Path) -> tuple[ec.EllipticCurvePrivateKey, list[x509.Certificate]] | None:
        try:
            with place.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                data = file.read()
        except FileNotFoundError:
            return None
        if stat.S_ISREG(mode) and mode & 0o077:
            raise _readable(place, mode)
        try:
            key = serialization.load_pem_private_key(data, None)
            certificates = x509.load_pem_x509_certificates(data)
            own = certificates[0].public_key()
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise _damaged(place) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != own:
            raise _damaged(place)
        return key, certificates


def _root_certificate(key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    name = _name("ComfyVN studio root")
    return (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW).not_valid_after(now + timedelta(days=ROOT_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _leaf_certificate(
    key: ec.EllipticCurvePrivateKey, root_key: ec.EllipticCurvePrivateKey, root: x509.Certificate, now: datetime,
    days: float,
) -> x509.Certificate:
    return (
        x509.CertificateBuilder().subject_name(_name("ComfyVN studio signer")).issuer_name(root.subject)
        .public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(max(now - SKEW, root.not_valid_before_utc))
        .not_valid_after(min(now + timedelta(days=days), root.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False)
        .sign(root_key, hashes.SHA256())
    )


def _name(common: str) -> x509.Name:
    return x509.Name([
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANISATION), x509.NameAttribute(NameOID.COMMON_NAME, common),
    ])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, key_cert_sign=signs_certificates, crl_sign=signs_certificates,
        encipher_only=False, decipher_only=False,
    )


def issued(leaf: x509.Certificate, root: x509.Certificate) -> bool:
    """Whether that root has signed the leaf."""
    try:
        leaf.verify_directly_issued_by(root)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _certificate(place: Path) -> x509.Certificate:
    try:
        certificate = x509.load_pem_x509_certificate(place.read_bytes())
        certificate.public_key()
    except OSError as error:
        raise Unavailable(
            f"The root {place} cannot be read: {error.strerror or error}.", error="signing_keys",
            remediation=[Remedy("Correct its owner or mode.", "fix_permissions")], detail={"file": str(place)},
        ) from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Unavailable(
            f"{place} is no certificate.", error="signing_keys",
            remediation=[Remedy("Put the file back from a backup, or take it away: what was signed under it is then "
                                "no longer trusted here.", "restore_key")],
            detail={"file": str(place)},
        ) from error
    return certificate


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _readable(place: Path, mode: int) -> Unavailable:
    return Unavailable(
        f"Others on this machine may read the signing key {place} ({stat.filemode(mode)}): nothing is signed with it.",
        error="signing_keys",
        remediation=[
            Remedy(f"chmod 600 {place}", "fix_permissions"),
            Remedy("If somebody may have read it, move root.pem and leaf.pem away: a new chain is made, and what was "
                   "signed stays trusted as long as roots/ is there.", "replace_keys"),
        ],
        detail={"file": str(place), "mode": stat.filemode(mode)},
    )


def _damaged(place: Path) -> Unavailable:
    return Unavailable(
        f"{place} is no key with its certificate.", error="signing_keys",
        remediation=[Remedy("Put the file back from a backup, or take it away: a new one is made.", "restore_key")],
        detail={"file": str(place)},
    )
