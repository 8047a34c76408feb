"""Files from elsewhere: one request when nothing changed, every break made good, nothing taken on trust."""

import hashlib
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.allowed_addresses import AddressPolicy
from common.errors import RejectedError, UnavailableError
from ml.data_folders import DataFolders
from ml.sources.fetch import cache as fetch_cache
from ml.sources.fetch.cache import DataCache, StoredFile
from ml.sources.fetch.download import DownloadLimits
from ml.sources.fetch.http import HttpFile
from ml.sources.fetch.origin import OriginError
from ml.sources.fetch.origins import open_origin
from tests.harness.drip import DRIPS, dripping
from tests.harness.shelf import Shelf, serving

CONTENT = b"day,visits\n" + b"2026-01-05,1234\n" * 40_000  # ten pieces
LOOPBACK = "127.0.0.0/8"


class Fetching:
    """A cache and what it said."""

    def __init__(self, root: Path) -> None:
        self.root, self.said = root, list[str]()

    def get(
        self,
        url: str,
        pin: str | None = None,
        *,
        allow: str = LOOPBACK,
        limit: int = 1 << 30,
        timeout: float = 60,
        tell_every: float = 5,
    ) -> StoredFile:
        whole = self.root.parent / "data"
        folders = DataFolders(whole, whole / "web", (whole,))
        found = open_origin(url, allowed=AddressPolicy.from_text(allow), folders=folders)
        limits = DownloadLimits(limit, timeout, tell_every)
        return DataCache(self.root, limits).get(found, pin, self.said.append)


@pytest.fixture
def fetching(tmp_path: Path) -> Fetching:
    return Fetching(tmp_path / "cache")


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_file_is_fetched_once_and_looked_at_afterwards(shelf: Shelf, fetching: Fetching) -> None:
    shelf.put(CONTENT)

    first = fetching.get(shelf.url())
    assert (first.sha256, first.size, first.path.read_bytes()) == (sha256(CONTENT), len(CONTENT), CONTENT)
    assert shelf.methods() == ["HEAD", "GET"]

    assert fetching.get(shelf.url()) == first
    assert shelf.methods() == ["HEAD"]


@pytest.mark.parametrize("told_by", ["etag", "modified", "size"])
def test_a_changed_file_is_noticed(told_by: str, shelf: Shelf, fetching: Fetching) -> None:
    item = shelf.put(CONTENT)
    item.etag = told_by == "etag"
    fetching.get(shelf.url())

    item.content = CONTENT.replace(b"1234", b"4321") if told_by != "size" else CONTENT + b"2026-01-06,1\n"
    item.modified = "Tue, 06 Jan 2026 10:00:00 GMT" if told_by == "modified" else item.modified

    assert fetching.get(shelf.url()).sha256 == sha256(item.content)


def test_a_server_without_versions_is_asked_each_time(shelf: Shelf, fetching: Fetching) -> None:
    item = shelf.put(CONTENT)
    item.etag, item.modified = False, None
    fetching.get(shelf.url())
    item.content = CONTENT.replace(b"1234", b"4321")

    assert fetching.get(shelf.url()).sha256 == sha256(item.content)


def test_a_date_of_this_very_second_is_no_version(shelf: Shelf, fetching: Fetching) -> None:
    from email.utils import formatdate

    item = shelf.put(CONTENT)
    item.etag, item.modified = False, formatdate(usegmt=True)
    fetching.get(shelf.url())
    item.content = CONTENT.replace(b"1234", b"4321")  # in the same second, of the same size

    assert fetching.get(shelf.url()).sha256 == sha256(item.content)


def test_a_server_without_head_is_asked_for_one_byte(shelf: Shelf, fetching: Fetching) -> None:
    item = shelf.put(CONTENT)
    item.head = 405

    first = fetching.get(shelf.url())
    assert shelf.methods() == ["HEAD", "GET", "GET"]
    assert fetching.get(shelf.url()) == first
    assert shelf.methods() == ["HEAD", "GET"]


