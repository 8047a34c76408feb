"""What a child process prints is read within bounds of bytes and of time."""

import subprocess
import sys
import tracemalloc

import pytest

from common.system.bounded_output import OutputTooLongError, read_output

ENDLESS = "import sys\nwhile True: sys.{}.write('x' * 4096)"


def start(program: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_both_outputs_are_read_and_the_exit_code_is_known() -> None:
    process = start("import sys; print('a' * 300_000); sys.stderr.write('b' * 300_000 + 'why'); sys.exit(3)")
    out, wrong = read_output(process, 1 << 20, 60)

    assert out == b"a" * 300_000 + b"\n"
    assert wrong == b"b" * ((64 << 10) - 3) + b"why"
    assert process.returncode == 3


@pytest.mark.parametrize(
    ("stream", "error"), [("stdout", OutputTooLongError), ("stderr", subprocess.TimeoutExpired)]
)
def test_output_without_end_takes_no_memory(stream: str, error: type[Exception]) -> None:
    process = start(ENDLESS.format(stream))
    tracemalloc.start()
    try:
        with pytest.raises(error):
            read_output(process, 1 << 20, 2.0)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
        process.kill()
        process.wait()


def test_a_process_that_closes_its_outputs_and_stays_is_given_up() -> None:
    process = start("import os, time; os.close(1); os.close(2); time.sleep(600)")
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            read_output(process, 1 << 20, 0.5)
    finally:
        process.kill()
        process.wait()
