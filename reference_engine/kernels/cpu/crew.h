// The threads of a step. All run the same function; inside it `each` deals out tasks and ends in a barrier.
// Why not OpenMP: torch brings a run-time of its own, and two in one process put each other's threads to sleep.
#pragma once
#include <atomic>
#include <functional>
#include <thread>
#include <vector>
#if defined(__x86_64__)
#include <immintrin.h>
#define RELAX() _mm_pause()
#else
#define RELAX() std::atomic_signal_fence(std::memory_order_seq_cst)
#endif

class Crew {
 public:
  explicit Crew(int size) : size_(size) {
    for (int worker = 1; worker < size; worker++) threads_.emplace_back([this, worker] { serve(worker); });
  }
  ~Crew() {
    ending_ = true;
    work_.fetch_add(1);
    work_.notify_all();
    for (auto& thread : threads_) thread.join();
  }
  int size() const { return size_; }

  // Every thread runs `job(worker)`; the caller is worker 0. Comes back when all are done.
  void run(const std::function<void(int)>& job) {
    job_ = &job;
    work_.fetch_add(1, std::memory_order_release);
    work_.notify_all();
    worker_ = 0;
    job(0);
    barrier();
  }

  // Tasks 0 .. n-1, dealt `grain` at a time: the first to worker 0, the second to worker 1 and so on, the rest to whoever
  // is free. `before_waiting(worker)` comes when none are left, then a barrier.
  template <class Task, class Hint> void each(int n, int grain, Task task, Hint before_waiting) {
    for (int at = worker_ * grain; at < n; at = (size_ + next_.fetch_add(1, std::memory_order_relaxed)) * grain)
      for (int i = at; i < n && i < at + grain; i++) task(i);
    before_waiting(worker_);
    barrier();
  }
  template <class Task> void each(int n, int grain, Task task) { each(n, grain, task, [](int) {}); }

  void barrier() {
    unsigned turn = turn_.load(std::memory_order_acquire);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) == size_ - 1) {
      arrived_.store(0, std::memory_order_relaxed);
      next_.store(0, std::memory_order_relaxed);
      turn_.store(turn + 1, std::memory_order_release);
      return;
    }
    for (int spins = 0; turn_.load(std::memory_order_acquire) == turn; spins++)
      if (spins < SPINS) RELAX(); else std::this_thread::yield();  // somebody else may need this core to get here
  }

 private:
  static constexpr int SPINS = 4000;        // some 60 us
  static constexpr int IDLE_SPINS = 20000;  // some 300 us between steps, then sleep: an idle engine costs nothing
  void serve(int worker) {
    worker_ = worker;
    for (unsigned seen = 0;;) {
      for (int spins = 0; work_.load(std::memory_order_acquire) == seen; spins++)
        if (spins < IDLE_SPINS) RELAX(); else work_.wait(seen);
      seen++;
      if (ending_) return;
      (*job_)(worker);
      barrier();
    }
  }
  static inline thread_local int worker_ = 0;
  const int size_;
  const std::function<void(int)>* job_ = nullptr;
  std::atomic<bool> ending_{false};
  std::vector<std::thread> threads_;
  alignas(64) std::atomic<unsigned> work_{0};
  alignas(64) std::atomic<int> next_{0};
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<unsigned> turn_{0};
};
