// The glossary: declares every public class, with a phrase that says what it is.
#pragma once
#include <rouse/config.hpp>

namespace rouse { inline namespace ROUSE_ABI {

template <class Scheduler>
class socket; ///< a socket; its scheduler decides how calls wait
template <class Engine, class Waker>
class basic_scheduler; ///< an engine combined with a waker
template <class Scheduler>
class flow_handle; ///< the result of spawn: join, cancel, kill
template <class T, class Scheduler>
class channel; ///< passes values between flows
template <class Scheduler>
class flow_mutex; ///< a mutex that suspends flows, not threads
template <class Scheduler>
class flow_semaphore; ///< a counting semaphore for flows
template <class Scheduler>
class flow_event; ///< a flag that flows wait for
template <class Scheduler>
class wait_group; ///< a count; flows wait until it is 0
template <class Scheduler>
class flow_group; ///< flows that are joined and cancelled together
template <class Scheduler>
class per_core; ///< a server with a scheduler on each core
template <class Scheduler>
class server; ///< accepts connections, spawns a flow for each
template <class Stream>
class reader; ///< reads lines and other pieces from a stream
template <class Scheduler>
class signals; ///< waits for Ctrl-C and other signals
template <class T>
class flow_local; ///< a variable with one value per flow
template <class T>
class task; ///< a coroutine that returns a T

class endpoint; ///< an address and port, or a Unix-domain path
class mutable_buffer; ///< bytes to receive into
class const_buffer; ///< bytes to send
template <class Buffer>
class buffer_list; ///< several buffers, used in order
struct datagram; ///< the result of recv_from
struct incoming; ///< a slot of recv_batch for one datagram
struct outgoing; ///< one datagram for send_batch
template <class Item>
class batch; ///< several slots or datagrams
struct delivery; ///< the result of recv_descriptors
class received_descriptors; ///< descriptors received from a process, owned
class loan; ///< received bytes in a buffer of the engine
class deadline; ///< a point in time
class limit; ///< a deadline, a stop_token, or both
class sleep_handle; ///< cancels a sleep that has a handler
class failure; ///< an error code in four bytes
enum class resolve_error : int; ///< why a name was not resolved

enum class readiness : unsigned char; ///< readable, writable, urgent
enum class shutdown_how : int; ///< the direction that shutdown closes

class operation; ///< the record of a request and its result
class socket_state; ///< the engine's record of an open socket
class flow; ///< one spawned fiber, thread or coroutine

template <class Driver, class Threading>
class basic_engine; ///< the engine, which owns a driver
template <class Parker>
class parking_waker; ///< wakes by a parker, which has two functions
class coroutine_waker; ///< wakes by resuming a coroutine
class fiber_waker; ///< wakes by switching to a fiber
class thread_waker; ///< wakes by notifying a blocked thread
class callback_waker; ///< wakes by calling a handler

}} // namespace rouse::ROUSE_ABI
