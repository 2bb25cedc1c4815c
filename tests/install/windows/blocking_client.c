#define BUILDS_BLOCKING_CLIENT
#include "blocking_client.h"
#include <string.h>
#include <windows.h>

static struct sockaddr_in loopback(unsigned short port) {
  struct sockaddr_in a;
  memset(&a, 0, sizeof a);
  a.sin_family = AF_INET;
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  a.sin_port = htons(port);
  return a;
}

static int noted(int result, int* error) {
  *error = result == SOCKET_ERROR ? WSAGetLastError() : 0;
  return result;
}

static int exchange(SOCKET s, const struct addrinfo* to, const char* line, char* reply, int room) {
  int got = 0;
  if (connect(s, to->ai_addr, (int)to->ai_addrlen) != 0) return -WSAGetLastError();
  if (send(s, line, (int)strlen(line), 0) < 0) return -WSAGetLastError();
  while (got < room && (got == 0 || reply[got - 1] != '\n')) {
    const int n = recv(s, reply + got, room - got, 0);
    if (n < 0) return -WSAGetLastError();
    if (n == 0) break;
    got += n;
  }
  return got;
}

int client_request(const char* host, const char* port, const char* line, char* reply, int room) {
  struct addrinfo hints, *found = NULL;
  int result;
  SOCKET s;
  memset(&hints, 0, sizeof hints);
  hints.ai_family = AF_INET;
  hints.ai_socktype = SOCK_STREAM;
  result = getaddrinfo(host, port, &hints, &found);
  if (result != 0) return -result;
  s = socket(found->ai_family, found->ai_socktype, found->ai_protocol);
  result = s == INVALID_SOCKET ? -WSAGetLastError() : exchange(s, found, line, reply, room);
  freeaddrinfo(found);
  if (s != INVALID_SOCKET) closesocket(s);
  return result;
}

SOCKET client_connect(unsigned short port, int* error) {
  const struct sockaddr_in a = loopback(port);
  const SOCKET s = socket(AF_INET, SOCK_STREAM, 0);
  *error = 0;
  if (connect(s, (const struct sockaddr*)&a, sizeof a) == 0) return s;
  *error = WSAGetLastError();
  closesocket(s);
  return INVALID_SOCKET;
}

int client_send(SOCKET s, const char* data, int size, int* error) { return noted(send(s, data, size, 0), error); }
int client_recv(SOCKET s, char* data, int size, int flags, int* error) {
  return noted(recv(s, data, size, flags), error);
}

int client_send_pieces(SOCKET s, const char* data, int size, int* error) {
  WSABUF pieces[2] = {{(ULONG)size / 2, (char*)data}, {(ULONG)(size - size / 2), (char*)data + size / 2}};
  DWORD sent = 0;
  return noted(WSASend(s, pieces, 2, &sent, 0, NULL, NULL), error) == 0 ? (int)sent : -1;
}
int client_recv_pieces(SOCKET s, char* data, int size, int* error) {
  WSABUF pieces[2] = {{(ULONG)size / 2, data}, {(ULONG)(size - size / 2), data + size / 2}};
  DWORD got = 0, flags = 0;
  return noted(WSARecv(s, pieces, 2, &got, &flags, NULL, NULL), error) == 0 ? (int)got : -1;
}

SOCKET client_accept(SOCKET listener, unsigned short* peer_port, int* error) {
  struct sockaddr_in peer;
  int size = sizeof peer;
  const SOCKET s = accept(listener, (struct sockaddr*)&peer, &size);
  *error = s == INVALID_SOCKET ? WSAGetLastError() : 0;
  if (s != INVALID_SOCKET) *peer_port = ntohs(peer.sin_port);
  return s;
}

int client_recvfrom(SOCKET s, char* data, int size, unsigned short* peer_port, int* error) {
  struct sockaddr_in peer;
  int room = sizeof peer;
  const int n = noted(recvfrom(s, data, size, 0, (struct sockaddr*)&peer, &room), error);
  if (n >= 0) *peer_port = ntohs(peer.sin_port);
  return n;
}
int client_sendto(SOCKET s, const char* data, int size, unsigned short port, int* error) {
  const struct sockaddr_in a = loopback(port);
  return noted(sendto(s, data, size, 0, (const struct sockaddr*)&a, sizeof a), error);
}

int client_select(SOCKET a, SOCKET b, int milliseconds, int* which, int* error) {
  struct timeval limit;
  fd_set in;
  int n;
  limit.tv_sec = milliseconds / 1000;
  limit.tv_usec = milliseconds % 1000 * 1000;
  FD_ZERO(&in);
  FD_SET(a, &in);
  FD_SET(b, &in);
  n = noted(select(0, &in, NULL, NULL, milliseconds < 0 ? NULL : &limit), error);
  *which = (FD_ISSET(a, &in) ? 1 : 0) | (FD_ISSET(b, &in) ? 2 : 0);
  return n;
}
int client_poll(SOCKET a, SOCKET b, int milliseconds, int* which, int* error) {
  WSAPOLLFD files[2];
  int n;
  memset(files, 0, sizeof files);
  files[0].fd = a;
  files[1].fd = b;
  files[0].events = files[1].events = POLLRDNORM;
  n = noted(WSAPoll(files, 2, milliseconds), error);
  *which = (files[0].revents ? 1 : 0) | (files[1].revents ? 2 : 0);
  return n;
}

int client_close(SOCKET s) { return closesocket(s); }
int client_set_nonblocking(SOCKET s, int on) {
  u_long value = (u_long)on;
  return ioctlsocket(s, (long)FIONBIO, &value);
}
int client_set_limits(SOCKET s, int milliseconds) {
  const DWORD value = (DWORD)milliseconds;
  const int result = setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, (const char*)&value, sizeof value);
  return result == 0 ? setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, (const char*)&value, sizeof value) : result;
}

int client_lookup(const char* host, int flags, unsigned short* port) {
  struct addrinfo hints, *found = NULL;
  int result;
  memset(&hints, 0, sizeof hints);
  hints.ai_family = AF_INET;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags;
  result = getaddrinfo(host, "80", &hints, &found);
  if (result != 0) return result;
  *port = ntohs(((const struct sockaddr_in*)found->ai_addr)->sin_port);
  freeaddrinfo(found);
  return 0;
}
int client_lookup_wide(const wchar_t* host) {
  ADDRINFOW* found = NULL;
  const int result = GetAddrInfoW(host, NULL, NULL, &found);
  if (result == 0) FreeAddrInfoW(found);
  return result;
}

void client_sleep(int milliseconds) { Sleep((DWORD)milliseconds); }
const void* client_address_of_recv(void) { return (const void*)recv; }
void* client_load(const char* module) { return LoadLibraryA(module); }
