// The exceptions that run() is to rethrow.
#pragma once
#include <rouse/config.hpp>
#include <rouse/detail/intrusive_list.hpp>

#include <exception>
#include <memory>
#include <new>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI { namespace detail {

/// Holds one exception. A flow is derived from it, so that its exception needs no allocation.
class raised : public list_node {
public:
  /// Returns the exception, and frees this object.
  virtual std::exception_ptr take() noexcept = 0;

protected:
  ~raised() = default;
};

/// The exceptions that an engine keeps, the oldest first.
///
/// The exception of a handler or a posted function is held by a `place`. One place is allocated in
/// advance, for use when memory is short. If that one is in use as well, std::bad_alloc takes the
/// place of the exception.
class raised_list {
public:
  raised_list() : spare_(new place) {}
  raised_list(const raised_list&) = delete;
  raised_list& operator=(const raised_list&) = delete;
  ~raised_list() {
    while (!list_.empty()) (void)list_.pop_front().take();
  }

  void add(raised& r) noexcept { list_.push_back(r); }
  void add(std::exception_ptr e) noexcept {
    if (!spare_) spare_.reset(new (std::nothrow) place);
    if (!spare_) {
      if (!shortage_.linked()) list_.push_back(shortage_);
      return;
    }
    spare_->what = std::move(e);
    list_.push_back(*spare_.release());
    spare_.reset(new (std::nothrow) place);
  }
  [[nodiscard]] bool empty() const noexcept { return list_.empty(); }
  /// Removes the oldest and returns it; null if there is none.
  [[nodiscard]] raised* pop() noexcept { return list_.empty() ? nullptr : &list_.pop_front(); }

private:
  struct place final : raised {
    std::exception_ptr take() noexcept override {
      const std::unique_ptr<place> self(this);
      return std::move(what);
    }
    std::exception_ptr what;
  };
  struct shortage final : raised {
    std::exception_ptr take() noexcept override {
      return std::make_exception_ptr(std::bad_alloc());
    }
  };

  list<raised> list_;
  std::unique_ptr<place> spare_;
  shortage shortage_;
};

}}} // namespace rouse::ROUSE_ABI::detail
