package proof;

import static proof.Bench.check;
import static proof.Bench.failsWith;
import static proof.Bench.same;

import java.nio.charset.StandardCharsets;
import java.util.AbstractMap.SimpleEntry;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import proof.Main.Case;
import proof.Story.Entry;
import redis.clients.jedis.Jedis;
import redis.clients.jedis.Protocol;
import redis.clients.jedis.StreamEntryID;
import redis.clients.jedis.commands.ProtocolCommand;
import redis.clients.jedis.params.XAutoClaimParams;
import redis.clients.jedis.params.XClaimParams;
import redis.clients.jedis.params.XPendingParams;
import redis.clients.jedis.params.XReadGroupParams;

/** The consumer's story: group, pending first, new, acknowledge, malformed data, restart, claim, health. */
final class ConsumerCases {
    static final Map<String, Case> ALL = new LinkedHashMap<>();
    static final StreamEntryID START = new StreamEntryID(0, 0);
    static final String SMALLER_ID = "ERR The ID specified in XADD is equal or smaller than the target stream top item";
    static final ProtocolCommand HELLO = () -> "HELLO".getBytes(StandardCharsets.UTF_8);
    static final String OTHER = "consumer-host-2";

    static {
        ALL.put("the protocol asked for is spoken", ConsumerCases::protocol);
        ALL.put("a group is created once, and BUSYGROUP is tolerated", ConsumerCases::busyGroup);
        ALL.put("the consumer handles, retries, sets aside and acknowledges", ConsumerCases::consumes);
        ALL.put("after a restart the same name finds what it held", ConsumerCases::restart);
        ALL.put("history is read page by page and counts deliveries", ConsumerCases::history);
        ALL.put("history shows a deleted entry without fields", ConsumerCases::deletedInHistory);
        ALL.put("the rows of a dead consumer are claimed", ConsumerCases::claim);
        ALL.put("the health check reads summaries by their true shape", ConsumerCases::health);
        ALL.put("a hole ahead of the group makes its lag unknown", ConsumerCases::unknownLag);
        ALL.put("a missing group or stream is named in the error", ConsumerCases::missing);
    }

    private ConsumerCases() {}

    private static Consumer consumer(Bench bench, Jedis jedis, String name, Consumer.Handler handler) {
        Story story = bench.story;
        return new Consumer(jedis, new Consumer.Settings(
            bench.stream(), bench.key("dead-letters"), story.group(), name, 2, story.deadLetterReason()), handler);
    }

    static void publish(Jedis jedis, String stream, List<Entry> entries) {
        for (Entry entry : entries) {
            same("XADD", jedis.xadd(stream, entry.key(), entry.fields()), entry.key());
        }
    }

    static XReadGroupParams count(int count) {
        return XReadGroupParams.xReadGroupParams().count(count);
    }

    /** What XREADGROUP answers for one stream, as values that can be compared; null stays null. */
    static List<Map.Entry<String, List<Entry>>> readGroup(
            Bench bench, Jedis jedis, String name, String stream, StreamEntryID id, XReadGroupParams params) {
        return values(jedis.xreadGroup(bench.story.group(), name, params, Map.of(stream, id)));
    }

    static List<Map.Entry<String, List<Entry>>> values(
            List<? extends Map.Entry<String, List<redis.clients.jedis.resps.StreamEntry>>> reply) {
        if (reply == null) {
            return null;
        }
        List<Map.Entry<String, List<Entry>>> values = new ArrayList<>();
        reply.forEach(item -> values.add(new SimpleEntry<>(item.getKey(), Entry.of(item.getValue()))));
        return values;
    }

    static List<Map.Entry<String, List<Entry>>> streams(String stream, Entry... entries) {
        return List.of(new SimpleEntry<>(stream, Arrays.asList(entries)));
    }

    private static Entry[] some(Bench bench, int from, int to) {
        return bench.story.entries().subList(from, to).toArray(Entry[]::new);
    }

