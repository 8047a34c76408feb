"""A model writes on the line to the gateway itself: it ends its own worker, and nobody else waits for it."""

import json
import re
import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from ml.serving.workers import schemas, wire
from ml.serving.workers.wire import FrameReader, ProtocolError
from tests.harness.waiting import wait_until
from tests.ml.serving.support import Shop, main_py
from tests.ml.serving.test_workers import workers

MIB = 1 << 20

# replaces what makes a row's reply; `raw(kind, payload)` is a reply, `line` the file descriptor of the socket
HEAD = """
import socket, struct, threading

ours = sys.modules["_slipway_model.worker"]
line = int(sys.argv[-1])
question = 0


def raw(kind, payload, length=None):
    return struct.pack("!IIB", len(payload) if length is None else length, question, kind) + payload


def of_row(number, answer):
    global question
    question = number
    features = json.loads(answer)["prediction"]
    if not isinstance(features, dict) or "reply" not in features:
        return honest(number, answer)
    return eval(features["reply"], globals())


import json
import re
honest, ours.of_row = ours.of_row, of_row
"""


@pytest.fixture
def hostile(make_shop: Callable[..., Shop], tmp_path: Path) -> Iterator[Shop]:
    """The model `other`, whose replies are what the features say, beside the honest model `one`."""
    file = tmp_path / "models.toml"
    url = (tmp_path / "repository").as_uri()
    file.write_text(
        "".join(f'[{name}]\nrepository = "acme/{name}"\nclone_url = "{url}"\n' for name in ("one", "other"))
    )
    with make_shop(SLIPWAY_REPOSITORY="", SLIPWAY_CLONE_URL="", SLIPWAY_MODELS=str(file)).serving() as shop:
        shop.publish(main_py("return 1"))
        shop.model = "other"
        shop.publish(main_py("return features", head=HEAD))
        yield shop


def ask(shop: Shop, reply: str, **more: Any) -> httpx.Response:
    """The answer to features for which the worker replies with what the expression `reply` gives."""
    return shop.predict({"reply": reply, **more}, "/models/other/predict")


def one_answers(shop: Shop) -> bool:
    return bool(shop.predict(0, "/models/one/predict").json()["prediction"] == 1)


def test_a_reply_that_is_too_large_is_refused_by_its_header(hostile: Shop) -> None:
    """Its body is never sent, so that whoever waits for one waits in vain."""
    answer = ask(hostile, f"raw(1, b'', length={4 * MIB + 1})")

    assert answer.status_code == 503
    assert "it gave an answer of 4,194,305 bytes, and at most 4,194,304 are taken" in answer.json()["detail"]
    fault = ask(hostile, f"raw(2, b'', length={MIB})")
    assert "at most 32,768 are taken" in fault.json()["detail"]
    wait_until(lambda: hostile.predict(7, "/models/other/predict").status_code == 200, 30, "it is replaced")


@pytest.mark.parametrize(
    "payload",
    [
        '1,"release":99,"model":"forged"',
        '1}{"prediction":2',
        '{"a":1',
        "",
        "NaN",
        "1 2",
        '"\\xff"',
        '"\\x00"',
        "[" * 5000 + "]" * 5000,
        '"' + "a" * 70_000,
        "[" + "1," * 50_000 + '1],"release":99,"model":["forged"]',
        '"' + "a" * 70_000 + '\\xff"',
    ],
    ids=lambda payload: payload[:12],
)
def test_what_is_no_single_json_value_reaches_no_client(hostile: Shop, payload: str) -> None:
    answer = ask(hostile, f"raw(1, b{payload!r})".replace("\\\\x", "\\x"))

    assert answer.status_code == 503
    assert "it returned a prediction that is not JSON" in answer.json()["detail"]
    assert answer.json()["release"] == 2
    assert one_answers(hostile)


def test_an_answers_label_cannot_be_named_twice(hostile: Shop) -> None:
    forged = ask(hostile, """raw(1, b'{"release": 99, "model": "forged"}')""")

    pairs = json.loads(forged.content, object_pairs_hook=lambda found: found)
    assert [name for name, _ in pairs] == ["prediction", "model", "release", "commit"]
    assert forged.json()["release"] == 2


