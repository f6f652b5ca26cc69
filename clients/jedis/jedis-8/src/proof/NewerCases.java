package proof;

import static proof.Bench.check;
import static proof.Bench.same;
import static proof.ConsumerCases.OTHER;
import static proof.ConsumerCases.START;
import static proof.ConsumerCases.count;
import static proof.ConsumerCases.delivered;
import static proof.ConsumerCases.readGroup;
import static proof.ConsumerCases.rows;
import static proof.ConsumerCases.streams;
import static proof.ConsumerCases.values;
import static redis.clients.jedis.args.StreamDeletionPolicy.ACKNOWLEDGED;
import static redis.clients.jedis.args.StreamDeletionPolicy.DELETE_REFERENCES;
import static redis.clients.jedis.resps.StreamEntryDeletionResult.DELETED;
import static redis.clients.jedis.resps.StreamEntryDeletionResult.NOT_DELETED_UNACKNOWLEDGED_OR_STILL_REFERENCED;
import static redis.clients.jedis.resps.StreamEntryDeletionResult.NOT_FOUND;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import proof.Main.Case;
import proof.Story.Entry;
import redis.clients.jedis.Jedis;
import redis.clients.jedis.StreamEntryID;
import redis.clients.jedis.args.XNackMode;
import redis.clients.jedis.params.XAddParams;
import redis.clients.jedis.params.XAutoClaimParams;
import redis.clients.jedis.params.XCfgSetParams;
import redis.clients.jedis.params.XClaimParams;
import redis.clients.jedis.params.XReadParams;

/** What came after Redis 7.0, each with the release that brought it; older servers are not asked. */
final class NewerCases {
    private static final long HOUR_MS = 3_600_000;
    private static final StreamEntryID UNKNOWN = new StreamEntryID(1, 1);

    private record Newer(int major, int minor, String name, Case run) {}

    private static final List<Newer> ALL = List.of(
        new Newer(7, 4, "XREAD from + answers the newest entry", NewerCases::xreadNewest),
        new Newer(8, 2, "deletion knows who still refers to an entry", NewerCases::references),
        new Newer(8, 4, "one read claims what others left and takes what is new", NewerCases::readAndClaim),
        new Newer(8, 6, "a repeated idempotent append is answered with the first id", NewerCases::idempotence),
        new Newer(8, 8, "a released entry is claimable at once", NewerCases::released),
        new Newer(8, 10, "MAXCOUNT caps a read over all its streams", NewerCases::capped));

    private NewerCases() {}

    /** The cases whose release the server has reached; says how many it has not. */
    static Map<String, Case> upToServer(Bench bench) {
        List<?> hello = (List<?>) StreamCases.text(bench.open().sendCommand(ConsumerCases.HELLO));
        String[] version = hello.get(hello.indexOf("version") + 1).toString().split("\\.");
        int major = Integer.parseInt(version[0]);
        int minor = Integer.parseInt(version[1]);
        Map<String, Case> cases = new LinkedHashMap<>();
        for (Newer newer : ALL) {
            if (major > newer.major || major == newer.major && minor >= newer.minor) {
                cases.put(newer.name, newer.run);
            }
        }
        int left = ALL.size() - cases.size();
        if (left > 0) {
            System.out.println("Jedis 8: the server is a Redis " + major + "." + minor + ", so " + left
                + " cases of later releases are left out");
        }
        return cases;
    }

    private static String row(Bench bench, int index, String name, int deliveries) {
        return bench.story.id(index) + " " + name + " " + deliveries;
    }

    private static void xreadNewest(Bench bench) {
        Jedis jedis = bench.open();
        String stream = delivered(bench, jedis, bench.story.consumer(), 1);
        var reply = jedis.xread(XReadParams.xReadParams().count(3), Map.of(stream, StreamEntryID.XREAD_LAST_ENTRY));
        same("XREAD", values(reply), streams(stream, bench.story.entries().get(4)));
    }

    private static void references(Bench bench) {
        Jedis jedis = bench.open();
        Story story = bench.story;
        String stream = delivered(bench, jedis, story.consumer(), 2);
        StreamEntryID first = story.entries().get(0).key();
        StreamEntryID second = story.entries().get(1).key();
        StreamEntryID third = story.entries().get(2).key();
        var kept = NOT_DELETED_UNACKNOWLEDGED_OR_STILL_REFERENCED;
        same("pending, undelivered, unknown", jedis.xdelex(stream, ACKNOWLEDGED, first, third, UNKNOWN), List.of(kept, kept, NOT_FOUND));
        same("XACK", jedis.xack(stream, story.group(), first), 1L);
        same("acknowledged", jedis.xdelex(stream, ACKNOWLEDGED, first), List.of(DELETED));
        same("XACKDEL", jedis.xackdel(stream, story.group(), second, first), List.of(DELETED, NOT_FOUND));
        readGroup(bench, jedis, story.consumer(), stream, StreamEntryID.XREADGROUP_UNDELIVERED_ENTRY, count(1));
        same("with its references", jedis.xdelex(stream, DELETE_REFERENCES, third), List.of(DELETED));
        same("XPENDING", rows(bench, jedis, stream), List.of());
        same("what is left", Entry.of(jedis.xrange(stream, "-", "+")), story.entries().subList(3, 5));
    }

