#!/bin/sh
# nginx.sh PORT CHAIN KEY FOLDER: one process of nginx that answers any request of HTTP with one byte, over TLS.
folder=$4/nginx.$1
mkdir -p "$folder"
cat > "$folder/nginx.conf" << EOF
daemon off;
master_process off;
worker_processes 1;
pid $folder/pid;
error_log /dev/null;
events { worker_connections 4096; }
http {
  access_log off;
  tcp_nodelay on;
  client_body_temp_path $folder/a;
  proxy_temp_path $folder/b;
  fastcgi_temp_path $folder/c;
  uwsgi_temp_path $folder/d;
  scgi_temp_path $folder/e;
  server {
    listen 127.0.0.1:$1 ssl backlog=4096;
    ssl_certificate $2;
    ssl_certificate_key $3;
    ssl_protocols TLSv1.2 TLSv1.3;
    location / { return 200 "x"; }
  }
}
EOF
exec nginx -p "$folder" -c "$folder/nginx.conf"
