"""What git's stderr says, without a login."""

import pytest

from common.git_login import find_error_line


@pytest.mark.parametrize(
    ("stderr", "line"),
    [
        (b"Cloning\nfatal: bad object\nfatal: gone", "bad object"),
        (b"hint: see\nerror: RPC failed\n", "error: RPC failed"),
        (b"remote: ERROR: no such project\nfatal: gone", "remote: ERROR: no such project"),
        (b"killed\n", "killed"),
        (b"fatal: https://me:secret@host/a.git is no repository", "https://***@host/a.git is no repository"),
        (b" \n", "git printed nothing"),
        (b"fatal: \xff", "\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_the_line_of_gits_stderr_with_the_cause(stderr: bytes, line: str) -> None:
    assert find_error_line(stderr) == line