def test_a_large_prediction_comes_as_it_is(hostile: Shop) -> None:
    for size in (65_535, 65_536, 65_537, MIB, 4 * MIB):
        answer = ask(hostile, f"""raw(1, b'"' + b'a' * {size - 2} + b'"')""")
        assert answer.status_code == 200, answer.text[:300]
        assert answer.json() == {"prediction": "a" * (size - 2), **label(hostile)}
        assert int(answer.headers["Content-Length"]) == len(answer.content)

    rows = [{"reply": f"raw(1, b'[{number}' + b',1' * {many} + b']')"} for number, many in ((1, 9), (2, MIB))]
    for path, name in (("/v1/models/other:predict", "instances"), ("/models/other/invocations", "inputs")):
        many = hostile.client.post(hostile.url + path, json={name: rows})
        assert many.json()["predictions"] == [[1] + 9 * [1], [2] + MIB * [1]]
        assert many.json()["release"] == 2


def test_what_is_taken_apart_is_bounded(hostile: Shop) -> None:
    reply = f"raw(1, b'[1' + b',1' * {MIB} + b']')"

    data = [json.dumps({"reply": reply})]
    tensor = {"name": "x", "datatype": "BYTES", "shape": [1], "data": data}
    tensor["parameters"] = {"content_type": "application/json"}
    v2 = hostile.client.post(hostile.url + "/v2/models/other/infer", json={"inputs": [tensor]})
    page = hostile.get("/models/other/predict", "text/html", params={"reply": reply, "more": "1"})
    table = hostile.get("/models/other/predict.csv", params={"reply": reply, "more": "1"})
    rows = [{"reply": f"raw(1, b'[1' + b',1' * {MIB} + b']')"}] * 9
    many = hostile.client.post(hostile.url + "/v1/models/other:predict", json={"instances": rows})

    for answer in (v2, page, table, many):
        assert answer.status_code == 413, answer.text[-3000:]
        assert "too large" in answer.text
    whole = hostile.get("/models/other/predict", params={"reply": reply, "more": "1"})
    assert len(whole.json()["prediction"]) == MIB + 1


def label(shop: Shop) -> dict[str, Any]:
    return {"model": "other", "release": 2, "commit": shop.release(2).commit}


def validators() -> list[psutil.Process]:
    running = [p for p in psutil.Process().children() if p.status() != psutil.STATUS_ZOMBIE]
    return [p for p in running if "validator.py" in " ".join(p.cmdline())]


def test_others_are_answered_while_a_large_prediction_is_checked(hostile: Shop) -> None:
    large = "raw(1, b'[1' + b',1' * 99_999 + b']')"
    assert validators() == []  # nobody needs one yet
    assert ask(hostile, large).status_code == 200
    [validator] = validators()
    validator.send_signal(signal.SIGSTOP)

    with ThreadPoolExecutor(1) as client:
        answer = client.submit(ask, hostile, large)
        wait_until(lambda: validator.status() == "stopped", 10, "the validator stands still")
        assert all(one_answers(hostile) for _ in range(100))
        assert not answer.done()
        validator.send_signal(signal.SIGCONT)

        assert len(answer.result().json()["prediction"]) == 100_000

    validator.kill()
    wait_until(lambda: not validators(), 10, "it is gone")
    assert ask(hostile, large).status_code == 503  # not the model's fault: its worker goes on
    assert ask(hostile, large).status_code == 200
    assert len(validators()) == 1


def test_answers_that_nobody_takes_are_bounded(hostile: Shop) -> None:
    reply = f"raw(1, b'[1' + b',1' * {2 * MIB - 2} + b']')"
    body = json.dumps({"instances": [{"reply": reply}] * 4}).encode()
    request = b"POST /v1/models/other:predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    host, port = hostile.url.removeprefix("http://").split(":")
    lazy = []

    def refused() -> bool:
        client = socket.create_connection((host, int(port)))
        lazy.append(client)
        client.sendall(request + body)
        return client.recv(12, socket.MSG_PEEK | socket.MSG_WAITALL).endswith(b"503")

    try:
        assert [refused() for _ in range(5)] == [False] * 4 + [True]
        assert one_answers(hostile)
    finally:
        for client in lazy:
            client.close()
    wait_until(lambda: ask(hostile, reply).status_code == 200, 30, "there is room again")