def test_a_broken_download_goes_on_where_it_broke(shelf: Shelf, fetching: Fetching) -> None:
    item = shelf.put(CONTENT)
    item.cuts = [300_000, 200_000]

    assert fetching.get(shelf.url()).sha256 == sha256(CONTENT)
    gets = [asked.headers for asked in shelf.asked if asked.method == "GET"]
    assert [headers.get("range") for headers in gets] == [None, "bytes=300000-", "bytes=500000-"]
    assert all("if-range" in headers for headers in gets[1:])


def test_it_goes_on_in_another_build_too(shelf: Shelf, fetching: Fetching) -> None:
    item = shelf.put(CONTENT)
    item.cuts = [300_000, 0, 0, 0, 0]
    with pytest.raises(UnavailableError, match="the download resumes there"):
        fetching.get(shelf.url())
    shelf.asked.clear()

    assert fetching.get(shelf.url()).sha256 == sha256(CONTENT)
    assert [asked.headers.get("range") for asked in shelf.asked] == [None, "bytes=300000-"]


def test_a_download_begins_anew_when_the_file_changed_meanwhile(shelf: Shelf, fetching: Fetching) -> None:
    item = shelf.put(CONTENT)
    item.cuts = [300_000, 0, 0, 0, 0]
    with pytest.raises(UnavailableError):
        fetching.get(shelf.url())
    item.content = CONTENT.replace(b"1234", b"4321")

    assert fetching.get(shelf.url()).sha256 == sha256(item.content)


def test_it_begins_anew_when_the_machine_started_meanwhile(shelf: Shelf, fetching: Fetching) -> None:
    item = shelf.put(CONTENT)
    item.cuts = [300_000, 0, 0, 0, 0]
    with pytest.raises(UnavailableError):
        fetching.get(shelf.url())
    (note,) = fetching.root.glob("addresses/*.version")
    note.write_text(note.read_text().replace('"sha256": "', '"sha256": "an earlier start than '))
    shelf.asked.clear()

    assert fetching.get(shelf.url()).sha256 == sha256(CONTENT)
    assert "range" not in shelf.asked[-1].headers


@pytest.mark.parametrize("trouble", ["no ranges", "ranges that begin early", "no version"])
def test_what_a_server_does_with_ranges_spoils_nothing(
    trouble: str, shelf: Shelf, fetching: Fetching
) -> None:
    item = shelf.put(CONTENT)
    item.cuts = [300_000]
    item.ranges = trouble != "no ranges"
    item.early = 1000 if trouble == "ranges that begin early" else 0
    if trouble == "no version":
        item.etag, item.modified = False, None

    assert fetching.get(shelf.url()).sha256 == sha256(CONTENT)


def test_a_length_that_is_too_long_is_not_taken_for_the_end(shelf: Shelf, fetching: Fetching) -> None:
    item = shelf.put(CONTENT)
    item.length = len(CONTENT) + 1000

    with pytest.raises(UnavailableError, match="cannot be fetched"):
        fetching.get(shelf.url())


def test_a_stored_file_never_replaces_one_that_cannot_be_fetched(shelf: Shelf, fetching: Fetching) -> None:
    item = shelf.put(CONTENT)
    fetching.get(shelf.url())
    item.status = 503

    with pytest.raises(UnavailableError, match="answers 503 Service Unavailable"):
        fetching.get(shelf.url())


def test_a_server_that_is_gone_is_the_worlds_fault(fetching: Fetching) -> None:
    with serving() as shelf:
        url = shelf.url()

    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:\d+/data\.csv cannot be fetched: .*refused"):
        fetching.get(url)


@pytest.mark.parametrize(
    ("status", "said"),
    [(404, "404 Not Found: is the address"), (410, "410 Gone"), (403, "403 Forbidden: it needs credentials")],
)
def test_what_a_commit_has_to_mend_is_not_tried_again(
    status: int, said: str, shelf: Shelf, fetching: Fetching
) -> None:
    shelf.put(CONTENT).status = status

    with pytest.raises(RejectedError, match=said):
        fetching.get(shelf.url())
    assert shelf.methods() == ["HEAD", "GET"]


