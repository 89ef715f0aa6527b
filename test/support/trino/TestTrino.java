import com.fasterxml.jackson.databind.ObjectMapper;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import io.trino.plugin.memory.MemoryPlugin;
import io.trino.plugin.tpch.TpchPlugin;
import io.trino.sql.parser.SqlParser;
import io.trino.sql.tree.Literal;
import io.trino.sql.tree.Statement;
import io.trino.sql.util.AstUtils;
import io.trino.testing.DistributedQueryRunner;
import io.trino.testing.TestingSession;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * A real Trino for the tests: one node, catalogs tpch and memory. Arguments: the file to write the addresses to, and the
 * process id of the test run. Beside it a port of its own with the parser as a judge, and the leash: the server lives while somebody holds a
 * request to /leash open, and a while longer as long as the run goes on.
 */
public class TestTrino
{
    private static final long IDLE_SECONDS = 60;
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final SqlParser PARSER = new SqlParser();
    private static final AtomicInteger holders = new AtomicInteger();
    private static volatile long idleSince = System.nanoTime();

    public static void main(String[] arguments)
            throws Exception
    {
        Path file = Path.of(arguments[0]);
        long run = Long.parseLong(arguments[1]);
        HttpServer side = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
        side.setExecutor(Executors.newVirtualThreadPerTaskExecutor());
        side.createContext("/judge", TestTrino::judge);
        side.createContext("/leash", TestTrino::hold);
        side.start();
        Thread.ofVirtual().start(() -> watch(run, file));

        DistributedQueryRunner trino = DistributedQueryRunner.builder(TestingSession.testSessionBuilder().build())
                .setWorkerCount(0)
                .addExtraProperty("sql.forced-session-time-zone", "UTC")
                .addExtraProperty("query.client.timeout", "30s")
                .build();
        trino.installPlugin(new TpchPlugin());
        trino.createCatalog("tpch", "tpch", Map.of());
        trino.installPlugin(new MemoryPlugin());
        trino.createCatalog("memory", "memory", Map.of());

        Path draft = file.resolveSibling(file.getFileName() + ".draft");
        Files.writeString(draft, JSON.writeValueAsString(Map.of(
                "pid", ProcessHandle.current().pid(),
                "url", trino.getCoordinator().getBaseUrl().toString(),
                "side", "http://127.0.0.1:" + side.getAddress().getPort())));
        Files.move(draft, file, StandardCopyOption.ATOMIC_MOVE);
    }

    /** [[statement, other], …] → for each pair `same Query`, `differs Query Insert` or `error …`: are the trees equal but for their literals? */
    private static void judge(HttpExchange exchange)
            throws IOException
    {
        List<String> verdicts = new ArrayList<>();
        for (String[] pair : JSON.readValue(exchange.getRequestBody(), String[][].class)) {
            verdicts.add(verdict(pair[0], pair[1]));
        }
        byte[] body = JSON.writeValueAsBytes(verdicts);
        exchange.sendResponseHeaders(200, body.length);
        exchange.getResponseBody().write(body);
        exchange.close();
    }

    private static String verdict(String one, String other)
    {
        try {
            Statement first = PARSER.createStatement(one);
            Statement second = PARSER.createStatement(other);
            boolean same = AstUtils.treeEqual(first, second, (left, right) -> left instanceof Literal && right instanceof Literal ? true : null);
            String kind = first.getClass().getSimpleName();
            return same ? "same " + kind : "differs " + kind + " " + second.getClass().getSimpleName();
        }
        catch (RuntimeException e) {
            return "error " + e.getMessage();
        }
    }

    /** Answers with a line a second until the holder leaves. */
    private static void hold(HttpExchange exchange)
            throws IOException
    {
        holders.incrementAndGet();
        try {
            exchange.sendResponseHeaders(200, 0);
            while (true) {
                exchange.getResponseBody().write('\n');
                exchange.getResponseBody().flush();
                Thread.sleep(1000);
            }
        }
        catch (IOException | InterruptedException e) {
            idleSince = System.nanoTime();
        }
        finally {
            holders.decrementAndGet();
            exchange.close();
        }
    }

    private static void watch(long run, Path file)
    {
        while (holders.get() > 0 || (isAlive(run) && System.nanoTime() - idleSince < IDLE_SECONDS * 1_000_000_000L)) {
            try {
                Thread.sleep(1000);
            }
            catch (InterruptedException e) {
                break;
            }
        }
        file.toFile().delete();
        Runtime.getRuntime().halt(0);
    }

    private static boolean isAlive(long pid)
    {
        return ProcessHandle.of(pid).map(ProcessHandle::isAlive).orElse(false);
    }
}