    /** A stream with the story's events and its group, of which the named consumer has been given the first few. */
    static String delivered(Bench bench, Jedis jedis, String name, int count) {
        String stream = bench.stream();
        publish(jedis, stream, bench.story.entries());
        same("XGROUP CREATE", jedis.xgroupCreate(stream, bench.story.group(), START, false), "OK");
        same("XREADGROUP", readGroup(bench, jedis, name, stream, StreamEntryID.UNRECEIVED_ENTRY, count(count)),
            streams(stream, some(bench, 0, count)));
        return stream;
    }

    /** The pending entries as ID, consumer and deliveries. */
    static List<String> rows(Bench bench, Jedis jedis, String stream) {
        return jedis.xpending(stream, bench.story.group(), XPendingParams.xPendingParams("-", "+", 10)).stream()
            .map(row -> row.getID() + " " + row.getConsumerName() + " " + row.getDeliveredTimes())
            .toList();
    }

    /** Compares the one group of XINFO GROUPS, with lag and entries-read by name. */
    private static void groupIs(
            Bench bench, Jedis jedis, String stream, long consumers, long pending, String last, Long read, Long lag) {
        Map<String, Object> expected = new HashMap<>();
        expected.put("name", bench.story.group());
        expected.put("consumers", consumers);
        expected.put("pending", pending);
        expected.put("last-delivered-id", new StreamEntryID(last));
        expected.put("entries-read", read);
        expected.put("lag", lag);
        same("XINFO GROUPS", jedis.xinfoGroups(stream).stream().map(group -> group.getGroupInfo()).toList(), List.of(expected));
    }

    private static void protocol(Bench bench) {
        Jedis jedis = bench.open();
        List<?> hello = (List<?>) jedis.sendCommand(HELLO);
        Object proto = bench.proto() == 3 ? ((Map.Entry<?, ?>) hello.get(2)).getValue() : hello.get(5);
        same("proto", proto, (long) bench.proto());
        same("PING", jedis.ping(), "PONG");
    }

    private static void busyGroup(Bench bench) throws Exception {
        Jedis jedis = bench.open();
        String stream = bench.stream();
        same("XGROUP CREATE", jedis.xgroupCreate(stream, bench.story.group(), START, true), "OK");
        failsWith(() -> jedis.xgroupCreate(stream, bench.story.group(), START, true),
            "BUSYGROUP Consumer Group name already exists");
        consumer(bench, jedis, bench.story.consumer(), null).setUpGroup();
        groupIs(bench, jedis, stream, 0, 0, "0-0", null, 0L);
    }

    private static void consumes(Bench bench) {
        Jedis jedis = bench.open();
        Story story = bench.story;
        List<String> handled = new ArrayList<>();
        boolean[] failed = {false};
        Consumer consumer = consumer(bench, jedis, story.consumer(), (id, eventType, data) -> {
            if (id.equals(story.failsOnce()) && !failed[0]) {
                failed[0] = true;
                throw new Exception("try again");
            }
            handled.add(id + " " + eventType + " " + data.getString("userId"));
        });
        consumer.setUpGroup();
        publish(jedis, bench.stream(), story.entries());
        List<Integer> seen = new ArrayList<>();
        for (int turn = 0; turn < 4; turn++) {
            seen.add(consumer.turn(50));
        }

        // The second turn meets the entry that failed, then the next two new ones.
        same("entries per turn", seen, List.of(2, 3, 1, 0));
        same("handled", handled, story.handled());
        Map<String, String> letter = new HashMap<>(Map.of("originalId", story.malformed(), "reason", story.deadLetterReason()));
        story.entries().stream().filter(entry -> entry.id().equals(story.malformed())).forEach(entry -> letter.putAll(entry.fields()));
        var letters = Entry.of(jedis.xrange(bench.key("dead-letters"), "-", "+"));
        same("dead letters", letters.stream().map(Entry::fields).toList(), List.of(letter));
        // Jedis 4 cannot parse the nulls of a summary in which nothing is pending, so it is read as it comes.
        same("XPENDING", StreamCases.text(jedis.sendCommand(Protocol.Command.XPENDING, bench.stream(), story.group())),
            Arrays.asList(0L, null, null, null));
        groupIs(bench, jedis, bench.stream(), 1, 0, story.id(4), 5L, 0L);
    }

