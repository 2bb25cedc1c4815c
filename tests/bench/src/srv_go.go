// Go echo server, one goroutine per connection.   srv_go PORT [BUF]
// GOMAXPROCS is the number of cores that the affinity leaves; TCP_NODELAY is set by default.
package main

import (
	"context"
	"log"
	"net"
	"os"
	"strconv"
)

func echo(c net.Conn, size int) {
	defer c.Close()
	buf := make([]byte, size)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		if _, err = c.Write(buf[:n]); err != nil {
			return
		}
	}
}

func main() {
	port, size := "9000", 4096
	if len(os.Args) > 1 {
		port = os.Args[1]
	}
	if len(os.Args) > 2 {
		size, _ = strconv.Atoi(os.Args[2])
	}
	// Keep-alive would cost three system calls per connection that no other server makes.
	config := net.ListenConfig{KeepAlive: -1}
	listener, err := config.Listen(context.Background(), "tcp4", "127.0.0.1:"+port)
	if err != nil {
		log.Fatal(err)
	}
	for {
		if c, err := listener.Accept(); err == nil {
			go echo(c, size)
		}
	}
}
