"""Commits that git itself would not make, but a server may have."""

import subprocess
import zlib
from hashlib import sha1

from tests.harness.repositories import ModelRepository

HOSTILE = {
    "the year 9999": b"committer a <a> 253370764800 +0000\n\nlater",
    "before 1970": b"committer a <a> -62135596800 +0000\n\nlonger ago",
    "no number": b"committer a <a> 99999999999999999999999999999999 +9999\n\nno time",
    "no committer at all": b"\nwithout",
    "NUL": b"committer a <a> 1700000000 +0000\n\nbefore\0after",
    "no UTF-8": b"committer a <a> 1700000000 +0000\n\n\xff\xfe\xed\xa0\x80 caf\xe9",
    "an encoding": b"committer a <a> 1700000000 +0000\nencoding ISO-8859-1\n\ncaf\xe9",
    "an encoding that is none": b"committer a <a> 1700000000 +0000\nencoding zlib\n\ncaf\xe9",
    "a terminal's": b"committer a <a> 1700000000 +0000\n\n\x1b[2J\x07\xe2\x80\xaegone",
    "megabytes": b"committer a <a> 1700000000 +0000\n\n" + b"long " * (1 << 20),
    "nothing": b"committer a <a> 1700000000 +0000\n\n",
}


def write_commit(repository: ModelRepository, rest: bytes, author: bytes = b"Eve") -> str:
    """Put a commit on top of the branch that git itself would not make."""
    tree = repository.git("rev-parse", "HEAD^{tree}").encode()
    body = b"tree %s\nparent %s\nauthor %s <e> 1700000000 +0000\n%s" % (
        tree,
        repository.head.encode(),
        author,
        rest,
    )
    written = b"commit %d\0" % len(body) + body
    commit = sha1(written, usedforsecurity=False).hexdigest()
    file = repository.path / ".git/objects" / commit[:2] / commit[2:]
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(zlib.compress(written))
    (repository.path / ".git/refs/heads/main").write_text(commit + "\n")
    return commit


def write_references(repository: ModelRepository, kind: str, count: int) -> None:
    """Give the repository so many tags or branches, `v0000000` and on, all at its newest commit."""
    packed = repository.path / ".git/packed-refs"
    head = repository.head
    lines = "".join(f"{head} refs/{kind}/v{number:07}\n" for number in range(count))
    packed.write_text(f"# pack-refs with: peeled fully-peeled sorted \n{lines}")


def write_delta_bomb(repository: ModelRepository, size: int) -> str:
    """Put a commit on the branch whose one file of so many bytes is packed as copies of a small one."""
    piece = b"\0" * (1 << 16)
    content = b"\0" * size
    names = [sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False) for data in (piece, content)]
    copies = b"\x80" * (size // len(piece))  # each of 64 KiB from the start
    delta = varint(len(piece)) + varint(size) + copies
    pack = b"PACK" + (2).to_bytes(4) + (2).to_bytes(4)
    pack += header(3, len(piece)) + zlib.compress(piece)
    pack += header(7, len(delta)) + names[0].digest() + zlib.compress(delta)
    pack += sha1(pack, usedforsecurity=False).digest()
    file = repository.path / ".git/objects/pack/bomb.pack"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(pack)
    index = ["git", "index-pack", file]
    subprocess.run(index, cwd=repository.path, check=True, capture_output=True)
    for name, each in (("small.bin", names[0]), ("large.bin", names[1])):
        repository.git("update-index", "--add", "--cacheinfo", f"100644,{each.hexdigest()},{name}")
    repository.git("commit", "--quiet", "--message=Bomb")
    return repository.head


def varint(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def header(kind: int, size: int) -> bytes:
    """Return the header of an object in a pack."""
    first, rest = kind << 4 | size & 15, size >> 4
    return bytes([first | 128]) + varint(rest) if rest else bytes([first])
