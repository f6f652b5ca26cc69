package proof;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.json.JSONException;
import org.json.JSONObject;
import redis.clients.jedis.Jedis;
import redis.clients.jedis.StreamEntryID;
import redis.clients.jedis.exceptions.JedisDataException;
import redis.clients.jedis.params.XAddParams;
import redis.clients.jedis.params.XReadGroupParams;
import redis.clients.jedis.resps.StreamEntry;

/**
 * A consumer of user events: its own pending entries first, then new ones, acknowledged one by one.
 *
 * <p>The consumer's name is stable, so that after a restart it finds what it held. History is read with a cursor, so
 * that an entry which keeps failing cannot hide the ones behind it. An entry is acknowledged only after its handler
 * returned; one that can never be handled (its data is not JSON) is set aside and acknowledged in one transaction, so
 * that it is never in both places or in neither.
 */
final class Consumer {
    /** Handles one event, or throws to meet it again in the next turn. */
    interface Handler {
        void handle(String id, String eventType, JSONObject data) throws Exception;
    }

    record Settings(String stream, String deadLetters, String group, String name, int count, String deadLetterReason) {}

    private final Jedis jedis;
    private final Settings settings;
    private final Handler handler;

    Consumer(Jedis jedis, Settings settings, Handler handler) {
        this.jedis = jedis;
        this.settings = settings;
        this.handler = handler;
    }

    /** The group starts at the first entry; LAST_ENTRY would start it behind everything that is there. */
    void setUpGroup() {
        try {
            jedis.xgroupCreate(settings.stream, settings.group, new StreamEntryID(0, 0), true);
        } catch (JedisDataException error) {
            if (!error.getMessage().contains("BUSYGROUP")) {
                throw error;
            }
        }
    }

    /** One turn of the consumer's loop. Returns how many entries it saw. */
    int turn(int blockMs) {
        return processPending() + processNew(blockMs);
    }

    int processPending() {
        int seen = 0;
        StreamEntryID cursor = new StreamEntryID(0, 0);
        while (true) {
            List<StreamEntry> entries = read(cursor, page());
            if (entries.isEmpty()) {
                return seen;
            }
            entries.forEach(this::process);
            cursor = entries.get(entries.size() - 1).getID();
            seen += entries.size();
        }
    }

    int processNew(int blockMs) {
        List<StreamEntry> entries = read(StreamEntryID.UNRECEIVED_ENTRY, page().block(blockMs));
        entries.forEach(this::process);
        return entries.size();
    }

    private XReadGroupParams page() {
        return XReadGroupParams.xReadGroupParams().count(settings.count);
    }

    /** A time-out of BLOCK answers null; history always answers the stream, with no entries at its end. */
    private List<StreamEntry> read(StreamEntryID id, XReadGroupParams params) {
        var reply = jedis.xreadGroup(settings.group, settings.name, params, Map.of(settings.stream, id));
        return reply == null ? List.of() : reply.get(0).getValue();
    }

    private void process(StreamEntry entry) {
        JSONObject data;
        try {
            data = new JSONObject(entry.getFields().get("data"));
        } catch (JSONException malformed) {
            setAside(entry);
            return;
        }
        try {
            handler.handle(entry.getID().toString(), entry.getFields().get("eventType"), data);
        } catch (Exception staysPending) {
            return; // and the next turn meets it again
        }
        jedis.xack(settings.stream, settings.group, entry.getID());
    }

    private void setAside(StreamEntry entry) {
        Map<String, String> letter = new LinkedHashMap<>();
        letter.put("originalId", entry.getID().toString());
        letter.put("reason", settings.deadLetterReason);
        letter.putAll(entry.getFields());
        try (var transaction = jedis.multi()) {
            transaction.xadd(settings.deadLetters, XAddParams.xAddParams(), letter);
            transaction.xack(settings.stream, settings.group, entry.getID());
            transaction.exec();
        }
    }
}
