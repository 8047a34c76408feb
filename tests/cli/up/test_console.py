"""One log: whole lines, nothing that could play with the terminal, files that do not grow for ever."""

import io
from pathlib import Path
from threading import Thread

import pytest

from cli.up import console
from cli.up.console import Console


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_of_several_processes_never_mix(tmp_path: Path) -> None:
    seen = io.StringIO()
    log = Console(tmp_path, seen)
    names = ["vcs", "watch", "serve"]

    def talk(name: str) -> None:
        for _ in range(200):
            log.write_line(name, name * 20 + "\n")

    threads = [Thread(target=talk, args=[name]) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = seen.getvalue().splitlines()
    assert sorted(lines) == sorted(f"{name:<8} | {name * 20}" for name in names for _ in range(200))
    assert (tmp_path / "vcs.log").read_text() == ("vcs" * 20 + "\n") * 200


def test_colours_are_for_terminals_that_want_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured = Terminal()
    Console(tmp_path, coloured).write_line("vcs", "hello")
    assert "\033[" in coloured.getvalue()

    monkeypatch.setenv("NO_COLOR", "1")
    plain = Terminal()
    Console(tmp_path, plain).write_line("vcs", "hello")
    assert plain.getvalue() == "vcs      | hello\n"


def test_a_child_cannot_play_with_the_terminal(tmp_path: Path) -> None:
    seen = io.StringIO()
    Console(tmp_path, seen).write_line("vcs", "\033[2Jgone? \tÄ ✓\r\n")
    assert seen.getvalue() == "vcs      | \\x1b[2Jgone? \tÄ ✓\n"


def test_a_terminal_without_unicode_gets_what_it_can_show(tmp_path: Path) -> None:
    shown = io.BytesIO()
    terminal = io.TextIOWrapper(shown, encoding="ascii")
    Console(tmp_path, terminal).write_line("vcs", "Ä ✓")
    assert shown.getvalue() == b"vcs      | \\xc4 \\u2713\n"


def test_a_reader_who_went_away_is_no_reason_to_fail(tmp_path: Path) -> None:
    gone = io.StringIO()
    log = Console(tmp_path, gone)
    gone.close()
    log.write_line("vcs", "hello")
    assert (tmp_path / "vcs.log").read_text() == "hello\n"


def test_a_log_file_is_bounded(tmp_path: Path) -> None:
    log = Console(tmp_path, io.StringIO())
    line = "x" * 65536
    for _ in range(3 * console.MAX_LOG_BYTES // len(line) + 1):
        log.write_line("vcs", line)
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert len(sizes) == 2
    assert sum(sizes) <= 2 * console.MAX_LOG_BYTES + 2 * len(line)
