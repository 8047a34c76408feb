#!/bin/sh
# Answers git's questions with the token, for GitHub's host alone; it is never written down.
case "$1" in
  "Username for 'https://$SLIPWAY_GIT_HOST'"*) echo x-access-token ;;
  "Password for 'https://x-access-token@$SLIPWAY_GIT_HOST'"*) echo "$SLIPWAY_GIT_TOKEN" ;;
  *) exit 1 ;;
esac
