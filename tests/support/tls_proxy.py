"""TLS in front of a server that has none: a proxy that demands a client's certificate, and passes the rest on."""

from __future__ import annotations

import asyncio
import ssl
import threading
from pathlib import Path

from tests.support.certificates import Certificates

_CHUNK = 65_536
_PATIENCE_S = 30.0
_ROUNDS = 20


class TlsProxy:
    """Listens on a free port of 127.0.0.1 and passes everything on to the unix socket `server`."""

    def __init__(self, server: Path, certificates: Certificates) -> None:
        self._server = server
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificates.authority))
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._context.load_cert_chain(certificates.server, certificates.server_key)
        self._listening = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="tls-proxy", daemon=True)
        self._thread.start()
        assert self._listening.wait(_PATIENCE_S), "the proxy does not listen"

    def close(self) -> None:
        """End every connection, and the thread."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_PATIENCE_S)
        assert not self._thread.is_alive(), "the proxy hangs"

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._connect, "127.0.0.1", 0, ssl=self._context)
        self.port = int(server.sockets[0].getsockname()[1])
        self._listening.set()
        await self._stop.wait()
        # What is about to be connected, too, takes the loop some rounds, and leaks behind the end of the server.
        for _ in range(_ROUNDS):
            for transport in list(self._loop._transports.values()):  # type: ignore[attr-defined]
                transport.abort()
            await asyncio.sleep(0)
        server.close()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            their_reader, their_writer = await asyncio.open_unix_connection(str(self._server))
        except OSError:
            writer.close()
            return
        try:
            await asyncio.wait(
                [
                    asyncio.create_task(_pass_on(reader, their_writer)),
                    asyncio.create_task(_pass_on(their_reader, writer)),
                ],
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            writer.close()
            their_writer.close()


async def _pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(_CHUNK):
            sink.write(data)
            await sink.drain()
    except OSError:
        pass  # either end is gone
