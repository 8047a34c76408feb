"""What data scientists' code does all day works in the sandbox as it does outside."""

import json
from pathlib import Path
from textwrap import dedent

from tests.harness.environments import default_environment  # noqa: F401
from tests.ml.sandbox.test_hostile import Bench, bare_environment, bench  # noqa: F401

HEAD = """
    import asyncio, functools, multiprocessing, shutil, socket, sqlite3, subprocess, tempfile, threading
    from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
    from multiprocessing import reduction, shared_memory
    import joblib, numpy, resource, signal, time
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV

    os.environ["OMP_PROC_BIND"] = "true"

    def pool():
        with multiprocessing.Pool(2) as workers:
            return workers.map(abs, [-1, 2])

    def manager():
        with multiprocessing.Manager() as shared:
            kept = shared.dict(one=1)
            worker = multiprocessing.Process(target=kept.__setitem__, args=("two", 2))
            worker.start()
            worker.join()
            return dict(kept)

    def shared():
        block = shared_memory.SharedMemory(create=True, size=100)
        try:
            again = shared_memory.SharedMemory(name=block.name)
            again.buf[0] = 7
            return block.buf[0]
        finally:
            again.close()
            block.close()
            block.unlink()

    def handed_over():
        # as torch does with tensors of another process
        reader, writer = multiprocessing.Pipe(False)
        inlet, outlet = os.pipe()
        worker = multiprocessing.Process(target=take, args=(reader, outlet))
        worker.start()
        writer.send(reduction.DupFd(inlet))
        worker.join()
        return worker.exitcode

    def take(reader, outlet):
        os.close(reader.recv().detach())

    def terminated():
        worker = multiprocessing.Process(target=time.sleep, args=(60,))
        worker.start()
        worker.terminate()
        worker.join()
        return worker.exitcode

    def executors():
        with ProcessPoolExecutor(2) as processes, ThreadPoolExecutor(2) as threads:
            return [*processes.map(abs, [-3]), *threads.map(abs, [-4])]

    def loky():
        return joblib.Parallel(n_jobs=2)(joblib.delayed(abs)(number) for number in (-1, -2))

    def forest():
        rows = numpy.arange(40).reshape(20, 2)
        found = RandomForestClassifier(20, n_jobs=2).fit(rows, rows[:, 0] > 20)
        search = GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=2, n_jobs=2)
        return [int(found.predict([[38, 39]])[0]), len(search.fit(rows, [0, 1] * 10).cv_results_["params"])]

    def algebra():
        made = numpy.random.default_rng(0).random((600, 600))
        return bool((made @ made).sum() > 0)

    def program():
        command = ["sh", "-c", "echo $((1 + 1)); nice -n 5 true"]
        return subprocess.run(command, capture_output=True, text=True).stdout

    async def gathered():
        proc = await asyncio.create_subprocess_exec("echo", "hello", stdout=asyncio.subprocess.PIPE)
        said, _ = await proc.communicate()
        path = tempfile.mkdtemp() + "/socket"
        async def answer(reader, writer):
            writer.write(await reader.readline())
            await writer.drain()
            writer.close()
        async with await asyncio.start_unix_server(answer, path):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b"echoed")
            writer.write_eof()
            return said.decode() + (await reader.read()).decode()

    def threads():
        found = []
        worker = threading.Thread(target=found.append, args=(1,))
        worker.start()
        worker.join()
        return found

    def database():
        with sqlite3.connect(tempfile.mkdtemp() + "/kept.sqlite") as made:
            made.execute("create table kept (one)")
            made.execute("insert into kept values (1)")
            return made.execute("select * from kept").fetchall()

    def files():
        with tempfile.TemporaryDirectory() as folder:
            os.mkdir(folder + "/one")
            open(folder + "/one/script", "w").write("x")
            os.chmod(folder + "/one/script", 0o755)
            shutil.copytree(folder + "/one", folder + "/two")
            os.utime(folder + "/two/script", (1, 1))
            return oct(os.stat(folder + "/two/script").st_mode & 0o777)

    def pair():
        one, other = socket.socketpair()
        one.sendall(b"x")
        return other.recv(1).decode()

    def free_port():
        with socket.socket() as made:
            made.bind(("", 0))
            made.listen()
            return made.getsockname()[0]

    def interfaces():
        socket.getaddrinfo("localhost", 443, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        return socket.if_nameindex()[0][1]

    def itself():
        os.nice(1)
        os.sched_setaffinity(0, os.sched_getaffinity(0))
        resource.setrlimit(resource.RLIMIT_NOFILE, (1000, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        os.kill(os.getpid(), 0)
        return resource.getrlimit(resource.RLIMIT_NOFILE)[0]

    def compiled():
        import ctypes
        each = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(lambda number: number + 1)
        return each(1)

    ZOO = [pool, manager, shared, handed_over, terminated, executors, loky, forest, algebra, program, threads,
           database, files, pair, free_port, interfaces, itself, compiled]
"""
BODY = """
    said = {}
    for animal in ZOO:
        try:
            said[animal.__name__] = animal()
        except Exception as error:
            said[animal.__name__] = repr(error)
    said["gathered"] = asyncio.run(gathered())
    return json.dumps(said).encode()
"""
SAID = {
    "pool": [1, 2],
    "manager": {"one": 1, "two": 2},
    "shared": 7,
    "handed_over": 0,
    "terminated": -15,
    "executors": [3, 4],
    "loky": [1, 2],
    "forest": [1, 2],
    "algebra": True,
    "program": "2\n",
    "threads": [1],
    "database": [[1]],
    "files": "0o755",
    "pair": "x",
    "free_port": "127.0.0.1",
    "interfaces": "lo",
    "itself": 1000,
    "compiled": 2,
    "gathered": "hello\nechoed",
}


def test_what_training_code_does_all_day_works(
    bench: Bench,  # noqa: F811
    default_environment: Path,  # noqa: F811
) -> None:
    bench.environment = default_environment
    answer = bench.train(BODY, head=dedent(HEAD))

    assert "artifact" in answer, answer
    assert json.loads(answer["artifact"]) == SAID
