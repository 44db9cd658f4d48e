#!/bin/sh
exec /usr/lib/gateway/bin/python -P -m gateway "$@"
