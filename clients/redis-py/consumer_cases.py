"""The consumer's story: group, pending first, new, acknowledge, malformed data, restart, claim, health."""

from consumer import Settings
from harness import fails_with, pick, same, story

BLOCK_MS = 50
OTHER = "consumer-host-2"
SMALLER_ID = "The ID specified in XADD is equal or smaller than the target stream top item"


def settings(bench, name=story.consumer):
    return Settings(bench.key(), bench.key("dead-letters"), story.group, name, 2, story.dead_letter_reason)


async def publish(client, stream):
    for entry_id, fields in story.entries:
        same(await client.xadd(stream, fields, id=entry_id), entry_id, "XADD")


async def delivered(bench, client, name, count):
    """A stream with the story's events and its group, of which `name` has been given the first `count`."""
    stream = bench.key()
    await publish(client, stream)
    await client.xgroup_create(stream, story.group, id="0")
    reply = await client.xreadgroup(story.group, name, {stream: ">"}, count=count)
    same(reply, bench.mode.streams((stream, story.entries[:count])), "XREADGROUP")
    return stream


async def rows(client, stream):
    pending = await client.xpending_range(stream, story.group, "-", "+", 10)
    return [(row["message_id"], row["consumer"].decode(), row["times_delivered"]) for row in pending]


def group_info(consumers, pending, last, read, lag):
    """XINFO GROUPS of the story's group, with lag and entries-read by name."""
    return [{"name": story.group.encode(), "consumers": consumers, "pending": pending,
             "last-delivered-id": last, "entries-read": read, "lag": lag}]


async def protocol(bench):
    """the protocol asked for is spoken"""
    client = bench.open()
    hello = await client.execute_command("HELLO")
    if bench.mode.proto == 2:
        hello = dict(zip(hello[::2], hello[1::2]))
    same(hello[b"proto"], bench.mode.proto, "proto")
    same(await client.ping(), True, "PING")


async def busygroup(bench):
    """a group is created once, and BUSYGROUP is tolerated"""
    client = bench.open()
    stream = bench.key()
    same(await client.xgroup_create(stream, story.group, id="0", mkstream=True), True, "XGROUP CREATE")
    await fails_with(client.xgroup_create(stream, story.group, id="0", mkstream=True),
                     "BUSYGROUP Consumer Group name already exists")
    await bench.consumer(client, settings(bench), None).set_up_group()
    same(await client.xinfo_groups(stream), group_info(0, 0, b"0-0", None, 0), "XINFO GROUPS")


async def consumes(bench):
    """the consumer handles, retries, sets aside and acknowledges"""
    client = bench.open()
    handled, failures = [], []

    def handle(entry_id, event_type, data):
        if entry_id == story.fails_once and not failures:
            failures.append(entry_id)
            raise RuntimeError("try again")
        handled.append(f"{entry_id} {event_type} {data['userId']}")

    options = settings(bench)
    consumer = bench.consumer(client, options, handle)
    await consumer.set_up_group()
    await publish(client, options.stream)
    seen = [await consumer.turn(BLOCK_MS) for _ in range(4)]

    # The second turn meets the entry that failed, then the next two new ones.
    same(seen, [2, 3, 1, 0], "entries per turn")
    same(handled, story.handled, "handled")
    letters = await client.xrange(options.dead_letters)
    malformed = dict(story.entries)[story.malformed]
    same([letter for _, letter in letters],
         [{b"originalId": story.malformed, b"reason": story.dead_letter_reason.encode(), **malformed}], "dead letters")
    same(await client.xpending(options.stream, story.group),
         {"pending": 0, "min": None, "max": None, "consumers": []}, "XPENDING")
    same(await client.xinfo_groups(options.stream), group_info(1, 0, story.ids[4], 5, 0), "XINFO GROUPS")


async def restart(bench):
    """after a restart the same name finds what it held"""
    crashing = bench.open()
    stream = await delivered(bench, crashing, story.consumer, 2)
    await crashing.aclose()

    client = bench.open()
    same(await rows(client, stream), [(entry_id, story.consumer, 1) for entry_id in story.ids[:2]], "before")
    met = []
    consumer = bench.consumer(client, settings(bench), lambda entry_id, *_: met.append(entry_id.encode()))
    same(await consumer.process_pending(), 2, "pending after the restart")
    same(met, story.ids[:2], "met")
    same(await rows(client, stream), [], "after")
    other = bench.consumer(client, settings(bench, OTHER), None)
    same(await other.process_pending(), 0, "pending of another name")


async def history(bench):
    """history is read page by page and counts deliveries"""
    client = bench.open()
    stream = await delivered(bench, client, story.consumer, 3)

    async def page(start, expected, what):
        reply = await client.xreadgroup(story.group, story.consumer, {stream: start}, count=2, block=BLOCK_MS)
        same(reply, bench.mode.streams((stream, expected)), what)

    await page("0", story.entries[:2], "first page")
    await page(story.ids[1], story.entries[2:3], "second page")
    await page(story.ids[2], [], "end")
    same(await rows(client, stream), [(entry_id, story.consumer, 2) for entry_id in story.ids[:3]], "XPENDING")


