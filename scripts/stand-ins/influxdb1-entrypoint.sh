#!/bin/sh
# Does what the image influxdb:1.8 does with these variables: an admin user and a database at the first start.
set -eu
if [ ! -d /var/lib/influxdb/meta ]; then
  INFLUXDB_HTTP_BIND_ADDRESS=127.0.0.1:8086 influxd &
  pid=$!
  until curl -fsS http://127.0.0.1:8086/ping; do sleep 0.2; done
  curl -fsS http://127.0.0.1:8086/query --data-urlencode \
    "q=CREATE USER \"$INFLUXDB_ADMIN_USER\" WITH PASSWORD '$INFLUXDB_ADMIN_PASSWORD' WITH ALL PRIVILEGES"
  curl -fsS -u "$INFLUXDB_ADMIN_USER:$INFLUXDB_ADMIN_PASSWORD" http://127.0.0.1:8086/query --data-urlencode \
    "q=CREATE DATABASE \"$INFLUXDB_DB\""
  kill -TERM "$pid"
  wait "$pid" || true
fi
exec influxd