def test_a_wrong_digest_is_refused_with_both(shelf: Shelf, fetching: Fetching) -> None:
    shelf.put(CONTENT)
    wanted = sha256(b"another file")

    for _ in range(2):
        with pytest.raises(RejectedError) as fault:
            fetching.get(shelf.url(), wanted)
        assert wanted in str(fault.value)
        assert sha256(CONTENT) in str(fault.value)


def test_a_pinned_file_that_is_there_needs_no_network(shelf: Shelf, fetching: Fetching) -> None:
    shelf.put(CONTENT)
    first = fetching.get(shelf.url(), sha256(CONTENT))
    shelf.items.clear()
    shelf.asked.clear()

    assert fetching.get(shelf.url(), sha256(CONTENT)) == first
    assert shelf.asked == []


def test_a_digest_alone_opens_nobody_elses_file(shelf: Shelf, fetching: Fetching) -> None:
    shelf.put(CONTENT, "/secret.csv")
    fetching.get(shelf.url("/secret.csv"))

    with pytest.raises(RejectedError, match="404 Not Found"):
        fetching.get(shelf.url("/guessed.csv"), sha256(CONTENT))


def test_a_file_that_somebody_changed_here_is_fetched_again(shelf: Shelf, fetching: Fetching) -> None:
    shelf.put(CONTENT)
    stored = fetching.get(shelf.url())
    stored.path.chmod(0o644)
    stored.path.write_bytes(b"poison")

    assert fetching.get(shelf.url()).path.read_bytes() == CONTENT


def test_too_much_is_refused_before_it_comes(shelf: Shelf, fetching: Fetching) -> None:
    shelf.put(CONTENT)

    with pytest.raises(RejectedError, match=r"larger than the 97\.7 KiB that this appliance takes"):
        fetching.get(shelf.url(), limit=100_000)


def test_too_much_without_a_length_is_refused_while_it_comes(shelf: Shelf, fetching: Fetching) -> None:
    item = shelf.put(CONTENT)
    item.length = -1

    with pytest.raises(RejectedError, match="SLIPWAY_DATA_LIMIT"):
        fetching.get(shelf.url(), limit=100_000)
    assert not list(fetching.root.glob("addresses/*.part"))


def test_no_more_than_the_length_is_taken_when_more_comes(shelf: Shelf, fetching: Fetching) -> None:
    item = shelf.put(CONTENT)
    item.length = 50_000

    with pytest.raises((RejectedError, UnavailableError)):
        fetching.get(shelf.url(), sha256(CONTENT), limit=100_000)


def test_a_server_that_drips_holds_up_nobody_for_ever(shelf: Shelf, fetching: Fetching) -> None:
    item = shelf.put(CONTENT)
    item.pause = 0.2

    with pytest.raises(
        UnavailableError, match=r"has not come within 0\.5 s \(SLIPWAY_DATA_TIMEOUT\).* resumes"
    ):
        fetching.get(shelf.url(), timeout=0.5)


@pytest.mark.parametrize("drip", DRIPS)
def test_headers_without_an_end_hold_up_nobody(drip: tuple[bytes, bytes, float]) -> None:
    """Neither a fetch nor the look whether data has changed: both ask for the version first."""
    allowed = AddressPolicy.from_text(LOOPBACK)
    with dripping(*drip) as server, pytest.raises(OriginError):
        HttpFile(server.url, allowed, headers_seconds=1).get_version()


def test_content_may_take_longer_than_its_headers(shelf: Shelf) -> None:
    shelf.put(CONTENT).pause = 0.2
    file = HttpFile(shelf.url(), AddressPolicy.from_text(LOOPBACK), headers_seconds=1)
    with file.read(0, file.get_version()) as content:
        assert b"".join(content.chunks) == CONTENT