    /** Compares the summary of XPENDING. */
    static void pendingIs(
            Bench bench, Jedis jedis, String stream, long total, StreamEntryID min, StreamEntryID max, Map<String, Long> consumers) {
        var summary = jedis.xpending(stream, bench.story.group());
        same("XPENDING", Arrays.asList(summary.getTotal(), summary.getMinId(), summary.getMaxId(), summary.getConsumerMessageCount()),
            Arrays.asList(total, min, max, consumers));
    }

    private static void restart(Bench bench) {
        Story story = bench.story;
        Jedis crashing = bench.open();
        String stream = delivered(bench, crashing, story.consumer(), 2);
        crashing.disconnect();

        Jedis jedis = bench.open();
        same("before", rows(bench, jedis, stream), story.ids(0, 2).stream().map(id -> id + " " + story.consumer() + " 1").toList());
        List<String> met = new ArrayList<>();
        Consumer consumer = consumer(bench, jedis, story.consumer(), (id, eventType, data) -> met.add(id));
        same("pending after the restart", consumer.processPending(), 2);
        same("met", met, story.ids(0, 2));
        same("after", rows(bench, jedis, stream), List.of());
        same("pending of another name", consumer(bench, jedis, OTHER, null).processPending(), 0);
    }

    private static void history(Bench bench) {
        Jedis jedis = bench.open();
        Story story = bench.story;
        String stream = delivered(bench, jedis, story.consumer(), 3);
        List<StreamEntryID> cursors = List.of(START, story.entries().get(1).key(), story.entries().get(2).key());
        List<List<Map.Entry<String, List<Entry>>>> pages = new ArrayList<>();
        for (StreamEntryID cursor : cursors) {
            pages.add(readGroup(bench, jedis, story.consumer(), stream, cursor, count(2).block(50)));
        }
        same("pages", pages, List.of(
            streams(stream, some(bench, 0, 2)), streams(stream, some(bench, 2, 3)), streams(stream)));
        same("XPENDING", rows(bench, jedis, stream), story.ids(0, 3).stream().map(id -> id + " " + story.consumer() + " 2").toList());
    }

    private static void deletedInHistory(Bench bench) {
        Jedis jedis = bench.open();
        Story story = bench.story;
        String stream = delivered(bench, jedis, story.consumer(), 2);
        same("XDEL", jedis.xdel(stream, story.entries().get(0).key()), 1L);
        same("history", readGroup(bench, jedis, story.consumer(), stream, START, XReadGroupParams.xReadGroupParams()),
            streams(stream, new Entry(story.id(0), null), story.entries().get(1)));
    }

    private static void claim(Bench bench) {
        Jedis jedis = bench.open();
        Story story = bench.story;
        String name = story.consumer();
        String group = story.group();
        String stream = delivered(bench, jedis, "dead", 4);
        List<StreamEntryID> ids = story.entries().stream().map(Entry::key).toList();

        var young = jedis.xautoclaim(stream, group, name, 3_600_000, START, XAutoClaimParams.xAutoClaimParams());
        same("too young", List.of(young.getKey(), young.getValue()), List.of(START, List.of()));
        var first = jedis.xautoclaim(stream, group, name, 0, START, XAutoClaimParams.xAutoClaimParams().count(1));
        same("XAUTOCLAIM", List.of(first.getKey(), Entry.of(first.getValue())), List.of(ids.get(1), story.entries().subList(0, 1)));
        same("XCLAIM", Entry.of(jedis.xclaim(stream, group, name, 0, XClaimParams.xClaimParams(), ids.get(1), new StreamEntryID(1, 1))),
            story.entries().subList(1, 2));
        same("XCLAIM JUSTID", jedis.xclaimJustId(stream, group, name, 0, XClaimParams.xClaimParams(), ids.get(2)), ids.subList(2, 3));
        same("XPENDING", rows(bench, jedis, stream), List.of(
            ids.get(0) + " " + name + " 2", ids.get(1) + " " + name + " 2", ids.get(2) + " " + name + " 1", ids.get(3) + " dead 1"));

        // The typed call leaves out the third part of the reply, the IDs whose entries are gone.
        same("XDEL", jedis.xdel(stream, ids.get(3)), 1L);
        List<?> gone = (List<?>) jedis.sendCommand(Protocol.Command.XAUTOCLAIM, stream, group, name, "0", ids.get(3).toString());
        same("XAUTOCLAIM of a deleted entry", StreamCases.text(gone), List.of("0-0", List.of(), List.of(ids.get(3).toString())));
        same("XACK", jedis.xack(stream, group, ids.subList(0, 4).toArray(StreamEntryID[]::new)), 3L);
        same("XGROUP DELCONSUMER", jedis.xgroupDelConsumer(stream, group, "dead"), 0L);
    }

