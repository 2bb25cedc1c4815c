// rouse: one socket class; you choose how it wakes you.
//
//   sockets/     socket, its options and calls, reader, connect     start with sockets/socket.hpp
//   core/        operation, endpoint, buffer, batch, limit, error   then core/operation.hpp
//   concepts/    the requirements on engines, wakers, schedulers, streams
//   wakers/      coroutine, fiber, thread, callback, parking        one file each
//   engines/     io_uring, epoll, kqueue, iocp, native              one file each
//   schedulers/  basic_scheduler, its aliases, task, observed
//   flows/       channel, sync, group, select
//   serving/     serve, per_core, signals
//   os/          system calls; the only folder beside install/ with OS headers
//   detail/      data structures and other mechanisms
//
// Not included here: install.hpp (blocking calls of libraries park fibers), iostream.hpp, tls.hpp.
#pragma once
#include <rouse/concepts/byte_stream.hpp>
#include <rouse/concepts/driver.hpp>
#include <rouse/concepts/scheduler.hpp>
#include <rouse/concepts/waker.hpp>
#include <rouse/config.hpp>
#include <rouse/core/batch.hpp>
#include <rouse/core/buffer.hpp>
#include <rouse/core/endpoint.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/flow_local.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/core/loan.hpp>
#include <rouse/core/observer.hpp>
#include <rouse/core/task.hpp>
#include <rouse/engines/native.hpp>
#include <rouse/flows/channel.hpp>
#include <rouse/flows/group.hpp>
#include <rouse/flows/select.hpp>
#include <rouse/flows/sync.hpp>
#include <rouse/fwd.hpp>
#include <rouse/schedulers/aliases.hpp>
#include <rouse/schedulers/basic_scheduler.hpp>
#include <rouse/schedulers/observed.hpp>
#include <rouse/serving/per_core.hpp>
#include <rouse/serving/serve.hpp>
#include <rouse/serving/signals.hpp>
#include <rouse/sockets/connect.hpp>
#include <rouse/sockets/options.hpp>
#include <rouse/sockets/reader.hpp>
#include <rouse/sockets/resolve.hpp>
#include <rouse/sockets/socket.hpp>
#include <rouse/sockets/socket_pair.hpp>
