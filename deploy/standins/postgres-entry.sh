# What the real image's entry does, for the variables that docker-compose.yml gives.
set -e
data=/var/lib/postgresql/data/pg
sockets=/var/run/postgresql
if [ ! -d "$data" ]; then
  initdb -D "$data" -U "$POSTGRES_USER" -A scram-sha-256 --pwfile="$POSTGRES_PASSWORD_FILE"
  echo "host all all all scram-sha-256" >> "$data/pg_hba.conf"
  # Not on the network before the database is there: the health check asks on the socket, too, but
  # the gateway would come too early.
  pg_ctl -D "$data" -w -o "-c listen_addresses= -k /tmp" start
  PGPASSWORD=$(cat "$POSTGRES_PASSWORD_FILE") createdb -h /tmp -U "$POSTGRES_USER" "$POSTGRES_DB" || true
  pg_ctl -D "$data" -w stop
fi
# Killed without a word it leaves its lock.
rm -f "$sockets"/.s.PGSQL.5432.lock
exec postgres -D "$data" -c listen_addresses='*' -k "$sockets"
