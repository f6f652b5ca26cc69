package proof;

import java.net.URI;
import java.security.SecureRandom;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutorService;
import java.util.function.BooleanSupplier;
import redis.clients.jedis.Jedis;
import redis.clients.jedis.exceptions.JedisDataException;

/** The connections and keys of one case, and the comparisons it makes. */
final class Bench implements AutoCloseable {
    static final int WAIT_MAX_MS = 10_000;
    private static final SecureRandom RANDOM = new SecureRandom();

    final Story story;
    private final Mode mode;
    private final ExecutorService threads;
    private final String prefix;
    private final Set<String> keys = new LinkedHashSet<>();
    private final List<Jedis> clients = new ArrayList<>();

    /** How the library is used: the query of its URI decides the protocol. */
    record Mode(String label, URI uri, int proto) {}

    Bench(Story story, Mode mode, ExecutorService threads) {
        this.story = story;
        this.mode = mode;
        this.threads = threads;
        byte[] random = new byte[6];
        RANDOM.nextBytes(random);
        this.prefix = "proof:jedis:" + HexFormat.of().formatHex(random) + ":";
    }

    int proto() {
        return mode.proto;
    }

    String key(String name) {
        String key = prefix + name;
        keys.add(key);
        return key;
    }

    String stream() {
        return key("crm:sync:user:user_created");
    }

    /** A connection with the library's default time-outs. */
    Jedis open() {
        Jedis jedis = new Jedis(mode.uri);
        clients.add(jedis);
        return jedis;
    }

    /** A second connection whose name CLIENT LIST shows. */
    Jedis openNamed(String label) {
        Jedis jedis = open();
        same("CLIENT SETNAME", jedis.clientSetname(prefix + label), "OK");
        return jedis;
    }

    /** Runs a read in a thread of its own. */
    <T> CompletableFuture<T> later(Callable<T> read) {
        return CompletableFuture.supplyAsync(() -> {
            try {
                return read.call();
            } catch (Exception error) {
                throw new CompletionException(error);
            }
        }, threads);
    }

    /** Waits until the named connection sits in a blocking read. */
    void untilBlocked(Jedis jedis, String label) {
        until(label + " to block", () -> flags(jedis, label).contains("b"));
    }

    /** Waits until the server forgot the named connection. */
    void untilGone(Jedis jedis, String label) {
        until(label + " to go", () -> flags(jedis, label).isEmpty());
    }

    /** The flags that CLIENT LIST shows for the named connection; empty when it is not there. */
    private String flags(Jedis jedis, String label) {
        return jedis.clientList().lines()
            .filter(line -> line.contains(" name=" + prefix + label + " "))
            .map(line -> line.replaceFirst(".* flags=(\\S+).*", "$1"))
            .findFirst().orElse("");
    }

    private static void until(String what, BooleanSupplier condition) {
        long deadline = System.nanoTime() + WAIT_MAX_MS * 1_000_000L;
        while (!condition.getAsBoolean()) {
            check(System.nanoTime() < deadline, "waited " + WAIT_MAX_MS + " ms for " + what);
            try {
                Thread.sleep(5);
            } catch (InterruptedException stopped) {
                throw new AssertionError("interrupted while waiting for " + what, stopped);
            }
        }
    }

    static void same(String what, Object actual, Object expected) {
        check(Objects.equals(actual, expected), what + ": " + actual + " is not " + expected);
    }

    static void check(boolean holds, String complaint) {
        if (!holds) {
            throw new AssertionError(complaint);
        }
    }

    static void failsWith(Callable<?> call, String message) throws Exception {
        Object value;
        try {
            value = call.call();
        } catch (JedisDataException error) {
            same("error", error.getMessage(), message);
            return;
        }
        throw new AssertionError("answered " + value);
    }

    @Override
    public void close() {
        try (Jedis jedis = new Jedis(mode.uri)) {
            if (!keys.isEmpty()) {
                jedis.del(keys.toArray(String[]::new));
            }
            keys.add("proof:none");
            same("keys left behind", jedis.exists(keys.toArray(String[]::new)), 0L);
        } finally {
            clients.forEach(Jedis::disconnect);
        }
    }
}
