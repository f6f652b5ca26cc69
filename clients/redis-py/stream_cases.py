"""Reading, blocking, pipelines and transactions."""

import asyncio
import re
import time

import redis

from consumer_cases import SMALLER_ID
from harness import WAIT_MAX_MS, fails_with, same, story, until_blocked, until_gone

BLOCK_MS = 100


async def empty_group(bench, client):
    stream = bench.key()
    await client.xgroup_create(stream, story.group, id="$", mkstream=True)
    return stream


def later(awaitable):
    """Starts a read that a case awaits after other steps."""
    return asyncio.ensure_future(awaitable)


def reader(bench, stream, consumer, **options):
    """A reader of `stream` in the story's group, on a named client of its own."""
    client, name = bench.open_named(consumer, **options)

    def read(block, count=1):
        return later(client.xreadgroup(story.group, consumer, {stream: ">"}, count=count, block=block))

    return name, read


def one(entry_id, value):
    return (entry_id.encode(), {b"n": value.encode()})


async def bytes_and_order(bench):
    """fields keep their order, repetitions and bytes"""
    client = bench.open()
    stream = bench.key()
    fields = [b"b", b"1", b"a", bytes([0, 255, 13, 10]), b"b", b"", "ключ".encode(), b"x" * 100_000]
    same(await client.execute_command("XADD", stream, "7-7", *fields), b"7-7", "XADD")
    # The library makes a dict of the fields, so a repeated name keeps its first place and its last value.
    same(await client.xrange(stream), [(b"7-7", {b"b": b"", b"a": fields[3], fields[6]: fields[7]})], "XRANGE")
    bench.library(client).set_response_callback("XRANGE", lambda reply, **_: reply)
    same(await client.xrange(stream), [[b"7-7", fields]], "XRANGE as it comes")


async def ranges(bench):
    """ranges, deletion and trimming"""
    client = bench.open()
    stream = bench.key()
    for entry_id, fields in story.entries:
        await client.xadd(stream, fields, id=entry_id)
    ids = [entry_id.decode() for entry_id in story.ids]
    same(await client.xrange(stream, ids[1], "+", count=2), story.entries[1:3], "XRANGE")
    same(await client.xrange(stream, f"({ids[1]}", ids[3]), story.entries[2:4], "XRANGE, exclusive")
    same(await client.xrevrange(stream, "+", "-", count=2), [story.entries[4], story.entries[3]], "XREVRANGE")
    same(await client.xdel(stream, ids[0], ids[0], "1-1"), 1, "XDEL")
    same(await client.xtrim(stream, maxlen=3, approximate=False), 1, "XTRIM MAXLEN")
    same(await client.xtrim(stream, minid=ids[3], approximate=False), 1, "XTRIM MINID")
    entry_id = await client.xadd(stream, {"a": "1"}, maxlen=2, approximate=False)
    assert re.fullmatch(rb"\d{13}-\d+", entry_id), entry_id
    same(await client.xrange(stream), [story.entries[4], (entry_id, {b"a": b"1"})], "what is left")


async def xread(bench):
    """XREAD answers every stream that has something, and nothing else"""
    client = bench.open()
    first, second = bench.key("one"), bench.key("two")
    for entry_id in ("1-1", "2-2", "3-3"):
        await client.xadd(first, {"n": entry_id}, id=entry_id)
    await client.xadd(second, {"n": "5-5"}, id="5-5")
    same(await client.xread({first: "1-1", second: "0"}, count=1),
         bench.mode.streams((first, [one("2-2", "2-2")]), (second, [one("5-5", "5-5")])), "both")
    same(await client.xread({first: "3-3", second: "0"}), bench.mode.streams((second, [one("5-5", "5-5")])), "one")
    same(await client.xread({first: "3-3", second: "5-5"}), bench.mode.streams(), "none")


async def xread_tail(bench):
    """XREAD from $ sees only what comes, on every connection"""
    client = bench.open()
    stream = bench.key()
    await client.xadd(stream, {"n": "old"}, id="1-1")
    tails = [bench.open_named(label) for label in ("tail-1", "tail-2")]
    same(await tails[0][0].xread({stream: "$"}, block=BLOCK_MS), bench.mode.streams(), "time-out")
    replies = [later(tail.xread({stream: "$"}, block=WAIT_MAX_MS)) for tail, _ in tails]
    for _, name in tails:
        await until_blocked(client, name)
    await client.xadd(stream, {"n": "new"}, id="2-2")
    expected = bench.mode.streams((stream, [one("2-2", "new")]))
    same(await asyncio.gather(*replies), [expected, expected], "both tails")


async def block_times_out(bench):
    """a BLOCK that ends without data answers nothing, no sooner"""
    client = bench.open()
    stream = await empty_group(bench, client)
    _, read = reader(bench, stream, story.consumer)
    started = time.monotonic()
    same(await read(BLOCK_MS), bench.mode.streams(), "time-out")
    elapsed_ms = (time.monotonic() - started) * 1000
    assert elapsed_ms >= BLOCK_MS - 5, f"answered after {elapsed_ms} ms"


async def block_wakes(bench):
    """a blocked reader is woken by another connection"""
    client = bench.open()
    stream = await empty_group(bench, client)
    name, read = reader(bench, stream, story.consumer)
    reply = read(0, 10)
    await until_blocked(client, name)
    await client.xadd(stream, story.entries[0][1], id=story.ids[0])
    same(await reply, bench.mode.streams((stream, story.entries[:1])), "woken")
    same(await client.xpending(stream, story.group), {
        "pending": 1, "min": story.ids[0], "max": story.ids[0],
        "consumers": [{"name": story.consumer.encode(), "pending": 1}],
    }, "XPENDING")


