"""What came after Redis 7.0, each with the release that brought it; older servers are not asked."""

from consumer_cases import OTHER, delivered, rows
from harness import pick, same, story
from stream_cases import one


async def xread_newest(bench):
    """XREAD from + answers the newest entry"""
    client = bench.open()
    stream = await delivered(bench, client, story.consumer, 1)
    same(await client.xread({stream: "+"}, count=3), bench.mode.streams((stream, story.entries[4:])), "XREAD")


async def references(bench):
    """deletion knows who still refers to an entry"""
    client = bench.open()
    stream = await delivered(bench, client, story.consumer, 2)
    first, second, third = story.ids[:3]
    same(await client.xdelex(stream, first, third, "1-1", ref_policy="ACKED"), [2, 2, -1], "pending, undelivered, unknown")
    same(await client.xack(stream, story.group, first), 1, "XACK")
    same(await client.xdelex(stream, first, ref_policy="ACKED"), [1], "acknowledged")
    same(await client.xackdel(stream, story.group, second, first), [1, -1], "XACKDEL")
    await client.xreadgroup(story.group, story.consumer, {stream: ">"}, count=1)
    same(await client.xdelex(stream, third, ref_policy="DELREF"), [1], "with its references")
    same(await rows(client, stream), [], "XPENDING")
    same(await client.xrange(stream), story.entries[3:], "what is left")


async def read_and_claim(bench):
    """one read claims what others left and takes what is new"""
    client = bench.open()
    stream = await delivered(bench, client, "dead", 1)
    await client.xclaim(stream, story.group, "dead", 0, [story.ids[0]], idle=3_600_000, justid=True)
    reply = await client.xreadgroup(story.group, story.consumer, {stream: ">"}, count=3, claim_min_idle_time=1_000)
    entries = dict(reply)[stream.encode()]
    idle = (entries[0] if isinstance(entries[0], list) else entries)[0][2]
    assert 3_600_000 <= idle < 3_660_000, f"idle {idle}"
    first, second, third = story.entries[:3]
    same(reply, bench.mode.streams((stream, [(*first, idle, 1), (*second, 0, 0), (*third, 0, 0)])), "XREADGROUP CLAIM")
    same(await rows(client, stream), [(first[0], story.consumer, 2), (second[0], story.consumer, 1),
                                      (third[0], story.consumer, 1)], "XPENDING")


async def idempotence(bench):
    """a repeated idempotent append is answered with the first id"""
    client = bench.open()
    stream = bench.key()
    await client.xadd(stream, {"n": "old"}, id="1-1")
    same(await client.xcfgset(stream, idmp_duration=60, idmp_maxsize=50), b"OK", "XCFGSET")
    entry_id = await client.xadd(stream, {"n": "1"}, idmp=("p1", b"order-7"))
    same(await client.xadd(stream, {"n": "2"}, idmp=("p1", b"order-7")), entry_id, "again")
    other_producer = await client.xadd(stream, {"n": "3"}, idmp=("p2", b"order-7"))
    automatic = await client.xadd(stream, {"n": "4", "m": "5"}, idmpauto="p1")
    same(await client.xadd(stream, {"m": "5", "n": "4"}, idmpauto="p1"), automatic, "the same content in another order")
    same(await client.xrange(stream), [one("1-1", "old"), (entry_id, {b"n": b"1"}), (other_producer, {b"n": b"3"}),
                                       (automatic, {b"n": b"4", b"m": b"5"})], "XRANGE")
    expected = {"idmp-duration": 60, "idmp-maxsize": 50, "pids-tracked": 2, "iids-tracked": 3, "iids-added": 3,
                "iids-duplicates": 2}
    same(pick(await client.xinfo_stream(stream), *expected), expected, "XINFO STREAM")


async def released(bench):
    """a released entry is claimable at once"""
    client = bench.open()
    stream = await delivered(bench, client, story.consumer, 2)
    first, second = story.ids[:2]
    same(await client.xnack(stream, story.group, "FAIL", first, "1-1"), 1, "XNACK")
    same(await rows(client, stream), [(first, "", 1), (second, story.consumer, 1)], "XPENDING")
    same(await client.xpending_range(stream, story.group, "-", "+", 1),
         [{"message_id": first, "consumer": b"", "time_since_delivered": -1, "times_delivered": 1}], "idle")
    same(await client.xautoclaim(stream, story.group, OTHER, 3_600_000), [b"0-0", story.entries[:1], []], "XAUTOCLAIM")
    same(await rows(client, stream), [(first, OTHER, 2), (second, story.consumer, 1)], "XPENDING")


async def capped(bench):
    """MAXCOUNT caps a read over all its streams"""
    client = bench.open()
    keys = bench.key("one"), bench.key("two")
    for entry_id in ("1-1", "2-2", "3-3"):
        for key in keys:
            await client.xadd(key, {"n": entry_id}, id=entry_id)
    # The library has no argument for it yet.
    reply = await client.execute_command("XREAD", "COUNT", 2, "MAXCOUNT", 3, "STREAMS", *keys, "0", "0")
    first, second = one("1-1", "1-1"), one("2-2", "2-2")
    same(reply, bench.mode.streams((keys[0], [first, second]), (keys[1], [first])), "XREAD")


CASES = [
    ((7, 4), xread_newest), ((8, 2), references), ((8, 4), read_and_claim), ((8, 6), idempotence), ((8, 8), released),
    ((8, 10), capped),
]
