#!/bin/sh
# Handles these variables as the image influxdb:1.8 does: creates an admin user and a database at the first start.
#
# Every start is made twice, first without clients. After a crash, 1.6.7 truncates a torn entry of its log but continues
# writing after the entry's old end, and the next start discards everything written in between.
set -eu
INFLUXDB_HTTP_BIND_ADDRESS=127.0.0.1:8086 influxd &
pid=$!
until curl -fsS http://127.0.0.1:8086/ping; do sleep 0.2; done
if [ ! -e /var/lib/influxdb/prepared ]; then
  curl -fsS http://127.0.0.1:8086/query --data-urlencode \
    "q=CREATE USER \"$INFLUXDB_ADMIN_USER\" WITH PASSWORD '$INFLUXDB_ADMIN_PASSWORD' WITH ALL PRIVILEGES"
  curl -fsS -u "$INFLUXDB_ADMIN_USER:$INFLUXDB_ADMIN_PASSWORD" http://127.0.0.1:8086/query --data-urlencode \
    "q=CREATE DATABASE \"$INFLUXDB_DB\""
  touch /var/lib/influxdb/prepared
fi
kill -TERM "$pid"
wait "$pid" || true
exec influxd
