package proof;

import static proof.Bench.WAIT_MAX_MS;
import static proof.Bench.check;
import static proof.Bench.failsWith;
import static proof.Bench.same;
import static proof.ConsumerCases.SMALLER_ID;
import static proof.ConsumerCases.START;
import static proof.ConsumerCases.count;
import static proof.ConsumerCases.pendingIs;
import static proof.ConsumerCases.publish;
import static proof.ConsumerCases.readGroup;
import static proof.ConsumerCases.streams;
import static proof.ConsumerCases.values;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import proof.Main.Case;
import proof.Story.Entry;
import redis.clients.jedis.Jedis;
import redis.clients.jedis.Pipeline;
import redis.clients.jedis.Protocol;
import redis.clients.jedis.Response;
import redis.clients.jedis.StreamEntryID;
import redis.clients.jedis.exceptions.JedisConnectionException;
import redis.clients.jedis.exceptions.JedisDataException;
import redis.clients.jedis.params.XAddParams;
import redis.clients.jedis.params.XReadGroupParams;
import redis.clients.jedis.params.XReadParams;
import redis.clients.jedis.params.XTrimParams;

/** Reading, blocking, pipelines and transactions. */
final class StreamCases {
    static final Map<String, Case> ALL = new LinkedHashMap<>();
    private static final int BLOCK_MS = 100;

    static {
        ALL.put("fields keep their order, repetitions and bytes", StreamCases::bytesAndOrder);
        ALL.put("ranges, deletion and trimming", StreamCases::ranges);
        ALL.put("XREAD answers every stream that has something, and null else", StreamCases::xread);
        ALL.put("XREAD from $ sees only what comes, on every connection", StreamCases::xreadTail);
        ALL.put("a BLOCK that ends without data answers null, no sooner", StreamCases::blockTimesOut);
        ALL.put("a blocked reader is woken by another connection", StreamCases::blockWakes);
        ALL.put("blocked readers of a group are served in their order", StreamCases::blockOrder);
        ALL.put("a reader that hung up takes nothing", StreamCases::hungUp);
        ALL.put("pipelined commands are answered in order, and fail alone", StreamCases::pipelines);
        ALL.put("MULTI runs as one and answers errors in place", StreamCases::multi);
        ALL.put("WATCH lets a transaction through only when nothing changed", StreamCases::watch);
        ALL.put("a BLOCK longer than the default socket time-out", StreamCases::longBlock);
    }

    private StreamCases() {}

    private static StreamEntryID add(Jedis jedis, String stream, String id, String n) {
        return jedis.xadd(stream, new StreamEntryID(id), Map.of("n", n));
    }

    private static String emptyGroup(Bench bench, Jedis jedis) {
        String stream = bench.stream();
        jedis.xgroupCreate(stream, bench.story.group(), StreamEntryID.LAST_ENTRY, true);
        return stream;
    }

    /** A blocking read of new entries as the named consumer, on a connection of that name. */
    private static CompletableFuture<List<Map.Entry<String, List<Entry>>>> read(
            Bench bench, Jedis named, String name, String stream, int blockMs) {
        return bench.later(() -> readGroup(bench, named, name, stream, StreamEntryID.UNRECEIVED_ENTRY, count(1).block(blockMs)));
    }

    /** A raw reply with its bulk strings as text, and the pairs of a map one after the other. */
    static Object text(Object reply) {
        if (reply instanceof List<?> items) {
            return items.stream()
                .flatMap(item -> item instanceof Map.Entry<?, ?> pair ? Stream.of(pair.getKey(), pair.getValue()) : Stream.of(item))
                .map(StreamCases::text)
                .toList();
        }
        return reply instanceof byte[] bytes ? new String(bytes, StandardCharsets.UTF_8) : reply;
    }

