"""httpx for addresses without TLS: no certificates are read, which takes each client 30 ms."""

from functools import partial

import httpx

get = partial(httpx.get, verify=False)
post = partial(httpx.post, verify=False)
put = partial(httpx.put, verify=False)
request = partial(httpx.request, verify=False)
Client = partial(httpx.Client, verify=False)