def test_a_reply_may_come_byte_by_byte(hostile: Shop) -> None:
    slowly = "[os.write(line, bytes([byte])) for byte in raw(1, b'[1' + b',1' * {} + b']')] and b''"

    for many in (10, 40_000):
        assert ask(hostile, slowly.format(many)).json()["prediction"] == [1] * (many + 1)


def test_a_reply_without_an_end_is_given_up(
    make_shop: Callable[..., Shop],
) -> None:
    with make_shop(SLIPWAY_PREDICT_TIMEOUT="1").serving() as shop:
        shop.publish(main_py("return features", head=HEAD))
        for length in (100, 4 * MIB):
            answer = shop.predict({"reply": f"raw(1, b'[1,', length={length})"})
            assert answer.status_code == 504
        wait_until(lambda: shop.predict(7).status_code == 200, 30, "its worker is replaced")


def test_what_was_not_asked_ends_the_worker(hostile: Shop) -> None:
    before = {process.pid for process in workers(hostile)}

    assert ask(hostile, "raw(1, b'1') + raw(1, b'2')").json()["prediction"] == 1

    def replaced() -> bool:
        return len(before & {process.pid for process in workers(hostile)}) == 1 and len(workers(hostile)) == 2

    wait_until(replaced, 30, "its worker is another one, and that of `one` the same")
    assert hostile.predict(7, "/models/other/predict").json()["prediction"] == 7


def test_what_a_worker_says_of_an_error_is_short_and_plain(hostile: Shop) -> None:
    error = {"type": "Bad\x1b[31m\r\nX-Injected: 1\0" + "x" * 500, "message": "\x9b\ud800" + "y" * 5000}
    answer = ask(hostile, f"raw(2, b{json.dumps({'error': error})!r})")

    assert answer.status_code == 500
    assert "X-Injected" not in answer.headers
    assert answer.json()["error"].startswith(r"Bad\x1b[31m\r" + "\nX-Injected: 1\\x00xxx")
    assert r"\x9b\ud800yyy" in answer.json()["detail"]
    assert len(answer.content) < 4000
    for payload in ("[" * 900, '{"error": 1}', "1", '{"invalid": {"a": 1}}', "\xff"):
        assert ask(hostile, f"raw(2, {payload.encode('latin-1')!r})").status_code in (422, 500)


GREETING = """
import json
import re
sys.modules["_slipway_model.worker"].fitting = lambda _: """


@pytest.mark.parametrize(
    ("hello", "reason"),
    [
        ('{"examples": ["x" * 300_000]}', "at most 262,144 are taken: what examples() gives"),
        ('{"schema": {"enum": ["x" * 300_000]}}', "at most 262,144 are taken: what examples() gives"),
        ('{"examples": [json.loads("[" * 900 + "]" * 900)]}', "JSON that is nested too deep"),
        ('{"examples": 5}', "Expected `array | null`"),
        ('{"error": {"message": "a\\0b\\x1b[2J"}}', "a\\x00b\\x1b[2J"),
        ('{"schema": {"properties": [1]}}', "not a JSON Schema: it: properties has to be an object"),
        ('{"schema": {"$defs": {"a": {"anyOf": 5}}}}', "not a JSON Schema: it: a: anyOf has to be a list"),
        ('{"schema": {"type": "array", "items": [{}]}}', "not a JSON Schema: it: items has to be an object"),
    ],
    ids=["examples", "schema", "deep", "wrong", "NUL", "properties", "anyOf", "items"],
)
def test_a_greeting_that_is_no_good_starts_no_release(shop: Shop, hello: str, reason: str) -> None:
    shop.publish(main_py("return 1"))

    release = shop.publish(main_py("return 2", head=GREETING + hello), wait=False)

    assert reason in str(shop.until(release, "failed").reason)
    assert shop.predict(0).json()["prediction"] == 1


def test_every_word_of_a_schema_is_held_to_its_form() -> None:
    for word in schemas.KEYWORD_RULES:
        wrong: Any = (
            0.5 if word not in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum") else "1"
        )
        for schema in (
            {word: wrong},
            {"properties": {"x": {word: wrong}}},
            {"anyOf": [{"items": {word: wrong}}]},
        ):
            with pytest.raises(ProtocolError, match=re.escape(word)):
                wire.parse_handshake(json.dumps({"schema": schema}).encode())
        with pytest.raises(ProtocolError, match="not a JSON Schema"):
            wire.parse_handshake(json.dumps({"schema": {"properties": {"x": wrong}}}).encode())