async def block_order(bench):
    """blocked readers of a group are served in their order"""
    client = bench.open()
    stream = await empty_group(bench, client)
    replies = []
    for consumer in ("first", "second"):
        name, read = reader(bench, stream, consumer)
        replies.append(read(WAIT_MAX_MS))
        await until_blocked(client, name)
    transaction = client.pipeline(transaction=True)
    transaction.xadd(stream, {"n": "1"}, id="1-1")
    transaction.xadd(stream, {"n": "2"}, id="2-2")
    same(await transaction.execute(), [b"1-1", b"2-2"], "EXEC")
    same(await asyncio.gather(*replies), [bench.mode.streams((stream, [one("1-1", "1")])),
                                          bench.mode.streams((stream, [one("2-2", "2")]))], "served")


async def hung_up(bench):
    """a reader that hung up takes nothing

    A socket time-out below BLOCK makes the client close its connection in the middle of the read.
    """
    client = bench.open()
    stream = await empty_group(bench, client)
    name, read = reader(bench, stream, "gone", socket_timeout=2 * BLOCK_MS / 1000)
    try:
        raise AssertionError(f"answered {await read(WAIT_MAX_MS)!r}")
    except redis.TimeoutError:
        await until_gone(client, name)
    await client.xadd(stream, {"n": "1"}, id="1-1")
    _, read = reader(bench, stream, story.consumer)
    same(await read(1_000), bench.mode.streams((stream, [one("1-1", "1")])), "the next reader")
    same((await client.xpending(stream, story.group))["consumers"],
         [{"name": story.consumer.encode(), "pending": 1}], "XPENDING")


async def pipelines(bench):
    """pipelined commands are answered in order, and fail alone"""
    client = bench.open()
    stream = bench.key()
    ids = [f"{n}-0" for n in range(1, 501)]
    pipeline = client.pipeline(transaction=False)
    for entry_id in ids:
        pipeline.xadd(stream, {"n": entry_id}, id=entry_id)
    same(await pipeline.execute(), [entry_id.encode() for entry_id in ids], "XADD × 500")
    same(await client.xrange(stream), [one(entry_id, entry_id) for entry_id in ids], "XRANGE")

    pipeline = client.pipeline(transaction=False)
    pipeline.xlen(stream)
    pipeline.xadd(stream, {"n": "x"}, id="1-0")
    pipeline.xtrim(stream, maxlen=1, approximate=False)
    pipeline.xlen(stream)
    replies = await pipeline.execute(raise_on_error=False)
    same([str(r) if isinstance(r, Exception) else r for r in replies], [500, SMALLER_ID, 499, 1], "the second one fails")


async def multi(bench):
    """MULTI runs as one and answers errors in place"""
    client = bench.open()
    stream = await empty_group(bench, client)
    transaction = client.pipeline(transaction=True)
    transaction.xadd(stream, {"n": "1"}, id="5-5")
    transaction.xadd(stream, {"n": "2"}, id="1-1")
    transaction.xreadgroup(story.group, story.consumer, {stream: ">"})
    transaction.xreadgroup(story.group, story.consumer, {stream: ">"}, block=60_000)
    transaction.xack(stream, story.group, "5-5")
    replies = await transaction.execute(raise_on_error=False)
    same([str(r) if isinstance(r, Exception) else r for r in replies],
         [b"5-5", SMALLER_ID, bench.mode.streams((stream, [one("5-5", "1")])), bench.mode.streams(), 1], "EXEC")
    await fails_with(client.execute_command("EXEC"), "EXEC without MULTI")


async def watch(bench):
    """WATCH lets a transaction through only when nothing changed"""
    client, other = bench.open(), bench.open()
    stream = bench.key()
    await client.xadd(stream, {"n": "1"}, id="1-1")
    transaction = client.pipeline(transaction=True)
    same(await transaction.watch(stream), True, "WATCH")
    transaction.multi()
    transaction.xadd(stream, {"n": "2"}, id="2-2")
    same(await transaction.execute(), [b"2-2"], "untouched")

    await transaction.watch(stream)
    await other.xadd(stream, {"n": "3"}, id="3-3")
    transaction.multi()
    transaction.xadd(stream, {"n": "4"}, id="4-4")
    try:
        raise AssertionError(f"answered {await transaction.execute()!r}")
    except redis.WatchError as error:
        same(str(error), "Watched variable changed.", "WATCH")
    same([entry_id for entry_id, _ in await client.xrange(stream)], [b"1-1", b"2-2", b"3-3"], "what was written")

    await transaction.watch(stream)
    await other.xadd(stream, {"n": "5"}, id="5-5")
    same(await transaction.unwatch(), True, "UNWATCH")
    transaction.multi()
    transaction.xlen(stream)
    same(await transaction.execute(), [4], "after UNWATCH")


async def long_block(bench):
    """a BLOCK longer than the default socket time-out

    The default is 5 s, and the library does not stretch it for BLOCK, so a consumer has to.
    """
    client = bench.open()
    same(bench.library(client).connection_pool.connection_kwargs["socket_timeout"], 5, "default socket time-out")
    stream = await empty_group(bench, client)
    name, read = reader(bench, stream, story.consumer)
    same(await read(5_200), bench.mode.streams(), "time-out")
    reply = read(WAIT_MAX_MS)
    await until_blocked(client, name)
    await client.xadd(stream, {"n": "1"}, id="1-1")
    same(await reply, bench.mode.streams((stream, [one("1-1", "1")])), "the same connection goes on")


CASES = [bytes_and_order, ranges, xread, xread_tail, block_times_out, block_wakes, block_order, hung_up, pipelines,
         multi, watch]
TIME_OUT_CASES = [long_block]