async def deleted_in_history(bench):
    """history shows a deleted entry without fields"""
    client = bench.open()
    stream = await delivered(bench, client, story.consumer, 2)
    same(await client.xdel(stream, story.ids[0]), 1, "XDEL")
    same(await client.xreadgroup(story.group, story.consumer, {stream: "0"}),
         bench.mode.streams((stream, [(story.ids[0], {}), story.entries[1]])), "history")


async def claim(bench):
    """the rows of a dead consumer are claimed"""
    client = bench.open()
    stream = await delivered(bench, client, "dead", 4)
    first, second, third, fourth = story.ids[:4]
    claim = (stream, story.group, story.consumer)

    same(await client.xautoclaim(*claim, 3_600_000), [b"0-0", [], []], "too young")
    same(await client.xautoclaim(*claim, 0, count=1), [second, [story.entries[0]], []], "XAUTOCLAIM")
    same(await client.xclaim(*claim, 0, [second, "1-1"]), [story.entries[1]], "XCLAIM")
    same(await client.xclaim(*claim, 0, [third], justid=True), [third], "XCLAIM JUSTID")
    same(await rows(client, stream), [(first, story.consumer, 2), (second, story.consumer, 2),
                                      (third, story.consumer, 1), (fourth, "dead", 1)], "XPENDING")

    same(await client.xdel(stream, fourth), 1, "XDEL")
    same(await client.xautoclaim(*claim, 0, fourth), [b"0-0", [], [fourth]], "XAUTOCLAIM of a deleted entry")
    same(await client.xack(stream, story.group, first, second, third, fourth), 3, "XACK")
    same(await client.xgroup_delconsumer(stream, story.group, "dead"), 0, "XGROUP DELCONSUMER")


async def health(bench):
    """the health check reads summaries by their true shape"""
    client = bench.open()
    stream = await delivered(bench, client, story.consumer, 2)
    await client.xreadgroup(story.group, OTHER, {stream: ">"}, count=1)
    names = (story.consumer.encode(), OTHER.encode())

    same(await client.xlen(stream), 5, "XLEN")
    same(await client.xpending(stream, story.group), {
        "pending": 3, "min": story.ids[0], "max": story.ids[2],
        "consumers": [{"name": names[0], "pending": 2}, {"name": names[1], "pending": 1}],
    }, "XPENDING")
    same(await client.xinfo_groups(stream), group_info(2, 3, story.ids[2], 3, 2), "XINFO GROUPS")
    consumers = await client.xinfo_consumers(stream, story.group)
    same([pick(c, "name", "pending") for c in consumers],
         [{"name": names[0], "pending": 2}, {"name": names[1], "pending": 1}], "XINFO CONSUMERS")
    assert all(0 <= c["idle"] < 60_000 for c in consumers), consumers
    expected = {
        "length": 5, "radix-tree-keys": 1, "radix-tree-nodes": 2, "last-generated-id": story.ids[4],
        "max-deleted-entry-id": b"0-0", "entries-added": 5, "recorded-first-entry-id": story.ids[0], "groups": 1,
        "first-entry": story.entries[0], "last-entry": story.entries[4],
    }
    same(pick(await client.xinfo_stream(stream), *expected), expected, "XINFO STREAM")


async def unknown_lag(bench):
    """a hole ahead of the group makes its lag unknown"""
    client = bench.open()
    stream = await delivered(bench, client, story.consumer, 1)
    await client.xdel(stream, story.ids[3])
    same(await client.xinfo_groups(stream), group_info(1, 1, story.ids[0], 1, None), "XINFO GROUPS")


async def missing(bench):
    """a missing group or stream is named in the error"""
    client = bench.open()
    stream = bench.key()
    nogroup = f"NOGROUP No such key '{stream}' or consumer group '{story.group}' in XREADGROUP with GROUP option"

    def read():
        return client.xreadgroup(story.group, story.consumer, {stream: ">"})

    await fails_with(read(), nogroup)
    await fails_with(client.xinfo_stream(stream), "no such key")
    await fails_with(client.xgroup_create(stream, story.group, id="0"),
                     "The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the "
                     "MKSTREAM option to create an empty stream automatically.")
    await publish(client, stream)
    await fails_with(client.xadd(stream, {"a": "1"}, id="1-1"), SMALLER_ID)
    same(await client.xgroup_create(stream, story.group, id="$"), True, "XGROUP CREATE")
    same(await read(), bench.mode.streams(), "nothing new")
    same(await client.xgroup_destroy(stream, story.group), True, "XGROUP DESTROY")
    await fails_with(read(), nogroup)


CASES = [protocol, busygroup, consumes, restart, history, deleted_in_history, claim, health, unknown_lag, missing]
