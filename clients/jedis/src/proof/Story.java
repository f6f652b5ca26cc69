package proof;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.json.JSONArray;
import org.json.JSONObject;
import redis.clients.jedis.StreamEntryID;
import redis.clients.jedis.resps.StreamEntry;

/** What every client library reads: the story's events, and what the consumer makes of them. */
record Story(String group, String consumer, String deadLetterReason, String malformed, String failsOnce,
             List<String> handled, List<Entry> entries) {

    /** An entry as values that can be compared; fields are null when the entry was deleted. */
    record Entry(String id, Map<String, String> fields) {
        static Entry of(StreamEntry entry) {
            return entry == null ? null : new Entry(entry.getID().toString(), entry.getFields());
        }

        static List<Entry> of(List<StreamEntry> entries) {
            return entries.stream().map(Entry::of).toList();
        }

        static Entry n(String id, String value) {
            return new Entry(id, Map.of("n", value));
        }

        StreamEntryID key() {
            return new StreamEntryID(id);
        }
    }

    static Story read(Path file) throws IOException {
        JSONObject json = new JSONObject(Files.readString(file));
        List<Entry> entries = new ArrayList<>();
        for (Object item : json.getJSONArray("events")) {
            JSONObject event = (JSONObject) item;
            Map<String, String> fields = new LinkedHashMap<>();
            for (Object field : event.getJSONArray("fields")) {
                fields.put(((JSONArray) field).getString(0), ((JSONArray) field).getString(1));
            }
            entries.add(new Entry(event.getString("id"), fields));
        }
        List<String> handled = json.getJSONArray("handled").toList().stream().map(Object::toString).toList();
        return new Story(json.getString("group"), json.getString("consumer"), json.getString("deadLetterReason"),
            json.getString("malformed"), json.getString("failsOnce"), handled, entries);
    }

    String id(int index) {
        return entries.get(index).id();
    }

    List<String> ids(int from, int to) {
        return entries.subList(from, to).stream().map(Entry::id).toList();
    }
}
