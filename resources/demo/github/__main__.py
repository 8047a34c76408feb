"""The fake of GitHub on its own, with made-up pull requests: `python -m resources.demo.github --prs 1000`."""

import argparse
import signal
import sys

from resources.demo.github.pulls import FakePullRequests, generate_pulls
from resources.demo.github.server import create_server


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m resources.demo.github", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--prs", type=int, default=1000, help="how many pull requests")
    parser.add_argument("--repository", default="acme/widgets")
    parser.add_argument("--token", help="refuse every other token")
    options = parser.parse_args()

    pulls = FakePullRequests(options.repository)
    generate_pulls(pulls, options.prs)
    github = create_server(pulls, port=options.port, token=options.token)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(github.url, flush=True)  # noqa: T201 (whoever starts it reads the address here)
    try:
        github.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        github.server_close()


if __name__ == "__main__":
    main()