    private static void health(Bench bench) {
        Jedis jedis = bench.open();
        Story story = bench.story;
        String stream = delivered(bench, jedis, story.consumer(), 2);
        readGroup(bench, jedis, OTHER, stream, StreamEntryID.UNRECEIVED_ENTRY, count(1));
        List<StreamEntryID> ids = story.entries().stream().map(Entry::key).toList();

        same("XLEN", jedis.xlen(stream), 5L);
        pendingIs(bench, jedis, stream, 3, ids.get(0), ids.get(2), Map.of(story.consumer(), 2L, OTHER, 1L));
        groupIs(bench, jedis, stream, 2, 3, story.id(2), 3L, 2L);
        var consumers = jedis.xinfoConsumers(stream, story.group());
        same("XINFO CONSUMERS", consumers.stream().map(each -> each.getName() + " " + each.getPending()).toList(),
            List.of(story.consumer() + " 2", OTHER + " 1"));
        consumers.forEach(each -> check(each.getIdle() >= 0 && each.getIdle() < 60_000, "idle " + each.getIdle()));

        var info = jedis.xinfoStream(stream);
        same("XINFO STREAM", List.of(
                info.getLength(), info.getRadixTreeKeys(), info.getRadixTreeNodes(), info.getGroups(), info.getLastGeneratedId(),
                Entry.of(info.getFirstEntry()), Entry.of(info.getLastEntry())),
            List.of(5L, 1L, 2L, 1L, ids.get(4), story.entries().get(0), story.entries().get(4)));
        List<String> byName = Stream.of("max-deleted-entry-id", "entries-added", "recorded-first-entry-id")
            .map(property -> info.getStreamInfo().get(property).toString())
            .toList();
        same("XINFO STREAM by name", byName, List.of("0-0", "5", story.id(0)));
    }

    private static void unknownLag(Bench bench) {
        Jedis jedis = bench.open();
        String stream = delivered(bench, jedis, bench.story.consumer(), 1);
        same("XDEL", jedis.xdel(stream, bench.story.entries().get(3).key()), 1L);
        groupIs(bench, jedis, stream, 1, 1, bench.story.id(0), 1L, null);
    }

    private static void missing(Bench bench) throws Exception {
        Jedis jedis = bench.open();
        String stream = bench.stream();
        String group = bench.story.group();
        Main.Case read = ignored -> same("nothing new",
            readGroup(bench, jedis, bench.story.consumer(), stream, StreamEntryID.UNRECEIVED_ENTRY, count(1)), null);
        String noGroup = "NOGROUP No such key '" + stream + "' or consumer group '" + group + "' in XREADGROUP with GROUP option";

        failsWith(() -> call(read, bench), noGroup);
        failsWith(() -> jedis.xinfoStream(stream), "ERR no such key");
        failsWith(() -> jedis.xgroupCreate(stream, group, START, false), "ERR The XGROUP subcommand requires the key to exist. "
            + "Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.");
        publish(jedis, stream, bench.story.entries());
        failsWith(() -> jedis.xadd(stream, new StreamEntryID(1, 1), Map.of("n", "1")), SMALLER_ID);
        same("XGROUP CREATE", jedis.xgroupCreate(stream, group, StreamEntryID.LAST_ENTRY, false), "OK");
        read.run(bench);
        same("XGROUP DESTROY", jedis.xgroupDestroy(stream, group), 1L);
        failsWith(() -> call(read, bench), noGroup);
    }

    private static Object call(Main.Case step, Bench bench) throws Exception {
        step.run(bench);
        return "without an error";
    }
}
