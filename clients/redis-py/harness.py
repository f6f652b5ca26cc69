"""What every case needs: connections to the server under test, keys of its own, comparison of whole values.

Cases are written once, for asyncio. The synchronous client stands in through `Threaded`, which runs each of its
calls in a thread, so that the cases exercise its own methods, blocking and parsing.
"""

import asyncio
import json
import secrets
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path

import redis
import redis.asyncio
from redis.backoff import NoBackoff

from consumer import AsyncConsumer, Consumer

WAIT_MAX_S = 10.0
WAIT_MAX_MS = 10_000


class Story:
    """The events every client library reads, in the types redis-py answers with: bytes."""

    def __init__(self):
        raw = json.loads((Path(__file__).parent.parent / "story.json").read_text(encoding="utf-8"))
        self.group, self.consumer = raw["group"], raw["consumer"]
        self.dead_letter_reason = raw["deadLetterReason"]
        self.malformed, self.fails_once, self.handled = raw["malformed"].encode(), raw["failsOnce"], raw["handled"]
        self.entries = [
            (event["id"].encode(), {name.encode(): value.encode() for name, value in event["fields"]})
            for event in raw["events"]
        ]
        self.ids = [entry_id for entry_id, _ in self.entries]


story = Story()


def same(actual, expected, what="value"):
    """Compares whole values, types and order of keys included."""
    assert repr(actual) == repr(expected), f"{what}: {actual!r} is not {expected!r}"


def pick(reply, *names):
    """The named keys of a reply that also carries times or fields of newer servers."""
    return {name: reply[name] for name in names}


async def fails_with(awaitable, message):
    try:
        value = await awaitable
    except redis.ResponseError as error:
        same(str(error), message, "error")
    else:
        raise AssertionError(f"answered {value!r}")


class Threaded:
    """The synchronous client or pipeline with awaitable calls; a pipeline's queueing calls stay as they are."""

    IN_PLACE = ("xadd", "xack", "xlen", "xtrim", "xreadgroup", "multi")

    def __init__(self, target, queues=False):
        self.target, self.queues = target, queues

    def __getattr__(self, name):
        call = getattr(self.target, name)
        if self.queues and name in self.IN_PLACE:
            return call
        return lambda *args, **kwargs: asyncio.to_thread(call, *args, **kwargs)

    def pipeline(self, transaction):
        return Threaded(self.target.pipeline(transaction=transaction), queues=True)

    async def aclose(self):
        self.target.close()


@dataclass(frozen=True)
class Mode:
    """One way of using the library: which client, and the options that decide how replies look."""

    label: str
    asynchronous: bool
    options: dict
    proto: int = 3

    def streams(self, *pairs):
        """What XREAD and XREADGROUP answer for the given (stream, entries); without any, what a time-out answers."""
        pairs = [(name.encode(), entries) for name, entries in pairs]
        if self.options.get("legacy_responses") is False:
            return dict(pairs)
        if self.options.get("protocol") == 3:
            return {name: [entries] for name, entries in pairs}
        return [[name, entries] for name, entries in pairs]


@dataclass
class Bench:
    """The connections and keys of one case."""

    address: str
    mode: Mode
    clients: list = field(default_factory=list)
    keys: list = field(default_factory=list)
    prefix: str = field(default_factory=lambda: f"proof:redis-py:{secrets.token_hex(6)}:")

    def key(self, name="crm:sync:user:user_created"):
        key = self.prefix + name
        if key not in self.keys:
            self.keys.append(key)
        return key

    def open(self, **options):
        """A client of its own. It never retries: a read that was sent twice would hide what this proves."""
        host, port = self.address.split(":")
        package = redis.asyncio if self.mode.asynchronous else redis
        retry = package.retry.Retry(NoBackoff(), 0)
        client = package.Redis(host=host, port=int(port), retry=retry, **{**self.mode.options, **options})
        self.clients.append(client if self.mode.asynchronous else Threaded(client))
        return self.clients[-1]

    def open_named(self, label, **options):
        """A second client whose name CLIENT LIST shows."""
        name = self.prefix + label
        return self.open(**{"client_name": name, "socket_timeout": WAIT_MAX_S + 1, **options}), name

    def library(self, client):
        """The library's own client object."""
        return client if self.mode.asynchronous else client.target

    def consumer(self, client, settings, handler):
        if self.mode.asynchronous:
            return AsyncConsumer(client, settings, handler)
        return Threaded(Consumer(self.library(client), settings, handler))

    async def close(self):
        client = self.open()
        if self.keys:
            await client.delete(*self.keys)
        same(await client.exists(*self.keys, "proof:none"), 0, "keys left behind")
        for each in self.clients:
            await each.aclose()


async def _until(condition, what):
    deadline = time.monotonic() + WAIT_MAX_S
    while not await condition():
        assert time.monotonic() < deadline, f"waited {WAIT_MAX_S} s for {what}"
        await asyncio.sleep(0.005)


async def _flags_of(client, name):
    return next((c["flags"] for c in await client.client_list() if c["name"] == name), None)


async def until_blocked(client, name):
    async def blocked():
        return "b" in (await _flags_of(client, name) or "")

    await _until(blocked, f"{name} to block")


async def until_gone(client, name):
    async def gone():
        return await _flags_of(client, name) is None

    await _until(gone, f"{name} to go")


async def server_version(address):
    """The release of Redis whose commands the server says it has, as (major, minor)."""
    async with redis.asyncio.Redis.from_url(f"redis://{address}") as client:
        hello = await client.execute_command("HELLO")
    return tuple(int(number) for number in hello[b"version"].split(b".")[:2])


def up_to(version, newer_cases):
    """The cases whose release this server has reached; says how many it has not."""
    reached = [case for since, case in newer_cases if since <= version]
    if left := len(newer_cases) - len(reached):
        release = ".".join(map(str, version))
        print(f"redis-py: the server is a Redis {release}, so {left} cases of later releases are left out")
    return reached


async def prove(cases, address, mode):
    """Runs every case on a bench of its own and prints one line each; returns whether all passed."""
    failed = 0
    for case in cases:
        bench = Bench(address, mode)
        name = case.__doc__.strip().splitlines()[0].rstrip(".")
        try:
            await case(bench)
            await bench.close()
            print(f"ok    {mode.label}: {name}")
        except Exception:
            failed += 1
            print(f"FAIL  {mode.label}: {name}\n{traceback.format_exc()}")
            try:
                await bench.close()
            except Exception as error:
                print(f"      and its keys could not be removed: {error}")
    print(f"{mode.label}: {len(cases) - failed} passed, {failed} failed")
    return failed == 0
