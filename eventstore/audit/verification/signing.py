"""Signatures of anchors: Ed25519, with keys in PEM files. Needs the package ``cryptography``."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eventstore.audit.verification.anchor import KEY, SIGNATURE, Noted, canonical
from eventstore.errors import AuditError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey


class SigningKey:
    """A private key, with which anchors are signed.

    Raises
    ------
    AuditError
        When it is made, if ``cryptography`` is not installed, or the file does not hold a private Ed25519 key as it is.
    """

    def __init__(self, path: str | Path) -> None:
        self._key = _load_private(Path(path))

    def signed(self, described: dict[str, Any]) -> dict[str, Any]:
        """Return what `Anchor.described` returned with the public key and the signature, both in hexadecimal digits."""
        said = described | {KEY: _raw(self._key.public_key()).hex()}
        return said | {SIGNATURE: self._key.sign(canonical(said)).hex()}


class VerifyingKey:
    """A public key, against which anchors are checked. Raises as `SigningKey`."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._key = _load_public(self._path)

    def check(self, noted: Noted) -> None:
        """Raise `AuditError` unless this line of a file is as it was signed, with this key."""
        from cryptography.exceptions import InvalidSignature

        said = noted.said
        if SIGNATURE not in said:
            raise AuditError(f"{noted}: the anchor is not signed")
        try:
            self._key.verify(bytes.fromhex(said[SIGNATURE]), canonical(said))
        except (InvalidSignature, TypeError, ValueError):
            own = said.get(KEY) == _raw(self._key).hex()
            reason = "it was changed" if own else "it was signed with another key, or changed"
            raise AuditError(f"{noted}: the signature does not fit the key in {self._path}: {reason}") from None


def _load_private(path: Path) -> Ed25519PrivateKey:
    _need_cryptography()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    data = _read(path)
    try:
        key = load_pem_private_key(data, password=None)
    except TypeError:
        raise AuditError(f"{path}: the key is encrypted; give it as it is, in a file that only you can read") from None
    except (ValueError, UnsupportedAlgorithm) as error:
        raise AuditError(f"{path}: not a private key in PEM: {error}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise AuditError(f"{path}: not an Ed25519 key; make one with `openssl genpkey -algorithm ed25519`")
    return key


def _load_public(path: Path) -> Ed25519PublicKey:
    _need_cryptography()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    data = _read(path)
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise AuditError(f"{path}: not a public key in PEM: {error}") from None
    if not isinstance(key, Ed25519PublicKey):
        raise AuditError(f"{path}: not an Ed25519 key")
    return key


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise AuditError(f"read the key in {path}: {error}") from error


def _raw(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes_raw()


def _need_cryptography() -> None:
    if importlib.util.find_spec("cryptography") is None:
        raise AuditError("signatures need the package cryptography: pip install 'eventstore[sign]'")
