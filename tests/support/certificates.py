"""Certificates for a test: an authority of its own, what it signed for a server and for a client, and a stranger's."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import trustme

HOST = "localhost"


class Certificates:
    """Files of certificates and keys, in a directory of their own: for servers at `host`, and for a client.

    Attributes
    ----------
    authority : Path
        The certificate that the others are signed with.
    server, server_key, client, client_key : Path
        Certificates and their keys.

    """

    def __init__(self, host: str = HOST) -> None:
        self._directory = directory = Path(tempfile.mkdtemp(prefix="tls-"))
        issuer = trustme.CA()
        self.authority = directory / "authority.pem"
        issuer.cert_pem.write_to_path(str(self.authority))
        self.server, self.server_key = _write(directory, "server", issuer.issue_cert(host))
        self.client, self.client_key = _write(directory, "client", issuer.issue_cert("node@example.org"))

    def close(self) -> None:
        """Delete the files."""
        shutil.rmtree(self._directory, ignore_errors=True)

    @property
    def query(self) -> str:
        """What a URL says behind its question mark: whom to believe, what to show, and that the name has to fit."""
        return (
            f"ssl_ca_certs={self.authority}&ssl_certfile={self.client}&ssl_keyfile={self.client_key}"
            "&ssl_check_hostname=true"
        )

    @property
    def directives(self) -> dict[str, str]:
        """Directives of redis.conf for a server that demands a client's certificate, and shows its own to others."""
        return {
            "tls-cert-file": str(self.server),
            "tls-key-file": str(self.server_key),
            "tls-ca-cert-file": str(self.authority),
            "tls-auth-clients": "yes",
            "tls-replication": "yes",
        }


def _write(directory: Path, name: str, issued: trustme.LeafCert) -> tuple[Path, Path]:
    certificate, key = directory / f"{name}.pem", directory / f"{name}.key"
    certificate.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    key.chmod(0o600)
    return certificate, key