    private static void bytesAndOrder(Bench bench) {
        Jedis jedis = bench.open();
        String stream = bench.stream();
        byte[] big = new byte[100_000];
        Arrays.fill(big, (byte) 'x');
        List<byte[]> words = new ArrayList<>(List.of(bytes(stream), bytes("7-7")));
        List<byte[]> fields = List.of(bytes("b"), bytes("1"), bytes("a"), new byte[] {0, (byte) 255, 13, 10}, bytes("b"),
            new byte[0], bytes("ключ"), big);
        words.addAll(fields);
        same("XADD", text(jedis.sendCommand(Protocol.Command.XADD, words.toArray(byte[][]::new))), "7-7");

        List<?> entries = (List<?>) jedis.sendCommand(Protocol.Command.XRANGE, stream, "-", "+");
        same("entries", entries.size(), 1);
        List<?> entry = (List<?>) entries.get(0);
        same("id", text(entry.get(0)), "7-7");
        same("fields", ((List<?>) entry.get(1)).stream().map(field -> HexFormat.of().formatHex((byte[]) field)).toList(),
            fields.stream().map(field -> HexFormat.of().formatHex(field)).toList());
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static void ranges(Bench bench) {
        Jedis jedis = bench.open();
        String stream = bench.stream();
        List<Entry> entries = bench.story.entries();
        publish(jedis, stream, entries);
        StreamEntryID first = entries.get(0).key();
        same("XRANGE", Entry.of(jedis.xrange(stream, bench.story.id(1), "+", 2)), entries.subList(1, 3));
        same("XRANGE, exclusive", Entry.of(jedis.xrange(stream, "(" + bench.story.id(1), bench.story.id(3))), entries.subList(2, 4));
        same("XREVRANGE", Entry.of(jedis.xrevrange(stream, "+", "-", 2)), List.of(entries.get(4), entries.get(3)));
        same("XDEL", jedis.xdel(stream, first, first, new StreamEntryID(1, 1)), 1L);
        same("XTRIM MAXLEN", jedis.xtrim(stream, XTrimParams.xTrimParams().maxLen(3).exactTrimming()), 1L);
        same("XTRIM MINID", jedis.xtrim(stream, XTrimParams.xTrimParams().minId(bench.story.id(3)).exactTrimming()), 1L);
        StreamEntryID id = jedis.xadd(stream, XAddParams.xAddParams().maxLen(2).exactTrimming(), Map.of("n", "1"));
        check(id.toString().matches("\\d{13}-\\d+"), "XADD * answered " + id);
        same("what is left", Entry.of(jedis.xrange(stream, "-", "+")), List.of(entries.get(4), Entry.n(id.toString(), "1")));
    }

    private static void xread(Bench bench) {
        Jedis jedis = bench.open();
        String one = bench.key("one");
        String two = bench.key("two");
        List.of("1-1", "2-2", "3-3").forEach(id -> add(jedis, one, id, id));
        add(jedis, two, "5-5", "5-5");
        var fromTwo = streams(two, Entry.n("5-5", "5-5"));
        var both = new ArrayList<>(streams(one, Entry.n("2-2", "2-2")));
        both.addAll(fromTwo);
        same("both", values(jedis.xread(XReadParams.xReadParams().count(1), from(one, "1-1", two, "0-0"))), both);
        same("one", values(jedis.xread(XReadParams.xReadParams(), from(one, "3-3", two, "0-0"))), fromTwo);
        same("none", jedis.xread(XReadParams.xReadParams(), from(one, "3-3", two, "5-5")), null);
    }

    /** The two streams in this order, which a Map.of would not keep. */
    private static Map<String, StreamEntryID> from(String one, String oneId, String two, String twoId) {
        Map<String, StreamEntryID> from = new LinkedHashMap<>();
        from.put(one, new StreamEntryID(oneId));
        from.put(two, new StreamEntryID(twoId));
        return from;
    }

    /** LAST_ENTRY is sent as $. */
    private static void xreadTail(Bench bench) throws Exception {
        Jedis jedis = bench.open();
        String stream = bench.stream();
        add(jedis, stream, "1-1", "old");
        var fromHere = Map.of(stream, StreamEntryID.LAST_ENTRY);
        List<Jedis> tails = List.of(bench.openNamed("tail-1"), bench.openNamed("tail-2"));
        same("time-out", tails.get(0).xread(XReadParams.xReadParams().block(BLOCK_MS), fromHere), null);
        var replies = tails.stream()
            .map(tail -> bench.later(() -> values(tail.xread(XReadParams.xReadParams().block(WAIT_MAX_MS), fromHere))))
            .toList();
        bench.untilBlocked(jedis, "tail-1");
        bench.untilBlocked(jedis, "tail-2");
        add(jedis, stream, "2-2", "new");
        for (var reply : replies) {
            same("tail", reply.get(), streams(stream, Entry.n("2-2", "new")));
        }
    }

    private static void blockTimesOut(Bench bench) {
        Jedis jedis = bench.open();
        String stream = emptyGroup(bench, jedis);
        long started = System.nanoTime();
        same("time-out", readGroup(bench, jedis, bench.story.consumer(), stream, StreamEntryID.UNRECEIVED_ENTRY, count(1).block(BLOCK_MS)), null);
        long elapsedMs = (System.nanoTime() - started) / 1_000_000;
        check(elapsedMs >= BLOCK_MS - 5, "answered after " + elapsedMs + " ms");
    }

    private static void blockWakes(Bench bench) throws Exception {
        Jedis jedis = bench.open();
        String stream = emptyGroup(bench, jedis);
        String name = bench.story.consumer();
        Entry first = bench.story.entries().get(0);
        var reply = read(bench, bench.openNamed(name), name, stream, 0);
        bench.untilBlocked(jedis, name);
        publish(jedis, stream, List.of(first));
        same("woken", reply.get(), streams(stream, first));
        pendingIs(bench, jedis, stream, 1, first.key(), first.key(), Map.of(name, 1L));
    }

    private static void blockOrder(Bench bench) throws Exception {
        Jedis jedis = bench.open();
        String stream = emptyGroup(bench, jedis);
        List<CompletableFuture<List<Map.Entry<String, List<Entry>>>>> replies = new ArrayList<>();
        for (String name : List.of("first", "second")) {
            replies.add(read(bench, bench.openNamed(name), name, stream, WAIT_MAX_MS));
            bench.untilBlocked(jedis, name);
        }
        try (var transaction = jedis.multi()) {
            transaction.xadd(stream, new StreamEntryID(1, 1), Map.of("n", "1"));
            transaction.xadd(stream, new StreamEntryID(2, 2), Map.of("n", "2"));
            same("EXEC", transaction.exec(), List.of(new StreamEntryID(1, 1), new StreamEntryID(2, 2)));
        }
        same("first", replies.get(0).get(), streams(stream, Entry.n("1-1", "1")));
        same("second", replies.get(1).get(), streams(stream, Entry.n("2-2", "2")));
    }

    private static void hungUp(Bench bench) throws Exception {
        Jedis jedis = bench.open();
        String stream = emptyGroup(bench, jedis);
        String name = bench.story.consumer();
        Jedis gone = bench.openNamed("gone");
        var lost = read(bench, gone, "gone", stream, WAIT_MAX_MS);
        bench.untilBlocked(jedis, "gone");
        gone.disconnect();
        try {
            throw new AssertionError("a closed connection answered " + lost.get());
        } catch (ExecutionException error) {
            check(error.getCause() instanceof JedisConnectionException, "failed with " + error.getCause());
        }
        bench.untilGone(jedis, "gone");
        add(jedis, stream, "1-1", "1");
        same("the next reader", read(bench, bench.openNamed(name), name, stream, 1_000).get(), streams(stream, Entry.n("1-1", "1")));
        pendingIs(bench, jedis, stream, 1, new StreamEntryID(1, 1), new StreamEntryID(1, 1), Map.of(name, 1L));
    }

    private static void pipelines(Bench bench) {
        Jedis jedis = bench.open();
        String stream = bench.stream();
        List<Entry> entries = IntStream.rangeClosed(1, 500).mapToObj(n -> Entry.n(n + "-0", n + "-0")).toList();
        Pipeline pipeline = jedis.pipelined();
        entries.forEach(entry -> pipeline.xadd(stream, entry.key(), entry.fields()));
        same("XADD × 500", pipeline.syncAndReturnAll(), entries.stream().map(Entry::key).toList());
        same("XRANGE", Entry.of(jedis.xrange(stream, "-", "+")), entries);

        pipeline.xlen(stream);
        Response<StreamEntryID> refused = pipeline.xadd(stream, new StreamEntryID(1, 0), Map.of("n", "x"));
        pipeline.xtrim(stream, XTrimParams.xTrimParams().maxLen(1));
        pipeline.xlen(stream);
        same("the second one fails", shown(pipeline.syncAndReturnAll()), List.of(500L, SMALLER_ID, 499L, 1L));
        try {
            throw new AssertionError("answered " + refused.get());
        } catch (JedisDataException error) {
            same("its response", error.getMessage(), SMALLER_ID);
        }
    }

    /** Replies with errors as their messages. */
    private static List<Object> shown(List<Object> replies) {
        List<Object> shown = new ArrayList<>();
        replies.forEach(reply -> shown.add(reply instanceof Exception error ? error.getMessage() : reply));
        return shown;
    }

    private static void multi(Bench bench) throws Exception {
        Jedis jedis = bench.open();
        String stream = emptyGroup(bench, jedis);
        String group = bench.story.group();
        String name = bench.story.consumer();
        var fresh = Map.of(stream, StreamEntryID.UNRECEIVED_ENTRY);
        List<Object> replies;
        try (var transaction = jedis.multi()) {
            transaction.xadd(stream, new StreamEntryID(5, 5), Map.of("n", "1"));
            transaction.xadd(stream, new StreamEntryID(1, 1), Map.of("n", "2"));
            var read = transaction.xreadGroup(group, name, XReadGroupParams.xReadGroupParams(), fresh);
            transaction.xreadGroup(group, name, XReadGroupParams.xReadGroupParams().block(60_000), fresh);
            transaction.xack(stream, group, new StreamEntryID(5, 5));
            replies = shown(transaction.exec());
            same("read", values(read.get()), streams(stream, Entry.n("5-5", "1")));
        }
        replies.remove(2);
        same("EXEC", replies, Arrays.asList(new StreamEntryID(5, 5), SMALLER_ID, null, 1L));

        try (var transaction = jedis.multi()) {
            transaction.xadd(stream, new StreamEntryID(6, 6), Map.of("n", "3"));
            same("DISCARD", transaction.discard(), "OK");
        }
        same("XLEN", jedis.xlen(stream), 1L);
        failsWith(() -> jedis.sendCommand(Protocol.Command.EXEC), "ERR EXEC without MULTI");
    }

    private static void watch(Bench bench) {
        Jedis jedis = bench.open();
        Jedis other = bench.open();
        String stream = bench.stream();
        add(jedis, stream, "1-1", "1");
        same("WATCH", jedis.watch(stream), "OK");
        same("untouched", appended(jedis, stream, "2-2"), List.of(new StreamEntryID(2, 2)));

        jedis.watch(stream);
        add(other, stream, "3-3", "3");
        same("changed", appended(jedis, stream, "4-4"), null);
        same("what was written", Entry.of(jedis.xrange(stream, "-", "+")),
            List.of(Entry.n("1-1", "1"), Entry.n("2-2", "w"), Entry.n("3-3", "3")));

        jedis.watch(stream);
        add(other, stream, "5-5", "5");
        same("UNWATCH", jedis.unwatch(), "OK");
        same("after UNWATCH", appended(jedis, stream, "6-6"), List.of(new StreamEntryID(6, 6)));
    }

    private static List<Object> appended(Jedis jedis, String stream, String id) {
        try (var transaction = jedis.multi()) {
            transaction.xadd(stream, new StreamEntryID(id), Map.of("n", "w"));
            return transaction.exec();
        }
    }

    /** The default is 2 s; the library lifts it for a read that blocks, and sets it back afterwards. */
    private static void longBlock(Bench bench) throws Exception {
        Jedis jedis = bench.open();
        String stream = emptyGroup(bench, jedis);
        String name = bench.story.consumer();
        Jedis named = bench.openNamed(name);
        same("default", Protocol.DEFAULT_TIMEOUT, 2_000);
        same("time-out", read(bench, named, name, stream, 2_300).get(), null);
        var reply = read(bench, named, name, stream, WAIT_MAX_MS);
        bench.untilBlocked(jedis, name);
        add(jedis, stream, "1-1", "1");
        same("the same connection goes on", reply.get(), streams(stream, Entry.n("1-1", "1")));
        same("history", readGroup(bench, named, name, stream, START, count(1)), streams(stream, Entry.n("1-1", "1")));
    }
}
