"""Sockets of a model's code: in the file system those of its own folders, and heard on this machine alone."""

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from common.errors import RejectedError
from ml.runtime import invoke
from ml.sandbox.confine import landlock, seccomp
from ml.sandbox.sandbox import Sandbox
from tests.ml.sandbox.test_hostile import ROOT, Bench, bare_environment, bench  # noqa: F401


class Outsider:
    """A service with a socket in the file system that anybody may connect to; it counts who does."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.visits = folder, 0
        folder.chmod(0o755)
        self.stream = socket.socket(socket.AF_UNIX)
        self.letters = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        for made, name in ((self.stream, "stream"), (self.letters, "letters")):
            made.bind(str(folder / name))
            (folder / name).chmod(0o666)
        self.stream.listen(100)
        threading.Thread(target=self.greet, daemon=True).start()

    def greet(self) -> None:
        with suppress(OSError):  # closed
            while True:
                self.stream.accept()[0].close()
                self.visits += 1

    def letter(self) -> bytes | None:
        """What has been sent without a connection."""
        self.letters.setblocking(False)
        try:
            return self.letters.recv(100)
        except BlockingIOError:
            return None

    def close(self) -> None:
        with suppress(OSError):
            self.stream.shutdown(socket.SHUT_RDWR)
        self.stream.close()
        self.letters.close()


@pytest.fixture
def outsider() -> Iterator[Outsider]:
    if not seccomp.can_notify() or landlock.abi_version() < 4:
        pytest.skip("Linux is older than 6.7, or has no seccomp that asks")
    made = Outsider(Path(tempfile.mkdtemp(prefix="outsider-")))
    yield made
    made.close()
    shutil.rmtree(made.folder)


TALK = """
    import socket
    refused, reached = [], []
    def look(name, function):
        try:
            reached.append([name, repr(function())])
        except OSError as error:
            refused.append(name)
    def connect(path, kind=socket.SOCK_STREAM):
        with socket.socket(socket.AF_UNIX, kind) as made:
            made.connect(path)
    outside, home = OUTSIDE, os.environ["HOME"]
    os.symlink(outside, home + "/way")
    look("path", lambda: connect(outside + "/stream"))
    look("link", lambda: connect(home + "/way/stream"))
    look("climb", lambda: connect(home + "/../../../../../../../../../" + outside + "/stream"))
    look("proc", lambda: connect("/proc/self/root" + outside + "/stream"))
    look("letters", lambda: connect(outside + "/letters", socket.SOCK_DGRAM))
    look("seqpacket", lambda: connect(outside + "/stream", socket.SOCK_SEQPACKET))
    look("abstract", lambda: connect("\\0slipway"))
    pair = lambda kind: socket.socketpair(socket.AF_UNIX, kind)[0]
    look("pair", lambda: pair(socket.SOCK_DGRAM).sendto(b"spy", outside + "/letters"))
    look("raw pair", lambda: pair(socket.SOCK_RAW).sendto(b"spy", outside + "/letters"))
    look("stream pair", lambda: pair(socket.SOCK_STREAM).sendto(b"spy", outside + "/stream"))
    look("reconnected", lambda: pair(socket.SOCK_STREAM).connect(outside + "/stream"))
    os.chdir(outside)
    look("relative", lambda: connect("stream"))
    os.chdir(home)
    own = socket.socket(socket.AF_UNIX)
    own.bind("own")
    own.listen(1)
    connect(home + "/own")
    connect("own")
    os.unlink("way")
    return json.dumps([reached, refused, own.getsockname()]).encode()
"""


def test_paths_of_sockets_are_those_of_its_own_folders(
    bench: Bench,  # noqa: F811
    outsider: Outsider,
) -> None:
    answer = bench.train(TALK.replace("OUTSIDE", repr(str(outsider.folder))))
    reached, refused, own = json.loads(answer["artifact"])

    assert (reached, outsider.visits, outsider.letter()) == ([], 0, None)
    assert (len(refused), own) == (12, "own")


CHEAT = """
    import ctypes, random, socket, struct, threading, time
    libc = ctypes.CDLL(None, use_errno=True)
    own, outside = os.environ["HOME"] + "/own", OUTSIDE + "/stream"
    server = socket.socket(socket.AF_UNIX)
    server.bind(own)
    server.listen(4000)
    named = [struct.pack("=H108s", socket.AF_UNIX, path.encode()) for path in (own, outside)]
    address = ctypes.create_string_buffer(named[0], 110)
    def flip():
        while True:
            for name in reversed(named):
                ctypes.memmove(address, name, 110)
    sys.setswitchinterval(1e-5)
    threading.Thread(target=flip, daemon=True).start()
    ended = []
    until = time.monotonic() + 20
    while len(ended) < 300 or len(set(ended)) < 2 and time.monotonic() < until:
        with socket.socket(socket.AF_UNIX) as made:
            ended.append(libc.connect(made.fileno(), address, 110))
        time.sleep(random.random() / 5000)
    folder = os.path.dirname(os.environ["HOME"]) + "/train.new"
    open(folder + "/artifact", "w").write(json.dumps([ended.count(0), ended.count(-1)]))
    open(folder + "/output.json", "w").write('{"result": {"bytes": 1}}')
    os._exit(0)
