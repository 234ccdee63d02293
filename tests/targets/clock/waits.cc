// Waits in the ways of the C++ library, on both of its clocks, each in a thread: prints "ready", then name, outcome (1: the time
// came) and for how many milliseconds of its clock it lasted.
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <future>
#include <mutex>
#include <semaphore>
#include <shared_mutex>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono;
using System = system_clock;
using Steady = steady_clock;

static milliseconds span;

template <class Clock> static bool condition()
{
    std::mutex mutex;
    std::condition_variable changed;
    std::unique_lock lock(mutex);
    auto until = Clock::now() + span;
    while (changed.wait_until(lock, until) != std::cv_status::timeout)
        ;
    return true;
}

template <class Clock> static bool condition_with_predicate()
{
    std::mutex mutex;
    std::condition_variable changed;
    std::unique_lock lock(mutex);
    return !changed.wait_until(lock, Clock::now() + span, [] { return false; });
}

template <class Clock> static bool sleep()
{
    std::this_thread::sleep_until(Clock::now() + span);
    return true;
}

template <class Clock> static bool mutex()
{
    static std::timed_mutex taken;
    std::thread([] { taken.lock(); }).join();
    return !taken.try_lock_until(Clock::now() + span);
}

template <class Clock> static bool shared_mutex()
{
    static std::shared_timed_mutex taken;
    std::thread([] { taken.lock(); }).join();
    return !taken.try_lock_shared_until(Clock::now() + span);
}

template <class Clock> static bool future()
{
    std::promise<int> never;
    return never.get_future().wait_until(Clock::now() + span) == std::future_status::timeout;
}

template <class Clock> static bool semaphore()
{
    std::counting_semaphore<4> empty(0);
    return !empty.try_acquire_until(Clock::now() + span);
}

template <class Clock> static void run(const std::string &name, bool (*wait)())
{
    auto began = Clock::now();
    bool outcome = wait();
    std::printf("%s %d %.3f\n", name.c_str(), outcome, duration<double, std::milli>(Clock::now() - began).count());
}

template <class Clock> static void start(std::vector<std::thread> &threads)
{
    const std::pair<const char *, bool (*)()> waits[] = {
        {"condition", condition<Clock>},       {"predicate", condition_with_predicate<Clock>}, {"sleep", sleep<Clock>},
        {"mutex", mutex<Clock>},               {"shared_mutex", shared_mutex<Clock>},          {"future", future<Clock>},
        {"semaphore", semaphore<Clock>},
    };
    for (auto [name, wait] : waits)
        threads.emplace_back(run<Clock>, name, wait);
}

int main(int, char **argv)
{
    span = milliseconds(std::atol(argv[2]));
    std::setvbuf(stdout, nullptr, _IOLBF, 0);
    std::vector<std::thread> threads;
    argv[1] == std::string("monotonic") ? start<Steady>(threads) : start<System>(threads);
    std::puts("ready");
    for (auto &thread : threads)
        thread.join();
}
