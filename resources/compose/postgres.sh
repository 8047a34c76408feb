#!/usr/bin/env bash
# Gives Postgres its password before it starts, and the other services the address that it makes.
#
# The password is POSTGRES_PASSWORD where that is given; else one is made at the first start. It is stored in the
# volume of /run/slipway, apart from the data. Give another, or remove that volume, and the server gets a new one.
# With DATABASE_URL the database is elsewhere: its address is passed on, and nothing else runs here.
set -Eeuo pipefail
umask 027
credentials=/run/slipway

keep() { # NAME GROUP MODE VALUE: renamed into place, so that nobody reads half of it
  printf '%s' "$4" >"$credentials/.$1"
  chgrp "$2" "$credentials/.$1"
  chmod "$3" "$credentials/.$1"
  mv "$credentials/.$1" "$credentials/$1"
}

escaped() { # VALUE: as it stands in an address
  local LC_ALL=C i character
  for ((i = 0; i < ${#1}; i++)); do
    character=${1:i:1}
    case $character in
      [a-zA-Z0-9._~-]) printf '%s' "$character" ;;
      *) printf '%%%02X' "'$character" ;;
    esac
  done
}

set_password() { # VALUE: before the server listens; the single-user mode asks for no password
  printf "ALTER ROLE \"%s\" PASSWORD '%s'\n" "$POSTGRES_USER" "${1//\'/\'\'}" |
    postgres --single -D "$PGDATA" -c log_min_error_statement=panic "$POSTGRES_DB" >/dev/null
  echo "the database has a new password"
}

if [ -n "${DATABASE_URL:-}" ]; then
  keep database-url slipway 0640 "$DATABASE_URL"
  echo "DATABASE_URL names a database elsewhere: none is started here"
  exec sleep infinity
fi

kept=$(cat "$credentials/password" 2>/dev/null || true)
password=${POSTGRES_PASSWORD:-${kept:-$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')}}
if [ -s "$PGDATA/PG_VERSION" ] && [ "$password" != "$kept" ]; then set_password "$password"; fi
keep password postgres 0600 "$password"
keep database-url slipway 0640 "postgresql://$POSTGRES_USER:$(escaped "$password")@db:5432/$POSTGRES_DB"

unset POSTGRES_PASSWORD
export POSTGRES_PASSWORD_FILE=$credentials/password
exec docker-entrypoint.sh "$@"
