"""Proves that redis-py works against the server at WEIR_ADDR: both clients, RESP3 in each of its shapes, and RESP2."""

import asyncio
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import consumer_cases
import newer_cases
import stream_cases
from harness import Mode, prove, server_version, up_to

SHAPES = [
    ("RESP3", {}, 3),
    ("RESP3 by name", {"protocol": 3}, 3),
    ("RESP3 as it comes", {"legacy_responses": False}, 3),
    ("RESP2", {"protocol": 2}, 2),
]
THREADS_MAX = 64  # more than the blocked reads of all modes together


def modes():
    for kind, asynchronous in (("sync", False), ("asyncio", True)):
        for shape, options, proto in SHAPES:
            yield Mode(f"redis-py {kind} {shape}", asynchronous, options, proto)


async def main(address):
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS_MAX))
    cases = consumer_cases.CASES + stream_cases.CASES + up_to(await server_version(address), newer_cases.CASES)
    runs = [prove(cases, address, mode) for mode in modes()]
    runs += [prove(stream_cases.TIME_OUT_CASES, address, Mode(f"redis-py {kind} time-outs", asynchronous, {}))
             for kind, asynchronous in (("sync", False), ("asyncio", True))]
    return all(await asyncio.gather(*runs))


if __name__ == "__main__":
    server = os.environ.get("WEIR_ADDR")
    if not server:
        sys.exit("WEIR_ADDR is not set; give it the address of a server, such as 127.0.0.1:6379")
    sys.exit(0 if asyncio.run(main(server)) else 1)
