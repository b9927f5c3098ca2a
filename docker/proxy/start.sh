#!/bin/sh
# Write the proxy's configuration and password file, then become nginx with the arguments given.
set -eu
umask 077

here=$(dirname "$0")
folder=${NEAREDGE_PROXY_FOLDER:-/run/nearedge}
listen=${NEAREDGE_PROXY_LISTEN:-8080}
page=${NEAREDGE_PROXY_PAGE:-127.0.0.1:5000}
user=${NEAREDGE_PAGE_USER:-nearedge}
password=${NEAREDGE_PAGE_PASSWORD:?the page has no default password: set NEAREDGE_PAGE_PASSWORD}

case $user in
    *[!A-Za-z0-9._-]*)
        echo "NEAREDGE_PAGE_USER may have letters, digits, dots, dashes and underscores" >&2
        exit 1
        ;;
esac
if [ "${#password}" -lt 12 ]; then
    echo "NEAREDGE_PAGE_PASSWORD is shorter than 12 characters: make one with openssl rand -hex 24" >&2
    exit 1
fi

printf '%s:%s\n' "$user" "$(printf '%s' "$password" | openssl passwd -6 -stdin)" >"$folder/users"
sed -e "s|@FOLDER@|$folder|g" -e "s|@LISTEN@|$listen|g" -e "s|@PAGE@|$page|g" \
    "$here/nginx.conf.template" >"$folder/nginx.conf"
unset NEAREDGE_PAGE_PASSWORD password
exec nginx -e stderr -c "$folder/nginx.conf" "$@"