"""


def test_a_path_that_changes_during_a_look_leads_nowhere(
    bench: Bench,  # noqa: F811
    outsider: Outsider,
) -> None:
    answer = bench.train(CHEAT.replace("OUTSIDE", repr(str(outsider.folder))))
    reached, refused = json.loads(answer["artifact"])

    assert min(reached, refused) > 0
    assert outsider.visits == 0


LISTEN = """
    import socket
    refused, heard, made = [], [], []
    def listen(name, address, family=socket.AF_INET, bind=True):
        one = socket.socket(family)
        made.append(one)
        try:
            if bind:
                one.bind(address)
            one.listen(5)
        except OSError:
            refused.append(name)
    listen("this machine", ("127.0.0.1", 0))
    listen("anybody", ("0.0.0.0", 0))
    listen("anybody by 6", ("::", 0), socket.AF_INET6)
    listen("mapped", ("::ffff:127.0.0.1", 0), socket.AF_INET6)
    listen("not bound", None, bind=False)
    listen("not bound by 6", None, socket.AF_INET6, bind=False)
    listen("another address", (ADDRESS, 0))
    listen("another address, mapped", ("::ffff:" + ADDRESS, 0), socket.AF_INET6)
    listen("a port of its choice", ("127.0.0.1", 28765))
    listen("no file system", "\\0slipway", socket.AF_UNIX)
    made[0].listen(7)
    inodes = {str(os.fstat(one.fileno()).st_ino) for one in made}
    for file in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in list(open(file))[1:]:
            words = line.split()
            if words[3] == "0A" and words[9] in inodes:
                heard.append(words[1].partition(":")[0])
    return json.dumps([refused, sorted(heard)]).encode()
"""
LOOPBACK = ["00000000000000000000000001000000", "0000000000000000FFFF00000100007F", "0100007F", "0100007F"]


def test_what_listens_is_heard_on_this_machine_alone(
    bench: Bench,  # noqa: F811
    outsider: Outsider,
) -> None:
    answer = bench.train(LISTEN.replace("ADDRESS", repr(own_address())))
    refused, heard = json.loads(answer["artifact"])

    assert heard == LOOPBACK
    assert len(refused) == 6


def own_address() -> str:
    """One by which other machines find this one, where it has a network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            return "192.0.2.1"
        return str(probe.getsockname()[0])


def test_where_nobody_can_be_asked_nothing_listens() -> None:
    code = """
from common.errors import RejectedError
from ml.runtime import invoke
from ml.sandbox.confine import kernel, seccomp
import socket
kernel.prctl(kernel.SET_NO_NEW_PRIVS, 1)
seccomp.allow_only_tcp(notify=False)
refused = []
for name, act in {
    "path": lambda: socket.socket(socket.AF_UNIX),
    "listen": lambda: socket.create_server(("127.0.0.1", 0)),
    "pair": socket.socketpair,
    "TCP": socket.socket,
}.items():
    try:
        act()
    except OSError:
        refused.append(name)
print(refused)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout == "['path', 'listen']\n"


@pytest.mark.parametrize("how", ["refuse_sockets()", "allow_only_tcp(notify=False)"])
def test_pairs_of_sockets_are_of_this_machine_alone(how: str) -> None:
    """The kernel makes pairs of TIPC as well, whose messages may go to other machines."""
    code = f"""
from ml.sandbox.confine import kernel, seccomp
import errno, socket
kernel.prctl(kernel.SET_NO_NEW_PRIVS, 1)
seccomp.{how}
for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
    socket.socketpair(socket.AF_UNIX, kind)
    try:
        socket.socketpair(socket.AF_TIPC, kind)
    except OSError as error:
        print(errno.errorcode[error.errno])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout == "EACCES\nEACCES\n"


ASKED_FOR_A_SOCKET = """
import socket
try:
    socket.socket(socket.AF_INET6).close()
    said = "a network"
except PermissionError:
    said = "no network"
print(said, flush=True)
"""


@pytest.mark.parametrize(
    ("asked", "said"),
    [("train", "a network"), *((one, "no network") for one in ("evaluate", "replay", "reference_data"))],
)
def test_only_training_has_a_network(
    asked: str,
    said: str,
    bare_environment: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source/main.py").write_text(ASKED_FOR_A_SOCKET)
    held = Sandbox(tmp_path.resolve(), "one", None, 1 << 30, 1 << 30, 600, (443,))
    room = invoke.ModelRuntime(bare_environment, tmp_path / "source", tmp_path / "scratch", held)
    question = {"entry_point": "main:missing", "kind": "regression"}
    with suppress(RejectedError):  # it has no entry point
        invoke.invoke(
            asked, question, runtime=room, folder=tmp_path / "new", log=tmp_path / "log", timeout=30
        )

    assert (tmp_path / "log").read_text().splitlines()[0] == said