def test_progress_is_told(shelf: Shelf, fetching: Fetching) -> None:
    shelf.put(CONTENT).pause = 0.05
    fetching.get(shelf.url(), tell_every=0.1)

    assert any("KiB of 625.0 KiB (" in line and "/s" in line for line in fetching.said)
    assert sha256(CONTENT) in fetching.said[-1]


def test_redirects_are_followed(shelf: Shelf, fetching: Fetching) -> None:
    shelf.put(CONTENT, "/there/data.csv")
    shelf.put(b"").status = 302
    shelf.items["/data.csv"].location = "/there/data.csv"

    assert fetching.get(shelf.url()).sha256 == sha256(CONTENT)


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("http://169.254.169.254/latest/meta-data", "169.254.169.254, which is not on the internet"),
        ("http://[::ffff:169.254.169.254]/", "which is not on the internet"),
        ("http://2852039166/latest", r"2852039166 \(169.254.169.254\), which is not on the internet"),
        ("file:///etc/shadow", "not an address of http or https"),
        ("/data.csv", "without an end"),
    ],
)
def test_redirects_lead_nowhere_that_is_closed(
    location: str, said: str, shelf: Shelf, fetching: Fetching
) -> None:
    shelf.put(b"").status = 302
    shelf.items["/data.csv"].location = location

    with pytest.raises(RejectedError, match=said):
        fetching.get(shelf.url())


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "0.0.0.0"])
def test_this_machine_is_asked_only_when_the_operator_says_so(
    host: str, shelf: Shelf, fetching: Fetching
) -> None:
    shelf.put(CONTENT)

    with pytest.raises(RejectedError, match="SLIPWAY_DATA_ALLOW"):
        fetching.get(shelf.url(host=host), allow="")
    assert shelf.asked == []


def test_a_host_may_be_allowed_by_its_name(shelf: Shelf, fetching: Fetching) -> None:
    shelf.put(CONTENT)

    assert fetching.get(shelf.url(host="localhost"), allow="LOCALHOST").sha256 == sha256(CONTENT)
    with pytest.raises(RejectedError, match="SLIPWAY_DATA_ALLOW"):
        fetching.get(shelf.url(), allow="localhost")


