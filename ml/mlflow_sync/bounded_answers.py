"""A bound on the answers of MLflow's own client, which reads each whole before it looks at it."""

from collections.abc import Iterator
from typing import Any

from requests import Response
from urllib3.response import HTTPResponse

from ml.mlflow_sync.rest import MAX_ANSWER_BYTES


class AnswerTooLongError(OSError):
    """An answer that is longer than any of MLflow's."""


def bound_answers() -> None:
    """Have every answer that this process reads by `requests` end with an error after `MAX_ANSWER_BYTES`.

    MLflow makes its sessions itself, and takes no adapter of ours.
    """
    read_chunks = Response.iter_content

    def read_bounded(answer: Response, *arguments: Any, **more: Any) -> Iterator[Any]:
        length = 0
        for chunk in read_chunks(answer, *arguments, **more):
            length += len(chunk)
            if length > MAX_ANSWER_BYTES:
                answer.close()
                raise AnswerTooLongError(
                    f"the answer has more than {MAX_ANSWER_BYTES >> 20} MiB: see what answers at this address"
                )
            yield chunk

    Response.iter_content = read_bounded
    # before a retry the rest of an answer is read only to use its connection again
    HTTPResponse.drain_conn = HTTPResponse.close  # type: ignore[method-assign]
