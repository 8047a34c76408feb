"""The build of one environment by uv: staged, assembled, checked, renamed into place."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from common.system.durable import move_into_place
from ml.environments import assemble, local_parts, locks, uv
from ml.environments.interpreters import find_interpreter, own_interpreter
from ml.environments.locked_environment import LockedEnvironment
from ml.paths import HomeLayout
from ml.sandbox import file_access, rmtree
from ml.sandbox.interpreter_record import Interpreter, write_record
from ml.sandbox.sandbox import Sandbox


@dataclass(frozen=True)
class EnvironmentBuilder:
    """The builder of one environment; with `allow_builds`, code of packages runs while they are built."""

    resolved: LockedEnvironment
    home: HomeLayout
    sandbox: Sandbox
    log: Path
    source: Path  # a folder in `export`
    export: Path  # with `allow_builds` a copy that builds may write in
    allow_builds: bool = False

    def make_environment(self, folder: Path) -> None:
        """Install in a staging folder, assemble the environment from it, rename that into place."""
        base = own_interpreter()
        if self.resolved.python != base.version:
            base = find_interpreter(self.resolved.python, self.home, self.log, self.sandbox)
        staged, new = folder.with_suffix(".staged"), folder.with_suffix(".new")
        try:
            for leftover in (folder, staged, new):  # `folder`: without its record it cannot be trusted
                rmtree.remove_tree(leftover)
            staged.mkdir(parents=True)
            new.mkdir()
            self.install_packages(staged.resolve(), base)
            assemble.assemble_environment(staged, new, base)
            write_record(folder, base)
            move_into_place(new, folder)
        finally:
            rmtree.remove_tree(staged)
            rmtree.remove_tree(new)

    def install_packages(self, staged: Path, base: Interpreter) -> None:
        """Run uv to install the lock into `staged`, which is owned by us and checked when this returns."""
        lock = staged.with_name(locks.lock_file_name(staged.stem, self.resolved.lock))
        lock.write_text(local_parts.to_absolute_paths(self.resolved.lock, self.source.resolve()))
        model_cache = self.home.model_package_cache(self.sandbox.model)
        run = partial(
            uv.run,
            cwd=staged,
            cache=model_cache if self.allow_builds else self.home.package_cache,
            pythons=self.home.pythons,
            log=self.log,
            sandbox=self.sandbox,
            writes=[staged, self.export] if self.allow_builds else [staged],
            allow_builds=self.allow_builds,
        )
        venv: list[str | Path] = ["venv", "--quiet", "--no-project", "--relocatable", "--allow-existing"]
        run([*venv, "--python", base.executable, staged], reads=base.prefixes)
        configuration = assemble.read_configuration(staged)
        if locks.list_packages(self.resolved.lock):
            options: list[str | Path] = ["--link-mode=copy", "--no-deps"]
            options += ["--python", staged / "bin/python", "--requirements", lock]
            if not locks.has_hashes(self.resolved.lock):
                # the cache tells packages apart by hash alone, which this lock lacks: it may mix indexes
                options.append("--no-cache")
            source_reads = [self.export] if local_parts.has_parts(self.resolved.lock) else []
            run(["pip", "install", *options], reads=[lock, *base.prefixes, *source_reads], lock=lock)
        uv.compile_bytecode(staged, base, self.log, self.sandbox, allow_builds=self.allow_builds)
        file_access.chown_tree(staged)
        assemble.secure_tree(staged)
        assemble.check_staged(staged, configuration, base)
