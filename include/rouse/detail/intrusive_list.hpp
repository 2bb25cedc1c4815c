// A doubly linked list with its links inside the elements. Linking and unlinking allocate nothing
// and cannot fail.
#pragma once
#include <rouse/config.hpp>

#include <cstddef>

namespace rouse { inline namespace ROUSE_ABI { namespace detail {

/// The links of an element, its base class. An element can be unlinked without naming its list.
class list_node {
public:
  list_node() noexcept {} // allows const elements without initializer
  list_node(const list_node&) = delete;
  list_node& operator=(const list_node&) = delete;

  [[nodiscard]] bool linked() const noexcept { return next_ != nullptr; }

  /// Whether the list has another element. Only for a linked node.
  [[nodiscard]] bool accompanied() const noexcept { return prev_ != next_; }

  /// Removes the element from its list. Does nothing if it is not linked.
  void unlink() noexcept {
    if (linked()) leave();
  }
  /// Like `unlink`, for an element that is known to be linked.
  void leave() noexcept {
    prev_->next_ = next_;
    next_->prev_ = prev_;
    next_ = nullptr;
  }

private:
  template <class>
  friend class list;
  list_node* prev_; // valid while linked
  list_node* next_ = nullptr;
};

/// Elements are borrowed: each has to be unlinked before it is destroyed.
template <class T>
class list {
public:
  list() noexcept { end_.prev_ = end_.next_ = &end_; }
  list(const list&) = delete;
  list& operator=(const list&) = delete;

  [[nodiscard]] bool empty() const noexcept { return end_.next_ == &end_; }
  [[nodiscard]] T& front() const noexcept { return static_cast<T&>(*end_.next_); }

  void push_back(T& element) noexcept { insert_before(end_, element); }
  void push_front(T& element) noexcept { insert_before(*end_.next_, element); }

  T& pop_front() noexcept {
    T& first = front();
    static_cast<list_node&>(first).leave();
    return first;
  }

  /// Calls `visit(element)` for each element. It may unlink or destroy that element, no other.
  template <class F>
  void for_each(F&& visit) {
    for (list_node *n = end_.next_, *after; n != &end_; n = after) {
      after = n->next_;
      visit(static_cast<T&>(*n));
    }
  }

  template <class F>
  void for_each(F&& visit) const {
    for (list_node* n = end_.next_; n != &end_; n = n->next_) visit(static_cast<const T&>(*n));
  }

private:
  static void insert_before(list_node& next, list_node& n) noexcept {
    list_node* const last = next.prev_;
    n.next_ = &next;
    last->next_ = &n;
    n.prev_ = last;
    next.prev_ = &n;
  }

  list_node end_;
};

}}} // namespace rouse::ROUSE_ABI::detail
