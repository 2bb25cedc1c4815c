// A queue of many producers and one consumer, by which other threads hand something to the thread
// that runs the engine.
#pragma once
#include <rouse/config.hpp>

#include <atomic>

namespace rouse { inline namespace ROUSE_ABI { namespace detail {

/// The link of an element, its base class. The queue borrows the element from `push` until the
/// consumer takes it.
struct remote_node {
  remote_node() noexcept = default;
  remote_node(const remote_node&) = delete;
  remote_node& operator=(const remote_node&) = delete;

  remote_node* next = nullptr;
};

/// `push` is lock-free. The consumer takes all elements at once.
template <class T>
class remote_queue {
public:
  /// Adds an element. Threads: any.
  void push(T& element) noexcept {
    remote_node& n = element;
    remote_node* head = head_.load(std::memory_order_relaxed);
    do n.next = head;
    // Release, paired with the acquire exchange in take(): what the producer wrote before the push
    // happens before the consumer's use.
    while (!head_.compare_exchange_weak(head, &n, std::memory_order_release,
                                        std::memory_order_relaxed));
  }

  [[nodiscard]] bool empty() const noexcept {
    return head_.load(std::memory_order_acquire) == nullptr;
  }

  /// Calls `use(element)` for all elements pushed so far, oldest first. It may destroy the element.
  /// Threads: the consumer.
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

  /// Drops all elements without touching them.
  void forget() noexcept { head_.store(nullptr, std::memory_order_relaxed); }

private:
  std::atomic<remote_node*> head_{nullptr};
};

}}} // namespace rouse::ROUSE_ABI::detail
