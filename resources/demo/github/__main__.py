"""The stand-in on its own, full of made-up pull requests: `python -m resources.demo.github --prs 1000`."""

import argparse
import signal
import sys

from resources.demo.github.pulls import PullRequests, fill
from resources.demo.github.server import serve


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m resources.demo.github", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--prs", type=int, default=1000, help="how many pull requests")
    parser.add_argument("--repository", default="acme/widgets")
    parser.add_argument("--token", help="refuse every other token")
    options = parser.parse_args()

    pulls = PullRequests(options.repository)
    fill(pulls, options.prs)
    github = serve(pulls, port=options.port, token=options.token)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(github.url, flush=True)  # noqa: T201 (who starts it reads the address here)
    try:
        github.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        github.server_close()


if __name__ == "__main__":
    main()