def test_a_name_that_changes_its_address_is_caught_on_connecting(
    shelf: Shelf, fetching: Fetching, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The resolver says one thing first and another then, as a hostile one does."""
    shelf.put(CONTENT)
    answers = iter(["93.184.215.14", "127.0.0.1"])
    asked: list[str] = []

    def resolve(host: str, *_: object, **__: object) -> list[object]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), shelf.port))]

    connected: list[object] = []
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "create_connection", lambda address, *_, **__: refuse(connected, address))

    with pytest.raises(RejectedError, match=r"rebinding\.example \(127\.0\.0\.1\)"):
        fetching.get(shelf.url(host="rebinding.example"), allow="")
    assert asked == ["rebinding.example"] * 2  # each connection asks once, and uses what it was told
    assert connected == [("93.184.215.14", shelf.port)]


def refuse(connected: list[object], address: object) -> socket.socket:
    connected.append(address)
    raise ConnectionRefusedError


def test_a_proxy_is_used_and_no_way_around_the_rules(
    shelf: Shelf, fetching: Fetching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", shelf.url("", user="us:proxy-password@"))
    shelf.put(CONTENT, "http://data.invalid/data.csv")

    assert fetching.get("http://data.invalid/data.csv", allow="").sha256 == sha256(CONTENT)
    assert shelf.asked[0].headers["proxy-authorization"].startswith("Basic ")
    shelf.asked.clear()
    for closed in ("http://169.254.169.254/latest", "http://10.0.0.1/data.csv", shelf.url()):
        with pytest.raises(RejectedError, match="SLIPWAY_DATA_ALLOW"):
            fetching.get(closed, allow="")
    assert shelf.asked == []


def test_https_is_checked_against_the_name(fetching: Fetching, tmp_path: Path) -> None:
    """The connection goes to a checked address; the certificate still has to be the name's."""
    certificate = tmp_path / "certificate.pem"
    made = subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=localhost",
            ),
            *(
                "-addext",
                "subjectAltName=DNS:localhost",
                "-keyout",
                certificate,
                "-out",
                tmp_path / "only.pem",
            ),
        ],
        capture_output=True,
        check=False,
    )
    if made.returncode != 0:
        pytest.skip("openssl makes no certificate here")
    certificate.write_bytes(certificate.read_bytes() + (tmp_path / "only.pem").read_bytes())
    program = """
import sys
from pathlib import Path
from tests.ml.sources.test_fetch import Fetching
fetching = Fetching(Path(sys.argv[1]))
print(fetching.get(f"https://localhost:{sys.argv[2]}/data.csv").sha256)
fetching.get(f"https://127.0.0.1:{sys.argv[2]}/data.csv")
"""
    with serving(certificate=certificate) as shelf:
        shelf.put(CONTENT)
        done = subprocess.run(
            [sys.executable, "-c", program, fetching.root, str(shelf.port)],
            env={**os.environ, "SSL_CERT_FILE": str(tmp_path / "only.pem")},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.stdout.strip() == sha256(CONTENT)
    assert "certificate verify failed: IP address mismatch" in done.stderr.splitlines()[-1]


def test_passwords_and_signatures_are_sent_and_never_told(shelf: Shelf, fetching: Fetching) -> None:
    shelf.put(CONTENT, "/data.csv?signature=s3cret")
    url = shelf.url("/data.csv?signature=s3cret", user="dana:pa%3Ass@")

    fetching.get(url)
    assert shelf.asked[0].headers["authorization"] == "Basic ZGFuYTpwYTpzcw=="
    shelf.items.clear()
    with pytest.raises(RejectedError) as fault:
        fetching.get(url)

    told = " ".join([*fetching.said, str(fault.value)])
    assert f"http://***@127.0.0.1:{shelf.port}/data.csv?…" in told
    assert "s3cret" not in told
    assert "pa%3Ass" not in told


def test_a_password_is_not_sent_on_to_another_host(shelf: Shelf, fetching: Fetching) -> None:
    with serving() as other:
        other.put(CONTENT)
        shelf.put(b"").status = 307
        shelf.items["/data.csv"].location = other.url()
        fetching.get(shelf.url(user="dana:secret@"))

        assert all("authorization" not in asked.headers for asked in other.asked)


def test_what_is_compressed_unasked_is_refused(shelf: Shelf, fetching: Fetching) -> None:
    shelf.put(CONTENT).headers["Content-Encoding"] = "gzip"

    with pytest.raises(RejectedError, match="sent with the encoding gzip"):
        fetching.get(shelf.url())


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("gs://bucket/data.csv", "gs:// needs the package gcsfs"),
        ("az://container/data.csv", "az:// needs the package adlfs"),
        ("memory://data.csv", "data does not come from memory://"),
        ("ftp://host/data.csv", "data does not come from ftp://"),
        ("simplecache::http://127.0.0.1/data.csv", "data does not come from"),
        ("http://host:port/", "is not an address"),
        ("http:///data.csv", "not an address of http or https"),
        ("http://[::1/data.csv", "is not an address"),
        ("http://xn--/data.csv", "is not an address"),
        (f"http://{'a' * 70}.example/data.csv", "is not the name of a host"),
    ],
)
def test_what_cannot_be_fetched_is_said(url: str, said: str, fetching: Fetching) -> None:
    with pytest.raises(RejectedError, match=said):
        fetching.get(url)


