// The same echo in a program that names its engine, and so contains one driver.
#define SCHEDULER rouse::basic_scheduler<rouse::epoll_engine, rouse::callback_waker>
#include "echo_rouse_callback.cpp"
