// A function that `post` passes to the loop.
#pragma once
#include <rouse/config.hpp>
#include <rouse/detail/guarded.hpp>
#include <rouse/detail/recycler.hpp>

#include <cstddef>
#include <exception>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI { namespace detail {

template <class Engine, class F>
class posted_function final : public Engine::posted {
public:
  template <class G>
  posted_function(Engine& e, G&& f)
      : Engine::posted(&posted_function::run), engine_(e), f_(std::forward<G>(f)) {}
  static void* operator new(std::size_t size) { return recycler::allocate(size); }
  static void operator delete(void* p, std::size_t size) noexcept { recycler::release(p, size); }

private:
  static void run(typename Engine::posted& p, bool call) noexcept {
    auto* const self = static_cast<posted_function*>(&p);
    if (call) guarded([=] { self->f_(); }, [=] { self->engine_.raise(std::current_exception()); });
    delete self;
  }

  Engine& engine_;
  F f_;
};

}}} // namespace rouse::ROUSE_ABI::detail
