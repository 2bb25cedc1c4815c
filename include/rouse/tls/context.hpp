// The settings of TLS connections.
#pragma once
#include <rouse/tls/client_context.hpp>
#include <rouse/tls/server_context.hpp>
