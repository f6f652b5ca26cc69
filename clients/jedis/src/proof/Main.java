package proof;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.net.URI;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import redis.clients.jedis.Jedis;

/**
 * Proves that Jedis works against the server at WEIR_ADDR: Jedis 4 in the only protocol it has, RESP2, and later
 * ones as they connect by default (RESP2 as well), in RESP3 and in RESP2.
 */
public final class Main {
    interface Case {
        void run(Bench bench) throws Exception;
    }

    private Main() {}

    public static void main(String[] arguments) throws Exception {
        String address = System.getenv("WEIR_ADDR");
        if (address == null) {
            System.err.println("WEIR_ADDR is not set; give it the address of a server, such as 127.0.0.1:6379");
            System.exit(2);
        }
        Story story = Story.read(Path.of("..", "story.json"));
        Map<String, Case> cases = new LinkedHashMap<>(ConsumerCases.ALL);
        cases.putAll(StreamCases.ALL);

        ExecutorService threads = Executors.newCachedThreadPool(); // one per blocked read and mode
        List<Bench.Mode> modes = modes(address);
        try (Bench bench = new Bench(story, modes.get(0), threads)) {
            cases.putAll(NewerCases.upToServer(bench));
        }
        List<Future<Boolean>> runs = new ArrayList<>();
        for (Bench.Mode mode : modes) {
            runs.add(threads.submit(() -> prove(mode, cases, story, threads)));
        }
        boolean passed = true;
        for (Future<Boolean> run : runs) {
            passed &= run.get();
        }
        System.exit(passed ? 0 : 1);
    }

    /** The version is read from the name of the library's file, such as jedis-4.3.2.jar. */
    private static List<Bench.Mode> modes(String address) throws Exception {
        Path library = Path.of(Jedis.class.getProtectionDomain().getCodeSource().getLocation().toURI());
        String version = library.getFileName().toString().replaceFirst("jedis-(.+)\\.jar", "$1");
        String label = "Jedis " + version;
        URI uri = URI.create("redis://" + address);
        if (version.startsWith("4.")) {
            return List.of(new Bench.Mode(label + " RESP2", uri, 2));
        }
        return List.of(
            new Bench.Mode(label + " by default", uri, 2),
            new Bench.Mode(label + " RESP3", URI.create(uri + "?protocol=3"), 3),
            new Bench.Mode(label + " RESP2", URI.create(uri + "?protocol=2"), 2));
    }

    /** Runs every case on a bench of its own and prints one line each; returns whether all passed. */
    private static boolean prove(Bench.Mode mode, Map<String, Case> cases, Story story, ExecutorService threads) {
        int failed = 0;
        for (var proof : cases.entrySet()) {
            try (Bench bench = new Bench(story, mode, threads)) {
                proof.getValue().run(bench);
            } catch (Exception | AssertionError error) {
                failed++;
                StringWriter trace = new StringWriter();
                error.printStackTrace(new PrintWriter(trace));
                System.out.println("FAIL  " + mode.label() + ": " + proof.getKey() + "\n" + trace);
                continue;
            }
            System.out.println("ok    " + mode.label() + ": " + proof.getKey());
        }
        System.out.println(mode.label() + ": " + (cases.size() - failed) + " passed, " + failed + " failed");
        return failed == 0;
    }
}