@pytest.fixture
def bucket(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    """S3 as far as one file is read from it."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", shelf.url(""))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return shelf


def test_a_file_in_a_bucket_is_fetched_once_and_then_compared(bucket: Shelf, fetching: Fetching) -> None:
    item = bucket.put(CONTENT, "/bucket/train/data.csv")

    first = fetching.get("s3://bucket/train/data.csv")
    assert first.sha256 == sha256(CONTENT)
    assert "AWS4-HMAC-SHA256 Credential=somebody" in bucket.asked[-1].headers["authorization"]
    bucket.asked.clear()
    assert fetching.get("s3://bucket/train/data.csv") == first
    assert bucket.methods() == ["HEAD"]

    item.content = CONTENT.replace(b"1234", b"4321")
    assert fetching.get("s3://bucket/train/data.csv").sha256 == sha256(item.content)


def test_a_public_bucket_needs_no_credentials(
    bucket: Shelf, fetching: Fetching, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put(CONTENT, "/bucket/data.csv")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("HOME", str(fetching.root))

    assert fetching.get("s3://bucket/data.csv").sha256 == sha256(CONTENT)
    assert all("authorization" not in asked.headers for asked in bucket.asked)


@pytest.mark.parametrize(
    ("status", "said"), [(404, "does not exist: is it right"), (403, "may not be read with the appliance's")]
)
def test_what_a_bucket_refuses_is_said(status: int, said: str, bucket: Shelf, fetching: Fetching) -> None:
    bucket.put(CONTENT, "/bucket/data.csv").status = status

    with pytest.raises(RejectedError, match=said):
        fetching.get("s3://bucket/data.csv")


def test_two_builds_share_one_download(shelf: Shelf, fetching: Fetching) -> None:
    shelf.put(CONTENT).pause = 0.02
    found: list[StoredFile] = []
    threads = [threading.Thread(target=lambda: found.append(fetching.get(shelf.url()))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({stored.path for stored in found}) == 1
    assert shelf.methods().count("GET") == 1


def test_files_on_the_appliance_are_taken_from_its_folder_alone(fetching: Fetching) -> None:
    folder = fetching.root.parent / "data"
    (folder / "web").mkdir(parents=True)
    (folder / "web/my data.csv").write_bytes(CONTENT)
    url = (folder / "web/my data.csv").as_uri()

    assert fetching.get(url).sha256 == sha256(CONTENT)
    (folder / "web/my data.csv").write_bytes(b"changed")
    assert fetching.get(url).sha256 == sha256(b"changed")
    for outside in (
        "/etc/passwd",
        f"{folder}/../secret",
        f"{folder}/web/..%2f..%2f../secret",
        f"{folder}x/y",
    ):
        with pytest.raises(RejectedError, match="is not in "):
            fetching.get(f"file://{outside}")
    with pytest.raises(RejectedError, match="cannot be read on the appliance: No such file"):
        fetching.get(f"file://{folder}/nothing.csv")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Two megabytes."""
    folder = tmp_path / "small"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], check=False)
    if made.returncode != 0:
        pytest.skip("only root can make a small disk")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_is_said_and_left_with_the_room_it_had(shelf: Shelf, small_disk: Path) -> None:
    item = shelf.put(b"x" * (4 << 20))
    fetching = Fetching(small_disk / "cache")

    with pytest.raises(
        UnavailableError, match=r"the disk of SLIPWAY_HOME is full: .* takes 4\.0 MiB more, and"
    ):
        fetching.get(shelf.url())
    item.length = -1
    with pytest.raises(
        UnavailableError, match=r"the disk of SLIPWAY_HOME is full: .* could not be stored there"
    ):
        fetching.get(shelf.url())
    assert shutil.disk_usage(small_disk).used < 100_000


def test_what_no_address_has_any_more_is_swept_away(shelf: Shelf, fetching: Fetching, tmp_path: Path) -> None:
    item = shelf.put(CONTENT)
    old = fetching.get(shelf.url())
    item.content = CONTENT.replace(b"1234", b"4321")
    new = fetching.get(shelf.url())
    fetch_cache.sweep_cache(fetching.root)
    assert old.path.exists()  # for a day

    os.utime(old.path, (0, 0))
    (tmp_path / "used").hardlink_to(old.path)
    fetch_cache.sweep_cache(fetching.root)
    assert old.path.exists()  # as long as a release has it

    (tmp_path / "used").unlink()
    fetch_cache.sweep_cache(fetching.root)
    assert not old.path.exists()
    assert new.path.exists()
