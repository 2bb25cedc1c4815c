/* A library without rouse: blocking sockets, as in Winsock's tutorials. */
#ifndef BLOCKING_CLIENT_H
#define BLOCKING_CLIENT_H
#include <winsock2.h>
#include <ws2tcpip.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifdef BUILDS_BLOCKING_CLIENT
#define CLIENT_API __declspec(dllexport)
#else
#define CLIENT_API __declspec(dllimport)
#endif

/* Resolves, connects, sends a line, receives one. Returns its length, or minus Winsock's error. */
CLIENT_API int client_request(const char* host, const char* port, const char* line, char* reply, int room);

/* One call each; on failure -1 or INVALID_SOCKET, and the error in the last argument. */
CLIENT_API SOCKET client_connect(unsigned short port, int* error);
CLIENT_API int client_send(SOCKET s, const char* data, int size, int* error);
CLIENT_API int client_recv(SOCKET s, char* data, int size, int flags, int* error);
CLIENT_API int client_send_pieces(SOCKET s, const char* data, int size, int* error); /* WSASend, two buffers */
CLIENT_API int client_recv_pieces(SOCKET s, char* data, int size, int* error); /* WSARecv, two buffers */
CLIENT_API SOCKET client_accept(SOCKET listener, unsigned short* peer_port, int* error);
CLIENT_API int client_recvfrom(SOCKET s, char* data, int size, unsigned short* peer_port, int* error);
CLIENT_API int client_sendto(SOCKET s, const char* data, int size, unsigned short port, int* error);
CLIENT_API int client_select(SOCKET a, SOCKET b, int milliseconds, int* which, int* error);
CLIENT_API int client_poll(SOCKET a, SOCKET b, int milliseconds, int* which, int* error);
CLIENT_API int client_close(SOCKET s);
CLIENT_API int client_set_nonblocking(SOCKET s, int on);
CLIENT_API int client_set_limits(SOCKET s, int milliseconds);
CLIENT_API int client_lookup(const char* host, int flags, unsigned short* port);
CLIENT_API int client_lookup_wide(const wchar_t* host);
CLIENT_API void client_sleep(int milliseconds);
/* From this module's import table. */
CLIENT_API const void* client_address_of_recv(void);
CLIENT_API void* client_load(const char* module);

#ifdef __cplusplus
}
#endif
#endif
