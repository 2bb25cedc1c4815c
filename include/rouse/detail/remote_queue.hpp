// How other threads hand something to the thread that runs the engine: a queue of many producers
// and one consumer.
#pragma once
#include <rouse/config.hpp>

#include <atomic>

namespace rouse { inline namespace ROUSE_ABI { namespace detail {

/// Part of what is handed over. Borrowed by the queue from `push` until the consumer has taken it.
struct remote_node {
  remote_node() noexcept = default;
  remote_node(const remote_node&) = delete;
  remote_node& operator=(const remote_node&) = delete;

  remote_node* next = nullptr;
};

/// Lock-free to push; the consumer takes everything at once.
template <class T>
class remote_queue {
public:
  /// Any thread.
  void push(T& element) noexcept {
    remote_node& n = element;
    remote_node* head = head_.load(std::memory_order_relaxed);
    do n.next = head;
    // Partner of the exchange in take(): what the producer wrote before happens-before the
    // consumer's use.
    while (!head_.compare_exchange_weak(head, &n, std::memory_order_release,
                                        std::memory_order_relaxed));
  }

  [[nodiscard]] bool empty() const noexcept {
    return head_.load(std::memory_order_acquire) == nullptr;
  }

  /// The consumer: calls `use` for all that was pushed so far, oldest first; it may destroy what it
  /// is given.
  template <class F>
  void take(F&& use) noexcept {
    if (empty()) return;
    remote_node* newest = head_.exchange(nullptr, std::memory_order_acquire);
    remote_node* oldest = nullptr;
    while (newest) {
      remote_node* n = newest;
      newest = n->next;
      n->next = oldest;
      oldest = n;
    }
    while (oldest) {
      remote_node* n = oldest;
      oldest = n->next;
      use(static_cast<T&>(*n));
    }
  }

  /// Lets go of everything that was pushed, which stays as it is.
  void forget() noexcept { head_.store(nullptr, std::memory_order_relaxed); }

private:
  std::atomic<remote_node*> head_{nullptr};
};

}}} // namespace rouse::ROUSE_ABI::detail
