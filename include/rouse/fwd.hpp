// The glossary: every public name, declared, with what it is.
#pragma once
#include <rouse/config.hpp>

namespace rouse { inline namespace ROUSE_ABI {

template <class Scheduler>
class socket; ///< a socket whose calls wait the scheduler's way
template <class Engine, class Waker>
class basic_scheduler; ///< an engine and a waker
template <class Scheduler>
class flow_handle; ///< what spawn gives: join, cancel, kill
template <class T, class Scheduler>
class channel; ///< values handed from flow to flow
template <class Scheduler>
class flow_mutex; ///< a lock that parks flows, not threads
template <class Scheduler>
class flow_semaphore; ///< permits, likewise
template <class Scheduler>
class flow_event; ///< something to wait for until it is so, likewise
template <class Scheduler>
class wait_group; ///< a count to wait for until it is 0, likewise
template <class Scheduler>
class flow_group; ///< flows that end together
template <class Scheduler>
class per_core; ///< a server with a scheduler on each core
template <class Scheduler>
class server; ///< accepts connections and has each served by a flow
template <class Scheduler>
class reader; ///< a socket's stream in lines and other pieces
template <class Scheduler>
class signals; ///< Ctrl-C and other signals, waited for
template <class T>
class flow_local; ///< a variable of which each flow has its own
template <class T>
class task; ///< a coroutine that gives a T

class endpoint; ///< an address and a port, or the name of a local socket
class mutable_buffer; ///< bytes to receive into
class const_buffer; ///< bytes to send
template <class Buffer>
class buffer_list; ///< several buffers, taken one after the other
struct datagram; ///< what recv_from gives
struct incoming; ///< a place for one datagram of a recv_batch
struct outgoing; ///< one datagram of a send_batch
template <class Item>
class batch; ///< several of them
struct delivery; ///< what recv_descriptors gives
class received_descriptors; ///< descriptors of another process, owned
class loan; ///< bytes received into a buffer that the engine lends
class deadline; ///< a point in time
class limit; ///< when a call gives up: a deadline, a stop_token, or both
class sleep_handle; ///< what a sleep with a handler gives: cancel
class failure; ///< what went wrong, in four bytes
enum class resolve_error : int; ///< why a name could not be resolved

enum class readiness : unsigned char; ///< what wait waits for: readable, writable, urgent

class operation; ///< one request and its answer: the record that all layers share
class socket_state; ///< an engine's record of an open socket
class flow; ///< one spawned line of execution

template <class Threading>
class basic_engine; ///< the completion engine, whichever kernel interface is below
template <class Parker>
class parking_waker; ///< wakes with a parker: two functions
class coroutine_waker; ///< wakes by resuming a coroutine
class fiber_waker; ///< wakes by switching to a fiber
class thread_waker; ///< wakes a thread that sleeps
class callback_waker; ///< wakes by calling a handler

}} // namespace rouse::ROUSE_ABI