def test_true_and_false_are_schemas(shop: Shop) -> None:
    schema = {"type": "object", "properties": {"x": True, "y": False}, "examples": [{"x": 1}]}
    shop.publish(main_py("return features", head=GREETING + repr({"schema": schema})))

    for path in ("/", "/openapi.json", "/v2/models/web-traffic"):
        assert shop.get(path, "text/html" if path == "/" else "application/json").status_code == 200
    body = {"inputs": [{"name": "x", "datatype": "INT64", "shape": [1], "data": [7]}]}
    assert shop.predict(body, "/v2/models/web-traffic/infer").status_code == 200
    assert shop.client.get(f"{shop.url}/predict?x=3").json()["prediction"] == {"x": 3}


def test_half_a_character_in_the_reason_hides_it_from_nobody(shop: Shop) -> None:
    load = "def load(self, model): raise FileNotFoundError('caf\\udce9.csv')"

    release = shop.publish(main_py(more=load), wait=False)

    assert r"FileNotFoundError: caf\udce9.csv" in str(shop.until(release, "failed").reason)


def test_of_large_examples_one_that_fits_is_used(shop: Shop) -> None:
    examples = "def examples(self): return ['x' * 1_000_000, {}, 3]"
    shop.publish(main_py("assert features == [1]\nreturn 1", more=examples.format("[1]")))
    assert shop.get("/openapi.json").status_code == 200

    release = shop.publish(main_py("assert features == [1]", more=examples.format("[2]")), wait=False)

    assert "features: [2], the first of examples()" in str(shop.until(release, "failed").reason)


def test_a_schema_that_is_too_large_is_named(shop: Shop) -> None:
    more = "def info(self): return {'features': {'enum': ['x' * 300_000]}}"

    release = shop.publish(main_py("return 1", more=more), wait=False)

    reason = str(shop.until(release, "failed").reason)
    assert "the schema of predict()'s features has more than 196,608 bytes" in reason
    assert 'info() smaller "features"' in reason


def test_nothing_is_kept_of_what_is_refused() -> None:
    taken: list[Any] = []
    frames = FrameReader(taken.append, taken.append, lambda *other: taken.append(other))
    frames.expect_replies(1, 2)
    small = wire.REPLY_HEADER.pack(1, 1, wire.PREDICTION) + b"7"

    with pytest.raises(ProtocolError, match="reply to an unknown request"):
        frames.feed(small * 3)

    assert taken == [[b"7", b"7"]]
    for header in ((1, 2, 1), (1, 1, 9), (5 * MIB, 1, 1), (1, 1, wire.HANDSHAKE)):
        frames = FrameReader(taken.append, taken.append, lambda *other: taken.append(other))
        frames.expect_replies(1, 1)
        with pytest.raises(ProtocolError):
            frames.feed(wire.REPLY_HEADER.pack(*header))
    assert len(taken) == 1


def test_pieces_are_never_small_however_they_come() -> None:
    large: list[wire.LargePrediction] = []
    frames = FrameReader(lambda _: None, large.append, lambda *_: None)
    payload = bytes(range(256)) * 1024
    said = wire.REPLY_HEADER.pack(len(payload), 1, wire.PREDICTION) + payload
    for step in (1, 7, 70_000, len(said)):
        frames.expect_replies(1, 1)
        for at in range(0, len(said), step):
            frames.feed(said[at : at + step])
        found = large.pop()
        assert b"".join(found.pieces) == payload
        assert all(len(piece) >= wire.MIN_PIECE_BYTES for piece in found.pieces[:-1])


def test_half_a_character_is_named(shop: Shop) -> None:
    shop.publish(main_py("if features == 1: raise ValueError('\\ud83d')\nreturn features and '\\ud83d'"))

    prediction, error = shop.predict(2), shop.predict(1)

    assert "half a character" in prediction.json()["detail"]
    assert r"ValueError: \ud83d" in error.json()["detail"]
    assert shop.predict(0).json()["prediction"] == 0
