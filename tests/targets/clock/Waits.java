import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executors;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.locks.LockSupport;
import java.util.concurrent.locks.ReentrantLock;

/** Waits in the ways of Java's library, each in a thread: prints "ready", then name, outcome and elapsed milliseconds. */
class Waits {
    interface Wait { boolean run() throws Exception; }

    static long ms;
    static final java.util.List<Thread> threads = new java.util.ArrayList<>();

    /** By the clock that the waits are about. */
    static boolean wallClock;

    static double now() {
        return wallClock ? System.currentTimeMillis() : System.nanoTime() / 1e6;
    }

    static void start(String name, Wait wait) {
        Thread thread = new Thread(() -> {
            double began = now();
            try {
                boolean outcome = wait.run();
                System.out.printf(java.util.Locale.ROOT, "%s %b %.3f%n", name, outcome, now() - began);
            } catch (Exception e) {
                System.out.println(name + " " + e + " 0");
            }
        });
        threads.add(thread);
        thread.start();
    }

    /** By the wall clock, as LockSupport.parkUntil and Condition.awaitUntil take it. */
    static boolean parkUntil() {
        long until = System.currentTimeMillis() + ms;
        while (System.currentTimeMillis() < until)
            LockSupport.parkUntil(until);
        return true;
    }

    /** Object.wait may wake up for nothing, by its contract; here nobody does. */
    static boolean objectWait() throws InterruptedException {
        Object monitor = new Object();
        synchronized (monitor) {
            monitor.wait(ms);
        }
        return true;
    }

    static boolean future() throws Exception {
        try {
            new CompletableFuture<Integer>().get(ms, TimeUnit.MILLISECONDS);
            return false;
        } catch (TimeoutException e) {
            return true;
        }
    }

    static boolean condition() throws InterruptedException {
        ReentrantLock lock = new ReentrantLock();
        lock.lock();
        return !lock.newCondition().await(ms, TimeUnit.MILLISECONDS);
    }

    static boolean scheduled() throws Exception {
        var executor = Executors.newSingleThreadScheduledExecutor();
        boolean outcome = executor.schedule(() -> true, ms, TimeUnit.MILLISECONDS).get();
        executor.shutdown();
        return outcome;
    }

    public static void main(String[] arguments) throws Exception {
        ms = Long.parseLong(arguments[1]);
        wallClock = arguments[0].equals("realtime");
        if (wallClock) {
            start("parkUntil", Waits::parkUntil);
        } else {
            start("sleep", () -> { Thread.sleep(ms); return true; });
            start("wait", Waits::objectWait);
            start("future", Waits::future);
            start("condition", Waits::condition);
            start("scheduled", Waits::scheduled);
            start("queue", () -> new LinkedBlockingQueue<Integer>().poll(ms, TimeUnit.MILLISECONDS) == null);
        }
        System.out.println("ready");
        for (Thread thread : threads)
            thread.join();
    }
}
