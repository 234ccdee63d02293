// Two threads hand a token to and fro, `pingpong ROUNDS`, by timed waits that nobody should need to wait out: prints how many
// waits ran into their timeout. A lost wake-up would show as an hour's wait.
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <thread>

using namespace std::chrono_literals;

static std::mutex mutex;
static std::condition_variable changed;
static int holder, timeouts;

static void play(int me, int rounds)
{
    while (rounds--) {
        {
            std::unique_lock lock(mutex);
            if (!changed.wait_for(lock, 1h, [me] { return holder == me; }))
                timeouts++;
            holder = !me;
        }
        changed.notify_one(); // outside of the lock, where it is easiest to lose
    }
}

int main(int, char **argv)
{
    int rounds = std::atoi(argv[1]);
    std::thread other(play, 1, rounds);
    play(0, rounds);
    other.join();
    std::printf("%d\n", timeouts);
}
