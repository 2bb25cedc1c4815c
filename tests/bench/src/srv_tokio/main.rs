// Tokio echo server, one thread, one task per connection.   srv_tokio PORT [BUF]
use std::net::{Ipv4Addr, SocketAddr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

async fn echo(mut s: TcpStream, size: usize) {
    let mut buf = vec![0; size];
    while let Ok(n) = s.read(&mut buf).await {
        if n == 0 || s.write_all(&buf[..n]).await.is_err() {
            break;
        }
    }
}

async fn serve(port: u16, size: usize) -> std::io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    let listener = socket.listen(4096)?;
    loop {
        if let Ok((s, _)) = listener.accept().await {
            let _ = s.set_nodelay(true);
            tokio::spawn(echo(s, size));
        }
    }
}

fn main() -> std::io::Result<()> {
    let mut args = std::env::args().skip(1);
    let port = args.next().map_or(9000, |a| a.parse().expect("PORT"));
    let size = args.next().map_or(4096, |a| a.parse().expect("BUF"));
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(serve(port, size))
}
