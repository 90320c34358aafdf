"""What a URL says of where a server is."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from redis.connection import SSLConnection, UnixDomainSocketConnection

from eventstore.config import CacheDatabaseConfig
from eventstore.errors import ConfigError
from eventstore.storage.connect import connect, follows
from eventstore.storage.location import Location

TEXTS = st.text(min_size=1, max_size=20)
HOSTS = st.from_regex(r"[a-z][a-z0-9-]{0,10}(\.[a-z]{2,5})?", fullmatch=True)
PORTS = st.integers(1, 65_535)
ADDRESSES = st.lists(st.tuples(HOSTS, PORTS), min_size=1, max_size=4)


@given(st.sampled_from(["redis+sentinel", "rediss+sentinel"]), TEXTS, TEXTS, ADDRESSES, TEXTS, st.integers(0, 15))
def test_sentinels_are_read_whatever_names_and_passwords_are(
    scheme: str, user: str, password: str, addresses: list[tuple[str, int]], service: str, database: int
) -> None:
    hosts = ",".join(f"{host}:{port}" for host, port in addresses)
    secrets = f"sentinel_username={quote(password, safe='')}&sentinel_password={quote(user, safe='')}"
    who = f"{quote(user, safe='')}:{quote(password, safe='')}"
    location = Location.parse(f"{scheme}://{who}@{hosts}/{quote(service, safe='')}/{database}?{secrets}")
    assert location.kind == "sentinel"
    assert location.addresses == tuple(addresses)
    assert location.service == service
    assert location.options["username"] == user
    assert location.options["password"] == password
    assert location.options.get("db", 0) == database
    assert location.sentinel_options["username"] == password
    assert location.sentinel_options["password"] == user
    encrypted = scheme.startswith("rediss")
    assert (location.options.get("connection_class") is SSLConnection) == encrypted
    assert (location.sentinel_options.get("connection_class") is SSLConnection) == encrypted


@given(st.sampled_from(["redis+cluster", "rediss+cluster"]), TEXTS, ADDRESSES)
def test_nodes_of_a_cluster_are_read(scheme: str, password: str, addresses: list[tuple[str, int]]) -> None:
    hosts = ",".join(f"{host}:{port}" for host, port in addresses)
    location = Location.parse(f"{scheme}://:{quote(password, safe='')}@{hosts}?read_from=replica")
    assert location.kind == "cluster"
    assert location.addresses == tuple(addresses)
    assert location.options["password"] == password
    assert "username" not in location.options
    assert location.from_replica


@pytest.mark.parametrize(
    ("url", "addresses"),
    [
        ("redis://", (("localhost", 6379),)),
        ("redis://db.example/3", (("db.example", 6379),)),
        ("rediss://[::1]:7000", (("::1", 7000),)),
        ("unix:///run/redis.sock?db=2", ()),
        ("redis+sentinel://a,b:1,[::1]:2/main", (("a", 26379), ("b", 1), ("::1", 2))),
        ("redis+cluster://a,b:1", (("a", 6379), ("b", 1))),
    ],
)
def test_addresses_that_are_not_said_are_the_usual_ones(url: str, addresses: tuple[tuple[str, int], ...]) -> None:
    assert Location.parse(url).addresses == addresses


def test_a_unix_socket_is_a_path() -> None:
    location = Location.parse("unix://node:pw@/run/with%20space.sock?db=2")
    assert location.options["connection_class"] is UnixDomainSocketConnection
    assert location.options["path"] == "/run/with space.sock"
    assert (location.options["username"], location.options["password"], location.options["db"]) == ("node", "pw", 2)


def test_files_of_credentials_and_certificates_are_read() -> None:
    files = "ssl_ca_certs=/ca.pem&ssl_certfile=/node.pem&ssl_keyfile=/node.key&ssl_check_hostname=true"
    location = Location.parse(f"rediss+cluster://a,b?credentials_file=/run/secrets/redis&{files}")
    assert location.credentials_file == Path("/run/secrets/redis")
    assert location.options["ssl_ca_certs"] == "/ca.pem"
    assert location.options["ssl_certfile"] == "/node.pem"
    assert location.options["ssl_keyfile"] == "/node.key"
    assert location.options["ssl_check_hostname"] is True


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("localhost:6379", "expected one of redis://"),
        ("http://localhost", "expected one of redis://"),
        ("redis+sentinel://a,b", "say behind the hosts what the sentinels call the primary"),
        ("redis+cluster://a,b/0", "a cluster has no databases"),
        ("redis+cluster://a?db=1", "a cluster has no databases"),
        ("redis+cluster://a,,b", "is not a host"),
        ("redis+cluster://", "is not a host"),
        ("redis+cluster://a:port", "port"),
        ("redis+cluster://a:99999", "ort"),
        ("redis://a?read_from=somewhere", "read_from is primary or replica"),
        ("redis://a?sentinel_password=pw", "credentials for sentinels, but it names none"),
        ("redis://a?socket_timeout", "bad query field"),
        ("redis://a?colour=red", "redis:// has no option colour; there are credentials_file, db, "),
        ("redis+sentinel://a/main?ssl_ca_certs=f", r"redis\+sentinel:// has no option ssl_ca_certs"),
        ("rediss+cluster://a?ssl_ca=f", r"no option ssl_ca; .*, ssl_ca_certs, "),
        ("unix:///s?protocol=3", "unix:// has no option protocol"),
        ("redis://a/first", "'first' is not the number of a database"),
        ("redis+sentinel://a/main/first", "'first' is not the number of a database"),
    ],
)
def test_what_can_not_be_used_is_refused_with_the_reason(url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Location.parse(url)


@given(st.sampled_from(["redis", "rediss", "unix", "redis+sentinel", "redis+cluster", "rabbit"]), TEXTS, TEXTS)
def test_no_error_and_no_text_shows_a_password(scheme: str, user: str, rest: str) -> None:
    url = f"{scheme}://{quote(user, safe='')}:s3cr3t@{quote(rest)}?sentinel_password=s3cr3t"
    try:
        said = repr(Location.parse(url))
    except ConfigError as error:
        said = str(error)
    assert "s3cr3t" not in said


@given(
    st.sampled_from(["redis", "rediss", "redis+sentinel", "redis+cluster"]),
    st.sampled_from(["", "user", "12"]),
    st.text("/?#@:=&1", min_size=1, max_size=4),
    st.sampled_from(["h:6379/0", "h", "h/main", "h/main?db=0", "h?read_from=replica", "h?a=b"]),
)
@example("redis", "user", "?", "h:6379/0")
@example("redis", "user", "?a=", "h:6379/0")
@example("redis", "12", "/", "h")
def test_nor_do_they_where_the_password_is_not_encoded(scheme: str, user: str, special: str, rest: str) -> None:
    """Whatever a reader takes it for: it is asked to be encoded, or works as it is."""
    url = f"{scheme}://{user}:first{special}second@{rest}"
    try:
        said = repr(Location.parse(url)) + repr(CacheDatabaseConfig(url=url))
    except ConfigError as error:
        said = f"{error} {error.__cause__}"
    assert "first" not in said
    assert "second" not in said


def test_a_certificate_is_compared_with_the_host_whatever_the_driver_does_by_default() -> None:
    for scheme, rest in (("rediss", ""), ("rediss+sentinel", "/main"), ("rediss+cluster", "")):
        for query, expected in (("", True), ("?ssl_check_hostname=false", False)):
            location = Location.parse(f"{scheme}://h{rest}{query}")
            assert location.options["ssl_check_hostname"] is expected
            assert location.sentinel_options["ssl_check_hostname"] is expected
        assert not Location.parse(f"{scheme}://h{rest}?ssl_cert_reqs=none").options.get("ssl_check_hostname")


def test_what_the_driver_does_not_take_is_refused_before_anything_is_sent() -> None:
    for url in ("rediss://localhost?ssl_cert_reqs=some", "rediss+cluster://localhost?ssl_cert_reqs=some"):
        with pytest.raises(ConfigError, match="Invalid SSL Certificate Requirements Flag: some"):
            connect(url, 1.0, "test")


@pytest.mark.parametrize("name", ["ssl_ca_certs", "ssl_certfile", "ssl_keyfile"])
@pytest.mark.parametrize(
    "url", ["rediss://localhost", "rediss+sentinel://localhost/main", "rediss+cluster://localhost"]
)
def test_a_file_that_can_not_be_read_is_named_before_anything_is_sent(url: str, name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} /nowhere can not be read: No such file"):
        connect(f"{url}?{name}=/nowhere", 1.0, "test")


def test_only_connections_that_may_lead_elsewhere_are_looked_up() -> None:
    leads = {url: follows(connect(url, 1.0, "test")) for url in ("redis://a", "unix:///a", "redis+cluster://a")}
    assert leads == {"redis://a": False, "unix:///a": False, "redis+cluster://a": True}
    assert follows(connect("redis://a?read_from=replica", 1.0, "test"))
    assert not follows(connect("redis://a?read_from=replica", 1.0, "test", to_primary=True))
