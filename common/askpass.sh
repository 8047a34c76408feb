#!/bin/sh
# Answers git's questions with the login of one host; it is never written down.
case "$1" in
  "Username for '$SLIPWAY_GIT_ORIGIN'"*) printf '%s\n' "$SLIPWAY_GIT_USER" ;;
  "Password for '"*"@${SLIPWAY_GIT_ORIGIN#*://}'"*) printf '%s\n' "$SLIPWAY_GIT_PASSWORD" ;;
  *) exit 1 ;;
esac