    private static void readAndClaim(Bench bench) {
        Jedis jedis = bench.open();
        Story story = bench.story;
        String name = story.consumer();
        String stream = delivered(bench, jedis, "dead", 1);
        var idleForLong = XClaimParams.xClaimParams().idle(HOUR_MS);
        jedis.xclaimJustId(stream, story.group(), "dead", 0, idleForLong, story.entries().get(0).key());

        var reply = jedis.xreadGroup(story.group(), name, count(3).claim(1_000), Map.of(stream, StreamEntryID.XREADGROUP_UNDELIVERED_ENTRY));
        same("XREADGROUP CLAIM", values(reply), streams(stream, story.entries().subList(0, 3).toArray(Entry[]::new)));
        List<Long> deliveries = new ArrayList<>();
        List<Long> idle = new ArrayList<>();
        reply.get(0).getValue().forEach(entry -> {
            deliveries.add(entry.getDeliveredCount());
            idle.add(entry.getMillisElapsedFromDelivery());
        });
        same("deliveries before", deliveries, List.of(1L, 0L, 0L));
        check(idle.get(0) >= HOUR_MS && idle.get(0) < 2 * HOUR_MS, "idle " + idle);
        same("idle of new ones", idle.subList(1, 3), List.of(0L, 0L));
        same("XPENDING", rows(bench, jedis, stream), List.of(row(bench, 0, name, 2), row(bench, 1, name, 1), row(bench, 2, name, 1)));
    }

    private static void idempotence(Bench bench) {
        Jedis jedis = bench.open();
        String stream = bench.stream();
        jedis.xadd(stream, UNKNOWN, Map.of("n", "old"));
        same("XCFGSET", jedis.xcfgset(stream, XCfgSetParams.xCfgSetParams().idmpDuration(60).idmpMaxsize(50)), "OK");
        StreamEntryID id = jedis.xadd(stream, XAddParams.xAddParams().idmp("p1", "order-7"), Map.of("n", "1"));
        same("again", jedis.xadd(stream, XAddParams.xAddParams().idmp("p1", "order-7"), Map.of("n", "2")), id);
        StreamEntryID otherProducer = jedis.xadd(stream, XAddParams.xAddParams().idmp("p2", "order-7"), Map.of("n", "3"));
        StreamEntryID automatic = jedis.xadd(stream, XAddParams.xAddParams().idmpAuto("p1"), Map.of("n", "4"));
        same("the same content", jedis.xadd(stream, XAddParams.xAddParams().idmpAuto("p1"), Map.of("n", "4")), automatic);
        same("XRANGE", Entry.of(jedis.xrange(stream, "-", "+")), List.of(Entry.n("1-1", "old"), Entry.n(id.toString(), "1"),
            Entry.n(otherProducer.toString(), "3"), Entry.n(automatic.toString(), "4")));
        var info = jedis.xinfoStream(stream);
        same("XINFO STREAM", List.of(info.getIdmpDuration(), info.getIdmpMaxsize(), info.getPidsTracked(), info.getIidsTracked(),
            info.getIidsAdded(), info.getIidsDuplicates()), List.of(60L, 50L, 2L, 3L, 3L, 2L));
    }

    private static void released(Bench bench) {
        Jedis jedis = bench.open();
        Story story = bench.story;
        String stream = delivered(bench, jedis, story.consumer(), 2);
        same("XNACK", jedis.xnack(stream, story.group(), XNackMode.FAIL, story.entries().get(0).key(), UNKNOWN), 1L);
        same("XPENDING", rows(bench, jedis, stream), List.of(row(bench, 0, "", 1), row(bench, 1, story.consumer(), 1)));
        var claimed = jedis.xautoclaim(stream, story.group(), OTHER, HOUR_MS, START, XAutoClaimParams.xAutoClaimParams());
        same("XAUTOCLAIM", List.of(claimed.getKey(), Entry.of(claimed.getValue())), List.of(START, story.entries().subList(0, 1)));
        same("XPENDING", rows(bench, jedis, stream), List.of(row(bench, 0, OTHER, 2), row(bench, 1, story.consumer(), 1)));
    }

    private static void capped(Bench bench) {
        Jedis jedis = bench.open();
        Map<String, StreamEntryID> from = new LinkedHashMap<>();
        for (String key : List.of(bench.key("one"), bench.key("two"))) {
            from.put(key, START);
            List.of("1-1", "2-2", "3-3").forEach(id -> jedis.xadd(key, new StreamEntryID(id), Map.of("n", id)));
        }
        var expected = new ArrayList<>(streams(bench.key("one"), Entry.n("1-1", "1-1"), Entry.n("2-2", "2-2")));
        expected.addAll(streams(bench.key("two"), Entry.n("1-1", "1-1")));
        same("XREAD", values(jedis.xread(XReadParams.xReadParams().count(2).maxCount(3), from)), expected);
    }
}
